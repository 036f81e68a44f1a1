import { isNetwork, readDuration, readRate, readShare, readSize, writeDuration, writeSize } from '../values/values.ts';

/** A type of value: how it is read, described in errors, typed in code and checked by editors. */
export interface ValueType<T> {
  /** The text after "expected …". `expectedOf` returns a more specific text for a wrong value. */
  readonly expected: string;
  readonly expectedOf?: (value: unknown) => string;
  readonly example: unknown;
  /** The value, or undefined when it is not of this type. Numbers and booleans are accepted as text, because variables are text. */
  readonly read: (value: unknown) => T | undefined;
  /** TypeScript types of accepted values (`input`) and of the value in `Config` (`output`). */
  readonly input: string;
  readonly output: string;
  /** JSON Schema of accepted values in a file. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Unit that decides how a value is printed. Absent: as it is. */
  readonly unit?: 'duration' | 'size' | 'seconds' | 'rate' | 'share' | 'date' | 'secret' | 'token';
  /** Set for a secret that may also be given as `<key>_file`. */
  readonly file?: true;
  /** The allowed words, for "Did you mean …?". */
  readonly words?: readonly string[];
  /** Name of the exported TypeScript type, when `output` gets one. */
  readonly title?: string;
}

const TEXT = { input: 'string', output: 'string', json: { type: 'string', minLength: 1 } } as const;
const VARIABLE = '${NAME_OF_A_VARIABLE}';
/** Longest duration in milliseconds, below the 31 bits that Node's timers hold. */
const MAX_DURATION = 24 * 86_400_000;
/** Lowest accepted epoch milliseconds (1973). A lower number is a year, or seconds. */
const MIN_TIME = 1e11;
/** Highest epoch milliseconds that a Date can hold. */
const MAX_TIME = 8.64e15;

/** One of a list of words. `normal` maps other spellings to a word. */
export function choice<const T extends string>(words: readonly T[], title?: string, normal = (word: string) => word): ValueType<T> {
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

/** Non-empty text that matches `form`. `normal` brings it to its normal form. */
export function text(expected: string, example: string, form = /[^]/, normal = (value: string) => value): ValueType<string> {
  return {
    ...TEXT,
    expected,
    example,
    read: (value) => (typeof value === 'string' && form.test(value) ? normal(value) : undefined),
    json: form.source === '[^]' ? TEXT.json : { type: 'string', pattern: form.source },
  };
}

/** `true` or `false`. */
export function flag(): ValueType<boolean> {
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
export function integer(example: number, least: number, most = Number.MAX_SAFE_INTEGER): ValueType<number> {
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

/** A number within bounds. */
export function number(example: number, least: number, most = Number.MAX_VALUE): ValueType<number> {
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

/** A duration in milliseconds from `least` to `most`. The default of `most` is 24 days, the limit of timers. */
export function duration(example = '30s', least = 1, most = MAX_DURATION): ValueType<number> {
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

/** A duration in whole seconds. A bare number counts seconds, as in the header that the value is sent in. */
export function seconds(example: string): ValueType<number> {
  const { expectedOf: _, ...base } = duration(example);
  const inSeconds = (value: unknown): unknown => (typeof value === 'number' || /^\d+$/.test(plain(value)) ? `${value}s` : value);
  return {
    ...base,
    expected: 'a duration of whole seconds, at most 24d',
    read: (value) => within((readDuration(inSeconds(value)) ?? NaN) / 1_000, 0, MAX_DURATION / 1_000),
    json: { type: ['string', 'number'], pattern: String.raw`^\d+(\.\d+)?(ms|s|m|h|d)?$`, minimum: 0 },
    unit: 'seconds',
  };
}

/** A size in bytes, at least `least`. */
export function size(example: string, least = 1): ValueType<number> {
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

/** A rate in events per second. */
export function rate(example: string): ValueType<number> {
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
export function share(example: string): ValueType<number> {
  return {
    expected: 'a share above 0% and at most 100%',
    example,
    // An unreadable value counts as 0, which is not accepted.
    read: (value) => ((readShare(value) ?? 0) > 0 ? readShare(value) : undefined),
    input: 'number | string',
    output: 'number',
    json: { type: ['string', 'number'], pattern: String.raw`^\d+(\.\d+)?%?$`, exclusiveMinimum: 0, maximum: 1 },
    unit: 'share',
  };
}

/** A base URL: http or https, without user, query or fragment. Trailing slashes are removed. */
export function url(example: string): ValueType<string> {
  return {
    ...TEXT,
    expected: 'an http or https URL without user, query or fragment',
    example,
    read: readUrl,
    json: { type: 'string', pattern: String.raw`^https?://[^?#\s@]+$` },
  };
}

/** A date, or a date and time with an offset. A date without a time means 00:00 UTC. In code also epoch milliseconds or a Date. */
export function date(example: string): ValueType<number> {
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

/** A secret text of at least `least` characters. Errors show its length; it is printed as `***`. */
export function secret(least: number): ValueType<string> {
  const type = text(`a secret text of at least ${least} characters`, VARIABLE, new RegExp(`^[^]{${least},}$`));
  return { ...type, json: { type: 'string', minLength: least }, unit: 'secret', file: true };
}

/** A secret that is sent in a header: visible ASCII characters only. */
export function credential(): ValueType<string> {
  const type = text('a secret text of visible ASCII characters', VARIABLE, /^[\x21-\x7e]+$/);
  return { ...type, json: TEXT.json, unit: 'secret', file: true };
}

/** A URL that may hold a password, printed as a secret. */
export function secretUrl(schemes: readonly string[], example: string): ValueType<string> {
  const form = new RegExp(String.raw`^(?:${schemes.join('|')})://\S+$`);
  const type = text(`a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`, example, form);
  return {
    ...type,
    expectedOf: (value) => (decodes(URL.parse(plain(value))) ? type.expected : `${type.expected}, whose user and password have special characters escaped: % as %25, @ as %40`),
    read: (value) => {
      const url = URL.parse(plain(value));
      return url !== null && decodes(url) ? type.read(value) : undefined;
    },
    unit: 'secret',
    file: true,
  };
}

/** Whether the user and the password of a URL can be decoded: every client of a store does so when it connects. */
function decodes(url: URL | null): boolean {
  try {
    return url === null || decodeURIComponent(`${url.username}:${url.password}`) !== '';
  } catch {
    return false;
  }
}

/** An IP address or a CIDR, or one of `words`. */
export function network(example: string, words: readonly string[] = []): ValueType<string> {
  const names = words.length > 0 ? `, or one of ${words.join(', ')}` : '';
  return {
    ...TEXT,
    expected: `an IP address or CIDR${names}`,
    example,
    read: (value) => (typeof value === 'string' && (words.includes(value) || isNetwork(value)) ? value : undefined),
    words,
  };
}

/** The type, or null. Empty text (`${VAR:-}`) means null. */
export function orNull<T>(type: ValueType<T>): ValueType<T | null> {
  return {
    ...type,
    read: (value) => (value === null || value === '' ? null : type.read(value)),
    input: `${type.input} | null`,
    output: `${type.output} | null`,
    json: { anyOf: [type.json, { type: 'null' }] },
  };
}

/** The type, or `false` to turn it off. */
export function orFalse<T>(type: ValueType<T>): ValueType<T | false> {
  return {
    ...type,
    expected: `${type.expected}, or false`,
    read: (value) => (value === false || value === 'false' ? false : type.read(value)),
    input: `${type.input} | false`,
    output: `${type.output} | false`,
    json: { anyOf: [type.json, { const: false }] },
  };
}

/** The type, or null for `off`, false or an empty value. */
export function orOff<T>(type: ValueType<T>): ValueType<T | null> {
  const { expectedOf } = type;
  return {
    ...type,
    expected: `${type.expected}, or off`,
    ...(expectedOf ? { expectedOf: (value: unknown) => `${expectedOf(value)}, or off` } : {}),
    read: (value) => (value === null || ['', 'off', 'false'].includes(plain(value)) ? null : type.read(value)),
    input: `${type.input} | false | null`,
    output: `${type.output} | null`,
    json: { anyOf: [type.json, { enum: ['off', false, null] }] },
  };
}

/** The text of a value. Lists and sections give an empty text. */
export function plain(value: unknown): string {
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
  if (value instanceof Date) return within(value.getTime(), MIN_TIME, MAX_TIME);
  if (typeof value !== 'string') return within(value, MIN_TIME, MAX_TIME);
  const day = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.exec(value)?.[1];
  // Date.parse reads 30 February as 2 March.
  const exists = day !== undefined && Number.isFinite(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
  return exists ? within(Date.parse(value), MIN_TIME, MAX_TIME) : undefined;
}
