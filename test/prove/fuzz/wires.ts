import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import fc from 'fast-check';
import { parseAddress } from '../../../lib/identity/address.ts';
import { helloIn } from '../../../lib/identity/ja4.ts';
import { conditions, SearchError, sqlite } from '../../../lib/journal/search.ts';
import { RelaySocket } from '../../../lib/platform/relay-socket.ts';
import { jsonFor, textFor } from '../../../lib/postgres/connection.ts';
import { printableJson } from '../../../lib/redaction/display.ts';
import { mask } from '../../../lib/redaction/mask.ts';
import { SecretFilter } from '../../../lib/redaction/secret-filter.ts';
import { AnswerReader } from '../../../lib/server/answer-reader.ts';
import { preambleIn } from '../../../lib/server/proxy-protocol.ts';
import { requestHead, trailerLines } from '../../../lib/server/stream-head.ts';
import { pack } from '../../../lib/sinks/packer.ts';
import { ExtraChunkFilter } from '../../../lib/usage/include-usage.ts';
import { SocketMeter } from '../../../lib/usage/socket-meter.ts';
import { traceOf, traceparentOf } from '../../../lib/values/trace.ts';
import type { Logger } from '../../../types/logger.d.ts';
import type { Dialect } from '../../../types/reader.d.ts';
import { aRecord } from '../../support/fake-journal.ts';
import { cut, given, noise, places, type Property } from './property.ts';

const odd = fc.oneof(fc.string({ maxLength: 12, unit: 'binary' }), fc.constantFrom('a', '', ' ', '\r\n', 'x\r\nHost: b', '\n', '\0', '\t', '\u00e9', 'gzip, br', '5', '05', '+5', '5, 5', 'chunked', 'a:b', '\u{202e}'));
const fieldName = fc.oneof(fc.constantFrom('accept', 'host', 'content-length', 'transfer-encoding', 'connection', 'cookie', 'upgrade', 'te', 'x-a', 'x_a', 'X-A', '', 'a b', 'a:', 'a\r\nb', ':path', ':method', ':scheme', ':authority', ':protocol', ':status'), fc.string({ maxLength: 6 }));
const fields = fc.array(fc.tuple(fieldName, odd), { maxLength: 6 });
const pseudo = fc.tuple(fc.constantFrom('GET', 'POST', 'CONNECT', 'HEAD', 'get x', 'GET / HTTP/1.1\r\nX: y', ''), fc.constantFrom('/', '/v1/models', '*', '', 'x', '/a b', '/a\r\n', '/é', '/#', '//h/x', 'http://h/'), fc.constantFrom('https', 'http', 'ftp', ''), fc.constantFrom('a.test', 'a.test:1', 'u@a', '', 'a b', 'a\r\nb', 'é'));

const http2: readonly Property[] = [
  given('HTTP/2: the head of a stream as one of HTTP/1.1', 'its own fields', 60, fc.property(pseudo, fields, fc.boolean(), ([method, path, scheme, authority], list, hasBody) => {
    const raw = [':method', method, ':path', path, ':scheme', scheme, ':authority', authority, ...list.flat()];
    const head = requestHead(raw, hasBody);
    if (head === null) return;
    const text = head.bytes.toString('latin1');
    assert.ok(text.endsWith('\r\n\r\n') && text.indexOf('\r\n\r\n') === text.length - 4, text);
    const [line = '', ...lines] = text.slice(0, -4).split('\r\n');
    assert.match(line, /^[!-~]+ [!-~\x80-\xff]+ HTTP\/1\.1$/);
    assert.ok(lines.every((each) => /^[!#$%&'*+.^`|~\w-]+: [\t\x20-\x7e\x80-\xff]*$/.test(each)), text);
    const framing = lines.filter((each) => /^(?:content-length|transfer-encoding):/i.test(each));
    assert.ok(framing.length <= 1 && (!hasBody || method === 'CONNECT' || framing.length === 1), text);
    assert.ok(!lines.some((each) => /^(?:connection|upgrade|keep-alive|proxy-connection):/i.test(each)), text);
  })),
  given('HTTP/2: trailers', 'none', 20, fc.property(fields, (list) => {
    const lines = trailerLines(list.flat()).split('\r\n');
    assert.equal(lines.pop(), '');
    assert.ok(lines.every((each) => /^[!#$%&'*+.^`|~\w-]+: [\t\x20-\x7e\x80-\xff]*$/.test(each) && !/^(?:content-length|transfer-encoding|host|connection):/i.test(each)));
  })),
  given('HTTP/2: answers in pieces', 'what was written', 40, fc.property(fc.array(noise, { maxLength: 4 }), fc.constantFrom('chunked', 'counted', 'open'), fc.boolean(), places, (pieces, framing, interim, at) => {
    const body = Buffer.concat(pieces);
    const lines = framing === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : framing === 'counted' ? `Content-Length: ${body.length}\r\n` : 'Connection: close\r\n';
    const sent = framing === 'chunked' ? [...pieces.filter(({ length }) => length > 0).flatMap((piece) => [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]), Buffer.from('0\r\nX-T: y\r\n\r\n')] : pieces;
    const bytes = Buffer.concat([Buffer.from(`${interim ? 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' : ''}HTTP/1.1 200 OK\r\nX-A: b\r\n${lines}\r\n`), ...sent]);
    const statuses: number[] = [];
    const reader = new AnswerReader({ interim: (status) => void statuses.push(status), head: (status) => void statuses.push(status) });
    reader.begin('GET');
    const read = Buffer.concat(cut(bytes, at).flatMap((piece) => reader.read(piece)));
    if (framing === 'open') reader.close();
    assert.deepEqual([read, statuses, reader.isWhole], [body, interim ? [103, 200] : [200], true]);
  })),
];

const id = '0198f3a2-1c00-7abc-8123-456789abcdef';
const hex = (size: number): fc.Arbitrary<string> => fc.string({ minLength: size, maxLength: size, unit: fc.constantFrom(...'0123456789abcdef') });
const traceHeader = fc.oneof(fc.tuple(fc.constantFrom('00', '01', 'ff', 'FF', '0'), hex(32), hex(16), hex(2), fc.constantFrom('', '-', '-x', ' ')).map(([version, trace, span, flags, rest]) => `${version}-${trace}-${span}-${flags}${rest}`), fc.constantFrom(`00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`, `00-${'1'.repeat(32)}-${'0'.repeat(16)}-01`), odd, fc.constant(undefined), fc.constant(['a', 'b']));

const traces: readonly Property[] = [
  given('traceparent: a trace of the right form, the caller\'s where it names one', 'W3C Trace Context', 40, fc.property(traceHeader, fc.double({ min: 0, max: 1, noNaN: true }), (header, share) => {
    const trace = traceOf(id, header, share);
    assert.match(traceparentOf(trace), /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-0[01]$/);
    const named = typeof header === 'string' ? /^00-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}$/.exec(header) : null;
    if (named !== null) assert.deepEqual([trace.id, trace.parent], [named[1], named[2]]);
    else if (typeof header !== 'string' || !/^[\da-f]{2}-/.test(header) || header.startsWith('00') || header.startsWith('ff')) assert.equal(trace.parent, null);
    assert.deepEqual(traceOf(id, traceparentOf(trace), share).id, trace.id);
  })),
  given('OTLP: a body of JSON for every record', 'JSON.parse', 40, fc.property(fc.array(fc.record({ user_agent: odd, request_path: odd, request_method: odd, route: odd, outcome: odd, model: fc.option(odd), request_body: fc.option(odd), request_headers: fc.option(fc.oneof(odd, fc.jsonValue().map((value) => JSON.stringify(value)), traceHeader.map((traceparent) => JSON.stringify({ traceparent, host: 'a:1' })))), response_status: fc.nat(999), response_time: fc.double({ min: -1, max: 1e9, noNaN: true }), cost: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })) }), { maxLength: 3 }), fc.constantFrom('traces', 'logs'), fc.boolean(), (list, signal, bodies) => {
    const records = list.map((more, nth) => aRecord(nth + 1, more as never));
    const { count, body: bytes } = pack(records, { signal, bodies, sample: 1, traces: true, version: '1.0.0' });
    const body = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (count === 0) return void assert.equal(body, '');
    assert.ok(body.isWellFormed() && !/\\ud[89a-f]/i.test(body), body);
    const [resource] = Object.values(JSON.parse(body) as Record<string, { scopeSpans?: { spans: unknown[] }[]; scopeLogs?: { logRecords: unknown[] }[] }[]>)[0] ?? [];
    assert.equal((resource?.scopeSpans?.[0]?.spans ?? resource?.scopeLogs?.[0]?.logRecords)?.length, count);
  })),
];

/** As PostgreSQL's. */
const postgres: Dialect = { begins: (column, start) => ({ sql: `${column} >= ? AND ${column} < ?`, values: [start, `${start}\u{10ffff}`] }), learnt: (name, value) => ({ sql: `${name} = ?`, values: [value] }), among: (condition) => condition, newest: 'id DESC', sums: '', recent: { sql: 'TRUE', values: [] } };
const filterName = fc.constantFrom('address', 'model', 'outcome', 'status', 'from', 'to', 'key', 'token', 'user', 'path', 'route', 'request_id', 'session', 'client', 'stream', 'target', 'country', 'username', 'token_name', 'min_cost', 'slower', 'x', '__proto__', 'constructor');
const filterText = fc.oneof(fc.constantFrom('192.0.2.1', '192.0.2.0/24', '10.0.0.0/8', '2001:db8::/32', '24h', '2026-01-01', '2026-99-99', '5xx', '429', 'refused', 'served', "' OR 1=1 --", '?', '$1', '%', '_', '*', 'a*', '>5', '1e9', 'true', id, ''), odd);

const readers: readonly Property[] = [
  given('filters of records: every text is bound, none stands in the question', 'its own places', 40, fc.property(fc.array(fc.tuple(filterName, filterText), { maxLength: 4 }), (list) => {
    for (const dialect of [sqlite, postgres]) {
      try {
        const { sql, values } = conditions(Object.fromEntries(list), 1_767_571_200_000, dialect);
        assert.equal(sql.split('?').length - 1, values.length, sql);
        assert.ok(!/--|\$|OR 1/.test(sql), sql);
        assert.ok(values.every((each) => typeof each !== 'number' || Number.isSafeInteger(each)), values.join());
      } catch (error) {
        assert.ok(error instanceof SearchError, String(error));
      }
    }
  })),
  given('texts for PostgreSQL: neither NUL nor half a character', 'JSON.parse', 20, fc.property(odd, fc.jsonValue({ maxDepth: 2 }), (text, value) => {
    assert.ok(textFor(text).isWellFormed() && !textFor(text).includes('\0'));
    const json = jsonFor({ [text]: value, text });
    JSON.parse(json);
    assert.ok(!/[^\\](?:\\\\)*\\u0000/.test(json) && json.isWellFormed(), json);
  })),
];

const nowhere = (): void => undefined;
const silentLog: Logger = { debug: nowhere, info: nowhere, warn: nowhere, error: nowhere };
const port = fc.nat(65_535);
const preamble = fc.oneof(
  fc.tuple(fc.ipV4(), port).map(([address, number]) => ({ bytes: Buffer.from(`PROXY TCP4 ${address} 192.0.2.1 ${number} 443\r\n`), address, number })),
  fc.tuple(fc.ipV4(), port).map(([address, number]) => {
    const bytes = Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), Buffer.from([0x21, 0x11, 0, 12, ...address.split('.').map(Number), 192, 0, 2, 1]), Buffer.alloc(4)]);
    bytes.writeUInt16BE(number, 24);
    return { bytes, address, number };
  }),
);

const connections: readonly Property[] = [
  given('PROXY protocol: who is named, whole and in pieces', 'what was written', 30, fc.property(preamble, noise, fc.nat(1000), ({ bytes, address, number }, behind, at) => {
    assert.deepEqual(preambleIn(Buffer.concat([bytes, behind])), { length: bytes.length, client: { address, port: number } });
    assert.equal(preambleIn(bytes.subarray(0, Math.floor((at * (bytes.length - 1)) / 1000))), 'more');
  })),
  given('PROXY protocol and TLS handshakes, or anything else: no throw', 'none', 30, fc.property(fc.oneof(noise, preamble.map(({ bytes }) => bytes), noise.map((bytes) => Buffer.concat([Buffer.from([22, 3, 1, bytes.length >> 8, bytes.length & 255, 1, 0, 0, Math.max(0, bytes.length - 4)]), bytes]))), fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 3 }), (bytes, strikes) => {
    const damaged = Buffer.from(bytes);
    for (const [at, byte] of strikes) if (damaged.length > 0) damaged[Math.floor((at * (damaged.length - 1)) / 1000)] = byte;
    preambleIn(damaged);
    helloIn(damaged);
  })),
  given('addresses: one spelling', 'net.isIP', 30, fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4().map((text) => `::ffff:${text}`), fc.ipV4().map((text) => `${text}:80`), fc.ipV6().map((text) => `[${text}]:443`), odd), (text) => {
    const read = parseAddress(text);
    if (isIP(text) !== 0) assert.ok(read !== null, text);
    if (read !== null) assert.deepEqual([isIP(read) !== 0, parseAddress(read)], [true, read], text);
  })),
  given('relayed connections: bytes between two threads', 'what was written', 10, fc.asyncProperty(fc.array(noise.filter(({ length }) => length > 0), { maxLength: 5 }), async (pieces) => {
    const { port1, port2 } = new MessageChannel();
    const peer = { remoteAddress: '192.0.2.1', encrypted: false };
    const [near, far] = [new RelaySocket(port1, peer, silentLog), new RelaySocket(port2, peer, silentLog)];
    for (const piece of pieces) near.write(piece);
    near.end();
    const read: Buffer[] = [];
    for await (const chunk of far) read.push(chunk as Buffer);
    far.destroy();
    assert.deepEqual(Buffer.concat(read), Buffer.concat(pieces));
  })),
];

const credential = 'sk-Ab3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA';
const bare = credential.slice(3);
const spelling = fc.constantFrom(bare, credential, [...bare].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join(''), [...bare].map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''), `${bare.slice(0, 5)}%${bare.charCodeAt(5).toString(16).toUpperCase()}${bare.slice(6)}`);
const around = fc.oneof(noise.map((bytes) => bytes.toString('latin1')), fc.constantFrom('', bare.slice(0, 9), '%', '\\', '"', 'sk-', '\\\\'));
const unmasked = (text: string): string => text.replace(/\\+u00([\da-f]{2})/gi, '%$1').replace(/%([\da-f]{2})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
const chunk = fc.constantFrom('data: {"choices":[{"delta":{"content":"a"}}]}\n\n', 'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', 'data: {"choices":[],"usage":{"prompt_tokens":1}}\r\n\r\n', '{"choices":[],"usage":{"prompt_tokens":1}}\n', ': c\n', '\n', '\r', '\r\n', 'data: [DONE]\n\n', '[', '"usage"', 'data: {"usage":null}\n', 'id: 5\n');

const outputs: readonly Property[] = [
  given('our credential in bytes that pass: never whole, of the same length', 'a replace', 40, fc.property(around, spelling, around, places, (before, secret, behind, at) => {
    const bytes = Buffer.from(before + secret + behind, 'latin1');
    const filter = new SecretFilter(credential);
    const passed = Buffer.concat([...cut(bytes, at).map((piece) => filter.push(piece)), filter.end()]);
    assert.equal(passed.length, bytes.length);
    assert.ok(!unmasked(passed.toString('latin1')).includes(bare), passed.toString('latin1'));
    assert.deepEqual(bytes, Buffer.from(before + secret + behind, 'latin1'));
  })),
  given('keys in texts: masked wherever they stand', 'none', 30, fc.property(fc.string({ maxLength: 20, unit: 'binary' }), fc.string({ maxLength: 20, unit: 'binary' }), (before, behind) => {
    if (/[\w-]$/.test(before)) return;
    assert.ok(!mask(`${before}${credential}${behind}`).includes(bare), before);
  })),
  given('texts for a terminal or a log: no control, and the same value', 'JSON.parse', 30, fc.property(fc.dictionary(odd, odd, { maxKeys: 3 }), (value) => {
    const text = printableJson(value);
    assert.ok(!/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(text), text);
    assert.equal(JSON.stringify(JSON.parse(text)), JSON.stringify(value));
  })),
  given('the usage chunk that we asked for: left out alike, whole and in pieces', 'itself', 40, fc.property(fc.array(chunk, { maxLength: 6 }), places, (list, at) => {
    const bytes = Buffer.from(list.join(''));
    const read = (pieces: readonly Buffer[]): string => {
      const filter = new ExtraChunkFilter();
      return Buffer.concat([...pieces.flatMap((piece) => filter.push(piece)), ...filter.end()]).toString();
    };
    assert.equal(read(cut(bytes, at)), read([bytes]));
  })),
  given('WebSocket messages: usage alike, whole and in pieces', 'itself', 30, fc.property(fc.array(fc.oneof(noise, fc.constantFrom('{"type":"response.done","response":{"usage":{"input_tokens":3,"output_tokens":4}}}', '{"type":"response.created"}', '{}').map((text) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]))), { maxLength: 4 }), places, (list, at) => {
    const bytes = Buffer.concat(list);
    const read = (pieces: readonly Buffer[]): unknown[] => {
      const heard: unknown[] = [];
      const meter = new SocketMeter((usage) => heard.push(usage));
      for (const piece of pieces) meter.push(piece);
      return heard;
    };
    assert.deepEqual(read(cut(bytes, at)), read([bytes]));
  })),
];

/** What comes and goes by HTTP/2, between threads and instances, and to other systems. */
export const wires: readonly Property[] = [...http2, ...traces, ...readers, ...connections, ...outputs];
