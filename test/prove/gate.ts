import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const cli = join(import.meta.dirname, '../../lib/cli.ts');
export const METRICS_TOKEN = 'prove-metrics-token';

/** A gate in a process of its own, as an operator runs it. */
export interface RunningGate {
  readonly url: string;
  /** Milliseconds from spawning it to its saying that it listens. */
  readonly startedIn: number;
  /** Resident memory, MB (2^20 bytes). */
  memory(): number;
  /** Requests in hand, the one that asks left out. */
  inHand(): Promise<number>;
  stop(): Promise<void>;
}

/**
 * @param newapi base URL of the upstream.
 * @param yaml more configuration.
 * @param directory to run in, which stays; without it one of its own, which goes with it.
 */
export async function runGate(newapi: string, yaml = '', directory?: string): Promise<RunningGate> {
  const dir = directory ?? mkdtempSync(join(tmpdir(), 'heimdall-prove-'));
  const began = performance.now();
  const child = spawn(process.execPath, [cli, 'start', '--config', config(dir, yaml)], {
    cwd: dir,
    env: { PATH: process.env['PATH'] ?? '', NEWAPI_BASE_URL: newapi, HEIMDALL_PORT: '0', HEIMDALL_HOST: '127.0.0.1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const url = await listening(child);
  const startedIn = performance.now() - began;
  return {
    url,
    startedIn,
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024,
    inHand: () => active(url),
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'exit');
      if (directory === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}

function config(dir: string, yaml: string): string {
  const path = join(dir, 'heimdall.yaml');
  writeFileSync(path, `metrics: { token: ${METRICS_TOKEN} }\n${yaml}`, { mode: 0o600 });
  return path;
}

async function listening(child: ChildProcess): Promise<string> {
  let said = '';
  for await (const text of child.stderr as AsyncIterable<Buffer>) {
    said += String(text);
    const url = /listens on (\S+)/.exec(said)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error(`the gate did not start: ${said}`);
}

async function active(url: string): Promise<number> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  return Number(/^heimdall_active_requests (\d+)$/m.exec(await answer.text())?.[1]) - 1;
}
