import { ATTACKER } from './scene.ts';
import type { Step } from './wire.ts';

/** What must be answered: `served` by the upstream, `refused` by the gate, one of these statuses, or whatever one likes. */
export type Answers = 'served' | 'refused' | 'either' | readonly number[];

/** A request that tries to be two, or to be another's. */
export interface Vector {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly answers: Answers;
  /** The hidden request may be served as one of its own: it stands behind a complete one. */
  readonly pipelined?: boolean;
  /** The connection must end behind the answer. */
  readonly closes?: boolean;
  readonly end?: boolean;
  readonly methods?: readonly string[];
}

/** What a vector is made of, by its number. */
interface Parts {
  readonly id: string;
  /** A JSON body. */
  readonly body: string;
  /** A request that hides. */
  readonly hidden: string;
}

/** @param id names the vector in what reaches the upstream. */
export const partsOf = (id: string): Parts => ({
  id,
  body: JSON.stringify({ model: 'm', user: id, messages: [] }),
  hidden: `GET /api/hidden/${id} HTTP/1.1\r\nHost: gate.example\r\nX-Request-Id: smuggled\r\n\r\n`,
});

/** Where a request with a body goes: through undici, and through http-proxy-middleware. */
const engines = {
  chat: (id: string) => ({ line: `POST /v1/chat/completions?v=${id}`, lines: [`Authorization: Bearer ${ATTACKER.key}`, 'Content-Type: application/json'] }),
  api: (id: string) => ({ line: `POST /api/probe/${id}`, lines: ['Content-Type: application/json'] }),
} as const;
type Engine = keyof typeof engines;

type Make = (parts: Parts) => { readonly lines: readonly string[]; readonly payload: readonly Step[]; readonly version?: string };
type Framing = readonly [name: string, answers: Answers, make: Make, more?: Partial<Vector>];

const sized = (text: string): string => text.length.toString(16);
const chunked = (text: string): string => `${sized(text)}\r\n${text}\r\n0\r\n\r\n`;
const te = (value: string): string => `Transfer-Encoding: ${value}`;
const cl = (value: string | number): string => `Content-Length: ${value}`;
const pipelined = { pipelined: true } as const;

/** `Content-Length` in every form that two readers have read differently. */
function lengths(): Framing[] {
  const whole = (name: string, answers: Answers, lines: (size: number) => readonly string[], more: Partial<Vector> = {}): Framing => [name, answers, ({ body, hidden }) => ({ lines: lines(body.length), payload: [body + hidden] }), more];
  const odd = (value: (size: number) => string): ((size: number) => readonly string[]) => (size) => [cl(value(size))];
  const values: Record<string, (size: number) => string> = {
    plus: (n) => `+${n}`, minus: (n) => `-${n}`, hex: (n) => `0x${n.toString(16)}`, fraction: (n) => `${n}.0`, exponent: (n) => `${n}e0`, 'two words': (n) => `${n} ${n}`,
    'with a ;': (n) => `${n};x=1`, letters: (n) => `${n}a`, quoted: (n) => `"${n}"`, empty: () => '', blank: () => ' ', 'too long': (n) => `${'9'.repeat(30)}${n}`, '2^64 more': (n) => String(2n ** 64n + BigInt(n)),
    underscore: (n) => `${n}_0`, 'vertical tab': (n) => `\x0b${n}`, 'a NUL': (n) => `${n}\0`, 'list of different': (n) => `${n}, ${n + 1}`, 'list with a hole': (n) => `${n},,${n}`, 'superscript': (n) => `${n}\xb2`,
  };
  return [
    ...Object.entries(values).map(([name, value]) => whole(`length: ${name}`, 'refused', odd(value))),
    whole('length: leading zeros', 'either', odd((n) => `000${n}`), pipelined),
    whole('length: list of the same', 'either', odd((n) => `${n}, ${n}`), pipelined),
    whole('length: spaces around', 'served', odd((n) => `  ${n} \t`), pipelined),
    whole('length: twice the same', 'either', (n) => [cl(n), cl(n)], pipelined),
    whole('length: twice, second shorter', 'refused', (n) => [cl(n), cl(0)]),
    whole('length: twice, first shorter', 'refused', (n) => [cl(0), cl(n)]),
    whole('length: space before the colon', 'refused', (n) => [`Content-Length : ${n}`]),
    whole('length: tab before the colon', 'refused', (n) => [`Content-Length\t: ${n}`]),
    whole('length: folded', 'refused', (n) => [`Content-Length:\r\n ${n}`]),
    whole('length: folded onto another', 'refused', (n) => [`X-Fold: a\r\n Content-Length: 0\r\nContent-Length: ${n}`]),
    whole('length: behind a bare CR', 'refused', (n) => [`X-Bare: a\rContent-Length: 0\r\nContent-Length: ${n}`]),
    whole('length: behind a bare LF', 'refused', (n) => [`X-Bare: a\nContent-Length: 0\r\nContent-Length: ${n}`]),
    whole('length: name with a dash too many', 'either', (n) => [`Content--Length: 0`, cl(n)], pipelined),
    whole('length: name with _', 'either', (n) => ['Content_Length: 0', cl(n)], pipelined),
    whole('length: named by Connection', 'either', (n) => ['Connection: Content-Length', cl(n)], pipelined),
    ['length: longer than what comes', 'either', ({ body, hidden }) => ({ lines: [cl(body.length + hidden.length + 400)], payload: [body + hidden] }), {}],
    ['length: longer, and the client leaves', 'either', ({ body, hidden }) => ({ lines: [cl(body.length + hidden.length + 400)], payload: [body + hidden] }), { end: true }],
    ['length: comes in two pieces', 'served', ({ body, hidden }) => ({ lines: [cl(body.length + hidden.length)], payload: [body, 30, hidden] }), { answers: 'either' }],
    ['length: rubbish behind it', [200], ({ body }) => ({ lines: [cl(body.length)], payload: [`${body}rubbish\r\n\r\n`] }), {}],
    ['length: half a request behind it', [200], ({ body }) => ({ lines: [cl(body.length)], payload: [`${body}GET /api/hid`] }), {}],
    ['length: a wrong request behind it', [200], ({ body, hidden }) => ({ lines: [cl(body.length)], payload: [`${body}GET /x HTTP/1.1\r\nBad Header: x\r\n\r\n${hidden}`] }), {}],
  ];
}

/** `Transfer-Encoding`, alone and against a length. */
function codings(): Framing[] {
  const both = (name: string, answers: Answers, lines: readonly string[], more: Partial<Vector> = {}): Framing[] => [
    [`coding: ${name}`, answers, ({ body, hidden }) => ({ lines, payload: [chunked(body) + hidden] }), more],
    [`coding: ${name}, with a length that ends before it`, 'refused', ({ body, hidden }) => ({ lines: [cl(4), ...lines], payload: [chunked(body) + hidden] })],
    [`coding: ${name}, with a length that hides`, 'refused', ({ body, hidden }) => ({ lines: [...lines, cl(chunked(body).length + hidden.length)], payload: [chunked(body) + hidden] })],
  ];
  const unknown = ['xchunked', 'identity', 'gzip', 'deflate', 'gzip, chunked', 'identity, chunked', 'chunked, identity', 'chunked, gzip', 'chunk', 'trailers', 'br', 'x-gzip, chunked', 'compress'];
  const broken = ['chunked, chunked', 'chunked;q=1', '"chunked"', '\x0bchunked', 'chunked\x0b', 'chunked\0', 'chunked,', ',chunked', 'chun ked', 'chunked chunked', 'ch\xfcnked', '[chunked]', 'chunked\x7f'];
  return [
    ...both('chunked', 'served', [te('chunked')], pipelined),
    ...both('in capitals', 'served', [te('CHUNKED')], pipelined),
    ...both('with a tab before', 'served', ['Transfer-Encoding:\tchunked'], pipelined),
    ...both('with a space behind', 'either', [te('chunked \t')], pipelined),
    ...unknown.flatMap((value) => both(value, [501], [te(value)]).slice(0, 2)),
    ...broken.flatMap((value) => both(JSON.stringify(value), [400, 501], [te(value)]).slice(0, 2)),
    ...both('empty', [400, 501], [te('')]),
    ...both('twice', [400, 501], [te('chunked'), te('chunked')]),
    ...both('twice, second identity', [400, 501], [te('chunked'), te('identity')]),
    ...both('twice, first identity', [400, 501], [te('identity'), te('chunked')]),
    ...both('space before the colon', 'refused', ['Transfer-Encoding : chunked']),
    ...both('folded', 'refused', ['Transfer-Encoding:\r\n chunked']),
    ...both('folded by a tab', 'refused', ['Transfer-Encoding: \r\n\tchunked']),
    ...both('behind a bare LF', 'refused', ['X-Bare: a\nTransfer-Encoding: chunked']),
    ...both('behind a bare CR', 'refused', ['X-Bare: a\rTransfer-Encoding: chunked']),
    ...both('behind CR CR LF', 'refused', ['X-Bare: a\r\r\nTransfer-Encoding: chunked']),
    ...both('name with _', 'either', ['Transfer_Encoding: chunked', cl(0)]).slice(0, 1),
    ...both('name with a NUL', 'refused', ['Transfer-Encoding\0: chunked']),
    ...both('named by Connection', 'either', ['Connection: Transfer-Encoding', te('chunked')], pipelined).slice(0, 1),
    ...both('TE: chunked instead', 'either', ['TE: chunked', cl(0)]).slice(0, 1),
    ['coding: chunked in HTTP/1.0', 'either', ({ body, hidden }) => ({ version: '1.0', lines: [te('chunked')], payload: [chunked(body) + hidden] }), { closes: true }],
    ['coding: chunked in HTTP/1.0, kept alive', 'either', ({ body, hidden }) => ({ version: '1.0', lines: ['Connection: keep-alive', te('chunked')], payload: [chunked(body) + hidden] }), { closes: true }],
    ['coding: chunked in HTTP/1.0 with a length', 'either', ({ body, hidden }) => ({ version: '1.0', lines: ['Connection: keep-alive', te('chunked'), cl(chunked(body).length + hidden.length)], payload: [chunked(body) + hidden] }), { closes: true }],
  ];
}

/** Chunk sizes, extensions, ends and trailers. */
function chunks(): Framing[] {
  const lines = [te('chunked')];
  const raw = (name: string, answers: Answers, payload: (body: string, hidden: string) => string, more: Partial<Vector> = {}): Framing => [`chunk: ${name}`, answers, ({ body, hidden }) => ({ lines, payload: [payload(body, hidden)] }), more];
  const size = (name: string, answers: Answers, text: (hex: string) => string, more: Partial<Vector> = {}): Framing => raw(`size ${name}`, answers, (body, hidden) => `${text(sized(body))}${body}\r\n0\r\n\r\n${hidden}`, more);
  const trailer = (line: string): Framing => raw(`trailer ${line}`, 'either', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\n${line}\r\n\r\n${hidden}`, pipelined);
  return [
    size('with an extension', 'either', (n) => `${n};ext=1\r\n`, pipelined),
    size('with a quoted extension', 'either', (n) => `${n};ext="a;b"\r\n`, pipelined),
    size('with a CRLF in an extension', 'refused', (n) => `${n};ext="\r\n"\r\n`),
    size('with an extension ended by LF', 'refused', (n) => `${n};a\n`),
    size('with an extension that holds CR', 'refused', (n) => `${n};a\rb\r\n`),
    size('with an extension of 20 KB', 'either', (n) => `${n};${'e'.repeat(20_000)}\r\n`, pipelined),
    size('ended by LF', 'refused', (n) => `${n}\n`),
    size('ended by CR', 'refused', (n) => `${n}\r`),
    size('ended by CR and a letter', 'refused', (n) => `${n}\rX`),
    size('with a space before the extension', 'either', (n) => `${n} ;a\r\n`, pipelined),
    size('with a space behind', 'either', (n) => `${n} \r\n`, pipelined),
    size('with a space before', 'refused', (n) => ` ${n}\r\n`),
    size('with a plus', 'refused', (n) => `+${n}\r\n`),
    size('with a minus', 'refused', (n) => `-${n}\r\n`),
    size('with 0x', 'refused', (n) => `0x${n}\r\n`),
    size('with _', 'refused', (n) => `${n}_0\r\n`),
    size('with leading zeros', 'either', (n) => `0000${n}\r\n`, pipelined),
    size('that overflows', 'refused', (n) => `1000000000000000${n.padStart(2, '0')}\r\n`),
    size('of 17 digits', 'refused', (n) => `fffffffffffffff${n}\r\n`),
    size('that is empty', 'refused', () => '\r\n'),
    size('that is a word', 'refused', () => 'size\r\n'),
    raw('longer than its size', 'refused', (body, hidden) => `${(body.length - 3).toString(16)}\r\n${body}\r\n0\r\n\r\n${hidden}`),
    raw('shorter than its size', 'either', (body, hidden) => `${(body.length + 10).toString(16)}\r\n${body}\r\n0\r\n\r\n${hidden}`),
    raw('ended by two letters', 'refused', (body, hidden) => `${sized(body)}\r\n${body}XX0\r\n\r\n${hidden}`),
    raw('ended by LF', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\n0\r\n\r\n${hidden}`),
    raw('ended by CR', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r0\r\n\r\n${hidden}`),
    raw('without an end', 'refused', (body, hidden) => `${sized(body)}\r\n${body}0\r\n\r\n${hidden}`),
    raw('last one ended by LF', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\n\n${hidden}`),
    raw('last one ended by LF, trailers by CRLF', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\n\r\n${hidden}`),
    raw('last one ended by CRLF, trailers by LF', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\n\n${hidden}`),
    raw('last one ended by CR and a letter', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\n\rX${hidden}`),
    raw('last one with an extension', 'either', (body, hidden) => `${sized(body)}\r\n${body}\r\n0;last\r\n\r\n${hidden}`, pipelined),
    raw('last one of many zeros', 'either', (body, hidden) => `${sized(body)}\r\n${body}\r\n0000\r\n\r\n${hidden}`, pipelined),
    raw('the last one missing', 'either', (body) => `${sized(body)}\r\n${body}\r\n`, { end: true }),
    raw('a hidden request as trailers', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\n${hidden}`),
    raw('one byte each', 'served', (body, hidden) => `${[...body].map((byte) => `1\r\n${byte}\r\n`).join('')}0\r\n\r\n${hidden}`, pipelined),
    ...['X-Trailer: 1', 'Content-Length: 5', 'Transfer-Encoding: chunked', 'Host: evil.example', 'X-Forwarded-For: 192.0.2.66', 'Authorization: Bearer other', 'Connection: close'].map(trailer),
    raw('trailer with a bare LF', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\nX: a\nY: b\r\n\r\n${hidden}`),
    raw('trailer without a colon', 'refused', (body, hidden) => `${sized(body)}\r\n${body}\r\n0\r\nnothing\r\n\r\n${hidden}`),
    raw('trailer of 2 MB', 'refused', (body) => `${sized(body)}\r\n${body}\r\n0\r\nX: ${'t'.repeat(2_000_000)}\r\n\r\n`),
  ];
}

/** Expectations and hop-by-hop names beside a body. */
function beside(): Framing[] {
  const named = (value: string, answers: Answers = 'served'): Framing => [`Connection: ${value}`, answers, ({ body, hidden }) => ({ lines: [`Connection: ${value}`, cl(body.length)], payload: [body + hidden] }), pipelined];
  const expecting = (value: string, answers: Answers): Framing => [`Expect: ${value}`, answers, ({ body, hidden }) => ({ lines: [`Expect: ${value}`, cl(body.length)], payload: [30, body + hidden] }), pipelined];
  return [
    ...['Host', 'Authorization', 'X-Request-Id', 'X-Forwarded-For', 'Content-Type', 'X-Real-IP, X-Forwarded-Proto', 'Cookie', 'close, keep-alive', 'keep-alive, Transfer-Encoding', 'Upgrade', 'TE', 'Trailer', '', ',', 'a b', 'Connection'].map((value) => named(value)),
    expecting('100-continue', 'served'),
    expecting('100-CONTINUE', 'served'),
    expecting('200-ok', 'either'),
    expecting('100-continue, 100-continue', 'either'),
    expecting('', 'either'),
    ['Expect: twice', 'either', ({ body, hidden }) => ({ lines: ['Expect: 100-continue', 'Expect: 100-continue', cl(body.length)], payload: [20, body + hidden] }), pipelined],
    ['Expect: without a body', 'either', ({ hidden }) => ({ lines: ['Expect: 100-continue', cl(0)], payload: [hidden] }), pipelined],
    ['Expect: chunked', 'served', ({ body, hidden }) => ({ lines: ['Expect: 100-continue', te('chunked')], payload: [20, chunked(body) + hidden] }), pipelined],
    ['Expect: and the client leaves', 'either', ({ body }) => ({ lines: ['Expect: 100-continue', cl(body.length)], payload: [] }), { end: true }],
    ['Upgrade: h2c', 'served', ({ body, hidden }) => ({ lines: ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__', cl(body.length)], payload: [body + hidden] }), pipelined],
    ['Upgrade: websocket on a POST', 'either', ({ body, hidden }) => ({ lines: ['Connection: Upgrade', 'Upgrade: websocket', cl(body.length)], payload: [body + hidden] }), pipelined],
    ['Upgrade: websocket on a chunked POST', 'either', ({ body, hidden }) => ({ lines: ['Connection: Upgrade', 'Upgrade: websocket', te('chunked')], payload: [chunked(body) + hidden] }), pipelined],
    ['Upgrade: TLS/1.0', 'served', ({ body, hidden }) => ({ lines: ['Connection: Upgrade', 'Upgrade: TLS/1.0', cl(body.length)], payload: [body + hidden] }), pipelined],
  ];
}

function framed(engine: Engine, [name, answers, make, more = {}]: Framing, id: string): Vector {
  const parts = partsOf(id);
  const { line, lines } = engines[engine](id);
  const { lines: framing, payload, version = '1.1' } = make(parts);
  const head = `${[`${line} HTTP/${version}`, 'Host: gate.example', ...lines, ...framing].join('\r\n')}\r\n\r\n`;
  const [next, ...rest] = payload;
  return { name: `${engine}, ${name}`, answers, steps: typeof next === 'string' ? [head + next, ...rest] : [head, ...payload], ...more };
}

type Line = readonly [name: string, answers: Answers, bytes: (parts: Parts) => string, more?: Partial<Vector>];

/** `Host` and the target that it must fit. */
function hosts(): Line[] {
  const host = (value: string, answers: Answers): Line => [`Host ${JSON.stringify(value)}`, answers, ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: ${value}\r\n\r\n`];
  const wrongHosts = ['a b', 'a/b', 'a?b', 'a#b', 'user@gate.example', 'a:b', 'a:1:2', 'a:-1', '[::1', '::1', '[::1]x', '[gate]', 'a\\b', '<a>', 'a\tb', 'a%', 'a%zz', 'h\xe9', 'a"b', 'a|b', 'a^b', 'a`b', '{a}', 'a\x7fb'];
  return [
    ...wrongHosts.map((value) => host(value, [400])),
    ...['gate.example', 'gate.example:8000', 'GATE.example', '[::1]:80', '[2001:db8::1]', '127.0.0.1:1', 'gate.example.', 'xn--bcher-kva.example', 'a_b.example', ' gate.example '].map((value) => host(value, 'served')),
    host('a,b', 'either'),
    host('a:99999', 'either'),
    ['Host: none', [400], ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\n\r\n`],
    ['Host: empty', 'either', ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost:\r\n\r\n`],
    ['Host: twice', [400], ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\nHost: gate.example\r\n\r\n`],
    ['Host: twice, different', [400], ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\nHOST: evil.example\r\n\r\n`],
    ['Host: space before the colon', [400], ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost : gate.example\r\n\r\n`],
    ['Host: folded', [400], ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n evil.example\r\n\r\n`],
    ['Host: none in HTTP/1.0', 'either', ({ id }) => `GET /api/probe/${id} HTTP/1.0\r\n\r\n`, { closes: true }],
    ['absolute: same host', 'served', ({ id }) => `GET http://gate.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: other host', [400], ({ id }) => `GET http://evil.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: user', [400], ({ id }) => `GET http://u:p@gate.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: scheme in capitals', 'either', ({ id }) => `GET HTTP://gate.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: without a host', [400], ({ id }) => `GET http:///api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: ftp', [400], ({ id }) => `GET ftp://gate.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: no slashes', [400], ({ id }) => `GET http:/gate.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['absolute: backslashes', [400], ({ id }) => `GET http:\\\\gate.example\\api\\probe\\${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
    ['authority form', [400], () => 'GET gate.example:80 HTTP/1.1\r\nHost: gate.example\r\n\r\n'],
    ['CONNECT', 'refused', ({ hidden }) => `CONNECT gate.example:80 HTTP/1.1\r\nHost: gate.example:80\r\n\r\n${hidden}`],
    ['asterisk on GET', [400], () => 'GET * HTTP/1.1\r\nHost: gate.example\r\n\r\n'],
    ['asterisk on OPTIONS', 'either', () => 'OPTIONS * HTTP/1.1\r\nHost: gate.example\r\n\r\n'],
    ['network-path target', 'either', ({ id }) => `GET //evil.example/api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n\r\n`],
  ];
}

/** Request lines. */
function requestLines(): Line[] {
  const line = (name: string, answers: Answers, text: (id: string) => string, more: Partial<Vector> = {}): Line => [`line: ${name}`, answers, ({ id, hidden }) => `${text(id)}\r\nHost: gate.example\r\n\r\n${hidden}`, more];
  return [
    line('two spaces', 'either', (id) => `GET  /api/probe/${id} HTTP/1.1`, pipelined),
    line('a tab', 'refused', (id) => `GET\t/api/probe/${id} HTTP/1.1`),
    line('a space in the target', 'refused', (id) => `GET /api/probe/${id} /x HTTP/1.1`),
    line('a space behind', 'refused', (id) => `GET /api/probe/${id} HTTP/1.1 `),
    line('a space before', 'refused', (id) => ` GET /api/probe/${id} HTTP/1.1`),
    line('empty lines before', 'served', (id) => `\r\n\r\nGET /api/probe/${id} HTTP/1.1`, pipelined),
    line('bare LF lines before', 'either', (id) => `\n\nGET /api/probe/${id} HTTP/1.1`, pipelined),
    line('a NUL in the target', 'refused', (id) => `GET /api/probe/${id}\0 HTTP/1.1`),
    line('high bytes in the target', 'either', (id) => `GET /api/probe/${id}\xff HTTP/1.1`, pipelined),
    line('a fragment', 'either', (id) => `GET /api/probe/${id}#x HTTP/1.1`, pipelined),
    line('HTTP/1.2', 'refused', (id) => `GET /api/probe/${id} HTTP/1.2`),
    line('HTTP/2.0', 'refused', (id) => `GET /api/probe/${id} HTTP/2.0`),
    line('HTTP/0.9', 'refused', (id) => `GET /api/probe/${id} HTTP/0.9`),
    line('HTTP/1', 'refused', (id) => `GET /api/probe/${id} HTTP/1`),
    line('http/1.1', 'refused', (id) => `GET /api/probe/${id} http/1.1`),
    line('HTTP/01.1', 'refused', (id) => `GET /api/probe/${id} HTTP/01.1`),
    line('no version', 'refused', (id) => `GET /api/probe/${id}`),
    line('an unknown method', 'refused', (id) => `SMUGGLE /api/probe/${id} HTTP/1.1`),
    line('a method in small letters', 'refused', (id) => `get /api/probe/${id} HTTP/1.1`),
    line('a method with a NUL', 'refused', (id) => `GE\0T /api/probe/${id} HTTP/1.1`),
    line('TRACE', 'either', (id) => `TRACE /api/probe/${id} HTTP/1.1`, pipelined),
    ['line: HTTP/2 preface', 'refused', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['line: TLS', 'refused', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ];
}

/** What else a head can hold. */
function headerLines(): Line[] {
  const extra = (name: string, answers: Answers, text: string): Line => [`header: ${name}`, answers, ({ id }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n${text}\r\n\r\n`];
  return [
    extra('without a colon', 'refused', 'nothing'),
    extra('empty name', 'refused', ': x'),
    extra('space in the name', 'refused', 'X Y: x'),
    extra('high byte in the name', 'refused', 'X\xe9: x'),
    extra('NUL in the name', 'refused', 'X\0Y: x'),
    extra('NUL in the value', 'refused', 'X-Y: a\0b'),
    extra('bare CR in the value', 'refused', 'X-Y: a\rb'),
    extra('bare LF in the value', 'refused', 'X-Y: a\nX-Z: b'),
    extra('CR CR LF', 'refused', 'X-Y: a\r'),
    extra('folded', 'refused', 'X-Y: a\r\n b'),
    extra('first line folded', 'refused', ' X-Y: a'),
    extra('parentheses in the name', 'refused', 'X(Y): a'),
    extra('quotes in the name', 'refused', '"X": a'),
    extra('high bytes in the value', 'served', 'X-Y: \xe9\xff'),
    extra('a value of 30 KB', 'served', `X-Y: ${'v'.repeat(30_000)}`),
    extra('a value of 2 MB', [431], `X-Y: ${'v'.repeat(2_000_000)}`),
    extra('3 000 lines', 'either', Array.from({ length: 3000 }, (_, nth) => `X-${nth}: a`).join('\r\n')),
  ];
}

/** Upgrades, whether the upstream upgrades or not, with and without a body. `early` answers before the body is there. */
function upgrades(): Line[] {
  const lines = ['Host: gate.example', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg=='];
  const made: Line[] = [];
  for (const [where, path, auth] of [['page', '/early/ws', null], ['api', '/api/early/ws', null], ['realtime', '/v1/realtime', ATTACKER.key]] as const) {
    for (const upstream of ['301', '101', '200', '500', 'close'] as const) {
      const start = (id: string): string => `GET ${path}?model=m&as=${upstream}&v=${id} HTTP/1.1\r\n${[...lines, ...(auth === null ? [] : [`Authorization: Bearer ${auth}`])].join('\r\n')}`;
      const name = `upgrade: ${where}, upstream ${upstream}`;
      const declares = 'either' as const;
      made.push(
        [`${name}, a length`, declares, ({ id, hidden }) => `${start(id)}\r\n${cl(hidden.length)}\r\n\r\n${hidden}`],
        [`${name}, a length and no body`, declares, ({ id }) => `${start(id)}\r\n${cl(300)}\r\n\r\n`],
        [`${name}, chunked`, declares, ({ id, hidden }) => `${start(id)}\r\n${te('chunked')}\r\n\r\n${chunked(hidden)}`],
        [`${name}, chunked and no body`, declares, ({ id }) => `${start(id)}\r\n${te('chunked')}\r\n\r\n`],
        [`${name}, early bytes`, 'either', ({ id, hidden }) => `${start(id)}\r\n\r\n${hidden}`],
      );
    }
  }
  const other = (name: string, head: string, tail = ''): Line => [`upgrade: ${name}`, 'either', ({ id, hidden }) => `GET /early/ws?as=301&v=${id} HTTP/1.1\r\nHost: gate.example\r\n${head}\r\n\r\n${tail}${hidden}`, pipelined];
  return [
    ...made,
    other('two protocols', 'Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nContent-Length: 0'),
    other('in capitals', 'Connection: UPGRADE\r\nUpgrade: WebSocket\r\nContent-Length: 0'),
    other('not in Connection', 'Upgrade: websocket\r\nContent-Length: 0'),
    other('length named by Connection', 'Connection: Upgrade, Content-Length\r\nUpgrade: websocket\r\nContent-Length: 200'),
    other('coding named by Connection', 'Connection: Upgrade, Transfer-Encoding\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked', '0\r\n\r\n'),
    other('with Expect', 'Connection: Upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\nContent-Length: 200'),
    other('closing', 'Connection: close, Upgrade\r\nUpgrade: websocket\r\nContent-Length: 200'),
    other('h2c with a body', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5', 'hello'),
  ];
}

/** Requests behind one another, and bodies that the answer does not wait for. */
function queues(): Line[] {
  const get = (id: string, nth = 0): string => `GET /api/probe/${id}/${nth} HTTP/1.1\r\nHost: gate.example\r\n\r\n`;
  const bodied = (method: string, target: string, lines: string, body: string): string => `${method} ${target} HTTP/1.1\r\nHost: gate.example\r\n${lines}${cl(body.length)}\r\n\r\n${body}`;
  return [
    ['queue: ten requests', 'served', ({ id }) => Array.from({ length: 10 }, (_, nth) => get(id, nth)).join(''), pipelined],
    ['queue: a GET with a body', 'either', ({ id, hidden }) => bodied('GET', `/api/probe/${id}`, '', hidden)],
    ['queue: a chunked GET', 'either', ({ id, hidden }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\n${te('chunked')}\r\n\r\n${chunked(hidden)}`],
    ['queue: a DELETE with a body', 'either', ({ id, hidden }) => bodied('DELETE', `/api/probe/${id}`, '', hidden)],
    ['queue: an OPTIONS with a body', 'either', ({ id, hidden }) => bodied('OPTIONS', `/api/probe/${id}`, '', hidden)],
    ['queue: a TRACE with a body', 'either', ({ id, hidden }) => bodied('TRACE', `/api/probe/${id}`, '', hidden)],
    ['queue: a HEAD with a body', 'either', ({ id, hidden }) => bodied('HEAD', `/api/probe/${id}`, '', hidden), { methods: ['HEAD'] }],
    ['queue: a HEAD, then a GET', 'served', ({ id }) => `HEAD /api/probe/${id}/0 HTTP/1.1\r\nHost: gate.example\r\n\r\n${get(id, 1)}`, { methods: ['HEAD'] }],
    ['queue: refused with its body unread', [401], ({ hidden }) => bodied('POST', '/v1/chat/completions', 'Content-Type: application/json\r\n', hidden)],
    ['queue: refused with its chunks unread', [401], ({ hidden }) => `POST /v1/chat/completions HTTP/1.1\r\nHost: gate.example\r\n${te('chunked')}\r\n\r\n${chunked(hidden)}`],
    ['queue: of the wrong type with its body unread', 'either', ({ hidden }) => bodied('POST', '/v1/chat/completions', `Authorization: Bearer ${ATTACKER.key}\r\nContent-Type: text/plain\r\n`, hidden)],
    ['queue: too large with its body unread', [413], ({ hidden }) => `POST /v1/chat/completions HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer ${ATTACKER.key}\r\nContent-Type: application/json\r\n${cl(900_000_000)}\r\n\r\n${hidden}`],
    ['queue: the health check with a body', 'either', ({ hidden }) => bodied('GET', '/health', '', hidden)],
    ['queue: the health check with chunks', 'either', ({ hidden }) => `GET /health HTTP/1.1\r\nHost: gate.example\r\n${te('chunked')}\r\n\r\n${chunked(hidden)}`],
    ['queue: metrics with a body', 'either', ({ hidden }) => bodied('GET', '/metrics', '', hidden)],
    ['queue: upstream answers before the body', 'either', ({ id, hidden }) => `POST /api/early/${id}?as=200 HTTP/1.1\r\nHost: gate.example\r\n${cl(5000)}\r\n\r\n${hidden}`],
    ['queue: upstream answers before the chunks', 'either', ({ id, hidden }) => `POST /api/early/${id}?as=200 HTTP/1.1\r\nHost: gate.example\r\n${te('chunked')}\r\n\r\n${sized(hidden)}\r\n${hidden}\r\n`],
    ['queue: upstream refuses before the body', 'either', ({ id, hidden }) => `POST /api/early/${id}?as=500 HTTP/1.1\r\nHost: gate.example\r\n${cl(5000)}\r\n\r\n${hidden}`],
    ['queue: upstream upgrades who did not ask', 'either', ({ id, hidden }) => `GET /api/early/${id}?as=101 HTTP/1.1\r\nHost: gate.example\r\n\r\n${hidden}`, pipelined],
    ['queue: a chat whose upstream upgrades', 'either', ({ id, hidden }) => bodied('POST', `/v1/chat/completions?early=${id}&as=101`, `Authorization: Bearer ${ATTACKER.key}\r\nContent-Type: application/json\r\n`, '{"model":"m"}') + hidden, pipelined],
    ['queue: HTTP/1.0, kept alive', 'served', ({ id }) => `GET /api/probe/${id} HTTP/1.0\r\nHost: gate.example\r\nConnection: keep-alive\r\n\r\n${get(id, 1)}`],
    ['queue: closing, and one more behind', 'served', ({ id, hidden }) => `GET /api/probe/${id} HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n${hidden}`, { closes: true }],
    ['queue: half-closed behind a request', 'either', ({ id }) => get(id), { end: true }],
    ['queue: rubbish behind a GET', [200], ({ id }) => `${get(id)}rubbish\r\n\r\n`],
    ['queue: NULs behind a GET', [200], ({ id }) => `${get(id)}${'\0'.repeat(50)}`],
    ['queue: a 2 MB head behind a GET', [200], ({ id }) => `${get(id)}GET /x HTTP/1.1\r\nX: ${'x'.repeat(2_000_000)}\r\n\r\n`],
    ['queue: methods overridden', 'served', ({ id }) => bodied('POST', `/api/probe/${id}`, 'X-HTTP-Method-Override: DELETE\r\nX-Method-Override: PUT\r\nX-HTTP-Method: PATCH\r\n', 'x')],
  ];
}

/** Every vector; ids are numbers, so that what reaches the upstream tells which one it was. */
export function vectors(): Vector[] {
  const all: Vector[] = [];
  const next = (): string => `v${all.length}z`;
  const framings = [...lengths(), ...codings(), ...chunks(), ...beside()];
  for (const engine of Object.keys(engines) as Engine[]) for (const framing of framings) all.push(framed(engine, framing, next()));
  for (const [name, answers, bytes, more = {}] of [...hosts(), ...requestLines(), ...headerLines(), ...upgrades(), ...queues()]) all.push({ name, answers, steps: [bytes(partsOf(next()))], ...more });
  return all;
}
