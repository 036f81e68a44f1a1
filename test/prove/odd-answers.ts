import { compareOdd, oddAnswer, oddCalls, receive, sendOdd, type OddAnswer, type OddCall } from '../support/odd-answers.ts';
import { until } from '../support/client.ts';
import { generator } from '../support/random.ts';
import { startRawUpstream } from '../support/raw-upstream.ts';
import { METRICS_TOKEN, runGate, type RunningGate } from './gate.ts';
import type { Finding } from './proof.ts';

const answers = Number(process.env['PROVE_ANSWERS'] ?? 10_000);
const atOnce = 16;
/** What must be zero when nothing is in hand; samples of one name are summed. */
const returning = ['queue_active', 'queue_waiting', 'inflight_bytes', 'upstream_active_requests'];
const document = '{"id":"c","choices":[]}';
const fine: OddAnswer = { name: 'fine', end: 'keep', bytes: Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${document.length}\r\n\r\n${document}`) };

const yaml = `
logging: { level: error, file: false }
circuit_breaker: { failure_threshold: 1000 }
rate_limit: { address: { limit: 0 } }
newapi: { timeout: 10s }
llm: { retry: { max_retries: 0 }, timeouts: { first_byte: 8s } }
`;

async function held({ url }: RunningGate): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } })).text();
  return returning.flatMap((name) => [...text.matchAll(new RegExp(`^heimdall_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))]).reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Odd answers, each through the gate and directly, on two calls of each engine: what a direct client gets arrives, and nothing is held. */
export async function oddAnswers(): Promise<Finding> {
  const ends: (() => unknown)[] = [];
  const random = generator(99);
  const current = new Map<string, OddAnswer>();
  const upstream = await startRawUpstream({ after: (end) => void ends.push(end) }, (socket, { path }) => sendOdd(socket, current.get(/nth=(\d+)/.exec(path)?.[1] ?? '') ?? fine));
  const gate = await runGate(upstream.url, yaml);
  const found: string[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let nth = next++; nth < answers; nth = next++) {
      const odd = oddAnswer(random);
      current.set(String(nth), odd);
      const call = oddCalls[nth % oddCalls.length] as OddCall;
      const wrong = await compareOdd(upstream.url, gate.url, call, `?nth=${nth}`);
      if (wrong !== null) found.push(`${call[1]}: ${wrong}: ${odd.name}`);
      current.delete(String(nth));
    }
  }));
  await until(async () => (await held(gate)) === 0, 'the gate lets go of everything');
  const left = await held(gate);
  let served = 0;
  for (const [method, path, body] of oddCalls) if ((await receive(gate.url + path, method, body, 262_144))?.body === document) served++;
  await gate.stop();
  for (const end of ends) await end();
  return {
    rows: [{ what: 'odd answers', found: answers }, { what: 'that arrive otherwise than directly', found: found.length }, ...found.slice(0, 10).map((what) => ({ what: what.slice(0, 110), found: '' })), { what: 'held at the end', found: left }, { what: 'of 4 calls served afterwards', found: served }],
    bar: 'the process lives, every answer that a direct client gets arrives, every other is an error or a broken connection, and nothing is held',
    holds: found.length === 0 && left === 0 && served === oddCalls.length,
  };
}
