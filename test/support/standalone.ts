import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProgram } from './program.ts';
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
  const { child, ended, said, does } = startProgram({ after: () => undefined }, process.execPath, [...execArgv, standaloneEntry], {
    cwd: dir,
    env: { ...bare, NEWAPI_BASE_URL: newapi, HEIMDALL_PORT: '0', HEIMDALL_HOST: '127.0.0.1', HEIMDALL_CONFIG: path, ...env(dir) },
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const url = await does(() => /listens on (\S+)/.exec(said())?.[1], 'a gate that listens');
    return { url, pid: child.pid ?? 0, path, output: said, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
}
