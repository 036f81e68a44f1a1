/** Variables by name: `process.env` or a copy of it. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The result of an expansion: the text, the names of the variables used, and problems, which hold names and never values. */
export interface Expansion {
  readonly text: string;
  readonly names: readonly string[];
  readonly problems: readonly string[];
}

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const OPERATOR = /:-|-|:\?|\?/y;

/**
 * Expands `${VAR}`, `${VAR:-default}` (empty counts as unset), `${VAR-default}`, `${VAR:?message}` and `${VAR?message}`
 * in one pass. Defaults may nest; `\$` is a literal `$`; a `$` without `{` stays as it is.
 * SECURITY: a variable's value is inserted unchanged and never expanded again, so a value cannot inject an expansion.
 */
export function expand(source: string, variables: Variables): Expansion {
  const scan: Scan = { source, variables, at: 0, names: [], problems: [] };
  const text = source.includes('$') ? readText(scan, false, true) : source;
  return { text, names: scan.names, problems: scan.problems };
}

interface Scan {
  readonly source: string;
  readonly variables: Variables;
  at: number;
  readonly names: string[];
  readonly problems: string[];
}

/** Reads to the end, or to the `}` that ends a default. `live` is false in a default that is not used. */
function readText(scan: Scan, inside: boolean, live: boolean): string {
  let text = '';
  while (scan.at < scan.source.length) {
    if (inside && scan.source[scan.at] === '}') return text;
    if (scan.source.startsWith('\\$', scan.at)) {
      text += '$';
      scan.at += 2;
    } else if (scan.source.startsWith('${', scan.at)) {
      text += readVariable(scan, live);
    } else {
      text += scan.source[scan.at++];
    }
  }
  return text;
}

function readVariable(scan: Scan, live: boolean): string {
  scan.at += 2;
  const name = take(scan, NAME);
  const operator = take(scan, OPERATOR);
  if (name === undefined || (operator === undefined && scan.at < scan.source.length && scan.source[scan.at] !== '}'))
    return malformed(scan);
  const value = lookUp(scan.variables, name, operator?.startsWith(':') ?? false);
  const needed = live && value === undefined;
  const operand = operator === undefined ? '' : readText(scan, true, needed && operator.endsWith('-'));
  if (scan.at >= scan.source.length) return unterminated(scan, name);
  scan.at += 1;
  if (live) scan.names.push(name);
  if (needed && !operator?.endsWith('-'))
    scan.problems.push(operand === '' ? `variable ${name} is not set` : `variable ${name} is not set: ${operand}`);
  return value ?? operand;
}

function lookUp(variables: Variables, name: string, emptyIsUnset: boolean): string | undefined {
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  return emptyIsUnset && value === '' ? undefined : value;
}

function take(scan: Scan, form: RegExp): string | undefined {
  form.lastIndex = scan.at;
  const found = form.exec(scan.source)?.[0];
  scan.at += found?.length ?? 0;
  return found;
}

function malformed(scan: Scan): string {
  return stop(scan, 'expected a variable like ${NAME} or ${NAME:-default}; write \\$ for a literal dollar sign');
}

function unterminated(scan: Scan, name: string): string {
  return stop(scan, `expected } after \${${name}, got the end of the text; write \\$ for a literal dollar sign`);
}

/** Stops at the first syntax error, because the text after it cannot be read reliably. */
function stop(scan: Scan, problem: string): string {
  if (scan.at <= scan.source.length) scan.problems.push(problem);
  scan.at = scan.source.length + 1;
  return '';
}
