import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { ConfigError } from '../../../lib/errors.ts';
import { expand } from '../../../lib/config/expand.ts';
import { resolveConfig } from '../../../lib/config/load.ts';
import { readDuration, readRate, readShare, readSize, writeDuration, writeSize } from '../../../lib/values/values.ts';
import { codingsOf, headerOf, mediaTypeOf } from '../../../lib/http/head.ts';
import { endOfValue, scanMembers, skipSpace } from '../../../lib/http/json-scan.ts';
import { formModel } from '../../../lib/http/multipart.ts';
import { readPath } from '../../../lib/http/head.ts';
import { StreamPeek } from '../../../lib/upstream/sse.ts';
import { StreamStart } from '../../../lib/upstream/stream-start.ts';
import { ReportFinder } from '../../../lib/usage/report-finder.ts';
import type { ConfigInput } from '../../../types/config.d.ts';
import { cut, given, noise, places, type Property } from './property.ts';
import { wires } from './wires.ts';

/** undici's own reader of event streams. */
interface EventSourceStream {
  on(name: 'data', listener: (event: { readonly options: { readonly data?: string }; readonly type: string }) => void): void;
  write(bytes: Buffer): void;
}
const { EventSourceStream: UndiciStream } = createRequire(import.meta.url)('undici/lib/web/eventsource/eventsource-stream.js') as { EventSourceStream: new () => EventSourceStream };

const streamLine = fc.oneof(
  fc.constantFrom('data: {"choices":[{"delta":{"content":"a"}}]}', 'data: {"error":{"message":"no"}}', 'data: {"error":null}', 'data:{"x":1}', 'data', 'data:', 'data: [DONE]', 'event: error', 'event: message', 'event', 'id: 1', 'id', 'retry: 5', 'retry: x', ':', ': comment', '', '', 'foo: bar', ' data: x', 'data : x', '\u{feff}data: x', 'data: é✓🎵'),
  fc.string({ maxLength: 12, unit: 'grapheme' }),
);
const stream = fc.array(fc.tuple(streamLine, fc.constantFrom('\n', '\n', '\r\n', '\r', '\n\n', '\r\n\r\n', '\r\r')), { maxLength: 14 }).map((lines) => Buffer.from(lines.map(([line, end]) => line + end).join('')));

const streams: readonly Property[] = [
  given('event streams: the same whole and in pieces', 'itself', 110, fc.property(stream, places, (bytes, at) => {
    const whole = new StreamPeek().push(bytes);
    const peek = new StreamPeek();
    let last = peek.push(Buffer.alloc(0));
    for (const piece of cut(bytes, at)) last = peek.push(piece);
    assert.deepEqual(last, whole);
  })),
  given('event streams: whether one has begun', 'EventSource of undici', 60, fc.asyncProperty(stream, async (bytes) => {
    const events: string[] = [];
    const reader = new UndiciStream();
    reader.on('data', ({ options: { data = '' } }) => void events.push(data));
    reader.write(bytes);
    await new Promise<void>((resolve) => setImmediate(resolve));
    // Only a line end that may be half of one is read at different moments.
    if (bytes.at(-1) === 0x0d) return;
    assert.equal(new StreamPeek().push(bytes).kind !== 'nothing', events.length > 0, bytes.toString());
  })),
  given('event streams, or anything else: no throw', 'none', 100, fc.property(fc.oneof(stream, noise), places, (bytes, at) => {
    const start = new StreamStart();
    for (const piece of cut(bytes, at)) start.push(piece);
  })),
];

const space = fc.constantFrom('', '', ' ', '\n', '\r\n\t', '   ');
const name = fc.oneof(fc.constantFrom('model', 'stream', 'n', 'best_of', 'max_tokens', 'max_completion_tokens', 'Model', 'STREAM', 'messages', 'x', '', 'ſtream', '__proto__'), fc.string({ maxLength: 8, unit: 'grapheme' }));
const value = fc.oneof(fc.constantFrom<unknown>('gpt', '', true, false, null, 0, 1, 7, -1, 1.5, 1e3, 'é"\\', [], {}, { model: 'inner' }, ['"', '}', ']', '\\']), fc.jsonValue({ maxDepth: 3 }));

/** A string as JSON may also spell it. */
const spelled = (text: string, how: number): string => (how === 0 ? JSON.stringify(text) : `"${[...text].flatMap((letter) => letter.split('')).map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`);
const member = fc.tuple(name, fc.nat(5), value, space, space, space);
const object = fc.tuple(fc.array(member, { maxLength: 6 }), space, space).map(([members, before, behind]) => ({
  names: members.map(([each]) => each),
  text: `${before}{${members.map(([each, how, content, a, b, c]) => `${a}${spelled(each, how === 5 ? 1 : 0)}${b}:${c}${JSON.stringify(content)}${a}`).join(',')}}${behind}`,
}));
const controls = new Set(['MODEL', 'STREAM', 'N', 'BEST_OF', 'MAX_TOKENS', 'MAX_COMPLETION_TOKENS', 'MAX_OUTPUT_TOKENS']);
const folded = (text: string): string => text.toLowerCase().toUpperCase();

const json: readonly Property[] = [
  given('JSON: the members of an object', 'JSON.parse', 220, fc.property(object, ({ names, text }) => {
    const found = scanMembers(Buffer.from(text));
    assert.ok(found !== null, text);
    const parsed = JSON.parse(text) as Record<string, unknown>;
    const control = names.map(folded).filter((each) => controls.has(each));
    assert.equal(found.ambiguous, new Set(control).size < control.length || names.some((each) => controls.has(folded(each)) && folded(each).toLowerCase() !== each), text);
    if (found.ambiguous) return;
    const model = Object.hasOwn(parsed, 'model') && typeof parsed['model'] === 'string' ? parsed['model'] : null;
    assert.equal(found.model, model, text);
    if (found.modelSpan !== null) assert.equal(JSON.parse(Buffer.from(text).toString('utf8', ...found.modelSpan)), model);
    assert.equal(found.stream, parsed['stream'] === true, text);
  })),
  given('JSON: the end of a value', 'JSON.parse', 110, fc.property(space, fc.jsonValue({ maxDepth: 4 }), fc.constantFrom('', ' ', ',', '}', ']', '\n'), (before, content, behind) => {
    const text = Buffer.from(before + JSON.stringify(content) + behind);
    const at = skipSpace(text, 0);
    assert.equal(at, before.length);
    assert.deepEqual(JSON.parse(text.toString('utf8', at, endOfValue(text, at))), JSON.parse(JSON.stringify(content)));
  })),
  given('JSON, damaged: no throw, no object where none begins', 'JSON.parse', 110, fc.property(object, fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 3 }), fc.nat(1000), ({ text }, strikes, end) => {
    const bytes = Buffer.from(text).subarray(0, end < 700 ? undefined : Math.floor((text.length * end) / 1000));
    for (const [at, byte] of strikes) if (bytes.length > 0) bytes[Math.floor((at * (bytes.length - 1)) / 1000)] = byte;
    const found = scanMembers(bytes);
    endOfValue(bytes, 0);
    let parsed: unknown;
    try {
      parsed = JSON.parse(new TextDecoder('utf8', { fatal: true, ignoreBOM: true }).decode(bytes));
    } catch {
      return;
    }
    // What every parser accepts, the scan accepts.
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) assert.ok(found !== null, bytes.toString());
    else assert.equal(found, null, bytes.toString());
  })),
  given('usage in a document: the same whole and in pieces', 'itself', 40, fc.property(fc.jsonValue({ maxDepth: 2 }), fc.array(fc.constantFrom('{"usage":{"prompt_tokens":3}}', '{"a":{"usage":{"x":1}},"usage":{"prompt_tokens":1}}', '"usage"', '{"usage":null}', '{"usage":{"a":"}\\""}}', ' ', '[', '{', '}'), { maxLength: 5 }), places, (content, parts, at) => {
    const bytes = Buffer.from(parts.join('') + JSON.stringify(content));
    const read = (pieces: readonly Buffer[]): string | undefined => {
      const finder = new ReportFinder();
      for (const piece of pieces) finder.push(piece);
      return finder.end()?.json.toString();
    };
    assert.equal(read(cut(bytes, at)), read([bytes]));
  })),
];

const fieldName = fc.constantFrom('model', 'prompt', 'file', 'Model', 'n', 'response_format', 'mod"el', 'mo\ndel', 'é');
const part = fc.record({ name: fieldName, value: fc.oneof(fc.constantFrom('gpt', 'whisper-1', '', '--b', '--b--', 'é✓'), fc.string({ maxLength: 20 }).filter((text) => !/[\r\n]/.test(text))), file: fc.nat(3) });
const parts = fc.array(part, { maxLength: 6 });

/** As a browser writes a form (WHATWG). */
function formOf(list: readonly { readonly name: string; readonly value: string; readonly file: number }[], boundary: string): Buffer {
  const escaped = (text: string): string => text.replace(/\r?\n/g, '%0D%0A').replaceAll('"', '%22');
  return Buffer.from(`${list.map(({ name: each, value: content, file }) => `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(each)}"${file === 0 ? '; filename="a.mp3"\r\nContent-Type: audio/mpeg' : ''}\r\n\r\n${content}\r\n`).join('')}--${boundary}--\r\n`);
}

const forms: readonly Property[] = [
  given('forms as browsers write them: the model', 'formData() of undici', 40, fc.asyncProperty(parts, fc.constantFrom('----WebKitFormBoundaryAbc', 'x-1', '0123456789'), async (list, boundary) => {
    const type = `multipart/form-data; boundary=${boundary}`;
    const body = formOf(list, boundary);
    const models = (await new Response(body, { headers: { 'content-type': type } }).formData()).getAll('model');
    const found = formModel(body, type);
    // A form that names it more than once, in other letters or in a file may be left open; what is told must be what is read.
    const isClear = models.length === 1 && typeof models[0] === 'string' && !/\p{Cc}/u.test(models[0]) && list.every(({ name }) => name !== 'Model');
    if (found !== null || isClear) assert.equal(found, models.find((each) => typeof each === 'string'), body.toString());
  })),
  given('forms, damaged: no throw, and what is told is what is read', 'formData() of undici', 40, fc.asyncProperty(parts, fc.array(fc.tuple(fc.nat(1000), fc.constantFrom('\r\n', '"', ';', '--b', ' ', '\n', '=', ':', '\\', '\0', '*')), { maxLength: 3 }), async (list, strikes) => {
    let text = formOf(list, 'b').toString('latin1');
    for (const [at, added] of strikes) {
      const place = Math.floor((at * text.length) / 1000);
      text = text.slice(0, place) + added + text.slice(place);
    }
    const body = Buffer.from(text, 'latin1');
    const type = 'multipart/form-data; boundary=b';
    const found = formModel(body, type);
    const read = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => null);
    if (found !== null && read !== null && read.getAll('model').length === 1) assert.equal(found, read.get('model'), JSON.stringify(text));
  })),
];

const headerName = fc.constantFrom('Content-Type', 'content-type', 'CONTENT-TYPE', 'Content-Encoding', 'X-Other', 'Content-Typ', 'Content-Types');
const headerValue = fc.oneof(fc.constantFrom('application/json', 'Application/JSON; charset=utf-8', ' text/plain ;x', 'gzip', 'gzip, br', ' identity , GZIP', ''), fc.string({ maxLength: 12 }).filter((text) => !/[^\x20-\x7e]/.test(text)));

const heads: readonly Property[] = [
  given('heads: fields, types and codings', 'Headers of undici', 50, fc.property(fc.array(fc.tuple(headerName, headerValue), { maxLength: 6 }), (list) => {
    const flat = list.flat();
    const headers = new Headers(list.map(([key, content]): [string, string] => [key, content]));
    const first = list.find(([key]) => key.toLowerCase() === 'content-type')?.[1] ?? null;
    assert.equal(headerOf(flat, 'content-type'), first);
    assert.equal(headerOf(flat, 'x-other') === null, !headers.has('x-other'));
    assert.equal(mediaTypeOf(flat), (first?.split(';', 1)[0] ?? '').trim().toLowerCase());
    assert.deepEqual(codingsOf(flat), (headers.get('content-encoding') ?? '').toLowerCase().split(',').map((each) => each.trim()).filter((each) => each !== '' && each !== 'identity'));
  })),
];

const segment = fc.constantFrom('v1', 'models', 'a:b', '..', '.', '', '%2e%2e', '%2E', '.%2e', '%2f', '%252e', 'é', '%C3%A9', '%c0%ae', ';x', 'a;b', '%3b', '\\', '%5c', '%00', '%20', '#', '%23', '%3f', '+', '~', '%', '%zz', '..;', '\u00ff', '@', '*', "'", '[', '|');
const path = fc.oneof(fc.array(segment, { maxLength: 7 }).map((segments) => `/${segments.join('/')}`), fc.array(fc.oneof(segment, fc.constantFrom('/', '//', '/./', '/../')), { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`));

const targets: readonly Property[] = [
  given('paths: one spelling, which every reader reads as it was judged', 'URL (WHATWG)', 100, fc.property(path, (raw) => {
    const read = readPath(raw);
    if (read === null) return;
    const { decoded, encoded } = read;
    assert.equal(decodeURIComponent(new URL(`http://h${encoded}`).pathname), decoded, raw);
    assert.equal(readPath(encoded)?.decoded, decoded, raw);
    assert.ok(!/\/\.{1,2}(?:\/|$)|\/\//.test(decoded) && decoded.startsWith('/'), raw);
  })),
];

const units = fc.constantFrom('ms', 's', 'm', 'h', 'd', 'KB', 'MB', 'B', 'GB', '%', '/s', '/m', '', 'S', 'kb', ' s');
const key = fc.constantFrom('mode', 'newapi', 'baseUrl', 'base_url', 'timeout', 'secret', 'server', 'port', 'host', 'auth', 'keys', 'name', 'sha256', 'models', 'rateLimit', 'rate_limit', 'key', 'requests', 'limit', 'window', 'policies', 'match', 'queue', 'concurrency', 'llm', 'backupProviders', 'provider', 'endpoint', 'apiKey', 'retry', 'routes', 'path', 'handler', 'audit', 'retention', 'cors', 'allowOrigins', 'metrics', 'logging', 'file', 'admin', 'token', 'health_check', 'trustProxy', 'guard', 'deny', '__proto__', 'constructor', 'unknown');
const settings: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  tree: fc.oneof({ maxDepth: 4 }, fc.constantFrom<unknown>('30s', '6MB', '90%', '0.8/s', 1, 0, -1, 1.5, true, false, null, '', 'x', 'http://x', '/x', '${X}', [], 1e308), fc.array(tie('tree'), { maxLength: 3 }), fc.dictionary(key, tie('tree'), { maxKeys: 4 })),
})).tree;

const configuration: readonly Property[] = [
  given('configurations: a Config or a ConfigError', 'none', 10, fc.property(fc.dictionary(key, settings as fc.Arbitrary<unknown>, { maxKeys: 4 }), (tree) => {
    try {
      assert.ok(Object.isFrozen(resolveConfig(tree as ConfigInput)));
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
    }
  })),
  given('units: what is written is read', 'arithmetic', 60, fc.property(fc.nat(2 ** 31), fc.string({ maxLength: 6 }), units, (amount, text, unit) => {
    assert.equal(readDuration(writeDuration(amount)), amount);
    assert.equal(readSize(writeSize(amount)), amount);
    for (const read of [readDuration, readSize, readRate, readShare]) {
      const got = read(text + unit);
      assert.ok(got === undefined || (Number.isFinite(got) && got >= 0 && /^\d+(\.\d+)?/.test(text + unit)), text + unit);
    }
  })),
  given('variables in texts: no throw, and values stay as they are', 'a replace', 50, fc.property(fc.array(fc.constantFrom('${A}', '${B:-d}', '${B-${A}}', '$', '\\$', '{', '}', 'x', '${', '${A', '${1}', '${B:?m}', ' '), { maxLength: 8 }), (pieces) => {
    const source = pieces.join('');
    const { text, problems } = expand(source, { A: '${B}\\$' });
    if (pieces.every((piece) => piece === '${A}' || piece === 'x' || piece === ' ' || piece === '}')) {
      assert.equal(text, source.replaceAll('${A}', () => '${B}\\$'));
      assert.deepEqual(problems, []);
    }
  })),
];

/** Every parser of what others send or write. */
export const properties: readonly Property[] = [...streams, ...json, ...forms, ...heads, ...targets, ...configuration, ...wires];
