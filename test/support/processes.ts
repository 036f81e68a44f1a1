import './node.ts';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until, type TestLike } from './client.ts';
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
  const child = spawn(process.execPath, args, { cwd, env: { ...bare, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (text) => void (said.out += String(text)));
  child.stderr.on('data', (text) => void (said.err += String(text)));
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  t.after(kill);
  const address = (): string | undefined => /listens on (\S+)/.exec(said.err)?.[1];
  await until(() => address() !== undefined || child.exitCode !== null, 30_000, 'a gate that listens');
  const url = address();
  if (url === undefined) throw new Error(`The gate did not start: ${said.err}`);
  return {
    url,
    port: Number(new URL(url).port),
    output: () => said.out + said.err,
    events: () => said.out.split('\n').flatMap((line) => (line.startsWith('{') && line.includes('event.action') ? [JSON.parse(line) as Record<string, unknown>] : [])),
    kill,
  };
}
