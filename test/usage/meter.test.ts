import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DocumentReader, StreamReader } from '../../lib/usage/meter.ts';
import { jsonUsage } from '../../lib/usage/tokens.ts';
import type { Usage } from '../../types/usage.d.ts';
import { embeddings, images, modelList, moderation, rerank, textAnswer, transcription } from '../support/content/answers.ts';
import type { Ask, Mark, Shape } from '../support/content/ask.ts';
import { errorFrame, textFrames } from '../support/content/frames.ts';
import { generator } from '../support/random.ts';

const mark: Mark = { id: 'abcdefgh12345678', created: 1_790_000_000, model: 'gpt-4o-mini' };
const askFor = (shape: Shape, text: string): Ask => ({ shape, model: mark.model, text, stream: true, usage: true, promptTokens: 11 });
const shapes = ['chat', 'completions', 'claude', 'responses'] as const;
const words = 'The quick brown fox said "usage": {"prompt_tokens": 7} and \\ jumped over 世界 twice. ';

const tokens = (prompt: number, completion: number, cached = 0, reasoning = 0, estimated = false): Usage => ({ prompt, completion, cached, reasoning, estimated });
/** The same with the seven tokens that {@link claude} writes to a cache. */
const caching = (prompt: number, completion: number, cached = 0, estimated = false): Usage => ({ ...tokens(prompt, completion, cached, 0, estimated), written: 7 });

const asked = { body: 400, writes: false };
const streamTap = (): StreamReader => new StreamReader(asked);
const documentTap = (): DocumentReader => new DocumentReader(asked);

function feed<T extends { push(chunk: Buffer): void }>(tap: T, bytes: Buffer, size: number): T {
  for (let at = 0; at < bytes.length; at += size) tap.push(bytes.subarray(at, at + size));
  return tap;
}

const read = (text: string | Buffer, complete = true, size = Number.POSITIVE_INFINITY): Usage | null => feed(streamTap(), Buffer.from(text), size).end(complete);

/** Read in one piece, in two cut at every byte, and in small ones, with the same result. */
function readAnyhow(text: string, complete = true): Usage | null {
  const bytes = Buffer.from(text);
  const expected = read(bytes, complete);
  for (let cut = 1; cut < bytes.length; cut++) {
    const tap = streamTap();
    tap.push(bytes.subarray(0, cut));
    tap.push(bytes.subarray(cut));
    assert.deepEqual(tap.end(complete), expected, `cut at ${cut}`);
  }
  for (const size of [1, 2, 3, 7, 64]) assert.deepEqual(read(bytes, complete, size), expected, `in pieces of ${size}`);
  return expected;
}

const data = (...events: unknown[]): string => events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('');
const chat = (more: object, delta: object = {}): object => ({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null }], ...more });
const said = (content: string): object => chat({}, { content });
const openai = { prompt_tokens: 20, completion_tokens: 9, total_tokens: 29, prompt_tokens_details: { cached_tokens: 8, audio_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 3 } };
const responses = { input_tokens: 20, input_tokens_details: { cached_tokens: 8 }, output_tokens: 9, output_tokens_details: { reasoning_tokens: 3 }, total_tokens: 29 };
const claude = { input_tokens: 5, cache_creation_input_tokens: 7, cache_read_input_tokens: 8, cache_creation: { ephemeral_5m_input_tokens: 7 }, output_tokens: 1, service_tier: 'standard' };
const claudeDelta = (more: object): object => ({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, ...more });

const streams: readonly (readonly [what: string, stream: string, usage: Usage | null])[] = [
  ['a usage chunk behind chunks that say null', data(chat({ usage: null }, { content: 'a' }), chat({ usage: null }), chat({ choices: [], usage: openai }), '[DONE]'), tokens(20, 9, 8, 3)],
  ['usage with every event, of which the last counts', data(...[1, 2, 9].map((n) => chat({ usage: { ...openai, completion_tokens: n, total_tokens: 20 + n } }, { content: 'abcd' })), '[DONE]'), tokens(20, 9, 8, 3)],
  ['the last of several, behind which a longer line comes', `${data(...[1, 9].map((n) => chat({ usage: { prompt_tokens: 20, completion_tokens: n } })))}: ${'x'.repeat(400)}\n\n`, tokens(20, 9)],
  ['the last that is not of zeros', data(chat({ usage: { prompt_tokens: 20, completion_tokens: 1 } }), chat({ usage: openai }), chat({ usage: { prompt_tokens: 0, completion_tokens: 0 } })), tokens(20, 9, 8, 3)],
  ['no more from a cache than there is', data(chat({ usage: { prompt_tokens: 5, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 8 }, completion_tokens_details: { reasoning_tokens: 4 } } })), tokens(5, 1, 5, 1)],
  ['zeros with every event', data(...[1, 2, 3].map(() => chat({ usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, system_fingerprint: 'fp_44' }, { content: 'abcd' })), chat({ usage: openai })), tokens(20, 9, 8, 3)],
  ['usage in the finish chunk', data(said('a'), { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: openai }, '[DONE]'), tokens(20, 9, 8, 3)],
  ["Moonshot's usage in a choice", data(said('a'), { choices: [{ index: 0, delta: {}, finish_reason: 'stop', usage: openai }] }, '[DONE]'), tokens(20, 9, 8, 3)],
  ["Groq's usage, and its parts by model", data(said('a'), chat({ x_groq: { id: 'r', usage: openai }, usage_breakdown: { models: [{ model: 'm', usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }] } })), tokens(20, 9, 8, 3)],
  ["Grok's and Gemini's thinking, told by the total alone", data(chat({ usage: { prompt_tokens: 32, completion_tokens: 9, total_tokens: 361, completion_tokens_details: { reasoning_tokens: 320 } } })), tokens(32, 329, 0, 320)],
  ['a completed response', data({ type: 'response.created', response: { usage: null } }, { type: 'response.output_text.delta', delta: 'abc' }, { type: 'response.completed', response: { output: [], usage: responses, user: null, metadata: { a: 'usage"' } } }), tokens(20, 9, 8, 3)],
  ['an incomplete response', data({ type: 'response.incomplete', response: { usage: responses, incomplete_details: { reason: 'max_output_tokens' } } }), tokens(20, 9, 8, 3)],
  ['a failed response', data({ type: 'response.failed', response: { error: { code: 'server_error' }, usage: responses } }), tokens(20, 9, 8, 3)],
  ['a message', data({ type: 'message_start', message: { id: 'm', usage: claude } }, { type: 'ping' }, claudeDelta({ usage: { output_tokens: 9 } }), { type: 'message_stop' }), caching(20, 9, 8)],
  ['a message whose end corrects its start', data({ type: 'message_start', message: { usage: { input_tokens: 30, output_tokens: 1 } } }, claudeDelta({ usage: { ...claude, output_tokens: 9 } })), caching(20, 9, 8)],
  ['a message whose end repeats the input as 0', data({ type: 'message_start', message: { usage: claude } }, claudeDelta({ usage: { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 9 } })), caching(20, 9, 8)],
  ["DeepSeek's cache", data(chat({ usage: { prompt_tokens: 20, completion_tokens: 9, total_tokens: 29, prompt_cache_hit_tokens: 8, prompt_cache_miss_tokens: 12 } })), tokens(20, 9, 8)],
  ["NewAPI's words for everybody", data(chat({ usage: { ...openai, input_tokens: 0, output_tokens: 0, input_tokens_details: null } })), tokens(20, 9, 8, 3)],
  ['no space behind the colon', `data:${JSON.stringify(chat({ usage: openai }))}\n\n`, tokens(20, 9, 8, 3)],
  ['CRLF', data(said('a'), chat({ usage: openai }), '[DONE]').replaceAll('\n', '\r\n'), tokens(20, 9, 8, 3)],
  ['single line breaks', data(said('a'), chat({ usage: openai }), '[DONE]').replaceAll('\n\n', '\n'), tokens(20, 9, 8, 3)],
  ['no line break at the end', data(chat({ usage: openai })).trimEnd(), tokens(20, 9, 8, 3)],
  ['spaces within', `data: { "choices" : [] , "usage" : { "prompt_tokens" : 20 , "completion_tokens" : 9 } , "x" : [ 1 , { } ] }\n\n`, tokens(20, 9)],
  ['comments and names around it', `: PING\n\nevent: done\nid: 7\n${data(chat({ usage: openai }))}: {"usage":{"prompt_tokens":1}}\n\n`, tokens(20, 9, 8, 3)],
  ['broken JSON behind it', data(chat({ usage: openai }), '{"usage":{"prompt_tokens":1', '{"usage":{1}}', '{"usage":{"prompt_tokens":1}}]'), tokens(20, 9, 8, 3)],
  ['nothing', '', null],
  ['no event', ': PING\n\n', null],
  ['an error', errorFrame('openai', 'm') + errorFrame('claude', 'm') + errorFrame('responses', 'm'), null],
  ['only null', data(chat({ usage: null }), '[DONE]'), null],
  ['numbers that are none', data(chat({ usage: { prompt_tokens: -1, completion_tokens: '9', total_tokens: 1e300 } })), null],
  ['a word of that name', data({ content: 'usage' }, { usage: '1' }, { usage: [{ prompt_tokens: 1 }] }, ['usage', { prompt_tokens: 1 }], { 'their usage': { prompt_tokens: 1 } }, { 'a"usage': { prompt_tokens: 1 } }), null],
  ['a tool of that name', data({ type: 'response.created', response: { tools: [{ parameters: { default: { usage: { input_tokens: 1, output_tokens: 1 } } } }], metadata: { usage: { input_tokens: 1 } }, usage: null } }), null],
];

describe('streamTap', () => {
  for (const shape of shapes) {
    it(`reads what a ${shape} stream reports, cut at every byte`, () => {
      const text = words.repeat(3);
      assert.deepEqual(readAnyhow(textFrames(askFor(shape, text), mark, 12).join('')), tokens(11, Math.ceil(text.length / 4)));
    });
  }

  for (const [what, stream, usage] of streams) {
    it(`reads ${what}, cut at every byte`, () => assert.deepEqual(readAnyhow(stream), usage));
  }

  it('leaves the bytes alone', () => {
    const bytes = Buffer.from(textFrames(askFor('chat', words), mark).join(''));
    const copy = Buffer.from(bytes);
    feed(streamTap(), bytes, 50).end(true);
    assert.ok(bytes.equals(copy));
  });

  it('finds the report behind a line of many megabytes', () => {
    const completed = { type: 'response.completed', response: { output: [{ type: 'image_generation_call', result: 'A'.repeat(10_000_000) }], usage: responses } };
    for (const size of [1_000, 65_536, Number.POSITIVE_INFINITY]) assert.deepEqual(read(data(said('a'), completed), true, size), tokens(20, 9, 8, 3));
  });

  it('is not misled by a client whose tools are repeated to it, when the client leaves', () => {
    const created = { type: 'response.created', response: { tools: [{ type: 'function', parameters: { default: { usage: { input_tokens: 1, output_tokens: 1 } } } }], usage: null } };
    const delta = { type: 'response.output_text.delta', delta: 'abcdefgh' };
    assert.deepEqual(readAnyhow(data(created, delta), false), tokens(100, 2, 0, 0, true));
    assert.deepEqual(readAnyhow(data(delta, created, delta, created), false), tokens(100, 4, 0, 0, true));
  });
});

describe('the estimate of a stream that was cut', () => {
  const pieces: readonly (readonly [what: string, events: readonly object[]])[] = [
    ['content', [said('12345678')]],
    ['a refusal', [chat({}, { refusal: '12345678' })]],
    ['reasoning', [chat({}, { reasoning_content: '1234' }), chat({}, { reasoning: '5678', content: null })]],
    ["a tool's arguments", [chat({}, { tool_calls: [{ index: 0, id: 'call_1234567890', type: 'function', function: { name: 'look_up', arguments: '123456\\' } }] })]],
    ['several choices', [{ choices: [{ delta: { content: '1234' } }, { delta: { content: '5678' } }] }]],
    ['parts', [chat({}, { content: [{ type: 'thinking', thinking: [{ type: 'text', text: '12345678' }] }] })]],
    ['a completion', [{ object: 'text_completion', choices: [{ text: '12345678', index: 0, logprobs: null }] }]],
    ["a message's text", [{ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: '12345678' } }]],
    ["a message's thinking, without its signature", [{ type: 'content_block_delta', delta: { type: 'thinking_delta', thinking: '12345678' } }, { type: 'content_block_delta', delta: { type: 'signature_delta', signature: 'x'.repeat(99) } }]],
    ["a message's tool input", [{ type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"a": 1}'.slice(0, 6) } }]],
    ['a response, once', [{ type: 'response.output_text.delta', item_id: 'msg_123', delta: '12345678', obfuscation: 'abcdef' }, { type: 'response.output_text.done', text: '12345678' }, { type: 'response.content_part.done', part: { type: 'output_text', text: '12345678' } }]],
    ["a response's tool arguments", [{ type: 'response.function_call_arguments.delta', delta: '12345678' }, { type: 'response.function_call_arguments.done', arguments: '12345678' }]],
    ['the word delta in a text', [{ choices: [{ text: '1 "delta"', index: 0 }] }]],
    ['Chinese, plain', [said('世x')]],
  ];
  for (const [what, events] of pieces) {
    it(`counts ${what}`, () => assert.deepEqual(readAnyhow(data(...events), false), tokens(100, what.startsWith('the word') ? 3 : 2, 0, 0, true)));
  }

  it('weighs escaped text as it weighs the same text plain', () => {
    const plain = data(said('世界'.repeat(5)));
    assert.deepEqual(read(plain.replaceAll('世', '\\u4e16').replaceAll('界', '\\u754c'), false), read(plain, false));
  });

  it('adds what came behind the last report to it', () => {
    const start = { type: 'message_start', message: { usage: claude } };
    const piece = { type: 'content_block_delta', delta: { type: 'text_delta', text: '12345678' } };
    assert.deepEqual(readAnyhow(data(start, piece, piece), false), caching(20, 1 + 4, 8, true));
    assert.deepEqual(readAnyhow(data(start, piece, claudeDelta({ usage: { output_tokens: 3 } })), false), caching(20, 3, 8, true));
    assert.deepEqual(readAnyhow(data(said('12345678'), chat({ usage: openai }, { content: '1234' }), said('12345678')), false), tokens(20, 9 + 2, 8, 3, true));
    assert.deepEqual(readAnyhow(data(chat({ usage: openai }), chat({ usage: { prompt_tokens: 0 }, system_fingerprint: 'fp_44' }, { content: '12345678' })), false), tokens(20, 9 + 2, 8, 3, true));
  });

  it('serves a complete stream that reports nothing, or only its beginning', () => {
    assert.deepEqual(read(data(said('12345678'), '[DONE]')), tokens(100, 2, 0, 0, true));
    assert.deepEqual(read(data({ type: 'message_start', message: { usage: claude } }, { type: 'content_block_delta', delta: { text: '12345678' } })), caching(20, 3, 8, true));
    assert.deepEqual(read(data(chat({ usage: { completion_tokens: 9 } }))), tokens(100, 9, 0, 0, true));
  });

  it('counts a request nobody answered', () => assert.deepEqual(read('', false), tokens(100, 0, 0, 0, true)));

  for (const shape of shapes) {
    it(`never falls while a ${shape} stream grows, and is right within a factor of two`, () => {
      const text = 'A stream of words, of no great length each. '.repeat(8);
      const frames = textFrames({ ...askFor(shape, text), usage: false }, mark).filter((frame) => !/message_delta|response\.completed/.test(frame));
      const bytes = Buffer.from(frames.join(''));
      let last = 0;
      for (let until = 0; until < bytes.length; until += 13) {
        const { completion } = read(bytes.subarray(0, until), false) as Usage;
        assert.ok(completion >= last, `${completion} after ${last} at ${until}`);
        last = completion;
      }
      const half = frames.slice(0, frames.length / 2).join('');
      const { completion } = read(half, false) as Usage;
      const spoken = text.length / 4 / 2;
      assert.ok(completion > spoken / 1.5 && completion < spoken * 1.5, `${completion} for ${spoken}`);
    });
  }

  it('holds for pieces of all sizes, and does not depend on how they are cut', () => {
    const pick = generator(5);
    for (let round = 0; round < 40; round++) {
      const texts = Array.from({ length: 5 + pick(400) }, () => 'abcd efgh ijkl '.repeat(1 + pick(4)).slice(0, 1 + pick(30)));
      const bytes = Buffer.from(data(...texts.map((text) => said(text))));
      const found = read(bytes, false)?.completion ?? 0;
      const spoken = texts.join('').length / 4;
      assert.ok(found >= spoken / 2 && found <= spoken * 2, `${found} for ${spoken}`);
      for (const size of [5, 333, 4096]) assert.equal(read(bytes, false, size)?.completion, found);
    }
  });
});

describe('jsonUsage', () => {
  const json = (value: unknown, space?: string): Usage | null => jsonUsage(Buffer.from(JSON.stringify(value, null, space)));

  it('reads the answers of every route', () => {
    const completion = Math.ceil(words.length / 4);
    for (const shape of shapes) assert.deepEqual(json(textAnswer(askFor(shape, words), mark)), tokens(11, completion), shape);
    assert.deepEqual(json(embeddings({ input: 'Hello world' }, mark)), tokens(3, 0));
    assert.deepEqual(json(rerank({ query: 'abcd', documents: ['efgh'] })), tokens(2, 0));
    assert.deepEqual(json({ usage: { total_tokens: 38 } }), tokens(38, 0));
    assert.deepEqual(json(images(mark)), tokens(4, 16));
    assert.deepEqual(json(transcription('00', 1)), tokens(8, 8));
    assert.deepEqual(json({ id: 'm', usage: { ...claude, output_tokens: 9 } }), caching(20, 9, 8));
    assert.deepEqual(json({ usage: openai, choices: [] }, '  '), tokens(20, 9, 8, 3));
  });

  it('finds none where there is none', () => {
    for (const value of [modelList(['m'], 1, 'x'), moderation(mark), { usage: null }, { usage: {} }, { usage: { type: 'duration', seconds: 3 } }, [{ usage: openai }], { a: { usage: openai } }, 'usage', { object: 'list', usage: [openai] }]) {
      assert.equal(json(value), null, JSON.stringify(value));
    }
    for (const text of ['', '{', '"usage":{', 'usage"', '"usage"', '{"usage":{"prompt_tokens":1}}}']) assert.equal(jsonUsage(Buffer.from(text)), null, text);
  });

  it('finds none in an answer cut anywhere', () => {
    const whole = Buffer.from(JSON.stringify(textAnswer(askFor('responses', words), mark)));
    for (let cut = 0; cut < whole.length; cut++) assert.equal(jsonUsage(whole.subarray(0, cut)), null, `${cut}`);
  });

  it('agrees with JSON.parse on generated answers', () => {
    const pick = generator(3);
    const texts = ['', 'usage', '"usage":{"prompt_tokens":5}', '\\', '}', ']}', 'é世\u{1f511}', '"'];
    const value = (depth: number): unknown => {
      const kind = pick(depth > 3 ? 3 : 6);
      if (kind < 3) return [texts[pick(texts.length)], pick(9), null][kind];
      if (kind === 3) return Array.from({ length: pick(3) }, () => value(depth + 1));
      return object(depth + 1);
    };
    const object = (depth: number): Record<string, unknown> => {
      const names = ['a', 'usage', 'choices', 'x"usage'].filter(() => pick(2) === 0).sort(() => pick(3) - 1);
      return Object.fromEntries(names.map((name) => [name, name === 'usage' && pick(2) === 0 ? { prompt_tokens: 1 + pick(9), output_tokens: pick(9) } : value(depth)]));
    };
    let found = 0;
    for (let round = 0; round < 5_000; round++) {
      const answer = object(0);
      const { prompt_tokens: prompt, output_tokens: output } = (answer['usage'] ?? {}) as { prompt_tokens?: number; output_tokens?: number };
      const expected = prompt === undefined ? null : tokens(prompt, output ?? 0);
      const text = JSON.stringify(answer, null, pick(2) * 2);
      assert.deepEqual(jsonUsage(Buffer.from(text)), expected, text);
      const size = 1 + pick(20);
      assert.deepEqual(feed(documentTap(), Buffer.from(text), size).end(true), expected, `${text} in pieces of ${size}`);
      if (expected !== null) found++;
    }
    assert.ok(found > 500, `${found}`);
  });
});

describe('the end of a stream', () => {
  const endings = ['data: [DONE]', 'data:[DONE]', 'event: message_stop\ndata: {"type":"message_stop"}', 'event: response.completed\ndata: {"type":"response.completed"}', 'event:response.incomplete\ndata: {}', 'event: response.failed\ndata: {}'];
  const before = data(said('a'), said('[DONE] event: message_stop'));

  for (const ending of endings) {
    it(`has passed with the blank line behind ${JSON.stringify(ending)}, in pieces of any size, and not a byte before`, () => {
      const bytes = Buffer.from(`${before}${ending}\n\n`);
      for (const size of [1, 2, 3, 7, 64, Number.POSITIVE_INFINITY]) assert.ok(feed(streamTap(), bytes, size).over, `in pieces of ${size}`);
      for (let cut = 0; cut < bytes.length; cut++) assert.ok(!feed(streamTap(), bytes.subarray(0, cut), 50).over, `cut at ${cut}`);
    });
  }

  it('has passed with carriage returns, too', () => {
    assert.ok(feed(streamTap(), Buffer.from(`${before}data: [DONE]\r\n\r\n`), Number.POSITIVE_INFINITY).over);
  });

  it('has passed without the blank line when the answer says it is complete', () => {
    for (const ending of ['data: [DONE]', 'data: [DONE]\n']) {
      for (const complete of [true, false]) {
        const tap = feed(streamTap(), Buffer.from(before + ending), 20);
        tap.end(complete);
        assert.equal(tap.over, complete, `${JSON.stringify(ending)} ${complete}`);
      }
    }
  });

  it('is not what an event only says, nor another event', () => {
    for (const text of [before, 'event: message_start\ndata: {}\n\n', 'event: response.created\ndata: {}\n\n', ': [DONE]\n\n', 'data: [DONE] or not\n\n', 'event: response.output_text.delta\ndata: {"delta":"message_stop"}\n\n']) {
      const tap = feed(streamTap(), Buffer.from(text), 5);
      tap.end(true);
      assert.ok(!tap.over, text);
    }
  });
});

describe('documentTap', () => {
  const answer = Buffer.from(JSON.stringify({ object: 'list', data: [{ embedding: Array.from({ length: 20_000 }, (_, at) => at / 7) }], usage: { prompt_tokens: 8, total_tokens: 8 } }));

  it('reads the end of an answer of any size, in pieces of any size', () => {
    for (const size of [1, 1000, 65_536, Number.POSITIVE_INFINITY]) assert.deepEqual(feed(documentTap(), answer, size).end(true), tokens(8, 0));
  });

  it('estimates the prompt of one that was cut', () => {
    assert.deepEqual(feed(documentTap(), answer.subarray(0, -20), 1000).end(false), tokens(100, 0, 0, 0, true));
    assert.equal(feed(documentTap(), Buffer.from('{"data":[]}'), 1000).end(true), null);
  });
});
