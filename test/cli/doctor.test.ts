import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { request as ask, type RequestListener } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { doctorProof } from '../../lib/identity/identity.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { request } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { nowhere, startUpstream } from '../support/upstream.ts';

interface Finding {
  readonly name: string;
  readonly state: string;
  readonly text: string;
  readonly fix?: string;
}

interface Examined {
  readonly code: number | null;
  readonly out: string;
  /** The finding of that name; of several the first. */
  of(name: string): Finding;
}

const secret = 'a-secret-of-the-gate-under-test';

/** Runs the doctor twice, for people and as JSON, which have to agree. */
async function examine(t: TestContext, yaml: string, ...more: string[]): Promise<Examined> {
  const at = temporary(t);
  const path = join(at, 'heimdall.yaml');
  writeFileSync(path, `${yaml.startsWith('# no secret') ? '' : `secret: ${secret}`}\naudit: { path: ${join(at, 'data/heimdall.db')}, ${/^audit: (.*)$/m.exec(yaml)?.[1] ?? ''} }\nlogging: { file: ${join(at, 'heimdall.log')} }\n${yaml.replace(/^audit: .*$/m, '')}\n`, { mode: 0o600 });
  const run = async (...args: string[]): Promise<{ code: number | null; out: string; err: string }> => {
    const said = { out: '', err: '' };
    const code = await main(['doctor', '-c', path, ...more, ...args], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
    return { code, ...said };
  };
  const [{ code, out, err }, document] = await Promise.all([run(), run('--json')]);
  assert.equal(err, '');
  const { checks, ...rest } = JSON.parse(document.out) as { checks: Finding[] };
  assert.deepEqual([Object.keys(rest), document.code], [[], code], out);
  const lines = out.trimEnd().split('\n');
  assert.deepEqual(lines.map((line) => /^(ok|warn|fail) /.exec(line)?.[1]), checks.map(({ state }) => state), out);
  for (const [index, { name, state, text, fix }] of checks.entries()) {
    assert.ok(lines[index]?.includes(name) && text !== '', out);
    assert.equal((fix ?? '') === '', state === 'ok', `${name}: ${text}`);
  }
  assert.equal(code, checks.some(({ state }) => state === 'fail') ? 1 : 0, out);
  assert.ok(!`${out}${document.out}`.includes(secret), out);
  return { code, out, of: (name) => checks.find((each) => each.name === name) ?? assert.fail(`${name} is missing in\n${out}`) };
}

/** NewAPI as far as it is asked. */
const newapi = (date: string | null, receiver: number): RequestListener => (req, res) => {
  if (date !== null) res.setHeader('Date', date);
  if (req.url === '/api/status') return void res.setHeader('Content-Type', 'application/json').end('{"success":true,"data":{"version":"v0.9.9","system_name":"Nebula"}}');
  req.resume().once('end', () => res.writeHead(req.url === '/api/heimdall/log' ? receiver : 404).end('{"success":false}'));
};

describe('heimdall doctor', () => {
  it('finds nothing wrong where nothing is, without a gate', async (t) => {
    const { url } = await startUpstream(t, newapi(null, 400));
    const { code, out, of } = await examine(t, `newapi: { base_url: "${url}" }\nserver: { host: 127.0.0.1, port: ${new URL(await nowhere()).port} }\naudit: newapi: { enabled: true }`);
    assert.equal(code, 0, out);
    for (const name of ['configuration', 'disk journal', 'disk log', 'files', 'certificate', 'port', 'newapi', 'clock', 'receiver']) assert.notEqual(of(name).state, 'fail', name);
    assert.match(of('newapi').text, /v0\.9\.9 \(Nebula\)/);
    assert.match(of('receiver').text, /gets the records/);
    assert.match(of('port').text, /free/);
  });

  it('finds a wrong clock, a NewAPI without the receiver, and a port that another program has', async (t) => {
    const { url } = await startUpstream(t, newapi(new Date(Date.now() - 7_200_000).toUTCString(), 404));
    const { url: another } = await startUpstream(t, (_req, res) => void res.end('hello'));
    const { code, of } = await examine(t, `newapi: { base_url: "${url}" }\nserver: { host: 127.0.0.1, port: ${new URL(another).port} }\naudit: newapi: { enabled: true }`);
    assert.equal(code, 1);
    assert.deepEqual([of('clock').state, of('receiver').state, of('port').state, of('newapi').state], ['fail', 'fail', 'fail', 'ok']);
    assert.match(of('clock').text, /7[12]\d\d s ahead of/);
    assert.match(of('receiver').fix ?? '', /audit\.newapi/);
  });

  it('finds a NewAPI that cannot be reached, and a Redis and a PostgreSQL', async (t) => {
    const dead = new URL(await nowhere()).port;
    const { code, out, of } = await examine(t, `newapi: { base_url: "http://127.0.0.1:${dead}" }\nserver: { host: 127.0.0.1, port: 0 }\nrate_limit: { redis_url: "redis://me:the-password-of-redis@127.0.0.1:${dead}" }\naudit: postgres: { url: "postgresql://me:the-password-of-postgres@127.0.0.1:${dead}/x" }`);
    assert.equal(code, 1);
    for (const name of ['newapi', 'redis', 'postgres']) assert.equal(of(name).state, 'fail', out);
    assert.match(of('newapi').text, /ECONNREFUSED/);
    assert.doesNotMatch(out, /the-password/);
  });

  it('names what a user of Redis may not do', { skip: withoutRedis }, async (t) => {
    const redis = await startRedis();
    t.after(() => redis.close());
    const as = (user: string): string => `rate_limit: { redis_url: "redis://${user}:the-password@127.0.0.1:${redis.port}" }`;
    await redis.command('ACL', 'SETUSER', 'narrow', 'on', '>the-password', '~heimdall:*', '+@all', '-hset', '-zadd');
    await redis.command('ACL', 'SETUSER', 'wide', 'on', '>the-password', '~heimdall:*', '+@all');
    const narrow = (await examine(t, as('narrow'))).of('redis');
    assert.deepEqual([narrow.state, narrow.fix], ['fail', 'ACL SETUSER of its user: ~heimdall:* +zadd +hset']);
    assert.equal((await examine(t, as('wide'))).of('redis').state, 'ok');
    assert.equal(await redis.command('KEYS', '*doctor*'), '*0\r\n');
  });

  it('finds a pair that does not fit, and looks at the rest all the same', { skip: noOpenssl }, async (t) => {
    const { url } = await startUpstream(t, newapi(null, 404));
    const issuer = authority(t);
    const [one, other] = [issuer.issue('DNS:localhost'), issuer.issue('DNS:localhost')];
    const yaml = (keyPath: string): string => `newapi: { base_url: "${url}" }\nserver: { host: 127.0.0.1, port: 0, tls: { cert_path: ${one.certPath}, key_path: ${keyPath} } }`;
    const wrong = await examine(t, yaml(other.keyPath));
    assert.equal(wrong.code, 1);
    assert.deepEqual([wrong.of('certificate').state, wrong.of('newapi').state], ['fail', 'ok']);
    assert.ok(!wrong.out.includes('serves no TLS'), wrong.out);
    const right = await examine(t, yaml(one.keyPath));
    assert.match(right.of('certificate').text, /key fits, ends \d{4}-\d\d-\d\d/);
    assert.deepEqual([right.code, right.of('certificate').state], [0, 'ok']);
  });

  it('says what is wrong with a configuration, and with its own options', async (t) => {
    const { code, of } = await examine(t, 'server: { port: many }');
    assert.equal(code, 1);
    assert.match(of('configuration').text, /server\.port: expected/);
    assert.match((await examine(t, 'serber: { port: 1 }')).out, /Did you mean server\? Fix: correct serber/);
    const shared = await examine(t, `# no secret\nserver: { host: 127.0.0.1, port: 0 }\nrate_limit: { redis_url: "redis://127.0.0.1:${new URL(await nowhere()).port}" }`);
    assert.match(shared.of('configuration').text, /secret: expected the same text on every instance/);
    assert.equal(shared.of('redis').state, 'fail');
    const said = { err: '' };
    assert.equal(await main(['doctor', '--url', 'http://me:the-password@host'], { out: () => undefined, err: (text) => void (said.err += text) }), 2);
    assert.match(said.err, /--url: expected an http or https URL/);
    assert.doesNotMatch(said.err, /the-password/);
  });
});

/** A proxy in front of a gate. @param how plain: as it should be; old: HTTP/1.0, the answer held back until it is complete. */
async function front(t: TestContext, port: number, how: 'plain' | 'old', head: Readonly<Record<string, string>> = {}): Promise<string> {
  const { url } = await startUpstream(t, (req, res) => {
    for (const [name, value] of Object.entries(head)) res.setHeader(name, value);
    const headers = { host: 'gate', 'x-heimdall-doctor': String(req.headers['x-heimdall-doctor']), 'x-forwarded-for': '203.0.113.9' };
    if (how === 'plain') return void ask({ port, host: '127.0.0.1', path: req.url, headers, agent: false }, (answer) => answer.pipe(res.writeHead(answer.statusCode ?? 0))).end();
    let bytes = '';
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    connect(port, '127.0.0.1').on('data', (chunk: Buffer) => void (bytes += String(chunk))).once('end', () => res.end(bytes.slice(bytes.indexOf('\r\n\r\n') + 4))).write(`GET ${req.url} HTTP/1.0\r\n${lines}\r\n`);
  });
  return url;
}

describe('heimdall doctor --url', () => {
  it('tells the address, buffering and HTTP/1.0 by a question through the proxy', async (t) => {
    const [trusting, wary] = await Promise.all([startGate(t, { secret }), startGate(t, { secret, trustProxy: ['192.0.2.1'] })]);
    const [good, old, unnamed] = await Promise.all([front(t, trusting.port, 'plain', { Server: 'cloudflare', 'CF-Ray': '1-FRA' }), front(t, trusting.port, 'old'), front(t, wary.port, 'plain')]);
    const yaml = `newapi: { base_url: "${await nowhere()}" }\nserver: { host: 127.0.0.1, port: ${trusting.port} }`;
    const [well, late, foreign, direct] = await Promise.all([good, old, unnamed, trusting.url].map((url) => examine(t, yaml, '--url', url))) as [Examined, Examined, Examined, Examined];
    const states = ({ of }: Examined): string[] => ['url', 'address', 'http', 'buffering', 'time limits'].map((name) => of(name).state);
    assert.deepEqual(states(well), ['ok', 'ok', 'ok', 'ok', 'warn'], well.out);
    assert.match(well.of('address').text, /sees 203\.0\.113\.9: the peer 127\.0\.0\.1 is in trust_proxy \[loopback\]/);
    assert.match(well.of('time limits').text, /Cloudflare in front gives up after 100 s/);
    assert.match(well.of('port').text, /a gate answers/);
    assert.deepEqual(states(late), ['ok', 'ok', 'warn', 'warn', 'ok'], late.out);
    assert.match(late.of('http').text, /HTTP\/1\.0/);
    assert.deepEqual(states(foreign), ['ok', 'warn', 'ok', 'ok', 'ok'], foreign.out);
    assert.match(foreign.of('address').text, /sees 127\.0\.0\.1, the peer itself: it is not in trust_proxy, so X-Forwarded-For: 203\.0\.113\.9 is ignored/);
    assert.equal(foreign.of('address').fix, 'trust_proxy: [192.0.2.1, 127.0.0.1]');
    assert.match(direct.of('address').text, /your end of the connection/);
  });

  it('says what could not be told', async (t) => {
    const { url: broken } = await startUpstream(t, (_req, res) => void res.writeHead(502).end());
    const { url: other } = await startUpstream(t, (_req, res) => void res.end('hello'));
    const [down, foreign, gone] = await Promise.all([broken, other, await nowhere()].map((url) => examine(t, 'server: { host: 127.0.0.1, port: 0 }', '--url', url))) as [Examined, Examined, Examined];
    assert.match(down.of('url').text, /502: no gate behind it answers/);
    assert.deepEqual([down.of('url').state, foreign.of('url').state, gone.of('url').state], ['fail', 'warn', 'fail']);
    assert.match(foreign.of('url').text, /could not be told/);
  });

  it('is answered by nobody without the install secret', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => void res.writeHead(404).end('of NewAPI'));
    const { url } = await startGate(t, { secret, newapi: { baseUrl: upstream.url } });
    const now = Date.now();
    const good = doctorProof(secret, now);
    for (const proof of ['', 'x', doctorProof('another-secret-of-another-gate', now), doctorProof(secret, now - 600_000), doctorProof(secret, now + 600_000), good.replace(/^\d/, '2'), `${good}x`]) {
      assert.equal((await request(`${url}/health/doctor`, { headers: { 'X-Heimdall-Doctor': proof } })).text, 'of NewAPI', proof);
    }
    assert.match((await request(`${url}/health/doctor`, { headers: { 'X-Heimdall-Doctor': good } })).text, /^data: \{"ip":"127\.0\.0\.1"/);
  });
});
