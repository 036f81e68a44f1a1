import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './ports.ts';

/** A Redis of one's own. */
export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Sends one command by hand and returns what comes back: for what a test wants to see or spoil. */
  command(...words: readonly string[]): Promise<string>;
  /** Ends it without a word and without its data, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again at the same port, empty. */
  restart(): Promise<void>;
  /** Running, awake and empty, whatever a test has done to it. */
  renew(): Promise<void>;
  /** Stops its process: connections stay, answers do not come. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

const found = spawnSync('redis-server', ['--version']).status === 0;

/** Why tests that need Redis are skipped; false where it is there. Where CI says it must be there they fail instead. */
export const withoutRedis: string | false = found || process.env['CI'] ? false : 'no redis-server on this machine';

/** Starts a Redis on a free port of 127.0.0.1, without persistence. */
export async function startRedis(): Promise<TestRedis> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-redis-'));
  const port = await freePort();
  let child = await run(port, dir);
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    command: (...words) => command(port, words),
    kill: end,
    async restart() {
      child = await run(port, dir);
    },
    async renew() {
      child.kill('SIGCONT');
      if (child.exitCode !== null || child.signalCode !== null) child = await run(port, dir);
      await command(port, ['CONFIG', 'SET', 'maxmemory', '0']);
      await command(port, ['FLUSHALL']);
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async close() {
      await end();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function run(port: number, dir: string): Promise<ChildProcess> {
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  for await (const text of child.stdout as AsyncIterable<Buffer>) {
    said += String(text);
    if (said.includes('Ready to accept connections')) break;
  }
  if (child.exitCode !== null) throw new Error(`redis-server did not start: ${said}`);
  return child;
}

async function command(port: number, words: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const array = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
  socket.end(`*${words.length}\r\n${array}`);
  let reply = '';
  for await (const chunk of socket) reply += String(chunk);
  return reply;
}
