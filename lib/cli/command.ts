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

/** A style of text, as `util.styleText` names it. Used where the output is a terminal and NO_COLOR is not set. */
export type Style = 'bold' | 'green' | 'yellow' | 'red';

/** Output of a command: results go to standard output, messages for people to standard error. */
export interface Output {
  out(text: string, style?: Style): void;
  err(text: string, style?: Style): void;
  /** Shows how much of a long work is done, by a bar where standard error is a terminal, and by nothing elsewhere. */
  progress(done: number, total: number): void;
  /** Ends the process with the command, whatever it has left undone. Absent where the process is not the command's. */
  leave?(code: number): void;
}

/** An option, with its text in the help. */
export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** Placeholder of the value in the help. Words between `|` are offered by the completion of a shell. Absent for a flag. */
  readonly value?: string;
  readonly summary: string;
}

/** Headings of the whole help, in its order. */
export type Group = 'Gateway' | 'Keys' | 'Bans and findings' | 'Journal' | 'About';

/** A row of the table of commands: what the whole help shows, and where the rest is. */
export interface Command {
  /** One or two words. */
  readonly name: string;
  /** Placeholders of the arguments in the help. Those that may be left out stand last and in brackets. */
  readonly args: readonly string[];
  readonly summary: string;
  readonly group: Group;
  /** Loads the command, so that the help of one command, or of all, does not load the code of others. */
  load(): Promise<Action>;
}

/** What a command takes and does. */
export interface Action {
  readonly options: Readonly<Record<string, Option>>;
  /** Lines a reader can paste, each without the prompt. */
  readonly examples?: readonly string[];
  /** @returns the exit code, or null to keep the process running. */
  run(invocation: Invocation): Promise<number | null>;
}

/** Options of every command, beside `--help` and `--version`. */
export const common = {
  config: { type: 'string', short: 'c', value: 'FILE', summary: 'configuration file (default: HEIMDALL_CONFIG)' },
} as const satisfies Record<string, Option>;

/** The option of every command that prints a result. */
export const json: Option = { type: 'boolean', summary: 'print one JSON document' };

/** Wrong usage of a command: exit code 2. */
export class UsageError extends Error {}

/** The value of a text option, or undefined. */
export function textOf({ values }: Invocation, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** Prints a result as one JSON document. */
export const printJson = ({ output }: Invocation, value: unknown): void => output.out(`${JSON.stringify(value, null, 2)}\n`);

/** The journal of a configuration. @throws Error where it is switched off. */
export function journalPath({ audit }: Config): string {
  if (!audit.enabled) throw new Error(`audit: ${expectation('a journal', 'false', 'audit: { path: data/heimdall.db }, or --path FILE')}`);
  return audit.path;
}
