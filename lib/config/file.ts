import { readFileSync, statSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { YAMLParseError } from 'yaml';
import { show, whyUnreadable } from '../values/values.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, type Tree } from './schema-tree.ts';

/**
 * Reads a YAML or JSON file as a tree with the keys as written. An empty file is an empty tree. `asked` is the source of
 * the path: the path itself or `HEIMDALL_CONFIG`. Syntax errors and duplicate keys are reported with their line number.
 * SECURITY: the lines are never quoted, because they may hold secrets.
 */
export function readTree(path: string, asked: string, report: Report): Tree {
  const text = readText(path, asked, report);
  return text === undefined ? {} : parseTree(text, path, report);
}

/** The tree of a text. @param path names it in problems. */
export function parseTree(text: string, path: string, report: Report): Tree {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const { pos, message } of relevantErrors(document.errors)) {
    const { line } = lines.linePos(pos[0]);
    const hint = text.split('\n')[line - 1]?.includes('${') ? '; inside { } and [ ] a text with ${NAME} needs quotes' : '';
    report.problem(null, `${path}:${line}`, message.replace(/:? ".*/s, '') + hint);
  }
  return document.errors.length > 0 ? {} : toTree(document, path, report);
}

/** Whether every user of the machine may read a file. */
export function isWorldReadable(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.mode ?? 0) % 8 >= 4;
}

/** Every duplicate key, and only the first of other errors, because a syntax error causes more errors after it. */
function relevantErrors(errors: readonly YAMLParseError[]): YAMLParseError[] {
  const syntaxError = errors.find(({ code }) => code !== 'DUPLICATE_KEY');
  return errors.filter((error) => error === syntaxError || (error.code === 'DUPLICATE_KEY' && !(syntaxError && syntaxError.pos[0] < error.pos[0])));
}

function readText(path: string, asked: string, report: Report): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const got = `${show(path)} (${whyUnreadable(error)})`;
    report.problem(null, asked, expectation('a readable configuration file', got, 'heimdall.yaml'));
    return undefined;
  }
}

function toTree(document: ReturnType<typeof parseDocument>, path: string, report: Report): Tree {
  try {
    const tree: unknown = document.toJS() ?? {};
    if (isSection(tree)) return tree;
    report.problem(null, path, expectation('sections of keys', Array.isArray(tree) ? 'a list' : 'a single value', 'server:'));
  } catch (error) {
    // An undefined YAML alias, or so many aliases that the tree would not fit in memory.
    report.problem(null, path, error instanceof Error ? error.message : String(error));
  }
  return {};
}
