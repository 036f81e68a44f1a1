import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as openSecure } from 'node:https';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { chromium } from 'playwright-core';
import { loadConfig, type ConfigInput } from '../../lib/index.ts';
import { startHttp3 } from '../../lib/server/http3.ts';
import { authority, noOpenssl, type Certificate } from '../support/authority.ts';
import { program } from '../support/browser.ts';
import { closing, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { startNewapi } from '../support/newapi.ts';
import { accessRecords } from '../support/records.ts';
import { freePort } from '../support/ports.ts';
import { shared } from '../support/shared.ts';
import { startStandalone } from '../support/standalone.ts';
import { startUpstream } from '../support/upstream.ts';

const noCaddy = noOpenssl || (spawnSync('caddy', ['version']).status === 0 ? false : 'caddy is not installed');
const options = { skip: noCaddy };
const issuer = shared(async (scope) => Promise.resolve(authority(scope)));

interface Scene {
  readonly gate: RunningGate;
  readonly udp: number;
  readonly certificate: Certificate;
}

async function scene(t: TestContext, baseUrl: string, config: ConfigInput = {}, engine = 'caddy'): Promise<Scene> {
  const certificate = (await issuer()).issue('DNS:localhost', 'IP:127.0.0.1');
  const udp = await freePort();
  const { certPath, keyPath } = certificate;
  const gate = await startGate(t, { audit: false, ...config, newapi: { baseUrl }, server: { tls: { certPath, keyPath }, http3: { enabled: true, port: udp, engine } } }, { standalone: true, environment: false });
  await startHttp3(gate.gate);
  return { gate, udp, certificate };
}

/** Status and `Alt-Svc` over TCP. */
async function overTcp(port: number): Promise<readonly [number | undefined, string | undefined]> {
  const [answer] = (await once(openSecure({ port, host: '127.0.0.1', path: '/api/a', rejectUnauthorized: false, agent: false }).end(), 'response')) as [IncomingMessage];
  answer.resume();
  return [answer.statusCode, answer.headers['alt-svc']];
}

const childrenOf = (pid: number): number[] => spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean).map(Number);
const isEngine = (pid: number): boolean => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('caddy\0');
const enginesOf = (pid: number): number[] => childrenOf(pid).flatMap(childrenOf).filter(isEngine);

test('Chromium speaks HTTP/3 with the gate, over a stream and a reload, and after the engine was killed and the certificate renewed', { skip: noCaddy || (program === undefined && 'there is no Chromium') }, async (t) => {
  let finish: (() => void) | null = null;
  const upstream = await startUpstream(t, (req, res) => {
    if (req.url === '/api/long') {
      finish = () => res.end('data: 2\n\n');
      return void res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    }
    if (req.url !== '/api/live') return void res.writeHead(200, { 'content-type': 'text/html' }).end(`<p id=at>${String(req.headers['x-forwarded-for'])}</p>`);
    res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    setTimeout(() => res.end('data: 2\n\n'), 100);
  });
  const lines = accessRecords(t);
  const { gate, udp, certificate } = await scene(t, upstream.url, { logging: { ...lines.logging, format: 'combined' }, trustProxy: [] });
  await until(async () => (await overTcp(gate.port))[1] === `h3=":${udp}"; ma=86400`);
  const next = (await issuer()).issue('DNS:localhost');
  const pageTrusting = async ({ cert }: Certificate) => {
    const pin = createHash('sha256').update(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
    const browser = await chromium.launch({ executablePath: program as string, args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP localhost 127.0.0.1', `--origin-to-force-quic-on=localhost:${udp}`, `--ignore-certificate-errors-spki-list=${pin}`] });
    t.after(() => browser.close());
    return browser.newPage();
  };
  const page = await pageTrusting(certificate);
  const url = `https://localhost:${udp}/api/page`;
  const protocol = (): Promise<unknown> => page.evaluate('performance.getEntriesByType("navigation")[0].nextHopProtocol');
  await page.goto(url);
  assert.equal(await page.textContent('#at'), '127.0.0.1');
  assert.equal(await protocol(), 'h3');
  assert.equal(await page.evaluate('fetch("/api/live").then((answer) => answer.text())'), 'data: 1\n\ndata: 2\n\n');
  await page.reload();
  assert.equal(await protocol(), 'h3');
  assert.match(await until(() => (existsSync(lines.logging.file) ? readFileSync(lines.logging.file, 'latin1') : '')), /^127\.0\.0\.1 .*"GET \/api\/page HTTP\/3\.0" 200/m);
  const [engine = 0] = enginesOf(process.pid);
  process.kill(engine, 'SIGKILL');
  await until(() => gate.log.named('engine.up').length === 1);
  await until(() => page.goto(url).then(() => true, () => false));
  const stream = page.evaluate('fetch("/api/long").then((answer) => answer.text())');
  await until(() => finish !== null);
  copyFileSync(next.certPath, certificate.certPath);
  copyFileSync(next.keyPath, certificate.keyPath);
  await until(() => gate.log.named('certificate.renewed').length > 0);
  // New connections get the new one, and none that is open ends for it.
  assert.equal((await (await pageTrusting(next)).goto(url))?.status(), 200);
  (finish as (() => void) | null)?.();
  assert.equal(await stream, 'data: 1\n\ndata: 2\n\n');
  assert.equal(gate.log.named('certificate.renewed').length, 1);
});

test('TCP goes on while the engine is killed again and again, and Alt-Svc says where HTTP/3 is', options, async (t) => {
  const upstream = await startUpstream(t, (_req, res) => void res.end('ok'));
  const { gate, udp } = await scene(t, upstream.url);
  const announced = `h3=":${udp}"; ma=86400`;
  let isOver = false;
  const asked = (async () => {
    const seen = new Set<string>();
    while (!isOver) seen.add((await overTcp(gate.port)).join());
    return seen;
  })();
  for (let nth = 0; nth < 3; nth++) {
    await until(async () => (await overTcp(gate.port))[1] === announced);
    const [engine = 0] = enginesOf(process.pid);
    // The last hangs.
    process.kill(engine, nth < 2 ? 'SIGKILL' : 'SIGSTOP');
    await until(async () => (await overTcp(gate.port))[1] === 'clear');
    await until(() => gate.log.named('engine.up').length === nth + 1);
  }
  isOver = true;
  assert.deepEqual([...(await asked)].sort(), ['200,clear', `200,${announced}`]);
  assert.equal(gate.log.named('engine.down').length, 3);
  await gate.gate.close({ timeout: 1000 });
  await until(() => enginesOf(process.pid).length === 0);
});

test('an engine that is not there is told once, and TCP goes on', { skip: noOpenssl }, async (t) => {
  const upstream = await startUpstream(t, (_req, res) => void res.end('ok'));
  const { gate } = await scene(t, upstream.url, {}, '/none/caddy');
  const [told] = await until(() => (gate.log.named('engine.down').length > 0 ? gate.log.named('engine.down') : undefined));
  assert.match(String(told?.['reason']), /is not there/);
  assert.deepEqual(await overTcp(gate.port), [200, 'clear']);
  assert.equal(gate.log.named('engine.down').length, 1);
});

test('the engine ends with a gate that is killed', options, async (t) => {
  const { url } = closing(t, await startNewapi());
  const { certPath, keyPath } = (await issuer()).issue('DNS:localhost');
  const standalone = await startStandalone(url, `server:\n  tls: {cert_path: ${certPath}, key_path: ${keyPath}}\n  http3: {enabled: true, port: ${await freePort()}}\nlogging: {file: false}\n`);
  t.after(() => standalone.kill());
  const [engine = 0] = await until(() => (enginesOf(standalone.pid).length > 0 ? enginesOf(standalone.pid) : undefined));
  await standalone.kill();
  await until(() => !isEngine(engine));
});

test('keys that Caddy cannot be told are refused by name', { skip: noOpenssl }, async (t) => {
  const path = join(temporary(t), 'heimdall.yaml');
  const { certPath, keyPath } = (await issuer()).issue('DNS:localhost');
  const rows: readonly (readonly [string, RegExp | null])[] = [
    ['', null], ['idle_timeout: 30s, max_bi_streams_concurrent: 100, max_uni_streams_concurrent: 100, max_stream_receive_window: 6MB, max_connection_receive_window: 15MB, max_0rtt_size: 16KB, enable_0rtt: false, allow_0rtt_replay: false', null],
    ['idle_timeout: 10s', /server\.http3\.idle_timeout: expected 30s, which Caddy has fixed, got "10s"/], ['max_bi_streams_concurrent: 7', /max_bi_streams_concurrent: expected 100/], ['max_uni_streams_concurrent: 7', /max_uni_streams_concurrent/],
    ['max_stream_receive_window: 1MB', /max_stream_receive_window: expected 6MB/], ['max_connection_receive_window: 1MB', /max_connection_receive_window: expected 15MB/], ['udp_receive_buffer_size: 900MB', /udp_receive_buffer_size: expected at most .*rmem_default/],
    ['enable_0rtt: true', /enable_0rtt: expected false: Caddy does not tell/], ['allow_0rtt_replay: true', /allow_0rtt_replay: expected false/], ['max_0rtt_size: soon', /max_0rtt_size: expected a size/],
    ['tls_cert_file: /none/a.crt, tls_key_file: /none/a.key', /tls_cert_file: expected a readable file/], [`tls_cert_file: ${certPath}`, /tls_key_file: expected certificate and key together/], ['port: 8000', /port: expected another port than server\.port/],
    ['port: 0', /port: expected a whole number from 1/],
  ];
  for (const [keys, said] of rows) {
    const yaml = `server: {tls: {cert_path: ${certPath}, key_path: ${keyPath}}, http3: {enabled: true${keys === '' ? '' : `, ${keys}`}}}`;
    writeFileSync(path, yaml, { mode: 0o600 });
    const load = (): unknown => loadConfig(path, {});
    if (said === null) load();
    else assert.throws(load, said, keys);
  }
});
