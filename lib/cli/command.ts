import type { Config } from '../../types/config.d.ts';
import { expectation } from '../errors.ts';

/** The options and arguments of a command. */
export interface Invocation {
  /** Options by their long names. Options that were not given are absent. */
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** Arguments after the command's name. */
  readonly names: readonly string[];
  readonly output: Output;
}

/** Output of a command: results go to standard output, messages for people to standard error. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

/** An option in the form of `parseArgs`, with its text in the help. */
export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** Placeholder of the value in the help. Absent for a flag. */
  readonly value?: string;
  readonly summary: string;
}

/** A command: its help, its options and arguments, and its action. */
export interface Command {
  /** One or two words. */
  readonly name: string;
  /** Placeholders of the arguments in the help, those that may be left out last and in brackets. */
  readonly args: readonly string[];
  readonly summary: string;
  readonly options: Readonly<Record<string, Option>>;
  /** @returns the exit code, or null to keep the process running. */
  run(invocation: Invocation): Promise<number | null>;
}

/** Options of every command. */
export const common = {
  config: { type: 'string', short: 'c', value: 'FILE', summary: 'configuration file (default: HEIMDALL_CONFIG)' },
  help: { type: 'boolean', short: 'h', summary: 'show the help of the command' },
} as const satisfies Record<string, Option>;

/** Wrong usage of a command: exit code 2. */
export class UsageError extends Error {}

/** The value of a text option, or undefined. */
export function textOf({ values }: Invocation, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** The journal of a configuration. @throws Error where it is switched off. */
export function journalPath({ audit }: Config): string {
  if (!audit.enabled) throw new Error(`audit: ${expectation('a journal', 'false', 'audit: { path: data/heimdall.db }, or --path FILE')}`);
  return audit.path;
}
