import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ConfigError, createServer, heimdall, loadConfig, type ConfigInput } from '../../lib/index.ts';
import { SCHEMA_TREE, type SchemaNode } from '../../lib/config/schema-tree.ts';
import { atStart } from '../../lib/config/reload.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { watchFile } from '../../lib/server/serve.ts';
import { openConfigured } from '../../lib/server/admin.ts';
import { loadSettings } from '../../lib/config/config.ts';
import { openStream, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, OTHER_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, chat } from '../support/scene.ts';
import { shared } from '../support/shared.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const admin = 'an-admin-token-of-32-characters-x';
const other = 'another-admin-token-of-32-chars-x';
const key = 'a-gateway-key-of-more-than-32-characters';

const newapi = shared(async (scope) => {
  const api = await startNewapi();
  scope.after(() => api.close());
  return api;
});

const ask = (gate: RunningGate, path: string, token = DEMO_KEY): Promise<{ readonly status: number; readonly text: string }> => request(`${gate.url}${path}`, { headers: bearer(token) });
const talk = (gate: RunningGate, token = DEMO_KEY) => request(`${gate.url}/v1/chat/completions`, { headers: bearer(token), body: chat });
const statusOf = (path: string, token?: string) => async (gate: RunningGate): Promise<unknown> => (await ask(gate, path, token)).status;

/** What each change shows before and after it takes effect. */
const effects: readonly (readonly [name: string, change: ConfigInput, probe: (gate: RunningGate) => Promise<unknown>, before: unknown, after: unknown])[] = [
  ['admin.token', { admin: { token: other } }, statusOf('/heimdall/api/health', other), 401, 200],
  ['admin.path', { admin: { token: admin, path: '/door' } }, async (gate) => (await ask(gate, '/door/api/health', admin)).text.includes('"uptime'), false, true],
  ['metrics.token', { metrics: { token: other } }, async (gate) => (await ask(gate, '/metrics', other)).text.includes('heimdall_'), false, true],
  ['endpoints.health', { endpoints: { health: '/alive' } }, async (gate) => (await ask(gate, '/alive')).text.includes('Heimdall'), false, true],
  ['guard.deny', { guard: { deny: ['127.0.0.1'] } }, statusOf('/api/status'), 200, 403],
  ['cors', { cors: { allowOrigins: ['https://a.test'] } }, async ({ url }) => (await request(`${url}/v1/chat/completions`, { method: 'OPTIONS', headers: { Origin: 'https://a.test', 'Access-Control-Request-Method': 'POST' } })).headers['access-control-allow-origin'] === 'https://a.test', false, true],
  ['auth', { auth: { mode: 'keys', keys: [{ name: 'team', sha256: createHash('sha256').update(key).digest('hex'), upstreamCredential: DEMO_KEY }] } }, async (gate) => (await talk(gate)).status, 200, 401],
  ['server.max_body_bytes', { server: { maxBodyBytes: 1024, bufferBodyBytes: 1024 } }, async ({ url }) => (await request(`${url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, user: 'x'.repeat(2000) } })).status, 200, 413],
  ['rate_limit.key', { rateLimit: { key: { requests: { limit: 1, window: '1h' } } } }, async (gate) => [await talk(gate), await talk(gate)].at(-1)?.status, 200, 429],
  ['queue', { queue: { concurrency: 7 }, admin: { token: admin } }, async (gate) => /"concurrency":7/.test((await ask(gate, '/heimdall/api/queue', admin)).text), false, true],
  ['routes', { routes: [{ path: '/answer', handler: 'health' }] }, async (gate) => (await ask(gate, '/answer')).text.includes('healthy'), false, true],
  ['trust_proxy', { trustProxy: [], guard: { deny: ['127.0.0.1'] } }, async ({ url }) => (await request(`${url}/api/status`, { headers: { 'X-Forwarded-For': '192.0.2.1' } })).status, 200, 403],
];

test('a changed configuration takes effect while the gate runs', async (t) => {
  const api = await newapi();
  const gate = await startGate(t, { newapi: { baseUrl: api.url }, admin: { token: admin } });
  const base = gate.gate.config;
  const at = (change: ConfigInput): ConfigInput => ({ ...base, ...change, ...(change.server && { server: { ...base.server, ...change.server } }) }) as ConfigInput;
  for (const [name, change, probe, before, after] of effects) {
    assert.deepEqual(await probe(gate), before, `${name}, before`);
    const { changed, restart } = await gate.gate.reload(at(change));
    assert.deepEqual([restart, changed.some((each) => each.startsWith(name))], [[], true], `${name}: ${changed.join()}`);
    assert.deepEqual(await probe(gate), after, `${name}, after`);
    await gate.gate.reload(base);
  }
  assert.deepEqual(gate.log.named('config.reloaded').at(-1), { by: 'program', changed: ['trust_proxy', 'guard.deny'], restart: [] });
});

test('a gate is ready again when the probes that have closed its target are switched off', async (t) => {
  const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => res.writeHead(500).end()));
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, llm: { healthCheck: { enabled: true } } });
  assert.equal((await ask(gate, '/health/ready')).status, 503);
  const { llm, ...rest } = gate.gate.config;
  await gate.gate.reload({ ...rest, llm: { ...llm, healthCheck: { ...llm.healthCheck, enabled: false } } } as ConfigInput);
  assert.equal((await ask(gate, '/health/ready')).status, 200);
});

test('a request in hand lives on with the configuration before, and counts and breakers go on', async (t) => {
  const ends: (() => void)[] = [];
  const slow = await startUpstream(t, (req, res) => {
    req.resume();
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    ends.push(() => res.end('data: [DONE]\n\n'));
  });
  const api = await newapi();
  const limit = { key: { requests: { limit: 3, window: '1h' } } };
  const gate = await startGate(t, { newapi: { baseUrl: slow.url }, rateLimit: limit });
  const base = gate.gate.config;
  const live = await openStream(`${gate.url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, stream: true } });
  // The target of the stream is taken over by one configuration, which has no request of its own, and dropped by the next.
  await gate.gate.reload({ ...base, server: { ...base.server, readTimeout: base.server.readTimeout + 1 } } as ConfigInput);
  await gate.gate.reload({ ...base, newapi: { baseUrl: api.url } } as ConfigInput);
  assert.equal((await talk(gate)).status, 200, 'from the new upstream');
  await gate.gate.reload({ ...base, newapi: { baseUrl: api.url }, rateLimit: { key: { requests: { limit: 3, window: '2h' } } } } as ConfigInput);
  assert.equal((await talk(gate)).status, 200);
  assert.equal((await talk(gate)).status, 429, 'the requests before count');
  assert.equal((await talk(gate, OTHER_KEY)).status, 200);
  const dead = await startUpstream(t, (_req, res) => void res.destroy());
  await gate.gate.reload({ ...base, rateLimit: {}, newapi: { baseUrl: dead.url }, circuitBreaker: { failureThreshold: 2 }, llm: { ...base.llm, retry: { maxRetries: 0 } } } as ConfigInput);
  await until(async () => (await talk(gate)).status === 503);
  await gate.gate.reload({ ...gate.gate.config, queue: { concurrency: 9 } } as ConfigInput);
  assert.equal((await talk(gate)).status, 503, 'the breaker stays open');
  ends.forEach((end) => end());
  await live.done;
  assert.ok(live.complete && live.text.includes('[DONE]'));
});

test('retries keep to a fifth of the traffic, whatever was asked before a reload', async (t) => {
  let asked = 0;
  const dead = await startUpstream(t, (_req, res) => {
    asked++;
    res.writeHead(500).end();
  });
  const gate = await startGate(t, { auth: { keys: [{ name: 'team', sha256: createHash('sha256').update(key).digest('hex') }] }, circuitBreaker: { failureThreshold: 1000 }, llm: { provider: 'openai', endpoint: `${dead.url}/v1`, apiKey: 'a-key-of-ours', retry: { maxRetries: 1, initialDelay: 1, maxDelay: 1 } } });
  const retried = async (requests: number): Promise<number> => {
    const before = asked;
    for (let nth = 0; nth < requests; nth++) await talk(gate, key);
    return asked - before - requests;
  };
  await retried(30);
  const before = await retried(10);
  await gate.gate.reload({ ...gate.gate.config, queue: { concurrency: 9 } } as ConfigInput);
  assert.deepEqual([before, await retried(10)], [2, 2]);
});

test('readers of the event stream are told of requests after a reload, and leave nothing and take nothing when they go', async (t) => {
  const api = await newapi();
  const gate = await startGate(t, { newapi: { baseUrl: api.url }, admin: { token: admin } });
  const { core } = internalsOf(gate.gate);
  const open = () => openStream(`${gate.url}/heimdall/api/events`, { headers: bearer(admin) });
  const finishers = (): number => core.finishers.length;
  const before = finishers();
  const first = await open();
  await until(() => finishers() === before + 1);
  await gate.gate.reload({ ...gate.gate.config, queue: { concurrency: 9 } } as ConfigInput);
  const second = await open();
  await until(() => second.text.includes('connected'));
  await ask(gate, '/api/told');
  await until(() => [first, second].every(({ text }) => text.includes('event: request')));
  for (const stream of [first, second]) stream.abort();
  await until(() => finishers() === before);
  assert.equal((await ask(gate, '/api/status')).status, 200);
});

test('a configuration that cannot be used changes nothing, and what needs a restart is named', async (t) => {
  const api = await newapi();
  const gate = await startGate(t, { newapi: { baseUrl: api.url }, admin: { token: admin, listen: '127.0.0.1:0' } });
  await openConfigured(gate.gate);
  const before = gate.gate.config;
  const taken = await startUpstream(t);
  const wrong: readonly [ConfigInput, RegExp][] = [
    [{ queue: { maxWait: 'soon' } } as ConfigInput, /^queue\.maxWait: expected a duration/],
    [{ ...before, admin: { ...before.admin, listen: `127.0.0.1:${taken.port}` } } as ConfigInput, /^admin\.listen: expected an address of this machine/],
  ];
  for (const [config, message] of wrong) await assert.rejects(gate.gate.reload(config), (error: Error) => error instanceof ConfigError && message.test(error.message));
  assert.equal(gate.gate.config, before);
  assert.equal(gate.log.named('config.refused').length, wrong.length);
  assert.equal((await ask(gate, '/api/status')).status, 200);
  const { restart } = await gate.gate.reload({ ...before, mode: 'observe', server: { ...before.server, port: 4711 }, audit: { ...before.audit, path: '/elsewhere/x.db' } } as ConfigInput);
  assert.deepEqual(restart, ['server.port', 'audit.path']);
  assert.deepEqual([gate.gate.config.mode, gate.gate.config.server.port, gate.gate.config.audit.path], ['observe', before.server.port, before.audit.path]);
});

test('what one part cannot have is not kept by another', async (t) => {
  const dead = await startUpstream(t, (_req, res) => void res.destroy());
  const gate = await startGate(t, { newapi: { baseUrl: dead.url }, llm: { retry: { maxRetries: 0 } }, admin: { token: admin, listen: false } });
  await openConfigured(gate.gate);
  const { followers, servers } = internalsOf(gate.gate);
  const taken = await startUpstream(t);
  const fromAfar = async (): Promise<number> => (await request(`${gate.url}/heimdall/api/health`, { headers: { ...bearer(admin), 'X-Forwarded-For': '192.0.2.1' } })).status;
  const refuse = () => Promise.reject(new Error('no'));
  followers.add(refuse);
  const { port, server } = await startUpstream(t);
  await new Promise((resolve) => server.close(resolve));
  const before = servers.size;
  const next = (at: number): ConfigInput => ({ ...gate.gate.config, circuitBreaker: { failureThreshold: 1 }, admin: { token: admin, listen: `127.0.0.1:${at}` } }) as ConfigInput;
  for (const at of [port, taken.port]) {
    await assert.rejects(gate.gate.reload(next(at)));
    await until(() => servers.size === before);
    assert.equal(await fromAfar(), 200, 'the API is where it was');
  }
  assert.deepEqual([(await talk(gate)).status, (await talk(gate)).status], [504, 504], 'the breaker keeps its threshold');
  followers.delete(refuse);
  await gate.gate.reload(next(port));
  assert.notEqual(await fromAfar(), 200);
  assert.equal((await request(`http://127.0.0.1:${port}/heimdall/api/health`, { headers: bearer(admin) })).status, 200);
});

test('a gate that closes meanwhile takes nothing over', async (t) => {
  const gate = await startGate(t);
  const { followers, core } = internalsOf(gate.gate);
  let closing: Promise<void> = Promise.resolve();
  let left = false;
  followers.add(() => {
    closing = gate.gate.close({ timeout: 0 });
    return { enter: () => assert.fail(), leave: () => void (left = true) };
  });
  const { config } = core;
  await assert.rejects(gate.gate.reload({ ...config, mode: 'observe' } as ConfigInput), /shutting down/);
  await closing;
  assert.deepEqual([core.config === config, left], [true, true]);
});

test('an earlier configuration checks no route any more, however long its requests last', async (t) => {
  const clock = fakeClock();
  let probes = 0;
  const { url } = await startUpstream(t, (req, res) => {
    req.resume();
    if (req.method === 'GET') return void res.end(`{"probe":${++probes}}`);
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
  });
  const gate = await startGate(t, { newapi: { baseUrl: url }, routes: [{ path: '/v1/completions', healthCheck: {} }] }, { clock });
  await gate.gate.ready;
  await until(() => probes === 1);
  const live = await openStream(`${gate.url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, stream: true } });
  await gate.gate.reload({ ...gate.gate.config, routes: [] } as ConfigInput);
  clock.tick(60_000);
  assert.equal((await ask(gate, '/v1/models')).status, 200);
  assert.equal(probes, 2, 'the one just asked');
  live.abort();
});

test('of earlier configurations nothing is kept', async (t) => {
  const { gate } = await startGate(t, { admin: { token: admin }, rateLimit: { address: { limit: 1000, window: '1m' } } });
  const { core } = internalsOf(gate);
  const earlier: WeakRef<object>[] = [];
  for (let nth = 1; nth <= 10; nth++) {
    earlier.push(new WeakRef(core.finishers));
    await gate.reload({ ...gate.config, queue: { ...gate.config.queue, concurrency: nth } } as ConfigInput);
  }
  // What counts for as long as the gate lives may hold on to the first, and the last may still be closing.
  await until(() => {
    gc();
    return earlier.filter((each) => each.deref() !== undefined).length <= 2;
  });
});

test('the address of the admin API moves', async (t) => {
  const gate = await startGate(t, { admin: { token: admin, listen: '127.0.0.1:0' } });
  const first = await openConfigured(gate.gate);
  const { port, server } = await startUpstream(t);
  await new Promise((resolve) => server.close(resolve));
  await gate.gate.reload({ ...gate.gate.config, admin: { token: other, listen: `127.0.0.1:${port}` } } as ConfigInput);
  assert.equal((await request(`http://127.0.0.1:${port}/heimdall/api/health`, { headers: bearer(other) })).status, 200);
  await assert.rejects(request(`${first}/health`, { headers: bearer(admin) }), /ECONNREFUSED/);
});

/** Sections that take effect live as a whole; a new key stands here, or among those that need a restart. */
const live = ['mode', 'newapi', 'middleware', 'endpoints', 'server', 'trustProxy', 'clientIpHeader', 'ja4Header', 'guard', 'llm', 'circuitBreaker', 'queue', 'auth', 'cors', 'rateLimit', 'metrics', 'routes', 'admin', 'retry', 'healthCheck', 'logging', 'audit', 'anomaly'];

test('every key is live or needs a restart, and is no other', () => {
  const names: string[] = [];
  const walk = (shape: SchemaNode, at: string): void => {
    names.push(at);
    if (shape.kind === 'section') for (const entry of shape.keys) if (entry.fileOf === undefined) walk(entry.shape, at === '' ? entry.camel : `${at}.${entry.camel}`);
  };
  walk(SCHEMA_TREE, '');
  for (const each of atStart) assert.ok(names.includes(each), `${each} is a key`);
  const within = (name: string, list: readonly string[]): boolean => list.some((each) => name === each || name.startsWith(`${each}.`));
  assert.deepEqual(names.filter((name) => name !== '' && !within(name, atStart) && !within(name, live)), []);
});

test('heimdall reload asks at the gate\'s own port, after a preamble and at a Unix socket too', async (t) => {
  const { main } = await import('../../lib/cli/cli.ts');
  const directory = temporary(t);
  const path = join(directory, 'heimdall.yaml');
  const socket = join(directory, 'gate.sock');
  for (const [server, at] of [['host: 127.0.0.1, port: 0', 0], [`host: '${socket}'`, socket]] as const) {
    const yaml = (place: string, more = ''): string => `trust_proxy: [loopback, unix]\nserver: { ${place}, proxy_protocol: true }\nadmin: { token: ${admin}, listen: false }\naudit: { path: '${join(directory, 'heimdall.db')}' }\nlogging: { level: silent }\n${more}`;
    writeFileSync(path, yaml(server), { mode: 0o600 });
    const gate = heimdall(loadSettings({ path }));
    t.after(() => gate.close());
    const listener = createServer(gate);
    await once(at === 0 ? listener.listen(0, '127.0.0.1') : listener.listen(at), 'listening');
    const address = listener.address();
    writeFileSync(path, yaml(typeof address === 'object' ? `host: 127.0.0.1, port: ${address?.port}` : server, 'guard: { deny: [192.0.2.1] }\n'));
    const asked = async (): Promise<string> => {
      let said = '';
      const code = await main(['reload', '-c', path], { out: (text) => void (said += text), err: (text) => void (said += text) });
      return `${code} ${said}`;
    };
    const restart = at === 0 ? 'needs a restart: server.port\n' : '';
    assert.equal(await asked(), `0 in force: guard.deny\n${restart}`);
    assert.equal(await asked(), `0 ${restart || 'in force: nothing has changed\n'}`);
  }
});

test('whatever asks for it, a change of the file is read once, and a closed server watches no more', async (t) => {
  const path = join(temporary(t), 'heimdall.yaml');
  const write = (wait: string): void => writeFileSync(path, `server: { watch: true }\nqueue: { max_wait: ${wait} }\naudit: false\nlogging: { file: false }\n`);
  write('1s');
  const log = recorder();
  const gate = heimdall(loadConfig(path, {}), { log });
  const server = createServer(gate);
  t.mock.timers.enable({ apis: ['setInterval'] });
  watchFile(gate, server);
  const look = (): void => [1, 2, 3].forEach(() => t.mock.timers.tick(300));
  const reloads = (): unknown[] => log.named('config.reloaded').map(({ by }) => by);
  write('2.5s');
  look();
  await until(() => reloads().length === 1);
  write('30s');
  await internalsOf(gate).reload('SIGHUP');
  look();
  write('4500ms');
  await gate.reload();
  look();
  write('5h');
  look();
  await until(() => reloads().length === 4);
  assert.deepEqual(reloads(), ['server.watch', 'SIGHUP', 'program', 'server.watch']);
  await gate.close({ timeout: 0 });
  server.emit('close');
  write('6s');
  look();
  assert.equal(reloads().length + log.named('config.refused').length, 4);
});

test('in a process of its own the file is read again at SIGHUP, by server.watch and by the admin API', async () => {
  const api = await newapi();
  const yaml = (rest: string): string => `newapi: { base_url: ${api.url} }\nadmin: { token: ${admin} }\nlogging: { file: false }\n${rest}`;
  const gate = await startStandalone(api.url, yaml(''));
  const said = (pattern: RegExp): Promise<boolean> => until(() => pattern.test(gate.output()));
  const denied = async (): Promise<boolean> => (await request(`${gate.url}/api/status`)).status === 403;
  try {
    writeFileSync(gate.path, yaml('guard: { deny: [127.0.0.1] }\nserver: { shutdown_timeout: soon }\n'));
    process.kill(gate.pid, 'SIGHUP');
    await said(/config\.refused.*server\.shutdown_timeout/);
    assert.equal(await denied(), false);
    writeFileSync(gate.path, yaml('server: { watch: true, port: 1 }\n'));
    const asked = await request(`${gate.url}/heimdall/api/reload`, { method: 'POST', headers: { ...bearer(admin), 'Content-Type': 'application/json' } });
    assert.equal(asked.status, 200, asked.text);
    // The environment sets the port.
    assert.deepEqual(asked.json(), { changed: ['server.watch'], restart: [] });
    const { main } = await import('../../lib/cli/cli.ts');
    const command = async (text: string): Promise<[code: number | null, said: string]> => {
      const path = `${gate.path}.cli`;
      writeFileSync(path, text, { mode: 0o600 });
      let told = '';
      const code = await main(['reload', '-c', path], { out: (line) => void (told += line), err: (line) => void (told += line) });
      return [code, told];
    };
    // Another program may have the port beside the gate's own.
    const { port } = new URL(/admin API (?:is|has no address of its own: it is) at ([^\s,]+)/.exec(gate.output())?.[1] ?? '');
    const at = (listen: string, token: string): string => `admin: { token: ${token}, listen: "127.0.0.1:${listen}" }\n`;
    assert.deepEqual(await command(at(port, admin)), [0, 'in force: nothing has changed\n']);
    assert.match((await command(at(port, other)))[1], /refuses admin\.token/);
    writeFileSync(gate.path, yaml('queue: { max_wait: soon }\n'));
    const [code, told] = await command(at(port, admin));
    assert.deepEqual([code, /queue\.max_wait: expected a duration/.test(told)], [1, true], told);
    const [gone, why] = await command(at('1', admin));
    assert.deepEqual([gone, /no gate answers/.test(why)], [1, true], why);
    const written = ['guard: { deny: [127.0.0.1] }\n', '', 'guard: { deny: [127.0.0.1] }\n'];
    for (const [at, rest] of written.entries()) {
      const next = `${gate.path}.${at}`;
      const text = yaml(`server: { watch: true }\n${rest}`);
      if (at === 0) writeFileSync(gate.path, text);
      else {
        writeFileSync(next, text, { mode: 0o600 });
        if (at === 2) symlinkSync(next, `${next}.link`);
        renameSync(at === 2 ? `${next}.link` : next, gate.path);
      }
      await until(async () => (await denied()) === (rest !== ''));
    }
    assert.match(gate.output(), /server\.watch/);
  } finally {
    await gate.stop();
  }
});

