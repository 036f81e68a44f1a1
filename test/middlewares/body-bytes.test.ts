import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { until } from '../support/client.ts';
import { bearer, codeOf } from './behind.ts';
import { path, scene } from './held.ts';

describe('bodies in hand', () => {
  const size = (bytes: number): string => JSON.stringify({ model: 'm', x: 'y'.repeat(bytes - 20) });
  const limits = { server: { maxInflightBytes: '80KB', bufferBodyBytes: '64KB', maxBodyBytes: '64KB' } };
  const json = (address: string): Record<string, string> => ({ ...bearer, 'Content-Type': 'application/json', 'X-Forwarded-For': address });

  it('have a share each caller: 413 beyond it, 429 when it is used up; and are given back', async (t) => {
    const { ask, held, answer, gauge } = await scene(t, {}, limits);
    const large = await ask(path, { body: size(10_241), headers: json('192.0.2.1') });
    assert.deepEqual([large.status, codeOf(large)], [413, 'body_too_large']);
    const first = ask(path, { body: size(10_000), headers: json('192.0.2.1') });
    await until(() => held.length === 1);
    assert.equal(await gauge('inflight_bytes'), 10_000);
    const more = await ask(path, { body: size(1000), headers: json('192.0.2.1') });
    assert.deepEqual([more.status, codeOf(more)], [429, 'too_many_bytes']);
    assert.match(String(more.headers['retry-after']), /^[1-9]\d*$/);
    const other = ask(path, { body: size(1000), headers: json('192.0.2.2') });
    await until(() => held.length === 2);
    await answer();
    await answer();
    assert.deepEqual([(await first).status, (await other).status], [200, 200]);
    await until(async () => (await gauge('inflight_bytes')) === 0);
  });

  it('are bounded for all: 503', async (t) => {
    const { ask, held, answer, gauge } = await scene(t, {}, limits);
    const all = Array.from({ length: 8 }, (_, n) => ask(path, { body: size(10_000), headers: json(`192.0.2.${n}`) }));
    await until(() => held.length === 8);
    const more = await ask(path, { body: size(5000), headers: json('192.0.2.99') });
    assert.deepEqual([more.status, codeOf(more)], [503, 'overloaded']);
    for (let n = 0; n < 8; n++) await answer();
    for (const each of await Promise.all(all)) assert.equal(each.status, 200);
    await until(async () => (await gauge('inflight_bytes')) === 0);
  });

  it('are counted before they come where their length is declared, and as they come where not', async (t) => {
    const { port, gauge } = await scene(t, {}, limits);
    const begin = (...lines: string[]): ReturnType<typeof connect> => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      t.after(() => socket.destroy());
      socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n${lines.join('\r\n')}\r\n\r\n`);
      return socket;
    };
    const declared = begin('Content-Length: 9000');
    await until(async () => (await gauge('inflight_bytes')) === 9000);
    declared.destroy();
    await until(async () => (await gauge('inflight_bytes')) === 0);
    const chunked = begin('Transfer-Encoding: chunked');
    const chunk = `1000\r\n${'x'.repeat(0x1000)}\r\n`;
    chunked.write(chunk);
    await until(async () => (await gauge('inflight_bytes')) === 4096);
    let said = '';
    chunked.on('data', (text: Buffer) => {
      said += text.toString();
    });
    chunked.write(chunk + chunk);
    await once(chunked, 'close');
    assert.match(said, /^HTTP\/1\.1 413 /);
    await until(async () => (await gauge('inflight_bytes')) === 0);
  });

  it('that stream count as much as the gate would keep of them', async (t) => {
    const { ask, held, answer, gauge } = await scene(t, {}, { server: { maxInflightBytes: '80KB', bufferBodyBytes: '4KB', maxBodyBytes: '64KB' } });
    const asked = ask(path, { body: size(50_000), headers: json('192.0.2.1') });
    await until(() => held.length === 1);
    assert.equal(await gauge('inflight_bytes'), 4096);
    await answer();
    assert.equal((await asked).status, 200);
  });
});
