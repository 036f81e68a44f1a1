/** A path in the configuration tree, in camelCase: `['llm', 'backupProviders', 0, 'apiKey']`. */
export type Path = readonly (string | number)[];

/**
 * A value in the form an error may show: shortened, quoted, and without the user and password of a URL.
 * SECURITY: a text of several lines is shown by its length, because it may be a private key in place of its path.
 */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (typeof value === 'string') return value.includes('\n') ? showLength(value) : JSON.stringify(shorten(maskUserinfo(value)));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' ? 'a section of keys' : String(value);
}

/** The length of a value, for secrets and texts from variables, whose values must not be shown. */
export function showLength(value: unknown): string {
  if (typeof value !== 'string')
    return value === undefined || value === null ? 'nothing' : `a ${Array.isArray(value) ? 'list' : typeof value}`;
  return `a value of ${value.length} ${value.length === 1 ? 'character' : 'characters'}`;
}

/** Hides the user and password in `scheme://user:password@host`. */
export function maskUserinfo(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1***@');
}

/** The candidate closest to a misspelled name, or undefined when none is close. */
function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = bare(name);
  let best: string | undefined;
  let bestDistance = Math.ceil(wanted.length / 3) + 1;
  for (const candidate of candidates) {
    const away = distance(wanted, bare(candidate));
    if (away < bestDistance) [best, bestDistance] = [candidate, away];
  }
  return best;
}

/** ` Did you mean rate_limit?`, or an empty text when no candidate is close. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  const guess = nearest(name, candidates);
  return guess === undefined ? '' : ` Did you mean ${guess}?`;
}

/** The reason why a file cannot be read, in words. */
export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return { ENOENT: 'no such file', ENOTDIR: 'no such file', EACCES: 'permission denied', EISDIR: 'a directory' }[code] ?? code;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[-_ ]/g, '');
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const swap = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(swap, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
