import { setTimeout as pause } from 'node:timers/promises';
import { CHAT_REQUEST, DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { startProvider } from '../support/provider.ts';
import { runGate } from './gate.ts';
import type { Finding } from './proof.ts';

const outagesInAll = 10;
const workers = 20;
/** How long the primary stays away, and back, milliseconds. */
const phase = 700;

const headers = { authorization: `Bearer ${DEMO_KEY}`, 'content-type': 'application/json' };
const stream = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: [{ role: 'user', content: 'count to ten' }] });

interface Tally {
  answered: number;
  /** By the backup. */
  saved: number;
  failed: number;
  /** Streams that had begun and were ended by an error event, as they must be. */
  interrupted: number;
}

/** Steady load of chats and streams while NewAPI is killed and restarted, with one healthy backup. */
export async function outages(): Promise<Finding> {
  const newapi = await startNewapi({ record: false, chunks: 20, pace: 5 });
  const backup = await startProvider({ name: 'backup', key: 'our-key' });
  const gate = await runGate(newapi.url, `
llm:
  backup_providers: [{ provider: openai, endpoint: "${backup.endpoint}", api_key: our-key }]
  retry: { retryable_errors: [rate_limit, server_error, timeout] }
circuit_breaker: { timeout: 200ms }
`);
  await ask(gate.url, false, tally());
  const rows: Record<string, number>[] = [];
  for (let outage = 1; outage <= outagesInAll; outage++) {
    const counted = tally();
    let over = false;
    const load = Array.from({ length: workers }, async (_, at) => {
      while (!over) await ask(gate.url, at % 2 === 0, counted);
    });
    await pause(phase);
    await newapi.stop();
    await pause(phase);
    await newapi.restart();
    await pause(phase);
    over = true;
    await Promise.all(load);
    rows.push({ outage, ...counted, 'in hand after': await gate.inHand() });
  }
  await gate.stop();
  await backup.close();
  await newapi.close();
  const holds = rows.every((row) => row['failed'] === 0 && (row['saved'] ?? 0) > 0 && row['in hand after'] === 0);
  return { rows, bar: 'no request fails before its answer has begun, each outage is bridged by the backup, nothing stays in hand', holds };
}

const tally = (): Tally => ({ answered: 0, saved: 0, failed: 0, interrupted: 0 });

async function ask(url: string, streaming: boolean, counted: Tally): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: streaming ? stream : CHAT_REQUEST }).catch(() => null);
  const text = answer === null ? '' : await answer.text().catch(() => '');
  if (answer?.status !== 200) counted.failed++;
  else if (streaming && text.includes('upstream_interrupted') && !text.includes('[DONE]')) counted.interrupted++;
  else if (streaming ? text.includes('[DONE]') : text.endsWith('}')) counted.answered++;
  else counted.failed++;
  if (text.includes('"backup')) counted.saved++;
}
