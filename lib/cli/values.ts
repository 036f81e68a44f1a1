import { readFileSync } from 'node:fs';
import type { RequestLimit } from '../../types/config.d.ts';
import { readDuration, show, whyUnreadable } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { textOf, UsageError, type Invocation } from './command.ts';

/** The duration of an option in milliseconds. @throws UsageError when it is not a duration. */
export function durationOf(invocation: Invocation, name: string): number | undefined {
  return optionOf(invocation, name, (text) => readDuration(text), 'a duration', '24h');
}

/** The number of an option. @throws UsageError when it is not a number. */
export function numberOf(invocation: Invocation, name: string, example: string): number | undefined {
  return optionOf(invocation, name, (text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined), 'a number', example);
}

/** The whole number of an option, from 0 to `most`. @throws UsageError when it is another. */
export function wholeOf(invocation: Invocation, name: string, most: number, example: string): number | undefined {
  return optionOf(invocation, name, (text) => (/^\d+$/.test(text) && Number(text) <= most ? Number(text) : undefined), `a whole number from 0 to ${most}`, example);
}

/** The items of an option with a comma-separated list. */
export function listOf(invocation: Invocation, name: string): readonly string[] | undefined {
  return textOf(invocation, name)?.split(',').map((item) => item.trim()).filter((item) => item !== '');
}

/** The limit of an option in the form `60/1m`. @throws UsageError when it has another form. */
export function limitOf(invocation: Invocation, name: string, example: string): RequestLimit | undefined {
  return optionOf(invocation, name, (text) => {
    const [, count, per] = /^(\d+)\/(.+)$/.exec(text) ?? [];
    const window = readDuration(per);
    return count === undefined || window === undefined ? undefined : { limit: Number(count), window };
  }, 'a count and a duration', example);
}

/** The content of an option's file without its last line break. @throws UsageError when it cannot be read. */
export function fileOf(invocation: Invocation, name: string): string | undefined {
  return optionOf(invocation, name, (path) => {
    try {
      return readFileSync(path === '-' ? 0 : path, 'utf8').replace(/[\r\n]+$/, '');
    } catch (error) {
      throw new UsageError(`--${name}: ${expectation('a readable file, or - for standard input', `${show(path)} (${whyUnreadable(error)})`)}`);
    }
  }, 'a readable file', '/run/secrets/newapi-token');
}

/** An option's value, read from its text. @throws UsageError when the text has another form. */
export function optionOf<T>(invocation: Invocation, name: string, from: (text: string) => T | undefined, expected: string, example: string): T | undefined {
  const text = textOf(invocation, name);
  if (text === undefined) return undefined;
  const value = from(text);
  if (value === undefined) throw new UsageError(`--${name}: ${expectation(expected, show(text), example)}`);
  return value;
}

/** The word of an option. @throws UsageError when it is none of `words`. */
export function oneOf<T extends string>(invocation: Invocation, name: string, words: readonly T[]): T | undefined {
  const text = textOf(invocation, name);
  const found = words.find((word) => word === text);
  if (text !== undefined && found === undefined) throw new UsageError(`--${name}: ${expectation(`one of ${words.join(', ')}`, show(text))}`);
  return found;
}
