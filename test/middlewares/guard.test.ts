import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as open } from 'node:http';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { tokenIdentifier } from '../../lib/identity/caller.ts';
import { hold, secret } from '../registry/tools.ts';
import { until } from '../support/client.ts';
import { accessRecords } from '../support/records.ts';
import { handshake, refused } from '../support/websocket.ts';
import { bearer, behind, chat, codeOf, token } from './behind.ts';
import { guarded } from './guarded.ts';

const metrics = { token: 'a-token-for-metrics' };
const scraper = { Authorization: `Bearer ${metrics.token}` };

describe('the lists of the guard', () => {
  it('let in whom they allow, and deny is stronger', async (t) => {
    const { from, seen } = await guarded(t, { guard: { allow: ['203.0.113.0/24', '2001:db8::/32'], deny: ['203.0.113.66'] } });
    assert.deepEqual([await from('203.0.113.7'), await from('2001:db8::1'), await from('::ffff:203.0.113.8')], ['200', '200', '200']);
    assert.deepEqual([await from('203.0.113.66'), await from('198.51.100.1'), await from('::ffff:203.0.113.66')], ['403 address_denied', '403 address_denied', '403 address_denied']);
    assert.equal(seen.length, 3);
  });

  it('stand before everything but health: pages, metrics and webhooks too', async (t) => {
    const { from, ask, seen, log } = await guarded(t, { metrics, guard: { deny: ['203.0.113.0/24'] } });
    for (const path of ['/', '/api/status', '/api/stripe/webhook', '/metrics', '/v1/models', '/nowhere']) assert.match(await from('203.0.113.7', path, scraper), /^403/, path);
    for (const path of ['/health', '/health/live', '/health/ready']) assert.equal(await from('203.0.113.7', path), '200', path);
    assert.equal(seen.length, 0);
    const claude = await ask('/v1/messages', { body: chat, headers: { ...bearer, 'X-Forwarded-For': '203.0.113.7' } });
    assert.deepEqual([claude.status, claude.json<{ type: string }>().type, claude.headers['x-should-retry']], [403, 'error', 'false']);
    assert.equal(log.named('guard.refused').length, 1);
    const { text } = await ask('/metrics', { headers: scraper });
    assert.match(text, /^heimdall_guard_refused_total\{reason="deny"\} 7$/m);
  });

  it('hold a client to the address that is verified, whatever it writes', async (t) => {
    const { ask } = await guarded(t, { trustProxy: [], guard: { allow: ['203.0.113.0/24'] } });
    for (const headers of [{ 'X-Forwarded-For': '203.0.113.7' }, { 'X-Real-IP': '203.0.113.7' }, { Forwarded: 'for=203.0.113.7' }]) assert.equal((await ask('/', { headers })).status, 403);
  });

  it('are noted and not enforced by a gate that observes', async (t) => {
    const records = accessRecords(t);
    const { from, other, look, log, seen, clock } = await guarded(t, { mode: 'observe', logging: records.logging, guard: { deny: ['203.0.113.7'] } });
    await other.registry.ban({ value: '203.0.113.0/24' });
    await look();
    assert.deepEqual([await from('203.0.113.7'), await from('203.0.113.8'), await from('198.51.100.1')], ['200', '200', '200']);
    assert.deepEqual([seen.length, log.named('guard.refused').length], [3, 0]);
    const lines = await until(() => {
      clock.tick(50);
      return records.all().length === 3 ? records.all() : undefined;
    });
    const noted = lines.map((record) => (record as unknown as { would_refuse?: string[] }).would_refuse);
    assert.deepEqual(noted, [['guard', 'ban'], ['ban'], []]);
  });
});

describe('a ban', () => {
  it('refuses an address, a network and a token, without saying why, until it is taken back', async (t) => {
    const { from, other, look, seen, log } = await guarded(t);
    await other.registry.ban({ value: '203.0.113.7', reason: 'stole my bicycle' });
    await other.registry.ban({ value: '2001:db8::/32' });
    assert.equal(await from('203.0.113.7'), '200');
    assert.deepEqual(log.named('ban.added'), []);
    await look();
    for (const ip of ['203.0.113.7', '2001:db8:5::1']) assert.equal(await from(ip), '403 banned', ip);
    assert.deepEqual([await from('203.0.113.8'), await from('203.0.113.7', '/'), await from('203.0.113.7', '/health')], ['200', '403 ', '200']);
    await other.registry.unban('203.0.113.7');
    await look();
    assert.equal(await from('203.0.113.7'), '200');
    assert.equal(seen.length, 3);
    assert.deepEqual(log.named('guard.refused').map(({ ip, reason }) => [ip, reason]), [['203.0.113.7', 'ban_address'], ['2001:db8:5::1', 'ban_address']]);
  });

  it('keeps its reason from the banned', async (t) => {
    const { ask, other, look } = await guarded(t);
    await other.registry.ban({ value: '203.0.113.7', reason: 'stole my bicycle' });
    await look();
    const answer = await ask('/v1/chat/completions', { body: chat, headers: { ...bearer, 'X-Forwarded-For': '203.0.113.7' } });
    assert.deepEqual([answer.status, codeOf(answer)], [403, 'banned']);
    assert.ok(!JSON.stringify([answer.text, answer.rawHeaders]).includes('bicycle'));
  });

  it('follows a token to every address and carrier', async (t) => {
    const { from, other, look, seen } = await guarded(t);
    await from('203.0.113.1');
    const { id } = tokenIdentifier(secret)(token);
    await other.registry.ban({ value: id });
    await look();
    for (const [ip, headers] of [['203.0.113.2', bearer], ['203.0.113.3', { Authorization: token }], ['203.0.113.4', { Authorization: `Bearer ${token.slice(3)}` }], ['203.0.113.5', { Authorization: `Bearer ${token}-7` }]] as const) {
      assert.equal(await from(ip, '/v1/chat/completions', headers), '403 banned', JSON.stringify(headers));
    }
    assert.equal(await from('203.0.113.2', '/v1/chat/completions', { Authorization: 'Bearer another' }), '200');
    assert.equal(seen.length, 2);
  });

  it('refuses a gateway key by its name, with both keys of a rotation', async (t) => {
    const { from, other, look, ask, log } = await guarded(t, { auth: { mode: 'keys' } });
    const old = (await other.registry.createKey({ name: 'team', upstreamCredential: null })).key;
    const { key } = await other.registry.rotateKey('team', 60_000);
    const models = (credential: string): Promise<string> => from('203.0.113.7', '/v1/models', { Authorization: `Bearer ${credential}` });
    assert.equal(await models(key), '401 invalid_credential');
    await look();
    for (const credential of [old, key]) assert.notEqual(await models(credential), '401 invalid_credential');
    await other.registry.ban({ value: 'team' });
    await look();
    for (const credential of [old, key]) assert.equal(await models(credential), '403 banned');
    assert.equal((await ask('/v1/models', { headers: { 'x-api-key': key } })).status, 403);
    assert.deepEqual(log.named('guard.refused').map((fields) => [fields['key'], fields['reason']]), [['team', 'ban_key']]);
  });

  it('keeps WebSockets out too', async (t) => {
    const { other, look, port, seen } = await guarded(t);
    await other.registry.ban({ value: '203.0.113.7' });
    await look();
    const { status, text, ended } = await refused(port, handshake('/v1/realtime', 'X-Forwarded-For: 203.0.113.7', `Authorization: ${bearer.Authorization}`));
    assert.deepEqual([status, ended, seen.length], [403, true, 0]);
    assert.match(text, /"code":"banned"/);
  });

  it('ends by itself', async (t) => {
    const { from, other, look, clock, log } = await guarded(t);
    await other.registry.ban({ value: '203.0.113.7', expires: clock.now() + 60_000 });
    await look();
    assert.equal(await from('203.0.113.7'), '403 banned');
    clock.tick(59_000);
    assert.equal(await from('203.0.113.7'), '200');
    await look();
    assert.equal(log.named('ban.expired').length, 1);
  });

  it('holds for the very first request', async (t) => {
    const { ask, seen, gate } = await behind(t);
    const other = await hold(t, dirname(gate.config.audit.path));
    await other.registry.ban({ value: '203.0.113.7' });
    const answers = await Promise.all([1, 2, 3].map(() => ask('/v1/chat/completions', { body: chat, headers: { ...bearer, 'X-Forwarded-For': '203.0.113.7' } })));
    assert.deepEqual([answers.map(({ status }) => status), seen.length], [[403, 403, 403], 0]);
  });
});

describe('a connection', () => {
  const hang = async (t: TestContext, port: number): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };

  it('is one of as many as an address may hold', async (t) => {
    const { ask, port, server, log } = await guarded(t, { trustProxy: [], guard: { connectionsPerAddress: 2 }, metrics });
    const idle = [await hang(t, port), await hang(t, port)];
    await until(() => new Promise<boolean>((resolve) => server.getConnections((_error, count) => resolve(count === 2))));
    const refused = await ask('/v1/models', { headers: bearer });
    assert.deepEqual([refused.status, codeOf(refused), refused.headers.connection], [429, 'too_many_connections', 'close']);
    assert.equal((await ask('/health')).status, 200);
    idle[0]?.destroy();
    await until(async () => (await ask('/v1/models', { headers: bearer })).status === 200);
    assert.equal(log.named('guard.refused')[0]?.['reason'], 'connections');
  });

  it('that says nothing is closed when there are far too many', async (t) => {
    const { port, server } = await guarded(t, { trustProxy: [], guard: { connectionsPerAddress: 2 } });
    const sockets = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(() => hang(t, port)));
    await until(() => sockets.filter(({ closed }) => closed).length === 3);
    await until(() => new Promise<boolean>((resolve) => server.getConnections((_error, count) => resolve(count === 4))));
  });

  it('of a trusted proxy is not counted', async (t) => {
    const { ask, port, server } = await guarded(t, { guard: { connectionsPerAddress: 1 } });
    await Promise.all([hang(t, port), hang(t, port), hang(t, port)]);
    await until(() => new Promise<boolean>((resolve) => server.getConnections((_error, count) => resolve(count === 3))));
    assert.equal((await ask('/v1/models', { headers: bearer })).status, 200);
  });

  it('serves so many requests, says so with the last, and closes', async (t) => {
    const { url } = await guarded(t, { guard: { maxRequestsPerSocket: 3 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const ports: (number | undefined)[] = [];
    const closes: (string | undefined)[] = [];
    for (let n = 0; n < 5; n++) {
      const outgoing = open(`${url}/v1/models`, { agent, headers: bearer }).end();
      const [answer] = await once(outgoing, 'response');
      ports.push(outgoing.socket?.localPort);
      closes.push(answer.headers.connection);
      await once(answer.resume(), 'end');
      assert.equal(answer.statusCode, 200);
    }
    assert.equal(new Set(ports.slice(0, 3)).size, 1);
    assert.notEqual(ports[3], ports[0]);
    assert.deepEqual(closes, ['keep-alive', 'keep-alive', 'close', 'keep-alive', 'keep-alive']);
  });
});
