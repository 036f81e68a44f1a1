#!/usr/bin/env node
import { parseArgs } from 'node:util';

const usage = `Usage: heimdall <command> [options]

  start [--config FILE]    run the gate; --demo brings a stand-in upstream (needs a checkout of the repository)
  check [--config FILE]    validate the configuration and print what is in force, secrets masked
  help                     this text
  version                  the version

The configuration is FILE, or what HEIMDALL_CONFIG names, below the environment: see README.md.
`;

/** Each command gives the exit code, or null to keep the process running. */
const commands: Readonly<Record<string, (options: Options) => Promise<number | null>>> = { start, check, help, version };

interface Options {
  readonly config?: string;
  readonly demo?: boolean;
}

async function start({ config, demo }: Options): Promise<null> {
  if (demo) {
    await demonstration();
    return null;
  }
  const { loadConfig } = await import('./config/load.ts');
  const { serve } = await import('./server/serve.ts');
  await serve(loadConfig(config));
  return null;
}

/** The stand-in belongs to the tests, which a published package does not carry. */
async function demonstration(): Promise<void> {
  const path = new URL('../examples/standalone/demo.ts', import.meta.url).href;
  const found = await import(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND') throw new Error('start --demo: expected a checkout of the repository with its development packages. Example: npm install && npm start -- --demo');
    throw error;
  }) as { demonstrate(): Promise<void> };
  await found.demonstrate();
}

async function check({ config }: Options): Promise<number> {
  const { loadConfig, printable, warningsOf } = await import('./config/load.ts');
  const { stringify } = await import('yaml');
  const loaded = loadConfig(config);
  process.stdout.write(stringify(printable(loaded)));
  const warnings = warningsOf(loaded);
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stderr.write(`The configuration is valid${warnings.length === 0 ? '' : `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`}.\n`);
  return 0;
}

async function help(): Promise<number> {
  process.stdout.write(usage);
  return 0;
}

async function version(): Promise<number> {
  const { default: manifest } = await import('../package.json', { with: { type: 'json' } }) as { default: { version: string } };
  process.stdout.write(`${manifest.version}\n`);
  return 0;
}

async function main(): Promise<number | null> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { config: { type: 'string', short: 'c' }, demo: { type: 'boolean' }, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } },
  });
  const name = values.help ? 'help' : values.version ? 'version' : (positionals[0] ?? 'help');
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return command(values);
  process.stderr.write(`heimdall: expected a command, got ${JSON.stringify(name)}.\n\n${usage}`);
  return 2;
}

try {
  const code = await main();
  if (code !== null) process.exitCode = code;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
