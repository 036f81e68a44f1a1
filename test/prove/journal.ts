import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { Pool } from 'undici';
import { until } from '../support/client.ts';
import { sql, verified } from '../support/journal.ts';
import { CHAT_REQUEST, DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';
import type { Finding } from './proof.ts';

const kills = 20;
const atOnce = 50;
const loadFor = 700;
const many = 200_000;
const inHand = 100;
/** A batch waits 50 ms; a busy machine needs a moment to write it. */
const lastBatch = 400;
const noticedWithin = 5000;

const adminToken = 'an admin token of this proof alone';
const headers = { authorization: `Bearer ${DEMO_KEY}`, 'content-type': 'application/json' };

type Row = Record<string, string | number>;
interface Part {
  readonly row: Row;
  readonly holds: boolean;
}

/** What the journal keeps through kills, many requests and a full disk. */
export async function journal(): Promise<Finding> {
  const parts = [await killed('strict'), await killed('batched'), await interrupted(), await all(), await full('drop'), await full('refuse')];
  return {
    rows: parts.map(({ row }) => row),
    bar: `strict loses nothing in ${kills} kills, batched nothing older than ${lastBatch} ms; ${inHand} in hand are interrupted; ${many} requests are there once; a full disk is told within ${noticedWithin} ms, and over when it is over; every chain verifies`,
    holds: parts.every(({ holds }) => holds),
  };
}

interface Answered {
  readonly id: string;
  readonly at: number;
}

/** A directory with a journal in it that several gates use one after the other. */
async function withJournal<T>(audit: string, work: (path: string, start: () => Promise<Standalone>, newapi: Newapi) => Promise<T>, at = tmpdir(), level = 'warn'): Promise<T> {
  const dir = mkdtempSync(join(at, 'heimdall-prove-journal-'));
  const path = join(dir, 'heimdall.db');
  const newapi = await startNewapi({ record: false });
  try {
    return await work(path, () => startStandalone(newapi.url, `audit: { path: ${path}${audit} }\nlogging: { file: false, level: ${level} }\nmetrics: { token: prove-metrics-token }\nadmin: { token: ${adminToken}, listen: 127.0.0.1:0 }\n`), newapi);
  } finally {
    await newapi.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Asks until it is told to stop. */
async function load(url: string, answered: Answered[], more: () => boolean, body: Buffer | string = CHAT_REQUEST): Promise<number> {
  const pool = new Pool(url, { connections: atOnce });
  let failed = 0;
  const worker = async (): Promise<void> => {
    while (more()) {
      try {
        const answer = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body });
        await answer.body.dump();
        if (answer.statusCode === 200) answered.push({ id: String(answer.headers['x-request-id']), at: performance.now() });
        else failed++;
      } catch {
        failed++;
        if (more()) await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  await pool.destroy();
  return failed;
}

/** Kills a gate under load again and again, and looks for the record of every request it had answered. */
function killed(durability: 'strict' | 'batched'): Promise<Part> {
  return withJournal(`, durability: ${durability}`, async (path, start) => {
    const before: (Answered & { killedAt: number })[] = [];
    for (let round = 0; round < kills; round++) {
      const gate = await start();
      const answered: Answered[] = [];
      let over = false;
      const loading = load(gate.url, answered, () => !over);
      await until(() => answered.length > 0, 'a first answer');
      await new Promise((resolve) => setTimeout(resolve, loadFor));
      const killedAt = performance.now();
      over = true;
      await gate.kill();
      await loading;
      before.push(...answered.filter(({ at }) => at <= killedAt).map((each) => ({ ...each, killedAt })));
    }
    const last = await start();
    await last.stop();
    const kept = new Set(sql(path, 'SELECT request_id FROM heimdall_logs').map((row) => String(row['request_id'])));
    const missing = before.filter(({ id }) => !kept.has(id));
    const oldest = Math.max(0, ...missing.map(({ at, killedAt }) => killedAt - at));
    const { broken, records } = verified(path);
    const outcomes = sql(path, "SELECT sum(outcome = 'interrupted') AS interrupted, count(*) - count(DISTINCT request_id) AS twice FROM heimdall_logs")[0] ?? {};
    const row = { part: `${kills} kills, ${durability}`, answered: before.length, records, missing: missing.length, 'oldest missing, ms': Math.round(oldest), interrupted: Number(outcomes['interrupted']), twice: Number(outcomes['twice']), chain: broken?.what ?? 'whole' };
    const holds = broken === null && row.twice === 0 && (durability === 'strict' ? missing.length === 0 : oldest <= lastBatch);
    return { row, holds };
  });
}

/** Requests that wait for their answer when the gate is killed. */
function interrupted(): Promise<Part> {
  return withJournal(', durability: strict', async (path, start, newapi) => {
    let waiting = 0;
    newapi.on('POST /v1/chat/completions', () => void waiting++);
    const gate = await start();
    const pool = new Pool(gate.url, { connections: inHand });
    const asked = Array.from({ length: inHand }, () => pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body: CHAT_REQUEST }).catch(() => null));
    await until(() => waiting === inHand, 'all of them wait');
    await gate.kill();
    await Promise.all(asked);
    await pool.destroy();
    const next = await start();
    await next.stop();
    const count = Number(sql(path, "SELECT count(*) AS n FROM heimdall_logs WHERE outcome = 'interrupted' AND token_id IS NOT NULL AND model IS NOT NULL")[0]?.['n']);
    const { broken, records } = verified(path);
    return { row: { part: `${inHand} in hand at a kill`, records, interrupted: count, chain: broken?.what ?? 'whole' }, holds: count === inHand && records === inHand && broken === null };
  });
}

/** Every one of many requests, once. */
function all(): Promise<Part> {
  return withJournal('', async (path, start) => {
    const gate = await start();
    const answered: Answered[] = [];
    let left = many;
    const failed = await load(gate.url, answered, () => left-- > 0);
    await gate.stop();
    const kept = new Set(sql(path, 'SELECT request_id FROM heimdall_logs').map((row) => String(row['request_id'])));
    const missing = answered.filter(({ id }) => !kept.has(id)).length;
    const { broken, records } = verified(path);
    return { row: { part: `${many} requests`, answered: answered.length, failed, records, missing, chain: broken?.what ?? 'whole' }, holds: failed === 0 && missing === 0 && records === many && broken === null };
  });
}

/** Names of the alerts somebody's webhook has heard. */
async function withWebhook<T>(work: (url: string, alerts: readonly string[]) => Promise<T>): Promise<T> {
  const alerts: string[] = [];
  const server = createServer(async (req, res) => {
    alerts.push(((await json(req)) as { event: string }).event);
    res.end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, alerts);
  } finally {
    server.close();
  }
}

const mountBytes = 12 * 1024 * 1024;

/** A disk that fills up under a gate that runs, and has room again later. Needs the right to mount. */
async function full(onFull: 'drop' | 'refuse'): Promise<Part> {
  const disk = mkdtempSync(join(tmpdir(), 'heimdall-prove-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mountBytes}`, 'tmpfs', disk], { stdio: 'ignore' });
  } catch {
    rmSync(disk, { recursive: true });
    return { row: { part: `full disk, ${onFull}`, chain: 'SKIPPED: this user may not mount' }, holds: true };
  }
  try {
    mkdirSync(join(disk, 'data'));
    return await withWebhook((url, alerts) =>
      withJournal(`, on_full: ${onFull}, alerts: { webhook: ${url} }`, (path, start) => fill(onFull, disk, path, start, alerts), join(disk, 'data'), 'info'),
    );
  } finally {
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
}

async function fill(onFull: 'drop' | 'refuse', disk: string, path: string, start: () => Promise<Standalone>, alerts: readonly string[]): Promise<Part> {
  const gate = await start();
  const ask = async (): Promise<number> => (await fetch(`${gate.url}/v1/chat/completions`, { method: 'POST', headers, body: CHAT_REQUEST })).status;
  const metric = async (name: string): Promise<number> => Number(new RegExp(`^heimdall_${name} (\\S+)$`, 'm').exec(await (await fetch(`${gate.url}/metrics`, { headers: { authorization: 'Bearer prove-metrics-token' } })).text())?.[1]);
  const state = async (): Promise<string> => ((await (await fetch(`${gate.url}/heimdall/api/health`, { headers: { authorization: `Bearer ${adminToken}` } })).json()) as { journal: { state: string } }).journal.state;
  const lines = (): number => gate.output().split('"route":"/v1/chat/completions"').length - 1;
  for (let at = 0; at < 20; at++) await ask();
  await until(async () => (await metric('audit_records_total{result="written"}')) >= 20 && lines() === 20, 'the first are written');
  fillUp(join(disk, 'ballast'));
  const fullAt = performance.now();
  let asked = 20;
  await until(async () => {
    await ask();
    asked++;
    return gate.output().includes('journal.full');
  }, 'the event');
  const told = until(() => alerts.includes('journal.full'), 'the alert', noticedWithin);
  const shown = [await metric('audit_journal_writable'), await state()].join(' ');
  await told;
  const noticed = Math.round(performance.now() - fullAt);
  const while_ = await Promise.all(Array.from({ length: 20 }, ask));
  await until(() => lines() === asked + 20, 'the access lines');
  const alive = (await fetch(`${gate.url}/health`)).status === 200;
  rmSync(join(disk, 'ballast'));
  await until(() => gate.output().includes('journal.recovered') && alerts.includes('journal.recovered'), 'the event of its end');
  const after = await Promise.all(Array.from({ length: 20 }, ask));
  const shownAfter = [await metric('audit_journal_writable'), await state()].join(' ');
  await gate.stop();
  const { broken, records } = verified(path);
  const expected = onFull === 'drop' ? 200 : 503;
  const row = {
    part: `full disk, ${onFull}`, 'told by event, metric, health, alert after, ms': noticed, 'writable, state': `${shown}; ${shownAfter}`,
    'answers while full': [...new Set(while_)].join(' '), 'answers after': [...new Set(after)].join(' '), records, chain: broken?.what ?? 'whole',
  };
  return { row, holds: noticed <= noticedWithin && shown === '0 full' && shownAfter === '1 open' && alive && broken === null && while_.every((status) => status === expected) && after.every((status) => status === 200) };
}

/** Writes until nothing more fits. */
function fillUp(path: string): void {
  for (let size = 1_048_576; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
    } catch {
      // Smaller pieces may still fit.
    }
  }
}
