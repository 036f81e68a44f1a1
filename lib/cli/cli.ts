// The commands of `heimdall`.

import { parseArgs } from 'node:util';
import { suggestion } from '../values/values.ts';
import { maskCredentials, printableLines } from '../redaction/redaction.ts';
import { banCommands } from './bans.ts';
import { check } from './check.ts';
import { common, UsageError, type Command, type Invocation, type Output } from './command.ts';
import { findingCommands } from './findings.ts';
import { health } from './health.ts';
import { journalCommands } from './journal.ts';
import { keyCommands } from './keys.ts';
import { leaked } from './leaked.ts';
import { logs, showLog } from './logs.ts';
import { start } from './start.ts';
import { usageOf, usageOfAll } from './usage.ts';

const help: Command = {
  name: 'help',
  args: [],
  summary: 'show this help, or the options of a command',
  options: {},
  run: async ({ output }) => {
    output.out(usageOfAll(commands));
    return 0;
  },
};

const version: Command = {
  name: 'version',
  args: [],
  summary: 'show the version',
  options: {},
  run: async ({ output }) => {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } }) as { default: { version: string } };
    output.out(`${manifest.version}\n`);
    return 0;
  },
};

const commands: readonly Command[] = [start, check, health, ...keyCommands, ...banCommands, ...findingCommands, leaked, logs, showLog, ...journalCommands, help, version];

/**
 * Runs the command that the arguments name.
 * @returns the exit code: 0 for success, 1 for a failure, 2 for wrong usage; null to keep the process running.
 */
export async function main(args: readonly string[], terminal: Output): Promise<number | null> {
  // SECURITY: results may quote what callers sent, and errors what an operator typed.
  const output: Output = { out: (text) => terminal.out(printableLines(text)), err: (text) => terminal.err(printableLines(maskCredentials(text))) };
  try {
    return await run(read(args, output));
  } catch (error) {
    output.err(`${error instanceof Error ? error.message.trimEnd() : String(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Runs the command that the arguments name on the outputs of this process, and sets its exit code. */
export async function runCommand(args: readonly string[]): Promise<void> {
  const code = await main(args, { out: (text) => void process.stdout.write(text), err: (text) => void process.stderr.write(text) });
  if (code !== null) process.exitCode = code;
}

async function run(invocation: Invocation): Promise<number | null> {
  const { values, names } = invocation;
  const wantsHelp = values['help'] === true || names[0] === 'help' || names.length === 0;
  const asked = names[0] === 'help' ? names.slice(1) : names;
  const named = commands.find(({ name }) => name === asked.slice(0, 2).join(' ')) ?? commands.find(({ name }) => name === asked[0]);
  const command = values['version'] ? version : wantsHelp && asked.length === 0 ? help : named;
  if (command === undefined) throw new UsageError(unknown(asked));
  refuseOthersOptions(command, values);
  if (command === version || command === help) return command.run(invocation);
  if (!wantsHelp) return command.run(withArguments(command, { ...invocation, names: names.slice(command.name.split(' ').length) }));
  invocation.output.out(usageOf(command));
  return 0;
}

/** Parses the arguments. Options may stand before the command, so the options of all commands are known here. */
function read(args: readonly string[], output: Output): Invocation {
  const options = Object.assign({ version: { type: 'boolean', short: 'v' } }, common, ...commands.map((command) => command.options));
  try {
    const { values, positionals, tokens } = parseArgs({ args: [...args], allowPositionals: true, options, tokens: true });
    const given = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
    const twice = given.find((name, at) => given.indexOf(name) < at);
    if (twice !== undefined) throw new Error(`Option '--${twice}' is given twice`);
    return { values: values as Invocation['values'], names: positionals, output };
  } catch (error) {
    const [first = ''] = String(error instanceof Error ? error.message : error).split('. ');
    throw new UsageError(`heimdall: ${first.replace(/\.?$/, '.')} \`heimdall help COMMAND\` lists the options.`);
  }
}

function refuseOthersOptions(command: Command, values: Invocation['values']): void {
  const known = { ...common, ...command.options, version: true };
  const other = Object.keys(values).find((option) => !Object.hasOwn(known, option));
  if (other !== undefined) throw new UsageError(`heimdall ${command.name}: --${other} is not an option of this command.\n\n${usageOf(command)}`);
}

function withArguments(command: Command, invocation: Invocation): Invocation {
  const { names } = invocation;
  const optional = command.args.filter((arg) => arg.startsWith('[')).length;
  if (names.length <= command.args.length && names.length >= command.args.length - optional) return invocation;
  const wanted = command.args.join(' ') || 'no argument';
  throw new UsageError(`heimdall ${command.name}: expected ${wanted}, got ${names.length === 0 ? 'nothing' : names.join(' ')}.\n\n${usageOf(command)}`);
}

function unknown(asked: readonly string[]): string {
  const family = commands.filter(({ name }) => name.startsWith(`${asked[0]} `));
  const got = asked.slice(0, family.length > 0 ? 2 : 1).join(' ');
  const guess = suggestion(got, commands.map(({ name }) => name));
  return `heimdall: expected a command, got ${JSON.stringify(got)}.${guess}\n\n${usageOfAll(family.length > 0 ? family : commands)}`;
}
