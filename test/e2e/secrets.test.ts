import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { closing, rawRequest, request, until, type Answer, type RequestOptions } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { filesBelow, Hunt } from '../support/hunt.ts';
import { startIssuer } from '../support/issuer.ts';
import { startNewapi, type Newapi } from '../support/newapi.ts';
import { heimdallCommand, startGateProcess, type GateProcess } from '../support/processes.ts';
import { startProvider } from '../support/provider.ts';

interface Session {
  readonly hunt: Hunt;
  readonly gate: GateProcess;
  readonly newapi: Newapi;
  /** What lets a caller in. */
  readonly good: string;
  /** Everything that was answered. */
  readonly answers: [place: string, content: string][];
  readonly directory: string;
}

const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] };
const headersOf = ({ rawHeaders }: Answer): string => rawHeaders.join('\n');

/** A gate with everything a credential can be configured for, in a process and directory of its own. */
async function start(t: TestContext, mode: 'passthrough' | 'keys' | 'jwt'): Promise<Session> {
  const hunt = new Hunt();
  const directory = temporary(t);
  const issuer = await startIssuer(t);
  const own = hunt.make('our key at the provider');
  const backup = closing(t, await startProvider({ name: 'backup', key: own }));
  const granted = hunt.make('upstream credential');
  const callers = hunt.make('NewAPI token');
  const newapi = closing(t, await startNewapi({ keys: { [granted]: { user: 1 }, [callers]: { user: 2 } } }));
  const gatewayKey = hunt.make('gateway key');
  const token = hunt.add('JWT', await issuer.sign(), 'eyJ');
  const config = {
    secret: hunt.make('install secret', ''),
    previous_secrets: [hunt.make('previous install secret', '')],
    llm: { backup_providers: [{ provider: 'openai', endpoint: backup.endpoint, api_key: own }] },
    auth: {
      mode,
      keys: mode === 'passthrough' ? [] : [{ name: 'team', sha256: hash('sha256', gatewayKey), upstream_credential: granted }],
      ...(mode === 'jwt' && { jwt: { issuer: issuer.name, audience: issuer.audience, jwks_uri: issuer.jwksUri, upstream_credential: granted } }),
    },
    admin: { token: hunt.make('admin token', '') },
    metrics: { token: hunt.make('metrics token', '') },
    logging: { level: 'trace', file: 'heimdall.log' },
    queue: { state_path: 'state/queue.json', save_interval: '200ms' },
    rate_limit: { address: { limit: 0 }, key: { requests: { limit: 100_000 } } },
    audit: { path: 'data/heimdall.db' },
  };
  writeFileSync(join(directory, 'heimdall.yaml'), JSON.stringify(config), { mode: 0o600 });
  const gate = await startGateProcess(t, directory, { HEIMDALL_CONFIG: 'heimdall.yaml', NEWAPI_BASE_URL: newapi.url });
  return { hunt, gate, newapi, directory, answers: [], good: { passthrough: callers, keys: gatewayKey, jwt: token }[mode] };
}

async function ask({ gate, answers }: Session, path: string, options: RequestOptions): Promise<Answer> {
  const answer = await request(gate.url + path, options);
  // What an upstream says is its own; what it was told is looked at elsewhere.
  answers.push([`answer ${answer.status} of ${path.split('?')[0]}`, `${headersOf(answer)}\n${answer.headers['x-oneapi-request-id'] === undefined ? answer.text : ''}`]);
  return answer;
}

type Carrier = (credential: string) => readonly [path: string, options: RequestOptions];

/** Every place NewAPI takes a credential from, and some where people put one by mistake. */
const carriers: Readonly<Record<string, Carrier>> = {
  authorization: (value) => ['/v1/chat/completions', { headers: { Authorization: `Bearer ${value}` }, body: chat }],
  'authorization without its scheme': (value) => ['/v1/chat/completions', { headers: { authorization: value }, body: chat }],
  'authorization with a channel': (value) => ['/v1/chat/completions', { headers: { authorization: `bearer ${value}-7` }, body: chat }],
  stream: (value) => ['/v1/chat/completions', { headers: { Authorization: `Bearer ${value}` }, body: { ...chat, stream: true } }],
  'x-api-key': (value) => ['/v1/messages', { headers: { 'x-api-key': value }, body: { ...chat, max_tokens: 5 } }],
  'x-goog-api-key': (value) => ['/v1beta/models/gemini-2.5-flash:generateContent', { headers: { 'x-goog-api-key': value }, body: { contents: [] } }],
  query: (value) => [`/v1beta/models?key=${value}&alt=sse`, {}],
  'query on a model route': (value) => [`/v1/chat/completions?key=${value}&api_key=${value}&token=${value}`, { headers: { Authorization: `Bearer ${value}` }, body: chat }],
  'query, encoded': (value) => [`/v1/models?%6bey=${encodeURIComponent(value)}`, {}],
  'mj-api-secret': (value) => ['/mj/submit/imagine', { headers: { 'mj-api-secret': value }, body: { prompt: 'x' } }],
  'protocols on a plain request': (value) => ['/v1/chat/completions', { headers: { 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${value}` }, body: chat }],
  'basic authorization': (value) => ['/v1/chat/completions', { headers: { Authorization: `Basic ${Buffer.from(`user:${value}`).toString('base64')}` }, body: chat }],
  'all at once': (value) => ['/v1/messages', { headers: { Authorization: `Bearer ${value}`, 'x-api-key': value, 'x-goog-api-key': value, 'mj-api-secret': value, 'Proxy-Authorization': `Bearer ${value}`, Cookie: `session=${value}; token=${value}`, Referer: `https://gate.test/?key=${value}` }, body: chat }],
  'a page': (value) => [`/console?token=${value}`, { headers: { Cookie: `session=${value}`, Referer: `https://gate.test/login?code=${value}` } }],
  dashboard: (value) => ['/api/user/self', { headers: { Authorization: value, 'New-Api-User': '1' } }],
  'a login': (value) => ['/api/user/login', { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ username: 'demo', password: value }) }],
  billing: (value) => ['/v1/dashboard/billing/usage', { headers: { Authorization: `Bearer ${value}` } }],
  webhook: (value) => ['/api/stripe/webhook', { headers: { 'Stripe-Signature': value }, body: { id: value } }],
  metrics: (value) => ['/metrics', { headers: { Authorization: `Bearer ${value}` } }],
  admin: (value) => ['/heimdall/api/overview', { headers: { Authorization: `Bearer ${value}` } }],
};

/** Requests that are refused before or within the parts that read credentials. */
const broken: Readonly<Record<string, Carrier>> = {
  'no JSON': (value) => ['/v1/chat/completions', { headers: { Authorization: `Bearer ${value}`, 'Content-Type': 'application/json' }, body: `{"model": ${value}` }],
  'a wrong type': (value) => ['/v1/chat/completions', { headers: { Authorization: `Bearer ${value}`, 'Content-Type': `text/${value}` }, body: value }],
  'a wrong field': (value) => ['/v1/chat/completions', { headers: { Authorization: `Bearer ${value}` }, body: { ...chat, max_tokens: value } }],
  'a wrong path': (value) => [`/v1/chat/completions/%00?key=${value}`, { headers: { Authorization: `Bearer ${value}` } }],
  'a wrong target': (value) => [`/v1/models?key=${value}`, { target: `http://elsewhere.test/v1/models?key=${value}`, headers: { Authorization: `Bearer ${value}` } }],
};

async function talk(session: Session): Promise<void> {
  const { hunt, good, gate } = session;
  for (const [name, carrier] of Object.entries({ ...carriers, ...broken })) {
    await ask(session, ...carrier(good));
    await ask(session, ...carrier(hunt.make(`unknown credential by ${name}`)));
  }
  await socket(gate, good);
  await socket(gate, hunt.make('unknown credential of a WebSocket'));
  const half = hunt.make('credential of a request that is no HTTP');
  session.answers.push(['answer to what is no HTTP', (await rawRequest(gate.port, `GET /v1/models?key=${half} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${half}\r\nX : ${half}\r\n\r\n`, undefined, 300)).toString()]);
  await leave(gate, good);
}

async function socket({ port }: GateProcess, value: string): Promise<void> {
  const opened = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime?model=gpt-4o-mini&key=${value}`, ['realtime', `openai-insecure-api-key.${value}`]);
  await new Promise<void>((resolve) => {
    opened.on('message', () => opened.close()).on('error', () => resolve()).on('close', () => resolve());
  });
}

/** A client that goes away in the middle of its request. */
async function leave({ port }: GateProcess, value: string): Promise<void> {
  const client = connect(port, '127.0.0.1');
  client.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${value}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"model":"`);
  await new Promise<void>((resolve) => void client.once('connect', resolve));
  client.destroy();
}

/** What somebody who may look is shown, without what is shown once by design: a new key. */
async function look(session: Session, config: { admin: { token: string }; metrics: { token: string } }): Promise<void> {
  const admin = { Authorization: `Bearer ${config.admin.token}` };
  for (const path of ['', '/', '/api/overview', '/api/config', '/api/keys', '/api/bans', '/api/requests', '/api/records', '/api/queue', '/api/targets', '/api/events']) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), 500);
    await ask(session, `/heimdall${path}`, { headers: admin, signal: controller.signal }).catch(() => undefined);
    clearTimeout(timer);
  }
  const { text } = await ask(session, '/metrics', { headers: { Authorization: `Bearer ${config.metrics.token}` } });
  assert.match(text, /request_duration_seconds/);
  const { stdout, stderr } = await heimdallCommand(session.directory, ['check'], { HEIMDALL_CONFIG: 'heimdall.yaml', NEWAPI_BASE_URL: session.newapi.url });
  session.answers.push(['heimdall check', stdout + stderr]);
}

describe('no credential is found in a log, a metric, an error or a file', () => {
  for (const mode of ['passthrough', 'keys', 'jwt'] as const) {
    it(`after a session that used every carrier in mode ${mode}`, async (t) => {
      const session = await start(t, mode);
      const { hunt, gate, newapi, directory, answers } = session;
      const config = JSON.parse(readFileSync(join(directory, 'heimdall.yaml'), 'utf8')) as { admin: { token: string }; metrics: { token: string } };
      await talk(session);
      await newapi.stop();
      for (const carrier of Object.values(carriers)) await ask(session, ...carrier(session.good));
      await newapi.restart();
      await look(session, config);
      const logged = (): string => readFileSync(join(directory, 'heimdall.log'), 'utf8');
      await until(() => logged().includes('"/v1/models"'));
      const pages = answers.filter(([place]) => /answer (?:2|3)/.test(place));
      assert.ok(answers.length > 80 && pages.length > 10, `${answers.length} answers, ${pages.length} of them good`);
      assert.ok(gate.output().includes('auth.failed'), gate.output());
      const files = filesBelow(directory, (path) => path === 'heimdall.yaml');
      assert.ok(files.some(([path]) => path.endsWith('heimdall.log')));
      assert.deepEqual(hunt.search([['what the gate said', gate.output()], ...answers, ...files]), []);
    });
  }

  it('which would be found: whole, in part, encoded or within other bytes', () => {
    const hunt = new Hunt();
    const credential = hunt.make('a key');
    const found = (content: string | Buffer): number => hunt.search([['here', content]]).length;
    for (const place of [credential, `"${credential.slice(20, 28)}"`, Buffer.from(credential).toString('hex'), Buffer.from(`user:${credential}`).toString('base64'), Buffer.concat([Buffer.from([0xff, 0]), Buffer.from(credential)])]) assert.equal(found(place), 1, place.toString());
    assert.equal(found(`sk-…${credential.slice(-4)} ${credential.slice(10, 17)}`), 0);
  });
});
