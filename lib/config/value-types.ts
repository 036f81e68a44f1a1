import { isIP } from 'node:net';
import { readDuration, readRate, readShare, readSize, writeDuration, writeSize } from './units.ts';

/** How one kind of value is read, named in errors, typed in code and checked by editors. */
export interface Kind<T> {
  /** Completes "expected …"; `expectedOf` narrows it to what is wrong with a value. */
  readonly expected: string;
  readonly expectedOf?: (value: unknown) => string;
  readonly example: unknown;
  /** The value, or undefined when it is not of this kind. Numbers and booleans may come as text: variables are text. */
  readonly read: (value: unknown) => T | undefined;
  /** TypeScript of what is accepted, and of what `Config` holds. */
  readonly input: string;
  readonly output: string;
  /** JSON Schema of what a file may say. */
  readonly json: Readonly<Record<string, unknown>>;
  /** How a value is printed, when not as it is. */
  readonly unit?: 'duration' | 'size' | 'seconds' | 'rate' | 'share' | 'date' | 'secret' | 'token';
  /** A secret that may also be given as `<key>_file`. */
  readonly file?: true;
  /** The words it may be, for "Did you mean …?". */
  readonly words?: readonly string[];
  /** Name of the exported type, when `output` deserves one. */
  readonly title?: string;
}

const TEXT = { input: 'string', output: 'string', json: { type: 'string', minLength: 1 } } as const;
const VARIABLE = '${NAME_OF_A_VARIABLE}';
/** Node's timers hold 31 bits of milliseconds. */
const LONGEST = 24 * 86_400_000;
/** Epoch milliseconds of 1973: a number below it is a year, or counts seconds. */
const EARLIEST = 1e11;
/** The last moment a Date can hold. */
const LATEST = 8.64e15;

/** One of a few words; `normal` brings other spellings to the word's. */
export function choice<const T extends string>(words: readonly T[], title?: string, normal = (word: string) => word): Kind<T> {
  const union = words.map((word) => `'${word}'`).join(' | ');
  return {
    expected: words.length > 2 ? `one of ${words.join(', ')}` : words.join(' or '),
    example: words[0],
    read: (value) => words.find((word) => word === normal(plain(value))),
    input: title ?? union,
    output: union,
    json: { enum: words },
    words,
    ...(title === undefined ? {} : { title }),
  };
}

/** Text that is not empty; `form` narrows it, `normal` brings it to its normal form. */
export function text(expected: string, example: string, form = /[^]/, normal = (value: string) => value): Kind<string> {
  return {
    ...TEXT,
    expected,
    example,
    read: (value) => (typeof value === 'string' && form.test(value) ? normal(value) : undefined),
    json: form.source === '[^]' ? TEXT.json : { type: 'string', pattern: form.source },
  };
}

/** `true` or `false`. */
export function flag(): Kind<boolean> {
  return {
    expected: 'true or false',
    example: true,
    read: (value) => (plain(value) === 'true' ? true : plain(value) === 'false' ? false : undefined),
    input: 'boolean',
    output: 'boolean',
    json: { type: 'boolean' },
  };
}

/** A whole number within bounds. */
export function integer(example: number, least: number, most = Number.MAX_SAFE_INTEGER): Kind<number> {
  const bounded = most !== Number.MAX_SAFE_INTEGER;
  return {
    expected: bounded ? `a whole number from ${least} to ${most}` : `a whole number of at least ${least}`,
    example,
    read: (value) => within(typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value, least, most),
    input: 'number',
    output: 'number',
    json: { type: 'integer', minimum: least, ...(bounded ? { maximum: most } : {}) },
  };
}

/** A number within bounds, not only a whole one. */
export function number(example: number, least: number, most = Number.MAX_VALUE): Kind<number> {
  const bounded = most !== Number.MAX_VALUE;
  return {
    expected: bounded ? `a number from ${least} to ${most}` : `a number of at least ${least}`,
    example,
    read: (value) => {
      const amount = typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value;
      return typeof amount === 'number' && amount >= least && amount <= most ? amount : undefined;
    },
    input: 'number',
    output: 'number',
    json: { type: 'number', minimum: least, ...(bounded ? { maximum: most } : {}) },
  };
}

/** Milliseconds from `least` to `most`, 24 days unless it is for no timer. */
export function duration(example = '30s', least = 1, most = LONGEST): Kind<number> {
  const named = least === 1 ? 'a duration above 0' : least === 0 ? 'a duration' : `a duration of at least ${writeDuration(least)}`;
  return {
    expected: `${named}${least === 0 ? ' of' : ','} at most ${writeDuration(most)}`,
    expectedOf: (value) => ((readDuration(value) ?? 0) > most ? `a duration of at most ${writeDuration(most)}` : named),
    example,
    read: (value) => within(readDuration(value), least, most),
    input: 'number | string',
    output: 'number',
    json: {
      type: ['string', 'number'],
      pattern: String.raw`^\d+(\.\d+)?(ms|s|m|h|d)?$`,
      ...(least === 1 ? { exclusiveMinimum: 0 } : { minimum: least }),
    },
    unit: 'duration',
  };
}

/** Whole seconds, written like a duration; a bare number counts seconds, as in the header it ends up in. */
export function seconds(example: string): Kind<number> {
  const { expectedOf: _, ...base } = duration(example);
  const inSeconds = (value: unknown): unknown => (typeof value === 'number' || /^\d+$/.test(plain(value)) ? `${value}s` : value);
  return {
    ...base,
    expected: 'a duration of whole seconds, at most 24d',
    read: (value) => within((readDuration(inSeconds(value)) ?? NaN) / 1_000, 0, LONGEST / 1_000),
    json: { type: ['string', 'number'], pattern: String.raw`^\d+(\.\d+)?(ms|s|m|h|d)?$`, minimum: 0 },
    unit: 'seconds',
  };
}

/** Bytes, at least `least`. */
export function size(example: string, least = 1): Kind<number> {
  return {
    expected: `a size of at least ${writeSize(least)}`,
    example,
    read: (value) => within(readSize(value), least, Number.MAX_SAFE_INTEGER),
    input: 'number | string',
    output: 'number',
    json: { type: ['string', 'integer'], pattern: String.raw`^\d+(\.\d+)?(B|KB|MB|GB)?$`, minimum: least },
    unit: 'size',
  };
}

/** Events a second. */
export function rate(example: string): Kind<number> {
  return {
    expected: 'a rate above 0',
    example,
    read: (value) => ((readRate(value) ?? 0) > 0 ? readRate(value) : undefined),
    input: 'number | string',
    output: 'number',
    json: { type: ['string', 'number'], pattern: String.raw`^\d+(\.\d+)?(/(s|m|h))?$`, exclusiveMinimum: 0 },
    unit: 'rate',
  };
}

/** A share from 0 to 1. */
export function share(example: string): Kind<number> {
  return {
    expected: 'a share above 0% and at most 100%',
    example,
    // Undefined is not above 0 either.
    read: (value) => ((readShare(value) ?? 0) > 0 ? readShare(value) : undefined),
    input: 'number | string',
    output: 'number',
    json: { type: ['string', 'number'], pattern: String.raw`^\d+(\.\d+)?%?$`, exclusiveMinimum: 0, maximum: 1 },
    unit: 'share',
  };
}

/** A base URL: http or https, without user, query or fragment; its trailing slashes are dropped. */
export function url(example: string): Kind<string> {
  return {
    ...TEXT,
    expected: 'an http or https URL without user, query or fragment',
    example,
    read: readUrl,
    json: { type: 'string', pattern: String.raw`^https?://[^?#\s@]+$` },
  };
}

/** A date, or a date and time with its offset; a bare date begins at midnight UTC. In code also epoch milliseconds or a Date. */
export function date(example: string): Kind<number> {
  return {
    expected: 'an ISO date, or a date and time with Z or an offset',
    example,
    read: readDate,
    input: 'number | string | Date',
    output: 'number',
    json: { type: 'string', pattern: String.raw`^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$` },
    unit: 'date',
  };
}

/** A secret text of at least `least` characters; errors show its length, printing `***`. */
export function secret(least: number): Kind<string> {
  const kind = text(`a secret text of at least ${least} characters`, VARIABLE, new RegExp(`^[^]{${least},}$`));
  return { ...kind, json: { type: 'string', minLength: least }, unit: 'secret', file: true };
}

/** A secret that travels in a header, so without spaces, line breaks and letters beyond ASCII. */
export function credential(): Kind<string> {
  const kind = text('a secret text of visible ASCII characters', VARIABLE, /^[\x21-\x7e]+$/);
  return { ...kind, json: TEXT.json, unit: 'secret', file: true };
}

/** A URL that may hold a password, so it is printed as a secret. */
export function secretUrl(schemes: readonly string[], example: string): Kind<string> {
  const form = new RegExp(String.raw`^(?:${schemes.join('|')})://\S+$`);
  const kind = text(`a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`, example, form);
  return { ...kind, read: (value) => (URL.canParse(String(value)) ? kind.read(value) : undefined), unit: 'secret', file: true };
}

/** An address or a CIDR; with `words`, also one of them. */
export function network(example: string, words: readonly string[] = []): Kind<string> {
  const names = words.length > 0 ? `, or one of ${words.join(', ')}` : '';
  return {
    ...TEXT,
    expected: `an IP address or CIDR${names}`,
    example,
    read: (value) => (typeof value === 'string' && (words.includes(value) || isNetwork(value)) ? value : undefined),
    words,
  };
}

/** Whether text is an IP address or a CIDR whose prefix fits its family. */
export function isNetwork(value: string): boolean {
  const [address = '', prefix, more] = value.split('/');
  const family = isIP(address);
  if (family === 0 || address.includes('%') || more !== undefined) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}

/** The kind, or null; empty text (`${VAR:-}`) means null too. */
export function orNull<T>(kind: Kind<T>): Kind<T | null> {
  return {
    ...kind,
    read: (value) => (value === null || value === '' ? null : kind.read(value)),
    input: `${kind.input} | null`,
    output: `${kind.output} | null`,
    json: { anyOf: [kind.json, { type: 'null' }] },
  };
}

/** The kind, or `false` to switch it off. */
export function orFalse<T>(kind: Kind<T>): Kind<T | false> {
  return {
    ...kind,
    expected: `${kind.expected}, or false`,
    read: (value) => (value === false || value === 'false' ? false : kind.read(value)),
    input: `${kind.input} | false`,
    output: `${kind.output} | false`,
    json: { anyOf: [kind.json, { const: false }] },
  };
}

/** The kind, or null for `off`, false or nothing. */
export function orOff<T>(kind: Kind<T>): Kind<T | null> {
  const { expectedOf } = kind;
  return {
    ...kind,
    expected: `${kind.expected}, or off`,
    ...(expectedOf ? { expectedOf: (value: unknown) => `${expectedOf(value)}, or off` } : {}),
    read: (value) => (value === null || ['', 'off', 'false'].includes(plain(value)) ? null : kind.read(value)),
    input: `${kind.input} | false | null`,
    output: `${kind.output} | null`,
    json: { anyOf: [kind.json, { enum: ['off', false, null] }] },
  };
}

/** Text of a plain value; lists and sections have none. */
function plain(value: unknown): string {
  return typeof value === 'object' ? '' : String(value);
}

function within(value: unknown, least: number, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
}

function readUrl(value: unknown): string | undefined {
  if (typeof value !== 'string' || !/^https?:\/\/[^?#\s]+$/i.test(value)) return undefined;
  const parsed = URL.parse(value);
  return parsed && parsed.username === '' && parsed.password === '' ? parsed.href.replace(/\/+$/, '') : undefined;
}

function readDate(value: unknown): number | undefined {
  if (value instanceof Date) return within(value.getTime(), EARLIEST, LATEST);
  if (typeof value !== 'string') return within(value, EARLIEST, LATEST);
  const day = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.exec(value)?.[1];
  // Date.parse takes 30 February for 2 March.
  const exists = day !== undefined && Number.isFinite(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
  return exists ? within(Date.parse(value), EARLIEST, LATEST) : undefined;
}
