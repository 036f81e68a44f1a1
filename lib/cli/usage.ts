import { common, type Command, type Option } from './command.ts';

/** Longest line of the help, in columns. */
const lineWidth = 100;
/** Widest first column. A wider entry gets a line of its own. */
const maxTermWidth = 40;

const end = `
The configuration is the file of --config, or of HEIMDALL_CONFIG. Environment variables override it.
\`heimdall help COMMAND\` shows the options of a command.
`;

/** The help of all commands. */
export function usageOfAll(commands: readonly Command[]): string {
  return `Usage: heimdall <command> [options]\n\n${definitions(commands.map((command) => [headOf(command), command.summary]))}${end}`;
}

/** The help of one command with its options. */
export function usageOf(command: Command): string {
  const options = Object.entries({ ...command.options, ...common }).map(([name, option]): Definition => [flagOf(name, option), option.summary]);
  return `Usage: heimdall ${headOf(command)} [options]\n\n${wrap(command.summary, lineWidth - 2).map((line) => `  ${line}\n`).join('')}\n${definitions(options)}`;
}

type Definition = readonly [term: string, text: string];

/** Two columns: terms, and their texts, wrapped at the line width. */
function definitions(rows: readonly Definition[]): string {
  const width = Math.min(maxTermWidth, Math.max(...rows.map(([term]) => term.length)));
  const indent = ' '.repeat(width + 4);
  return rows.map(([term, text]) => {
    const lines = wrap(text, lineWidth - indent.length).join(`\n${indent}`);
    return `  ${term.length > width ? `${term}\n${indent}` : `${term.padEnd(width)}  `}${lines}\n`;
  }).join('');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

const headOf = ({ name, args }: Command): string => [name, ...args].join(' ');

const flagOf = (name: string, { short, value }: Option): string => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
