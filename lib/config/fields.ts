import { z } from 'zod';
import type { ValueType } from './value-types.ts';

/** Facts that every key carries in its schema. Errors, printing, types, the editor schema and `types/README.md` are made from them. */
export interface Meta extends Omit<ValueType<unknown>, 'read' | 'expectedOf'> {
  /** Description without default, bounds and final full stop. */
  readonly summary: string;
  /** The default as documentation shows it. Absent when the key is required. */
  readonly defaultText?: string;
}

/** Facts for the error of a value of the wrong type. The error is written where the source of the value is known. */
export interface Mismatch {
  readonly expected: string;
  readonly example?: unknown;
  readonly unit?: Meta['unit'] | undefined;
  readonly words?: readonly string[] | undefined;
}

/** The schema of a single value of type T. */
export type Leaf<T> = z.ZodPipe<z.ZodUnknown, z.ZodTransform<T, unknown>>;

type StrictObject<S extends z.ZodRawShape> = z.ZodObject<S, z.core.$strict>;

/** A required key. */
export function required<T>(type: ValueType<T>, summary: string): Leaf<T> {
  return leaf(type, summary, undefined, type.expected, 'required');
}

/** A key with a default, in the form a user would write. `defaultText` explains a default that is computed. */
export function key<T>(type: ValueType<T>, fallback: unknown, summary: string, defaultText = defaultTextOf(fallback)): z.ZodPrefault<Leaf<T>> {
  return leaf(type, summary, defaultText, type.expected, `default ${defaultText}`).prefault(() => fallback);
}

/** A list of values of one type. */
export function list<T>(type: ValueType<T>, fallback: readonly unknown[], summary: string): z.ZodPrefault<z.ZodArray<Leaf<T>>> {
  return values(type, summary, defaultTextOf(fallback)).prefault([...fallback]);
}

/** A list of values of one type, or null. `defaultText` explains the meaning of null. */
export function listOrNull<T>(type: ValueType<T>, summary: string, defaultText: string): z.ZodPrefault<z.ZodNullable<z.ZodArray<Leaf<T>>>> {
  return values(type, summary, defaultText).nullable().prefault(null);
}

/** A list of sections. `one` describes a single section. */
export function sections<S extends z.ZodRawShape>(
  title: string,
  one: string,
  summary: string,
  shape: S,
): z.ZodPrefault<z.ZodArray<StrictObject<S>>> {
  const item = z.strictObject(shape).meta({ title, summary: one });
  return z
    .array(item)
    .meta({ summary, defaultText: '[]', description: sentence(summary, 'default []') })
    .prefault([]);
}

/** A map with user-defined keys, which stay as written. */
export function map<T>(type: ValueType<T>, summary: string): z.ZodPrefault<z.ZodRecord<z.ZodString, Leaf<T>>> {
  const record = z.record(z.string(), leaf(type, summary, undefined));
  return record.meta({ summary, defaultText: '{}', description: sentence(summary, 'default {}') }).prefault({});
}

/** A map of sections with user-defined names. `one` describes a single section. */
export function sectionMap<S extends z.ZodRawShape>(
  title: string,
  one: string,
  summary: string,
  shape: S,
): z.ZodPrefault<z.ZodRecord<z.ZodString, StrictObject<S>>> {
  const item = z.strictObject(shape).meta({ title, summary: one });
  return z
    .record(z.string(), item)
    .meta({ summary, defaultText: '{}', description: sentence(summary, 'default {}') })
    .prefault({});
}

/** A section of keys. A missing section takes all its defaults. */
export function section<S extends z.ZodRawShape>(title: string, summary: string, shape: S): z.ZodPrefault<StrictObject<S>> {
  return keysOf(title, summary, shape).prefault({} as z.input<StrictObject<S>>);
}

/** A section that is null when missing. An empty section counts as present. */
export function sectionOrNull<S extends z.ZodRawShape>(
  title: string,
  summary: string,
  shape: S,
): z.ZodPrefault<z.ZodNullable<StrictObject<S>>> {
  return keysOf(title, summary, shape).nullable().prefault(null);
}

function keysOf<S extends z.ZodRawShape>(title: string, summary: string, shape: S): StrictObject<S> {
  return z.strictObject(shape).meta({ title, summary, description: sentence(summary) });
}

function values<T>(type: ValueType<T>, summary: string, defaultText: string): z.ZodArray<Leaf<T>> {
  const description = sentence(summary, `each ${type.expected}`, `default ${defaultText}`);
  return z.array(leaf(type, summary, undefined)).meta({ summary, defaultText, description });
}

function leaf<T>(type: ValueType<T>, summary: string, defaultText: string | undefined, ...details: string[]): Leaf<T> {
  const { read, expectedOf, ...facts } = type;
  const { expected, example, unit, words } = facts;
  const schema = z.unknown().transform((value, context): T => {
    const result = read(value);
    if (result !== undefined) return result;
    const params: Mismatch = { expected: expectedOf?.(value) ?? expected, example, unit, words };
    context.issues.push({ code: 'custom', input: value, params });
    return z.NEVER;
  });
  return schema.meta({ ...facts, summary, description: sentence(summary, ...details), ...(defaultText === undefined ? {} : { defaultText }) });
}

function sentence(summary: string, ...details: string[]): string {
  const text = details.join('; ');
  return details.length === 0 ? `${summary}.` : `${summary}. ${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function defaultTextOf(fallback: unknown): string {
  if (fallback === null) return 'none';
  return typeof fallback === 'object' ? JSON.stringify(fallback).replaceAll(',', ', ') : String(fallback);
}
