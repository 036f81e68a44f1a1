import '../support/node.ts';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ConfigInput, GateOptions } from '../../lib/index.ts';
import { closing, request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { startGateProcess } from '../support/processes.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { bearer, chat } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

const secret = 'a secret of both sides';
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

interface Alert {
  readonly event: string;
  readonly level: string;
  readonly what: string;
  readonly instance: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

interface Hook {
  readonly url: string;
  readonly alerts: readonly Alert[];
  readonly calls: readonly { readonly headers: IncomingHttpHeaders; readonly body: string }[];
  /** Waits for the first alert of that name. */
  heard(event: string): Promise<Alert>;
}

/** Who is told. */
async function webhook(t: TestContext): Promise<Hook> {
  const alerts: Alert[] = [];
  const calls: { headers: IncomingHttpHeaders; body: string }[] = [];
  const { url } = await startUpstream(t, (req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += String(chunk))).on('end', () => {
      calls.push({ headers: req.headers, body });
      alerts.push(JSON.parse(body) as Alert);
      res.writeHead(204).end();
    });
  });
  return { url: `${url}/hook`, alerts, calls, heard: (event) => until(() => alerts.find((alert) => alert.event === event), event) };
}

const start = (t: TestContext, { url }: Hook, config: ConfigInput = {}, options: GateOptions = {}): Promise<RunningGate> =>
  startGate(t, { secret: 'an install secret', ...config, audit: { ...config.audit, alerts: { webhook: url, secret } } }, options);

const ask = ({ url }: RunningGate, headers: Readonly<Record<string, string>> = {}): Promise<unknown> => request(`${url}/v1/chat/completions`, { method: 'POST', headers: { ...bearer(DEMO_KEY), ...headers }, body: chat });

describe('somebody is told', () => {
  it('of a target that is left alone, and that it is back, signed', async (t) => {
    const hook = await webhook(t);
    const newapi = closing(t, await startNewapi());
    const gate = await start(t, hook, { newapi: { baseUrl: newapi.url }, circuitBreaker: { failureThreshold: 1, timeout: 50 }, llm: { retry: { maxRetries: 0 } } });
    await newapi.stop();
    await ask(gate);
    const { level, what, instance, fields } = await hook.heard('target.open');
    assert.deepEqual([typeof level, what, typeof instance, fields['target']], ['string', 'a target failed too often and receives no requests', 'string', 'newapi']);
    const { headers, body } = hook.calls[0] as Hook['calls'][0];
    const [, time, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['x-heimdall-signature'])) ?? [];
    assert.equal(signature, createHmac('sha256', secret).update(`${time}.${body}`).digest('hex'));
    await newapi.restart();
    await until(async () => {
      await ask(gate);
      return hook.alerts.length === 2;
    });
    assert.deepEqual(hook.alerts.map(({ event }) => event), ['target.open', 'target.up']);
    for (const { body: sent } of hook.calls) assert.ok(!sent.includes(DEMO_KEY.slice(3)));
  });

  it('of callers that collapse to one address', async (t) => {
    const hook = await webhook(t);
    const gate = await start(t, hook, { trustProxy: [] });
    for (let nth = 0; nth < 60; nth++) await request(`${gate.url}/health`, { headers: { 'X-Forwarded-For': `203.0.113.${nth}` } });
    const { fields } = await hook.heard('address.collapse');
    assert.equal(fields['source'], '127.0.0.1');
    assert.equal(hook.alerts.length, 1);
  });

  it('of a journal without its file', async (t) => {
    const hook = await webhook(t);
    const gate = await start(t, hook, { audit: { path: '/dev/null/heimdall.db' } });
    await request(`${gate.url}/nothing`);
    assert.match(String((await hook.heard('journal.memory')).fields['reason']), /ENOTDIR|EEXIST/);
  });

  it('of a machine that is short', async (t) => {
    const hook = await webhook(t);
    const clock = fakeClock();
    const gate = await start(t, hook, { server: { healthCheck: { enabled: true, interval: '1s', threshold: 1, checks: { memory: 'x' }, memoryThreshold: '0.0001%' } } }, { clock });
    await gate.gate.ready;
    clock.tick(1000);
    assert.equal((await hook.heard('resources.short')).fields['resource'], 'memory');
  });

  it('of a sink that takes nothing for half a minute', async (t) => {
    const hook = await webhook(t);
    const clock = fakeClock();
    const gate = await start(t, hook, { audit: { newapi: { enabled: true, url: 'http://127.0.0.1:1' } } }, { clock });
    await request(`${gate.url}/nothing`);
    await until(() => {
      clock.tick(50);
      return gate.log.named('sink.held').length === 1;
    });
    await until(() => {
      clock.tick(5000);
      return hook.alerts.length > 0;
    });
    assert.deepEqual(hook.alerts.map(({ event, fields }) => [event, fields['sink'], fields['lag']]), [['sink.lagging', 'newapi', 1]]);
  });

  it('of a certificate that ends', { skip: noOpenssl }, async (t) => {
    const hook = await webhook(t);
    const at = temporary(t);
    const tls = { certPath: join(at, 'cert.pem'), keyPath: join(at, 'key.pem') };
    spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=gate.test', '-keyout', tls.keyPath, '-out', tls.certPath]);
    await start(t, hook, { server: { tls } }, { clock: fakeClock(Date.now() + 1.5 * 86_400_000) });
    assert.equal((await hook.heard('certificate.expiring')).fields['certificate'], tls.certPath);
  });

  it('of a Redis that is lost, and back', { skip: withoutRedis }, async (t) => {
    const hook = await webhook(t);
    const redis = closing(t, await startRedis());
    const gate = await start(t, hook, { rateLimit: { redisUrl: redis.url, key: { requests: { limit: 100, window: '1m' } } } });
    await gate.gate.ready;
    await redis.kill();
    await hook.heard('redis.lost');
    await redis.restart();
    await hook.heard('redis.back');
  });

  it('by a gate in a process of its own, with nothing of the webhook in its log', async (t) => {
    const hook = await webhook(t);
    const environment = { HEIMDALL_CONFIG: '', NEWAPI_BASE_URL: 'http://127.0.0.1:1', ALERTS: `${hook.url}?token=a-secret-of-the-webhook` };
    const directory = temporary(t);
    writeFileSync(join(directory, 'heimdall.yaml'), 'logging: { level: warn, file: false }\ncircuit_breaker: { failure_threshold: 1 }\nllm: { retry: { max_retries: 0 } }\naudit: { alerts: { webhook: "${ALERTS}" } }\n', { mode: 0o600 });
    const gate = await startGateProcess(t, directory, { ...environment, HEIMDALL_CONFIG: 'heimdall.yaml' });
    await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: bearer(DEMO_KEY), body: chat });
    await hook.heard('target.open');
    assert.equal(hook.calls[0]?.headers['x-heimdall-signature'], undefined);
    assert.ok(!JSON.stringify(gate.events()).includes('a-secret-of-the-webhook'));
  });
});

describe('the connections of alerts and sinks', () => {
  it('let a program end that has closed its gate', async (t) => {
    const hook = await webhook(t);
    const program = `
      import { once } from 'node:events';
      import { createServer, heimdall } from ${JSON.stringify(new URL('../../lib/index.ts', import.meta.url).href)};
      const gate = heimdall({ newapi: { baseUrl: 'http://127.0.0.1:1' }, logging: { level: 'silent', file: false }, circuitBreaker: { failureThreshold: 1 }, llm: { retry: { maxRetries: 0 } },
        audit: { path: process.argv[1] + '/heimdall.db', alerts: { webhook: process.argv[2] }, newapi: { enabled: true, url: process.argv[3], maxRate: 100 } } });
      const server = createServer(gate).listen(0, '127.0.0.1');
      await once(server, 'listening');
      await fetch('http://127.0.0.1:' + server.address().port + '/v1/chat/completions', { method: 'POST', headers: { Authorization: 'Bearer sk-nobody', 'Content-Type': 'application/json' }, body: '{"model":"x"}' });
      process.stdin.once('data', () => gate.close());`;
    const received: string[] = [];
    const receiver = await startUpstream(t, (req, res) => {
      received.push(req.url ?? '');
      req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"success":true}'));
    });
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, temporary(t), hook.url, receiver.url], { stdio: ['pipe', 'ignore', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    await hook.heard('target.open');
    await until(() => received.length > 0);
    child.stdin.end('close\n');
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 0);
  });
});
