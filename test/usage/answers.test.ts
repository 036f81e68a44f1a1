import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { RequestBody } from '../../lib/http/http.ts';
import type { Context } from '../../lib/request/context.ts';
import { meterFor, type UsageMeter } from '../../lib/usage/meter.ts';
import type { Usage } from '../../types/usage.d.ts';

const asking = (route: object, path = '/v1/chat/completions'): Context => ({ route: { class: 'model', api: path, errors: 'openai', free: false, media: false, ...route }, path, body: RequestBody.of(Buffer.alloc(400, 'a')), req: { method: 'POST', headers: {} } }) as unknown as Context;
const chat = asking({});
const gemini = asking({ class: 'task', errors: 'gemini' }, '/v1beta/models/m:generateContent');
const embeddings = asking({}, '/v1/embeddings');
const speech = asking({ media: true }, '/v1/audio/speech');

function meter(context: Context, head: readonly string[] = []): UsageMeter {
  const found = meterFor(context, 200, head);
  assert.ok(found !== null);
  return found;
}

function read(context: Context, body: string | Buffer, { head = [] as readonly string[], size = Number.POSITIVE_INFINITY, complete = true } = {}): Promise<Usage | null> {
  const reading = meter(context, head);
  const bytes = Buffer.from(body as string);
  for (let at = 0; at < bytes.length; at += size) reading.push(bytes.subarray(at, at + size));
  return new Promise((resolve) => reading.end(complete, resolve));
}

const metadata = (prompt: number, candidates: number, more: object = {}): string => JSON.stringify({ usageMetadata: { promptTokenCount: prompt, candidatesTokenCount: candidates, ...more } });
const usage = { prompt_tokens: 20, completion_tokens: 9, total_tokens: 29 };
const told = { prompt: 20, completion: 9, cached: 0, reasoning: 0, estimated: false };
const events = `data: {"choices":[{"delta":{"content":"abcd"}}]}\n\ndata: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`;
const lines = `{"choices":[{"delta":{"content":"abcd"}}]}\n${JSON.stringify({ choices: [], usage })}\n`;
const filler = 'a "quoted" \\ text with {brackets] in it '.repeat(2500);
const choices = [{ index: 0, message: { role: 'assistant', content: filler } }];

const answers: Readonly<Record<string, string>> = {
  'a document': JSON.stringify({ choices: [], usage }),
  'a document with its usage first': JSON.stringify({ usage, choices }),
  'a document with its usage in the middle': JSON.stringify({ choices, usage, more: choices }),
  'a document with its usage last': JSON.stringify({ choices, usage }),
  'a document written for people': JSON.stringify({ usage, choices }, null, 2),
  'a document in which others have a usage, too': JSON.stringify({ a: { usage: { prompt_tokens: 1 } }, usage, b: [{ usage: { prompt_tokens: 2 } }], c: 'usage' }),
  'a document with a usage twice': `{"usage":{"prompt_tokens":1},"choices":[],"usage":${JSON.stringify(usage)}}`,
  'a document behind white space': `\n \t${JSON.stringify({ usage, choices })}\n`,
  'a document behind a byte order mark': `\ufeff${JSON.stringify({ usage, choices })}`,
  'an array': JSON.stringify([{ choices: [] }, { usage, choices }]),
  'a stream': events,
  'a stream of CRLF': events.replaceAll('\n', '\r\n'),
  'a stream of CR': events.replaceAll('\n', '\r'),
  'a stream of mixed line ends': events.replace('\n\n', '\r\n\r').replace('\n\n', '\r\r'),
  'a stream behind a byte order mark and a comment': `\ufeff: hello\n\n${events}`,
  'a stream behind its other fields': `retry: 3\nid: 7\nevent: message\n${events}`,
  'a stream whose usage stands before a long text': `data: ${JSON.stringify({ usage, choices: [{ delta: { content: filler } }] })}\n\n`,
  'a response whose usage stands before a long text': `data: ${JSON.stringify({ type: 'response.completed', response: { usage, output: choices } })}\n\n`,
  'a response with a usage in a tool behind it': `data: ${JSON.stringify({ type: 'response.completed', response: { usage, output: choices, tools: [{ parameters: { properties: { usage: { input_tokens: 1 } } } }] } })}\n\n`,
  'JSON line by line': lines,
  'JSON line by line, of CRLF': lines.replaceAll('\n', '\r\n'),
  'JSON line by line, of CR': lines.replaceAll('\n', '\r'),
  'JSON line by line, the usage in the middle': `${lines}{"done":true}\n`,
};

describe('the usage of an answer', () => {
  for (const [what, answer] of Object.entries(answers)) {
    it(`is read in ${what}, whatever its head says and however it is cut`, async () => {
      for (const size of [1, 7, 1000, 70_000, Number.POSITIVE_INFINITY]) {
        for (const type of ['application/json', 'text/event-stream', '']) {
          assert.deepEqual(await read(chat, answer, { size, head: type === '' ? [] : ['Content-Type', type] }), told, `${size} ${type}`);
        }
      }
    });
  }

  const codings = { gzip: gzipSync, 'x-gzip': gzipSync, deflate: deflateSync, DEFLATE: deflateRawSync, br: brotliCompressSync, zstd: zstdCompressSync } as const;
  for (const [coding, compress] of Object.entries(codings)) {
    it(`is read in ${coding}`, async () => {
      for (const answer of Object.values(answers)) {
        for (const size of [13, 70_000]) assert.deepEqual(await read(chat, compress(answer), { size, head: ['content-encoding', coding] }), told);
      }
    });
  }

  it('is read under several codings, in several members and with those that stand for none', async () => {
    const twice = brotliCompressSync(gzipSync(events));
    for (const head of [['Content-Encoding', 'gzip, br'], ['Content-Encoding', 'GZIP', 'content-encoding', ' identity ,BR']]) assert.deepEqual(await read(chat, twice, { head }), told);
    for (const head of [['Content-Encoding', 'identity'], ['Content-Encoding', 'IDENTITY'], ['Content-Encoding', '']]) assert.deepEqual(await read(chat, events, { head }), told);
    const half = events.length >> 1;
    for (const [coding, compress] of [['gzip', gzipSync], ['zstd', zstdCompressSync]] as const) {
      const members = Buffer.concat([compress(events.slice(0, half)), compress(events.slice(half))]);
      for (const size of [9, 70_000]) assert.deepEqual(await read(chat, members, { size, head: ['Content-Encoding', coding] }), told);
    }
  });

  it('is estimated from the bytes where it cannot be read', async () => {
    const text = 'four words are here '.repeat(200);
    const cases: readonly (readonly [string, string | Buffer, string])[] = [
      ['an unknown coding', Buffer.alloc(4000, 1), 'compress'],
      ['broken gzip', Buffer.alloc(4000, 1), 'gzip'],
      ['more codings than anyone uses', Buffer.alloc(4000, 1), 'gzip, gzip, gzip, gzip, gzip'],
      ['half of its bytes', gzipSync(Buffer.from(Array.from({ length: 9000 }, (_, at) => (at * 7919) % 251))).subarray(0, 4000), 'zstd'],
      ['plain text', text, ''],
      ['a page', `<html>${text}`, ''],
      ['JSON without it', JSON.stringify({ choices: [{ message: { content: text } }] }), ''],
      ['JSON that is cut within', JSON.stringify({ usage, choices: [{ message: { content: text } }] }).slice(0, -3), ''],
    ];
    for (const [what, body, coding] of cases) {
      const found = await read(chat, body, { head: ['Content-Encoding', coding] });
      assert.ok(found !== null && found.estimated && found.prompt === 100 && found.completion >= 300, `${what}: ${JSON.stringify(found)}`);
    }
  });

  it('is bounded where an upstream lies', async () => {
    const text = 'four words are here '.repeat(200);
    for (const lie of ['-5', '"9"', '1e300', '9007199254740991', '1e999', '[9]', '{}', 'true', '-1e308']) {
      for (const member of ['completion_tokens', 'prompt_tokens', 'total_tokens', 'output_tokens']) {
        const report = `"usage":{"prompt_tokens":20,"completion_tokens":9,"${member}":${lie}}`;
        for (const answer of [`{${report},"choices":[{"message":{"content":"${text}"}}]}`, `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\ndata: {"choices":[],${report}}\n\n`]) {
          const found = await read(chat, answer);
          assert.ok(found !== null && found.estimated && found.prompt === 100 && found.completion >= 1000 && found.completion < 1100, `${report}: ${JSON.stringify(found)}`);
        }
      }
    }
    for (const nothing of [{}, { prompt_tokens: 0, completion_tokens: 0 }, { prompt_tokens: 20, completion_tokens: 0 }, null]) {
      const found = await read(chat, `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\ndata: ${JSON.stringify({ choices: [], usage: nothing })}\n\n`);
      assert.ok(found !== null && found.estimated && found.completion === 1000 && found.prompt > 0, JSON.stringify(found));
    }
  });

  it('takes a prompt that is not in hand for text up to 256 KB, and for pictures beyond', async () => {
    for (const [length, expected] of [['4000', 1000], ['262144', 65_536], ['25600000', 100_000]] as const) {
      const context = { ...chat, body: null, req: { method: 'POST', headers: { 'content-length': length } } } as unknown as Context;
      assert.equal((await read(context, 'plain text'))?.prompt, expected);
    }
  });

  it('of a compressed answer is known at once, as far as it was read, when the request is cut', async () => {
    const reading = meter(chat, ['Content-Encoding', 'gzip']);
    reading.push(gzipSync(events));
    const found = reading.stop();
    assert.ok(found !== null && found.estimated && found.completion > 0);
    reading.end(true, () => assert.fail('known twice'));
  });

  it('stops at a body that is made to grow without end', async () => {
    const found = await read(chat, gzipSync(Buffer.alloc(100_000_000)), { head: ['Content-Encoding', 'gzip'], size: 16_384 });
    assert.equal(found?.estimated, true);
  });
});

describe("Gemini's own API", () => {
  it('says what it used, thinking and tools included', async () => {
    assert.deepEqual(await read(gemini, metadata(7, 5, { thoughtsTokenCount: 20, cachedContentTokenCount: 3, totalTokenCount: 32 })), { prompt: 7, completion: 25, cached: 3, reasoning: 20, estimated: false });
    assert.equal((await read(gemini, metadata(7, 5, { toolUsePromptTokenCount: 4 })))?.prompt, 11);
    assert.deepEqual(await read(gemini, '{"usageMetadata":{"promptTokenCount":"many"},"candidates":[]}'), { prompt: 100, completion: 16, cached: 0, reasoning: 0, estimated: true });
  });

  it('says it last in a stream or an array, however they are cut', async () => {
    for (const size of [1, 13, 1000]) {
      assert.equal((await read(gemini, `data: ${metadata(7, 1)}\n\ndata: ${metadata(7, 9)}\n\n`, { size }))?.completion, 9);
      assert.equal((await read(gemini, `[${metadata(7, 1)},\n${metadata(7, 4)}]`, { size }))?.completion, 4);
      assert.equal((await read(gemini, `data: ${metadata(7, 3)}\n\ndata: {"usageMetadata":{"promptTok`, { size }))?.completion, 3);
      assert.equal((await read(gemini, `{"usageMetadata":${metadata(7, 3).slice(17, -1)},"candidates":[{"content":{"parts":[{"inlineData":{"data":"${'A'.repeat(300_000)}"}}]}}]}`, { size }))?.completion, 3);
    }
  });
});

describe('an answer without text of a model', () => {
  it('has the tokens it names, and no others', async () => {
    assert.deepEqual(await read(embeddings, '{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}'), { prompt: 8, completion: 0, cached: 0, reasoning: 0, estimated: false });
    assert.equal(await read(embeddings, '{"data":[]}'), null);
    assert.deepEqual(await read(embeddings, '{"data":[', { complete: false }), { prompt: 100, completion: 0, cached: 0, reasoning: 0, estimated: true });
    assert.deepEqual(await read(speech, `{"data":[{"b64_json":"${'A'.repeat(300_000)}"}],"usage":{"input_tokens":8,"output_tokens":1056}}`), { prompt: 8, completion: 1056, cached: 0, reasoning: 0, estimated: false });
    for (const complete of [true, false]) assert.equal(await read(speech, Buffer.from([0xff, 0xfb, 1, 2]), { complete }), null);
  });

  it('is not metered where it costs none', () => {
    assert.equal(meterFor(chat, 429, []), null);
    assert.equal(meterFor(asking({ free: true }), 200, []), null);
    assert.equal(meterFor(asking({ class: 'api', errors: 'newapi' }), 200, []), null);
    assert.equal(meterFor(asking({ class: 'task', errors: 'task' }), 200, []), null);
    assert.equal(meterFor({ ...gemini, req: { method: 'GET' } } as unknown as Context, 200, []), null);
  });
});
