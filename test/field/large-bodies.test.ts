import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { until } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { bearer, CALLER } from '../support/scene.ts';

const KB = 1024;
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

/** A chat of about that size, of text that differs from byte to byte. */
function chatOf(size: number, more: object = {}): Buffer {
  const text = Array.from({ length: Math.ceil(size / 8) }, (_, at) => at.toString(36).padStart(8, '"\\n')).join('');
  return Buffer.from(JSON.stringify({ model: 'gpt-4o-mini', ...more, messages: [{ role: 'system', content: text }, { role: 'user', content: 'the question' }] }));
}

const cut = (bytes: Buffer, size: number): Buffer[] => Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));

interface Sent {
  readonly body: Buffer;
  /** Size of the writes; 0: one write. */
  readonly by?: number;
  readonly chunked?: boolean;
  /** Statuses that the upstream answers first, each once it has read the whole body. */
  readonly fails?: number;
}

const sent: Readonly<Record<string, Sent>> = {
  'of 9 KB in one piece': { body: chatOf(9 * KB) },
  'of 70 KB in one write': { body: chatOf(70 * KB) },
  'of 70 KB in pieces of 1 000 bytes': { body: chatOf(70 * KB), by: 1000 },
  'of 20 KB in chunks of 500 bytes': { body: chatOf(20 * KB), by: 500, chunked: true },
  'of 300 KB in pieces of 5 000 bytes': { body: chatOf(300 * KB), by: 5000 },
  'of 300 KB in chunks': { body: chatOf(300 * KB), by: 70_000, chunked: true },
  'of 1 MB': { body: chatOf(KB * KB) },
  'of 4 MB': { body: chatOf(4 * KB * KB) },
  'that is sent again when the upstream fails': { body: chatOf(200 * KB), fails: 1 },
  'that is sent to the second target, twice': { body: chatOf(90 * KB), fails: 2 },
  'whose model is renamed': { body: chatOf(70 * KB, { model: 'renamed' }) },
};

interface Seen {
  readonly target: string;
  readonly print: string;
  readonly length: string | undefined;
}

/** Reads every body to its end and tells what came. */
function upstreamOf(target: string, seen: Seen[], failing: { left: number }): http.Server {
  return http.createServer((req, res) => {
    const hash = createHash('md5');
    req.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => {
      seen.push({ target, print: hash.digest('hex'), length: req.headers['content-length'] });
      const status = failing.left-- > 0 ? 500 : 200;
      const answer = JSON.stringify(status === 200 ? { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } } : { error: { message: 'no' } });
      res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': answer.length }).end(answer);
    });
  });
}

describe('a large body', () => {
  const seen: Seen[] = [];
  const failing = { left: 0 };
  const servers = ['one', 'two'].map((name) => upstreamOf(name, seen, failing));
  const ends: (() => unknown)[] = [];
  let running: RunningGate;

  before(async () => {
    for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening');
    const [one, two] = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
    const target = { provider: 'openai', apiKey: 'sk-of-the-target', models: { renamed: 'another' } };
    running = await startGate({ after: (call) => void ends.push(call as () => unknown) }, {
      auth: { mode: 'keys', keys: [{ name: 'caller', sha256: createHash('sha256').update(CALLER).digest('hex') }] },
      llm: { ...target, endpoint: one, backupProviders: [{ ...target, endpoint: two }], retry: { initialDelay: '1ms', maxDelay: '1ms' }, healthCheck: { enabled: false } },
      circuitBreaker: { failureThreshold: 1000 },
    } as Parameters<typeof startGate>[1]);
  });

  after(async () => {
    for (const end of ends.reverse()) await end();
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  });

  for (const [what, { body, by = body.length, chunked = false, fails = 0 }] of Object.entries(sent)) {
    it(`${what} arrives byte by byte, and so does its fingerprint`, async () => {
      seen.length = 0;
      failing.left = fails;
      const headers = { ...bearer(CALLER), 'Content-Type': 'application/json', ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': body.length }) };
      const asked = http.request({ host: '127.0.0.1', port: running.port, path: '/v1/chat/completions', method: 'POST', headers });
      const answered = once(asked, 'response') as Promise<[http.IncomingMessage]>;
      for (const part of cut(body, by)) if (!asked.write(part)) await once(asked, 'drain');
      asked.end();
      const [answer] = await answered;
      answer.resume();
      assert.equal(answer.statusCode, 200);
      const id = String(answer.headers['x-request-id']);
      const expected = Buffer.from(body.toString().replace('"model":"renamed"', '"model":"another"'));
      assert.deepEqual(seen.map(({ print, length }) => [print, length]), Array.from({ length: fails + 1 }, () => [md5(expected), String(expected.length)]));
      const row = await until(async () => (await recorded(running.gate)).find((each) => each['request_id'] === id));
      assert.deepEqual([row['content_fingerprint'], row['bytes_in'], row['attempts']], [md5(body), body.length, fails + 1]);
      assert.match(String(row['request_body']), /the question/);
    });
  }
});

it('the memory of a body that an upstream has not read when it answers is not given away', async () => {
  const body = chatOf(3000 * KB);
  const whole = md5(body);
  const came: { hash: ReturnType<typeof createHash>; size: number }[] = [];
  // Answers at the head, reads nothing for a while, then reads on: what it gets must be the beginning of the body, whatever else the gate did meanwhile.
  const upstream = http.createServer((req, res) => {
    const each = { hash: createHash('md5'), size: 0 };
    came.push(each);
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 14 }).end('{"choices":[]}');
    req.once('readable', () => setTimeout(() => req.on('data', (chunk: Buffer) => {
      each.size += chunk.length;
      each.hash.update(chunk);
    }), 30));
    req.on('error', () => undefined);
  });
  await once(upstream.listen(0, '127.0.0.1'), 'listening');
  const ends: (() => unknown)[] = [];
  const running = await startGate({ after: (call) => void ends.push(call as () => unknown) }, { newapi: { baseUrl: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` } });
  try {
    for (let nth = 0; nth < 4; nth++) {
      const asked = http.request({ host: '127.0.0.1', port: running.port, path: '/v1/chat/completions', method: 'POST', headers: { ...bearer(CALLER), 'Content-Type': 'application/json', 'Content-Length': body.length } });
      asked.end(body);
      const [answer] = (await once(asked, 'response')) as [http.IncomingMessage];
      assert.equal(answer.resume().statusCode, 200);
    }
    const rows = await until(async () => {
      const all = await recorded(running.gate);
      return all.length === 4 ? all : undefined;
    });
    for (const row of rows) assert.equal(row['content_fingerprint'], whole);
    await until(() => came.every(({ size }) => size === body.length) || upstream.closeAllConnections() === undefined);
    for (const { hash, size } of came) assert.equal(hash.digest('hex'), md5(body.subarray(0, size)));
  } finally {
    for (const end of ends.reverse()) await end();
    upstream.close();
    upstream.closeAllConnections();
  }
});
