import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createPlain } from 'node:http';
import { spawnSync } from 'node:child_process';
import { get } from 'node:https';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createServer, heimdall, type ConfigInput, type Gate } from '../../lib/index.ts';
import { openBeside, openConfigured } from '../../lib/server/admin.ts';
import { openStream, request } from '../support/client.ts';
import { recorder, startGate, temporary, type Recorder } from '../support/gate.ts';
import { freePort } from '../support/ports.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const carrying = { Authorization: `Bearer ${token}` };
const free = '127.0.0.1:0';
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

interface Made {
  readonly gate: Gate;
  readonly log: Recorder;
}

function make(t: TestContext, admin: NonNullable<ConfigInput['admin']>, config: ConfigInput = {}): Made {
  const log = recorder();
  const gate = heimdall({ ...config, admin: { token, ...admin }, llm: { priceSource: 'none', healthCheck: { enabled: false } }, logging: { file: false, level: 'silent' }, audit: { path: `${temporary(t)}/a.db` } }, { log });
  t.after(() => gate.close({ timeout: 0 }));
  return { gate, log };
}

/** A server that holds a port of 127.0.0.1. */
async function holder(t: TestContext): Promise<number> {
  return (await startUpstream(t)).port;
}

describe('the configured address', () => {
  it('is opened once, and closed with the gate', async (t) => {
    const { gate } = make(t, { listen: free });
    const url = await openConfigured(gate);
    assert.equal(await openConfigured(gate), url);
    assert.match(String(url), /^http:\/\/127\.0\.0\.1:\d+\/heimdall\/api$/);
    assert.equal((await request(`${url}/health`, { headers: carrying })).status, 200);
    assert.equal((await request(`${url}/health`)).status, 401);
    await gate.close();
    await assert.rejects(request(`${url}/health`), { code: 'ECONNREFUSED' });
  });

  it('may be of IPv6, and by name', async (t) => {
    for (const [listen, form] of [['[::1]:0', /^http:\/\/\[::1\]:\d+\/ops\/api$/], ['localhost:0', /^http:\/\/localhost:\d+\/ops\/api$/]] as const) {
      const url = await openConfigured(make(t, { listen, path: '/ops' }).gate);
      assert.match(String(url), form);
      assert.equal((await request(`${url}/health`, { headers: carrying })).status, 200);
    }
  });

  it('speaks HTTPS to other machines where there is a certificate, so that the token is not read on the way', { skip: noOpenssl }, async (t) => {
    const at = temporary(t);
    const tls = { certPath: join(at, 'cert.pem'), keyPath: join(at, 'key.pem') };
    spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=a', '-keyout', tls.keyPath, '-out', tls.certPath]);
    assert.match(String(await openConfigured(make(t, { listen: free }, { server: { tls } }).gate)), /^http:/);
    const url = String(await openConfigured(make(t, { listen: '0.0.0.0:0' }, { server: { tls } }).gate));
    assert.match(url, /^https:\/\/0\.0\.0\.0:/);
    const status = await new Promise((resolve, reject) => {
      get(url.replace('0.0.0.0', '127.0.0.1') + '/health', { headers: carrying, rejectUnauthorized: false, agent: false }, (message) => resolve(message.resume().statusCode)).on('error', reject);
    });
    assert.equal(status, 200);
  });

  it('is an error when it is taken or of another machine', async (t) => {
    const taken = `127.0.0.1:${await holder(t)}`;
    await assert.rejects(openConfigured(make(t, { listen: taken }).gate), { message: `admin.listen: expected an address of this machine with a free port, got ${taken} (EADDRINUSE). Example: 127.0.0.1:8001` });
    await assert.rejects(openConfigured(make(t, { listen: '192.0.2.1:80' }).gate), /EADDRNOTAVAIL/);
  });

  it('comes with a server made by createServer, which says when it cannot be had', async (t) => {
    const { gate } = await startGate(t, { admin: { token, listen: free } });
    assert.equal((await request(`${String(await openConfigured(gate))}/health`, { headers: carrying })).status, 200);
    const server = createServer(make(t, { listen: `127.0.0.1:${await holder(t)}` }).gate);
    server.listen(0, '127.0.0.1');
    const [error] = (await once(server, 'error')) as [Error];
    assert.match(error.message, /^admin\.listen: /);
  });

  it('of a host application\'s own server is not opened, which the log says', async (t) => {
    const { gate, log } = make(t, { listen: free });
    gate.attach(createPlain());
    assert.deepEqual(log.named('attach.limited').at(-1), { setting: 'admin.listen', effect: 'only a server made by createServer brings it', fix: 'createServer(gate), or mount gate.admin' });
  });

  it('is not opened without a token, or when switched off', async (t) => {
    for (const admin of [{ token: null, listen: free }, { listen: false }, {}] as const) assert.equal(await openConfigured(make(t, admin).gate), null);
  });
});

describe('the port after the gate\'s', () => {
  it('is taken on this machine alone, unless the configuration says otherwise', async (t) => {
    const { gate, log } = make(t, {});
    const url = await openBeside(gate, (await freePort()) - 1) ?? '';
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/heimdall\/api$/);
    assert.equal((await request(`${url}/health`, { headers: carrying })).status, 200);
    assert.deepEqual(log.named('admin.not_listening'), []);
    for (const admin of [{ token: null }, { listen: false }, { listen: free }] as const) assert.equal(await openBeside(make(t, admin).gate, 1), null);
  });

  it('that cannot be had is a warning, and keeps the API from everybody else all the same', async (t) => {
    const port = await holder(t);
    const upstream = await startUpstream(t, (_req, res) => void res.end('the upstream'));
    for (const taken of [port, 65_536]) {
      const { gate, url, log } = await startGate(t, { newapi: { baseUrl: upstream.url }, admin: { token } });
      assert.equal(await openBeside(gate, taken - 1), null);
      const [warning] = log.named('admin.not_listening');
      assert.deepEqual([warning?.['address'], warning?.['fix']], [`127.0.0.1:${taken}`, 'set admin.listen']);
      assert.equal((await request(`${url}/heimdall/api/health`, { headers: carrying })).status, 200);
      assert.equal((await request(`${url}/heimdall/api/health`, { headers: { ...carrying, 'X-Forwarded-For': '192.0.2.1' } })).text, 'the upstream');
    }
  });
});

describe('while the API has an address of its own', () => {
  it('the gate\'s port has it for callers on this machine alone; to others nothing is there', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => void res.end('the upstream'));
    const { gate, url } = await startGate(t, { newapi: { baseUrl: upstream.url }, admin: { token, listen: free }, trustProxy: ['loopback'] });
    await openConfigured(gate);
    const ask = async (from: string | null): Promise<string> => (await request(`${url}/heimdall/api/health`, { headers: { ...carrying, ...(from === null ? {} : { 'X-Forwarded-For': from }) } })).text;
    assert.match(await ask(null), /"status":"healthy"/);
    assert.match(await ask('127.0.0.1'), /"status":"healthy"/);
    for (const address of ['192.0.2.1', '10.0.0.1', '2001:db8::1', '127.0.0.1, 192.0.2.1']) assert.equal(await ask(address), 'the upstream', address);
  });

  it('the gate\'s port has it for everybody with the token where none is wanted', async (t) => {
    const { url } = await startGate(t, { admin: { token, listen: false } });
    assert.equal((await request(`${url}/heimdall/api/health`, { headers: { ...carrying, 'X-Forwarded-For': '192.0.2.1' } })).status, 200);
  });

  it('a drain ends its streams and closes it', async (t) => {
    const { gate } = make(t, { listen: free });
    const url = String(await openConfigured(gate));
    const stream = await openStream(`${url}/events`, { headers: carrying });
    await gate.close({ timeout: 5000 });
    await stream.done;
    assert.equal(stream.complete, true);
  });
});
