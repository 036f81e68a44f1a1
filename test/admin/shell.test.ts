import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { Shell } from '../../lib/admin/shell.ts';
import { Context } from '../../lib/request/context.ts';
import { ownRoute } from '../../lib/request/own-route.ts';
import { request } from '../support/client.ts';
import { listening, startAdmin } from './harness.ts';

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'";
const script = 'export const answer = 42;'.repeat(50);

/** The pages of a build, below `/`: `/`, `/me` and `/assets/NAME`, behind a host with policies of its own. */
async function startShell(t: TestContext): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-test-'));
  writeFileSync(join(directory, 'manifest.json'), JSON.stringify({ pages: { index: 'index.html', me: 'me.html' }, assets: { 'shell-1f.js': 'text/javascript; charset=utf-8' } }));
  writeFileSync(join(directory, 'index.html'), '<html lang="{{lang}}" data-auth="{{auth}}">');
  writeFileSync(join(directory, 'me.html'), '<html lang="{{lang}}">me');
  writeFileSync(join(directory, 'shell-1f.js'), script);
  const { core } = await startAdmin(t);
  const shell = new Shell('token', pathToFileURL(`${directory}/`));
  return listening(t, createServer((req, res) => {
    res.setHeader('Content-Security-Policy', "default-src 'self' https://host.example");
    res.setHeader('Content-Security-Policy-Report-Only', "default-src 'none'");
    const context = Object.assign(new Context(core, req, res), { route: ownRoute('/x') });
    if (req.url?.startsWith('/assets/')) shell.asset(context, req.url.slice(8));
    else shell.page(context, req.url === '/me' ? 'me' : 'index');
  }));
}

it('a page comes in the browser\'s language, with its own policy alone, and is asked for again by its tag', async (t) => {
  const url = await startShell(t);
  const page = await request(`${url}/`, { headers: { 'Accept-Language': 'zh-TW,en;q=0.5' } });
  assert.deepEqual([page.status, page.text, page.headers['content-type']], [200, '<html lang="zh-CN" data-auth="token">', 'text/html; charset=utf-8']);
  assert.deepEqual([page.headers['content-security-policy'], page.headers['content-security-policy-report-only'], page.headers['cache-control']], [policy, undefined, 'no-cache']);
  for (const [languages, lang] of [['de', 'en'], ['en;q=0.3, zh;q=0.4', 'zh-CN'], ['zh;q=0', 'en'], ['en-GB, zh', 'en']] as const) assert.match((await request(`${url}/`, { headers: { 'Accept-Language': languages } })).text, new RegExp(`lang="${lang}"`), languages);
  assert.equal((await request(`${url}/me`)).text, '<html lang="en">me');
  const again = await request(`${url}/`, { headers: { 'Accept-Language': 'zh-TW', 'If-None-Match': `W/${String(page.headers.etag)}` } });
  assert.deepEqual([again.status, again.text], [304, '']);
});

it('an asset is kept for good, packed where it may be, and no other file is served', async (t) => {
  const url = await startShell(t);
  const plain = await request(`${url}/assets/shell-1f.js`);
  assert.deepEqual([plain.text, plain.headers['cache-control'], plain.headers['content-encoding']], [script, 'public, max-age=31536000, immutable', undefined]);
  const packed = await request(`${url}/assets/shell-1f.js`, { headers: { 'Accept-Encoding': 'br, gzip' } });
  assert.deepEqual([packed.headers['content-encoding'], gunzipSync(packed.body).toString()], ['gzip', script]);
  assert.equal((await request(`${url}/assets/shell-1f.js`, { headers: { 'Accept-Encoding': 'gzip;q=0' } })).headers['content-encoding'], undefined);
  for (const name of ['manifest.json', 'index.html', '../index.html', 'shell-1f.js/', 'toString', '%2e%2e/index.html']) assert.equal((await request(url, { target: `/assets/${name}` })).status, 404, name);
});
