import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { closing, openStream, request, until } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { noNginx, runNginx, runProxy } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { startUpstream } from '../support/upstream.ts';
import { dial } from '../support/websocket.ts';

const deploy = new URL('../../examples/deploy/', import.meta.url);
const headers = { Authorization: `Bearer ${DEMO_KEY}` };
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'one two three four five six' }] };
/** It is in no list of the CI's packages: where it is not installed, nobody asks for it. */
const noCaddy = spawnSync('caddy', ['version']).status === 0 ? false : 'caddy is not installed';

/** Replaces all of these, each of which must be there. */
function changed(text: string, changes: readonly (readonly [RegExp, string])[]): string {
  return changes.reduce((whole, [from, to]) => (assert.match(whole, from), whole.replace(from, to)), text);
}

async function nginx(t: TestContext, gate: number): Promise<number> {
  const text = readFileSync(new URL('nginx.conf', deploy), 'utf8');
  // Without certificates, and without the port that only redirects.
  const { port } = await runNginx(t, (at) => changed(text, [
    [/server 127\.0\.0\.1:8000;/, `server 127.0.0.1:${gate};`],
    [/server \{\s+listen 80;[^}]*\}/, ''],
    [/listen 443 ssl http2;\s+listen \[::\]:443 ssl http2;/, `listen 127.0.0.1:${at};`],
    [/ssl_certificate [^;]*;\s+ssl_certificate_key [^;]*;/, ''],
  ]));
  return port;
}

async function caddy(t: TestContext, gate: number): Promise<number> {
  const at = temporary(t);
  const port = await freePort();
  const text = changed(readFileSync(new URL('Caddyfile', deploy), 'utf8'), [
    [/^api\.example\.com \{/m, `http://127.0.0.1:${port} {`],
    [/reverse_proxy 127\.0\.0\.1:8000/, `reverse_proxy 127.0.0.1:${gate}`],
  ]);
  const file = join(at, 'Caddyfile');
  writeFileSync(file, `{\n\tadmin off\n\tauto_https off\n}\n${text}`);
  mkdirSync(join(at, 'home'));
  await runProxy(t, port, 'caddy', ['run', '--config', file, '--adapter', 'caddyfile'], { ...process.env, HOME: join(at, 'home'), XDG_DATA_HOME: at, XDG_CONFIG_HOME: at });
  return port;
}

it('two gates behind nginx: its file is one nginx takes, and names the gates of the compose file', { skip: noNginx }, (t) => {
  const example = new URL('../../examples/many-instances/', import.meta.url);
  const { services, volumes } = parse(readFileSync(new URL('compose.yaml', example), 'utf8'), { merge: true }) as { services: Record<string, { volumes?: string[]; environment?: Record<string, string> }>; volumes: object };
  const text = readFileSync(new URL('nginx.conf', example), 'utf8');
  const gates = Object.keys(services).filter((name) => name.startsWith('heimdall-'));
  assert.deepEqual([...text.matchAll(/server (heimdall-\d):8000/g)].map(([, name]) => name), gates);
  const at = temporary(t);
  writeFileSync(join(at, 'nginx.conf'), changed(text, [[/heimdall-1:8000/, '127.0.0.1:8000'], [/heimdall-2:8000/, '127.0.0.1:8010']]));
  const { status, stderr } = spawnSync('nginx', ['-t', '-p', at, '-c', 'nginx.conf', '-g', `pid ${at}/pid; error_log stderr;`], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  for (const [source = ''] of Object.values(services).flatMap((service) => service.volumes ?? []).map((volume) => volume.split(':'))) assert.ok(source.startsWith('.') ? existsSync(new URL(source, example)) : source in volumes, source);
  const asked = [...readFileSync(new URL('heimdall.yaml', example), 'utf8').matchAll(/\$\{(\w+)[:}]/g)].map(([, name = '']) => name);
  for (const gate of gates) for (const name of asked) assert.ok(name in (services[gate]?.environment ?? {}), name);
});

interface Front {
  readonly newapi: Newapi;
  readonly records: Records;
  readonly url: string;
}

async function behind(t: TestContext, start: (t: TestContext, gate: number) => Promise<number>): Promise<Front> {
  const newapi = closing(t, await startNewapi());
  const records = accessRecords(t);
  const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, logging: records.logging, metrics: { token: 'a-token-for-metrics' } });
  return { newapi, records, url: `http://127.0.0.1:${await start(t, gate.port)}` };
}

for (const [name, start, missing, seen] of [
  // nginx adds to what a client says, Caddy believes none of it; the gate trusts both, and clients on this machine.
  ['nginx', nginx, noNginx, '203.0.113.9'],
  ['Caddy', caddy, noCaddy, '127.0.0.1'],
] as const) {
  describe(`behind ${name} as it is set up in examples/deploy`, { skip: missing }, () => {
    it('the gate knows who calls and under what name, and NewAPI hears of it', async (t) => {
      const { newapi, records, url } = await behind(t, start);
      const answer = await request(`${url}/v1/chat/completions`, { headers: { ...headers, 'X-Forwarded-For': '203.0.113.9' }, body: chat });
      assert.equal(answer.status, 200, answer.text);
      const [record] = await records.atLeast(1);
      assert.equal(record?.ip, seen);
      await request(`${url}/api/status`);
      const status = newapi.requests.find(({ url: asked }) => asked === '/api/status');
      assert.deepEqual([status?.headers['host'], status?.headers['x-forwarded-proto'], status?.headers['x-forwarded-host']], [url.slice(7), 'http', url.slice(7)]);
      assert.equal((await request(`${url}/metrics`, { headers: { Authorization: 'Bearer a-token-for-metrics' } })).status, 404);
      assert.equal((await request(`${url}/health`)).status, 200);
    });

    it('streams come as they are made', async (t) => {
      let more: (() => void) | undefined;
      const upstream = await startUpstream(t, (req, res) => {
        req.resume();
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.write('data: {"choices":[{"delta":{"content":"one"}}]}\n\n');
        more = () => res.end('data: [DONE]\n\n');
      });
      const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
      const url = `http://127.0.0.1:${await start(t, gate.port)}`;
      const stream = await openStream(`${url}/v1/chat/completions`, { headers, body: { ...chat, stream: true } });
      // The second event is made only when the first has come.
      await until(() => stream.events.length === 1);
      more?.();
      await stream.done;
      assert.deepEqual([stream.events.at(-1)?.data, stream.complete], ['[DONE]', true]);
    });

    it('a client that leaves ends the work upstream', async (t) => {
      let left = false;
      const upstream = await startUpstream(t, (req, res) => {
        req.resume();
        res.on('close', () => (left = true));
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.write('data: {"choices":[{"delta":{"content":"one"}}]}\n\n');
      });
      const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
      const url = `http://127.0.0.1:${await start(t, gate.port)}`;
      const stream = await openStream(`${url}/v1/chat/completions`, { headers, body: { ...chat, stream: true } });
      await until(() => stream.events.length === 1);
      assert.equal(left, false);
      stream.abort();
      await until(() => left);
    });

    it('WebSockets and bodies of megabytes pass', async (t) => {
      const { newapi, url } = await behind(t, start);
      const { socket, message, closed } = await dial(`${url}/v1/realtime?model=gpt-realtime`, { headers });
      assert.match(String(await message(0)), /session\.created/);
      socket.close();
      await closed;
      const large = { ...chat, messages: [{ role: 'user', content: 'x'.repeat(6_000_000) }] };
      assert.equal((await request(`${url}/v1/chat/completions`, { headers, body: large })).status, 200);
      assert.equal(newapi.requests.find(({ method }) => method === 'POST')?.body.length, JSON.stringify(large).length);
    });
  });
}
