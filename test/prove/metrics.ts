import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { kinds, MARK, noise, obliging, send, seriesIn } from '../support/noise.ts';
import { generator } from '../support/random.ts';
import { METRICS_TOKEN, runGate, type RunningGate } from './gate.ts';
import type { Finding } from './proof.ts';

const requests = Number(process.env['PROVE_METRICS'] ?? 100_000);
const steps = 10;
const yaml = `
secret: an-install-secret-for-this-proof
logging: { level: error, file: false }
rate_limit: { address: { limit: 0 } }
llm: { models: { gpt-5: gpt-5-mini } }
`;

interface Scrape {
  readonly series: number;
  readonly bytes: number;
  readonly ms: number;
  readonly marked: boolean;
}

async function scrape({ url }: RunningGate): Promise<Scrape> {
  const began = performance.now();
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  const text = await answer.text();
  return { series: seriesIn(text), bytes: text.length, ms: performance.now() - began, marked: text.includes(MARK) };
}

/** Random paths, methods, keys, models and statuses: after one request of each kind no series is added, and none names what a caller wrote. */
export async function metrics(): Promise<Finding> {
  const random = generator(8);
  const upstream = createServer(obliging).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const gate = await runGate(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, yaml);
  const pool = new Pool(gate.url, { connections: 32 });
  const rows: Record<string, string | number>[] = [];
  const note = (sent: number, { series, bytes, ms }: Scrape): void => void rows.push({ requests: sent, series, 'KB a scrape': Math.round(bytes / 1024), 'ms a scrape': Math.round(ms * 10) / 10, 'memory, MB': Math.round(gate.memory()) });
  await send(pool, kinds, (at) => noise(random, at), 32);
  await scrape(gate);
  const first = await scrape(gate);
  note(kinds, first);
  let last = first;
  let steady = true;
  for (let step = 1; step <= steps; step++) {
    await send(pool, requests / steps, () => noise(random), 32);
    last = await scrape(gate);
    note(kinds + (requests / steps) * step, last);
    steady &&= last.series === first.series && !last.marked;
  }
  await pool.close();
  await gate.stop();
  upstream.close();
  upstream.closeAllConnections();
  return { rows, bar: `${first.series} series after one request of each kind and after ${requests} random ones, none with a caller's words`, holds: steady && !first.marked };
}
