import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { adminToken, barriers, browserOptions, openBrowser, pageGate, watchedPage } from '../support/browser.ts';
import { attacks } from './page-attack.ts';
import type { Finding } from './proof.ts';

const panels = ['overview', 'findings', 'callers', 'requests', 'keys', 'bans', 'targets', 'health', 'settings'] as const;
const languages = ['en', 'zh-CN'] as const;
const schemes = ['light', 'dark'] as const;
const widths = [1280, 390] as const;

/** Windows in front of a panel: where, and what opens them. */
const windows: readonly (readonly [panel: string, opens: string])[] = [['findings', 'tbody button.link'], ['callers', 'tbody a.num'], ['requests', 'tbody a'], ['keys', 'main .actions button'], ['bans', 'main .actions button'], ['settings', '.config summary']];

/**
 * The page in Chromium: every panel and window in both languages, light and dark, wide and narrow, without an error in the console, a
 * barrier that axe knows or anything wider than the screen; what matters done by keyboard alone; and attacks without an effect. `PAGE_SHOTS` names a directory for pictures.
 */
export async function page(): Promise<Finding> {
  if (browserOptions.skip !== false) return { rows: [{ skipped: browserOptions.skip }], bar: 'skipped: there is no Chromium', holds: true };
  const ends: (() => unknown)[] = [];
  const scope = { after: (end: () => unknown) => void ends.push(end) };
  try {
    const [gate, browser] = [await pageGate(scope), await openBrowser(scope)];
    const rows: Record<string, string | number>[] = [];
    for (const locale of languages) for (const colorScheme of schemes) for (const width of widths) {
      const { page: open, faults } = await watchedPage(browser, { locale, colorScheme, viewport: { width, height: 800 } });
      const found = await visit(open, gate.url, `${locale}-${colorScheme}-${width}`);
      rows.push({ language: locale, scheme: colorScheme, width, views: found.views, barriers: found.barriers.length, 'too wide': found.wide, errors: faults.length, first: [...faults, ...found.barriers][0]?.slice(0, 120) ?? '' });
      await open.context().close();
    }
    const { page: open, faults } = await watchedPage(browser);
    const steps = await byKeyboard(open, gate.url);
    rows.push({ language: 'en', scheme: 'by keyboard alone', width: 1280, views: steps, barriers: 0, 'too wide': 0, errors: faults.length, first: faults[0] ?? '' });
    for (const { attack, tries, effects, note } of await attacks(scope)) rows.push({ language: 'en', scheme: `attack: ${attack}`, width: 1280, views: tries ?? 0, barriers: 0, 'too wide': 0, errors: effects ?? 0, first: note ?? '' });
    const bad = rows.filter((row) => row['barriers'] !== 0 || row['too wide'] !== 0 || row['errors'] !== 0).length;
    return { rows, bar: `no error, no barrier and nothing too wide (${bad} of ${rows.length} rows with one)`, holds: bad === 0 };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

async function visit(open: Page, url: string, name: string): Promise<{ readonly views: number; readonly barriers: readonly string[]; readonly wide: number }> {
  await open.goto(`${url}/heimdall/`);
  const found = { views: 0, barriers: [] as string[], wide: 0 };
  const look = async (view: string): Promise<void> => {
    await settled(open);
    found.views++;
    found.barriers.push(...(await barriers(open)).map((each) => `${view}: ${each}`));
    if (!((await open.evaluate('document.documentElement.scrollWidth <= innerWidth')) as boolean)) found.wide++;
    const directory = process.env['PAGE_SHOTS'];
    if (directory === undefined) return;
    mkdirSync(directory, { recursive: true });
    await open.screenshot({ path: join(directory, `${name}-${view}.png`) });
  };
  await look('login');
  await open.fill('input[type=password]', adminToken);
  await open.keyboard.press('Enter');
  await open.waitForSelector('nav');
  for (const panel of panels) {
    await open.click(`nav a[href$="#/${panel}"]`);
    await open.locator(`nav a[href$="#/${panel}"][aria-current]`).waitFor();
    await look(panel);
  }
  for (const [panel, opens] of windows) {
    await open.goto(`${url}/heimdall/#/${panel}`);
    await open.locator(opens).first().click();
    await look(`${panel}-opened`);
    await open.keyboard.press('Escape');
  }
  return found;
}

/** Waits until nothing is awaited any more. */
async function settled(open: Page): Promise<void> {
  for (let round = 0; round < 100; round++) {
    await open.waitForTimeout(100);
    if (round > 2 && (await open.locator('#page [aria-busy="true"]').count()) === 0) return;
  }
}

/** A finding is frozen and undone, a key made, rotated and revoked, with Tab, Enter, Escape and text. @returns the number of steps. */
async function byKeyboard(open: Page, url: string): Promise<number> {
  let steps = 0;
  const press = async (name: string): Promise<void> => {
    steps++;
    for (let tabs = 0; tabs < 200; tabs++) {
      const focused = await open.evaluate('(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent ?? "").trim()') as string;
      if (focused === name || focused.startsWith(`${name}:`)) return open.keyboard.press('Enter');
      await open.keyboard.press('Tab');
    }
    throw new Error(`the keyboard does not reach ${name}`);
  };
  await open.goto(`${url}/heimdall/`);
  await open.waitForSelector('input[type=password]');
  await open.keyboard.type(adminToken);
  await open.keyboard.press('Enter');
  await open.waitForSelector('nav');
  await press('Findings');
  // The overview, which is left, has rows of its own.
  await open.locator('main h1', { hasText: 'Findings' }).waitFor();
  await open.locator('main tbody tr').waitFor();
  await press('Act …');
  await open.locator('dialog select[name=action]').waitFor();
  await open.locator('dialog select[name=action]').press('f');
  await open.keyboard.press('Enter');
  await press('Act');
  await open.locator('dialog').waitFor({ state: 'detached' });
  await press('Undo');
  await open.locator('dialog').waitFor();
  await open.keyboard.type('a test');
  await open.keyboard.press('Enter');
  await open.locator('main .badge', { hasText: 'undone' }).waitFor();
  await press('Keys');
  await press('New key');
  await open.locator('dialog').waitFor();
  await open.keyboard.type('by-keyboard');
  await open.keyboard.press('Enter');
  await open.locator('.secret').waitFor();
  await press('I have kept it');
  for (const what of ['Rotate', 'Revoke']) {
    await press(`${what}: by-keyboard`);
    await open.locator('dialog').waitFor();
    await press(what);
    if (what === 'Rotate') await press('I have kept it');
    await open.locator('dialog').waitFor({ state: 'detached' });
  }
  await press('Log out');
  await open.waitForSelector('input[type=password]');
  return steps;
}
