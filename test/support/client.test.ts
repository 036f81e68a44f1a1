import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { closeAll, parseEvents, rawRequest, request, until } from './client.ts';
import { startNewapi } from './newapi.ts';
import { startDemo } from './demo.ts';

test('request sends flat headers, a raw target and bytes as they are', async (t) => {
  const server = createServer((req, res) => {
    const parts: Buffer[] = [];
    req.on('data', (part: Buffer) => parts.push(part));
    req.on('end', () => res.end(JSON.stringify({ url: req.url, raw: req.rawHeaders, body: Buffer.concat(parts).toString('hex') })));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const answer = await request(`http://127.0.0.1:${port}/`, {
    method: 'PUT',
    target: '/a/../b//c?x=%2e',
    headers: ['X-Two', '1', 'x-two', '2'],
    body: Buffer.from([0, 255]),
  });
  const seen = answer.json<{ url: string; raw: string[]; body: string }>();
  assert.equal(seen.url, '/a/../b//c?x=%2e');
  assert.deepEqual(seen.raw.slice(0, 4), ['X-Two', '1', 'x-two', '2']);
  assert.equal(seen.body, '00ff');
  assert.match(String(await rawRequest(port, 'NONSENSE\r\n\r\n')), /^HTTP\/1.1 400/);
});

test('parseEvents keeps names, comments and several data lines apart', () => {
  assert.deepEqual(parseEvents(': hi\n\nevent: a\ndata: 1\ndata: 2\n\ndata: cut'), [
    { event: undefined, data: undefined, comment: 'hi' },
    { event: 'a', data: '1\n2', comment: undefined },
  ]);
});

test('until gives the value, and a readable failure', async () => {
  let count = 0;
  assert.equal(await until(() => (++count > 3 ? 'there' : '')), 'there');
  await assert.rejects(until(() => false, 'the moon', 5), /Expected within 5 ms: the moon/);
});

test('closeAll closes in reverse and reports the first failure', async () => {
  const order: number[] = [];
  const thing = (n: number) => ({ close: () => void order.push(n) });
  const bad = { close: () => Promise.reject(new Error('stuck')) };
  await assert.rejects(closeAll(thing(1), bad, undefined, thing(2)), /stuck/);
  assert.deepEqual(order, [2, 1]);
});

test('the demo has a page, a key that works, and an end', async () => {
  const demo = await startDemo();
  assert.match((await request(demo.url)).text, /Demo upstream/);
  const body = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] };
  const answer = await request(`${demo.url}/v1/chat/completions`, { body, headers: { Authorization: `Bearer ${demo.key}` } });
  assert.equal(answer.status, 200);
  await demo.close();
  await assert.rejects(request(demo.url), { code: 'ECONNREFUSED' });
});

test('a stand-in started twice on one port fails instead of hanging', async (t) => {
  const first = await startNewapi();
  t.after(() => first.close());
  await assert.rejects(startNewapi({ port: first.port }), { code: 'EADDRINUSE' });
});
