import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { it } from 'node:test';
import type { Page } from 'playwright-core';
import { bundle } from '../../lib/admin/page/build.ts';
import * as cli from '../../lib/admin/page/cli.ts';
import { adminToken, barriers, browserOptions, hostile, openBrowser, pageGate, readToken, watchedPage } from '../support/browser.ts';
import { until } from '../support/client.ts';
import { shared } from '../support/shared.ts';

/** Panels that axe reads; the proof `page` has it read all of them. */
const searched: readonly string[] = ['overview', 'requests'];
const panels = ['overview', 'findings', 'callers', 'requests', 'keys', 'bans', 'targets', 'health', 'settings'] as const;
const titles = { en: ['Overview', 'Findings', 'Callers', 'Requests', 'Keys', 'Bans', 'Targets', 'Health', 'Settings'], 'zh-CN': ['概览', '发现', '调用方', '请求', '密钥', '封禁', '目标', '健康', '设置'] };

it('the page is at most 60 KB gzipped at first load, charts and all, and names nobody else', async () => {
  const files = await bundle();
  const size = (name: string): number => gzipSync(files.get(name) as Uint8Array).length;
  const named = (start: string): string => [...files.keys()].find((name) => name.startsWith(`${start}-`)) ?? assert.fail(`no file ${start}`);
  const { pages, assets } = JSON.parse(String(Buffer.from(files.get('manifest.json') as Uint8Array))) as { pages: Record<string, string>; assets: Record<string, string> };
  assert.deepEqual([...Object.values(pages), ...Object.keys(assets), 'manifest.json'].sort(), [...files.keys()].sort());
  const first = ['index.html', ...['style', 'vendor', 'kit', 'shell', 'zh-cn', 'overview', 'uPlot.esm'].map(named)];
  assert.ok(first.length + 3 <= 12, 'its three calls of the API included');
  const sum = first.reduce((total, name) => total + size(name), 0);
  assert.ok(sum <= 60_000, `${sum} bytes`);
  for (const panel of panels) assert.ok(size(named(panel)) <= 6000, panel);
  for (const [name, content] of files) {
    const text = Buffer.from(content).toString();
    assert.deepEqual([...text.matchAll(/(?:https?:)?\/\/[\w.-]+\.[a-z]{2,}/g)].map(([found]) => found).filter((found) => !/^(?:http:\/\/www\.w3\.org|http:\/\/localhost)/.test(found)), [], name);
    assert.doesNotMatch(text, /\beval\(|new Function|\.innerHTML=(?!\w+\.__html|\w+&&)/, name);
  }
});

it('the command line of what the page shows is one that a shell passes on', () => {
  assert.equal(cli.logs({ key: 'team a', from: '1h', model: 'gpt-5*', grep: "it's", follow: 'true', status: '' }), `heimdall logs --key 'team a' --from 1h --model 'gpt-5*' --grep 'it'\\''s' --follow`);
  assert.equal(cli.command('findings show', ['-x;rm']), `heimdall findings show '-x;rm'`);
  assert.equal(cli.curl('http://gate/gate/api/queue', 7), 'curl -H "Authorization: Bearer $NEWAPI_ACCESS_TOKEN" -H \'New-Api-User: 7\' http://gate/gate/api/queue');
  assert.match(cli.curl('http://gate/x', null), /HEIMDALL_ADMIN_TOKEN/);
});

const common = shared(async (scope) => ({ gate: await pageGate(scope), browser: await openBrowser(scope) }));

async function logIn(page: Page, url: string, token = adminToken): Promise<void> {
  await page.goto(`${url}/heimdall/`);
  await page.fill('input[type=password]', token);
  await page.keyboard.press('Enter');
  await page.waitForSelector('nav');
}

/** The panel is there, and has its answers. */
async function shown(page: Page, title: string): Promise<void> {
  await page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
  await until(async () => (await page.locator('main [aria-busy="true"]').count()) === 0);
  assert.deepEqual(await page.getByRole('alert').allInnerTexts(), []);
}

it('every panel opens in both languages without a fault, and what was recorded is text', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  for (const language of ['en', 'zh-CN'] as const) {
    const { page, faults, requests } = await watchedPage(browser, { locale: language });
    await logIn(page, gate.url);
    assert.equal(await page.getAttribute('html', 'lang'), language);
    assert.ok(requests.length <= 12, requests.join('\n'));
    for (const [at, panel] of panels.entries()) {
      const before = requests.length;
      await page.click(`nav a[href$="#/${panel}"]`);
      await shown(page, titles[language][at] as string);
      assert.ok(requests.slice(before).filter((line) => line.includes('/api/')).length <= 3, `${panel}: ${requests.slice(before).join('\n')}`);
      assert.equal(await page.locator('main h1').count(), 1);
      if (language === 'en' && searched.includes(panel)) assert.deepEqual(await barriers(page), [], panel);
      assert.doesNotMatch(await page.innerText('body'), /\bundefined\b|\[object|\bNaN\b/);
    }
    assert.deepEqual(faults, []);
    assert.deepEqual(requests.filter((line) => !line.includes(gate.url)).filter((line) => !line.includes(' data:')), []);
    assert.doesNotMatch(await page.title(), /owned/);
    await page.context().close();
  }
});

it('recorded text is shown as text, whole', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page, faults } = await watchedPage(browser, { viewport: { width: 390, height: 844 } });
  await logIn(page, gate.url);
  await page.goto(`${gate.url}/heimdall/#/requests?status=503`);
  await page.click('tbody tr td:nth-child(2)');
  const window = page.locator('dialog[open]');
  await window.locator('pre').first().waitFor();
  const text = await window.innerText();
  for (const part of [hostile.markup, 'safe‹U+202E›gnp.exe‹U+202C›']) assert.ok(text.includes(part) || text.includes(JSON.stringify(part).slice(1, -1)), part);
  assert.equal(await page.locator('#page img, #page script').count(), 0);
  assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing is wider than the screen');
  await page.keyboard.press('Escape');
  await page.goto(`${gate.url}/heimdall/#/bans`);
  await page.getByText(hostile.markup).waitFor();
  assert.deepEqual([faults, await page.title()], [[], 'Bans · Heimdall']);
});

it('a token that reads only sees everything, and has no button that works', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page, faults, requests } = await watchedPage(browser, { locale: 'zh-CN' });
  await logIn(page, gate.url, readToken);
  await page.click('nav a[href$="#/keys"]');
  // The panel before has a table, too.
  await page.getByRole('button', { name: '新建密钥' }).waitFor();
  await page.locator('tbody tr').first().waitFor();
  for (const button of await page.locator('main button').all()) assert.ok(await button.isDisabled(), await button.innerText());
  await page.evaluate(`fetch('api/logout', { method: 'POST', headers: { 'X-Heimdall-Proof': localStorage.getItem('heimdall.proof') } })`);
  await page.evaluate(`location.hash = '#/bans'`);
  await page.locator('input[type=password]').waitFor();
  assert.deepEqual([faults, requests.filter((line) => !line.startsWith('GET ')).length], [[], 2]);
});

it('the limits of a key are changed, and the live view shows what its filters let pass', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page, faults } = await watchedPage(browser);
  await logIn(page, gate.url);
  await page.click('nav a[href$="#/keys"]');
  const answered = page.waitForResponse((answer) => answer.request().method() === 'PATCH');
  await page.getByRole('button', { name: /^Change: / }).first().click();
  await page.fill('input[name=expires]', '30d');
  await page.fill('input[name=requests]', '7/1h');
  await page.click('dialog button[type=submit]');
  const changed = await answered;
  const after = (await changed.json()) as { expires: unknown; requests: unknown };
  assert.deepEqual([changed.status(), typeof after.expires, after.requests], [200, 'string', { limit: 7, window: '1h' }]);
  await page.evaluate(`location.hash = '#/requests?live=true&status=401'`);
  await page.getByText('Listening').waitFor();
  // Without a credential 401, elsewhere 200.
  const rows = page.locator('tbody tr');
  await until(async () => {
    await page.evaluate(`Promise.all([fetch('/health'), fetch('/v1/models'), fetch('/health')])`);
    return (await rows.count()) >= 3;
  });
  assert.deepEqual([...new Set(await page.locator('tbody tr td:nth-child(2)').allInnerTexts())], ['401']);
  assert.deepEqual(faults, []);
});

it('limits have their units, the week of a caller can be clicked, and what cannot be read is said to be missing', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page, faults } = await watchedPage(browser);
  await logIn(page, gate.url);
  const lists = Object.fromEntries(['networks', 'devices', 'sessions', 'homes', 'models', 'clients', 'findings'].map((name) => [name, []]));
  const hours = [1, 2, 3].map((ago) => ({ hour: new Date(Math.floor(Date.now() / 3_600_000 - ago) * 3_600_000).toISOString(), requests: ago }));
  await page.route('**/api/callers/team-x', (route) => route.fulfill({ json: { caller: { kind: 'key', id: 'team-x' }, newapi: null, requests: 6, first: hours[2]?.hour, last: hours[0]?.hour, cost: 1, spend: { day: 1, month: 1 }, limits: [{ rule: 'key_limit.requests', limit: 600, remaining: 7, window: 60 }, { rule: 'key_limit.budget.day', limit: 50, remaining: 3, window: 86_400 }], hours, ...lists } }));
  await page.evaluate(`location.hash = '#/callers?id=team-x'`);
  await page.getByText('600 / 60s').waitFor();
  await page.getByText('$50.00 / 24 hr').waitFor();
  assert.deepEqual(await barriers(page), []);
  await page.route('**/api/overview', async (route) => {
    const nothing = { hour: null, last_week: null };
    const all = (await (await route.fetch()).json()) as object;
    await route.fulfill({ json: { ...all, records: { available: false, problem: 'gone' }, problems: [{ code: 'records', subject: null, detail: 'gone' }], requests: nothing, errors: nothing, refused: nothing, overhead: nothing, spend: { today: null, last_week: null, month: null }, series: null } });
  });
  await page.click('nav a[href$="#/overview"]');
  await page.getByText('The records cannot be read at the moment.').waitFor();
  await page.getByText('Records unreadable').waitFor();
  assert.deepEqual([await page.locator('.chart').count(), await page.locator('table', { hasText: 'newapi' }).count(), faults], [0, 1, []]);
});

it('numbers lead to the records they count, with a command that prints them, and notes say what does not work', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page } = await watchedPage(browser);
  await logIn(page, gate.url);
  await shown(page, 'Overview');
  const errors = page.locator('.figure', { hasText: 'Errors' }).locator('a.num');
  assert.deepEqual([await errors.getAttribute('href'), await errors.getAttribute('data-line')], ['#/requests?from=1h&outcome=failed', 'heimdall logs --from 1h --outcome failed --source gate --without-own --by source']);
  await page.evaluate(`location.hash = '#/requests?outcome=failed&grep=hello&own=true'`);
  await shown(page, 'Requests');
  assert.deepEqual([await barriers(page), await page.innerText('footer code'), await page.locator('.chip').allTextContents()], [[], 'heimdall logs --outcome failed --grep hello', ['Outcome: any error ✕take the filter away', 'Text in bodies: hello ✕take the filter away', "with the gate's own ✕take the filter away"]]);
  const asked = page.waitForRequest((sent) => sent.method() === 'POST' && sent.url().endsWith('/api/jobs'));
  await page.getByRole('button', { name: 'Export …' }).click();
  await page.locator('dialog').getByText('heimdall logs --outcome failed --grep hello --export heimdall.jsonl').waitFor();
  await page.locator('dialog button.main').click();
  assert.deepEqual((await asked).postDataJSON(), { kind: 'export', format: 'jsonl', filters: { outcome: 'failed', grep: 'hello' } });
  await page.keyboard.press('Escape');
  await page.evaluate(`location.hash = '#/keys'`);
  await page.getByText('These keys open nothing: auth.mode is passthrough').waitFor();
  await page.route('**/api/bans', (route) => route.fulfill({ json: { bans: [], holds: 'all', available: false } }));
  await page.evaluate(`location.hash = '#/bans'`);
  await page.getByText('Keys and bans cannot be read at the moment.').waitFor();
});

it('goes on by itself where the gate did not answer, or had not read far enough, and says that a login has ended', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page } = await watchedPage(browser);
  await page.clock.install();
  await logIn(page, gate.url);
  await shown(page, 'Overview');
  let away = true;
  await page.route('**/api/logs?*', (route) => {
    if (away) return route.abort();
    return new URL(route.request().url()).searchParams.has('cursor') ? route.continue() : route.fulfill({ json: { logs: [], next: 1_000_000, stopped: true } });
  });
  await page.evaluate(`location.hash = '#/requests'`);
  await page.getByText('The gate does not answer.').waitFor();
  away = false;
  await page.clock.fastForward(5000);
  await page.locator('main tbody tr').first().waitFor();
  await page.evaluate(`localStorage.setItem('heimdall.proof', 'of another login')`);
  await page.evaluate(`location.hash = '#/targets'`);
  await page.getByText('The login has ended.').waitFor();
});

it('a finding is acted on and undone by clicking; the login ends', { ...browserOptions, timeout: 120_000 }, async () => {
  const { gate, browser } = await common();
  const { page, faults } = await watchedPage(browser);
  await logIn(page, gate.url);
  await page.click('nav a[href$="#/findings"]');
  await page.getByRole('button', { name: 'Act' }).first().click();
  await page.selectOption('select[name=action]', 'freeze');
  await page.fill('input[name=reason]', 'two machines');
  await page.click('dialog button[type=submit]');
  await page.locator('tbody .badge', { hasText: 'freeze' }).waitFor();
  await page.locator('tbody tr td:nth-child(4)').first().click();
  assert.ok((await page.locator('dialog .ids a').count()) >= 2);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Undo' }).first().click();
  await page.click('dialog button[type=submit]');
  await page.locator('tbody .badge', { hasText: 'undone' }).waitFor();
  await until(() => gate.log.named('admin.change').length >= 2 || gate.log.events.some(({ event }) => event.startsWith('finding.')));
  await page.click('.reader button');
  await page.waitForSelector('input[type=password]');
  assert.deepEqual(faults, []);
});
