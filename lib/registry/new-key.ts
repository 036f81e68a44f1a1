import { hash, randomBytes, randomInt } from 'node:crypto';
import { isIP } from 'node:net';
import { z } from 'zod';
import type { KeyChange, NewKey, OwnLimits } from '../../types/registry.d.ts';
import { type Mismatch, credential, date, flag, key, keyLimits, list, modelName, network, orNull, required, text, toSnake, type Tree, valueAt } from '../config/config.ts';
import { type Path, show, showLength } from '../values/values.ts';
import { invalid } from './invalid.ts';

/** Random bytes of a key, as many as its digest has. */
const keyLength = 32;

const nameForm = /^[\p{L}\p{N}][\p{L}\p{N}._@+-]{0,63}$/u;

/** A name must not look like an address or a token identity, since a ban takes any of the three. */
const name = {
  ...text('a name of letters, digits and ._@+-, at most 64, that is no address and no token identity', 'team-a'),
  read: (value: unknown) => (typeof value === 'string' && nameForm.test(value) && isIP(value) === 0 && !/^[0-9a-f]{16}$/.test(value) ? value : undefined),
};

const shape = z.strictObject({
  name: required(name, 'Name'),
  expires: key(orNull(date('2027-01-31')), null, 'End'),
  models: list(modelName, [], 'Models'),
  cidrs: list(network('10.0.0.0/8'), [], 'Addresses'),
  upstreamCredential: key(orNull(credential()), null, 'NewAPI token'),
  honey: key(flag(), false, 'Honey key'),
  ...keyLimits,
});

/** A new key with all fields set. */
export interface KeyDraft extends OwnLimits {
  readonly name: string;
  readonly expires: number | null;
  readonly models: readonly string[];
  readonly cidrs: readonly string[];
  readonly upstreamCredential: string | null;
  readonly honey: boolean;
}

/**
 * Reads and checks a new key; values may be written as in the configuration.
 * @param now Unix milliseconds.
 * @throws HeimdallError `invalid_value` naming the field.
 */
export function readNewKey(input: NewKey, now: number): KeyDraft {
  const result = shape.safeParse(input);
  if (!result.success) throw complaint(result.error.issues[0] as z.core.$ZodIssue, input);
  checkExpiry(result.data.expires, now);
  return result.data;
}

const bounds = ['models', 'cidrs', 'requests', 'tokens', 'concurrency', 'budget'] as const;

/**
 * Reads and checks changed bounds of a key. A missing one stays missing.
 * @throws HeimdallError `invalid_value` naming the field.
 */
export function readBounds(change: Omit<KeyChange, 'disabled' | 'expires'>): Omit<KeyChange, 'disabled' | 'expires'> {
  const given = Object.fromEntries(bounds.flatMap((name) => (change[name] === undefined ? [] : [[name, change[name]]])));
  const result = shape.safeParse({ ...given, name: 'a' });
  if (!result.success) throw complaint(result.error.issues[0] as z.core.$ZodIssue, given as unknown as NewKey);
  return Object.fromEntries(Object.keys(given).map((name) => [name, result.data[name as (typeof bounds)[number]]]));
}

/** Checks an expiry. @throws HeimdallError `invalid_value` unless it is null or in the future. */
export function checkExpiry(expires: number | null, now: number): void {
  if (expires === null || (Number.isSafeInteger(expires) && expires > now)) return;
  throw invalid('expires', 'a moment to come', Number.isSafeInteger(expires) && Math.abs(expires) <= 8.64e15 ? new Date(expires).toISOString() : show(expires), '2027-01-31');
}

function complaint(issue: z.core.$ZodIssue, input: NewKey): Error {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const at = [...issue.path, ...unknown.slice(0, 1)] as Path;
  const field = at.map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${toSnake(step)}`)).join('');
  const got = valueAt(input as unknown as Tree, at);
  if (unknown.length > 0) return invalid(field, `one of ${Object.keys(shape.shape).map(toSnake).join(', ')}`, 'an unknown field');
  const { expected = issue.code === 'invalid_type' && issue.expected === 'array' ? 'a list' : 'a section of keys', example, unit } = (issue.code === 'custom' ? issue.params : {}) as Partial<Mismatch>;
  return invalid(field, expected, unit === 'secret' ? showLength(got) : show(got), example);
}

/** Creates a random key. */
export const makeKey = (): string => `sk-${randomBytes(keyLength).toString('base64url')}`;

/** Letters and digits of NewAPI's tokens, and their number. */
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const tokenLength = 48;

/** Creates a random key that looks like a token of NewAPI. */
export const makeToken = (): string => `sk-${Array.from({ length: tokenLength }, () => letters[randomInt(letters.length)]).join('')}`;

/** The digest under which a key is stored. */
export const digestOf = (key: string): string => hash('sha256', key);
