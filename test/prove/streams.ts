import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { request } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from 'node:tls';
import { authority, type Certificate } from '../support/authority.ts';
import { until } from '../support/client.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';
import type { Finding } from './proof.ts';

/** Streams over HTTP/1.1, each on a connection of its own, and over HTTP/2, so many on one. */
const old = 250;
const multiplexed = 250;
const streamsOnOne = 50;
const times = 10;
/** A new certificate is served so long after its files at most, milliseconds. */
const served = 1000;
const every = 250;
/** So long the streams go on after the signal, milliseconds. */
const drain = 3000;
const headers = { authorization: `Bearer sk-${'StreamsOfACaller'.repeat(3)}`, 'content-type': 'application/json' };
const body = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'count' }] });

/** Whether an answer is whole: its events are numbered without a gap, and its end is there. */
function isWhole(text: string): boolean {
  const events = text.split('\n\n').filter(Boolean);
  return events.at(-1) === 'data: [DONE]' && events.slice(0, -1).every((event, nth) => event.includes(`"n":${nth},`));
}

/** Streams of an upstream that count until they are told to end. */
class Counting {
  readonly #answers = new Set<ServerResponse>();
  #n = 0;

  add(res: ServerResponse): void {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Oneapi-Request-Id': 'r' });
    let n = 0;
    const timer = setInterval(() => res.write(`data: {"n":${n++},"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n`), every);
    this.#answers.add(res);
    this.#n++;
    res.once('close', () => {
      clearInterval(timer);
      this.#answers.delete(res);
    });
  }

  get open(): number {
    return this.#answers.size;
  }

  get begun(): number {
    return this.#n;
  }

  end(): void {
    for (const res of this.#answers) res.end('data: [DONE]\n\n');
  }
}

/** @returns the whole text, or what came until it broke. */
async function overHttp1(port: number): Promise<string> {
  const asked = request({ port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', headers, rejectUnauthorized: false, agent: false });
  let text = '';
  try {
    const [answer] = (await once(asked.end(body), 'response')) as [IncomingMessage];
    for await (const chunk of answer) text += String(chunk);
  } catch (error) {
    text += `\n\nbroken: ${String(error)}`;
  }
  return text;
}

function overHttp2(port: number, streams: number): Promise<string>[] {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on('error', () => undefined);
  const all = Array.from({ length: streams }, async () => {
    const stream = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', ...headers });
    let text = '';
    try {
      stream.end(body);
      for await (const chunk of stream) text += String(chunk);
    } catch (error) {
      text += `\n\nbroken: ${String(error)}`;
    }
    return text;
  });
  void Promise.all(all).then(() => session.close());
  return all;
}

/** Serial number of the certificate that a new connection gets. */
async function serialAt(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

async function swap(port: number, used: Certificate, next: Certificate): Promise<number> {
  const wanted = new X509Certificate(next.cert).serialNumber;
  for (const [from, to] of [[next.keyPath, used.keyPath], [next.certPath, used.certPath]] as const) {
    writeFileSync(`${to}.new`, readFileSync(from), { mode: 0o600 });
    renameSync(`${to}.new`, to);
  }
  const began = performance.now();
  await until(async () => (await serialAt(port)) === wanted, 'the new certificate');
  return performance.now() - began;
}

/** Live streams over TLS while certificates are exchanged, the configuration is read again, and the gate is told to end. */
export async function streams(): Promise<Finding> {
  const ends: (() => unknown)[] = [];
  const scope = { after: (end: () => unknown): void => void ends.push(end) };
  const issuer = authority(scope);
  const used = issuer.issue('DNS:localhost');
  const counting = new Counting();
  const upstream = await startUpstream(scope, (req, res) => {
    req.resume();
    if (req.method === 'POST') counting.add(res);
    else res.end('{}');
  });
  const yaml = (limit: number): string => `server: { watch: true, shutdown_timeout: 60s, tls: { cert_path: ${used.certPath}, key_path: ${used.keyPath} } }\nrate_limit: { key: { requests: { limit: ${limit}, window: 10m } } }\nlogging: { file: false, level: info }\n`;
  const gate = await startStandalone(upstream.url, yaml(100_000));
  const port = Number(new URL(gate.url).port);
  const texts = [...Array.from({ length: old }, () => overHttp1(port)), ...Array.from({ length: multiplexed / streamsOnOne }, () => overHttp2(port, streamsOnOne)).flat()];
  await until(() => counting.begun === texts.length, 'all streams have begun');
  const swaps: number[] = [];
  const reloads = (): number => gate.output().split('"message":"config.reloaded"').length - 1;
  for (let nth = 0; nth < times; nth++) {
    swaps.push(await swap(port, used, issuer.issue('DNS:localhost')));
    const before = reloads();
    writeFileSync(gate.path, yaml(100_001 + nth), { mode: 0o600 });
    if (nth % 2 === 1) process.kill(gate.pid, 'SIGHUP');
    await until(() => reloads() > before, 'a reload');
  }
  const live = counting.open;
  const stopped = gate.stop();
  await pause(drain);
  const inDrain = counting.open;
  counting.end();
  const began = performance.now();
  const broken = (await Promise.all(texts)).filter((text) => !isWhole(text));
  await stopped;
  const ended = performance.now() - began;
  for (const end of ends.reverse()) await end();
  swaps.sort((a, b) => a - b);
  const rows = [{
    streams: texts.length, 'live after swaps and reloads': live, 'live in the drain': inDrain, broken: broken.length, swaps: swaps.length, 'new certificate, worst ms': Math.round(swaps.at(-1) ?? 0),
    reloads: reloads(), 'ended after the last stream, ms': Math.round(ended),
  }];
  const holds = broken.length === 0 && live === texts.length && inDrain === texts.length && (swaps.at(-1) ?? Infinity) <= served;
  return { rows, bar: `no stream breaks through ${times} certificates, ${times} reloads and SIGTERM, and a new certificate is served within ${served} ms of its file`, holds };
}
