/** What a command was given. */
export interface Given {
  /** Options by their long names; those that were not given are absent. */
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** What follows the command's name. */
  readonly names: readonly string[];
  readonly say: Say;
}

/** Where a command speaks: what is asked for on the one, what people should know on the other. */
export interface Say {
  out(text: string): void;
  err(text: string): void;
}

/** An option as `parseArgs` knows it, and how the usage shows its value. */
export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** Left out for a switch. */
  readonly value?: string;
  readonly what: string;
}

/** One command: its place in the usage, what it takes, and what it does. */
export interface Command {
  /** One word, or two. */
  readonly name: string;
  /** Names it wants behind its own, as the usage shows them. */
  readonly wants: readonly string[];
  readonly what: string;
  readonly options: Readonly<Record<string, Option>>;
  /** @returns the exit code, or null to keep the process running. */
  run(given: Given): Promise<number | null>;
}

/** Every command has these. */
export const common = {
  config: { type: 'string', short: 'c', value: 'FILE', what: 'the configuration; else what HEIMDALL_CONFIG names' },
  help: { type: 'boolean', short: 'h', what: 'how the command is used' },
} as const satisfies Record<string, Option>;

/** Something the caller wrote makes no sense: exit code 2. */
export class UsageError extends Error {}

/** A text option, or undefined. */
export function textOf({ values }: Given, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}
