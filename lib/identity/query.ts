/** A parameter of a query. */
export interface Parameter {
  /** Its first value as Go's `url.ParseQuery` reads it; null without one. */
  readonly value: string | null;
  /** Other parsers may read another value: it occurs twice, beside a semicolon, or with a broken escape. */
  readonly ambiguous: boolean;
}

const absent: Parameter = { value: null, ambiguous: false };

/**
 * Reads a parameter as Go does: the first of its name counts; pairs with a semicolon or a broken escape are left out.
 * @param query with its `?`, or empty.
 */
export function readQuery(query: string, name: string): Parameter {
  if (query === '' || (!query.includes(name) && !query.includes('%'))) return absent;
  let value: string | null = null;
  let found = 0;
  let isOdd = false;
  for (const pair of query.slice(1).split('&')) {
    if (!namesParameter(pair, name)) continue;
    found++;
    const end = pair.indexOf('=');
    const read = pair.includes(';') ? null : decode(end === -1 ? '' : pair.slice(end + 1));
    if (read === null || decode(end === -1 ? pair : pair.slice(0, end)) !== name) isOdd = true;
    else value ??= read;
  }
  return found === 0 ? absent : { value, ambiguous: found > 1 || isOdd };
}

/** A query in which a parameter occurs at most once. @param value null removes the parameter. */
export function withParameter(query: string, name: string, value: string | null): string {
  if (query === '') return query;
  const pairs = query.slice(1).split('&');
  const named = pairs.filter((pair) => namesParameter(pair, name));
  if (named.length === 0) return query;
  const kept = pairs.filter((pair) => !named.includes(pair));
  if (value !== null) kept.push(`${name}=${encodeURIComponent(value)}`);
  return kept.length === 0 ? '' : `?${kept.join('&')}`;
}

/** Whether any parser finds the name in a pair: with a semicolon as separator, or with white space around it. */
function namesParameter(pair: string, name: string): boolean {
  if (pair === name || pair.startsWith(`${name}=`)) return true;
  return pair.split(';').some((part) => {
    const end = part.indexOf('=');
    const text = end === -1 ? part : part.slice(0, end);
    return (decode(text) ?? text).trim() === name;
  });
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return null;
  }
}
