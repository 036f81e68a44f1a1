import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { brotliCompressSync, constants, createBrotliCompress, createDeflate, createGzip, createZstdCompress, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { ConfigInput } from '../../lib/index.ts';
import { openStream, request, until } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { sampled } from '../support/sampled.ts';
import { startUpstream } from '../support/upstream.ts';

const token = 'metering-field-test-metrics-token';
const key = `sk-${'a'.repeat(48)}`;
const prompt = 20;
const completion = 9;

interface Line {
  readonly path: string;
  readonly usage: { readonly prompt: number; readonly completion: number; readonly estimated: boolean } | null;
  readonly cost: number | null;
  readonly status: number;
  readonly outcome: string;
}

interface Scene {
  readonly gate: RunningGate;
  /** Requests as they reached the upstream, each with its body. */
  readonly asked: readonly { readonly req: IncomingMessage; readonly body: string }[];
  /** Access lines less those of scrapes, once there are so many. */
  lines(count: number): Promise<readonly Line[]>;
  /** The value of a metric. */
  scrape(name: string): Promise<number>;
}

type Answer = (res: ServerResponse, asked: { readonly req: IncomingMessage; readonly body: string }) => void;

/** A gate before an upstream that answers as the test says. */
async function scene(t: TestContext, answer: Answer, config: ConfigInput = {}): Promise<Scene> {
  const asked: { req: IncomingMessage; body: string }[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const call = { req, body: Buffer.concat(chunks).toString() };
      asked.push(call);
      answer(res, call);
    });
  });
  const file = join(temporary(t), 'access.log');
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, metrics: { token }, ...config, llm: { prices: { m: { input: 1000, output: 1000 } }, ...config.llm }, logging: { file } });
  return {
    gate, asked,
    lines: (count) => until(() => {
      const found = (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n').slice(0, -1).map((line) => JSON.parse(line) as Line).filter(({ path }) => path !== '/metrics');
      return found.length >= count ? found : null;
    }),
    async scrape(name) {
      const { text } = await request(`${gate.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } });
      return Number(new RegExp(`^heimdall_${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1]);
    },
  };
}

/** How one API reports its usage. */
interface Dialect {
  readonly path: string;
  readonly body: object;
  /** @param text of the answer, behind the usage where `first`. */
  json(text: string, first?: boolean): object;
  events(text: string): readonly object[];
}

const words = 'four words are here ';
const openai = { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
const claude = { input_tokens: prompt, output_tokens: completion };
const gemini = { promptTokenCount: prompt, candidatesTokenCount: completion, totalTokenCount: prompt + completion };
const messages = [{ role: 'user', content: words }];
const ordered = (usage: object, text: object, first = false): object => (first ? { ...usage, ...text } : { ...text, ...usage });

const dialects: Readonly<Record<string, Dialect>> = {
  chat: {
    path: '/v1/chat/completions', body: { model: 'm', messages },
    json: (content, first) => ordered({ usage: openai }, { choices: [{ message: { role: 'assistant', content } }] }, first),
    events: (content) => [{ choices: [{ delta: { content } }], usage: null }, { choices: [], usage: openai }],
  },
  completions: {
    path: '/v1/completions', body: { model: 'm', prompt: words },
    json: (text, first) => ordered({ usage: openai }, { choices: [{ text }] }, first),
    events: (text) => [{ choices: [{ text }] }, { choices: [], usage: openai }],
  },
  responses: {
    path: '/v1/responses', body: { model: 'm', input: words },
    json: (text, first) => ordered({ usage: claude }, { output: [{ content: [{ type: 'output_text', text }] }] }, first),
    events: (delta) => [{ type: 'response.output_text.delta', delta }, { type: 'response.completed', response: { usage: claude, output: [{ content: [{ type: 'output_text', text: delta }] }] } }],
  },
  messages: {
    path: '/v1/messages', body: { model: 'm', max_tokens: 999, messages },
    json: (text, first) => ordered({ usage: claude }, { content: [{ type: 'text', text }] }, first),
    events: (text) => [{ type: 'message_start', message: { usage: { input_tokens: prompt, output_tokens: 1 } } }, { type: 'content_block_delta', delta: { type: 'text_delta', text } }, { type: 'message_delta', delta: {}, usage: { output_tokens: completion } }],
  },
  gemini: {
    path: '/v1beta/models/m:generateContent', body: { contents: [{ parts: [{ text: words }] }] },
    json: (text, first) => ordered({ usageMetadata: gemini }, { candidates: [{ content: { parts: [{ text }] } }] }, first),
    events: (text) => [{ candidates: [{ content: { parts: [{ text }] } }], usageMetadata: { promptTokenCount: prompt } }, { candidates: [], usageMetadata: gemini }],
  },
};

const sse = (events: readonly object[], end = '\n'): string => events.map((event) => `data: ${JSON.stringify(event)}${end}${end}`).join('');
const ndjson = (events: readonly object[], end = '\n'): string => events.map((event) => `${JSON.stringify(event)}${end}`).join('');

const ask = (gate: RunningGate, { path, body }: Dialect, stream: boolean, headers: Readonly<Record<string, string>> = {}): ReturnType<typeof request> =>
  request(gate.url + (stream ? path.replace(':generateContent', ':streamGenerateContent') : path), { body: stream ? { ...body, stream: true } : body, headers: { Authorization: `Bearer ${key}`, ...headers } });

/** Every client has left, and the gate has seen it. */
const gone = (gate: RunningGate): Promise<boolean> => until(() => new Promise<boolean>((resolve) => gate.server.getConnections((_, count) => resolve(count === 0))));

const told = { prompt, completion, estimated: false };
const counted = ({ usage }: Line): object | null => (usage === null ? null : { prompt: usage.prompt, completion: usage.completion, estimated: usage.estimated });

type Compress = (text: string) => Buffer;
const codings: readonly (readonly [coding: string, compress: Compress])[] = [
  ['gzip', gzipSync], ['x-gzip', gzipSync], ['GZip', gzipSync], ['deflate', deflateSync], ['Deflate', deflateRawSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync],
  ['gzip, br', (text) => brotliCompressSync(gzipSync(text))], ['identity, gzip', gzipSync], ['identity', Buffer.from], ['IDENTITY', Buffer.from], ['', Buffer.from],
];

/** Every API, asked for a document and for a stream. */
const asks = Object.entries(dialects).flatMap(([name, dialect]) => [false, true].map((stream) => ({ name: `${name}, ${stream ? 'stream' : 'JSON'}`, dialect, stream })));

describe('usage is what the upstream says', () => {
  test('under every coding, and the client gets the bytes as they came', async (t) => {
    let coding = '';
    let type = '';
    let packed: Buffer = Buffer.from('');
    const { gate, lines, asked } = await scene(t, (res) => void res.writeHead(200, { 'Content-Type': type, ...(coding === '' ? {} : { 'Content-Encoding': coding }) }).end(packed));
    const cases: string[] = [];
    for (const [[sent, compress], { name, dialect, stream }] of [...sampled(codings, asks), ...sampled(asks, codings, 2).map(([one, other]) => [other, one] as const)]) {
      coding = sent;
      type = stream ? 'text/event-stream' : 'application/json';
      packed = compress(stream ? sse(dialect.events(words.repeat(50))) : JSON.stringify(dialect.json(words.repeat(50))));
      cases.push(`${coding} (${name})`);
      const answer = await ask(gate, dialect, stream, { 'Accept-Encoding': 'gzip, br' });
      assert.ok(answer.body.equals(packed), cases.at(-1));
      assert.equal(answer.headers['content-encoding'] ?? '', coding, cases.at(-1));
    }
    assert.deepEqual((await lines(cases.length)).map((line, at) => [cases[at], counted(line), line.cost]), cases.map((each) => [each, told, (prompt + completion) / 1000]));
    assert.ok(asked.every(({ req }) => req.headers['accept-encoding'] === 'gzip, br'));
  });

  const types: readonly string[] = ['application/json', 'text/event-stream', 'TEXT/Event-Stream ; charset=UTF-8', 'Application/JSON;charset=utf-8', 'application/x-ndjson', 'application/octet-stream', 'text/plain', 'text/html', 'event-stream', ';', ''];
  test('under every content type', async (t) => {
    const bodies = Object.values(dialects).flatMap((dialect) => [
      JSON.stringify(dialect.json(words)), JSON.stringify(dialect.json(words), null, 2), sse(dialect.events(words)), sse(dialect.events(words), '\r\n'), sse(dialect.events(words), '\r'), ndjson(dialect.events(words)), ndjson(dialect.events(words), '\r\n'),
    ].map((body, nth) => ({ dialect, body, nth })));
    let type = '';
    let body = '';
    const { gate, lines } = await scene(t, (res) => void res.writeHead(200, type === '' ? {} : { 'Content-Type': type }).end(body));
    const cases: string[] = [];
    for (const [sent, form] of sampled(types, bodies)) {
      type = sent;
      body = form.body;
      cases.push(`${type} ${JSON.stringify(body.slice(0, 40))}`);
      assert.equal((await ask(gate, form.dialect, form.nth % 2 === 1 || !type.includes('json'))).text, body, cases.at(-1));
    }
    assert.deepEqual((await lines(cases.length)).map((line, at) => [cases[at], counted(line)]), cases.map((each) => [each, told]));
  });

  test('in a body of megabytes, in front or behind', async (t) => {
    const long = `${words}"{[\\\n`.repeat(60_000);
    const forms: readonly (readonly [name: string, stream: boolean, make: (dialect: Dialect) => string])[] = [
      ['in front', false, (dialect) => JSON.stringify(dialect.json(long, true))], ['behind', false, (dialect) => JSON.stringify(dialect.json(long))],
      ['between', false, (dialect) => JSON.stringify({ ...dialect.json(long, true), more: long })], ['events', true, (dialect) => sse(dialect.events(long))],
      ['lines', true, (dialect) => ndjson(dialect.events(long))], ['one event', true, (dialect) => sse([dialect.json(long, true)])],
    ];
    const packings = forms.flatMap((form) => [false, true].map((packed) => [...form, packed] as const));
    let body: string | Buffer = '';
    let packed = false;
    const { gate, lines } = await scene(t, (res) => void res.writeHead(200, { 'Content-Type': 'application/json', ...(packed ? { 'Content-Encoding': 'gzip' } : {}) }).end(body));
    const cases: string[] = [];
    for (const [[api, dialect], [name, stream, make, packs]] of sampled(Object.entries(dialects), packings)) {
      packed = packs;
      body = packed ? gzipSync(make(dialect)) : make(dialect);
      cases.push(`${api}, ${name}, ${packed}`);
      await ask(gate, dialect, stream);
    }
    assert.deepEqual((await lines(cases.length)).map((line, at) => [cases[at], counted(line)]), cases.map((each) => [each, told]));
  });
});

describe('a budget holds', () => {
  const allowed = 0.05;
  const price = (prompt + completion) / 10_000;

  test('when the upstream compresses unasked', async (t) => {
    const forms = ['chat', 'completions', 'responses', 'messages'].flatMap((name) => [['application/json', false] as const, ['text/event-stream', true] as const, ['text/plain', true] as const].map(([type, stream]) => ({ name, type, stream })));
    let head: Record<string, string> = {};
    let packed: Buffer = Buffer.from('');
    const { gate, asked } = await scene(t, (res) => void res.writeHead(200, head).end(packed), { llm: { prices: { m: { input: 100, output: 100 } } }, rateLimit: { key: { budget: { day: allowed } } } });
    let nth = 0;
    for (const [[coding, compress], { name, type, stream }] of sampled(codings, forms)) {
      const dialect = dialects[name] as Dialect;
      head = { 'Content-Type': type, ...(coding === '' ? {} : { 'Content-Encoding': coding }) };
      packed = compress(stream ? sse(dialect.events(words)) : JSON.stringify(dialect.json(words)));
      const body = { ...dialect.body, max_tokens: 9, max_output_tokens: 9 };
      const headers = { Authorization: `Bearer sk-${String(nth++).padStart(48, 'b')}`, 'Accept-Encoding': 'gzip, br, zstd, deflate' };
      let count = 0;
      while (count < 60 && (await ask(gate, { ...dialect, body }, stream, headers)).status === 200) count++;
      assert.ok(count * price > allowed / 2 && (count - 1) * price <= allowed, `${name} ${coding} ${type}: ${count * price}`);
    }
    assert.ok(asked.every(({ req }) => req.headers['accept-encoding'] === 'identity'));
  });

  test('when a backup answers with a model that has no price', async (t) => {
    const own = 'sk-a-key-of-the-gate-that-is-long-enough';
    const chat = dialects['chat'] as Dialect;
    const upstream = await startUpstream(t, (req, res) => void req.resume().on('end', () => (req.url?.startsWith('/down') ? res.writeHead(500).end() : res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(chat.json(words))))));
    const gate = await startGate(t, {
      auth: { mode: 'keys', keys: [{ name: 'team', sha256: hash('sha256', own), budget: { day: allowed } }] },
      llm: { provider: 'openai', endpoint: `${upstream.url}/down/v1`, apiKey: 'one', prices: { m: { input: 100, output: 100 } }, retry: { maxRetries: 0 }, backupProviders: [{ provider: 'openai', endpoint: `${upstream.url}/v1`, apiKey: 'two', model: 'a-model-without-a-price' }] },
      circuitBreaker: { failureThreshold: 1000 },
    });
    let count = 0;
    while (count < 60 && (await ask(gate, { ...chat, body: { ...chat.body, max_tokens: 9 } }, false, { Authorization: `Bearer ${own}` })).status === 200) count++;
    assert.ok(count * price > allowed / 2 && (count - 1) * price <= allowed, `${count * price}`);
  });

  const lies = ['{"prompt_tokens":-1000000,"completion_tokens":-9}', '{"prompt_tokens":9e15,"completion_tokens":9e15}', '{"prompt_tokens":"20","completion_tokens":"9"}', '{"prompt_tokens":NaN}', '{"prompt_tokens":1e999}', '{"total_tokens":-5}', '{}', 'null', '[]', '"none"', '{"prompt_tokens":{"a":1},"completion_tokens":[1]}'];
  test('when the upstream lies about its usage, or says nothing: its bytes count', async (t) => {
    const text = words.repeat(40);
    let lie = '';
    let stream = false;
    const { gate, scrape } = await scene(t, (res) => {
      if (stream) res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`data: {"choices":[{"delta":{"content":"${text}"}}]}\n\ndata: {"choices":[],"usage":${lie}}\n\n`);
      else res.writeHead(200, { 'Content-Type': 'application/json' }).end(`{"choices":[{"message":{"content":"${text}"}}],"usage":${lie}}`);
    }, { rateLimit: { key: { tokens: { limit: 1_000_000 } } } });
    let before = 0;
    for (lie of lies) {
      for (stream of [false, true]) {
        assert.equal((await ask(gate, dialects['chat'] as Dialect, stream)).status, 200, lie);
        const now = await until(async () => ((await scrape('rate_limit_tokens_total{kind="settled"}')) > before ? scrape('rate_limit_tokens_total{kind="settled"}') : null));
        assert.ok(now - before > 200 && now - before < 300, `${lie} ${stream}: ${now - before}`);
        before = now;
      }
    }
  });
});

describe('a stream is delivered live', () => {
  const flushing = { gzip: () => createGzip({ flush: constants.Z_SYNC_FLUSH }), deflate: () => createDeflate({ flush: constants.Z_SYNC_FLUSH }), br: () => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH } as object), zstd: () => createZstdCompress({ flush: constants.ZSTD_e_flush } as object) };
  const [first, last] = (dialects['chat'] as Dialect).events(words).map((event) => JSON.stringify(event)) as [string, string];
  const forms: Readonly<Record<string, readonly [string, string]>> = {
    'events of LF': [`data: ${first}\n\n`, `data: ${last}\n\n`], 'events of CRLF': [`data: ${first}\r\n\r\n`, `data: ${last}\r\n\r\n`],
    'events of CR': [`data: ${first}\r\r`, `data: ${last}\r\r`],
    'lines of JSON': [`${first}\n`, `${last}\n`], 'lines of JSON that end with CRLF': [`${first}\r\n`, `${last}\r\n`], 'an array': [`[${first},`, `${last}]`],
  };
  const types = ['text/event-stream', 'Text/Event-Stream', 'application/json', 'application/x-ndjson', 'text/plain; charset=utf-8', 'application/octet-stream', 'text/html', ''];

  for (const limited of [false, true]) {
    test(`whatever its content type${limited ? ', where tokens are limited' : ''}`, async (t) => {
      let type = '';
      let begins = '';
      let ends = '';
      let rest = (): void => undefined;
      const { gate, lines } = await scene(t, (res) => {
        res.writeHead(200, type === '' ? {} : { 'Content-Type': type }).write(begins);
        rest = () => void res.end(ends);
      }, limited ? { rateLimit: { key: { tokens: { limit: 1_000_000 } } } } : {});
      const cases: string[] = [];
      for (const [form, each] of [...sampled(Object.keys(forms), types), ...sampled(Object.keys(forms), types, 2)]) {
        type = each;
        [begins, ends] = forms[form] as readonly [string, string];
        cases.push(form);
        const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { model: 'm', messages, stream: true }, headers: { Authorization: `Bearer ${key}` } });
        await until(() => stream.text === begins, `${form}, ${type}: the beginning before the end`);
        assert.equal(stream.headers['x-accel-buffering'], 'no');
        rest();
        await stream.done;
        // The gate leaves out the chunk for which it has asked itself.
        assert.equal(stream.text, limited && form !== 'an array' ? begins : begins + ends, `${form}, ${type}`);
        assert.ok(stream.complete);
      }
      const found = (await lines(cases.length)).map((line, at) => [cases[at], line.outcome, counted(line)]);
      assert.deepEqual(found.filter(([form]) => form !== 'an array'), cases.filter((form) => form !== 'an array').map((form) => [form, 'served', told]));
    });
  }

  test('compressed with any coding, and its usage is read', async (t) => {
    let coding: keyof typeof flushing = 'gzip';
    let rest = (): void => undefined;
    const { gate, lines } = await scene(t, (res) => {
      const packer = flushing[coding]();
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': coding });
      packer.pipe(res);
      packer.write(`data: ${first}\n\n`);
      rest = () => void packer.end(`data: ${last}\n\n`);
    });
    const codings = Object.keys(flushing) as (keyof typeof flushing)[];
    for (coding of codings) {
      const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { model: 'm', messages, stream: true }, headers: { Authorization: `Bearer ${key}` } });
      await until(() => stream.chunks.length > 0, coding);
      rest();
      await stream.done;
    }
    assert.deepEqual((await lines(codings.length)).map((line, at) => [codings[at], counted(line)]), codings.map((each) => [each, told]));
  });
});

describe('stream_options that the gate has added', () => {
  const refusals: readonly (readonly [status: number, body: string])[] = [
    [400, '{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}'],
    [400, '{"error":{"message":"Unknown parameter","param":"stream_options"}}'],
    [400, '{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}'],
    [422, '{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}'],
    [400, 'stream_options: Extra inputs are not permitted'],
    [400, '{"message":"json: unknown field \\"stream_options\\""}'],
    [400, '{"error":"stream_options is only available when stream is true"}'],
    [400, '{"object":"error","message":"[{\'loc\': (\'body\', \'stream_options\')}]"}'],
    [422, '"stream_options" is not allowed'],
    [400, '{"error":{"message":"include_usage is not supported"}}'],
    [501, '{"error":{"message":"stream_options is not implemented"}}'],
    [500, '{"error":{"message":"TypeError: create() got an unexpected keyword argument \'stream_options\'"}}'],
    [200, 'data: {"error":{"code":400,"message":"stream_options not supported"}}\n\n'],
  ];
  const text = sse([{ choices: [{ delta: { content: words.repeat(8) } }] }]);

  test('are left out when an upstream refuses them: it is asked once more, and its bytes count', async (t) => {
    let nth = 0;
    const { gate, asked, lines, scrape } = await scene(t, (res, { body }) => {
      const [status, refusal] = refusals[nth] as (typeof refusals)[number];
      if (body.includes('stream_options')) res.writeHead(status, { 'Content-Type': status === 200 ? 'text/event-stream' : 'application/json' }).end(refusal);
      else res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(text);
    }, { rateLimit: { key: { tokens: { limit: 1_000_000 } } } });
    for (const [, refusal] of refusals) {
      const answer = await ask(gate, dialects['chat'] as Dialect, true);
      assert.deepEqual([answer.status, answer.text], [200, text], refusal);
      assert.equal(asked.length, 2 * ++nth);
      assert.equal(asked.at(-1)?.body, JSON.stringify({ model: 'm', messages, stream: true }));
      const line = (await lines(nth)).at(-1) as Line;
      assert.ok(line.usage?.estimated && line.usage.completion >= 40, refusal);
    }
    assert.equal(await scrape('circuit_breaker_state{target="newapi"}'), 0);
  });

  test('are no reason to ask again where the caller has sent them, or another refusal comes', async (t) => {
    let refusal = '';
    const { gate, asked } = await scene(t, (res) => void res.writeHead(400, { 'Content-Type': 'application/json' }).end(refusal), { rateLimit: { key: { tokens: { limit: 1_000_000 } } } });
    const chat = dialects['chat'] as Dialect;
    refusal = '{"error":{"message":"stream_options"}}';
    const answer = await ask(gate, { ...chat, body: { ...chat.body, stream_options: { include_usage: true } } }, true);
    assert.deepEqual([answer.status, answer.text, asked.length], [400, refusal, 1]);
    assert.equal((await ask(gate, chat, true)).status, 400);
    assert.equal(asked.length, 3);
    refusal = '{"error":{"message":"model is wrong"}}';
    assert.equal((await ask(gate, chat, true)).text, refusal);
    assert.equal(asked.length, 4);
  });
});

describe('a verdict of NewAPI', () => {
  const verdicts: readonly (readonly [status: number, code: string])[] = [[503, 'model_not_found'], [500, 'insufficient_user_quota'], [403, 'access_denied']];

  test('is read in every coding, and no other target is asked', async (t) => {
    let nth = -1;
    const cases = codings.flatMap(([coding, compress]) => verdicts.map(([status, code]) => [coding, status, compress(JSON.stringify({ error: { message: 'no', type: 'new_api_error', code } }))] as const));
    const backup = await startUpstream(t, (_, res) => void res.end('{"backup":true}'));
    const { gate } = await scene(t, (res) => {
      if (nth < 0) return void res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[]}');
      const [coding, status, body] = cases[nth] as (typeof cases)[number];
      res.writeHead(status, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'one', ...(coding === '' ? {} : { 'Content-Encoding': coding }) }).end(body);
    }, { llm: { backupProviders: [{ provider: 'openai', endpoint: `${backup.url}/v1`, apiKey: 'two' }] } });
    const chat = dialects['chat'] as Dialect;
    assert.equal((await ask(gate, chat, false)).status, 200);
    for (const [coding, status, body] of cases) {
      nth++;
      const answer = await ask(gate, chat, false);
      assert.deepEqual([answer.status, answer.body.equals(body)], [status, true], `${coding} ${status}`);
    }
  });
});

describe('an answer whose client leaves', () => {
  /** Clients that leave within an answer, one after the other: the upstream waits until each has left. */
  async function leaving(t: TestContext, config: ConfigInput, check: (left: { line: Line; settled: number; closed: boolean }, name: string) => void): Promise<void> {
    let [first, others]: [object, readonly object[]] = [{}, []];
    let packs = false;
    let end = (): void => undefined;
    let closed = false;
    const { gate, lines, scrape } = await scene(t, (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', ...(packs ? { 'Content-Encoding': 'gzip' } : {}) });
      const packer = packs ? createGzip({ flush: constants.Z_SYNC_FLUSH }) : null;
      packer?.pipe(res);
      (packer ?? res).write(sse([first]));
      const rest = others;
      end = () => void (packer ?? res).end(sse(rest));
      res.on('close', () => {
        closed = !res.writableFinished;
      });
    }, { ...config, rateLimit: { key: { tokens: { limit: 1_000_000 } } } });
    let [nth, before] = [0, 0];
    for (const [name, dialect] of Object.entries(dialects)) {
      for (packs of [false, true]) {
        [first, ...others] = dialect.events(words) as [object, ...object[]];
        closed = false;
        const path = dialect.path.replace(':generateContent', ':streamGenerateContent');
        const stream = await openStream(gate.url + path, { body: { ...dialect.body, stream: true }, headers: { Authorization: `Bearer ${key}` } });
        await until(() => stream.chunks.length > 0);
        stream.abort();
        await gone(gate);
        end();
        const line = (await lines(++nth))[nth - 1] as Line;
        const settled = await until(async () => ((await scrape('rate_limit_reserved{kind="tokens"}')) === 0 ? scrape('rate_limit_tokens_total{kind="settled"}') : null));
        check({ line, settled: settled - before, closed }, `${name}${packs ? ', compressed' : ''}`);
        before = settled;
      }
    }
  }

  test('is read to its end with on_client_abort: finish', (t) => leaving(t, { llm: { onClientAbort: 'finish' } }, ({ line, settled, closed }, name) => {
    assert.deepEqual([line.status, line.outcome, counted(line)], [499, 'aborted', told], name);
    assert.equal(settled, prompt + completion, name);
    assert.ok(!closed, name);
  }));

  test('is cancelled by default, and what was seen of it counts', (t) => leaving(t, {}, ({ line, settled }, name) => {
    assert.deepEqual([line.status, line.outcome, line.usage?.estimated], [499, 'aborted', true], name);
    assert.ok(settled > 0 && line.usage !== null && settled === line.usage.prompt + line.usage.completion, `${name}: ${settled}`);
  }));

  const chat = dialects['chat'] as Dialect;
  const headers = { Authorization: `Bearer ${key}` };

  test('is read to its end when it had not begun', async (t) => {
    for (const stream of [false, true]) {
      let end: (() => void) | null = null;
      const { gate, lines } = await scene(t, (res) => {
        end = () => void res.writeHead(200, { 'Content-Type': stream ? 'text/event-stream' : 'application/json' }).end(stream ? sse(chat.events(words)) : JSON.stringify(chat.json(words)));
      }, { llm: { onClientAbort: 'finish' } });
      const leave = new AbortController();
      const asking = request(`${gate.url}/v1/chat/completions`, { body: { ...chat.body, stream }, headers, signal: leave.signal });
      await until(() => end !== null);
      leave.abort();
      await assert.rejects(asking);
      await gone(gate);
      (end as unknown as () => void)();
      const [line] = await lines(1);
      assert.deepEqual([line?.status, line?.outcome, counted(line as Line)], [499, 'aborted', told]);
    }
  });

  test('has a place only while its caller has one, and gives it back', async (t) => {
    const ends: (() => void)[] = [];
    const closed: number[] = [];
    const { gate, lines } = await scene(t, (res) => {
      const nth = ends.push(() => void res.end(sse(chat.events(words)))) - 1;
      res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(sse(chat.events(words).slice(0, 1)));
      res.on('close', () => void (res.writableFinished || closed.push(nth)));
    }, { llm: { onClientAbort: 'finish' }, queue: { concurrency: 8 } });
    const leave = async (): Promise<void> => {
      const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { ...chat.body, stream: true }, headers });
      await until(() => stream.chunks.length > 0);
      stream.abort();
    };
    await leave();
    await gone(gate);
    await leave();
    await until(() => closed.length === 1);
    assert.deepEqual(closed, [1]);
    ends[0]?.();
    await lines(2);
    await leave();
    await gone(gate);
    ends[2]?.();
    const found = await lines(3);
    assert.deepEqual(closed, [1]);
    assert.deepEqual(found.map(({ usage }) => usage?.estimated), [true, false, false]);
  });

  test('is read for 32 MB and no further', async (t) => {
    let sent = 0;
    const { gate, lines } = await scene(t, (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      const event = sse([{ choices: [{ delta: { content: words.repeat(5000) } }] }]);
      const more = (): void => {
        while (!res.destroyed && sent < 200_000_000) {
          sent += event.length;
          if (!res.write(event)) return void res.once('drain', more);
        }
      };
      more();
    }, { llm: { onClientAbort: 'finish' } });
    const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { ...chat.body, stream: true }, headers });
    await until(() => stream.chunks.length > 0);
    stream.abort();
    const [line] = await lines(1);
    assert.deepEqual([line?.status, line?.usage?.estimated], [499, true]);
    assert.ok(sent > 33_000_000 && sent < 80_000_000, `${sent}`);
  });

  test('is not waited for beyond the end of the gate', async (t) => {
    const { gate, lines } = await scene(t, (res) => void res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(sse(chat.events(words).slice(0, 1))), { llm: { onClientAbort: 'finish' } });
    const stream = await openStream(`${gate.url}/v1/chat/completions`, { body: { ...chat.body, stream: true }, headers });
    await until(() => stream.chunks.length > 0);
    stream.abort();
    await gone(gate);
    await gate.gate.close({ timeout: 0 });
    assert.equal((await lines(1))[0]?.usage?.estimated, true);
  });
});
