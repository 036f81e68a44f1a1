import { readFileSync } from 'node:fs';
import type { RequestLimit } from '../../types/config.d.ts';
import { moment } from '../admin/admin.ts';
import { readDuration, show, whyUnreadable } from '../config/config.ts';
import { expectation } from '../errors.ts';
import { textOf, UsageError, type Given } from './command.ts';

/** @throws UsageError when it is given and is neither a date nor a duration from now. */
export function momentOf(given: Given, name: string): number | undefined {
  return read(given, name, (text) => moment(Date.now).read(text), 'a date, a date and time, or a duration from now', '30d');
}

/** Milliseconds. @throws UsageError when it is given and none. */
export function durationOf(given: Given, name: string): number | undefined {
  return read(given, name, (text) => readDuration(text), 'a duration', '24h');
}

/** @throws UsageError when it is given and no number. */
export function numberOf(given: Given, name: string, example: string): number | undefined {
  return read(given, name, (text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined), 'a number', example);
}

/** A comma-separated list. */
export function listOf(given: Given, name: string): readonly string[] | undefined {
  return textOf(given, name)?.split(',').map((item) => item.trim()).filter((item) => item !== '');
}

/** `60/1m`. @throws UsageError when it is given and not that. */
export function limitOf(given: Given, name: string, example: string): RequestLimit | undefined {
  return read(given, name, (text) => {
    const [, count, per] = /^(\d+)\/(.+)$/.exec(text) ?? [];
    const window = readDuration(per);
    return count === undefined || window === undefined ? undefined : { limit: Number(count), window };
  }, 'a count and a duration', example);
}

/** What a file holds, without the end of its last line. @throws UsageError when it cannot be read. */
export function fileOf(given: Given, name: string): string | undefined {
  return read(given, name, (path) => {
    try {
      return readFileSync(path === '-' ? 0 : path, 'utf8').replace(/[\r\n]+$/, '');
    } catch (error) {
      throw new UsageError(`--${name}: ${expectation('a readable file, or - for standard input', `${show(path)} (${whyUnreadable(error)})`)}`);
    }
  }, 'a readable file', '/run/secrets/newapi-token');
}

function read<T>(given: Given, name: string, from: (text: string) => T | undefined, expected: string, example: string): T | undefined {
  const text = textOf(given, name);
  if (text === undefined) return undefined;
  const value = from(text);
  if (value === undefined) throw new UsageError(`--${name}: ${expectation(expected, show(text), example)}`);
  return value;
}
