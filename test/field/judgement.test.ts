import assert from 'node:assert/strict';
import dns from 'node:dns';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ConfigInput } from '../../lib/index.ts';
import { openStream, request, until, type LiveStream, type TestLike } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { startRawUpstream, type RawAnswer, type RawUpstream } from '../support/raw-upstream.ts';
import { bearer, CALLER } from '../support/scene.ts';
import { shared } from '../support/shared.ts';

interface Scene {
  readonly upstream: RawUpstream;
  readonly gate: RunningGate;
  ask(options?: { readonly path?: string; readonly stream?: boolean }): ReturnType<typeof request>;
  open(path?: string): Promise<LiveStream>;
}

const pauses = 20;

/** A gate before one NewAPI that answers with the bytes of a test. */
async function start(t: TestLike, answer: RawAnswer, config: ConfigInput = {}, clock?: FakeClock): Promise<Scene> {
  const upstream = await startRawUpstream(t, answer);
  const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, circuitBreaker: { failureThreshold: 2 }, ...config, llm: { retry: { initialDelay: 1, maxDelay: 2 }, ...config.llm } }, clock === undefined ? {} : { clock });
  const ask: Scene['ask'] = ({ path = '/v1/chat/completions', stream = false } = {}) => request(gate.url + path, { headers: bearer(CALLER), body: { model: 'm', stream, messages: [] } });
  const open: Scene['open'] = (path = '/v1/chat/completions') => openStream(gate.url + path, { headers: bearer(CALLER), body: { model: 'm', stream: true, messages: [] } });
  return { upstream, gate, ask, open };
}

/** Answers nothing: each test of a shared scene says what is answered. */
const silent: RawAnswer = () => undefined;

const signature = 'X-Oneapi-Request-Id: r\r\n';
const headOf = (type: string, more = ''): string => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${more}`;
const sseHead = headOf('text/event-stream', 'Connection: close\r\n\r\n');
const word = 'data: {"choices":[{"delta":{"content":"word"}}]}\n\n';
const document = '{"id":"c","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}';
const ok = (body = document, type = 'application/json'): string => `${headOf(type)}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const okStream = `${sseHead}${word}data: [DONE]\n\n`;
const chunked = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const chunkedHead = (type: string, more = ''): string => headOf(type, `${more}Transfer-Encoding: chunked\r\n\r\n`);

type End = 'fin' | 'rst';

/** Writes bytes, then ends the connection once they have gone out. */
function write(socket: Socket, bytes: string | Buffer, end: End | null = null): void {
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : bytes, () => {
    if (end === null) return;
    // A reset at once would take the bytes with it.
    setTimeout(() => (end === 'fin' ? socket.end() : socket.resetAndDestroy()), pauses);
  });
}

describe('an answer that NewAPI has signed and that breaks', () => {
  const breaks: Readonly<Record<string, readonly [bytes: string | Buffer, end: End]>> = {
    'a stream behind its first event, by FIN': [`${chunkedHead('text/event-stream', signature)}${chunked(word)}`, 'fin'],
    'a stream behind its first event, by RST': [`${chunkedHead('text/event-stream', signature)}${chunked(word)}`, 'rst'],
    'a stream within an event': [`${chunkedHead('text/event-stream', signature)}${chunked(word)}${chunked('data: {"cho')}`, 'fin'],
    'a stream within a chunk': [`${chunkedHead('text/event-stream', signature)}${chunked(word)}40\r\ndata: {`, 'fin'],
    'a stream whose next chunk has no size': [`${chunkedHead('text/event-stream', signature)}${chunked(word)}zz\r\n`, 'fin'],
    'a stream that is shorter than announced': [headOf('text/event-stream', `${signature}Content-Length: 5000\r\n\r\n${word}`), 'fin'],
    'a stream before its first event, by RST': [`${chunkedHead('text/event-stream', signature)}${chunked(': ping\n\n')}`, 'rst'],
    'a stream before its first event, by FIN': [`${chunkedHead('text/event-stream', signature)}${chunked('\n')}`, 'fin'],
    'a stream of nothing but its head': [chunkedHead('text/event-stream', signature), 'rst'],
    'an error, within its body': [headOf('application/json', `${signature}Content-Length: 5000\r\n\r\n{"error":`).replace('200 OK', '502 Bad'), 'rst'],
    'a compressed stream': [Buffer.concat([Buffer.from(headOf('text/event-stream', `${signature}Content-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n`)), gzipSync(word).subarray(0, 20)]), 'rst'],
    'a document': [headOf('application/json', `${signature}Content-Length: 5000\r\n\r\n{"choices":[`), 'rst'],
    'a document that is passed on as it comes': [headOf('application/json', `${signature}Content-Length: 500000\r\n\r\n{"choices":[`), 'rst'],
    'an answer of another type': [headOf('text/plain', `${signature}Content-Length: 5000\r\n\r\nwords`), 'rst'],
  };

  const scene = shared((scope) => start(scope, silent));
  for (const [name, [bytes, end]] of Object.entries(breaks)) {
    it(`never counts against it: ${name}`, async () => {
      const { upstream, ask, gate } = await scene();
      upstream.answer = (socket) => write(socket, bytes, end);
      for (let n = 0; n < 4; n++) await ask({ stream: true }).catch(() => undefined);
      upstream.answer = (socket) => write(socket, ok());
      assert.equal((await ask()).status, 200);
      assert.deepEqual(gate.log.named('target.open'), []);
    });
  }

  it('counts where it is not signed', async (t) => {
    for (const name of ['a stream behind its first event, by RST', 'a stream before its first event, by RST', 'an answer of another type']) {
      const [bytes, end] = breaks[name] as readonly [string, End];
      const { ask, gate } = await start(t, (socket) => write(socket, bytes.replace(signature, ''), end));
      for (let n = 0; n < 2; n++) await ask({ stream: true }).catch(() => undefined);
      await until(() => gate.log.named('target.open').length === 1);
      assert.equal((await ask()).status, 503);
    }
  });
});

describe('interim answers that were not asked for', () => {
  const interim: Readonly<Record<string, string>> = {
    '100': 'HTTP/1.1 100 Continue\r\n\r\n',
    '100 with fields': 'HTTP/1.1 100 Continue\r\nServer: x\r\nDate: today\r\n\r\n',
    '100 twice': 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
    '100 without a reason': 'HTTP/1.1 100\r\n\r\n',
    '102': 'HTTP/1.1 102 Processing\r\n\r\n',
    '103': 'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n',
    '100, then 103': 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    '103, then 100': 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
    '102 three times, then 100': `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(3)}HTTP/1.1 100 Continue\r\n\r\n`,
    '199': 'HTTP/1.1 199 Miscellaneous\r\n\r\n',
  };

  const scene = shared((scope) => start(scope, silent));
  for (const [name, bytes] of Object.entries(interim)) {
    it(`are skipped: ${name}`, async () => {
      const { upstream, ask, gate } = await scene();
      upstream.answer = (socket) => write(socket, bytes + ok());
      for (let n = 0; n < 2; n++) assert.equal((await ask()).text, document);
      upstream.answer = (socket) => write(socket, bytes + okStream, 'fin');
      assert.equal((await ask({ stream: true })).text, `${word}data: [DONE]\n\n`);
      upstream.answer = (socket) => void eachByte(socket, bytes + ok());
      assert.equal((await ask()).text, document);
      assert.deepEqual(gate.log.named('upstream.failed'), []);
    });
  }

  it('in a body are the body', async (t) => {
    const text = 'HTTP/1.1 100 Continue\r\n\r\n';
    const { ask } = await start(t, (socket) => {
      socket.write(headOf('text/plain', `Content-Length: ${2 * text.length}\r\n\r\n`));
      setTimeout(() => socket.write(text), pauses);
      setTimeout(() => socket.write(text), 2 * pauses);
    });
    assert.equal((await ask()).text, text + text);
  });

  it('are signs that the request was received: it is not sent again', async (t) => {
    const { upstream, ask } = await start(t, (socket) => write(socket, ok()));
    await ask();
    upstream.answer = (socket) => write(socket, 'HTTP/1.1 100 Continue\r\n\r\n', 'rst');
    assert.equal((await ask()).status, 504);
    assert.equal(upstream.requests.length, 2);
  });
});

async function eachByte(socket: Socket, text: string): Promise<void> {
  for (const byte of Buffer.from(text)) {
    socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a member "error" without an error', () => {
  const empty = ['null', '""', '"  "', 'false', '0', '{}', '[]', '{"message":""}', '{"message":null,"code":""}', '{"details":[],"code":0}', '[null]'];

  const scene = shared((scope) => start(scope, silent, { circuitBreaker: { failureThreshold: 100 } }));
  for (const value of empty) {
    it(`is none: ${value}`, async () => {
      const event = `data: {"error":${value},"choices":[{"delta":{"content":"word"}}]}\n\n`;
      const { upstream, ask, gate } = await scene();
      upstream.answer = (socket) => write(socket, `${sseHead}${event}data: [DONE]\n\n`, 'fin');
      const stream = await ask({ stream: true });
      assert.deepEqual([stream.status, stream.text], [200, `${event}data: [DONE]\n\n`]);
      const body = document.replace('{', `{"error":${value},`);
      upstream.answer = (socket) => write(socket, ok(body));
      const answer = await ask();
      assert.deepEqual([answer.status, answer.text], [200, body]);
      assert.deepEqual(gate.log.named('upstream.failed'), []);
    });
  }

  it('is one with a text, a code or members', async () => {
    for (const value of ['"said in words"', '{"message":"m"}', '{"message":"","code":500}', 'true', '["x"]']) {
      const { upstream, ask } = await scene();
      upstream.answer = (socket) => write(socket, `${sseHead}data: {"error":${value}}\n\n`, 'fin');
      assert.ok((await ask({ stream: true })).status >= 500, value);
    }
  });
});

describe('lines that end with a lone CR', () => {
  const streams: Readonly<Record<string, string>> = {
    'an event': 'data: {"choices":[]}\r\r',
    'a comment, then an event': ': ping\r\rdata: {"choices":[]}\r\r',
    'a named event': 'event: message_start\rdata: {"type":"message_start"}\r\r',
    'two lines of data': 'data: {"choices":\rdata: []}\r\r',
    'an id': 'id: 7\rdata: {"choices":[]}\r\r',
    'an end of CRLF and CR': 'data: {"choices":[]}\r\n\r',
    'an end of LF and CR': 'data: {"choices":[]}\n\r',
    'an end of CR and CRLF': 'data: {"choices":[]}\r\r\n',
    'a retry': 'retry: 10\r\rdata: {"choices":[]}\r\r',
    'a byte order mark': '\ufeffdata: {"choices":[]}\r\r',
  };

  const scene = shared((scope) => start(scope, silent, { circuitBreaker: { failureThreshold: 100 } }));
  for (const [name, text] of Object.entries(streams)) {
    it(`end them: ${name} arrives while the stream goes on`, async () => {
      const { upstream, open } = await scene();
      upstream.answer = (socket) => write(socket, sseHead + text);
      const stream = await open();
      await until(() => stream.text === text);
      stream.abort();
    });
  }

  it('end an error too', async () => {
    for (const text of ['data: {"error":{"code":500}}\r\r', 'event: error\rdata: {"type":"error","error":{"type":"api_error"}}\r\r', ': x\r\rdata: {"error":{"message":"m"}}\r\r']) {
      const { upstream, ask } = await scene();
      upstream.answer = (socket) => write(socket, sseHead + text);
      assert.ok((await ask({ stream: true })).status >= 500, text);
    }
  });
});

describe('a stream that breaks behind its own last words', () => {
  const usage = '"usage":{"prompt_tokens":1,"completion_tokens":1}';
  const gemini = '{"candidates":[{"content":{"parts":[{"text":"word"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}';
  const ends: Readonly<Record<string, readonly [path: string, text: string]>> = {
    'chat': ['/v1/chat/completions', `${word}data: [DONE]\n\n`],
    'chat, CRLF': ['/v1/chat/completions', `${word.replaceAll('\n', '\r\n')}data: [DONE]\r\n\r\n`],
    'completions': ['/v1/completions', 'data: {"choices":[{"text":"word"}]}\n\ndata: [DONE]\n\n'],
    'messages': ['/v1/messages', `event: message_start\ndata: {"type":"message_start","message":{${usage}}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n`],
    'messages without names of events': ['/v1/messages', 'data: {"type":"message_start"}\n\ndata: {"type":"message_stop"}\n\n'],
    'responses': ['/v1/responses', `event: response.created\ndata: {"type":"response.created"}\n\nevent: response.completed\ndata: {"type":"response.completed","response":{${usage}}}\n\n`],
    'responses, incomplete by a limit': ['/v1/responses', 'event: response.created\ndata: {}\n\nevent: response.incomplete\ndata: {"type":"response.incomplete"}\n\n'],
    'responses without names of events': ['/v1/responses', `data: {"type":"response.created"}\n\ndata: {"type":"response.completed","response":{${usage}}}\n\n`],
    'an image': ['/v1/images/generations', 'event: image_generation.partial_image\ndata: {"type":"x"}\n\nevent: image_generation.completed\ndata: {"b64_json":"AAAA"}\n\n'],
    'speech': ['/v1/audio/speech', 'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\ndata: {"type":"speech.audio.done"}\n\n'],
    'Gemini': ['/v1beta/models/gemini:streamGenerateContent?alt=sse', `data: {"candidates":[]}\r\n\r\ndata: ${gemini}\r\n\r\n`],
    'Gemini, as a list': ['/v1beta/models/gemini:streamGenerateContent', `[{"candidates":[]},\r\n${gemini}\r\n]`],
  };
  const answering = (text: string, end: End): RawAnswer => (socket, { path }) => {
    const type = path.endsWith(':streamGenerateContent') ? 'application/json' : 'text/event-stream';
    write(socket, `${chunkedHead(type)}${chunked(text)}`, end);
  };

  const scene = shared((scope) => start(scope, silent, { circuitBreaker: { failureThreshold: 100 } }));
  for (const [name, [path, text]] of Object.entries(ends)) {
    it(`is complete: ${name}`, async () => {
      for (const end of ['rst', 'fin'] as const) {
        const { upstream, open, gate } = await scene();
        upstream.answer = answering(text, end);
        const stream = await open(path);
        await stream.done;
        assert.deepEqual([stream.text, stream.complete], [text, true], end);
        assert.deepEqual([gate.log.named('upstream.failed'), gate.log.named('target.open')], [[], []]);
      }
    });
  }

  it('is not without them', async () => {
    for (const [path, text] of [['/v1/chat/completions', word], ['/v1/images/generations', 'event: image_generation.partial_image\ndata: {}\n\n'], ['/v1beta/models/gemini:streamGenerateContent?alt=sse', `data: ${gemini.replace('"finishReason":"STOP"', '"index":0')}\n\n`], ['/v1beta/models/gemini:streamGenerateContent', `[${gemini}`]] as const) {
      const { upstream, open } = await scene();
      upstream.answer = answering(text, 'rst');
      const stream = await open(path);
      await stream.done;
      // Gemini's errors have no code of ours.
      assert.ok(!stream.complete || /upstream_interrupted|"error":\{"code":502/.test(stream.text), `${path} ${stream.text}`);
    }
  });
});

describe('a fault of this machine', () => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'EAI_MEMORY', 'EAI_SYSTEM', 'ENETDOWN', 'ENETUNREACH']) {
    it(`opens no breaker: ${code}`, async (t) => {
      const { open, gate, port } = await shortOf(t, code);
      for (let n = 0; n < 4; n++) assert.equal((await open()).status, 502);
      t.mock.restoreAll();
      assert.equal((await open()).status, 200);
      assert.deepEqual([gate.log.named('target.open'), port > 0], [[], true]);
    });
  }

  it('is not a name that does not exist', async (t) => {
    const { open, gate } = await shortOf(t, 'ENOTFOUND');
    for (let n = 0; n < 2; n++) assert.equal((await open()).status, 502);
    assert.equal(gate.log.named('target.open').length, 1);
  });
});

/** A gate whose look-ups of names fail until the mocks are restored. */
async function shortOf(t: TestContext, code: string): Promise<{ open: () => ReturnType<typeof request>; gate: RunningGate; port: number }> {
  const upstream = await startRawUpstream(t, (socket) => write(socket, ok()));
  const { lookup } = dns;
  t.mock.method(dns, 'lookup', ((name: string, options: object, done: (error: Error | null) => void) => {
    if (name === 'localhost') done(Object.assign(new Error(code), { code }));
    else (lookup as (...args: unknown[]) => void)(name, options, done);
  }) as never);
  const gate = await startGate(t, { newapi: { baseUrl: `http://localhost:${upstream.port}` }, circuitBreaker: { failureThreshold: 2 }, llm: { retry: { maxRetries: 0 } } });
  return { gate, port: upstream.port, open: () => request(`${gate.url}/v1/chat/completions`, { headers: bearer(CALLER), body: { model: 'm' } }) };
}

const refusal = (status: number, error: object, signed = true): string => {
  const body = JSON.stringify({ error });
  return `HTTP/1.1 ${status} x\r\nContent-Type: application/json\r\n${signed ? signature : ''}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
};
const streamed = (error: object, signed = true): string => headOf('text/event-stream', `${signed ? signature : ''}Connection: close\r\n\r\ndata: ${JSON.stringify({ error })}\n\n`);

describe('an upstream that says it is overloaded', () => {
  const words: Readonly<Record<string, string>> = {
    'CPU': refusal(503, { code: 'system_cpu_overloaded', message: 'system cpu overloaded' }),
    'memory': refusal(503, { code: 'system_memory_overloaded', message: 'm' }),
    'disk': refusal(503, { code: 'system_disk_overloaded', message: 'm' }),
    'CPU, unsigned': refusal(503, { code: 'system_cpu_overloaded' }, false),
    '529': refusal(529, { type: 'overloaded_error' }, false),
    '529, signed': refusal(529, { type: 'overloaded_error' }),
    '529 without a word': refusal(529, {}, false),
    '503 of an overloaded_error': refusal(503, { type: 'overloaded_error' }),
    'a stream of overloaded_error': streamed({ type: 'overloaded_error', message: 'Overloaded' }),
    'a stream of overloaded_error, unsigned': streamed({ type: 'overloaded_error' }, false),
    'a stream of a code': streamed({ code: 'server_overloaded' }),
  };

  const pausing = shared(async (scope) => {
    const clock = fakeClock();
    return { clock, ...(await start(scope, silent, {}, clock)) };
  });
  const waiting = (clock: FakeClock): number => clock.armedBy('upstream/forward.ts');
  const leaving = shared(async (scope) => {
    const backup = await startRawUpstream(scope, (socket) => write(socket, ok()));
    const clock = fakeClock();
    return { backup, clock, ...(await start(scope, silent, { llm: { backupProviders: [{ provider: 'openai', endpoint: `${backup.url}/v1`, apiKey: 'ours' }] } }, clock)) };
  });

  for (const [name, bytes] of Object.entries(words)) {
    it(`is asked again after a pause: ${name}`, async () => {
      const { upstream, ask, clock } = await pausing();
      const before = upstream.requests.length;
      upstream.answer = (socket, { nth }) => write(socket, nth === before ? bytes : ok(), bytes.includes('Connection: close') && nth === before ? 'fin' : null);
      const asked = ask({ stream: true });
      await until(() => waiting(clock) === 1);
      clock.tick(990);
      assert.deepEqual([waiting(clock), upstream.requests.length - before], [1, 1]);
      clock.tick(20);
      const answer = await asked;
      assert.deepEqual([answer.status, answer.text], [200, document]);
      assert.equal(upstream.requests.length - before, 2);
    });

    it(`is left for another target: ${name}`, async () => {
      const { upstream, ask, backup, clock } = await leaving();
      // NewAPI has accepted the caller's token: only then may a request cost our money. What it said in the case before is over.
      clock.tick(60_000);
      upstream.answer = (socket) => write(socket, ok());
      const [asked, before] = [upstream.requests.length, backup.requests.length];
      await ask();
      assert.deepEqual([upstream.requests.length - asked, backup.requests.length - before], [1, 0]);
      upstream.answer = (socket) => write(socket, bytes, bytes.includes('Connection: close') ? 'fin' : null);
      assert.equal((await ask({ stream: true })).status, 200);
      assert.equal(backup.requests.length - before, 1);
    });
  }

  it('is sent fewer requests: none in the pause, then one at a time until one is answered', async (t) => {
    const clock = fakeClock();
    const inHand: Socket[] = [];
    const { upstream, ask } = await start(t, (socket, { nth }) => (nth < 3 ? write(socket, words['CPU'] as string) : void inHand.push(socket)), {}, clock);
    const first = Array.from({ length: 3 }, () => ask());
    await until(() => waiting(clock) === 3);
    const others = Array.from({ length: 20 }, () => ask());
    await until(() => waiting(clock) === 23);
    clock.tick(1010);
    await until(() => inHand.length === 1);
    await until(() => waiting(clock) === 22);
    assert.deepEqual([inHand.length, upstream.requests.length], [1, 4]);
    let left = 23;
    const all = Promise.all([...first, ...others].map((asked) => asked.finally(() => left--)));
    await until(() => {
      clock.tick(100);
      for (const socket of inHand.splice(0)) write(socket, ok());
      return left === 0;
    });
    assert.deepEqual([...new Set((await all).map(({ status }) => status))], [200]);
  });

  it('of one model behind NewAPI leaves the other models alone', async (t) => {
    const { upstream, gate } = await start(t, (socket, { body }) => write(socket, body.includes('busy') ? (words['529, signed'] as string) : ok()), { llm: { retry: { maxRetries: 0 } } });
    const ask = (model: string): Promise<number> => request(`${gate.url}/v1/chat/completions`, { headers: bearer(CALLER), body: { model } }).then(({ status }) => status);
    assert.equal(await ask('busy'), 529);
    assert.equal(await ask('free'), 200);
    assert.equal(upstream.requests.length, 2);
  });

  it('is not one that has no channel for the model', async (t) => {
    for (const error of [{ code: 'model_not_found', message: 'No available channel for model m under group default (distributor) (request id: r)', type: 'new_api_error' }, { message: '当前分组 default 下对于模型 m 无可用渠道', type: 'new_api_error' }]) {
      const { upstream, ask, gate } = await start(t, (socket) => write(socket, refusal(503, error)));
      for (let n = 0; n < 4; n++) {
        const answer = await ask();
        assert.deepEqual([answer.status, answer.json()], [503, { error }]);
      }
      assert.deepEqual([upstream.requests.length, gate.log.named('target.resting').length, gate.log.named('target.open').length], [4, 0, 0]);
    }
  });
});

const timeouts = { firstByte: '30s', idle: '60s', total: '10m' };

/** Moves the gate's clock a second at a time, as its own timers need. */
async function pass(clock: FakeClock, seconds: number): Promise<void> {
  for (let n = 0; n < seconds; n++) {
    clock.tick(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Waits until the gate has read what its upstream wrote. */
const read = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));

describe('signs of life of an upstream that has answered 200', () => {
  const signs: Readonly<Record<string, string>> = {
    'a comment': ': ping\n\n', 'a comment without a space': ':\n\n', 'a comment of OpenRouter': ': OPENROUTER PROCESSING\n\n', 'a comment, CRLF': ': ping\r\n\r\n', 'a comment, CR': ': ping\r\r',
    'a blank line': '\n', 'two blank lines': '\r\n\r\n', 'half a comment': ': pi', 'a retry': 'retry: 1000\n\n', 'an id': 'id: 7\n\n', 'an event without data': 'event: ping\n\n',
  };
  const blanks: Readonly<Record<string, string>> = { 'a line feed': '\n', 'spaces': '   ', 'CRLF': '\r\n', 'a tab': '\t', 'many lines': '\n'.repeat(40) };
  const table = [...Object.entries(signs).map(([name, sign]) => [name, sign, true] as const), ...Object.entries(blanks).map(([name, sign]) => [`${name} before a document`, sign, false] as const)];

  const scene = shared(async (scope) => {
    const clock = fakeClock();
    return { clock, ...(await start(scope, silent, { circuitBreaker: { failureThreshold: 100 }, llm: { timeouts } }, clock)) };
  });
  for (const [name, sign, stream] of table) {
    const open = async () => {
      let socket: Socket | null = null;
      const { upstream, gate, clock } = await scene();
      upstream.answer = (its) => {
        socket = its;
        its.write(chunkedHead(stream ? 'text/event-stream' : 'application/json'));
      };
      const answer = openStream(`${gate.url}/v1/chat/completions`, { headers: bearer(CALLER), body: { model: 'm', stream } });
      await until(() => socket);
      await read();
      return { clock, answer, socket: socket as unknown as Socket };
    };

    it(`put first_byte off, and reach the client within 10 s: ${name}`, async () => {
      const { clock, answer, socket } = await open();
      await pass(clock, 25);
      socket.write(chunked(sign));
      await read();
      await pass(clock, 9);
      assert.equal(await Promise.race([answer.then(() => 'a head'), read()]), undefined);
      await pass(clock, 2);
      const reading = await answer;
      assert.equal(reading.status, 200);
      await until(() => reading.text === sign);
      await pass(clock, 30);
      const rest = stream ? `\n\n${word}data: [DONE]\n\n` : document;
      socket.write(`${chunked(rest)}0\r\n\r\n`);
      await reading.done;
      assert.deepEqual([reading.text, reading.complete], [sign + rest, true]);
    });

    it(`let a later failure be told inside the answer: ${name}`, async () => {
      const { clock, answer, socket } = await open();
      socket.write(chunked(sign));
      await read();
      await pass(clock, 11);
      const reading = await answer;
      socket.resetAndDestroy();
      await reading.done;
      if (stream) assert.match(reading.text, /upstream_interrupted/);
      else assert.equal(reading.complete, false);
    });
  }

  it('go on for as long as the request has time, and no longer', async (t) => {
    const clock = fakeClock();
    let socket: Socket | null = null;
    const { open } = await start(t, (its) => {
      socket = its;
      its.write(chunkedHead('text/event-stream'));
    }, { llm: { timeouts: { ...timeouts, firstByte: '5s', total: '8s' } } }, clock);
    const answer = open();
    await until(() => socket);
    for (let n = 0; n < 4; n++) {
      (socket as unknown as Socket).write(chunked(': ping\n\n'));
      await read();
      await pass(clock, 2);
    }
    assert.equal((await answer).status, 504);
  });
});

describe('comments of the gate\'s own', () => {
  const scene = shared(async (scope) => {
    const clock = fakeClock();
    return { clock, ...(await start(scope, silent, { circuitBreaker: { failureThreshold: 100 }, llm: { keepAliveComments: '5s', timeouts } }, clock)) };
  });
  const open = async (text: string) => {
    let socket: Socket | null = null;
    const { upstream, clock, open: begin } = await scene();
    upstream.answer = (its) => {
      socket = its;
      its.write(`${chunkedHead('text/event-stream')}${chunked(word)}${chunked(text)}`);
    };
    const reading = await begin();
    await until(() => reading.text === word + text);
    await pass(clock, 12);
    await read();
    return { reading, socket: socket as unknown as Socket };
  };

  for (const text of ['id: 7\n', 'id: 7\r\n', 'id: 7\r', 'data: {"a":1}\n', 'event: ping\r\n', 'event: ping\n', 'retry: 5\n', 'data: {"ha', ': half a comment', ': a comment\n', 'id: 7\ndata: x\r', 'data: x\n\nid: 8\n', 'data: x\r\rid: 8\r']) {
    it(`stay out of an event: ${JSON.stringify(text)}`, async () => {
      const { reading, socket } = await open(text);
      assert.equal(reading.text, word + text);
      socket.write(`${chunked('\n\ndata: [DONE]\n\n')}0\r\n\r\n`);
      await reading.done;
      assert.equal(reading.text, `${word}${text}\n\ndata: [DONE]\n\n`);
    });
  }

  for (const text of ['data: x\n\n', 'data: x\r\n\r\n', 'data: x\r\r', 'data: x\n\r\n', 'data: x\r\n\n', ': ping\n\n', 'id: 7\n\n', '\n', '\r\n', 'data: x\r\n\r']) {
    it(`stand between two events: ${JSON.stringify(text)}`, async () => {
      const { reading } = await open(text);
      assert.match(reading.text.slice((word + text).length), /^(?:: keep-alive\n\n)+$/);
      reading.abort();
    });
  }

  it('stand between two events whose bytes come one by one', async () => {
    const text = `id: 7\r\n${word}`;
    const { upstream, clock, open: begin } = await scene();
    upstream.answer = (socket) => {
      socket.write(sseHead);
      void eachByte(socket, text);
    };
    const reading = await begin();
    await until(() => reading.text === text);
    await pass(clock, 6);
    await until(() => reading.text.includes('keep-alive'));
    assert.ok(reading.text.startsWith(`${text}: keep-alive\n\n`));
    reading.abort();
  });
});
