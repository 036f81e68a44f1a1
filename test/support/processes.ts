import './node.ts';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { TestLike } from './client.ts';
import { startProgram } from './program.ts';
import { bare } from './programs.ts';

const cli = join(import.meta.dirname, '../../lib/cli.ts');

/** What a command left behind. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `heimdall` with these words in a directory, with nothing of this process's environment but the path. */
export function heimdallCommand(cwd: string, args: readonly string[], env: Readonly<Record<string, string>> = {}, input = ''): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [cli, ...args], { cwd, env: { ...bare, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

/** A gate in a process of its own. */
export interface GateProcess {
  readonly url: string;
  readonly port: number;
  /** All it said so far, on both outputs. */
  output(): string;
  /** The event log so far. */
  events(): readonly Readonly<Record<string, unknown>>[];
  kill(): Promise<void>;
}

/** Starts `heimdall start` in a directory, on a free port of 127.0.0.1; ends with the test. @param args another program with its arguments. */
export async function startGateProcess(t: TestLike, cwd: string, env: Readonly<Record<string, string>>, args: readonly string[] = [cli, 'start']): Promise<GateProcess> {
  const program = startProgram(t, process.execPath, args, { cwd, env: { ...bare, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: '0', ...env } });
  const url = await program.does(() => /listens on (\S+)/.exec(program.said())?.[1], 'a gate that listens');
  return {
    url,
    port: Number(new URL(url).port),
    output: program.said,
    events: () => program.out().split('\n').flatMap((line) => (line.startsWith('{') && line.includes('event.action') ? [JSON.parse(line) as Record<string, unknown>] : [])),
    kill: program.kill,
  };
}
