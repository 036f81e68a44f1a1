import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { authority } from '../support/authority.ts';
import { floods } from '../support/http2-frames.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';
import type { Finding } from './proof.ts';

const measured = 4000;
const kills = 100;
/** Bars: the p95 of another caller, milliseconds, above four times the quiet one; memory, MB above the quiet one; HTTP/3 back, milliseconds. */
const slowest = 250;
const mostMemory = 320;
const back = 2000;

interface Scene {
  readonly gate: Standalone;
  readonly port: number;
  end(): Promise<void>;
}

async function start(http3: string): Promise<Scene> {
  const ends: (() => unknown)[] = [];
  const after = (end: () => unknown): void => void ends.push(end);
  const { certPath, keyPath } = authority({ after }).issue('DNS:localhost');
  const api = await startUpstream({ after }, (_req, res) => void res.end('{}'));
  const gate = await startStandalone(api.url, `trust_proxy: []\nserver: {tls: {cert_path: ${certPath}, key_path: ${keyPath}}${http3}}\nlogging: {file: false, level: silent}\n`);
  return {
    gate, port: Number(new URL(gate.url).port),
    async end() {
      await gate.stop();
      for (const each of ends) await each();
    },
  };
}

interface Asked {
  readonly took: number;
  readonly announced: string | undefined;
}

const agent = new Agent({ keepAlive: true });

async function ask(port: number, isAlone = false): Promise<Asked> {
  const began = performance.now();
  const [answer] = (await once(request({ port, host: '127.0.0.1', path: '/api/status', rejectUnauthorized: false, agent: isAlone ? false : agent }).end(), 'response')) as [IncomingMessage];
  await answer.toArray();
  if (answer.statusCode !== 200) throw new Error(`answered ${answer.statusCode}`);
  return { took: performance.now() - began, announced: answer.headers['alt-svc'] };
}

const memoryOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

interface Calm {
  readonly p95: number;
  readonly failed: number;
  readonly memory: number;
}

/** Another caller asks every 5 ms for some seconds, on connections of its own. */
async function observe({ gate, port }: Scene): Promise<Calm> {
  const times: number[] = [];
  let failed = 0;
  let memory = 0;
  for (const until = performance.now() + measured; performance.now() < until;) {
    await ask(port).then(({ took }) => times.push(took), () => failed++);
    memory = Math.max(memory, memoryOf(gate.pid));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  times.sort((a, b) => a - b);
  return { p95: times[Math.floor(times.length * 0.95)] ?? Infinity, failed, memory };
}

/** Floods of HTTP/2 frames from four connections that come again whenever they are sent away. */
export async function http2Floods(): Promise<Finding> {
  const scene = await start('');
  const rows: Record<string, string | number>[] = [];
  const row = (flood: string, { p95, failed, memory }: Calm): void => void rows.push({ flood, 'p95 ms': Math.round(p95 * 10) / 10, failed, 'MB at most': Math.round(memory) });
  await observe(scene);
  const quiet = await observe(scene);
  row('none', quiet);
  const seen: Calm[] = [];
  for (const name of Object.keys(floods)) {
    const worker = new Worker(new URL('./flood-attacker.ts', import.meta.url), { workerData: { port: scene.port, name } });
    const calm = await observe(scene);
    await worker.terminate();
    seen.push(calm);
    row(name, calm);
  }
  await scene.end();
  const bound = 4 * quiet.p95 + slowest;
  const holds = seen.every(({ p95, failed, memory }) => p95 <= bound && failed === 0 && memory <= quiet.memory + mostMemory);
  return { rows, bar: `another caller fails never, its p95 stays within 4 times the quiet one and ${slowest} ms (${Math.round(bound)} ms), memory within ${mostMemory} MB more`, holds };
}

const childrenOf = (pid: number): number[] => spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean).map(Number);
const enginesOf = (pid: number): number[] => childrenOf(pid).flatMap(childrenOf).filter((each) => spawnSync('ps', ['-o', 'comm=', '-p', String(each)], { encoding: 'utf8' }).stdout.trim() === 'caddy');

/** The engine of HTTP/3 is killed a hundred times while callers ask over TCP, on new connections. */
export async function http3Kills(): Promise<Finding> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const udp = (socket.address() as AddressInfo).port;
  await new Promise<void>((resolve) => socket.close(resolve));
  const scene = await start(`, http3: {enabled: true, port: ${udp}}`);
  const isAnnounced = async (): Promise<boolean> => (await ask(scene.port, true)).announced?.startsWith('h3=') ?? false;
  while (!(await isAnnounced())) await new Promise((resolve) => setTimeout(resolve, 20));
  let [asked, failed, isOver] = [0, 0, false];
  const callers = Array.from({ length: 4 }, async () => {
    while (!isOver) await ask(scene.port, true).then(() => asked++, () => failed++);
  });
  const times: number[] = [];
  for (let nth = 0; nth < kills; nth++) {
    const [engine] = enginesOf(scene.gate.pid);
    if (engine === undefined) throw new Error('there is no engine');
    const began = performance.now();
    process.kill(engine, 'SIGKILL');
    while (await isAnnounced()) await new Promise((resolve) => setTimeout(resolve, 5));
    while (!(await isAnnounced())) await new Promise((resolve) => setTimeout(resolve, 20));
    times.push(performance.now() - began);
  }
  isOver = true;
  await Promise.all(callers);
  await scene.end();
  times.sort((a, b) => a - b);
  const worst = times.at(-1) ?? 0;
  const rows = [{ kills, 'TCP requests': asked, failed, 'back, median ms': Math.round(times[kills / 2] ?? 0), 'back, worst ms': Math.round(worst) }];
  return { rows, bar: `no TCP request fails, and HTTP/3 is back within ${back} ms (${Math.round(worst)} ms)`, holds: failed === 0 && worst <= back };
}
