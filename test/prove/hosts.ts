import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { cli } from './gate.ts';
import type { Finding } from './proof.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`;
const key = 'sk-heimdall-team-of-the-proof-0123456789';
const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const clockJumps = ['+30', '-30', '+3600', '-3600', '+3888000'] as const;

/** What a host answers to {@link ask}, and how many records that leaves. */
const expected = ['200 the host', '200 {"choices":[]', '200 data: {"cho', '400 {"error":{"', '401 {"error":{"', '404 '] as const;
const recordsEach = 4;

/** A host with routes of its own and a body parser in front, which mounts the gate below `/llm`. */
const program = (make: string): string => `
import { createServer } from 'node:http';
import { heimdall } from 'express-heimdall';
const gate = heimdall({ newapi: { baseUrl: process.env.UPSTREAM }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, audit: { path: process.env.JOURNAL }, logging: { file: false, level: 'error' } });
${make}
gate.attach(server);
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => process.stderr.write((process.env.WORKER ?? 'port') + ' ' + server.address().port + '\\n'));
process.once('SIGTERM', () => { server.close(); gate.close().then(() => { if (process.disconnect) process.disconnect(); }); });
`;

const express = program(`
import express from 'express';
const app = express();
app.get('/hello', (req, res) => res.send('the host'));
app.use('/llm', gate);
const server = createServer(app);`);

const plain = program(`
const server = createServer((req, res) => {
  if (req.url === '/hello') return res.end('the host');
  if (!req.url.startsWith('/llm/')) return res.writeHead(404).end();
  req.baseUrl = '/llm';
  req.originalUrl = req.url;
  req.url = req.url.slice(4);
  gate(req, res, () => res.writeHead(404).end());
});`);

const cluster = `
import cluster from 'node:cluster';
if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (worker, { port }) => { if (++listening === 2) process.stderr.write('port ' + port + '\\n'); });
  for (let nth = 0; nth < 2; nth++) cluster.fork({ WORKER: 'worker' });
  process.once('SIGTERM', () => { for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM'); });
} else await import(new URL('host.mjs', import.meta.url).href);
`;

type Row = Readonly<Record<'host' | 'holds' | 'says', string>>;

/** Where the gate is a guest, or under a clock that jumps: each host gets the same requests, and its journal has each of them once. */
export async function hosts(): Promise<Finding> {
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-hosts-'));
  const upstream = await startUpstream();
  const base = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const rows: Row[] = [];
  const add = async (host: string, work: () => Promise<string>): Promise<void> => {
    const row = await work().then((says): Row => ({ host, holds: says.startsWith('skipped') ? 'skipped' : says === '' ? 'yes' : 'no', says }), (error: Error): Row => ({ host, holds: 'no', says: error.message.slice(0, 160) }));
    rows.push(row);
  };
  const packed = await pack(directory).catch((error: Error) => error);
  const guests: readonly (readonly [host: string, needs: readonly string[], files: Readonly<Record<string, string>>, start: readonly string[]])[] = [
    ...['4.18', '4.22', '5.0', '5.1', '5'].map((version) => [`express ${version}`, [`express@${version}`], { 'host.mjs': express }, ['host.mjs']] as const),
    ['node:http', ['express@5'], { 'host.mjs': plain }, ['host.mjs']],
    ['node:cluster of two', ['express@5'], { 'host.mjs': plain, 'cluster.mjs': cluster }, ['cluster.mjs']],
    ['node --watch restarted', ['express@5'], { 'host.mjs': plain }, ['--watch', 'host.mjs']],
    ['Node 22', ['express@5', 'node@22'], { 'host.mjs': express }, ['host.mjs']],
  ];
  for (const [host, needs, files, start] of guests) {
    await add(host, async () => {
      if (packed instanceof Error) throw new Error(`npm pack fails: ${packed.message.slice(0, 100)}`);
      const at = join(directory, host.replaceAll(/\W/g, '-'));
      mkdirSync(at);
      writeFileSync(join(at, 'package.json'), '{"private":true,"type":"module"}');
      for (const [name, text] of Object.entries(files)) writeFileSync(join(at, name), text);
      try {
        await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', packed, ...needs], { cwd: at, env: { ...process.env, PATH: path } });
      } catch (error) {
        return `skipped: npm cannot install ${needs.join(' ')}: ${(error as Error).message.split('\n')[1]?.slice(0, 80) ?? ''}`;
      }
      const own = join(at, 'node_modules/node/bin/node');
      return guest({ at, node: existsSync(own) ? own : process.execPath, start, base });
    });
  }
  await add(`a clock that jumps by ${clockJumps.join(', ')} s`, () => (existsSync(faketime) ? jumping(join(directory, 'clock'), base) : Promise.resolve('skipped: libfaketime is not installed')));
  upstream.close();
  upstream.closeAllConnections();
  rmSync(directory, { recursive: true, force: true });
  return { rows, bar: 'every host that could be installed answers as it should, and its journal has every request once', holds: rows.every(({ holds }) => holds !== 'no') };
}

async function pack(directory: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', directory], { cwd: root, env: { ...process.env, PATH: path }, encoding: 'utf8' });
  return join(directory, (JSON.parse(stdout) as [{ filename: string }])[0].filename);
}

interface Guest {
  readonly at: string;
  readonly node: string;
  readonly start: readonly string[];
  readonly base: string;
}

/** @returns what does not hold; nothing when all does. */
async function guest({ at, node, start, base }: Guest): Promise<string> {
  const journal = join(at, 'data/heimdall.db');
  const child = spawn(node, start, { cwd: at, env: { PATH: path, UPSTREAM: base, JOURNAL: journal, HEIMDALL_SECRET: 'a secret of the proof' }, stdio: ['ignore', 'pipe', 'pipe'] });
  const spoken: string[] = [];
  child.stdout?.on('data', (text: Buffer) => void spoken.push(String(text)));
  try {
    const ports = portsOf(child);
    let answers = await ask(await ports());
    let asked = 1;
    if (start[0] === '--watch') {
      const next = ports();
      utimesSync(join(at, 'host.mjs'), new Date(), new Date());
      answers = [...answers, ...(await ask(await next))];
      asked = 2;
    }
    child.kill('SIGTERM');
    await once(child, 'exit');
    const wrong = answers.filter((answer, nth) => !answer.startsWith(expected[nth % expected.length] as string));
    const said = start[0] === '--watch' ? '' : spoken.join('');
    const { records, ids } = countIn(journal);
    if (wrong.length > 0) return `answers: ${wrong.join(' | ')}`;
    if (said !== '') return `on standard output: ${said.slice(0, 100)}`;
    return records === recordsEach * asked && ids === records ? '' : `${records} records of ${ids} requests, expected ${recordsEach * asked}`;
  } finally {
    child.kill('SIGKILL');
  }
}

/** Gives the port that a host says next. */
function portsOf(child: ChildProcess): () => Promise<number> {
  let text = '';
  let used = 0;
  let changed = (): void => undefined;
  child.stderr?.on('data', (more: Buffer) => {
    text += String(more);
    changed();
  });
  child.once('exit', () => changed());
  return async () => {
    const nth = used++;
    for (;;) {
      const port = [...text.matchAll(/port (\d+)/g)][nth]?.[1];
      if (port !== undefined) return Number(port);
      if (child.exitCode !== null) throw new Error(`the host ended: ${text.slice(-300)}`);
      await new Promise<void>((resolve) => (changed = resolve));
    }
  };
}

async function ask(port: number): Promise<string[]> {
  const url = `http://127.0.0.1:${port}`;
  const chat = (more: object, by: string | null = key): Promise<Response> => fetch(`${url}/llm/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...(by === null ? {} : { Authorization: `Bearer ${by}` }) }, body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }], ...more }) });
  const answers: string[] = [];
  const note = async (answer: Response, length = 15): Promise<void> => void answers.push(`${answer.status} ${(await answer.text()).slice(0, length)}`);
  await note(await fetch(`${url}/hello`));
  await note(await chat({}));
  await note(await chat({ stream: true }));
  await note(await chat({ messages: 7 }), 11);
  await note(await chat({}, null), 11);
  await note(await fetch(`${url}/nothing-here`), 0);
  return answers;
}

function countIn(file: string): { records: number; ids: number } {
  const db = new DatabaseSync(file, { readOnly: true });
  const { records, ids } = db.prepare('SELECT count(*) AS records, count(DISTINCT request_id) AS ids FROM heimdall_logs').get() as { records: number; ids: number };
  db.close();
  return { records, ids };
}

/** The standalone under a wall clock that jumps while a stream is under way. @returns what does not hold. */
async function jumping(at: string, base: string): Promise<string> {
  mkdirSync(at);
  const stamp = join(at, 'time');
  writeFileSync(stamp, '+0');
  const child = spawn(process.execPath, [cli, 'start'], {
    cwd: at, stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: path, NEWAPI_BASE_URL: base, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: '0', LD_PRELOAD: faketime, FAKETIME_TIMESTAMP_FILE: stamp, FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' },
  });
  try {
    let said = '';
    // Its end would close the pipe that the gate writes to.
    for await (const text of (child.stderr as Readable).iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      said += String(text);
      if (/listens on/.test(said)) break;
    }
    child.stderr?.resume();
    const url = /listens on (\S+)/.exec(said)?.[1];
    if (url === undefined) return `skipped: the gate does not run under libfaketime: ${said.slice(0, 80)}`;
    const ask = (stream: boolean): Promise<Response> => fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` }, body: JSON.stringify({ model: 'slow', stream, messages: [{ role: 'user', content: 'hello' }] }) });
    const problems: string[] = [];
    for (const jump of clockJumps) {
      const stream = await ask(true);
      writeFileSync(stamp, jump);
      const beside = await ask(false);
      if (!(await stream.text()).endsWith('data: [DONE]\n\n') || beside.status !== 200) problems.push(`${jump}: the stream is cut, or ${beside.status}`);
    }
    const began = performance.now();
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number];
    const { records } = countIn(join(at, 'data/heimdall.db'));
    if (code !== 0 || performance.now() - began > 10_000) problems.push(`the drain ends with ${code} after ${Math.round(performance.now() - began)} ms`);
    if (records !== 2 * clockJumps.length) problems.push(`${records} records`);
    return problems.join('; ');
  } finally {
    child.kill('SIGKILL');
  }
}

async function startUpstream(): Promise<Server> {
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => void (body += String(chunk))).on('end', () => {
      if (req.headers.authorization === undefined) return void res.writeHead(401, { 'Content-Type': 'application/json' }).end('{"error":{"message":"no token"}}');
      if (!body.includes('"stream":true')) return void res.writeHead(body.includes('"messages":7') ? 400 : 200, { 'Content-Type': 'application/json' }).end(body.includes('"messages":7') ? '{"error":{"message":"no"}}' : '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}');
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
      setTimeout(() => res.end('data: [DONE]\n\n'), body.includes('"slow"') ? 500 : 10);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
