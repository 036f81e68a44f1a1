// The commands of `heimdall`.

import { styleText } from 'node:util';
import { maskCredentials, printableLines } from '../redaction/redaction.ts';
import { commandOf, familyOf, parse, UnknownOption } from './parser.ts';
import { ProgressBar } from './progress.ts';
import { printJson, UsageError, type Action, type Command, type Group, type Output, type Style } from './command.ts';

const row = (name: string, args: readonly string[], summary: string, group: Group, load: () => Promise<Action>): Command => ({ name, args, summary, group, load });

/** The table of commands, in the order of the whole help. A family's commands stand together. */
const commands: readonly Command[] = [
  row('init', [], 'write a configuration to start from, and fresh tokens, into this directory', 'Gateway', async () => (await import('./init.ts')).init),
  row('start', [], 'run the gateway', 'Gateway', async () => (await import('./start.ts')).start),
  row('check', ['[FILE]'], 'validate and print the configuration, secrets masked', 'Gateway', async () => (await import('./check.ts')).check),
  row('doctor', [], 'look for what is wrong around the gate, with what mends it', 'Gateway', async () => (await import('./doctor.ts')).doctor),
  row('health', [], 'ask the gate on this machine how it is', 'Gateway', async () => (await import('./health.ts')).health),
  row('reload', [], 'have the running gate read its configuration again', 'Gateway', async () => (await import('./reload.ts')).reload),
  row('keys create', ['NAME'], 'create a key and print it once on standard output', 'Keys', async () => (await import('./keys.ts')).create),
  row('keys list', [], 'list all keys, including those of the configuration', 'Keys', async () => (await import('./keys.ts')).list),
  row('keys rotate', ['NAME'], 'replace a key; the old one stays valid for a while', 'Keys', async () => (await import('./keys.ts')).rotate),
  row('keys disable', ['NAME'], 'refuse a key and keep its entry; ends its running requests', 'Keys', async () => (await import('./keys.ts')).disable),
  row('keys enable', ['NAME'], 'accept a disabled key again', 'Keys', async () => (await import('./keys.ts')).enable),
  row('keys expire', ['NAME', '30d|DATE|never'], 'change the time of expiry of a key', 'Keys', async () => (await import('./keys.ts')).expire),
  row('keys revoke', ['NAME'], 'delete a key; ends its running requests', 'Keys', async () => (await import('./keys.ts')).revoke),
  row('leaked', ['FILE'], 'freeze those of the leaked keys in FILE (- for standard input) that are known here', 'Keys', async () => (await import('./leaked.ts')).leaked),
  row('ban', ['ADDRESS|CIDR|KEY|TOKEN-ID'], 'refuse a caller; ends its running requests', 'Bans and findings', async () => (await import('./bans.ts')).ban),
  row('unban', ['ADDRESS|CIDR|KEY|TOKEN-ID|BAN-ID'], 'lift a ban', 'Bans and findings', async () => (await import('./bans.ts')).unban),
  row('bans', [], 'list all active bans', 'Bans and findings', async () => (await import('./bans.ts')).bans),
  row('findings list', [], 'list what the watch found, the newest first', 'Bans and findings', async () => (await import('./findings.ts')).list),
  row('findings show', ['FINDING-ID'], 'show one finding with its evidence', 'Bans and findings', async () => (await import('./findings.ts')).showOne),
  row('findings acknowledge', ['FINDING-ID'], 'mark a finding as seen and right', 'Bans and findings', async () => (await import('./findings.ts')).acknowledge),
  row('findings undo', ['FINDING-ID'], 'end the action; the pattern rests for 30 days', 'Bans and findings', async () => (await import('./findings.ts')).undo),
  row('findings false-positive', ['FINDING-ID'], 'end the action, and act later on this caller', 'Bans and findings', async () => (await import('./findings.ts')).falsePositive),
  row('findings act', ['FINDING-ID', 'none|flag|slow|limit|freeze'], 'set what is done about the caller', 'Bans and findings', async () => (await import('./findings.ts')).act),
  row('logs', [], 'list, follow, aggregate or export records', 'Journal', async () => (await import('./logs.ts')).logs),
  row('logs show', ['ID'], 'print one record with its request put together again, as JSON', 'Journal', async () => (await import('./logs.ts')).showLog),
  row('verify', [], 'check the integrity of the journal', 'Journal', async () => (await import('./journal.ts')).verify),
  row('forget', [], 'erase the personal data of a caller from the journal', 'Journal', async () => (await import('./journal.ts')).forget),
  row('backup', ['FILE'], 'copy the journal, keys and bans into new files', 'Journal', async () => (await import('./journal.ts')).backup),
  row('restore', ['FILE'], 'make a backup the journal, while the gate is stopped', 'Journal', async () => (await import('./journal.ts')).restore),
  row('completion', ['bash|zsh|fish'], 'print the script that completes commands in a shell', 'About', async () => (await import('./completion.ts')).completionOf(commands)),
  row('help', ['[COMMAND...]'], 'show this help, or the options of a command', 'About', async () => help),
  row('version', [], 'show the version', 'About', async () => version),
];

/** What `help` takes. It is run as `COMMAND --help`. */
const help: Action = { options: {}, run: async () => 0 };

const version: Action = {
  options: { json: { type: 'boolean', summary: 'print one JSON document: name, version, node' } },
  run: async (invocation) => {
    const { default: manifest } = (await import('../../package.json', { with: { type: 'json' } })) as { default: { name: string; version: string } };
    if (invocation.values['json']) printJson(invocation, { name: manifest.name, version: manifest.version, node: process.versions.node });
    else invocation.output.out(`${manifest.version}\n`);
    return 0;
  },
};

/** Where a command writes. Colors are used on outputs that have them. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  readonly colors?: { readonly out: boolean; readonly err: boolean };
  /** Whether someone watches `err`, so that a bar can be drawn there. */
  readonly isWatched?: boolean;
  /** Ends the process; see {@link Output}. */
  leave?(code: number): void;
}

/**
 * Runs the command that the arguments name.
 * @returns the exit code: 0 for success, 1 for a failure, 2 for wrong usage; null to keep the process running.
 */
export async function main(args: readonly string[], terminal: Terminal): Promise<number | null> {
  const output = outputOn(terminal);
  try {
    return await run(args, terminal, output);
  } catch (error) {
    output.err(`${error instanceof Error ? error.message.trimEnd() : String(error)}\n`, 'red');
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Runs the command that the arguments name on the outputs of this process, and sets its exit code. */
export async function runCommand(args: readonly string[]): Promise<void> {
  const { stdout, stderr } = process;
  const colors = { out: stdout.isTTY && stdout.hasColors(), err: stderr.isTTY && stderr.hasColors() };
  // What was written last may still be on its way.
  const leave = (status: number): void => void setTimeout(() => process.exit(status), 100).unref();
  const code = await main(args, { out: (text) => void stdout.write(text), err: (text) => void stderr.write(text), colors, isWatched: stderr.isTTY, leave });
  if (code !== null) process.exitCode = code;
}

/** SECURITY: results may quote what callers sent, and errors what an operator typed. */
function outputOn(terminal: Terminal): Output {
  const styled = (text: string, style: Style | undefined, has: boolean | undefined): string => (style === undefined || has !== true ? text : styleText(style, text, { validateStream: false }));
  const bar = new ProgressBar(terminal.isWatched === true ? (text) => terminal.err(text) : null);
  return {
    ...(terminal.leave !== undefined && { leave: terminal.leave }),
    out: (text, style) => {
      bar.clear();
      terminal.out(styled(printableLines(text), style, terminal.colors?.out));
    },
    err: (text, style) => {
      bar.clear();
      terminal.err(styled(printableLines(maskCredentials(text)), style, terminal.colors?.err));
    },
    progress: (done, total) => bar.show(done, total),
  };
}

async function run(args: readonly string[], terminal: Terminal, output: Output): Promise<number | null> {
  const named = commands.filter(({ name }) => name === 'version' || args.includes(name.split(' ', 1)[0] as string));
  const actions = new Map(await Promise.all(named.map(async ({ name, load }) => [name, await load()] as const)));
  try {
    const choice = parse(args, commands, actions, { write: (text) => terminal.out(text), hasColors: terminal.colors?.out === true });
    if (choice?.action === help) return await run(helpOf(choice.names), terminal, output);
    return choice === null ? 0 : await choice.action.run({ ...choice, output });
  } catch (error) {
    throw error instanceof UnknownOption && error.option !== null && (await isOptionElsewhere(error.option)) ? new UsageError(`heimdall ${error.command}: ${error.option} is not an option of this command. \`heimdall help ${error.command}\` lists the options.`) : error;
  }
}

/** Words that name no command are left alone, so that they are refused. */
const helpOf = (words: readonly string[]): readonly string[] =>
  words.length === 0 || commandOf(commands, words) !== undefined || familyOf(commands, words[0]).length > 0 ? [...words, '--help'] : words;

async function isOptionElsewhere(option: string): Promise<boolean> {
  const all = await Promise.all(commands.map(({ load }) => load()));
  return all.some(({ options }) => Object.hasOwn(options, option.slice(2)));
}
