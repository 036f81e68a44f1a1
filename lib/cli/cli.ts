// The commands of `heimdall`.

import { parseArgs } from 'node:util';
import { suggestion } from '../config/config.ts';
import { banCommands } from './bans.ts';
import { check } from './check.ts';
import { common, UsageError, type Command, type Given, type Say } from './command.ts';
import { journalCommands } from './journal.ts';
import { keyCommands } from './keys.ts';
import { logs } from './logs.ts';
import { start } from './start.ts';
import { usageOf, usageOfAll } from './usage.ts';

const help: Command = {
  name: 'help',
  wants: [],
  what: 'this text; with a command behind it, its options',
  options: {},
  run: async ({ say }) => {
    say.out(usageOfAll(commands));
    return 0;
  },
};

const version: Command = {
  name: 'version',
  wants: [],
  what: 'the version',
  options: {},
  run: async ({ say }) => {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } }) as { default: { version: string } };
    say.out(`${manifest.version}\n`);
    return 0;
  },
};

const commands: readonly Command[] = [start, check, ...keyCommands, ...banCommands, logs, ...journalCommands, help, version];

/**
 * Runs the command that the arguments name.
 * @returns the exit code: 0, 1 for what failed, 2 for what makes no sense; null to keep the process running.
 */
export async function main(args: readonly string[], say: Say): Promise<number | null> {
  try {
    return await run(read(args, say));
  } catch (error) {
    say.err(`${error instanceof Error ? error.message.trimEnd() : String(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function run(given: Given): Promise<number | null> {
  const { values, names } = given;
  if (values['version']) return version.run(given);
  const wantsHelp = values['help'] === true || names[0] === 'help' || names.length === 0;
  const asked = names[0] === 'help' ? names.slice(1) : names;
  const command = commands.find(({ name }) => name === asked.slice(0, 2).join(' ')) ?? commands.find(({ name }) => name === asked[0]);
  if (wantsHelp && asked.length === 0) return help.run(given);
  if (command === undefined) throw new UsageError(unknown(asked));
  if (wantsHelp) given.say.out(usageOf(command));
  else return command.run(fitting(command, { ...given, names: names.slice(command.name.split(' ').length) }));
  return 0;
}

/** Options may stand before the command too, so all of them are known at once. */
function read(args: readonly string[], say: Say): Given {
  const options = Object.assign({ version: { type: 'boolean', short: 'v' } }, common, ...commands.map((command) => command.options));
  try {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    return { values: values as Given['values'], names: positionals, say };
  } catch (error) {
    const [first = ''] = String(error instanceof Error ? error.message : error).split('. ');
    throw new UsageError(`heimdall: ${first.replace(/\.?$/, '.')} \`heimdall help COMMAND\` tells the options there are.`);
  }
}

function fitting(command: Command, given: Given): Given {
  const { values, names } = given;
  const stranger = Object.keys(values).find((option) => !Object.hasOwn(command.options, option) && !Object.hasOwn(common, option));
  if (stranger !== undefined) throw new UsageError(`heimdall ${command.name}: --${stranger} is an option of other commands.\n\n${usageOf(command)}`);
  if (names.length === command.wants.length) return given;
  const wanted = command.wants.join(' ') || 'nothing behind it';
  throw new UsageError(`heimdall ${command.name}: expected ${wanted}, got ${names.length === 0 ? 'nothing' : names.join(' ')}.\n\n${usageOf(command)}`);
}

function unknown(asked: readonly string[]): string {
  const family = commands.filter(({ name }) => name.startsWith(`${asked[0]} `));
  const got = asked.slice(0, family.length > 0 ? 2 : 1).join(' ');
  const guess = suggestion(got, commands.map(({ name }) => name));
  return `heimdall: expected a command, got ${JSON.stringify(got)}.${guess}\n\n${usageOfAll(family.length > 0 ? family : commands)}`;
}
