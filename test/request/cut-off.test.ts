import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { bearer, chat, token, type behind, type Behind } from '../middlewares/behind.ts';
import { guarded } from '../middlewares/guarded.ts';
import { openStream, until } from '../support/client.ts';
import { settled } from '../support/upstream.ts';

describe('what is under way', () => {
  const streaming = (held: ServerResponse[]): Parameters<typeof behind>[2] => (req, res) => {
    req.resume().on('end', () => {
      res.writeHead(200, { 'Content-Type': req.url?.includes('chat') ? 'text/event-stream' : 'application/octet-stream', 'X-Oneapi-Request-Id': 'r' });
      res.write(req.url?.includes('chat') ? 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' : 'bytes');
      held.push(res);
    });
  };
  const stream = ({ url }: Behind, ip: string, path = '/v1/chat/completions', headers: Record<string, string> = bearer) =>
    openStream(url + path, { headers: { ...headers, 'X-Forwarded-For': ip }, ...(path.includes('chat') && { body: { ...chat, stream: true } }) });

  it('is cut by a ban of its address: events end with an error, bytes break off, others go on', async (t) => {
    const held: ServerResponse[] = [];
    const gate = await guarded(t, {}, streaming(held));
    const [events, bytes, other] = await Promise.all([stream(gate, '203.0.113.7'), stream(gate, '203.0.113.7', '/api/file'), stream(gate, '203.0.113.8')]);
    await until(() => events.events.length === 1 && bytes.chunks.length === 1 && other.events.length === 1);
    await gate.other.registry.ban({ value: '203.0.113.0/29', reason: 'tests' });
    await gate.look();
    await Promise.all([events.done, bytes.done]);
    assert.match(events.events.at(-1)?.data ?? '', /"code":"banned"/);
    assert.doesNotMatch(events.text, /\[DONE\]|tests/);
    assert.deepEqual([events.complete, bytes.complete], [true, false]);
    await until(() => held.filter((res) => res.destroyed).length === 2);
    assert.ok(!other.complete && other.error === undefined);
    held.find((res) => !res.destroyed)?.end('data: [DONE]\n\n');
    await other.done;
    assert.match(other.text, /\[DONE\]/);
    const cuts = gate.log.named('ban.cut');
    assert.deepEqual(cuts.map(({ ip, reason }) => [ip, reason]), [['203.0.113.7', 'tests'], ['203.0.113.7', 'tests']]);
    assert.ok(cuts.every(({ token: identity, requestId }) => identity !== token && typeof requestId === 'string'));
  });

  it('is cut when its key is disabled, revoked, rotated without overlap, banned or over', async (t) => {
    const held: ServerResponse[] = [];
    const config = { auth: { mode: 'keys' } } as const;
    const gate = await guarded(t, config, streaming(held));
    const { registry, clock } = gate.other;
    const ends: Record<string, (name: string) => Promise<unknown>> = {
      disabled: (name) => registry.changeKey(name, { disabled: true }),
      revoked: (name) => registry.removeKey(name),
      rotated: (name) => registry.rotateKey(name, 0),
      banned: (name) => registry.ban({ value: name }),
      over: (name) => registry.changeKey(name, { expires: clock.now() + 1 }),
    };
    const names = [...Object.keys(ends), 'unharmed', 'overlapping'];
    const keys = new Map<string, string>();
    for (const name of names) keys.set(name, (await registry.createKey({ name, upstreamCredential: 'sk-at-newapi' })).key);
    await gate.look();
    const streams = new Map(await Promise.all(names.map(async (name) => [name, await stream(gate, '203.0.113.7', '/v1/chat/completions', { Authorization: `Bearer ${keys.get(name)}` })] as const)));
    await until(() => [...streams.values()].every(({ events }) => events.length === 1));
    for (const [name, end] of Object.entries(ends)) await end(name);
    await registry.rotateKey('overlapping', 60_000);
    await gate.look();
    for (const name of Object.keys(ends)) {
      const { done, events } = streams.get(name) as Awaited<ReturnType<typeof stream>>;
      await done;
      assert.match(events.at(-1)?.data ?? '', name === 'banned' ? /"code":"banned"/ : /"code":"invalid_credential"/, name);
    }
    assert.deepEqual(gate.log.named('key.cut').map(({ reason }) => reason).sort(), ['disabled', 'expired', 'unknown', 'unknown']);
    assert.deepEqual(gate.log.named('ban.cut').length, 1);
    for (const name of ['unharmed', 'overlapping']) assert.equal(streams.get(name)?.complete, false, name);
    for (const res of held) res.end();
  });

  it('is cut before it was answered, and costs the upstream nothing more', async (t) => {
    const waiting: ServerResponse[] = [];
    const gate = await guarded(t, {}, (req, res) => void req.resume().on('end', () => waiting.push(res)));
    const asked = gate.from('203.0.113.7');
    await until(() => waiting.length === 1);
    await gate.other.registry.ban({ value: '203.0.113.7' });
    await gate.look();
    assert.equal(await asked, '403 banned');
    await until(() => waiting[0]?.destroyed);
  });

  it('is cut even when its reader does not read', async (t) => {
    let poured = 0;
    const gate = await guarded(t, {}, (req, res) => {
      req.resume().on('end', () => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        const pour = (): void => {
          do poured++;
          while (!res.destroyed && res.write(`data: {"choices":[{"delta":{"content":"${'x'.repeat(50_000)}"}}]}\n\n`));
        };
        res.on('drain', pour);
        pour();
      });
    });
    const socket = connect(gate.port, '127.0.0.1');
    t.after(() => socket.destroy());
    const body = JSON.stringify({ ...chat, stream: true });
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\nAuthorization: ${bearer.Authorization}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await once(socket, 'readable');
    await settled(() => poured);
    const held = await new Promise<number>((resolve) => gate.server.getConnections((_error, count) => resolve(count)));
    assert.equal(held, 1);
    await gate.other.registry.ban({ value: '203.0.113.7' });
    await gate.look();
    gate.clock.tick(500);
    await until(() => new Promise<boolean>((resolve) => gate.server.getConnections((_error, count) => resolve(count === 0))));
  });

  it('goes on in a gate that observes', async (t) => {
    const held: ServerResponse[] = [];
    const gate = await guarded(t, { mode: 'observe' }, streaming(held));
    const events = await stream(gate, '203.0.113.7');
    await gate.other.registry.ban({ value: '203.0.113.7' });
    await gate.look();
    held[0]?.end('data: [DONE]\n\n');
    await events.done;
    assert.match(events.text, /\[DONE\]/);
    assert.equal(gate.log.named('ban.cut').length, 0);
  });
});
