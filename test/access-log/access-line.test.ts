import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Context } from '../../lib/request/context.ts';
import { accessLine } from '../../lib/access-log/access-line.ts';
import { decode, type RawRecord } from '../../lib/record/decode.ts';
import { encode } from '../../lib/record/segment.ts';
import { Segment } from '../../lib/record/segment.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import type { LoggingConfig } from '../../types/config.d.ts';

type Over = Partial<Omit<Context, 'req'>> & { readonly url?: string; readonly method?: string; readonly headers?: Readonly<Record<string, string>> };

/** A request that is over. */
function finished({ url = '/v1/chat/completions', method = 'POST', headers = {}, ...rest }: Over = {}): Context {
  const time = Date.UTC(2026, 0, 5, 7, 8, 9, 12);
  const fixed = {
    id: idOf(time), ip: '203.0.113.9', forwardedFor: '', status: 200, duration: 12.34, headAt: 10, bytesIn: 5, bytesOut: 7, outcome: 'served', errorCode: null, ja4: null, country: null, queueWait: 0,
    usage: null, cost: null, rules: null, route: routeOf('POST', '/v1/chat/completions'), model: 'gpt-4o', stream: false, target: 'newapi', attempts: 1, token: { id: '0123456789abcdef', mask: 'sk-…cdef', former: [] }, key: null, device: 'd'.repeat(64),
    upstreamRequestId: null, tokensReserved: null, tokensSettled: 0, tap: null, body: null, sentAt: null, answeredAt: null, bodyWait: 0,
  };
  return { ...fixed, req: { url, method, headers, rawHeaders: Object.entries(headers).flat(), httpVersion: '1.1' }, ...rest } as unknown as Context;
}

/** An id given at a time, Unix milliseconds. */
function idOf(time: number): string {
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-774b-bcce-b302099a8057`;
}

interface Shown {
  readonly format?: LoggingConfig['format'];
  readonly queryAllow?: readonly string[];
}

/** The line of a request, by way of the worker. */
function lineOf(context: Context, { format = 'json', queryAllow = [] }: Shown = {}): string {
  const segment = new Segment();
  assert.ok(encode(segment, context, 'record', Infinity));
  const [raw, ...more] = [...decode(segment.content)];
  assert.deepEqual([raw === null, more], [false, []]);
  return accessLine(format, queryAllow, [])(raw as RawRecord);
}

const json = (context: Context, shown: Shown = {}): Record<string, unknown> => JSON.parse(lineOf(context, shown)) as Record<string, unknown>;

const hostile = ['"', '\\', '"}\n{"a":"', '\u0000\u0007\u001b[31m', '\x7f\x80\x9f', 'é鍵\u{1f511}', '\ud800', '%s%d%j', ':method :url', '${jndi:ldap://x}', '<script>', '\r\nHTTP/1.1 200 OK', "' or 1=1 --", 'x'.repeat(100_000), ''];

/** What no request line and no header can hold is left out: the parser refuses it. */
const sendable = (text: string): string => Array.from(text.toWellFormed()).filter((letter) => letter >= ' ' && letter !== '\x7f').join('');

describe('the JSON line', () => {
  it('tells who asked for what and what became of it', () => {
    const usage = { prompt: 3, completion: 4, cached: 1, reasoning: 2, estimated: true };
    assert.deepEqual(json(finished({ headers: { 'User-Agent': 'curl/8.5.0' }, usage, cost: 0.25 })), {
      time: '2026-01-05T07:08:09.012Z', id: '019b8cfc-13b4-774b-bcce-b302099a8057', ip: '203.0.113.9', method: 'POST', path: '/v1/chat/completions', status: 200, duration: 12.3, first_byte: 10, bytes_in: 5, bytes_out: 7,
      outcome: 'served', would_refuse: [], route: '/v1/chat/completions', model: 'gpt-4o', stream: false, target: 'newapi', attempts: 1,
      usage, cost: 0.25, token: '0123456789abcdef', key: null, device: 'd'.repeat(64), user_agent: 'curl/8.5.0', upstream_request_id: null,
    });
    const refused = json(finished({ outcome: 'refused', errorCode: 'missing_credential', status: 401, token: null, headAt: null, model: null, target: null, rules: ['auth', 'rate_limit'], stream: true }));
    assert.deepEqual(
      ['outcome', 'token', 'first_byte', 'model', 'target', 'usage', 'cost', 'would_refuse', 'stream'].map((name) => refused[name]),
      ['refused:missing_credential', null, null, null, null, null, null, ['auth', 'rate_limit'], true],
    );
  });

  it('stays one line of valid JSON whatever a caller or an upstream writes', () => {
    for (const text of hostile) {
      const sent = sendable(text);
      const line = lineOf(finished({ url: `/${sent}?${sent}=${sent}`, method: sent, model: text, target: sent, key: text, upstreamRequestId: sent, headers: { 'User-Agent': sent } }));
      assert.ok(!line.includes('\n'));
      const { model, user_agent: agent } = JSON.parse(line) as Record<string, string | null>;
      assert.ok(text.toWellFormed().replace(/\p{Cc}/gu, ' ').startsWith(model ?? ''), line);
      assert.ok(sent.startsWith(agent ?? ''), line);
    }
  });

  it('is bounded', () => {
    const text = '"'.repeat(100_000);
    const line = lineOf(finished({ url: `/${text}`, model: text, upstreamRequestId: text, headers: { 'User-Agent': text } }));
    assert.ok(line.length < 16_384, `${line.length}`);
  });

  it('says the time of every request to the millisecond', () => {
    const times = [0, 1, 999, 1000, 1001, 1_700_000_000_000, 1_700_000_000_001, 999];
    assert.deepEqual(times.map((time) => json(finished({ id: idOf(time) }))['time']), times.map((time) => new Date(time).toISOString()));
  });
});

describe('the path in a line', () => {
  const shown = (url: string, queryAllow: readonly string[] = [], over: Over = {}): unknown => json(finished({ url, ...over }), { queryAllow })['path'];

  it('keeps the names of the query and no value', () => {
    assert.equal(shown('/v1beta/models?key=secret&alt=sse'), '/v1beta/models?key&alt');
    for (const url of ['/?key=secret', '/?a&key=secret', '/?key=a=secret', '/?KEY=secret&', '/?key=secret#x', '/?k%65y=secret', '/??key=secret', '/?&&key=secret', '/?a;key=secret', `/?${'a=secret&'.repeat(500)}`]) {
      const path = String(shown(url));
      assert.ok(!path.includes('secret') && path.startsWith('/?'), path);
    }
  });

  it('keeps the values that are allowed, by exact name', () => {
    assert.equal(shown('/?page=2&key=secret&page=3&pages=4', ['page']), '/?page=2&key&page=3&pages');
    assert.equal(shown('/?__proto__=1&constructor=2', ['page']), '/?__proto__&constructor');
  });

  it('is the whole path below a mount', () => {
    assert.equal(shown('/rest', [], { req: { url: '/rest?key=secret', originalUrl: '/llm/rest?key=secret', method: 'GET', httpVersion: '1.1', headers: {}, rawHeaders: [] } } as unknown as Over), '/llm/rest?key');
  });

  it('shows no one\'s password', () => {
    for (const url of ['http://user:secret@gate.test/v1/models', 'HTTPS://secret@gate.test/?key=secret', 'http://a:secret@b@gate.test/', 'user:secret@gate.test']) assert.ok(!String(shown(url)).includes('secret'), String(shown(url)));
  });
});

describe('the combined line', () => {
  const combined = (over: Over): string => lineOf(finished(over), { format: 'combined' });

  it('is the one every log reader knows', () => {
    assert.equal(
      combined({ headers: { 'User-Agent': 'curl/8.5.0', Referer: 'https://a.test/x?secret#secret' }, url: '/a?key=secret' }),
      '203.0.113.9 - 0123456789abcdef [05/Jan/2026:07:08:09 +0000] "POST /a?key HTTP/1.1" 200 7 "https://a.test/x" "curl/8.5.0"',
    );
    assert.equal(combined({ token: null, url: '/', method: 'GET', bytesOut: 0 }), '203.0.113.9 - - [05/Jan/2026:07:08:09 +0000] "GET / HTTP/1.1" 200 0 "-" "-"');
  });

  it('names the referrer of a page too, without its query', () => {
    const headers = { 'user-agent': 'curl/8.5.0', referer: 'https://a.test/x?secret' };
    assert.match(combined({ route: routeOf('GET', '/console'), headers, url: '/console' }), /"https:\/\/a\.test\/x" "curl\/8\.5\.0"$/);
  });

  it('stays one harmless line whatever a caller writes', () => {
    for (const text of hostile) {
      const sent = sendable(text);
      const line = combined({ url: `/${sent}`, method: sent, key: text.slice(0, 64), headers: { 'User-Agent': sent, Referer: sent } });
      assert.match(line, /^203\.0\.113\.9 - [^ ]+ \[05\/Jan\/2026:07:08:09 \+0000\] "[\x20-\x7e]* HTTP\/1\.1" 200 7 "[^"]*" "[^"]*"$/);
      assert.match(line, /^[\x20-\x7e]{1,20000}$/);
    }
  });
});
