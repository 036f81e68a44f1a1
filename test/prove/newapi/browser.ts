import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import type { Scene } from './scene.ts';

const program = '/usr/bin/chromium';
const switches = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const pages = ['/dashboard/overview', '/dashboard/models', '/keys', '/usage-logs/common', '/wallet', '/profile', '/channels', '/models/metadata', '/users', '/playground', '/pricing'];

/** What a page showed and asked for. */
interface Seen {
  /** Status and path of every answer, once each. */
  readonly answers: readonly string[];
  readonly errors: readonly string[];
  /** Letters of its text, without digits and spaces. */
  readonly text: string;
}

/** NewAPI's own web UI, logged in as its owner by the form, directly and through the gate. */
export async function browserProof({ newapi, gate }: Scene): Promise<readonly Readonly<Record<string, string | number>>[]> {
  if (!existsSync(program)) return [{ page: 'skipped: there is no Chromium', differs: '' }];
  const browser = await chromium.launch({ executablePath: program, args: switches });
  try {
    const direct = await visit(browser, newapi.base_url, newapi);
    const through = await visit(browser, gate.url, newapi);
    return [...direct].map(([page, seen]) => ({ page, answers: through.get(page)?.answers.length ?? 0, differs: difference(seen, through.get(page) as Seen) }));
  } finally {
    await browser.close();
  }
}

async function visit(browser: Browser, base: string, { username, password }: Scene['newapi']): Promise<ReadonlyMap<string, Seen>> {
  const context = await browser.newContext();
  const page = await context.newPage();
  let answers = new Set<string>();
  let errors: string[] = [];
  page.on('response', (response) => void answers.add(`${response.status()} ${new URL(response.url()).pathname}`));
  page.on('console', (message) => void (message.type() === 'error' && errors.push(message.text().replaceAll(base, ''))));
  page.on('pageerror', (error) => void errors.push(error.message));
  const seen = new Map<string, Seen>();
  const look = async (name: string): Promise<void> => {
    await page.waitForLoadState('networkidle');
    await page.waitForFunction('document.body.innerText.length > 400', null, { timeout: 8000 }).catch(() => undefined);
    const text = (await page.evaluate('document.body.innerText')) as string;
    seen.set(name, { answers: [...answers].sort(), errors, text: text.replace(/[\d\s.,:%]+/g, '') });
    [answers, errors] = [new Set(), []];
  };
  await page.goto(`${base}/sign-in`);
  await look('/sign-in');
  await page.fill('input[name=username]', username);
  await page.fill('input[type=password]', password);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/dashboard/**');
  await look('the login');
  for (const path of pages) {
    await page.goto(base + path);
    await look(path);
  }
  await context.close();
  return seen;
}

function difference(direct: Seen, through: Seen): string {
  // Which of its calls a page makes before it is looked at differs from one visit to the next.
  const refused = through.answers.filter((answer) => Number.parseInt(answer, 10) >= 400 && !direct.answers.includes(answer));
  const errors = through.errors.filter((error) => !direct.errors.includes(error));
  if (refused.length > 0) return `answers ${refused.join(', ')}`;
  if (errors.length > 0) return `console: ${errors.join('; ').slice(0, 200)}`;
  return through.text.length < direct.text.length / 2 ? `text of ${through.text.length} letters instead of ${direct.text.length}` : '';
}
