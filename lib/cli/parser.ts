import { styleText } from 'node:util';
import { Command as Parser, CommanderError, Help, Option as Flag, type HelpConfiguration } from 'commander';
import { suggestion } from '../values/values.ts';
import { common, UsageError, type Action, type Command, type Invocation, type Option } from './command.ts';

/** Longest line of the help, in columns. */
const helpWidth = 80;
/** Widest first column. The text of a wider entry stands on the next line. */
const maxTermWidth = 28;

/** What ends the whole help. */
const end = `
The configuration is the file of --config, or of HEIMDALL_CONFIG. Environment
variables override it. \`heimdall help COMMAND\` shows the options of a command.

Examples:
  $ heimdall start --config heimdall.yaml
  $ heimdall check --json
  $ heimdall keys create team-a --expires 30d --requests 60/1m
  $ heimdall logs --follow

Exit codes:
  0  done, valid, whole or well
  1  failed: a problem of the configuration, a journal that is broken, a gate
     that does not answer
  2  wrong usage: an unknown command or option, or a value that is none
  3  verify: the journal cannot be judged
`;

/** What the arguments ask for. */
export interface Choice {
  readonly action: Action;
  readonly values: Invocation['values'];
  readonly names: readonly string[];
}

/** Where the help is written. */
export interface HelpOutput {
  write(text: string): void;
  readonly hasColors: boolean;
}

/**
 * Reads arguments by the table of commands.
 * @param actions the loaded ones of the commands, by name: all that the arguments can mean.
 * @returns what to run, or null when the help was printed.
 * @throws UsageError that names what is wrong.
 */
export function parse(args: readonly string[], commands: readonly Command[], actions: ReadonlyMap<string, Action>, help: HelpOutput): Choice | null {
  let choice: Choice | null = null;
  const root = parserOf(commands, actions, (chosen) => {
    choice = chosen;
  });
  for (const parser of [root, ...root.commands, ...root.commands.flatMap((family) => family.commands)]) {
    parser.configureOutput({ writeOut: help.write, writeErr: () => undefined, getOutHasColors: () => help.hasColors, getErrHasColors: () => false });
  }
  try {
    root.parse(commandFirst(args, commands, actions), { from: 'user' });
    return choice;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return null;
    throw error;
  }
}

/** The command that the words name: the longest name first. */
export const commandOf = (commands: readonly Command[], words: readonly string[]): Command | undefined =>
  commands.find(({ name }) => name === words.slice(0, 2).join(' ')) ?? commands.find(({ name }) => name === words[0]);

/** Commands of a family, such as `keys`. */
export const familyOf = (commands: readonly Command[], word: string | undefined): readonly Command[] => commands.filter(({ name }) => name.startsWith(`${word} `));

/** The arguments with the words of the command in front, because options may stand before and between them. */
function commandFirst(args: readonly string[], commands: readonly Command[], actions: ReadonlyMap<string, Action>): string[] {
  const options = Object.entries(Object.assign({}, common, ...[...actions.values()].map((action) => action.options)) as Record<string, Option>);
  const takesValue = new Set(options.flatMap(([name, { type, short }]) => (type === 'boolean' ? [] : [`--${name}`, `-${short}`])));
  const words: number[] = [];
  for (let at = 0; at < args.length && args[at] !== '--'; at++) {
    const arg = args[at] as string;
    if (takesValue.has(arg)) at++;
    else if (!arg.startsWith('-')) words.push(at);
  }
  const texts = words.map((at) => args[at] as string);
  const command = commandOf(commands, texts);
  const count = command === undefined ? (familyOf(commands, texts[0]).length > 0 ? 1 : 0) : command.name.split(' ').length;
  const first = words.slice(0, count);
  return [...first.map((at) => args[at] as string), ...args.filter((_, at) => !first.includes(at))];
}

function parserOf(commands: readonly Command[], actions: ReadonlyMap<string, Action>, chosen: (choice: Choice) => void): Parser {
  const root = bare('heimdall', commands).usage('<command> [options]').addHelpText('after', end);
  root.argument('[command...]').option('-v, --version', 'show the version').option('-c, --config <FILE>', common.config.summary);
  root.action((words: string[]) => {
    if (words.length > 0) throw unknownCommand(words, commands, root);
    const version = actions.get('version');
    if (root.opts()['version'] === true && version !== undefined) return chosen({ action: version, values: {}, names: [] });
    root.outputHelp();
  });
  for (const command of commands) {
    const [word = '', second] = command.name.split(' ');
    const parent = second === undefined ? root : (root.commands.find((each) => each.name() === word) ?? familyParser(root, word, commands));
    parent.addCommand(leaf(command, commands, actions, chosen));
  }
  return root;
}

/** A parser without options, in the style of this help. */
function bare(name: string, commands: readonly Command[]): Parser {
  const parser = new Parser(name).helpCommand(false).helpOption('-h, --help', 'show this help').enablePositionalOptions().configureHelp(styleOf(commands));
  return parser.exitOverride((error) => {
    throw error.exitCode === 0 ? error : usageError(error, parser);
  });
}

/** A word that is no command alone, such as `keys`. */
function familyParser(root: Parser, word: string, commands: readonly Command[]): Parser {
  const family = familyOf(commands, word);
  const parser = bare(word, family).usage('<command> [options]').helpGroup(`${family[0]?.group}:`).argument('[command...]').option('-c, --config <FILE>', common.config.summary);
  parser.action((words: string[]) => {
    throw unknownCommand([word, ...words], commands, parser);
  });
  root.addCommand(parser);
  return parser;
}

function leaf(command: Command, commands: readonly Command[], actions: ReadonlyMap<string, Action>, chosen: (choice: Choice) => void): Parser {
  const { name, args, summary, group } = command;
  const action = actions.get(name);
  const parser = bare(name.split(' ').at(-1) as string, familyOf(commands, name)).usage([...args, '[options]'].join(' ')).description(sentence(summary)).summary(summary).helpGroup(`${group}:`);
  for (const arg of args) parser.argument(arg.startsWith('[') ? arg : `<${arg}>`);
  const options: Readonly<Record<string, Option>> = { ...action?.options, ...common };
  for (const [option, { type, short, value, summary: text }] of Object.entries(options)) {
    parser.addOption(new Flag(`${short === undefined ? '' : `-${short}, `}--${option}${type === 'boolean' ? '' : ` <${value}>`}`, text));
    once(parser, name, option);
  }
  parser.addOption(new Flag('-v, --version').hideHelp());
  if (action?.examples !== undefined) parser.addHelpText('after', `\nExamples:\n${action.examples.map((line) => `  $ ${line}\n`).join('')}`);
  parser.action(() => {
    if (action === undefined) throw new Error(`heimdall ${name} is not loaded`);
    const values = valuesOf(parser);
    const version = actions.get('version');
    if (values['version'] === true && version !== undefined) chosen({ action: version, values: {}, names: [] });
    else chosen({ action, values, names: parser.args });
  });
  return parser;
}

/** An option that is given twice has no meaning that all readers would guess. */
function once(parser: Parser, name: string, option: string): void {
  let given = false;
  parser.on(`option:${option}`, () => {
    if (given) throw new UsageError(`heimdall ${name}: Option '--${option}' is given twice.`);
    given = true;
  });
}

/** Options by their long names, with those that stand between the two words of a command. */
function valuesOf(parser: Parser): Invocation['values'] {
  const values: Record<string, string | boolean | undefined> = {};
  for (const at of [parser.parent, parser]) {
    for (const flag of at?.options ?? []) values[flag.name()] = (at?.getOptionValue(flag.attributeName()) as string | boolean | undefined) ?? values[flag.name()];
  }
  return values;
}

function usageError(error: CommanderError, parser: Parser): UsageError {
  const [at, name] = parser.parent === null ? ['heimdall', 'COMMAND'] : [`heimdall ${whole(parser)}`, whole(parser)];
  if (error.code === 'commander.missingArgument' || error.code === 'commander.excessArguments') {
    return new UsageError(`${at}: expected ${argsOf(parser) || 'no argument'}, got ${parser.args.join(' ') || 'nothing'}.\n\n${parser.helpInformation()}`);
  }
  const [, said = error.message, meant] = /^error: ([^\n]*)(?:\n\((.*)\)$)?/.exec(error.message) ?? [];
  return new UnknownOption(`${at}: ${sentence(said)}${meant === undefined ? '' : ` ${meant}`}`, error.code === 'commander.unknownOption' ? (/'(--[^'=]+)/.exec(said)?.[1] ?? null) : null, name);
}

/** An option that a command does not have. Another command may have it. */
export class UnknownOption extends UsageError {
  readonly option: string | null;
  readonly command: string;

  /** @param option with its dashes, or null when the error is another. */
  constructor(message: string, option: string | null, command: string) {
    super(`${message} \`heimdall help ${command}\` lists the options.`);
    this.option = option;
    this.command = command;
  }
}

function unknownCommand(words: readonly string[], commands: readonly Command[], parser: Parser): UsageError {
  const isFamily = familyOf(commands, words[0]).length > 0;
  const got = words.slice(0, isFamily ? 2 : 1).join(' ');
  return new UsageError(`heimdall: expected a command, got ${JSON.stringify(got)}.${suggestion(got, commands.map(({ name }) => name))}\n\n${parser.helpInformation()}`);
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** The style of the help. The help of a word lists all commands below it by their whole names. */
function styleOf(commands: readonly Command[]): HelpConfiguration {
  return {
    helpWidth,
    minWidthToWrap: 20,
    padWidth(this: Help, command: Parser, helper: Help) {
      return Math.min(maxTermWidth, Help.prototype.padWidth.call(this, command, helper));
    },
    formatItem(this: Help, term: string, width: number, text: string, helper: Help) {
      const length = helper.displayWidth(term);
      if (length <= width) return Help.prototype.formatItem.call(this, term, width, text, helper);
      return `  ${term}\n${Help.prototype.formatItem.call(this, '', width, text, helper)}`;
    },
    visibleCommands: (parser) => commands.map((command) => leafOf(parser, command)),
    visibleArguments: () => [],
    subcommandTerm: (parser) => `${whole(parser)} ${argsOf(parser)}`.trimEnd(),
    optionTerm: ({ flags }) => flags.replace(/[<>]/g, ''),
    styleTitle: (title) => styleText('bold', title, { validateStream: false }),
  };
}

/** The parser of a command, seen from the root or from its family. */
function leafOf(parser: Parser, { name }: Command): Parser {
  const root = parser.parent ?? parser;
  const found = name.split(' ').reduce<Parser | undefined>((at, word) => at?.commands.find((each) => each.name() === word), root);
  if (found === undefined) throw new Error(`There is no parser of ${name}`);
  return found;
}

/** The placeholders of the arguments. */
const argsOf = (parser: Parser): string => parser.usage().replace(/ ?\[options\]$/, '');

/** The words of a command without `heimdall`. */
const whole = (parser: Parser): string => (parser.parent?.parent == null ? parser.name() : `${parser.parent.name()} ${parser.name()}`);
