import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request as openSecure } from 'node:https';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { mock, test, type TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { parse } from 'yaml';
import { internalsOf } from '../../lib/gateway.ts';
import { createServer, heimdall, loadConfig, type ConfigInput, type Gate } from '../../lib/index.ts';
import { Breaker, rejected } from '../../lib/upstream/breaker.ts';
import { configurationOf, startHttp3 } from '../../lib/server/http3.ts';
import type { Config } from '../../types/config.d.ts';
import { authority, noOpenssl, type Certificate } from '../support/authority.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, temporary, type Recorder } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

const printed = readFileSync(new URL('../config/fixtures/production.yaml', import.meta.url), 'utf8');
const gateKey = 'sk-a-key-of-the-gate-that-is-long-enough';
const adminToken = 'an-admin-token-of-32-characters-x';
const secrets = { OLLAMA_API_KEY: 'key-of-ollama', ANTHROPIC_API_KEY: 'key-of-anthropic', OPENAI_API_KEY: 'key-of-openai' };

type Answer = IncomingMessage & { text: string };

/** What an upstream was asked, by its place in the file. */
interface Asked {
  readonly at: 'ollama' | 'anthropic' | 'openai';
  readonly method: string;
  readonly credential: string;
  readonly model: string | null;
}

interface Scene {
  readonly gate: Gate;
  readonly config: Config;
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly directory: string;
  readonly certificate: Certificate;
  readonly server: ReturnType<typeof createServer>;
  readonly asked: Asked[];
  /** Upstreams that answer with 500, and those that do not answer at all. */
  readonly fails: Set<string>;
  readonly hangs: Set<string>;
  /** Sends a request over TLS. */
  send(path: string, options?: { readonly body?: object; readonly headers?: Record<string, string> }): Promise<Answer>;
}

const chat = { model: 'llama2', messages: [{ role: 'user', content: 'hi' }] };
const own = { authorization: `Bearer ${gateKey}`, 'content-type': 'application/json' };

/** The file as it is printed, with the paths, ports and addresses of a test in the places of those of a machine. */
async function start(t: TestContext): Promise<Scene> {
  const asked: Asked[] = [];
  const [fails, hangs] = [new Set<string>(), new Set<string>()];
  const upstream = async (at: Asked['at']) => (await startUpstream(t, (req, res) => {
    let text = '';
    req.on('data', (chunk: Buffer) => (text += chunk.toString())).on('end', () => {
      const { authorization, 'x-api-key': key } = req.headers;
      asked.push({ at, method: String(req.method), credential: String(key ?? authorization).replace('Bearer ', ''), model: text.startsWith('{') ? (JSON.parse(text) as { model: string }).model : null });
      if (hangs.has(at)) return;
      if (text.includes('endless')) return void res.writeHead(200, { 'content-type': 'application/json' }).write(' '.repeat(30_000_000));
      res.writeHead(fails.has(at) ? 500 : 200, { 'content-type': 'application/json' }).end('{"id":"x","object":"chat.completion","choices":[]}');
    });
  })).url;
  const [ollama, anthropic, openai] = [await upstream('ollama'), await upstream('anthropic'), await upstream('openai')];
  const certificate = authority(t).issue('DNS:localhost');
  const directory = temporary(t);
  const path = join(directory, 'heimdall.yaml');
  writeFileSync(path, printed.replace('/path/to/cert', certificate.certPath).replace('/path/to/key', certificate.keyPath).replace('/var/queue', join(directory, 'queue.json')), { mode: 0o600 });
  const config = loadConfig(path, secrets);
  const [clock, log] = [fakeClock(Date.now()), recorder()];
  const [one, two] = config.llm.backupProviders as [Config['llm']['backupProviders'][0], Config['llm']['backupProviders'][0]];
  const gate = heimdall({
    ...config,
    auth: { ...config.auth, keys: [{ name: 'team', sha256: createHash('sha256').update(gateKey).digest('hex') }] },
    server: { ...config.server, host: '127.0.0.1', port: 0, tls: { certPath: certificate.certPath, keyPath: certificate.keyPath }, http3: { ...config.server.http3, engine: '/none/caddy' } },
    llm: { ...config.llm, endpoint: ollama, priceSource: 'none', backupProviders: [{ ...one, endpoint: anthropic }, { ...two, endpoint: openai }] },
    audit: { path: join(directory, 'heimdall.db') },
    logging: { ...config.logging, console: false, file: join(directory, 'access.log') },
    newapi: { baseUrl: ollama },
    admin: { token: adminToken, listen: false },
    metrics: { enabled: true },
  } as unknown as ConfigInput, { clock, log, standalone: true });
  const server = createServer(gate).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await startHttp3(gate);
  t.after(() => gate.close({ timeout: 0 }));
  const { port } = server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const send: Scene['send'] = async (to, { body, headers = {} } = {}) => {
    const sent = openSecure({ port, host: '127.0.0.1', path: to, method: body === undefined ? 'GET' : 'POST', headers, rejectUnauthorized: false, agent });
    const [answer] = (await once(sent.end(body === undefined ? undefined : JSON.stringify(body)), 'response')) as [Answer];
    answer.text = '';
    answer.on('data', (chunk: Buffer) => (answer.text += chunk.toString()));
    await once(answer, 'end');
    return answer;
  };
  return { gate, config, clock, log, directory, certificate, server, asked, fails, hangs, send };
}

/** Time goes on until what was begun is done. */
async function passing<T>({ clock }: Scene, work: Promise<T>): Promise<T> {
  let isOver = false;
  const over = (): void => void (isOver = true);
  work.then(over, over);
  await until(() => {
    clock.tick(50);
    return isOver;
  });
  return work;
}

const ask = (scene: Scene): Promise<Answer> => scene.send('/v1/chat/completions', { body: chat, headers: own });
const chats = ({ asked }: Scene): Asked[] => asked.filter(({ method }) => method === 'POST');

/** Keys of the file, and what shows that they are in force. In this order, since it is one gate. */
const shown: readonly (readonly [keys: readonly string[], show: (scene: Scene) => Promise<void>])[] = [
  [['server.read_timeout'], async ({ server }) => assert.equal(server.headersTimeout, 30_000)],
  [['server.max_header_bytes'], async (scene) => {
    const filler = (size: number): Record<string, string> => ({ 'x-filler': 'a'.repeat(size) });
    assert.deepEqual([(await scene.send('/health', { headers: filler(2_090_000) })).statusCode, (await scene.send('/health', { headers: filler(2_098_000) })).statusCode], [200, 431]);
  }],
  [['server.http3.enabled', 'server.http3.port'], async (scene) => {
    // Its engine is away here, which is what clients are told.
    assert.equal((await scene.send('/health')).headers['alt-svc'], 'clear');
    assert.partialDeepStrictEqual(configurationOf(scene.config, '/run', 'http://c'), { apps: { http: { servers: { http3: { listen: ['0.0.0.0:443'], protocols: ['h3'] } } } } });
  }],
  [['server.http3.allow_0rtt_replay'], async ({ config }) => assert.partialDeepStrictEqual(configurationOf(config, '/run', 'http://c'), { apps: { tls: { session_tickets: { disabled: true } } } })],
  [['server.http3.tls_cert_file', 'server.http3.tls_key_file'], async ({ gate, certificate, config }) => {
    const served = [...internalsOf(gate).certificates].flatMap(({ all }) => [...all]).map(({ path }) => path);
    assert.deepEqual(served, [certificate.certPath, config.server.http3.tlsCertFile]);
    assert.equal(config.server.http3.tlsKeyFile, certificate.keyPath);
  }],
  [['llm.provider', 'llm.api_key'], async (scene) => {
    assert.equal((await passing(scene, ask(scene))).statusCode, 200);
    assert.deepEqual(chats(scene), [{ at: 'ollama', method: 'POST', credential: 'key-of-ollama', model: 'llama2' }]);
  }],
  [['logging.level', 'logging.format'], async ({ log, directory }) => {
    const line = await until(() => (existsSync(join(directory, 'access.log')) ? readFileSync(join(directory, 'access.log'), 'utf8').split('\n')[0] : undefined));
    assert.equal(typeof (JSON.parse(line) as { id: string }).id, 'string');
    assert.ok(log.events.every(({ level }) => level !== 'debug'));
  }],
  [['llm.backup_providers.provider', 'llm.backup_providers.model', 'llm.backup_providers.api_key'], async (scene) => {
    scene.asked.length = 0;
    scene.fails.add('ollama').add('anthropic');
    assert.equal((await passing(scene, ask(scene))).statusCode, 200);
    const tried = chats(scene).map(({ at, credential, model }) => `${at} ${credential} ${model}`);
    assert.deepEqual([...new Set(tried)], ['ollama key-of-ollama llama2', 'anthropic key-of-anthropic claude-3-haiku', 'openai key-of-openai gpt-3.5-turbo']);
    scene.fails.clear();
  }],
  [['queue.enabled', 'queue.initial_size'], async (scene) => assert.partialDeepStrictEqual(await told(scene, 'queue'), { places: 1000 })],
  [['routes.path', 'routes.middleware'], async (scene) => {
    assert.equal((await scene.send('/v1/completions', { body: { model: 'llama2', prompt: 'hi' }, headers: { 'content-type': 'application/json' } })).statusCode, 401);
    assert.equal((await passing(scene, scene.send('/v1/completions', { body: { model: 'llama2', prompt: 'hi' }, headers: own }))).statusCode, 200);
  }],
  [['llm.health_check.enabled', 'llm.health_check.interval', 'llm.health_check.timeout', 'llm.health_check.failure_threshold', 'routes.health_check.enabled', 'routes.health_check.interval', 'routes.health_check.timeout', 'routes.health_check.threshold', 'queue.state_path', 'queue.save_interval'], async (scene) => {
    const { clock, log, fails, asked, directory } = scene;
    const limits = mock.method(AbortSignal, 'timeout');
    for (const at of ['ollama', 'anthropic', 'openai']) fails.add(at);
    asked.length = 0;
    const [probes, checks, saves] = [[], [], []] as [number[], number[], number[]];
    let [openAfter, closedAfter] = [null, null] as [number | null, number | null];
    const path = join(directory, 'queue.json');
    for (let second = 0; second < 130 && closedAfter === null; second++) {
      clock.tick(1000);
      const { routes } = (await told(scene, 'health')) as { routes: { status: string }[] };
      await told(scene, 'queue');
      // Anthropic serves no /v1/completions, so that the route's checks ask the others alone.
      const count = (at: string): number => asked.filter((each) => each.at === at && each.method === 'GET').length;
      if (count('anthropic') > probes.length) probes.push(second);
      if (count('ollama') - count('anthropic') > checks.length) checks.push(second);
      if (openAfter === null && log.named('target.open').some(({ target }) => target === 'anthropic')) openAfter = probes.length;
      if (routes[0]?.status === 'unhealthy') closedAfter = checks.length;
      const saved = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { saved: number }).saved : null;
      if (saved !== null && saved !== saves.at(-1)) saves.push(saved);
    }
    const apart = (times: readonly number[]): number[] => times.slice(1).map((time, at) => time - (times[at] as number));
    // A round is begun an interval after the one before is over.
    assert.ok(apart(probes).every((time) => time >= 15 && time < 25) && apart(checks).every((time) => time >= 30 && time < 40), `${probes.join()} and ${checks.join()}`);
    assert.deepEqual([openAfter, closedAfter], [2, 3]);
    assert.deepEqual([...new Set(limits.mock.calls.map(({ arguments: [limit] }) => limit))], [5000]);
    assert.ok(saves.length > 1 && apart(saves).every((time) => time >= 30_000 && time < 60_000), saves.join());
    limits.mock.restore();
    fails.clear();
  }],
  [['circuit_breaker.max_requests', 'circuit_breaker.interval', 'circuit_breaker.timeout', 'circuit_breaker.failure_threshold'], async ({ config: { circuitBreaker } }) => {
    const breaker = new Breaker(circuitBreaker, 0, () => undefined);
    const fail = (times: number, now: number): void => {
      for (let nth = 0; nth < times; nth++) breaker.leave(breaker.enter(now), 'fail', now);
    };
    fail(4, 0);
    fail(4, 30_000);
    assert.equal(breaker.state.kind, 'up', 'failures are forgotten after the interval');
    fail(1, 30_000);
    assert.deepEqual([breaker.state.kind, breaker.closedUntil(30_000)], ['open', 40_000]);
    const trials = Array.from({ length: 101 }, () => breaker.enter(40_000));
    assert.deepEqual([trials.filter((each) => each !== rejected).length, trials[100]], [100, rejected]);
  }],
  [['server.write_timeout'], async (scene) => {
    const { server, clock } = scene;
    let isClosed = false;
    server.once('secureConnection', (connection: TLSSocket) => connection.once('close', () => (isClosed = true)));
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(socket.on('error', () => undefined), 'secureConnect');
    socket.pause();
    const body = JSON.stringify({ ...chat, user: 'endless' });
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${gateKey}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    scene.asked.length = 0;
    await until(() => chats(scene).length > 0);
    for (let n = 0; n < 20; n++) await told(scene, 'queue');
    const began = clock.monotonic();
    while (!isClosed && clock.monotonic() - began < 200_000) {
      clock.tick(1000);
      await told(scene, 'queue');
    }
    socket.destroy();
    // A second or more passes until the buffers are full and the stall is seen.
    const took = clock.monotonic() - began;
    assert.ok(took >= 45_000 && took < 65_000, String(took));
  }],
  [['server.shutdown_timeout'], async (scene) => {
    const { gate, clock, hangs, asked } = scene;
    for (const at of ['ollama', 'anthropic', 'openai']) hangs.add(at);
    asked.length = 0;
    let end: number | null = null;
    const over = (): void => void (end = clock.monotonic());
    ask(scene).then(over, over);
    await until(() => chats(scene).length > 0);
    const began = clock.monotonic();
    const closed = gate.close();
    await until(() => {
      if (end === null) clock.tick(500);
      return end;
    });
    const took = Number(end) - began;
    assert.ok(took >= 30_000 && took < 45_000, String(took));
    await closed;
  }],
];

/** What the admin API says. */
async function told(scene: Scene, what: string): Promise<object> {
  return JSON.parse((await scene.send(`/heimdall/api/${what}`, { headers: { authorization: `Bearer ${adminToken}` } })).text) as object;
}

/** Names of the keys with a value, without the places in lists. */
function keysOf(value: unknown, at = ''): string[] {
  if (Array.isArray(value) && typeof value[0] === 'object') return value.flatMap((each) => keysOf(each, at));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [at];
  return Object.entries(value).flatMap(([name, each]) => keysOf(each, at === '' ? name : `${at}.${name}`));
}

test("the guide's production configuration takes effect as printed, each key", { skip: noOpenssl }, async (t) => {
  const scene = await start(t);
  for (const [keys, show] of shown) await t.test(keys.join(', '), () => show(scene));
  assert.deepEqual([...new Set(keysOf(parse(printed)))].filter((key) => !shown.some(([keys]) => keys.includes(key))), []);
});
