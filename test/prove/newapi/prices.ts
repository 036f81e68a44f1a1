import type { Scene } from './scene.ts';
import { consumption, recorded, send, until } from './carriers.ts';

type Row = Readonly<Record<string, string | number | null>>;

const messages = [{ role: 'user', content: 'Hello' }];

const calls: readonly (readonly [name: string, path: string, body: object])[] = [
  ['chat', '/v1/chat/completions', { model: 'gpt-4o-mini', messages }],
  ['chat, stream', '/v1/chat/completions', { model: 'gpt-4o-mini', messages, stream: true, stream_options: { include_usage: true } }],
  ['chat, dearer model', '/v1/chat/completions', { model: 'gpt-4o', messages }],
  ['messages', '/v1/messages', { model: 'gpt-4o-mini', max_tokens: 9, messages }],
  ['responses', '/v1/responses', { model: 'gpt-4o', input: 'Hello' }],
  ['embeddings', '/v1/embeddings', { model: 'text-embedding-3-small', input: 'Hello' }],
  ['image', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate' }],
  ['two images', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate', n: 2 }],
  ['a wide one in HD', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate', size: '1792x1024', quality: 'hd' }],
  ['a model by the call', '/v1/chat/completions', { model: 'gpt-4o-realtime-preview', messages }],
];

const quotaPerDollar = 500_000;

/** What the gate recorded as cost is what NewAPI's own log says was charged, call by call. */
export async function pricesProof({ newapi, gate }: Scene): Promise<readonly Row[]> {
  const key = Object.values(newapi.tokens)[0] as string;
  const rows: Row[] = [];
  for (const [name, path, body] of calls) {
    const answer = await send(gate.url, path, [['Authorization', `Bearer ${key}`], ['Content-Type', 'application/json']], JSON.stringify(body));
    const row = await until(() => consumption(newapi, String(answer.headers['x-oneapi-request-id'] ?? '')));
    const record = await until(() => recorded(gate.url, String(answer.headers['x-request-id'] ?? '')));
    const [charged, cost] = [(row?.quota ?? Number.NaN) / quotaPerDollar, record?.cost ?? Number.NaN];
    rows.push({ call: name, status: answer.status, 'NewAPI charged': charged, 'the gate counted': cost, differs: Math.abs(charged - cost) < 1e-9 ? 0 : 1 });
  }
  return rows;
}

