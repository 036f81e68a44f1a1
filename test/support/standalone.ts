import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bare } from './programs.ts';

/** What is run; `PROVE_STANDALONE` names the same file of another checkout, for a proof of what was before. */
export const standaloneEntry = process.env['PROVE_STANDALONE'] ?? join(import.meta.dirname, '../../examples/standalone/server.ts');

/** A gate in a process of its own, as `npm start` runs it. */
export interface Standalone {
  readonly url: string;
  readonly pid: number;
  /** Its configuration file. */
  readonly path: string;
  /** What it said on both outputs so far. */
  output(): string;
  /** Ends it without a word, as a crash does. */
  kill(): Promise<void>;
  /** Drains it. */
  stop(): Promise<void>;
}

/** How its process is started beside its configuration. */
interface Start {
  readonly execArgv?: readonly string[];
  /** Variables, from its directory. */
  readonly env?: (dir: string) => NodeJS.ProcessEnv;
}

/**
 * @param newapi base URL of the upstream.
 * @param yaml its configuration file.
 */
export async function startStandalone(newapi: string, yaml: string, { execArgv = [], env = () => ({}) }: Start = {}): Promise<Standalone> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-standalone-'));
  const path = join(dir, 'heimdall.yaml');
  writeFileSync(path, yaml, { mode: 0o600 });
  const child = spawn(process.execPath, [...execArgv, standaloneEntry], {
    cwd: dir,
    env: { ...bare, NEWAPI_BASE_URL: newapi, HEIMDALL_PORT: '0', HEIMDALL_HOST: '127.0.0.1', HEIMDALL_CONFIG: path, ...env(dir) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: Buffer) => void (said += String(text)));
  const url = await listening(child, () => said);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    rmSync(dir, { recursive: true, force: true });
  };
  return { url, pid: child.pid ?? 0, path, output: () => said, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
}

async function listening(child: ChildProcess, said: () => string): Promise<string> {
  for (;;) {
    const url = /listens on (\S+)/.exec(said())?.[1];
    if (url !== undefined) return url;
    if (child.exitCode !== null) throw new Error(`the gate did not start: ${said()}`);
    await Promise.race([once(child.stderr as NodeJS.ReadableStream, 'data'), once(child, 'exit')]);
  }
}
