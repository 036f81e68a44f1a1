import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { compareOdd, oddAnswer, oddCalls, receive, sendOdd, type OddAnswer } from '../support/odd-answers.ts';
import { generator } from '../support/random.ts';
import { startRawUpstream } from '../support/raw-upstream.ts';
import { fieldInFull } from '../support/sampled.ts';
import { shared } from '../support/shared.ts';

/** Made-up answers; `npm run prove -- --only answers` tries many more. */
const count = fieldInFull ? 240 : 40;
const atOnce = 8;
const token = 'a-metrics-token-of-this-test-0123456789';
const document = '{"id":"c","choices":[]}';
const lengthFirst = `Content-Length: ${document.length}`;
const named = (disposition: string): string => Buffer.from(disposition).toString('latin1');
const answerOf = (status: string, ...lines: readonly string[]): OddAnswer => ({ name: status, end: lines.includes(lengthFirst) ? 'keep' : 'fin', bytes: Buffer.from(`HTTP/1.1 ${status} x\r\n${lines.map((line) => `${line}\r\n`).join('')}Content-Type: application/json\r\n\r\n${document}`, 'latin1') });

const table: Readonly<Record<string, OddAnswer>> = {
  'status 099': answerOf('099', lengthFirst), 'status 000': answerOf('000', lengthFirst), 'status 001': answerOf('001'), 'status 101 without an upgrade': answerOf('101'), 'an upgrade that nobody asked for': answerOf('101', 'Upgrade: websocket', 'Connection: Upgrade'), 'an upgrade to another protocol': answerOf('101', 'Connection: upgrade', 'Upgrade: h2c'), 'status 150 and no more': answerOf('150'),
  'status 600': answerOf('600', lengthFirst), 'status 999': answerOf('999', lengthFirst),
  'a UTF-8 file name behind a length': answerOf('200', lengthFirst, named('Content-Disposition: attachment; filename="größe 鍵.png"')),
  'a UTF-8 file name before a length': answerOf('200', named('Content-Disposition: attachment; filename="größe 鍵.png"'), lengthFirst),
  'a Latin-1 file name behind a length': answerOf('200', lengthFirst, 'Content-Disposition: attachment; filename="gr\xf6\xdfe.png"'),
  'a file name of an error': answerOf('404', lengthFirst, named('content-DISPOSITION: attachment; filename="\u{1f511}"')),
  'a head of 100 KB': answerOf('200', lengthFirst, `X-Long: ${'x'.repeat(100_000)}`),
  'many fields of 100 KB together': answerOf('200', ...Array.from({ length: 50 }, (_, n) => `X-Field-${n}: ${'x'.repeat(2000)}`), lengthFirst),
};

/** All bytes that a server sends until it closes the connection. */
async function whole(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1'))).write(bytes);
  await once(socket, 'close');
  return text;
}

describe('an answer that no ordinary server sends', () => {
  const scene = shared(async (scope) => {
    const answers = new Map<string, OddAnswer>();
    const upstream = await startRawUpstream(scope, (socket, { path }) => sendOdd(socket, answers.get(/nth=(\w+)/.exec(path)?.[1] ?? '') ?? answerOf('200', lengthFirst)));
    const gate = await startGate(scope, {
      newapi: { baseUrl: upstream.url, timeout: '10s' }, circuitBreaker: { failureThreshold: 1000 }, metrics: { token }, rateLimit: { address: { limit: 0 } },
      llm: { retry: { maxRetries: 0 }, timeouts: { firstByte: '8s' } },
    });
    return { answers, upstream, gate };
  });

  /** Nothing is held, and the next requests are answered. */
  async function assertWell(): Promise<void> {
    const { gate } = await scene();
    await until(async () => {
      const text = await (await fetch(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).text();
      return ['queue_active', 'queue_waiting', 'inflight_bytes', 'upstream_active_requests'].every((name) => [...text.matchAll(new RegExp(`^heimdall_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].every(([, value]) => Number(value) === 0));
    });
    for (const [method, path, body] of oddCalls) await until(async () => (await receive(gate.url + path, method, body, 262_144))?.body === document);
  }

  async function compare(key: string, odd: OddAnswer): Promise<string[]> {
    const { answers, upstream, gate } = await scene();
    answers.set(key, odd);
    const found: string[] = [];
    for (const call of oddCalls) {
      const wrong = await compareOdd(upstream.url, gate.url, call, `?nth=${key}`);
      if (wrong !== null) found.push(`${call[1]}: ${wrong}: ${odd.name}`);
    }
    return found;
  }

  for (const [name, odd] of Object.entries(table)) {
    it(`ends its request alone, or arrives as it does without the gate: ${name}`, async () => {
      assert.deepEqual(await compare(name.replace(/\W/g, ''), odd), []);
      await assertWell();
    });
  }

  it(`holds for ${count} made up`, async () => {
    const random = generator(13);
    const odd = Array.from({ length: count }, () => oddAnswer(random));
    let next = 0;
    const found: string[] = [];
    await Promise.all(Array.from({ length: atOnce }, async () => {
      for (let nth = next++; nth < count; nth = next++) found.push(...(await compare(`n${nth}`, odd[nth] as OddAnswer)));
    }));
    assert.deepEqual(found, []);
    await assertWell();
  });

  for (const [fields, lines] of Object.entries({ '3 000 fields': Array.from({ length: 3000 }, (_, n) => `X-${n}: 1`), '1 500 cookies': Array.from({ length: 1500 }, (_, n) => `Set-Cookie: c${n}=1`), '8 000 short fields': Array.from({ length: 8000 }, (_, n) => `a${n}:`) })) {
    it(`arrives with all of ${fields}`, async () => {
      const { answers, gate } = await scene();
      answers.set(`f${lines.length}`, answerOf('200', lengthFirst, ...lines));
      for (const [method, path, body] of oddCalls) {
        const text = await whole(gate.port, `${method} ${path}?nth=f${lines.length} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer sk-${'f'.repeat(48)}\r\n${body === null ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`}\r\n${body ?? ''}`);
        const arrived = new Set(text.split('\r\n').map((line) => line.trim()));
        assert.deepEqual(lines.filter((line) => !arrived.has(line)).length, 0, path);
      }
    });
  }

  const framings = [`${lengthFirst}\r\n${lengthFirst}`, `${lengthFirst}\r\nContent-Length: 3`, `${lengthFirst}, ${document.length}`, `${lengthFirst}\r\nTransfer-Encoding: chunked`, `Transfer-Encoding: chunked\r\n${lengthFirst}`, 'Content-Length: -1', 'Content-Length: 0x17'];
  for (const [nth, framing] of framings.entries()) {
    it(`is no HTTP with the framing ${JSON.stringify(framing)}`, async () => {
      const { answers, gate } = await scene();
      answers.set(`b${nth}`, answerOf('200', framing));
      for (const [method, path, body] of oddCalls) assert.equal((await receive(`${gate.url}${path}?nth=b${nth}`, method, body, 262_144))?.status, 502, path);
    });
  }

  it('ends no process, and what is thrown is told once', async () => {
    const { gate } = await scene();
    const panics = gate.log.named('request.panic');
    assert.deepEqual(panics, []);
  });
});
