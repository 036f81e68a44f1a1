import { readFileSync, statSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { YAMLParseError } from 'yaml';
import { show, whyUnreadable } from './problems.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, type Tree } from './schema-tree.ts';

/**
 * Reads a YAML (or JSON) file as a tree, keys as written; an empty file is an empty tree. `asked` is what named the file:
 * the path itself or `HEIMDALL_CONFIG`. What cannot be read or parsed is reported, syntax errors and duplicate keys with
 * their line; the lines themselves are never quoted, they may hold secrets.
 */
export function readTree(path: string, asked: string, report: Report): Tree {
  const text = readText(path, asked, report);
  if (text === undefined) return {};
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const { pos, message } of worthSaying(document.errors)) {
    const { line } = lines.linePos(pos[0]);
    const hint = text.split('\n')[line - 1]?.includes('${') ? '; inside { } and [ ] a text with ${NAME} needs quotes' : '';
    report.problem(null, `${path}:${line}`, message.replace(/:? ".*/s, '') + hint);
  }
  return document.errors.length > 0 ? {} : toTree(document, path, report);
}

/** Whether anyone on the machine may read a file. */
export function isWorldReadable(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.mode ?? 0) % 8 >= 4;
}

/** Every duplicate key, but of the rest the first alone: one slip makes the parser stumble over all that follows. */
function worthSaying(errors: readonly YAMLParseError[]): YAMLParseError[] {
  const slip = errors.find(({ code }) => code !== 'DUPLICATE_KEY');
  return errors.filter((error) => error === slip || (error.code === 'DUPLICATE_KEY' && !(slip && slip.pos[0] < error.pos[0])));
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
    // An alias that is not defined, or so many that the tree would not fit in memory.
    report.problem(null, path, error instanceof Error ? error.message : String(error));
  }
  return {};
}
