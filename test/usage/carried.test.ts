import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Context } from '../../lib/request/context.ts';
import { carriedTap } from '../../lib/usage/carried.ts';
import type { Usage } from '../../types/usage.d.ts';

const gemini = { route: { class: 'task', errors: 'gemini' }, req: { method: 'POST' } } as unknown as Context;
const openai = { route: { class: 'task', errors: 'openai' }, req: { method: 'POST' } } as unknown as Context;
const json = ['Content-Type', 'application/json; charset=utf-8'];
const stream = ['content-type', 'text/event-stream'];

function read(context: Context, head: readonly string[], text: string, size = text.length): Usage | null {
  const tap = carriedTap(context, 200, head);
  assert.ok(tap !== null);
  for (let at = 0; at < text.length; at += size) tap.push(Buffer.from(text.slice(at, at + size)));
  return tap.end(true);
}

const metadata = (prompt: number, candidates: number, more: object = {}): string => JSON.stringify({ usageMetadata: { promptTokenCount: prompt, candidatesTokenCount: candidates, ...more } });

it('reads what Gemini says it used, thinking and tools included', () => {
  assert.deepEqual(read(gemini, json, metadata(7, 5, { thoughtsTokenCount: 20, cachedContentTokenCount: 3, totalTokenCount: 32 })), { prompt: 7, completion: 25, cached: 3, reasoning: 20, estimated: false });
  assert.equal(read(gemini, json, metadata(7, 5, { toolUsePromptTokenCount: 4 }))?.prompt, 11);
  assert.equal(read(gemini, json, '{"candidates":[]}'), null);
  assert.equal(read(gemini, json, '{"usageMetadata":{"promptTokenCount":"many"}}'), null);
});

it('takes the last of a stream or an array, however it is cut', () => {
  for (const size of [1, 13, 1000]) {
    const events = `data: ${metadata(7, 1)}\n\ndata: ${metadata(7, 9)}\n\n`;
    assert.equal(read(gemini, stream, events, size)?.completion, 9);
    assert.equal(read(gemini, json, `[${metadata(7, 1)},\n${metadata(7, 4)}]`, size)?.completion, 4);
    assert.equal(read(gemini, stream, `data: ${metadata(7, 3)}\n\ndata: {"usageMetadata":{"promptTok`, size)?.completion, 3);
  }
});

it('reads what else NewAPI relays as OpenAI would say it', () => {
  assert.equal(read(openai, json, '{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}')?.prompt, 8);
});

it('looks at nothing that holds no tokens', () => {
  assert.equal(carriedTap(gemini, 200, ['Content-Type', 'image/png']), null);
  assert.equal(carriedTap(gemini, 429, json), null);
  assert.equal(carriedTap(gemini, 200, [...json, 'Content-Encoding', 'gzip']), null);
  assert.equal(carriedTap({ route: { class: 'api', errors: 'newapi' }, req: { method: 'POST' } } as unknown as Context, 200, json), null);
  assert.equal(carriedTap({ route: { class: 'task', errors: 'task' }, req: { method: 'POST' } } as unknown as Context, 200, json), null);
  assert.equal(carriedTap({ ...gemini, req: { method: 'GET' } } as unknown as Context, 200, json), null);
});
