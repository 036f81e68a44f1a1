import { request as open } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { generator } from '../../support/random.ts';
import type { Ledger } from './ledger.ts';
import { head, METRICS_TOKEN, openScene, shown, tokenOf, type Scene } from './scene.ts';
import { tell, type React } from './stand-in.ts';
import { exchange, type Heard } from './wire.ts';

/** Answers drawn at random beside those that are odd in one way alone. */
const drawn = Number(process.env['PROVE_ODDITIES'] ?? 250);
const atOnce = 24;

/** What ends an answer. */
type Death = 'keeps the connection' | 'ends' | 'resets' | 'hangs' | 'goes on with rubbish';

/** An upstream's answer: its pieces, and what follows. */
interface Odd {
  readonly name: string;
  readonly bytes: Buffer;
  /** Of the bytes so many are sent. */
  readonly sent: number;
  readonly death: Death;
  /** The answer says where it ends. */
  readonly bounded: boolean;
}

const statuses = [
  'HTTP/1.1 200 OK', 'HTTP/1.1 200', 'HTTP/1.1 201 Created', 'HTTP/1.1 204 No Content', 'HTTP/1.1 205 Reset Content', 'HTTP/1.1 206 Partial', 'HTTP/1.1 299 Fine', 'HTTP/1.1 302 Found', 'HTTP/1.1 304 Not Modified', 'HTTP/1.1 400 Bad', 'HTTP/1.1 401 No', 'HTTP/1.1 404 None', 'HTTP/1.1 418 Tea', 'HTTP/1.1 429 Slow', 'HTTP/1.1 451 Law', 'HTTP/1.1 500 Oh', 'HTTP/1.1 503 Busy', 'HTTP/1.1 529 Full', 'HTTP/1.1 599 End',
  'HTTP/1.1 099 Low', 'HTTP/1.1 000 None', 'HTTP/1.1 001 One', 'HTTP/1.1 600 High', 'HTTP/1.1 999 Top', 'HTTP/1.1 1000 Long', 'HTTP/1.1 20 Short', 'HTTP/1.1 2 Shorter', 'HTTP/1.1 abc Word', 'HTTP/1.1 -200 Minus', 'HTTP/1.1 +200 Plus', 'HTTP/1.1 200OK', 'HTTP/1.1  200 Two', 'HTTP/1.1\t200 Tab', 'HTTP/1.1 200.5 Half', 'HTTP/1.1', 'HTTP/1.1 ',
  'HTTP/1.1 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK', 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK', 'HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade', 'HTTP/1.1 101 Switching Protocols', 'HTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 200 OK', `${'HTTP/1.1 103 Early\r\n\r\n'.repeat(2000)}HTTP/1.1 200 OK`,
  'HTTP/1.0 200 OK', 'HTTP/1.2 200 OK', 'HTTP/2 200', 'HTTP/2.0 200 OK', 'HTTP/0.9 200 OK', 'http/1.1 200 ok', 'ICY 200 OK', 'HTTP 200 OK', 'HTTPS/1.1 200 OK', ' HTTP/1.1 200 OK', '\r\n\r\nHTTP/1.1 200 OK', 'SSH-2.0-OpenSSH_9', '<html>', '\x15\x03\x01\x00\x02\x02\x46', '\0\0\0\0', 'RTSP/1.0 200 OK',
  'HTTP/1.1 200 \xe9\xff', `HTTP/1.1 200 ${Buffer.from('日本語 ✓').toString('latin1')}`, `HTTP/1.1 200 ${'r'.repeat(10_000)}`, 'HTTP/1.1 200 a\x01b', 'HTTP/1.1 200 a\tb', 'HTTP/1.1 200 a\rb', 'HTTP/1.1 200 a\nb', 'HTTP/1.1 200 a\0b', 'HTTP/1.1 204 No\r\nX-Body: yes', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Twice: yes',
];

const utf8 = (text: string): string => Buffer.from(text).toString('latin1');
const lines: readonly string[] = [
  'X-Plain: yes', `Content-Disposition: attachment; filename="${utf8('日本語.mp3')}"`, 'Content-Disposition: attachment; filename="caf\xe9.mp3"', `Content-Disposition: attachment; filename="${utf8('🎵.wav')}"`, `X-Model: ${utf8('模型')}`, 'X-Bytes: \x80\x9f\xa0\xff', 'X-Control: a\x01b', 'X-Delete: a\x7fb', 'X-Tab: a\tb', 'X-Empty:', 'X-Spaces:    a   ', 'X-Bare: a\rb', 'X-Bare: a\nX-Other: b', 'X-Nul: a\0b', 'X-Fold: a\r\n b', ' X-First: a', 'nothing', ': none', 'X Space: a', 'X\xe9: a', 'X-Before : a', 'X(Y): a',
  'X-Long: '.padEnd(20_000, 'x'), 'X-Long: '.padEnd(60_000, 'x'), 'X-Long: '.padEnd(120_000, 'x'), 'X-Long: '.padEnd(400_000, 'x'), Array.from({ length: 300 }, (_, nth) => `Set-Cookie: c${nth}=1`).join('\r\n'), Array.from({ length: 1500 }, (_, nth) => `X-${nth}: 1`).join('\r\n'), Array.from({ length: 5000 }, (_, nth) => `X-${nth}: 1`).join('\r\n'),
  'Content-Type: text/plain', 'Content-Type: application/json; charset=\xe9', 'Content-Type: text/event-stream', 'Content-Type:', 'Content-Type: /', 'Content-Type: multipart/x-mixed-replace; boundary=x', 'Connection: close', 'Connection: X-Plain, close', 'Connection: Content-Type', 'Connection: \xe9', 'Keep-Alive: timeout=0, max=0', 'Keep-Alive: timeout=99999999999', 'Proxy-Connection: close', 'Trailer: X-T', 'Upgrade: h2c', 'TE: trailers', 'X-Request-Id: other', 'X-Heimdall-Own: yes', 'X-Accel-Redirect: /secret', 'Date: never', 'Expect: 100-continue', '__proto__: x', 'constructor: x', 'toString: x', 'hasOwnProperty: x', 'Content-Encoding: gzip', 'Content-Encoding: br', 'Content-Encoding: zstd', 'Content-Encoding: x', 'Content-Encoding: gzip, gzip', 'Content-Encoding: identity', 'Retry-After: -5', 'Retry-After: 99999999999999', 'Retry-After: never', 'Retry-After: \xe9', 'X-RateLimit-Reset: \xe9', 'Location: //evil.example', 'Location: \xe9', 'Set-Cookie: a=\xe9', 'Strict-Transport-Security: max-age=1', 'Alt-Svc: h3=":443"', 'Content-Length: 3', 'Transfer-Encoding: chunked', 'Transfer-Encoding: gzip', 'Transfer-Encoding: identity', 'Server: x',
];

const chat = '{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"word"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}';
const events = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\ndata: [DONE]\n\n';
const payloads: readonly (string | Buffer)[] = [
  chat, events, '', 'null', '[]', '{}', '"text"', '7', chat.slice(0, 90), events.slice(0, 70), `${chat}${chat}`, `\ufeff${chat}`, '<html>down</html>', Buffer.from([0, 255, 254, 0xc0, 0x80]), gzipSync(chat), gzipSync(events), events.replaceAll('\n', '\r'), events.replaceAll('\n', '\r\n'), ': comment\n\n'.repeat(200), `data: ${'x'.repeat(300_000)}\n\n`, 'data: {"error":{"message":"no","code":"x"}}\n\n', 'data: {"error":""}\n\ndata: [DONE]\n\n', 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n', '{"error":{"message":"no"}}', '{"error":null,"choices":[]}', `{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":"x","total_tokens":1e400}}`, `{"choices":[],"usage":${'['.repeat(5000)}`, `{"a":${'{"b":'.repeat(20_000)}1${'}'.repeat(20_000)}}`, ' '.repeat(300_000), `{"x":"${'y'.repeat(400_000)}","choices":[]}`, '{"usage":null}', '{"choices":[],"usage":{"prompt_tokens":9007199254740993}}', '\0'.repeat(100), 'data:\n\n', '\n\n\n\n', 'id: 1\nretry: 5\nevent: x\n\n', `event: ${'e'.repeat(100_000)}\ndata: 1\n\n`,
];

const framings: readonly (readonly [name: string, make: (body: Buffer) => readonly [line: string, body: Buffer]])[] = [
  ['its length', (body) => [`Content-Length: ${body.length}`, body]],
  ['no length', (body) => ['', body]],
  ['chunks', (body) => ['Transfer-Encoding: chunked', chunked(body)]],
  ['a length too short', (body) => [`Content-Length: ${Math.max(0, body.length - 5)}`, body]],
  ['a length too long', (body) => [`Content-Length: ${body.length + 50}`, body]],
  ['a negative length', (body) => [`Content-Length: -${body.length}`, body]],
  ['a length that is a word', (body) => ['Content-Length: many', body]],
  ['an empty length', (body) => ['Content-Length:', body]],
  ['a length beyond all', (body) => ['Content-Length: 99999999999999999999', body]],
  ['two lengths', (body) => [`Content-Length: ${body.length}\r\nContent-Length: ${body.length + 1}`, body]],
  ['the same length twice', (body) => [`Content-Length: ${body.length}\r\nContent-Length: ${body.length}`, body]],
  ['a list of lengths', (body) => [`Content-Length: ${body.length}, ${body.length}`, body]],
  ['chunks and a length', (body) => [`Transfer-Encoding: chunked\r\nContent-Length: ${body.length}`, chunked(body)]],
  ['chunks with extensions and trailers', (body) => ['Transfer-Encoding: chunked', Buffer.concat([Buffer.from(`${body.length.toString(16)};x="y"\r\n`), body, Buffer.from('\r\n0\r\nX-Trailer: a\r\n\r\n')])]],
  ['chunks without an end', (body) => ['Transfer-Encoding: chunked', chunked(body).subarray(0, -5)]],
  ['a chunk size that is a word', () => ['Transfer-Encoding: chunked', Buffer.from('size\r\nx\r\n0\r\n\r\n')]],
  ['a chunk size beyond all', () => ['Transfer-Encoding: chunked', Buffer.from('ffffffffffffffffff\r\nx\r\n0\r\n\r\n')]],
  ['chunks that are none', (body) => ['Transfer-Encoding: chunked', body]],
  ['chunks of one byte', (body) => ['Transfer-Encoding: chunked', Buffer.from(`${[...body.subarray(0, 3000).toString('latin1')].map((byte) => `1\r\n${byte}\r\n`).join('')}0\r\n\r\n`, 'latin1')]],
  ['an unknown coding', (body) => ['Transfer-Encoding: x', body]],
];

const chunked = (body: Buffer): Buffer => (body.length === 0 ? Buffer.from('0\r\n\r\n') : Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]));
const deaths: readonly Death[] = ['keeps the connection', 'ends', 'resets', 'hangs', 'goes on with rubbish'];

interface Draw {
  readonly status: number;
  readonly line: number;
  readonly payload: number;
  readonly framing: number;
  readonly death: number;
  /** Of 100 parts of the answer so many are sent before the upstream dies. */
  readonly part: number;
  /** 1: the odd line stands behind the framing. */
  readonly behind: number;
}

const usual: Draw = { status: 0, line: 0, payload: 0, framing: 0, death: 0, part: 100, behind: 0 };

function oddOf(draw: Draw): Odd {
  const status = statuses[draw.status] as string;
  const line = lines[draw.line] as string;
  const body = Buffer.from(payloads[draw.payload] as string | Buffer);
  const [framing, make] = framings[draw.framing] as (typeof framings)[number];
  const death = deaths[draw.death] as Death;
  const [framed, sent] = make(body);
  const type = /^content-type/i.test(line) ? '' : `Content-Type: ${body.includes('data:') ? 'text/event-stream' : 'application/json'}\r\n`;
  const ordered = [line, framed].filter((each) => each !== '');
  const text = `${status}\r\nX-Oneapi-Request-Id: r\r\n${type}${(draw.behind === 1 ? ordered.toReversed() : ordered).join('\r\n')}\r\n\r\n`;
  const bytes = Buffer.concat([Buffer.from(text, 'latin1'), sent, ...(death === 'goes on with rubbish' ? [Buffer.from('rubbish\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen')] : [])]);
  const short = (value: string): string => JSON.stringify(value.length > 44 ? `${value.slice(0, 40)}… (${value.length})` : value);
  const name = [short(status), short(line), `body ${short(body.toString('latin1'))}`, `by ${framing}`, draw.behind === 1 ? 'the line behind it' : '', draw.part < 100 ? `${draw.part} % of it` : '', death].filter((each) => each !== '').join(', ');
  return { name: `${name} [${Object.values(draw).join(' ')}]`, bytes, sent: Math.round((bytes.length * draw.part) / 100), death, bounded: /^(?:content-length|transfer-encoding: chunked)/i.test(framed) };
}

/** Every oddity alone, every moment of death, and then as many as are drawn. */
function odds(): Odd[] {
  const draws: Draw[] = [
    ...statuses.map((_, status) => ({ ...usual, status })),
    ...lines.flatMap((_, line) => [{ ...usual, line }, { ...usual, line, behind: 1 }]),
    ...payloads.flatMap((_, payload) => [{ ...usual, payload }, { ...usual, payload, framing: 2 }]),
    ...framings.flatMap((_, framing) => [{ ...usual, framing, death: 1 }, { ...usual, framing, payload: 1, death: 1 }]),
    ...[0, 1, 2, 5, 10, 20, 40, 60, 80, 95, 99].flatMap((part) => [1, 2].flatMap((death) => [0, 1].map((payload) => ({ ...usual, payload, framing: 2, part, death })))),
    ...[0, 10, 60, 99].map((part) => ({ ...usual, part, death: 3 })),
    { ...usual, death: 4 }, { ...usual, death: 4, framing: 2 }, { ...usual, line: 1, death: 2, part: 50 },
  ];
  const random = generator(13);
  for (let nth = 0; nth < drawn; nth++) {
    // A wait costs seconds, so few hang.
    const death = random(20) === 0 ? 3 : [0, 1, 2, 4][random(4)] as number;
    draws.push({ status: random(3) === 0 ? random(statuses.length) : 0, line: random(lines.length), payload: random(payloads.length), framing: random(2) === 0 ? random(framings.length) : random(3), death, part: random(3) === 0 ? random(100) : 100, behind: random(2) });
  }
  return draws.map(oddOf);
}

const yaml = `
metrics: { token: ${METRICS_TOKEN} }
newapi: { timeout: 1500ms }
llm: { timeouts: { first_byte: 1500ms, idle: 1500ms, total: 3s }, health_check: { enabled: false }, retry: { max_retries: 0 } }
circuit_breaker: { failure_threshold: 1000 }
rate_limit: { address: { limit: 0 } }
`;
const base = '\nsecret: an-install-secret-for-this-proof\nserver: { health_check: { enabled: false } }\n';
const all = odds();

/** Answers as the query says; everything else plainly. */
const react: React = (arrival, at, socket) => {
  const odd = all[Number(/[?&]odd=(\d+)/.exec(arrival.target)?.[1] ?? -1)];
  if (at === 'head' && arrival.method !== 'GET') return null;
  if (odd === undefined) return at === 'end' ? tell(arrival) : null;
  if (at === 'end' && arrival.method === 'GET') return null;
  const { bytes, sent, death } = odd;
  const after = (): void => {
    if (death === 'ends' || (sent < bytes.length && death === 'keeps the connection')) socket.end();
    else if (death === 'resets') setTimeout(() => socket.resetAndDestroy(), 5);
  };
  if (sent === 0) after();
  else socket.write(bytes.subarray(0, sent), after);
  return null;
};

const key = tokenOf('Oddy');
/** Each names a model of its own: one that is said to be overloaded pauses its model. */
const calls: Readonly<Record<string, (nth: number) => string>> = {
  passthrough: (nth) => head('GET', `/api/odd?odd=${nth}`),
  chat: (nth) => posted(`/v1/chat/completions?odd=${nth}`, `{"model":"m${nth}","messages":[]}`),
  stream: (nth) => posted(`/v1/chat/completions?odd=${nth}`, `{"model":"m${nth}","stream":true,"messages":[]}`),
};
const posted = (target: string, body: string): string => head('POST', target, [`Authorization: Bearer ${key}`, 'Content-Type: application/json', `Content-Length: ${body.length}`]) + body;

interface Attempt {
  readonly odd: Odd;
  readonly nth: number;
  readonly via: string;
}

/** Upstreams that answer as nobody should: whatever a direct client would get arrives, and nobody else notices the rest. */
export async function oddities(ledger: Ledger): Promise<void> {
  const attempts = all.flatMap((odd, nth) => Object.keys(calls).map((via) => ({ odd, nth, via }))).filter(({ odd, via }) => !ledger.skips('oddities', via, odd.name));
  if (attempts.length === 0) return;
  let scene = await openScene(yaml, { react, base });
  const note = ({ odd, via }: Attempt, got: string | null): void => ledger.note({ group: 'oddities', via, vector: odd.name, expected: 'the answer of a direct client, or an error', got });
  try {
    for (let at = 0; at < attempts.length && !ledger.late; at += atOnce) {
      const batch = attempts.slice(at, at + atOnce);
      const found = await Promise.all(batch.map((one) => attempt(scene, one)));
      if (scene.alive()) {
        // On a loaded machine a sound answer may be late: what is wrong once more, alone, is wrong.
        for (const [nth, one] of batch.entries()) note(one, found[nth] == null ? null : await attempt(scene, one));
        continue;
      }
      for (const one of batch) {
        if (!scene.alive()) {
          await scene.close();
          scene = await openScene(yaml, { react, base });
        }
        const got = await attempt(scene, one);
        await pause(30);
        note(one, scene.alive() ? got : 'the process ended');
      }
    }
    if (!ledger.late) await afterwards(scene, ledger);
  } finally {
    await scene.close();
  }
}

async function afterwards(scene: Scene, ledger: Ledger): Promise<void> {
  await pause(2500);
  const metrics = (await exchange(scene.port, [head('GET', '/metrics', [`Authorization: Bearer ${METRICS_TOKEN}`])], { expected: 1, patience: 3000 })).answers[0]?.body.toString() ?? '';
  for (const [name, expected] of [['active_requests', 1], ['queue_active', 0], ['queue_waiting', 0], ['inflight_bytes', 0], ['websockets_active', 0]] as const) {
    const samples = [...metrics.matchAll(new RegExp(`^heimdall_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))];
    const got = samples.reduce((sum, [, value]) => sum + Number(value), 0);
    ledger.note({ group: 'oddities', via: 'afterwards', vector: name, expected: String(expected), got: samples.length > 0 && got === expected ? null : `${got}` });
  }
}

async function attempt(scene: Scene, { odd, nth, via }: Attempt): Promise<string | null> {
  const bytes = (calls[via] as (nth: number) => string)(nth);
  const [heard, direct] = await Promise.all([exchange(scene.port, [bytes], { expected: 1, patience: 6000 }), asked(scene.upstream.port, nth)]);
  const [answer] = heard.answers;
  if (!scene.alive()) return 'the process ended';
  if (answer === undefined && !heard.closed) return 'the client waits for ever';
  if (answer !== undefined && !answer.complete && !heard.closed) return `${shown(heard)}: the client waits for the rest for ever`;
  if (odd.bounded && heard.bytes.includes('stolen') && !direct?.body.includes('stolen')) return 'bytes behind an answer were delivered';
  return direct === null || odd.death === 'hangs' ? null : differs(heard, direct, via);
}

interface Direct {
  readonly status: number;
  readonly raw: readonly string[];
  readonly body: Buffer;
}

/** What a client of Node's would get from it; null where it gets no whole answer. */
function asked(port: number, nth: number): Promise<Direct | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const sent = open({ port, host: '127.0.0.1', path: `/api/odd?odd=${nth}`, agent: false, maxHeaderSize: 131_072 }, (answer) => {
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', () => resolve(null));
      answer.on('end', () => resolve(answer.complete ? { status: answer.statusCode ?? 0, raw: answer.rawHeaders, body: Buffer.concat(chunks) } : null));
    });
    sent.on('error', () => resolve(null)).on('upgrade', (_, socket) => {
      socket.destroy();
      resolve(null);
    });
    sent.setTimeout(4000, () => sent.destroy()).end();
  });
}

/** Headers of one hop, and those that the gate says itself or keeps to itself. */
const between = /^(?:connection|keep-alive|proxy-connection|te|trailer|upgrade|transfer-encoding|content-length|x-request-id|x-response-time|x-heimdall-.*|expect|date|x-accel-.*)$/i;

function differs({ answers: [answer], closed }: Heard, direct: Direct, via: string): string | null {
  if (direct.status < 200 || direct.status > 599) return null;
  if (via !== 'passthrough' && !usable(direct)) return null;
  if (answer === undefined) return `a direct client gets ${direct.status}, this one nothing`;
  if (answer.status !== direct.status) return `a direct client gets ${direct.status}, this one ${answer.status}: ${answer.body.toString('latin1', 0, 120)}`;
  if (!answer.complete && !closed) return 'it does not end';
  if (!answer.body.equals(direct.body)) return `another body: ${answer.body.length} bytes for ${direct.body.length}`;
  const named = new Set(direct.raw.flatMap((value, at) => (at % 2 === 1 && /^connection$/i.test(direct.raw[at - 1] as string) ? value.toLowerCase().split(',').map((each) => each.trim()) : [])));
  for (let at = 0; at < direct.raw.length; at += 2) {
    const name = direct.raw[at] as string;
    if (between.test(name) || named.has(name.toLowerCase()) || via !== 'passthrough') continue;
    const value = (direct.raw[at + 1] as string).trim();
    if (!answer.head.split('\r\n').some((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`) && line.slice(name.length + 1).trim() === value)) return `without ${JSON.stringify(`${name}: ${value.slice(0, 60)}`)}`;
  }
  return null;
}

/** Only a sound answer has to pass a model route as it is: the gate may judge the others. */
const usable = ({ status, body }: Direct): boolean => (status === 200 && (body.equals(Buffer.from(chat)) || body.equals(Buffer.from(events)))) || (status >= 400 && status < 500 && status !== 401 && status !== 403 && status !== 429);
