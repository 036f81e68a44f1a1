import { z } from 'zod';
import type { Kind } from './value-types.ts';

/** What every key carries in its schema; errors, printing, the types, the editor schema and the README are made of it. */
export interface Meta extends Omit<Kind<unknown>, 'read' | 'expectedOf'> {
  /** One sentence without default and bounds. */
  readonly what: string;
  /** The default as a reader sees it; absent when the key is required. */
  readonly shown?: string;
}

/** What a leaf's issue carries, so that the error can be written where the source of the value is known. */
export interface Complaint {
  readonly expected: string;
  readonly example?: unknown;
  readonly unit?: Meta['unit'] | undefined;
  readonly words?: readonly string[] | undefined;
}

/** The schema of a leaf of kind T. */
export type Leaf<T> = z.ZodPipe<z.ZodUnknown, z.ZodTransform<T, unknown>>;

type StrictObject<S extends z.ZodRawShape> = z.ZodObject<S, z.core.$strict>;

/** A key that must be given. */
export function required<T>(kind: Kind<T>, what: string): Leaf<T> {
  return leaf(kind, what, undefined, kind.expected, 'required');
}

/** A key with a default, written as a user would write it; `shown` explains a default that is worked out. */
export function key<T>(kind: Kind<T>, fallback: unknown, what: string, shown = visible(fallback)): z.ZodPrefault<Leaf<T>> {
  return leaf(kind, what, shown, kind.expected, `default ${shown}`).prefault(() => fallback);
}

/** A list of values of one kind. */
export function list<T>(kind: Kind<T>, fallback: readonly unknown[], what: string): z.ZodPrefault<z.ZodArray<Leaf<T>>> {
  return values(kind, what, visible(fallback)).prefault([...fallback]);
}

/** A list of values of one kind, or null, which means what `shown` says. */
export function listOrNull<T>(kind: Kind<T>, what: string, shown: string): z.ZodPrefault<z.ZodNullable<z.ZodArray<Leaf<T>>>> {
  return values(kind, what, shown).nullable().prefault(null);
}

/** A list of sections; `one` says what each is. */
export function sections<S extends z.ZodRawShape>(
  title: string,
  one: string,
  what: string,
  shape: S,
): z.ZodPrefault<z.ZodArray<StrictObject<S>>> {
  const item = z.strictObject(shape).meta({ title, what: one });
  return z
    .array(item)
    .meta({ what, shown: '[]', description: sentence(what, 'default []') })
    .prefault([]);
}

/** A map whose keys are the user's own and stay as written. */
export function map<T>(kind: Kind<T>, what: string): z.ZodPrefault<z.ZodRecord<z.ZodString, Leaf<T>>> {
  const record = z.record(z.string(), leaf(kind, what, undefined));
  return record.meta({ what, shown: '{}', description: sentence(what, 'default {}') }).prefault({});
}

/** A map of sections whose names are the user's own; `one` says what each is. */
export function sectionMap<S extends z.ZodRawShape>(
  title: string,
  one: string,
  what: string,
  shape: S,
): z.ZodPrefault<z.ZodRecord<z.ZodString, StrictObject<S>>> {
  const item = z.strictObject(shape).meta({ title, what: one });
  return z
    .record(z.string(), item)
    .meta({ what, shown: '{}', description: sentence(what, 'default {}') })
    .prefault({});
}

/** A section of keys; left out, all its defaults hold. */
export function section<S extends z.ZodRawShape>(title: string, what: string, shape: S): z.ZodPrefault<StrictObject<S>> {
  return keysOf(title, what, shape).prefault({} as z.input<StrictObject<S>>);
}

/** A section that is null unless it is given; an empty one counts as given. */
export function sectionOrNull<S extends z.ZodRawShape>(
  title: string,
  what: string,
  shape: S,
): z.ZodPrefault<z.ZodNullable<StrictObject<S>>> {
  return keysOf(title, what, shape).nullable().prefault(null);
}

function keysOf<S extends z.ZodRawShape>(title: string, what: string, shape: S): StrictObject<S> {
  return z.strictObject(shape).meta({ title, what, description: sentence(what) });
}

function values<T>(kind: Kind<T>, what: string, shown: string): z.ZodArray<Leaf<T>> {
  const description = sentence(what, `each ${kind.expected}`, `default ${shown}`);
  return z.array(leaf(kind, what, undefined)).meta({ what, shown, description });
}

function leaf<T>(kind: Kind<T>, what: string, shown: string | undefined, ...details: string[]): Leaf<T> {
  const { read, expectedOf, ...facts } = kind;
  const { expected, example, unit, words } = facts;
  const schema = z.unknown().transform((value, context): T => {
    const result = read(value);
    if (result !== undefined) return result;
    const params: Complaint = { expected: expectedOf?.(value) ?? expected, example, unit, words };
    context.issues.push({ code: 'custom', input: value, params });
    return z.NEVER;
  });
  return schema.meta({ ...facts, what, description: sentence(what, ...details), ...(shown === undefined ? {} : { shown }) });
}

function sentence(what: string, ...details: string[]): string {
  return details.length === 0 ? `${what}.` : `${what} (${details.join('; ')}).`;
}

function visible(fallback: unknown): string {
  if (fallback === null) return 'none';
  return typeof fallback === 'object' ? JSON.stringify(fallback).replaceAll(',', ', ') : String(fallback);
}
