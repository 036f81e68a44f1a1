import { expectation } from '../errors.ts';
import { show } from '../values/values.ts';
import { common, UsageError, type Action, type Command, type Option } from './command.ts';

const shells = { bash, zsh, fish } as const;
const help: Option = { type: 'boolean', short: 'h', summary: 'show this help' };

/** A command with all that a shell offers behind it. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly (readonly [name: string, option: Option])[];
  /** Words that the first argument may be. */
  readonly words: readonly string[];
  /** Whether an argument is a file. */
  readonly takesFile: boolean;
}

/** `heimdall completion`: a script that lists all commands and options, so that a shell starts no process while a word is completed. */
export const completionOf = (commands: readonly Command[]): Action => ({
  options: {},
  examples: ['source <(heimdall completion bash)', 'heimdall completion fish > ~/.config/fish/completions/heimdall.fish'],
  run: async ({ names: [shell = ''], output }) => {
    if (!Object.hasOwn(shells, shell)) throw new UsageError(`heimdall completion: ${expectation(`one of ${Object.keys(shells).join(', ')}`, show(shell))}`);
    const entries = await Promise.all(commands.map(async ({ name, summary, args, load }): Promise<Entry> => {
      const { options } = await load();
      const words = name === 'help' ? [...new Set(commands.map((each) => first(each.name)))] : choices(args.at(-1) ?? '');
      return { name, summary, options: Object.entries({ ...options, ...common, help }), words, takesFile: args.some((arg) => arg.includes('FILE')) };
    }));
    output.out(shells[shell as keyof typeof shells](entries));
    return 0;
  },
});

const first = (name: string): string => name.split(' ', 1)[0] as string;
/** Words of a placeholder such as `table|json`. A placeholder in capitals stands for any text. */
const choices = (placeholder: string): string[] => (placeholder.includes('|') ? placeholder.split('|').filter((word) => /^[a-z]/.test(word)) : []);
const isFile = ({ value }: Option): boolean => value === 'FILE';
const flagsOf = (name: string, { short }: Option): string[] => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];

/** What may follow a word: commands at the start, the second words of a family, and the words of a command's argument. */
function following(entries: readonly Entry[]): Map<string, { word: string; summary: string }[]> {
  const all = new Map<string, { word: string; summary: string }[]>([['', []]]);
  const add = (at: string, word: string, summary: string): void => {
    const list = all.get(at) ?? [];
    if (!list.some((each) => each.word === word)) list.push({ word, summary });
    all.set(at, list);
  };
  for (const { name, summary, words } of entries) {
    const [word = '', second] = name.split(' ');
    add('', word, second === undefined ? summary : `commands: ${word}`);
    if (second !== undefined) add(word, second, summary);
    for (const each of words) add(name, each, '');
  }
  return all;
}

/** Lines of a `case` on `$path`, the words of the command so far. */
const cases = (rows: readonly (readonly [pattern: string, line: string])[]): string => rows.map(([pattern, line]) => `    ${pattern}) ${line} ;;\n`).join('');

function bash(entries: readonly Entry[]): string {
  const values = entries.flatMap(({ name, options }) => options.flatMap(([option, each]) => valueCase(name, option, each)));
  const words = [...following(entries)].map(([at, list]) => [`"${at}"`, `words="${list.map(({ word }) => word).join(' ')}"`] as const);
  const options = entries.map(({ name, options: all, takesFile }) => [`"${name}"`, `options="${all.flatMap(([option, each]) => flagsOf(option, each)).join(' ')}"${takesFile ? ' files=1' : ''}`] as const);
  return `# bash completion of heimdall
_heimdall() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word words="" options="" files=""
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${entries.map(({ name }) => `      ${name.includes(' ') ? `"${name}"` : `" ${name}"`}) path="${name}" ;;\n`).join('')}${families(entries).map((family) => `      " ${family}") path="${family}" ;;\n`).join('')}    esac
  done
  case "$path $previous" in
${cases(values)}  esac
  case "$path" in
${cases(words)}  esac
  case "$path" in
${cases(options)}  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "\${options:---help --version --config}" -- "$current"))
  elif [[ -n "$files" ]]; then
    COMPREPLY=($(compgen -f -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}
complete -o filenames -F _heimdall heimdall
`;
}

/** Words that are no command alone, such as `keys`. */
function families(entries: readonly Entry[]): string[] {
  const names = new Set(entries.map(({ name }) => name));
  return [...new Set(entries.map(({ name }) => first(name)).filter((word) => !names.has(word)))];
}

/** What completes the value of an option: files, a choice of words, or nothing, for other values are not known. */
function valueCase(name: string, option: string, each: Option): (readonly [pattern: string, line: string])[] {
  if (each.type === 'boolean') return [];
  const pattern = flagsOf(option, each).map((flag) => `"${name} ${flag}"`).join('|');
  if (isFile(each)) return [[pattern, 'COMPREPLY=($(compgen -f -- "$current")); return']];
  const words = choices(each.value ?? '');
  return [[pattern, words.length === 0 ? 'return' : `COMPREPLY=($(compgen -W "${words.join(' ')}" -- "$current")); return`]];
}

/** Text in single quotes of a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function zsh(entries: readonly Entry[]): string {
  const described = (list: readonly { word: string; summary: string }[]): string => list.map(({ word, summary }) => quoted(`${word.replaceAll(':', String.raw`\:`)}${summary === '' ? '' : `:${summary}`}`)).join(' ');
  const words = [...following(entries)].map(([at, list]) => [`"${at}"`, `words_=(${described(list)})`] as const);
  const options = entries.map(({ name, options: all, takesFile }) => [`"${name}"`, `options=(${all.flatMap(([option, each]) => flagsOf(option, each).map((flag) => quoted(`${flag}:${each.summary}`))).join(' ')})${takesFile ? ' files=1' : ''}`] as const);
  const values = entries.flatMap(({ name, options: all }) => all.flatMap(([option, each]): (readonly [string, string])[] => {
    if (each.type === 'boolean') return [];
    const choice = choices(each.value ?? '');
    return [[flagsOf(option, each).map((flag) => `"${name} ${flag}"`).join('|'), isFile(each) ? '_files; return' : choice.length === 0 ? 'return' : `compadd -- ${choice.join(' ')}; return`]];
  }));
  return `#compdef heimdall
# zsh completion of heimdall
_heimdall() {
  local at="" word files=""
  local -a words_ options
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
${entries.map(({ name }) => `      ${name.includes(' ') ? `"${name}"` : `" ${name}"`}) at="${name}" ;;\n`).join('')}${families(entries).map((family) => `      " ${family}") at="${family}" ;;\n`).join('')}    esac
  done
  case "$at \${words[CURRENT-1]}" in
${cases(values)}  esac
  case "$at" in
${cases(words)}  esac
  case "$at" in
${cases(options)}  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe option options
  elif [[ -n "$files" ]]; then
    _files
  else
    _describe command words_
  fi
}
if [[ "\${funcstack[1]}" = _heimdall ]]; then
  _heimdall "$@"
else
  compdef _heimdall heimdall
fi
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = ['# fish completion of heimdall', 'complete -c heimdall -f'];
  const seen = (words: string): string => words.split(' ').filter((word) => word !== '').map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
  for (const [at, list] of following(entries)) {
    const rest = list.map(({ word }) => word).join(' ');
    const condition = at === '' ? '__fish_use_subcommand' : `${seen(at)}; and not __fish_seen_subcommand_from ${rest}`;
    for (const { word, summary } of list) lines.push(`complete -c heimdall -n ${quoted(condition)} -a ${quoted(word)}${summary === '' ? '' : ` -d ${quoted(summary)}`}`);
  }
  for (const { name, options, takesFile } of entries) {
    if (takesFile) lines.push(`complete -c heimdall -n ${quoted(seen(name))} -F`);
    for (const [option, { type, short, value, summary }] of options) {
      const takes = type === 'boolean' ? '' : value === 'FILE' ? ' -r -F' : ` -x${choices(value ?? '').length === 0 ? '' : ` -a ${quoted(choices(value ?? '').join(' '))}`}`;
      lines.push(`complete -c heimdall -n ${quoted(seen(name))} -l ${option}${short === undefined ? '' : ` -s ${short}`}${takes} -d ${quoted(summary)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
