import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { ConfigInput } from '../../lib/index.ts';
import { closing, request, type Answer, type SentHeaders } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { bearer } from '../support/scene.ts';

interface Scene {
  readonly newapi: Newapi;
  readonly records: Records;
  ask(body: unknown, path?: string, headers?: SentHeaders): Promise<Answer>;
}

const json = { ...bearer(DEMO_KEY), 'Content-Type': 'application/json' };

async function start(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const records = accessRecords(t);
  const gate = await startGate(t, { audit: false, newapi: { baseUrl: newapi.url }, logging: records.logging, ...config });
  return { newapi, records, ask: (body, path = '/v1/chat/completions', headers = json) => request(gate.url + path, { method: 'POST', headers, body }) };
}

const messages = '"messages":[{"role":"user","content":"Hello"}]';
const chat = (...members: string[]): string => `{${[...members, messages].join(',')}}`;
const model = '"model":"gpt-4o-mini"';

describe('a body with a value no upstream takes', () => {
  const wrong: Readonly<Record<string, readonly [field: string, got: string]>> = {
    [chat('"model":7')]: ['model', '7'],
    [chat('"model":["gpt-4o-mini"]')]: ['model', 'an array'],
    [chat('"model":{"id":"gpt-4o-mini"}')]: ['model', 'an object'],
    [chat('"model":true')]: ['model', 'a boolean'],
    [chat(`"model":"${'m'.repeat(1100)}"`)]: ['model', 'a string'],
    [chat(model, '"max_tokens":-1')]: ['max_tokens', '-1'],
    [chat(model, '"max_tokens":1.5')]: ['max_tokens', '1.5'],
    [chat(model, '"max_tokens":"100"')]: ['max_tokens', 'a string'],
    [chat(model, '"max_tokens":1e12')]: ['max_tokens', '1e12'],
    [chat(model, '"max_tokens":[100]')]: ['max_tokens', 'an array'],
    [chat(model, '"max_completion_tokens":-5')]: ['max_completion_tokens', '-5'],
  };

  it('is answered 400 before it costs anything, naming the field and what is wrong with it', async (t) => {
    const { ask, newapi } = await start(t);
    for (const [body, [field, got]] of Object.entries(wrong)) {
      const answer = await ask(body);
      const { error } = answer.json<{ error: { message: string; type: string; param: string; code: string } }>();
      assert.deepEqual([answer.status, error.type, error.param, error.code], [400, 'invalid_request_error', field, 'invalid_value'], body);
      assert.match(error.message, new RegExp(`^${field}: expected .*, got ${got.replace('.', '\\.')}\\.`), body);
      assert.equal(answer.headers['x-should-retry'], 'false');
    }
    assert.equal(newapi.connections, 0);
  });

  it('is told so in the dialect of the route', async (t) => {
    const { ask } = await start(t);
    const claude = await ask(chat(model, '"max_tokens":-1'), '/v1/messages');
    assert.deepEqual([claude.status, claude.json<{ type: string; error: { type: string } }>().error.type], [400, 'invalid_request_error']);
    assert.match(claude.text, /max_tokens: expected/);
    const responses = await ask(`{${model},"input":"Hello","max_output_tokens":"many"}`, '/v1/responses');
    assert.equal(responses.json<{ error: { param: string } }>().error.param, 'max_output_tokens');
  });

  it('passes a gate that only observes, and is noted', async (t) => {
    const { ask, newapi, records } = await start(t, { mode: 'observe' });
    for (const body of [chat('"model":7'), chat(model, '"max_tokens":-1'), '{broken', '[]']) await ask(body);
    await ask(chat(model), '/v1/chat/completions', { ...json, 'Content-Type': 'text/plain' });
    assert.equal(newapi.requests.length, 5);
    const lines = (await records.atLeast(5)) as unknown as { would_refuse: string[] }[];
    assert.deepEqual(lines.map(({ would_refuse: rules }) => rules), Array.from({ length: 5 }, () => ['body']));
  });

  it('is none where the route knows no such member', async (t) => {
    const { ask, newapi } = await start(t);
    for (const [path, body] of [
      ['/v1/embeddings', `{${model},"input":"x","max_tokens":"many"}`],
      ['/v1/chat/completions', chat(model, '"max_output_tokens":"many"')],
      ['/v1/responses', `{${model},"input":"x","max_tokens":{}}`],
    ] as const) {
      assert.notEqual((await ask(body, path)).headers['x-oneapi-request-id'], undefined, path);
    }
    assert.equal(newapi.requests.length, 3);
  });
});

describe('what an upstream would take', () => {
  const fine = [
    chat(model),
    chat(model, '"max_tokens":null', '"stream":null', '"max_completion_tokens":null'),
    chat(model, '"max_tokens":1'),
    chat(model, '"max_tokens":0'),
    chat(model, '"max_tokens":1.0'),
    chat(model, '"max_tokens":1e3'),
    chat(model, '"max_tokens":1000000'),
    chat(model, '"max_tokens":1', '"max_tokens":2'),
    chat(model, '"Max_Tokens":-1'),
    chat(model, '"unknown":{"max_tokens":-1,"model":7}', '"x":[]', '"temperature":-9e99'),
    ` \n\t${chat(model)}\r\n `,
  ];

  it('is not refused, and arrives byte for byte', async (t) => {
    const { ask, newapi } = await start(t);
    for (const body of fine) {
      const answer = await ask(body);
      assert.equal(answer.status, 200, `${body} ${answer.text}`);
      assert.equal(newapi.requests.at(-1)?.body.toString(), body);
    }
  });

  it('is left to it where the model is missing or empty', async (t) => {
    const { ask } = await start(t);
    for (const body of [chat(), chat('"model":null'), chat('"model":""')]) assert.notEqual((await ask(body)).headers['x-oneapi-request-id'], undefined, body);
  });
});

type Pack = (text: string) => Buffer;
const packed: Readonly<Record<string, Pack>> = {
  gzip: gzipSync,
  deflate: deflateSync,
  br: (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  zstd: zstdCompressSync,
};
const held = { name: 'held', sha256: hash('sha256', 'sk-a-key-that-is-held-to-its-models'), upstreamCredential: DEMO_KEY, models: ['gpt-4o-mini'] };
const holder = (coding: string): SentHeaders => ({ ...bearer('sk-a-key-that-is-held-to-its-models'), 'Content-Type': 'application/json', 'Content-Encoding': coding });
const guarded: ConfigInput = { auth: { mode: 'keys', keys: [held] } };
const code = (answer: Answer): string => `${answer.status} ${answer.json<{ error: { code: string } }>().error.code}`;

describe('a packed body', () => {
  for (const [coding, pack] of Object.entries(packed)) {
    const kept = coding === 'gzip' || coding === 'br';
    it(`is looked into and sent on ${kept ? 'as it came' : 'decoded'} (${coding})`, async (t) => {
      const { ask, newapi, records } = await start(t, guarded);
      const text = chat(model, '"stream":true');
      const body = pack(text);
      await ask(body, '/v1/chat/completions', holder(coding));
      assert.deepEqual(newapi.requests.map((seen) => [seen.body.equals(kept ? body : Buffer.from(text)), seen.headers['content-encoding']]), [[true, kept ? coding : undefined]]);
      const [line] = (await records.atLeast(1)) as unknown as { model: string; stream: boolean; bytes_in: number }[];
      assert.deepEqual([line?.model, line?.stream, line?.bytes_in], ['gpt-4o-mini', true, body.length]);
      assert.equal(code(await ask(pack(chat('"model":"gpt-4o"')), '/v1/chat/completions', holder(coding))), '403 model_not_allowed');
      assert.equal(code(await ask(pack(chat(model, '"max_tokens":-1')), '/v1/chat/completions', holder(coding))), '400 invalid_value');
      assert.equal(code(await ask(pack(chat(model, '"Model":"gpt-4o"')), '/v1/chat/completions', holder(coding))), '400 ambiguous_body');
      assert.equal(code(await ask(pack('{"a":'), '/v1/chat/completions', holder(coding))), '400 invalid_json');
      assert.equal(newapi.requests.length, 1);
    });

    it(`that grows beyond bounds is refused and costs nothing (${coding})`, async (t) => {
      const { ask, newapi } = await start(t, { server: { bufferBodyBytes: '2MB' } });
      const filler = (size: number): string => chat(model, `"x":"${'a'.repeat(size)}"`);
      for (const [size, what] of [[3_000_000, 'buffer_body_bytes'], [1_500_000, 'ratio']] as const) {
        const answer = await ask(pack(filler(size)), '/v1/chat/completions', { ...json, 'Content-Encoding': coding });
        assert.equal(code(answer), '413 body_too_large', what);
      }
      assert.equal(newapi.connections, 0);
      assert.equal((await ask(pack(filler(50_000)), '/v1/chat/completions', { ...json, 'Content-Encoding': coding })).headers['x-oneapi-request-id'] === undefined, false);
    });
  }

  it('of another coding, or of several that it does not have, holds nothing a rule could go by', async (t) => {
    const { ask, newapi } = await start(t, guarded);
    for (const coding of ['gzip, gzip', 'gzip, br']) assert.equal(code(await ask(gzipSync(chat(model)), '/v1/chat/completions', holder(coding))), '400 invalid_json', coding);
    for (const coding of ['compress', 'gzip, exi', 'exi']) assert.equal(code(await ask(gzipSync(chat(model)), '/v1/chat/completions', holder(coding))), '400 ambiguous_body', coding);
    assert.equal(code(await ask(gzipSync(chat(model)), '/v1/chat/completions', ['Authorization', 'Bearer sk-a-key-that-is-held-to-its-models', 'Content-Type', 'application/json', 'Content-Encoding', 'gzip', 'Content-Encoding', 'br'])), '400 invalid_json');
    assert.equal(newapi.connections, 0);
    const open = await start(t);
    await open.ask(gzipSync(chat(model)), '/v1/chat/completions', { ...json, 'Content-Encoding': 'compress' });
    assert.equal(open.newapi.requests.length, 1);
  });

  it('that is text under the name of a coding is read as text', async (t) => {
    const { ask, newapi } = await start(t, guarded);
    for (const coding of ['identity', 'gzip', 'deflate', 'zstd', 'br', 'compress', 'GZIP']) {
      assert.equal(code(await ask(chat('"model":"gpt-4o"'), '/v1/chat/completions', holder(coding))), '403 model_not_allowed', coding);
    }
    assert.equal(newapi.connections, 0);
  });

  it('may be written in other letters, in several members or without zlib\'s head', async (t) => {
    const { ask, newapi } = await start(t, guarded);
    const half = chat(model).length / 2;
    const bodies: [coding: string, body: Buffer][] = [
      ['GZip', gzipSync(chat(model))],
      ['x-gzip', gzipSync(chat(model))],
      ['gzip', Buffer.concat([gzipSync(chat(model).slice(0, half)), gzipSync(chat(model).slice(half))])],
      ['deflate', deflateRawSync(chat(model))],
      ['br', brotliCompressSync(chat(model), { params: { [constants.BROTLI_PARAM_QUALITY]: 0 } })],
    ];
    for (const [coding, body] of bodies) await ask(body, '/v1/chat/completions', holder(coding));
    assert.equal(newapi.requests.length, bodies.length);
  });

  it('cannot exhaust memory, however many come at once', async (t) => {
    const { ask } = await start(t, { server: { bufferBodyBytes: '32MB' } });
    const bomb = packed.br?.(' '.repeat(40_000_000));
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
    t.after(() => clearInterval(watch));
    const answers = await Promise.all(Array.from({ length: 24 }, () => ask(bomb, '/v1/chat/completions', { ...json, 'Content-Encoding': 'br' })));
    assert.deepEqual(new Set(answers.map(code)), new Set(['413 body_too_large']));
    assert.ok(peak - before < 200_000_000, `${Math.round((peak - before) / 1e6)} MB`);
  });
});

describe('a body too large to be looked into', () => {
  it('is refused where a rule depends on what it says, and streams where none does', async (t) => {
    const small: ConfigInput = { server: { bufferBodyBytes: '1KB' } };
    const body = chat(model, `"x":"${'y'.repeat(5000)}"`);
    const { ask, newapi } = await start(t, { ...guarded, ...small });
    assert.equal(code(await ask(body, '/v1/chat/completions', { ...bearer('sk-a-key-that-is-held-to-its-models'), 'Content-Type': 'application/json' })), '400 ambiguous_body');
    assert.equal(newapi.connections, 0);
    assert.equal((await (await start(t, small)).ask(body)).status, 200);
  });
});

describe('a key held to models', () => {
  it('may use them on Gemini\'s routes, where the path names them', async (t) => {
    const { ask } = await start(t, { auth: { mode: 'keys', keys: [{ ...held, models: ['gemini-2.5-flash'] }] } });
    const headers = { ...bearer('sk-a-key-that-is-held-to-its-models'), 'Content-Type': 'application/json' };
    const contents = '{"contents":[{"parts":[{"text":"Hello"}]}]}';
    assert.equal((await ask(contents, '/v1beta/models/gemini-2.5-flash:generateContent', headers)).status, 200);
    for (const other of ['gemini-2.5-pro', 'gemini-2.5-flash%2Fx', 'gemini-2.5-flash-lite']) assert.equal((await ask(contents, `/v1beta/models/${other}:generateContent`, headers)).status, 403, other);
  });
});
