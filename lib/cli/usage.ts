import { common, type Command, type Option } from './command.ts';

const end = `
The configuration is FILE, or what HEIMDALL_CONFIG names, below the environment: see README.md.
\`heimdall help COMMAND\` tells a command's options.
`;

/** All commands, a line each. */
export function usageOfAll(commands: readonly Command[]): string {
  const heads = commands.map(headOf);
  const width = Math.max(...heads.map(({ length }) => length));
  return `Usage: heimdall <command> [options]\n\n${commands.map(({ what }, at) => `  ${(heads[at] as string).padEnd(width)}  ${what}\n`).join('')}${end}`;
}

/** One command with its options. */
export function usageOf(command: Command): string {
  const options = Object.entries({ ...command.options, ...common }).map(([name, option]) => [flagOf(name, option), option.what] as const);
  const width = Math.max(...options.map(([flag]) => flag.length));
  return `Usage: heimdall ${headOf(command)} [options]\n\n  ${command.what}\n\n${options.map(([flag, what]) => `  ${flag.padEnd(width)}  ${what}\n`).join('')}`;
}

const headOf = ({ name, wants }: Command): string => [name, ...wants].join(' ');

const flagOf = (name: string, { short, value }: Option): string => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
