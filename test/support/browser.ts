import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { writePage } from '../../lib/admin/page/build.ts';
import type { TestLike } from './client.ts';
import { closing, request } from './client.ts';
import { startGate, type RunningGate } from './gate.ts';
import { DEMO_KEY, startNewapi } from './newapi.ts';
import { bearer } from './scene.ts';
import type { ConfigInput } from '../../lib/index.ts';

export const program = [process.env['CHROMIUM'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => path !== '' && existsSync(path));
const switches = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** For tests that need a browser: where there is none they are skipped with this reason, and fail where CI is set. */
export const browserOptions = { skip: program === undefined && process.env['CI'] === undefined && 'there is no Chromium; CHROMIUM names its path' };

/** Starts Chromium; ends with the test. */
export async function openBrowser(t: TestLike): Promise<Browser> {
  const browser = await chromium.launch({ ...(program === undefined ? {} : { executablePath: program }), args: switches });
  t.after(() => browser.close());
  return browser;
}

/** What a page did that it should not do. */
export interface Watched {
  readonly page: Page;
  /** Errors in the console, policy violations included, and uncaught ones. */
  readonly faults: readonly string[];
  /** Requests by method and URL, in order. */
  readonly requests: readonly string[];
}

/** Opens an empty page whose errors and requests are kept. */
export async function watchedPage(browser: Browser, options: Parameters<Browser['newContext']>[0] = {}): Promise<Watched> {
  const page = await (await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options })).newPage();
  const faults: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => void (['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource') && faults.push(message.text())));
  page.on('pageerror', (error) => void faults.push(String(error)));
  page.on('request', (sent) => void requests.push(`${sent.method()} ${sent.url()}`));
  return { page, faults, requests };
}

/** What axe finds wrong with the page for people with disabilities: WCAG 2.2, levels A and AA, and its best practices. */
export async function barriers(page: Page): Promise<readonly string[]> {
  await page.evaluate(readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'));
  return page.evaluate(`axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 200)).join(' ')))`);
}

export const adminToken = 'the-token-of-the-admin-in-32-characters-or-more';
export const readToken = 'the-token-of-a-reader-in-32-characters-or-more';

/** Text that a page must show as text: markup, a change of direction, a word without end. */
export const hostile = { markup: '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>', bidi: 'safe\u202egnp.exe\u202c', long: 'W'.repeat(10_000) };

/** A gate with the page built, a key, a ban, and requests of one key from two machines: the watch finds it shared. */
export async function pageGate(t: TestLike, config: ConfigInput = {}): Promise<RunningGate> {
  await writePage();
  const { url: baseUrl } = closing(t, await startNewapi());
  const gate = await startGate(t, { newapi: { baseUrl }, anomaly: { mode: 'enforce' }, ...config, admin: { token: adminToken, readToken, ...config.admin }, audit: { capture: { body: 20_000 }, ...config.audit } });
  await ask(gate, 'admin', { path: '/heimdall/api/keys', key: adminToken, body: { name: 'team-a', requests: { limit: 60, window: '1m' }, budget: { day: 5 } } });
  await ask(gate, 'admin', { path: '/heimdall/api/bans', key: adminToken, body: { value: '203.0.113.7', reason: hostile.markup, expires: '24h' } });
  for (let turn = 0; turn < 9; turn++) for (const device of ['a', 'b']) await ask(gate, `claude-cli/2.1.197 (external, cli)`, { path: '/v1/messages', body: chatOf(`hello from ${device}`, device) });
  await ask(gate, hostile.markup, { body: { ...chatOf(`${hostile.markup} ${hostile.bidi} ${hostile.long}`, 'a'), model: hostile.markup } });
  await ask(gate, hostile.long.slice(0, 2000), { path: `/v1/chat/completions?${encodeURIComponent(hostile.markup)}=1`, key: `sk-${hostile.markup}`, body: chatOf('hello', 'a') });
  return gate;
}

function chatOf(content: string, device: string): object {
  const userId = JSON.stringify({ device_id: device.repeat(64), account_uuid: '', session_id: `0000000${device}-1111-4222-8333-444444444444` });
  return { model: 'gpt-4o-mini', max_tokens: 16, messages: [{ role: 'user', content }], metadata: { user_id: userId } };
}

const ask = (gate: RunningGate, agent: string, { path = '/v1/chat/completions', key = DEMO_KEY, body }: { readonly path?: string; readonly key?: string; readonly body: object }): Promise<unknown> =>
  request(gate.url + path, { method: 'POST', headers: { ...bearer(key), 'user-agent': agent }, body });
