import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { authority } from '../support/authority.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';
import { part, waitingOf } from './cores.ts';
import type { Finding } from './proof.ts';

/** The four modes of slowhttptest, each for so many seconds. */
const seconds = 14;
const modes: Readonly<Record<string, readonly string[]>> = {
  'slow headers': ['-H', '-c', '1000', '-i', '5', '-r', '200'],
  'slow body': ['-B', '-c', '1000', '-i', '5', '-r', '200', '-s', '8192'],
  range: ['-R', '-c', '500', '-r', '200', '-a', '5', '-b', '3000'],
  'slow read': ['-X', '-c', '1000', '-r', '200', '-w', '10', '-y', '20', '-n', '5', '-z', '32', '-k', '3'],
};
const idle = 5000;
/** Begun when all connections are there, milliseconds; and how long it is measured. */
const settling = 6000;
const measured = 5000;
/** A quiet client's p99 may double. A machine shared with others makes pauses of its own: so much is no effect, milliseconds. */
const noise = 5;
/** A comparison that does not hold is made again, so many times in all. */
const mostTries = 3;

interface Calm {
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

/** Another client: one connection, one request at a time. */
async function observe(port: number, waited: () => number): Promise<Calm> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  let failed = 0;
  for (const until = performance.now() + measured; performance.now() < until; await pause(5)) {
    const began = performance.now() - waited();
    try {
      const [answer] = (await once(request({ port, host: '127.0.0.1', path: '/api/status', rejectUnauthorized: false, agent }).end(), 'response')) as [IncomingMessage];
      await answer.toArray();
      times.push(performance.now() - waited() - began);
      if (answer.statusCode !== 200) failed++;
    } catch {
      failed++;
    }
  }
  agent.destroy();
  times.sort((a, b) => a - b);
  return { p50: times[times.length >> 1] ?? Infinity, p99: times[Math.floor(times.length * 0.99)] ?? Infinity, failed };
}

/** Slow clients of four kinds, and many that say nothing, beside one that asks as usual: the standalone with TLS. */
export async function slowClients(): Promise<Finding> {
  if (spawnSync('slowhttptest', ['-h']).error !== undefined) throw new Error('slowhttptest is not there. Example: apt-get install slowhttptest');
  const ends: (() => unknown)[] = [];
  const scope = { after: (end: () => unknown): void => void ends.push(end) };
  const { certPath, keyPath } = authority(scope).issue('DNS:localhost');
  const upstream = await startUpstream(scope, (_req, res) => void res.end('x'.repeat(20_000)));
  const gate = await startStandalone(upstream.url, `server: { tls: { cert_path: ${certPath}, key_path: ${keyPath} } }\nlogging: { file: false, level: silent }\n`);
  part(gate.pid);
  const waited = waitingOf(gate.pid);
  const port = Number(new URL(gate.url).port);
  const rows: Record<string, string | number>[] = [];
  let holds = true;
  await observe(port, waited);
  let quiet = await observe(port, waited);
  const attempt = async (begin: () => Promise<() => Promise<unknown>>): Promise<{ before: Calm; found: Calm; after: Calm; isCalm: boolean }> => {
    const before = quiet;
    const end = await begin();
    const found = await observe(port, waited);
    await end();
    quiet = await observe(port, waited);
    return { before, found, after: quiet, isCalm: found.failed === 0 && found.p99 <= 2 * Math.max(before.p99, quiet.p99) + noise };
  };
  const compare = async (what: string, begin: () => Promise<() => Promise<unknown>>): Promise<void> => {
    let tries = 1;
    let seen = await attempt(begin);
    // What the gate does to a client it does each time; what else the machine does comes and goes.
    for (; !seen.isCalm && seen.found.failed === 0 && tries < mostTries; tries++) seen = await attempt(begin);
    const { before, found, after, isCalm } = seen;
    if (!isCalm) holds = false;
    const shown = (ms: number): number => Math.round(ms * 10) / 10;
    rows.push({ clients: what, 'quiet p50 ms': shown(before.p50), 'p50 ms': shown(found.p50), 'quiet p99 ms': shown(before.p99), 'p99 ms': shown(found.p99), 'quiet p99 after ms': shown(after.p99), failed: found.failed, tries });
  };
  for (const [name, args] of Object.entries(modes)) {
    await compare(name, async () => {
      const child = spawn('nice', ['-n', '19', 'slowhttptest', ...args, '-l', String(seconds), '-u', `https://127.0.0.1:${port}/api/status`], { stdio: 'ignore' });
      const ended = once(child, 'exit');
      await pause(settling);
      return () => ended;
    });
  }
  await compare(`${idle} idle connections`, async () => {
    const sockets: TLSSocket[] = [];
    for (let at = 0; at < idle; at += 100) {
      const some = Array.from({ length: 100 }, () => connect({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', () => undefined));
      await Promise.all(some.map((socket) => once(socket, 'secureConnect')));
      sockets.push(...some);
    }
    return async () => sockets.forEach((socket) => socket.destroy());
  });
  await gate.stop();
  for (const end of ends.reverse()) await end();
  return { rows, bar: `another client's p99 stays within twice the quiet one (and ${noise} ms), and none of its requests fails`, holds };
}
