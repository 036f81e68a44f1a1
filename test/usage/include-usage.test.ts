import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ExtraChunkFilter, withUsage } from '../../lib/usage/include-usage.ts';
import { textFrames } from '../support/content/frames.ts';
import { generator } from '../support/random.ts';

const changed = (body: string): string | null => withUsage(Buffer.from(body))?.toString() ?? null;
const asked = '"stream_options":{"include_usage":true}';

const bodies: readonly (readonly [body: string, changed: string | null])[] = [
  ['{"model":"m","stream":true}', `{"model":"m","stream":true,${asked}}`],
  ['{}', `{${asked}}`],
  [' \n{ "stream" : true }\r\n ', ` \n{ "stream" : true ,${asked}}\r\n `],
  ['{"messages":[{"content":"\\"stream_options\\":{} }"}],"stream":true}', `{"messages":[{"content":"\\"stream_options\\":{} }"}],"stream":true,${asked}}`],
  ['{"a":{"stream_options":{"include_usage":true}},"b":"stream_options"}', `{"a":{"stream_options":{"include_usage":true}},"b":"stream_options",${asked}}`],
  ['{"stream_options":null,"model":"m"}', `{${asked},"model":"m"}`],
  ['{"stream_options":{},"model":"m"}', `{${asked},"model":"m"}`],
  ['{"stream_options": { "include_obfuscation" : false } ,"model":"m"}', '{"stream_options": { "include_obfuscation" : false ,"include_usage":true} ,"model":"m"}'],
  ['{"stream_options":{"include_usage":false,"x":1}}', '{"stream_options":{"include_usage":true,"x":1}}'],
  ['{"stream_options":{"include_usage": null }}', '{"stream_options":{"include_usage": true }}'],
  ['{"stream_\\u006fptions":{"x":1}}', '{"stream_\\u006fptions":{"x":1,"include_usage":true}}'],
  ['{"stream_options":{"include_usage":true}}', null],
  ['{"stream_options":{"include_usage": true , "x":[1]}}', null],
  ['{"stream_options":[]}', null],
  ['{"stream_options":"x"}', null],
  ['{"stream_options":true}', null],
  ['{"stream_options":{},"stream_options":{}}', null],
  ['{"Stream_Options":{}}', null],
  ['{"\\u017ftream_options":{}}', null],
  ['{"stream_options":{"include_usage":false,"Include_Usage":true}}', null],
  ['{"stream_options":{"include_usage":false,"include_usage":true}}', null],
  ['{"stream_options":{"include_usage":false}', null],
  ['', null],
  ['[]', null],
  ['null', null],
  ['{"a":1,}', null],
  ['{"a":1}}', null],
  ['{"a":1} x', null],
  ['{"a" 1}', null],
  ['{"a\n', null],
  ['{"a\\x":1}', null],
];

describe('withUsage', () => {
  for (const [body, expected] of bodies) {
    it(`${expected === null ? 'leaves' : 'changes'} ${body.replaceAll('\n', '⏎')}`, () => assert.equal(changed(body), expected));
  }

  it('leaves a body cut anywhere', () => {
    const body = '{"model":"m","stream_options":{"x":{"y":[1,"a"]}},"messages":[{"content":"é世"}]}';
    for (let cut = 0; cut < body.length; cut++) assert.equal(changed(body.slice(0, cut)), null, body.slice(0, cut));
  });

  it('makes of any body what JSON.parse and a new member would, and asks once', () => {
    const pick = generator(17);
    const texts = ['', 'a', 'stream_options', 'include_usage', '"}', '\\', '世'];
    const value = (depth: number): unknown => {
      const kind = pick(depth > 2 ? 4 : 6);
      if (kind < 4) return [texts[pick(texts.length)], pick(99), null, pick(2) === 0][kind];
      return kind === 4 ? Array.from({ length: pick(4) }, () => value(depth + 1)) : object(depth + 1);
    };
    const object = (depth: number): Record<string, unknown> => Object.fromEntries(texts.filter(() => pick(3) === 0).map((name) => [name, value(depth)]));
    let asking = 0;
    for (let round = 0; round < 3_000; round++) {
      const body = object(0);
      const options = body['stream_options'] as Record<string, unknown> | null | undefined;
      const found = changed(JSON.stringify(body, null, pick(2)));
      if (options !== undefined && (typeof options !== 'object' || Array.isArray(options) || options?.['include_usage'] === true)) {
        assert.equal(found, null);
        continue;
      }
      assert.deepEqual(JSON.parse(found as string), { ...body, stream_options: { ...options, include_usage: true } });
      assert.equal(changed(found as string), null);
      asking++;
    }
    assert.ok(asking > 1_000, `${asking}`);
  });
});

const extra = 'data: {"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n';
const piece = (text: string): string => `data: ${JSON.stringify({ id: 'c', choices: [{ delta: { content: text } }], usage: null })}\n\n`;
const done = 'data: [DONE]\n\n';

function filtered(stream: string, size = Number.POSITIVE_INFINITY): string {
  const bytes = Buffer.from(stream);
  const filter = new ExtraChunkFilter();
  const passed: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) passed.push(...filter.push(bytes.subarray(at, at + size)));
  return Buffer.concat([...passed, ...filter.end()]).toString();
}

/** Filtered in one piece, in two cut at every byte, and in small ones, with the same result. */
function filteredAnyhow(stream: string): string {
  const bytes = Buffer.from(stream);
  const expected = filtered(stream);
  for (let cut = 1; cut < bytes.length; cut++) {
    const filter = new ExtraChunkFilter();
    const passed = [...filter.push(bytes.subarray(0, cut)), ...filter.push(bytes.subarray(cut, cut)), ...filter.push(bytes.subarray(cut)), ...filter.end()];
    assert.equal(Buffer.concat(passed).toString(), expected, `cut at ${cut}`);
  }
  for (const size of [1, 2, 3, 7, 50]) assert.equal(filtered(stream, size), expected, `in pieces of ${size}`);
  return expected;
}

const cr = (text: string): string => text.replaceAll('\n', '\r');
const lines = (text: string): string => text.replaceAll('data: ', '').replaceAll('\n\n', '\n');
const crlf = (text: string): string => text.replaceAll('\n', '\r\n');
const streams: readonly (readonly [what: string, stream: string, passed: string])[] = [
  ['the last chunk but one', piece('a') + extra + done, piece('a') + done],
  ['the first chunk', extra + piece('a'), piece('a')],
  ['a chunk of CRLF lines', crlf(piece('a') + extra + done), crlf(piece('a') + done)],
  ['a chunk of CR lines', cr(piece('a') + extra + done), cr(piece('a') + done)],
  ['a chunk of lines that end each in another way', `${crlf(piece('a'))}${cr(extra)}${done}`, crlf(piece('a')) + done],
  ['a line of JSON', lines(piece('a') + extra), lines(piece('a'))],
  ['a line of JSON that ends with CR', cr(lines(piece('a') + extra + piece('b'))), cr(lines(piece('a') + piece('b')))],
  ['several', extra + piece('a') + extra + extra + done, piece('a') + done],
  ['a chunk without its blank line at the end', piece('a') + extra.trimEnd(), piece('a')],
  ['a chunk without any blank line', `${piece('a').trimEnd()}\n${extra.trimEnd()}\n${done}`, `${piece('a').trimEnd()}\n${done}`],
  ['a chunk, not the comment and the name within its event', `${piece('a')}: PING\nid: 7\n${extra}${done}`, `${piece('a')}: PING\nid: 7\n\n${done}`],
  ['a chunk, not the comment behind it', `${piece('a')}${extra.trimEnd()}\n: PING\n\n${done}`, `${piece('a')}: PING\n\n${done}`],
  ['a chunk, not a second blank line', `${piece('a')}${extra}\n${done}`, `${piece('a')}\n${done}`],
  ['a chunk written with spaces', `data:{ "usage" : { } , "choices" : [ ] }\n\n${done}`, done],
];

const kept: readonly (readonly [what: string, stream: string])[] = [
  ['an array', `[${lines(extra)},\n${lines(extra)}]`],
  ['no chunk', piece('a') + piece('b') + done],
  ['usage beside a choice', 'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}\n\n'],
  ["Azure's first chunk", 'data: {"choices":[],"prompt_filter_results":[{"usage":{"a":1}}]}\n\ndata: {"choices":[],"usage":null}\n\n'],
  ['an error', 'data: {"choices":[],"usage":{"prompt_tokens":1},"error":{"message":"m"}}\n\n'],
  ['a text about it', piece(extra)],
  ['a comment about it', `: ${extra}`],
  ['a chunk that is broken', `${extra.slice(0, 60)}\n\n${done}`],
  ['a choice within another list', 'data: {"a":{"choices":[]},"choices":[1],"usage":{}}\n\n'],
  ['blank lines', '\n\n\r\n\n'],
  ['an unfinished line', 'data: {"choices":[],"usage":{"prompt_tokens"'],
  ['nothing', ''],
];

describe('ExtraChunkFilter', () => {
  for (const [what, stream, passed] of streams) it(`takes out ${what}`, () => assert.equal(filteredAnyhow(stream), passed));
  for (const [what, stream] of kept) it(`keeps ${what}`, () => assert.equal(filteredAnyhow(stream), stream));

  it("makes of the stand-in's stream with usage the one without", () => {
    for (const shape of ['chat', 'completions'] as const) {
      const ask = { shape, model: 'm', text: 'The quick brown fox', stream: true, promptTokens: 1 };
      const mark = { id: 'abcdefgh12345678', created: 1, model: 'm' };
      assert.equal(filteredAnyhow(textFrames({ ...ask, usage: true }, mark).join('')), textFrames({ ...ask, usage: false }, mark).join(''));
    }
  });

  it('passes every line with the byte that ends it, and the very piece when nothing is to change', () => {
    const filter = new ExtraChunkFilter();
    const first = Buffer.from(piece('a'));
    assert.equal(filter.push(first)[0], first);
    let passed = '';
    for (const byte of Buffer.from(piece('b') + done)) {
      const now = Buffer.concat(filter.push(Buffer.from([byte]))).toString();
      assert.equal(now !== '', byte === 0x0a);
      passed += now;
    }
    assert.equal(passed, piece('b') + done);
  });

  it('holds nothing of an array', () => {
    const filter = new ExtraChunkFilter();
    for (const text of ['\n', '[{"choices":[{}]}', ',{"choices":[]']) assert.equal(Buffer.concat(filter.push(Buffer.from(text))).toString(), text);
  });

  it('holds no more than a line can be long', () => {
    const long = `data: {"choices":[],"usage":{"x":"${'y'.repeat(200_000)}"}}\n\n`;
    for (const size of [1_000, 65_536, 100_000, Number.POSITIVE_INFINITY]) assert.equal(filtered(piece('a') + long + extra + done, size), piece('a') + long + done);
    const filter = new ExtraChunkFilter();
    let held = 0;
    for (let at = 0; at < 150_000; at += 1_000) {
      held += 1_000;
      for (const bytes of filter.push(Buffer.from(long.slice(at, at + 1_000)))) held -= bytes.length;
      assert.ok(held <= 65_536, `${held}`);
    }
    assert.equal(held, 0);
  });

  it('takes no end of a long line for a chunk or a blank line', () => {
    const passed = (...pieces: string[]): string => {
      const filter = new ExtraChunkFilter();
      return Buffer.concat(pieces.flatMap((text) => filter.push(Buffer.from(text)))).toString();
    };
    const long = `: ${'x'.repeat(70_000)}`;
    assert.equal(passed(long, extra, done), long + extra + done);
    for (const pieces of [['\n', extra + done], [`\n${extra}${done}`], [`\n${extra}`, done]]) assert.equal(passed(long, ...pieces), `${long}\n\n${done}`);
  });
});
