/** Where variables are looked up: `process.env` or any copy of it. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** A text after expansion: what it became, which variables it asked for, and what is wrong with it (names, never values). */
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
 * SECURITY: a variable's value is inserted as it is and never looked at again, so no value can inject an expansion.
 */
export function expand(source: string, variables: Variables): Expansion {
  const run: Run = { source, variables, at: 0, names: [], problems: [] };
  const text = source.includes('$') ? readText(run, false, true) : source;
  return { text, names: run.names, problems: run.problems };
}

interface Run {
  readonly source: string;
  readonly variables: Variables;
  at: number;
  readonly names: string[];
  readonly problems: string[];
}

/** Reads up to the end, or up to the `}` that ends a default. `live` is false in a default that is not used. */
function readText(run: Run, inside: boolean, live: boolean): string {
  let text = '';
  while (run.at < run.source.length) {
    if (inside && run.source[run.at] === '}') return text;
    if (run.source.startsWith('\\$', run.at)) {
      text += '$';
      run.at += 2;
    } else if (run.source.startsWith('${', run.at)) {
      text += readVariable(run, live);
    } else {
      text += run.source[run.at++];
    }
  }
  return text;
}

function readVariable(run: Run, live: boolean): string {
  run.at += 2;
  const name = take(run, NAME);
  const operator = take(run, OPERATOR);
  if (name === undefined || (operator === undefined && run.at < run.source.length && run.source[run.at] !== '}'))
    return malformed(run);
  const value = lookUp(run.variables, name, operator?.startsWith(':') ?? false);
  const needed = live && value === undefined;
  const operand = operator === undefined ? '' : readText(run, true, needed && operator.endsWith('-'));
  if (run.at >= run.source.length) return unterminated(run, name);
  run.at += 1;
  if (live) run.names.push(name);
  if (needed && !operator?.endsWith('-'))
    run.problems.push(operand === '' ? `variable ${name} is not set` : `variable ${name} is not set: ${operand}`);
  return value ?? operand;
}

function lookUp(variables: Variables, name: string, emptyIsUnset: boolean): string | undefined {
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  return emptyIsUnset && value === '' ? undefined : value;
}

function take(run: Run, form: RegExp): string | undefined {
  form.lastIndex = run.at;
  const found = form.exec(run.source)?.[0];
  run.at += found?.length ?? 0;
  return found;
}

function malformed(run: Run): string {
  return stop(run, 'expected a variable like ${NAME} or ${NAME:-default}; write \\$ for a literal dollar sign');
}

function unterminated(run: Run, name: string): string {
  return stop(run, `expected } after \${${name}, got the end of the text; write \\$ for a literal dollar sign`);
}

/** One complaint about the form is enough: what follows it cannot be read reliably. */
function stop(run: Run, problem: string): string {
  if (run.at <= run.source.length) run.problems.push(problem);
  run.at = run.source.length + 1;
  return '';
}
