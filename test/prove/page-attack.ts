import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { adminToken, openBrowser, pageGate, watchedPage } from '../support/browser.ts';
import { request } from '../support/client.ts';
import { DEMO_KEY } from '../support/newapi.ts';

type Row = Record<string, string | number>;

const effect = "window.owned=(window.owned||0)+1";
const bodies = [
  `<script>${effect}</script>`, `<img src=x onerror="${effect}">`, `<svg onload="${effect}">`, `<svg><script>${effect}</script></svg>`, `<iframe src="javascript:parent.${effect}">`, `<details open ontoggle="${effect}">`, `<a href="javascript:${effect}">x</a>`,
  `<input autofocus onfocus="${effect}">`, `<math><mtext><img src=x onerror="${effect}"></mtext></math>`, `<style>@import "http://elsewhere.test/x.css";</style>`, `<link rel=stylesheet href="http://elsewhere.test/x.css">`, `<base href="http://elsewhere.test/">`, `<meta http-equiv=refresh content="0;url=http://elsewhere.test/">`,
  `<form action="http://elsewhere.test/"><button autofocus>x</button></form>`, `<img src="http://elsewhere.test/pixel.png">`, `javascript:${effect}`, `data:text/html,<script>${effect}</script>`, `{{constructor.constructor('${effect}')()}}`, `\${${effect}}`, `<template><script>${effect}</script></template>`,
] as const;
const breakouts = ['', '">', "'>", '</td>', '</script>', '-->', ']]>', '\\"><', '&lt;', '\u202e'] as const;
/** Two hundred payloads: every body behind every way out of where it may stand. */
const payloads = breakouts.flatMap((out) => bodies.map((body) => out + body));

/** Header values take Latin-1 alone. */
const headerOf = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '');

/** Two hundred payloads through every field of a record, and pages of other origins that try to use the login of the page. */
export async function attacks(scope: { after(end: () => unknown): void }): Promise<readonly Row[]> {
  const [gate, browser] = [await pageGate(scope), await openBrowser(scope)];
  const { page, faults, requests } = await watchedPage(browser);
  let dialogs = 0;
  page.on('dialog', (dialog) => { dialogs++; void dialog.dismiss(); });
  await page.goto(`${gate.url}/heimdall/`);
  await page.fill('input[type=password]', adminToken);
  await page.keyboard.press('Enter');
  await page.waitForSelector('nav');
  await page.evaluate(`location.hash = '#/requests?live=true'`);
  await page.getByText('Listening').waitFor();
  for (const [nth, payload] of payloads.entries()) await send(gate.url, payload, nth);
  await page.locator('tbody tr').first().waitFor();
  const effects = { owned: 0, elements: 0 };
  const count = async (): Promise<void> => {
    effects.owned += Number(await page.evaluate('window.owned || 0'));
    effects.elements += Number(await page.evaluate(`document.querySelectorAll('#page script, #page img, #page iframe, #page svg[onload], #page style, #page link, #page base, #page meta, #page math, #page template, #page a[href^="javascript:"], #page a[href^="data:"]').length`));
  };
  await count();
  let shown = 0;
  for (const view of ['requests', 'requests?order=oldest', 'callers', 'findings', 'bans', 'keys', 'health', 'settings', 'overview', `requests?model=${encodeURIComponent(payloads[1] as string)}`, `requests?grep=${encodeURIComponent(payloads[2] as string)}`, `callers?id=${encodeURIComponent(payloads[3] as string)}`]) {
    await page.evaluate(`location.hash = ${JSON.stringify(`#/${view}`)}`);
    await settled(page);
    for (let more = 0; more < 3 && view.startsWith('requests') && (await page.locator('main button', { hasText: 'more' }).count()) > 0; more++) {
      await page.locator('main button', { hasText: 'more' }).first().click();
      await settled(page);
    }
    shown += ((await page.locator('main').textContent()) ?? '').split('owned').length - 1;
    await count();
  }
  const ids = (await api(gate.url, 'logs?limit=200&route=/v1/chat/completions')).json<{ logs: { request_id: string }[] }>().logs.map(({ request_id: id }) => id);
  // The notes of a finding, each shown with its evidence.
  const finding = (await api(gate.url, 'findings')).json<{ findings: { id: string }[] }>().findings[0]?.id ?? '';
  for (const payload of payloads.filter((_payload, nth) => nth % 10 === 0)) {
    await request(`${gate.url}/heimdall/api/findings/${finding}/acknowledge`, { headers: { Authorization: `Bearer ${adminToken}` }, body: { reason: payload.replaceAll(/\p{Cc}/gu, '') } });
    await page.evaluate(`location.hash = '#/bans'`);
    await settled(page);
    await page.evaluate(`location.hash = '#/findings'`);
    await page.locator('tbody button.link').first().click();
    await page.locator('dialog').waitFor();
    shown += ((await page.locator('dialog').textContent()) ?? '').split('owned').length - 1;
    await count();
    await page.keyboard.press('Escape');
  }
  for (const id of ids.slice(0, 40)) {
    await page.evaluate(`location.hash = '#/requests?show=${id}'`);
    await page.locator('dialog').waitFor();
    await settled(page);
    shown += ((await page.locator('dialog').textContent()) ?? '').split('owned').length - 1;
    await count();
  }
  const foreign = requests.filter((line) => !line.includes(new URL(gate.url).host) && !line.includes('data:'));
  const xss: Row = { attack: 'markup in records', tries: payloads.length, effects: effects.owned + effects.elements + dialogs + faults.length + foreign.length, note: `seen as text ${shown} times${faults[0] === undefined ? '' : `; ${faults[0].slice(0, 80)}`}` };
  return [xss, ...(await crossSite(scope, gate.url, page)), ...(await redirects(gate.url))];
}

async function send(url: string, payload: string, nth: number): Promise<void> {
  const text = headerOf(payload);
  await request(`${url}/v1/chat/completions?${encodeURIComponent(payload)}=${encodeURIComponent(payload)}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${nth % 4 === 0 ? `sk-${text.replaceAll(' ', '')}` : DEMO_KEY}`, 'Content-Type': 'application/json', 'User-Agent': text, 'X-Forwarded-For': text, Cookie: `${text.replaceAll(/[;=\s]/g, '')}=1`, Referer: text, 'X-Session-Id': text, 'X-Stainless-Lang': text, Accept: text, 'Accept-Language': text },
    body: { model: payload, user: payload, metadata: { user_id: payload }, messages: [{ role: payload, content: `${payload} ${nth}` }], tools: [{ type: 'function', function: { name: payload } }] },
  });
  if (nth % 10 === 0) {
    await request(`${url}/heimdall/api/bans`, { headers: { Authorization: `Bearer ${adminToken}` }, body: { value: `203.0.113.${nth / 10 + 10}`, reason: payload.slice(0, 500).replaceAll(/\p{Cc}/gu, ''), expires: '1h' } });
    await request(`${url}/v1/chat/${encodeURIComponent(payload)}`, { method: 'POST', headers: { Authorization: `Bearer ${DEMO_KEY}` }, body: {} });
  }
}

const api = (url: string, path: string): ReturnType<typeof request> => request(`${url}/heimdall/api/${path}`, { headers: { Authorization: `Bearer ${adminToken}` } });

/** A page of another origin, where the victim is logged in: it frames the page, and asks for reads and changes in every way a page can. */
async function crossSite(scope: { after(end: () => unknown): void }, url: string, page: Page): Promise<readonly Row[]> {
  const evil = createServer((req, res) => {
    seen.push(String(req.headers.cookie ?? ''));
    res.setHeader('Content-Type', 'text/html').end('<title>elsewhere</title>');
  }).listen(0, '127.0.0.1');
  const seen: string[] = [];
  await once(evil, 'listening');
  scope.after(() => evil.close());
  const origin = `http://127.0.0.1:${(evil.address() as AddressInfo).port}`;
  const before = (await api(url, 'bans')).text;
  const other = await page.context().newPage();
  await other.goto(origin);
  const tries: string[] = ['bans', 'keys', 'logout', 'jobs'].flatMap((path) => [
    `fetch('${url}/heimdall/api/${path}', { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'Content-Type': 'text/plain' }, body: '{"value":"198.51.100.1","name":"evil","kind":"verify"}' })`,
    `fetch('${url}/heimdall/api/${path}', { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json', 'X-Heimdall-Proof': 'x' }, body: '{}' })`,
    `new Promise((done) => { const form = document.createElement('form'); form.method = 'POST'; form.enctype = 'text/plain'; form.target = 'f'; form.action = '${url}/heimdall/api/${path}'; const f = document.createElement('iframe'); f.name = 'f'; f.onload = done; document.body.append(f, form); form.submit(); setTimeout(done, 500); })`,
  ]);
  let effects = 0;
  for (const attempt of tries) await other.evaluate(`${attempt}.then(() => 0, () => 0)`);
  if ((await api(url, 'bans')).text !== before || (await api(url, 'keys')).text.includes('evil')) effects++;
  await page.evaluate(`location.hash = '#/bans'`);
  await settled(page);
  if ((await page.locator('input[type=password]').count()) > 0) effects++;
  let read = 0;
  for (const path of ['logs', 'config', 'session', 'events?rows=1']) read += Number(await other.evaluate(`fetch('${url}/heimdall/api/${path}', { credentials: 'include' }).then((answer) => answer.text()).then((text) => text.length, () => 0)`));
  const framed = await other.evaluate(`new Promise((done) => { const frame = document.createElement('iframe'); frame.src = '${url}/heimdall/'; frame.onload = () => { try { done(frame.contentDocument === null ? 'blocked' : frame.contentDocument.body.innerHTML.length > 100 ? 'framed' : 'blocked'); } catch { done('blocked'); } }; document.body.append(frame); setTimeout(() => done('blocked'), 2000); })`) as string;
  const inFrame = other.frames().filter((frame) => frame.url().startsWith(`${url}/heimdall`)).length;
  // The other port of the same host is sent the cookie, since cookies know no ports. Alone it is worth nothing.
  const cookie = seen.find((each) => each.includes('heimdall_')) ?? '';
  const taken: Row = { attack: 'cookie taken by another port', tries: 4, effects: 0, note: cookie === '' ? 'the cookie does not reach it: its path is that of the API' : 'the cookie reached it' };
  for (const headers of [{}, { 'X-Heimdall-Proof': 'guess' }, { Origin: url, 'Sec-Fetch-Site': 'same-origin' }]) if ((await request(`${url}/heimdall/api/logs`, { headers: { Cookie: (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; '), ...headers } })).status !== 401) (taken['effects'] as number)++;
  await other.close();
  return [
    { attack: 'changes from another origin', tries: tries.length, effects, note: 'nothing changed, still logged in' },
    { attack: 'reads from another origin', tries: 4, effects: read > 0 ? 1 : 0, note: `${read} characters` },
    { attack: 'framing', tries: 1, effects: framed === 'framed' || inFrame > 0 ? 1 : 0, note: framed },
    taken,
  ];
}

async function redirects(url: string): Promise<readonly Row[]> {
  const paths = ['//elsewhere.test/heimdall', '/heimdall', '/heimdall?next=//elsewhere.test', '/%2f%2felsewhere.test/heimdall', '/\\elsewhere.test/heimdall', '//elsewhere.test/..//heimdall', '/heimdall//elsewhere.test', '/heimdall/..//elsewhere.test'];
  let effects = 0;
  for (const path of paths) {
    const { headers } = await request(url + path, { headers: { Host: new URL(url).host } }).catch(() => ({ headers: {} as Record<string, string | undefined> }));
    const location = headers['location'];
    if (typeof location === 'string' && new URL(location, url + (path.startsWith('//') ? '/' : '') + path).host !== new URL(url).host) effects++;
  }
  return [{ attack: 'open redirect', tries: paths.length, effects, note: 'every Location stays here' }];
}

async function settled(open: Page): Promise<void> {
  for (let round = 0; round < 100; round++) {
    await open.waitForTimeout(60);
    if (round > 1 && (await open.locator('#page [aria-busy="true"]').count()) === 0) return;
  }
}
