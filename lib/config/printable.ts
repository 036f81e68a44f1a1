import type { Config } from '../../types/config.d.ts';
import type { Meta } from './fields.ts';
import { maskUserinfo, writeDuration, writeShare, writeSize } from '../values/values.ts';
import { type KeyEntry, isSection, type SchemaNode, SCHEMA_TREE } from './schema-tree.ts';

/** A configuration in the form of a file: snake_case, units as text, secrets as `***`. Null stays null. */
export function printable(config: Config): object {
  return print(config, SCHEMA_TREE) as object;
}

function print(value: unknown, shape: SchemaNode): unknown {
  if (value === null) return null;
  switch (shape.kind) {
    case 'section':
      return printSection(value, shape.keys);
    case 'list':
      return Array.isArray(value) ? value.map((item: unknown) => print(item, shape.item)) : value;
    case 'map':
      if (!isSection(value)) return value;
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, print(item, shape.item)]));
    case 'value':
      return printValue(value, shape.meta?.unit);
  }
}

function printSection(value: unknown, keys: readonly KeyEntry[]): unknown {
  if (!isSection(value)) return value;
  return Object.fromEntries(
    keys.filter(({ camel }) => Object.hasOwn(value, camel)).map(({ camel, snake, shape }) => [snake, print(value[camel], shape)]),
  );
}

function printValue(value: unknown, unit: Meta['unit']): unknown {
  if (unit === 'secret' || (unit === 'token' && isWholeToken(value))) return '***';
  if (typeof value === 'string') return maskUserinfo(value);
  // A provider object of code is printed by its name, because a file cannot hold the object.
  if (isSection(value)) return value['name'];
  if (typeof value !== 'number') return value;
  switch (unit) {
    case 'duration':
      return writeDuration(value);
    case 'seconds':
      return writeDuration(value * 1_000);
    case 'size':
      return writeSize(value);
    case 'rate':
      return `${value}/s`;
    case 'share':
      return writeShare(value);
    case 'date':
      return new Date(value).toISOString();
    default:
      return value;
  }
}

/** Whether a value may be a whole NewAPI token. */
const isWholeToken = (value: unknown): boolean => typeof value === 'string' && value.startsWith('sk-');
