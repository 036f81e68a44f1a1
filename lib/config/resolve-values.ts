import { readFileSync } from 'node:fs';
import { expand, type Variables } from './expand.ts';
import type { Meta } from './fields.ts';
import { SecretFile } from './keys.ts';
import { type Path, show, whyUnreadable } from './problems.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, type Shape, SHAPE, type Tree } from './schema-tree.ts';

/** What settling one source needs: how it names places and, for a file, the variables of its texts. */
export interface Settling {
  readonly name: (at: Path) => string;
  readonly report: Report;
  /** Null where texts are taken as they are. */
  readonly variables: Variables | null;
  /** Filled with the texts that hold variables, as written, by the name of their place. */
  readonly written: Map<string, string>;
  /** Filled with the names of places where a secret is written out. */
  readonly literals: string[];
}

/** Settles a tree that came through the door: texts are expanded, secrets are read from their files. */
export function settle(tree: Tree, settling: Settling): Tree {
  return walk(tree, SHAPE, [], settling) as Tree;
}

function walk(value: unknown, shape: Shape, at: Path, settling: Settling): unknown {
  if (shape.kind === 'value') return settleValue(value, at, shape.meta, settling);
  if (shape.kind === 'list' && Array.isArray(value))
    return value.map((item: unknown, index) => walk(item, shape.item, [...at, index], settling));
  if (shape.kind === 'list' || !isSection(value)) return value;
  const result: [string, unknown][] = [];
  for (const [key, inner] of Object.entries(value)) {
    const form = shape.kind === 'map' ? shape.item : shape.keys.find(({ camel }) => camel === key)?.shape;
    const settled = form && walk(inner, form, [...at, key], settling);
    if (settled !== undefined) result.push([key, settled]);
  }
  return Object.fromEntries(result);
}

function settleValue(value: unknown, at: Path, meta: Meta | undefined, settling: Settling): unknown {
  const name = settling.name(at);
  // Only files have variables, and only files write keys in snake_case.
  if (value instanceof SecretFile) return readSecret(value.path, at, `${name}${settling.variables ? '_file' : 'File'}`, settling);
  if (typeof value !== 'string' || !settling.variables) return value;
  if (meta?.file && value !== '' && !value.includes('${')) settling.literals.push(name);
  return expandText(value, at, name, settling);
}

function expandText(text: string, at: Path, name: string, { variables, report, written }: Settling): string | undefined {
  if (!variables) return text;
  const { text: result, names, problems } = expand(text, variables);
  for (const problem of problems) report.problem(at, name, problem);
  if (names.length > 0) written.set(name, text);
  return problems.length > 0 ? undefined : result;
}

function readSecret(path: unknown, at: Path, name: string, settling: Settling): string | null | undefined {
  const place = typeof path === 'string' ? expandText(path, at, name, settling) : '';
  if (place === undefined) return undefined;
  if (place === '' && typeof path === 'string') return null;
  try {
    return readFileSync(place, 'utf8').replace(/[\r\n]+$/, '');
  } catch (error) {
    const got = typeof path === 'string' ? `${show(path)} (${whyUnreadable(error)})` : show(path);
    settling.report.problem(at, name, expectation('a readable file', got, '/run/secrets/heimdall'));
    return undefined;
  }
}
