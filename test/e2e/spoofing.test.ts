import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as open, type IncomingMessage } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import type { Core } from '../../lib/request/context.ts';
import { internalsOf } from '../../lib/gateway.ts';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, until } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { noNginx, startNginx } from '../support/nginx.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { startUpstream } from '../support/upstream.ts';

/** Everybody here is on this machine: the client, nginx and the CDN's edge have loopback addresses of their own. */
const client = '127.0.0.9';
const nginx = '127.0.0.1';
const edge = '127.0.0.4';
/** A client of the CDN, as its edge sees it. */
const visitor = '203.0.113.77';

type Lines = readonly (readonly [name: string, value: string])[];

interface Scene {
  readonly newapi: Newapi;
  readonly records: Records;
  /** The gate's own port. */
  readonly gate: number;
  /** The forwarded chain of every request, as records have it. */
  readonly chains: string[];
}

async function start(t: TestContext, config: ConfigInput): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const records = accessRecords(t);
  const { port, gate } = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, logging: records.logging, ...config });
  const chains: string[] = [];
  (internalsOf(gate).core as Core).finishers.push(({ forwardedFor }) => void chains.push(forwardedFor));
  return { newapi, records, gate: port, chains };
}

/** Sends headers as they stand, from an address of this machine. */
async function send(port: number, lines: Lines, from: string, method = 'POST', path = '/v1/chat/completions'): Promise<number | undefined> {
  const body = method === 'POST' ? '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}' : '';
  const headers = ['Host', 'gate.test', 'Authorization', `Bearer ${DEMO_KEY}`, ...(body && ['Content-Type', 'application/json', 'Content-Length', String(body.length)]), ...lines.flat()];
  const req = open({ host: '127.0.0.1', port, method, path, localAddress: from, agent: false, headers });
  req.end(body);
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  res.resume();
  await once(res, 'end');
  return res.statusCode;
}

/** As Cloudflare does it: who connected, in a header of its own, whatever the client wrote there; the chain gets one longer. */
async function startEdge(t: TestContext, to: number): Promise<number> {
  const { port } = await startUpstream(t, (req, res) => {
    const chain = req.headers['x-forwarded-for'];
    const { 'x-visitor': seen = visitor, 'cf-connecting-ip': _forged, ...headers } = req.headers;
    const onward = open({ host: '127.0.0.1', port: to, method: req.method, path: req.url, localAddress: edge, agent: false, headers: { ...headers, 'cf-connecting-ip': String(seen), 'x-forwarded-for': chain === undefined ? String(seen) : `${String(chain)}, ${String(seen)}`, 'cf-ray': '1' } });
    onward.on('response', (answer) => answer.pipe(res.writeHead(answer.statusCode ?? 502, answer.headers)));
    req.pipe(onward);
  });
  return port;
}

/** Names by which an upstream could be told an address that is not the gate's word. */
const believed = /^(?:forwarded.*|x-forwarded.*|.*real-?ip.*|.*client-?ip.*|.*connecting-?ip.*|.*remote-?(?:ip|addr).*|x-original.*|via-client|x-host)$/i;

/** NewAPI, which believes the first address it is told, was told this one alone, by the gate's own names. */
function assertToldOnly(ip: string, { newapi }: Scene): void {
  const { rawHeaders } = newapi.requests.at(-1) as Newapi['requests'][number];
  const told = rawHeaders.flatMap((name, at) => (at % 2 === 0 && believed.test(name.replaceAll('_', '-')) ? [`${name.toLowerCase()}: ${rawHeaders[at + 1]}`] : []));
  assert.deepEqual(told.toSorted(), [`x-forwarded-for: ${ip}`, 'x-forwarded-host: gate.test', 'x-forwarded-port: 80', 'x-forwarded-proto: http', `x-real-ip: ${ip}`]);
}

/** What clients write to be somebody else. */
const forgeries: Readonly<Record<string, Lines>> = {
  'nothing': [],
  'X-Forwarded-For': [['X-Forwarded-For', '198.51.100.1']],
  'X-Forwarded-For with a trusted address last': [['X-Forwarded-For', `198.51.100.1, ${nginx}`]],
  'X-Forwarded-For with the edge last': [['X-Forwarded-For', `198.51.100.1, ${edge}, ${nginx}`]],
  'several lines of X-Forwarded-For': [['X-Forwarded-For', '198.51.100.1'], ['x-forwarded-for', '198.51.100.2'], ['X-FORWARDED-FOR', nginx]],
  'X-Forwarded-For with what is no address': [['X-Forwarded-For', 'unknown, _hidden, 198.51.100.1']],
  'X-Forwarded-For of a thousand entries': [['X-Forwarded-For', Array.from({ length: 1000 }, () => nginx).join(', ')]],
  'X-Forwarded-For mapped (::ffff:)': [['X-Forwarded-For', `::ffff:198.51.100.1, ::ffff:${nginx}`]],
  'X-Forwarded-For mapped in hex': [['X-Forwarded-For', '::ffff:c633:6401, ::ffff:7f00:1']],
  'X-Forwarded-For with zones': [['X-Forwarded-For', 'fe80::1%eth0, ::1%lo, [fe80::2%25eth0]:443']],
  'X-Forwarded-For with ports': [['X-Forwarded-For', `198.51.100.1:80, [2001:db8::1]:443, ${nginx}:1`]],
  'X-Real-IP': [['X-Real-IP', '198.51.100.1']],
  'X-Real-IP mapped': [['X-Real-IP', '::ffff:198.51.100.1']],
  'Forwarded': [['Forwarded', 'for=198.51.100.1;proto=https;by=127.0.0.1']],
  'Forwarded with brackets and a zone': [['Forwarded', 'for="[fe80::1%eth0]:80", for="_hidden"']],
  'CF-Connecting-IP': [['CF-Connecting-IP', '198.51.100.1']],
  'CF-Connecting-IP twice': [['CF-Connecting-IP', '198.51.100.1'], ['cf-connecting-ip', '198.51.100.2']],
  'CF-Connecting-IPv6 and its kin': [['CF-Connecting-IPv6', '2001:db8::1'], ['CF-Pseudo-IPv4', '198.51.100.1'], ['True-Client-IP', '198.51.100.1'], ['Fastly-Client-IP', '198.51.100.1']],
  'names with underscores': [['X_Forwarded_For', '198.51.100.1'], ['X_Real_IP', '198.51.100.1'], ['cf_connecting_ip', '198.51.100.1']],
  'names other servers know': [['X-Client-IP', '198.51.100.1'], ['X-Cluster-Client-IP', '198.51.100.1'], ['X-Original-Forwarded-For', '198.51.100.1'], ['WL-Proxy-Client-IP', '198.51.100.1'], ['X-Remote-Addr', '198.51.100.1']],
  'a chain that Connection names for one hop': [['Connection', 'X-Forwarded-For, X-Real-IP'], ['X-Forwarded-For', '198.51.100.1']],
  'everything at once': [['X-Forwarded-For', '198.51.100.1'], ['X-Real-IP', '198.51.100.2'], ['Forwarded', 'for=198.51.100.3'], ['CF-Connecting-IP', '198.51.100.4'], ['True-Client-IP', '198.51.100.5']],
};

const asNginxIsSetUp = ['proxy_set_header Host $http_host', 'proxy_set_header X-Real-IP $remote_addr', 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for', 'proxy_set_header X-Forwarded-Proto $scheme'];

/** Sends every forgery on one way and compares the address the gate and NewAPI took, and the chain that was kept. */
async function assertFooledByNone(scene: Scene, port: number, expected: string): Promise<void> {
  for (const [what, lines] of Object.entries(forgeries)) {
    assert.equal(await send(port, lines, client), 200, what);
    assertToldOnly(expected, scene);
    assert.equal(await send(port, lines, client, 'GET', '/api/status'), 200, what);
    assertToldOnly(expected, scene);
  }
  const lines = await scene.records.atLeast(2 * Object.keys(forgeries).length);
  assert.deepEqual(new Set(lines.map(({ ip }) => ip)), new Set([expected]));
}

describe('whatever a client writes, its address is right and NewAPI hears no other', () => {
  it('from a peer nobody trusts', async (t) => {
    const scene = await start(t, { trustProxy: [nginx], clientIpHeader: 'cf-connecting-ip' });
    await assertFooledByNone(scene, scene.gate, client);
  });

  it('from a peer where nobody is trusted', async (t) => {
    const scene = await start(t, { trustProxy: [] });
    await assertFooledByNone(scene, scene.gate, client);
  });

  it('behind nginx', { skip: noNginx }, async (t) => {
    const scene = await start(t, { trustProxy: [nginx] });
    const { port } = await startNginx(t, scene.gate, asNginxIsSetUp);
    await assertFooledByNone(scene, port, client);
  });

  it('behind nginx that names the client in X-Real-IP alone', { skip: noNginx }, async (t) => {
    const scene = await start(t, { trustProxy: [nginx], clientIpHeader: 'x-real-ip' });
    const { port } = await startNginx(t, scene.gate, ['proxy_set_header Host $http_host', 'proxy_set_header X-Real-IP $remote_addr']);
    await assertFooledByNone(scene, port, client);
  });

  it('behind an nginx behind another', { skip: noNginx }, async (t) => {
    const scene = await start(t, { trustProxy: [nginx, '127.0.0.2'] });
    const inner = await startNginx(t, scene.gate, asNginxIsSetUp, '127.0.0.2');
    const outer = await startNginx(t, inner.port, asNginxIsSetUp);
    await assertFooledByNone(scene, outer.port, client);
  });

  it('behind a CDN that names the client in a header of its own', async (t) => {
    const scene = await start(t, { trustProxy: [edge], clientIpHeader: 'cf-connecting-ip' });
    await assertFooledByNone(scene, await startEdge(t, scene.gate), visitor);
  });

  it('behind a CDN by the chain alone', async (t) => {
    const scene = await start(t, { trustProxy: [edge] });
    await assertFooledByNone(scene, await startEdge(t, scene.gate), visitor);
  });

  it('behind a CDN and nginx', { skip: noNginx }, async (t) => {
    for (const clientIpHeader of ['cf-connecting-ip', null]) {
      const scene = await start(t, { trustProxy: [nginx, edge], clientIpHeader });
      const { port } = await startNginx(t, scene.gate, asNginxIsSetUp);
      await assertFooledByNone(scene, await startEdge(t, port), visitor);
    }
  });

  it('past the CDN, straight to an nginx that passes its header on, where the chain decides', { skip: noNginx }, async (t) => {
    const scene = await start(t, { trustProxy: [nginx, edge] });
    const { port } = await startNginx(t, scene.gate, asNginxIsSetUp);
    await assertFooledByNone(scene, port, client);
  });
});

describe('an address', () => {
  it('is written one way, whatever way a trusted proxy writes it', async (t) => {
    const scene = await start(t, { trustProxy: [edge], clientIpHeader: 'cf-connecting-ip' });
    const port = await startEdge(t, scene.gate);
    const spellings: Readonly<Record<string, string>> = {
      '203.0.113.9': '203.0.113.9',
      '::ffff:203.0.113.9': '203.0.113.9',
      '::FFFF:cb00:7109': '203.0.113.9',
      '203.0.113.9:4711': '203.0.113.9',
      '2001:DB8:0:0:0:0:0:1': '2001:db8::1',
      '[2001:db8::1]:443': '2001:db8::1',
      'fe80::1%eth0': 'fe80::1',
      '[fe80::1%25eth0]': 'fe80::1',
      // Nobody's address: the proxy that says so is the last that is known.
      unknown: edge,
      '203.0.113.256': edge,
      '203.0.113.9, 203.0.113.8': edge,
    };
    for (const [written, ip] of Object.entries(spellings)) {
      assert.equal(await send(port, [['X-Visitor', written]], client), 200, written);
      assertToldOnly(ip, scene);
    }
  });

  it('of a peer is written without the form of a socket for both families', async (t) => {
    const newapi = closing(t, await startNewapi());
    const { server } = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, trustProxy: [] });
    server.close();
    await once(server, 'close');
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    server.listen(0, '::');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    assert.equal(await send(port, [['X-Forwarded-For', '198.51.100.1']], client), 200);
    assert.equal(newapi.requests.at(-1)?.headers['x-forwarded-for'], client);
  });

  it('keeps its whole chain for the record', async (t) => {
    const scene = await start(t, { trustProxy: [edge] });
    const { gate, chains } = scene;
    assert.equal(await send(await startEdge(t, gate), [['X-Forwarded-For', '198.51.100.1, unknown']], client), 200);
    assert.equal(await send(gate, [['X-Forwarded-For', '198.51.100.1']], client), 200);
    assert.equal(await send(gate, [['Forwarded', 'for=198.51.100.1']], client), 200);
    assert.equal(await send(gate, [], client), 200);
    await until(() => chains.length === 4);
    assert.deepEqual(chains, [`198.51.100.1, unknown, ${visitor}, ${edge}`, `198.51.100.1, ${client}`, `for=198.51.100.1, ${client}`, '']);
  });
});
