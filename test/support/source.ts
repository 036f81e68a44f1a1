import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** A source file as the repository's rules look at it. Paths are relative to the root. */
export interface Source {
  readonly path: string;
  readonly text: string;
  /** The text with comments, strings, templates and regular expressions blanked out, line for line. */
  readonly code: string;
  /** Files it imports, types too. */
  readonly imports: readonly string[];
  /** Those it imports when it runs. */
  readonly values: readonly string[];
}

/** A function with its place. */
export interface Span {
  readonly line: number;
  readonly lines: number;
  /** The line it begins on. */
  readonly head: string;
}

const root = new URL('../../', import.meta.url);

/** Reads a file of the repository. */
export function readSource(path: string): Source {
  const text = readFileSync(new URL(path, root), 'utf8');
  // `verbatimModuleSyntax` makes the word decide what is left when types are stripped.
  const running = path.endsWith('.d.ts') ? '' : text.replace(/^(?:import|export) type\b/gm, '');
  return { path, text, code: blank(text), imports: importsOf(text, path), values: importsOf(running, path) };
}

function importsOf(text: string, path: string): string[] {
  const found = [...text.matchAll(/^(?:import|export)\b[^;'"]*?\bfrom\s*'(\.[^']+)'/gm), ...text.matchAll(/\bimport\(\s*'(\.[^']+)'\s*\)/g), ...text.matchAll(/^import\s*'(\.[^']+)'/gm)];
  return found.map(([, specifier = '']) => normalize(join(dirname(path), specifier)));
}

/** One token that holds no code, or one character. A slash behind an operator, a bracket or `return` begins an expression, one that ends an element does not. */
const tokens = /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)|<\/(?=[\w>])|\/>(?=[\s<){}])|(?<=(?:^|[(,=:[!&|?{};+\-*%~^<>]|\breturn|\bcase)\s*)\/(?![*/])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*|[^]/g;
const restOfTemplate = /(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)/y;

function blank(text: string): string {
  let code = '';
  const templates: number[] = [];
  let depth = 0;
  const hide = (token: string): void => void (code += token.replace(/[^\n]/g, ' '));
  tokens.lastIndex = 0;
  for (let found = tokens.exec(text); found !== null; found = tokens.exec(text)) {
    const [token] = found;
    if (token === '{') depth++;
    if (token === '}' && templates.at(-1) === depth) {
      restOfTemplate.lastIndex = tokens.lastIndex;
      const rest = restOfTemplate.exec(text)?.[0] ?? '';
      tokens.lastIndex += rest.length;
      hide(token + rest);
      if (rest.endsWith('`')) templates.pop();
      continue;
    }
    if (token === '}') depth--;
    if (token[0] === '`' && token.endsWith('${')) templates.push(depth);
    if (token.length > 1) hide(token);
    else code += token;
  }
  return code;
}

/** Every function with a body in braces: declared, arrow or method. */
export function functionsOf({ code }: Source): Span[] {
  const lines = code.split('\n');
  const found: Span[] = [];
  const open: { at: number; isFunction: boolean }[] = [];
  for (let at = 0; at < code.length; at++) {
    if (code[at] === '{') open.push({ at, isFunction: opensFunction(code.slice(0, at)) });
    const begun = code[at] === '}' ? open.pop() : undefined;
    if (!begun?.isFunction) continue;
    const first = lineAt(code, begun.at);
    found.push({ line: first, lines: lineAt(code, at) - first + 1, head: (lines[first - 1] as string).trim() });
  }
  return found;
}

const lineAt = (code: string, at: number): number => code.slice(0, at).split('\n').length;

/** What stands before the brace: an arrow, or a list of parameters, perhaps with a type behind it, that is no condition. */
function opensFunction(before: string): boolean {
  const near = before.slice(-400).trimEnd();
  if (near.endsWith('=>')) return true;
  if (/\b(?:class|interface|switch|try|else|finally|do)\b[^;{}()]*$/.test(near)) return false;
  const close = /\)\s*(?::[^;{}=]*)?$/.exec(near)?.index;
  if (close === undefined) return false;
  let depth = 0;
  for (let at = close; at >= 0; at--) {
    if (near[at] === ')') depth++;
    if (near[at] === '(' && --depth === 0) return !/\b(?:if|for|while|switch|catch|with|await)\s*$/.test(near.slice(0, at));
  }
  return true;
}
