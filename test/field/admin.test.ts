import '../support/node.ts';
import assert from 'node:assert/strict';
import { createServer, request as rawRequest } from 'node:http';
import { after, before, describe, it } from 'node:test';
import express from 'express';
import { openConfigured } from '../../lib/server/admin.ts';
import { listening } from '../admin/harness.ts';
import { request, until, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const headers = { Authorization: `Bearer ${token}` };
const ends: (() => unknown)[] = [];
const scope: TestLike = { after: (end) => void ends.push(end) };

/** Of the pages that are no route of the API. */
const route = 'other';

let running: RunningGate;
/** The API at each of its mounts: an address of its own, the gate's port for this machine, below a path of a host, behind a host's router. */
let mounts: readonly (readonly [name: string, url: string])[];

before(async () => {
  const upstream = await startUpstream(scope, (_req, res) => void res.end('ok'));
  running = await startGate(scope, { newapi: { baseUrl: upstream.url }, admin: { token, listen: '127.0.0.1:0' } });
  const own = (await openConfigured(running.gate)) as string;
  const app = express();
  app.use('/ops', running.gate.admin);
  app.use('/deep/er', express.Router().use('/still', running.gate.admin));
  const host = await listening(scope, createServer(app));
  mounts = [['own address', own], ['gate', `${running.url}/heimdall/api`], ['host', `${host}/ops/api`], ['router of a host', `${host}/deep/er/still/api`]];
  for (let nth = 0; nth < 6; nth++) await request(`${running.url}/page/${nth}`);
  await until(async () => (await pages(own, 'limit=1000')).length === 6);
});
after(async () => {
  for (const end of ends.reverse()) await end();
});

/** The paths of all records that a query finds, page by page. */
async function pages(url: string, query: string): Promise<string[]> {
  const found: string[] = [];
  let cursor = '';
  for (let page = 0; page < 30; page++) {
    const answer = await request(`${url}/logs?${query}${cursor}`, { headers });
    assert.equal(answer.status, 200, answer.text);
    const { logs, next } = answer.json<{ logs: { request_path: string }[]; next: number | null }>();
    found.push(...logs.map(({ request_path }) => request_path).filter((path) => path.startsWith('/page/')));
    if (next === null) return found;
    cursor = `&cursor=${next}`;
  }
  throw new Error('the pages have no end');
}

describe('parameters of the admin API', () => {
  it('work at every mount, and cursors end', async () => {
    const all = ['/page/0', '/page/1', '/page/2', '/page/3', '/page/4', '/page/5'];
    for (const [name, url] of mounts) {
      for (const limit of [1, 2, 3, 5, 6, 7, 1000]) {
        const [newest, oldest] = [await pages(url, `limit=${limit}&route=${route}`), await pages(url, `limit=${limit}&route=${route}&order=oldest`)];
        assert.deepEqual([newest.toReversed(), oldest], [all, all], `${name}, ${limit} a page`);
      }
      // Each page is a request with a record of its own, which a walk from the oldest would never overtake.
      const walk = await request(`${url}/logs?limit=1&order=oldest&from=1h`, { headers });
      const [, last] = String(walk.json<{ next: string }>().next).split('_');
      const end = await request(`${url}/logs?limit=1&order=oldest&cursor=${Number(last) - 1}_${last}`, { headers });
      assert.deepEqual([end.json<{ logs: unknown[] }>().logs.length, end.json<{ next: null }>().next], [1, null], name);
      assert.deepEqual(await pages(url, 'status=418'), [], name);
      const { by, groups } = (await request(`${url}/logs/aggregate?by=route&page_size=1`, { headers })).json<{ by: string; groups: unknown[] }>();
      assert.deepEqual([by, groups.length], ['route', 1], name);
      assert.equal((await request(`${url}/logs/frequency?interval=3600`, { headers })).json<{ interval: number }>().interval, 3600, name);
    }
  });

  it('take yes or no as true or false alone', async () => {
    const [[, url]] = mounts as [readonly [string, string]];
    const rows = [['logs?own=maybe', 'own'], ['logs?own=', 'own'], ['logs?count=1', 'count'], ['logs?count=yes', 'count'], ['logs?grep=x&own=no', 'own'], ['logs?grep=x&count=true', 'count'], ['logs?own=false&count=true', null], ['logs?grep=x&own=false&count=false', null]] as const;
    for (const [path, name] of rows) {
      const answer = await request(`${url}/${path}`, { headers });
      assert.deepEqual([answer.status, name === null || answer.text.includes(`${name}: expected`)], [name === null ? 200 : 400, true], `${path}: ${answer.text}`);
    }
  });

  it('that nobody knows are a 400 that names them, at every mount and resource', async () => {
    const rows: readonly (readonly [path: string, name: string])[] = [
      ['logs?limt=1', 'limt'], ['logs?limit=1&offset=3', 'offset'], ['logs/aggregate?limit=1', 'limit'], ['logs/frequency?page=1', 'page'], ['keys?name=a', 'name'], ['keys/team?verbose', 'verbose'], ['bans?kind=key', 'kind'],
      ['targets?x=1', 'x'], ['queue?concurrency=5', 'concurrency'], ['health?deep=1', 'deep'], ['config?show=secrets', 'show'], ['events?since=1', 'since'], ['logs/0190-none?body=1', 'body'],
    ];
    for (const [mount, url] of mounts) {
      for (const [path, name] of rows) {
        const answer = await request(`${url}/${path}`, { headers });
        const { error } = answer.json<{ error: { message: string } }>();
        assert.deepEqual([answer.status, error.message.startsWith(`${name}: expected`)], [400, true], `${mount} ${path}: ${answer.text}`);
        assert.equal((await request(`${url}/${path}`)).status, 401, `${mount} ${path}`);
      }
      assert.equal((await request(`${url}/queue?concurrency=5`, { method: 'PATCH', headers, body: { concurrency: 7 } })).status, 400, mount);
      assert.deepEqual([(await request(`${url}/health?`, { headers })).status, (await request(`${url}/bans`, { headers })).status], [200, 200], mount);
    }
  });
});

/** Asks with a Host of its own, as a page does whose name was made to stand for this machine. */
function askAs(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    rawRequest(url, { headers: { ...headers, Host: host } }, (res) => resolve((res.resume(), res.statusCode ?? 0))).on('error', reject).end();
  });
}

it('the admin API on a loopback address refuses every name that is not one of this machine', async () => {
  const rows: readonly (readonly [host: string, ok: boolean])[] = [
    ['evil.example', false], ['evil.example:8001', false], ['localhost.evil.example', false], ['127.0.0.1.nip.io:80', false], ['10.0.0.1', false], ['[::2]:8001', false], ['0x7f000001', false], ['192.168.0.1:8001', false],
    ['localhost', true], ['LOCALHOST:9999', true], ['localhost.:8001', true], ['127.0.0.1', true], ['127.0.0.1:1', true], ['[::1]:8001', true], ['127.9.9.9', true],
  ];
  for (const [mount, url] of mounts.slice(0, 2)) {
    for (const [host, ok] of rows) assert.equal(await askAs(`${url}/health`, host), ok ? 200 : 400, `${mount} ${host}`);
  }
  // A host application has names and a login of its own.
  for (const [mount, url] of mounts.slice(2)) assert.equal(await askAs(`${url}/health`, 'admin.example'), 200, mount);
});

it('the admin API at an address for a network takes the names of that network, as a container has', async (t) => {
  const { gate } = await startGate(t, { admin: { token, listen: '0.0.0.0:0' } });
  const url = ((await openConfigured(gate)) as string).replace('0.0.0.0', '127.0.0.1');
  for (const host of ['heimdall:8001', 'localhost:8001', '172.18.0.2']) assert.equal(await askAs(`${url}/health`, host), 200, host);
});
