import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { cli, runGate, type RunningGate } from './gate.ts';
import type { Finding } from './proof.ts';

const generations = 10;
/** Requests a second, and how long each generation serves alone, milliseconds. */
const rate = 300;
const alone = 1500;
const tick = 10;
/** Requests that are sent at once, as by a balancer: further ones wait, and go to the generation that then serves. */
const mostAtOnce = 100;

/** Requests of one generation. */
interface Served {
  readonly asked: string[];
  failed: number;
}

/**
 * A rolling restart: each generation of the standalone starts beside the one before it, on the same journal, takes the traffic when
 * it is ready, and the one before ends by SIGTERM with requests and streams in hand.
 */
export async function rolling(): Promise<Finding> {
  const upstream = await startUpstream();
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-rolling-'));
  const yaml = 'llm: { price_source: none }\nrate_limit: { key: { requests: { limit: 1000000, window: 60s } } }\nqueue: { concurrency: 2000 }\n';
  const start = (): Promise<RunningGate> => runGate(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, yaml, directory);
  let gate = await start();
  let load = new Load(gate.url);
  let due = 0;
  const began = performance.now();
  let seconds = 0;
  const pacing = setInterval(() => {
    for (const target = ((performance.now() - began) / 1000) * rate; due < target && load.inHand < mostAtOnce; due++) load.send(due);
  }, tick);
  const rows: { generation: number; requests: number; failed: number; 'in hand at SIGTERM': number; 'ms to end': number }[] = [];
  const ended: Promise<void>[] = [];
  const loads = [load];
  for (let generation = 1; generation <= generations; generation++) {
    const before = gate;
    const old = load;
    await new Promise((resolve) => setTimeout(resolve, alone));
    if (generation < generations) {
      gate = await start();
      load = new Load(gate.url);
      loads.push(load);
    } else {
      clearInterval(pacing);
      seconds = (performance.now() - began) / 1000;
    }
    const inHand = old.inHand;
    const at = performance.now();
    ended.push(before.stop().then(() => {
      rows.push({ generation, requests: old.served.asked.length, failed: old.served.failed, 'in hand at SIGTERM': inHand, 'ms to end': Math.round(performance.now() - at) });
    }));
  }
  await Promise.all(ended);
  for (const each of loads) each.close();
  upstream.close();
  upstream.closeAllConnections();
  const asked = loads.flatMap(({ served }) => served.asked);
  const failed = loads.reduce((sum, { served }) => sum + served.failed, 0);
  const path = join(directory, 'data/heimdall.db');
  const { missing, twice } = compare(path, asked);
  const whole = await promisify(execFile)(process.execPath, [cli, 'verify', '--path', path], { cwd: directory, env: { PATH: process.env['PATH'] ?? '' } }).then(() => true, () => false);
  rmSync(directory, { recursive: true, force: true });
  const holds = failed === 0 && missing === 0 && twice === 0 && whole;
  return {
    rows: rows.toSorted((one, other) => one.generation - other.generation),
    bar: `${generations} generations under ${Math.round(asked.length / seconds)} requests a second (aim: ${rate}): none of ${asked.length} failed (${failed}), no record missing (${missing}) or twice (${twice}), and the chain is ${whole ? '' : 'not '}whole`,
    holds,
  };
}

/** The requests that one generation gets. Every tenth is a stream that lasts 300 ms. */
class Load {
  readonly served: Served = { asked: [], failed: 0 };
  inHand = 0;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #url: URL;

  constructor(url: string) {
    this.#url = new URL('/v1/chat/completions', url);
  }

  send(nth: number): void {
    const stream = nth % 10 === 0;
    this.inHand++;
    let isAnswered = false;
    let isOver = false;
    const over = (problem: string | null): void => {
      if (isOver) return;
      isOver = true;
      this.inHand--;
      if (problem !== null && this.served.failed++ < 3) process.stderr.write(`${problem}\n`);
    };
    const asked = request(this.#url, { method: 'POST', agent: this.#agent, headers: { Authorization: 'Bearer sk-heimdall-team-of-the-proof-0123456789', 'Content-Type': 'application/json' } }, (answer) => {
      isAnswered = true;
      this.served.asked.push(String(answer.headers['x-request-id']));
      let text = '';
      answer.on('data', (chunk: Buffer) => void (text += String(chunk))).on('error', (error) => over(String(error)));
      answer.on('end', () => over(answer.statusCode === 200 && text.endsWith(stream ? 'data: [DONE]\n\n' : '}') ? null : `${answer.statusCode} ${text.slice(0, 200)}`));
    });
    asked.on('error', (error) => {
      // No answer has named this request: it counts all the same.
      if (!isAnswered) this.served.asked.push(`without an answer: ${nth}`);
      over(String(error));
    });
    asked.end(JSON.stringify({ model: 'gpt-4o-mini', stream, messages: [{ role: 'user', content: `question ${nth}` }] }));
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Ids that the journal does not hold, and ids that it holds more than once. */
function compare(path: string, asked: readonly string[]): { missing: number; twice: number } {
  const db = new DatabaseSync(path, { readOnly: true });
  const count = new Map<string, number>();
  for (const { request_id: id } of db.prepare('SELECT request_id FROM heimdall_logs').iterate()) count.set(String(id), (count.get(String(id)) ?? 0) + 1);
  db.close();
  return { missing: asked.filter((id) => !count.has(id)).length, twice: [...count.values()].filter((times) => times > 1).length };
}

async function startUpstream(): Promise<Server> {
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => void (body += String(chunk))).on('end', () => {
      if (!body.includes('"stream":true')) return void res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}');
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      let chunks = 0;
      const timer = setInterval(() => {
        if (++chunks < 10) return void res.write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
        clearInterval(timer);
        res.end('data: [DONE]\n\n');
      }, 30);
      res.once('close', () => clearInterval(timer));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
