import type { z } from 'zod';
import { type Mismatch, date, type ValueType } from '../config/config.ts';
import { readDuration, show, showLength, suggestion } from '../values/values.ts';
import { HeimdallError } from '../errors.ts';
import { invalid } from '../registry/registry.ts';

/** The schema of an object of fields. */
export type Fields = z.ZodObject<z.ZodRawShape, z.core.$strict>;

/**
 * Reads an object of fields.
 * @throws HeimdallError that names the first invalid field, the expected and the actual value, and an example.
 */
export function readFields<F extends Fields>(value: unknown, fields: F): z.output<F> {
  const result = fields.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw issue === undefined ? new HeimdallError('invalid_value') : problemOf(issue, value, fields);
}

function problemOf(issue: z.core.$ZodIssue, value: unknown, fields: Fields): HeimdallError {
  const at = issue.path as readonly (string | number)[];
  if (issue.code === 'unrecognized_keys') return unknownField(issue.keys[0] ?? '', at, fields);
  if (at.length === 0) return invalid('body', 'an object of fields', kindOf(value));
  const got = at.reduce<unknown>((inside, step) => (inside as Record<string, unknown> | undefined)?.[step], value);
  if (issue.code !== 'custom') return invalid(nameOf(at), issue.code === 'invalid_type' && issue.expected === 'array' ? 'a list' : 'an object of fields', kindOf(got));
  const { expected, example, unit } = issue.params as Mismatch;
  // SECURITY: a secret is not quoted, not even an invalid one.
  if (unit === 'secret') return invalid(nameOf(at), expected, showLength(got));
  return invalid(nameOf(at), expected, show(got), example);
}

function unknownField(name: string, at: readonly (string | number)[], fields: Fields): HeimdallError {
  const field = nameOf([...at, name.slice(0, 60)]);
  const guess = at.length === 0 ? suggestion(name.slice(0, 60), Object.keys(fields.shape)) : '';
  return new HeimdallError('invalid_value', { message: `${field}: unknown field.${guess}`, field });
}

/** The path of a field as in JavaScript: `requests.limit`, `cidrs[0]`. */
const nameOf = (at: readonly (string | number)[]): string => at.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('').replace(/^\./, '');

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Unix milliseconds, written as a date, a date and time with an offset, or a duration from now. */
export function moment(now: () => number): ValueType<number> {
  const absolute = date('2027-01-31T12:00:00Z');
  const relative = (value: unknown): number | undefined => (typeof value === 'string' && /[a-z]$/.test(value) ? readDuration(value) : undefined);
  return {
    ...absolute,
    expected: 'a date, a date and time, or a duration from now such as 24h',
    read: (value) => {
      const ahead = relative(value);
      return ahead === undefined ? absolute.read(value) : absolute.read(now() + ahead);
    },
  };
}

/** Restricts a kind to one JSON type, so that text that looks like a number or a boolean is refused. */
export function strictly<T>(kind: ValueType<T>, type: 'number' | 'boolean' | 'string'): ValueType<T> {
  return { ...kind, read: (value) => (value === null || typeof value === type ? kind.read(value) : undefined) };
}

/** A time in the format of the API, ISO 8601. */
export const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());
