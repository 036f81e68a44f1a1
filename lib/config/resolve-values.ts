import { readSecretFile } from './environment.ts';
import { expand, type Variables } from './expand.ts';
import type { Meta } from './fields.ts';
import { SecretFile } from './key-names.ts';
import { type Path, show } from '../values/values.ts';
import { expectation } from '../errors.ts';
import type { Report } from './report.ts';
import { isSection, type SchemaNode, SCHEMA_TREE, type Tree } from './schema-tree.ts';

/** The source whose values are resolved. */
export interface ResolveContext {
  /** A path as the user wrote it. */
  readonly name: (at: Path) => string;
  readonly report: Report;
  /** Variables for expansion. Null where texts are not expanded. */
  readonly variables: Variables | null;
  /** Texts with variables, and secrets in files, are taken for unknown: the sender of the text may not learn them. */
  readonly isForeign?: true;
  /** Output: texts with variables as written, by their written path. */
  readonly written: Map<string, string>;
  /** Output: names of the variables that texts read. */
  readonly used: Set<string>;
  /** Output: written paths of literal secrets. */
  readonly literals: string[];
}

/** Resolves the values of a tree: expands variables in texts, and reads secrets from their files. */
export function resolveValues(tree: Tree, context: ResolveContext): Tree {
  return walk(tree, SCHEMA_TREE, [], context) as Tree;
}

function walk(value: unknown, shape: SchemaNode, at: Path, context: ResolveContext): unknown {
  if (shape.kind === 'value') return resolveValue(value, at, shape.meta, context);
  if (shape.kind === 'list' && Array.isArray(value))
    return value.map((item: unknown, index) => walk(item, shape.item, [...at, index], context));
  if (shape.kind === 'list' || !isSection(value)) return value;
  const result: [string, unknown][] = [];
  for (const [key, inner] of Object.entries(value)) {
    const form = shape.kind === 'map' ? shape.item : shape.keys.find(({ camel }) => camel === key)?.shape;
    const resolved = form && walk(inner, form, [...at, key], context);
    if (resolved !== undefined) result.push([key, resolved]);
  }
  return Object.fromEntries(result);
}

function resolveValue(value: unknown, at: Path, meta: Meta | undefined, context: ResolveContext): unknown {
  if (context.isForeign && (value instanceof SecretFile || (typeof value === 'string' && value.includes('${')))) {
    context.report.unknown(at);
    return undefined;
  }
  const name = context.name(at);
  // Only files have variables, and only files use snake_case.
  if (value instanceof SecretFile) return readSecret(value.path, at, `${name}${context.variables ? '_file' : 'File'}`, context);
  if (typeof value !== 'string' || !context.variables) return value;
  if (meta?.file && value !== '' && !value.includes('${')) context.literals.push(name);
  return meta?.file ? expandSecret(value, at, name, context) : expandText(value, at, name, context);
}

/**
 * Expands the text of a secret: `NAME_FILE` gives the file of a variable that is not set, and an empty variable is a problem
 * unless the text allows it, as `${NAME:-}` does.
 */
function expandSecret(text: string, at: Path, name: string, context: ResolveContext): string | null | undefined {
  const variables = { ...context.variables };
  for (const [, variable = '', operator] of text.matchAll(/\$\{(\w+)(:?)/g)) {
    const fileName = `${variable}_FILE`;
    const path = variables[variable] === undefined ? variables[fileName] : undefined;
    if (path) {
      context.used.add(fileName);
      const secret = readSecretFile(path, context.report, (why) => context.report.problem(at, `${name} (${fileName})`, expectation('a readable file with a secret', `${show(path)}${why}`, '/run/secrets/heimdall')));
      if (secret === undefined) return undefined;
      variables[variable] = secret;
    } else if (variables[variable] === '' && operator === '') {
      context.report.problem(at, name, expectation(`a value in the variable ${variable}`, `an empty one; write \${${variable}:-} where the secret may be missing`));
      return undefined;
    }
  }
  return expandText(text, at, name, { ...context, variables });
}

function expandText(text: string, at: Path, name: string, context: ResolveContext): string | undefined {
  const { variables, report, written } = context;
  if (!variables) return text;
  const { text: result, names, problems } = expand(text, variables);
  for (const [, variable = ''] of text.matchAll(/\$\{(\w+)/g)) context.used.add(variable);
  for (const problem of problems) report.problem(at, name, problem);
  if (names.length > 0) written.set(name, text);
  return problems.length > 0 ? undefined : result;
}

function readSecret(path: unknown, at: Path, name: string, context: ResolveContext): string | null | undefined {
  const place = typeof path === 'string' ? expandText(path, at, name, context) : '';
  if (place === undefined) return undefined;
  if (place === '' && typeof path === 'string') return null;
  // SECURITY: the path as written, since the text of a variable is not shown.
  const refuse = (why: string): void => context.report.problem(at, name, expectation('a readable file with a secret', `${show(path)}${why}`, '/run/secrets/heimdall'));
  if (typeof path === 'string') return readSecretFile(place, context.report, refuse);
  refuse('');
  return undefined;
}
