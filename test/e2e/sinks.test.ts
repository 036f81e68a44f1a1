import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { AuditRecord, ConfigInput, GateOptions, Sink } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { filesBelow, Hunt } from '../support/hunt.ts';
import { recorded } from '../support/journal.ts';
import { CHAT_REQUEST, startNewapi } from '../support/newapi.ts';
import { startPostgres, withoutPostgres, type TestPostgres } from '../support/postgres.ts';
import { startGateProcess } from '../support/processes.ts';
import { startReceiver, type Receiver } from '../support/receiver.ts';
import { bearer } from '../support/scene.ts';

const admin = 'an-admin-token-of-more-than-32-characters';
const json = { 'Content-Type': 'application/json' };
const secret = 'an install secret of this test';

interface World {
  readonly gate: RunningGate;
  readonly hunt: Hunt;
  readonly token: string;
  /** So many chats, one after the other; the nth is told by its path in the record. */
  ask(count: number): Promise<void>;
}

/** A gate before a NewAPI that knows one token. */
async function start(t: TestContext, audit: ConfigInput['audit'], more: ConfigInput = {}, options: GateOptions = {}): Promise<World> {
  const hunt = new Hunt();
  const token = hunt.make('token');
  const newapi = closing(t, await startNewapi({ keys: { [token]: { user: 1 } } }));
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, secret, ...more, audit }, options);
  let nth = 0;
  const ask = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      const { status } = await request(`${gate.url}/v1/chat/completions?nth=${nth++}`, { method: 'POST', headers: { ...bearer(token), ...json }, body: CHAT_REQUEST });
      assert.equal(status, 200);
    }
  };
  return { gate, hunt, token, ask };
}

const pathsOf = (receiver: Receiver): string[] => receiver.taken.map(({ request_path: path }) => String(path));
const health = async ({ url }: RunningGate): Promise<{ sinks: Record<string, unknown>[] }> => (await request(`${url}/heimdall/api/health`, { headers: bearer(admin) })).json();

describe('the NewAPI sink', () => {
  it('hands every request on, in order, to a receiver that was away, limited and wrong', async (t) => {
    const receiver = closing(t, await startReceiver());
    const { gate, ask } = await start(t, { newapi: { enabled: true, url: receiver.url, maxRate: 1000 } }, { admin: { token: admin, listen: false } });
    await receiver.stop();
    await ask(3);
    await until(() => gate.log.named('sink.held').length === 1);
    const [sink] = (await health(gate)).sinks;
    assert.deepEqual([sink?.['name'], sink?.['state'], sink?.['reason'], sink?.['delivered']], ['newapi', 'held', 'the receiver cannot be reached (ECONNREFUSED)', 0]);
    receiver.manner = 'page';
    await receiver.start();
    await until(() => receiver.calls.length > 0);
    receiver.manner = 'well';
    await request(`${gate.url}/nothing-here`);
    await until(() => receiver.taken.length === 5);
    assert.deepEqual(pathsOf(receiver), [...Array<string>(3).fill('/v1/chat/completions'), '/heimdall/api/health', '/nothing-here']);
    const rows = await recorded(gate.gate);
    assert.deepEqual(receiver.taken.slice(0, 3).map(({ device_fingerprint: device, content_fingerprint: content, real_ip: ip }) => [device, content, ip]), Array(3).fill([rows[0]?.['device_fingerprint'], hash('md5', CHAT_REQUEST), '127.0.0.1']));
    await until(() => gate.log.named('sink.caught_up').length === 1);
  });

  it('goes on after a restart where it was left', async (t) => {
    const receiver = closing(t, await startReceiver());
    const path = join(temporary(t), 'heimdall.db');
    const audit = { path, newapi: { enabled: true, url: receiver.url, maxRate: 1000 } };
    const first = await start(t, audit);
    await first.ask(2);
    await until(() => receiver.taken.length === 2);
    await receiver.stop();
    await first.ask(2);
    await first.gate.gate.close();
    await receiver.start();
    const second = await start(t, audit);
    await second.gate.gate.ready;
    await until(() => receiver.taken.length === 4);
    await second.ask(1);
    await until(() => receiver.taken.length >= 5);
    assert.equal(receiver.taken.length, 5);
  });

  it('is off where there is no receiver, with one message and metrics', async (t) => {
    const receiver = closing(t, await startReceiver());
    receiver.manner = 'absent';
    const { gate, ask } = await start(t, { newapi: { enabled: true, url: receiver.url, maxRate: 1000 } }, { metrics: { token: 'a-metrics-token' } });
    await ask(1);
    await until(() => gate.log.named('sink.off').length === 1);
    await ask(2);
    await recorded(gate.gate);
    assert.deepEqual([receiver.calls.length, gate.log.named('sink.off').length], [1, 1]);
    const { text } = await request(`${gate.url}/metrics`, { headers: bearer('a-metrics-token') });
    for (const line of ['audit_sink_lag_records{sink="newapi"} 0', 'audit_sink_delivered_total{sink="newapi"} 0', 'audit_sink_refused_total{sink="newapi"} 0', 'audit_sink_errors_total{sink="newapi"} 0']) assert.ok(text.includes(`heimdall_${line}`), line);
  });

  it('tells masks, or raw keys of callers NewAPI has let in, and of nobody else', async (t) => {
    const receiver = closing(t, await startReceiver());
    const masked = await start(t, { newapi: { enabled: true, url: receiver.url, maxRate: 1000 } });
    await masked.ask(1);
    await until(() => receiver.taken.length === 1);
    assert.equal(receiver.taken[0]?.['token_key'], `sk-…${masked.token.slice(-4)}`);
    assert.deepEqual(masked.hunt.search([['the receiver', JSON.stringify(receiver.calls)]]), []);
    const directory = temporary(t);
    const raw = await start(t, { path: join(directory, 'heimdall.db'), newapi: { enabled: true, url: receiver.url, maxRate: 1000, token: 'raw' } });
    await raw.ask(1);
    const stranger = `sk-${'S'.repeat(48)}`;
    assert.equal((await request(`${raw.gate.url}/v1/chat/completions`, { method: 'POST', headers: { ...bearer(stranger), ...json }, body: CHAT_REQUEST })).status, 401);
    await until(() => receiver.taken.length === 3);
    assert.deepEqual(receiver.taken.slice(1).map(({ token_key: key }) => key), [raw.token.slice(3), 'sk-…SSSS']);
    assert.deepEqual(raw.hunt.search([...filesBelow(directory), ['the log', JSON.stringify(raw.gate.log.events)]]), [], 'it rests nowhere');
  });

  it('tells the NewAPI token a gateway key stands for, never the key', async (t) => {
    const receiver = closing(t, await startReceiver());
    const hunt = new Hunt();
    const [key, other, upstream] = [hunt.make('key'), hunt.make('other'), `sk-${'U'.repeat(48)}`];
    const newapi = closing(t, await startNewapi({ keys: { [upstream]: { user: 1 } } }));
    const { url } = await startGate(t, {
      newapi: { baseUrl: newapi.url },
      auth: { mode: 'keys', keys: [{ name: 'alice', sha256: hash('sha256', key), upstreamCredential: upstream }, { name: 'bob', sha256: hash('sha256', other) }] },
      audit: { newapi: { enabled: true, url: receiver.url, maxRate: 1000, token: 'raw' } },
    });
    for (const caller of [key, other]) await request(`${url}/v1/chat/completions`, { method: 'POST', headers: { ...bearer(caller), ...json }, body: CHAT_REQUEST });
    await until(() => receiver.taken.length === 2);
    assert.deepEqual(receiver.taken.map(({ token_key: told }) => told), ['U'.repeat(48), `sk-…${other.slice(-4)}`]);
    assert.deepEqual(hunt.search([['the receiver', JSON.stringify(receiver.calls)]]), []);
  });
});

describe('a sink of the program\'s own', () => {
  it('follows beside the others', async (t) => {
    const taken: AuditRecord[] = [];
    const mine: Sink = { name: 'mine', batch: 100, wants: ({ response_status: status }) => status === 200, deliver: async (records) => (taken.push(...records), { kind: 'delivered' }) };
    const { gate, ask } = await start(t, {}, {}, { sinks: [mine] });
    await ask(2);
    await request(`${gate.url}/v1/chat/completions`, { method: 'POST', body: {} });
    await ask(1);
    await until(() => taken.length === 3);
    assert.deepEqual(taken.map(({ outcome, model, stream }) => [outcome, model, stream]), Array(3).fill(['served', 'gpt-4o-mini', false]));
    await gate.gate.close();
    assert.equal(taken.length, 3);
  });
});

describe('PostgreSQL', { skip: withoutPostgres }, () => {
  let server: TestPostgres;
  let databases = 0;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.close());
  const database = async (): Promise<{ url: string; ids: () => Promise<string[]>; dump: () => Promise<string> }> => {
    const name = `e2e_${++databases}`;
    await server.query(`CREATE DATABASE ${name}`);
    return {
      url: server.url.replace(/\/postgres$/, `/${name}`),
      ids: async () => (await server.query<{ request_id: string }>('SELECT request_id FROM heimdall_logs ORDER BY id', [], name).catch(() => [])).map(({ request_id: id }) => id),
      dump: async () => JSON.stringify(await server.query('SELECT * FROM heimdall_logs', [], name)),
    };
  };

  it('has every record once, of two gates, through a stop and a start', async (t) => {
    const at = await database();
    const worlds = [await start(t, { postgres: { url: at.url } }), await start(t, { postgres: { url: at.url } })];
    const all = (count: number): Promise<unknown> => Promise.all(worlds.map(({ ask }) => ask(count)));
    await all(20);
    await until(async () => (await at.ids()).length > 0);
    const stopping = server.stop();
    await all(20);
    await stopping;
    await all(5);
    await server.start();
    await all(5);
    const expected = (await Promise.all(worlds.map(({ gate }) => recorded(gate.gate)))).flat().map(({ request_id: id }) => String(id));
    assert.equal(expected.length, 100);
    await until(async () => (await at.ids()).length >= 100);
    assert.deepEqual((await at.ids()).sort(), expected.sort());
  });

  it('has what was written just before the end', async (t) => {
    const at = await database();
    const { gate, ask } = await start(t, { postgres: { url: at.url } });
    await ask(1);
    await until(async () => (await at.ids()).length === 1);
    await ask(7);
    await gate.gate.close();
    assert.equal((await at.ids()).length, 8);
  });

  it('shows no secret, of a gate in a process of its own', async (t) => {
    const at = await database();
    const hunt = new Hunt();
    const [token, password, install, cookie] = [hunt.make('token'), hunt.make('password', ''), hunt.make('install secret', ''), hunt.make('cookie', '')];
    const newapi = closing(t, await startNewapi({ keys: { [token]: { user: 1 } } }));
    const gate = await startGateProcess(t, temporary(t), { NEWAPI_BASE_URL: newapi.url, HEIMDALL_SECRET: install, DATABASE_URL: at.url });
    const body = JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: `my key is ${token}, password: ${password}` }] });
    await request(`${gate.url}/v1/chat/completions?key=${token}`, { method: 'POST', headers: { ...bearer(token), ...json, Cookie: `session=${cookie}` }, body });
    await request(`${gate.url}/api/user/login`, { method: 'POST', headers: json, body: JSON.stringify({ username: 'u', password }) });
    await request(`${gate.url}/v1/models?key=${token}`);
    await until(async () => (await at.ids()).length === 3);
    const dump = await at.dump();
    assert.match(dump, /my key is/);
    assert.deepEqual(hunt.search([['PostgreSQL', dump], ['the events', JSON.stringify(gate.events())]]), []);
    assert.ok(!JSON.stringify(gate.events()).includes(new URL(at.url).password));
  });
});
