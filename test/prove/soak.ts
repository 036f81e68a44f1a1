import { Pool } from 'undici';
import { CHAT_REQUEST, DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { until } from '../support/client.ts';
import { runGate } from './gate.ts';
import type { Finding } from './proof.ts';

const rounds = 20;
const requestsARound = 25_000;
const abortsARound = 2500;
const atOnce = 50;
/** The heap has found its size by this round. */
const settledBy = 8;
/** Growth allowed from then on. */
const growth = 1.05;

const headers = { authorization: `Bearer ${DEMO_KEY}`, 'content-type': 'application/json' };
const streaming = Buffer.from(JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'count' }] }));

/** Memory over many requests and streams that their clients leave, and what is left in hand after them. */
export async function soak(): Promise<Finding> {
  const newapi = await startNewapi({ record: false, chunks: 200, pace: 1 });
  const gate = await runGate(newapi.url);
  const pool = new Pool(gate.url, { connections: atOnce });
  const rows: Record<string, number>[] = [];
  for (let round = 1; round <= rounds; round++) {
    const failed = await many(requestsARound, () => chat(pool));
    const stayed = await many(abortsARound, () => leave(pool));
    await until(async () => (await gate.inHand()) === 0, 'the gate lets go of every request');
    rows.push({ round, requests: requestsARound, failed, 'left streams': abortsARound, 'not left': stayed, 'in hand after': await gate.inHand(), 'memory MB': Math.round(gate.memory()) });
  }
  await pool.destroy();
  await gate.stop();
  await newapi.close();
  const settled = rows[settledBy - 1];
  const last = rows.at(-1);
  const flat = (last?.['memory MB'] ?? Infinity) <= (settled?.['memory MB'] ?? 0) * growth;
  const clean = rows.every((row) => row['failed'] === 0 && row['not left'] === 0 && row['in hand after'] === 0);
  return { rows, bar: `no failed request, nothing left in hand, memory grows at most ${Math.round((growth - 1) * 100)} % after round ${settledBy}`, holds: flat && clean };
}

/** @returns how many of them were not true. */
async function many(count: number, once: () => Promise<boolean>): Promise<number> {
  let left = count;
  let bad = 0;
  const worker = async (): Promise<void> => {
    while (left-- > 0) if (!(await once())) bad++;
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return bad;
}

async function chat(pool: Pool): Promise<boolean> {
  const { statusCode, body } = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body: CHAT_REQUEST });
  await body.dump();
  return statusCode === 200;
}

/** Reads the first bytes of a stream and goes. */
async function leave(pool: Pool): Promise<boolean> {
  const gone = new AbortController();
  const { statusCode, body } = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body: streaming, signal: gone.signal });
  body.once('data', () => gone.abort());
  const ended = await new Promise((resolve) => body.once('error', resolve).once('end', () => resolve(null)));
  return statusCode === 200 && ended !== null;
}
