import type { Config } from '../../types/config.d.ts';
import { readHeaderList } from '../values/values.ts';
import { isSection, type SchemaNode, SCHEMA_TREE } from './schema-tree.ts';

/** Shortest secret that is searched for, in characters. Shorter texts would match ordinary words. */
export const shortestSecret = 8;

/** Every secret of a configuration, so that it can be masked where an upstream or a caller repeats it. */
export function secretsOf(config: Config): string[] {
  const found = new Set<string>();
  collect(config, SCHEMA_TREE, found);
  // A receiver may quote one of its headers, or its token without the scheme.
  for (const value of Object.values(readHeaderList(config.audit.otlp.headers ?? '') ?? {})) found.add(value).add(value.slice(value.lastIndexOf(' ') + 1));
  return [...found].filter((secret) => secret.length >= shortestSecret);
}

function collect(value: unknown, shape: SchemaNode, found: Set<string>): void {
  if (shape.kind === 'value') {
    if (typeof value === 'string' && shape.meta?.unit === 'secret') found.add(value);
  } else if (shape.kind === 'list') {
    if (Array.isArray(value)) for (const item of value) collect(item, shape.item, found);
  } else if (isSection(value)) {
    if (shape.kind === 'map') for (const item of Object.values(value)) collect(item, shape.item, found);
    // The SHA-256 of a key is not a secret.
    else for (const { camel, shape: inner } of shape.keys) if (camel !== 'sha256') collect(value[camel], inner, found);
  }
}
