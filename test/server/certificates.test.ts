import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { request as openSecure } from 'node:https';
import { test } from 'node:test';
import { connect as secure, type ConnectionOptions } from 'node:tls';
import { resolveConfig } from '../../lib/config/config.ts';
import { authority, noOpenssl, type Authority } from '../support/authority.ts';
import { until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate } from '../support/gate.ts';
import { shared } from '../support/shared.ts';
import { startStandalone } from '../support/standalone.ts';
import { startSession } from '../support/tls-session.ts';
import { internalsOf } from '../../lib/gateway.ts';
import { openConfigured } from '../../lib/server/admin.ts';

const scene = shared(async (scope) => authority(scope));

interface Shown {
  readonly names: string;
  readonly version: string | null;
}

/** The names in the certificate that a client gets. */
function shown(port: number, options: ConnectionOptions): Promise<Shown> {
  return new Promise((resolve, reject) => {
    const socket = secure({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () => {
      resolve({ names: socket.getPeerX509Certificate()?.subjectAltName ?? '', version: socket.getProtocol() });
      socket.destroy();
    });
    socket.once('error', reject).once('close', () => reject(new Error('closed')));
  });
}

const pair = ({ certPath, keyPath }: ReturnType<Authority['issue']>) => ({ certPath, keyPath });

test('of several certificates a client gets that of the name it asks for, and the first without one', { skip: noOpenssl }, async (t) => {
  const { issue } = await scene();
  const [a, wild, exact, named] = [issue('DNS:a.test'), issue('DNS:*.b.test'), issue('DNS:x.b.test'), issue('DNS:*.b.test', 'DNS:other.test')];
  const { port, log } = await startGate(t, { server: { tls: [pair(a), pair(wild), { ...pair(exact), minVersion: '1.3' }, { ...pair(named), serverName: 'C.b.test' }] } });
  const rows: [ConnectionOptions, string][] = [
    [{}, 'DNS:a.test'],
    [{ servername: 'a.test' }, 'DNS:a.test'],
    [{ servername: 'Y.b.test' }, 'DNS:*.b.test'],
    [{ servername: 'x.b.test' }, 'DNS:x.b.test'],
    [{ servername: 'c.B.test' }, 'DNS:*.b.test, DNS:other.test'],
    [{ servername: 'other.test' }, 'DNS:a.test'],
    [{ servername: 'deep.y.b.test' }, 'DNS:a.test'],
    [{ servername: 'y.b.test', maxVersion: 'TLSv1.2' }, 'DNS:*.b.test'],
  ];
  for (const [options, names] of rows) assert.equal((await shown(port, options)).names, names, JSON.stringify(options));
  await assert.rejects(shown(port, { servername: 'x.b.test', maxVersion: 'TLSv1.2' }), 'below its min_version');
  const other = issue('DNS:*.b.test', 'DNS:renewed.test');
  copyFileSync(other.certPath, wild.certPath);
  copyFileSync(other.keyPath, wild.keyPath);
  await until(async () => (await shown(port, { servername: 'y.b.test' })).names === 'DNS:*.b.test, DNS:renewed.test');
  assert.deepEqual(log.named('certificate.renewed').map(({ certificate }) => certificate), [wild.certPath]);
});

test('a reload reads files that have changed once, and keeps the certificate in force where the new one has expired', { skip: noOpenssl }, async (t) => {
  const { issue } = await scene();
  const [served, next, old] = [issue('DNS:a.test'), issue('DNS:next.test'), issue('DNS:old.test')];
  const { gate, port, log } = await startGate(t, { server: { tls: pair(served) } });
  const put = (from: { readonly certPath: string; readonly keyPath: string }): void => {
    copyFileSync(from.certPath, served.certPath);
    copyFileSync(from.keyPath, served.keyPath);
  };
  const reload = (): Promise<unknown> => gate.reload(gate.config);
  put(next);
  await reload();
  await reload();
  assert.deepEqual([(await shown(port, {})).names, log.named('certificate.renewed').length], ['DNS:next.test', 1]);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 40 * 86_400_000 });
  put(old);
  await reload();
  t.mock.timers.reset();
  assert.deepEqual([(await shown(port, {})).names, log.named('certificate.refused').map(({ reason }) => String(reason).slice(0, 13))], ['DNS:next.test', ['it expired at']]);
});

test('where the first is for its server_name alone, another name is refused, and its min_version counts without a name', { skip: noOpenssl }, async (t) => {
  const { issue } = await scene();
  const { port } = await startGate(t, { server: { tls: [{ ...pair(issue('DNS:a.test')), serverName: 'a.test', minVersion: '1.3' }, pair(issue('DNS:b.test'))] } });
  assert.equal((await shown(port, { servername: 'b.test', maxVersion: 'TLSv1.2' })).names, 'DNS:b.test');
  assert.equal((await shown(port, {})).version, 'TLSv1.3');
  await assert.rejects(shown(port, { servername: 'c.test' }));
  await assert.rejects(shown(port, { servername: 'a.test', maxVersion: 'TLSv1.2' }));
  const asked = openSecure({ port, host: '127.0.0.1', path: '/health', rejectUnauthorized: false, agent: false, maxVersion: 'TLSv1.2' }).end();
  await assert.rejects(new Promise((resolve, reject) => asked.on('response', resolve).on('error', reject)));
});

test('problems of a list are told at their entry', () => {
  const tls = [{ certPath: '/none/a.crt', keyPath: '/none/a.key' }, { certPath: '/none/b.crt' }, { certPath: '/none/c.crt', keyPath: 7, min_version: '1.2' }];
  assert.throws(() => resolveConfig({ server: { tls } } as never), (error: Error) => {
    for (const place of [/server\.tls\[1\]\.keyPath: expected a path/, /server\.tls\[2\]\.keyPath: expected a path, got 7/, /server\.tls\[2\]\.min_version: unknown key/]) assert.match(error.message, place);
    return true;
  });
  assert.throws(() => resolveConfig({ server: { tls: [{ certPath: '/none/a.crt', keyPath: '/none/a.key' }] } }), /server\.tls\[0\]\.certPath: expected a readable file/);
  assert.throws(() => resolveConfig({ server: { tls: { others: [{ certPath: '/none/a.crt', keyPath: '/none/a.key' }] } } }), /server\.tls\.certPath: expected a certificate before the others/);
});

test('with client_ca_path the admin address demands a certificate, and the main port has no admin API', { skip: noOpenssl }, async (t) => {
  const { issue, caPath } = await scene();
  const stranger = authority(t).issue('DNS:admin');
  const client = issue('DNS:admin');
  const token = 'an-admin-token-of-32-characters-x';
  const { gate, port } = await startGate(t, { server: { tls: pair(issue('DNS:gate.test')) }, admin: { token, listen: '127.0.0.1:0', clientCaPath: caPath } });
  const url = new URL((await openConfigured(gate)) ?? '');
  assert.equal(internalsOf(gate).servers.size, 2);
  const ask = (at: number | string, own?: { readonly cert: string; readonly key: string }): Promise<number | undefined> => new Promise((resolve, reject) => {
    const asked = openSecure({ port: at, host: '127.0.0.1', path: '/heimdall/api/health', rejectUnauthorized: false, agent: false, headers: { Authorization: `Bearer ${token}` }, ...(own && { cert: own.cert, key: own.key }) });
    asked.on('response', (answer) => resolve(answer.resume().statusCode)).on('error', reject).end();
  });
  assert.equal(await ask(url.port, client), 200);
  await assert.rejects(ask(url.port));
  await assert.rejects(ask(url.port, stranger));
  assert.notEqual(await ask(port, client), 200);
  assert.throws(() => resolveConfig({ admin: { token, clientCaPath: caPath } }), /admin\.clientCaPath: expected server\.tls as well/);
});

test('a TLS session is resumed with the certificate under which it began, for some hours', { skip: noOpenssl }, async (t) => {
  const { issue } = await scene();
  const [served, next] = [issue('DNS:a.test'), issue('DNS:a.test')];
  const clock = fakeClock(Date.now());
  const { port } = await startGate(t, { server: { tls: pair(served) } }, { clock });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const isResumed = await startSession(port, { servername: 'a.test', maxVersion: version });
    assert.equal(await isResumed(), true);
    clock.tick(13 * 3_600_000);
    await until(async () => !(await isResumed()), 'another key');
  }
  const isResumed = await startSession(port, { servername: 'a.test' });
  copyFileSync(next.certPath, served.certPath);
  copyFileSync(next.keyPath, served.keyPath);
  await until(async () => !(await isResumed()), 'the other certificate');
});

test('a TLS session goes on in any worker', { skip: noOpenssl }, async (t) => {
  const { issue } = await scene();
  const { certPath, keyPath } = issue('DNS:a.test');
  const gate = await startStandalone('http://127.0.0.1:1', `server: { workers: 2, tls: { cert_path: ${certPath}, key_path: ${keyPath} } }\nllm: { health_check: { enabled: false }, price_source: none }\n`);
  t.after(() => gate.stop());
  for (const options of [{}, { servername: 'a.test' }, { maxVersion: 'TLSv1.2' as const }]) {
    const isResumed = await startSession(Number(new URL(gate.url).port), options);
    for (let connection = 0; connection < 12; connection++) assert.equal(await isResumed(), true, JSON.stringify(options));
  }
});
