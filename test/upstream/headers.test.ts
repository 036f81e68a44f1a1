import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Context } from '../../lib/request/context.ts';
import { anonymousQuery, answerHead, callerHeaders, ownHeaders, proxyHeaders } from '../../lib/upstream/headers.ts';

interface Asked {
  readonly upstreamCredential?: string;
  readonly host?: string;
  readonly proto?: 'http' | 'https';
  readonly upgrade?: boolean;
  /** It carries a credential of the gate's own. */
  readonly withheld?: boolean;
  readonly clientIpHeader?: string;
}

/** As much of a context as the headers depend on. */
function contextOf(rawHeaders: readonly string[], asked: Asked = {}): Context {
  const headers: Record<string, string> = {};
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase();
    headers[name] = name in headers ? `${headers[name]}, ${rawHeaders[at + 1]}` : (rawHeaders[at + 1] as string);
  }
  const { upstreamCredential = null, host = 'gate.test', proto = 'http', upgrade = false, withheld = false, clientIpHeader = null } = asked;
  const req = { rawHeaders, headers, ...(upgrade ? { heimdallUpgrade: {} } : {}) };
  const config = { auth: { mode: 'keys' }, clientIpHeader, ja4Header: null, audit: { otlp: { endpoint: null } } };
  const route = { class: 'task', credential: false };
  return { req, user: null, ip: '203.0.113.9', id: 'the-id', host, proto, key: upstreamCredential && 'team', upstreamCredential, withheld, credential: null, contentType: null, route, core: { config } } as unknown as Context;
}

const added = ['X-Forwarded-For', '203.0.113.9', 'X-Real-IP', '203.0.113.9', 'X-Forwarded-Proto', 'http', 'X-Forwarded-Host', 'gate.test', 'X-Forwarded-Port', '80', 'X-Request-Id', 'the-id'];

/** What of these headers reaches an upstream that is asked with the caller's credential. */
function passed(rawHeaders: readonly string[], asked: Asked = {}): string[] {
  const flat = callerHeaders(contextOf(rawHeaders, asked));
  assert.deepEqual(flat.filter((_, at) => at % 2 === 0).slice(-6), added.filter((_, at) => at % 2 === 0));
  return flat.slice(0, -12);
}

const dropped = [
  'Connection', 'Keep-Alive', 'Proxy-Connection', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE', 'Trailer', 'Upgrade', 'HTTP2-Settings',
  'Transfer-Encoding', 'Content-Length', 'Expect',
  'Forwarded', 'X-Forwarded', 'X-Forwarded-For', 'X-Forwarded-Whatever', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port', 'X-Forwarded-Prefix', 'X-Forwarded-Server',
  'X-Real-IP', 'X-Client-IP', 'Client-IP', 'X-True-Client-IP', 'WL-Proxy-Client-IP', 'Ali-CDN-Real-IP', 'DO-Connecting-IP', 'X-Vercel-Forwarded-For', 'X-Cluster-Client-IP', 'X-Original-Forwarded-For', 'X-Remote-IP', 'X-Remote-Addr',
  'CF-Connecting-IP', 'CF-Connecting-IPv6', 'CF-Pseudo-IPv4', 'True-Client-IP', 'Fastly-Client-IP', 'Fly-Client-IP', 'X-Appengine-Remote-Addr', 'X-Azure-ClientIP',
  'X-Envoy-External-Address', 'X-Original-URL', 'X-Rewrite-URL', 'X-Original-Host', 'X-Host', 'X-Request-Id',
  'X-Heimdall-Verified', 'X_Real_IP', 'x_forwarded_for', 'Content_Length', 'anything_at_all',
];

const kept = [
  'Host', 'gate.test', 'Authorization', 'Bearer sk-a', 'x-api-key', 'a', 'X-Goog-Api-Key', 'b', 'mj-api-secret', 'c', 'Cookie', 'session=x', 'New-Api-User', '1',
  'Content-Type', 'application/json', 'Content-Encoding', 'gzip', 'Accept-Encoding', 'br', 'User-Agent', 'a', 'Origin', 'https://a.test', 'OpenAI-Organization', 'o',
  'Sec-WebSocket-Protocol', 'realtime', 'CF-Ray', '1', 'traceparent', '00-1', 'Stripe-Signature', 't=1', 'X-Custom', '1',
];

describe('callerHeaders', () => {
  it('drops what ends here and what the next server would believe', () => {
    for (const name of dropped) for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) assert.deepEqual(passed(['Host', 'gate.test', spelling, 'x']), ['Host', 'gate.test'], spelling);
  });

  it('drops the header in which a proxy names the client to the gate', () => {
    const sent = ['Host', 'gate.test', 'X-Client-Address', '192.0.2.1'];
    assert.deepEqual(passed(sent), sent);
    assert.deepEqual(passed(sent, { clientIpHeader: 'x-client-address' }), ['Host', 'gate.test']);
  });

  it('leaves every carrier out where one holds a credential of the gate\'s own', () => {
    const sent = ['Host', 'gate.test', 'Authorization', 'Bearer sk-a', 'x-api-key', 'b', 'X-Goog-Api-Key', 'c', 'mj-api-secret', 'd', 'Cookie', 'session=x'];
    assert.deepEqual(passed(sent, { withheld: true }), ['Host', 'gate.test', 'Cookie', 'session=x']);
  });

  it('keeps everything else, in its order, case and number', () => {
    assert.deepEqual(passed(kept), kept);
    assert.deepEqual(passed(['A', '1', 'B', '2', 'a', '3']), ['A', '1', 'B', '2', 'a', '3']);
  });

  it('tells the upstream the verified address, scheme, host and port', () => {
    assert.deepEqual(callerHeaders(contextOf([])), added);
    const ports: [Asked, string][] = [
      [{ host: 'gate.test', proto: 'https' }, '443'], [{ host: 'gate.test:8443', proto: 'https' }, '8443'], [{ host: '[::1]' }, '80'], [{ host: '[::1]:8000' }, '8000'],
      [{ host: 'gate.test:' }, '80'], [{ host: 'gate.test:x' }, '80'], [{ host: '' }, '80'],
    ];
    for (const [asked, port] of ports) {
      const flat = callerHeaders(contextOf([], asked));
      assert.equal(flat[flat.indexOf('X-Forwarded-Port') + 1], port, asked.host);
    }
  });

  it('drops what Connection names', () => {
    assert.deepEqual(passed(['Connection', 'close, X-Secret , x-OTHER', 'X-Secret', '1', 'X-Other', '2', 'X-Third', '3']), ['X-Third', '3']);
    assert.deepEqual(passed(['Connection', 'X-Secret', 'Connection', 'X-Other', 'X-Secret', '1', 'X-Other', '2']), []);
    assert.deepEqual(passed(['Connection', 'keep-alive', 'Keep', '1']), ['Keep', '1']);
    assert.deepEqual(passed(['Connection', '', 'Keep', '1']), ['Keep', '1']);
  });

  it('lets Connection name neither a credential nor what decides how the request is understood', () => {
    const fields = ['Authorization', 'Bearer a', 'x-api-key', 'a', 'X-Goog-Api-Key', 'a', 'mj-api-secret', 'a', 'Host', 'gate.test', 'Sec-WebSocket-Protocol', 'a', 'Content-Encoding', 'gzip', 'Content-Type', 'application/json'];
    const names = fields.filter((_, at) => at % 2 === 0).join(', ');
    assert.deepEqual(passed(['Connection', `close, ${names}`, ...fields]), fields);
  });

  it('replaces every credential by the one of a gateway key', () => {
    const fields = ['Authorization', 'Bearer gate-key', 'X-Api-Key', 'gate-key', 'x-goog-api-key', 'gate-key', 'mj-api-secret', 'gate-key', 'X-Custom', '1'];
    assert.deepEqual(passed(fields, { upstreamCredential: 'sk-up' }), ['X-Custom', '1', 'Authorization', 'Bearer sk-up', 'Accept-Encoding', 'identity']);
  });
});

describe('ownHeaders', () => {
  it('passes on a short list, and nothing of who is calling', () => {
    const harmless = [
      'Accept', '*/*', 'Content-Type', 'application/json', 'Content-Encoding', 'gzip', 'User-Agent', 'openai/5', 'anthropic-version', '2023-06-01', 'Anthropic-Beta', 'x',
      'OpenAI-Beta', 'y', 'Idempotency-Key', 'k', 'X-Stainless-Lang', 'js', 'x-stainless-retry-count', '0',
    ];
    const secret = [
      ...kept.filter((name) => !['Content-Type', 'application/json', 'Content-Encoding', 'gzip', 'Accept-Encoding', 'br', 'User-Agent', 'a'].includes(name)).slice(0, 20), ...dropped.flatMap((name) => [name, 'secret']),
      'Cookie', 'secret', 'Authorization', 'secret', 'OpenAI-Organization', 'secret', 'OpenAI-Project', 'secret', 'New-Api-User', 'secret', 'Referer', 'secret', 'Origin', 'secret', 'X-Stainless-', 'secret', 'Accept-Language', 'secret',
    ];
    const flat = ownHeaders(contextOf([...harmless, ...secret, 'accept-encoding', 'gzip']), 'api.test', ['Authorization', 'Bearer ours']);
    assert.deepEqual(flat, ['Host', 'api.test', 'Authorization', 'Bearer ours', ...harmless, 'Accept-Encoding', 'identity']);
    assert.ok(!flat.includes('secret'));
  });

  it('sends no credential where there is none', () => {
    assert.deepEqual(ownHeaders(contextOf(['Authorization', 'Bearer caller', 'accept-encoding', 'gzip']), 'api.test', []), ['Host', 'api.test', 'accept-encoding', 'gzip']);
  });
});

describe('anonymousQuery', () => {
  it('takes out what may carry a credential, and leaves the rest as it came', () => {
    const samples: Record<string, string> = {
      '': '', '?': '?', '?key=a': '', '?a=1&key=x&b=%2f': '?a=1&b=%2f', '?KEY=a': '', '?%6bey=a': '', '?key': '', '?api_key=a&api-key=a&apikey=a&access_token=a&token=a': '',
      '?keyword=a&monkey=b&tokens=3': '?keyword=a&monkey=b&tokens=3', '?a=key=b': '?a=key=b', '?%zz=1': '?%zz=1', '?after=a&limit=2': '?after=a&limit=2', '?key%3D=a': '',
    };
    for (const [query, expected] of Object.entries(samples)) assert.equal(anonymousQuery(query), expected, query);
  });
});

describe('proxyHeaders', () => {
  it('keeps the framing of the message, or gives the length of one already read', () => {
    const of = (raw: string[], length: number | null = null): unknown => {
      const { 'content-length': size, 'transfer-encoding': coding } = proxyHeaders(contextOf(raw), length);
      return [size, coding];
    };
    assert.deepEqual(of(['Content-Length', '5']), ['5', undefined]);
    assert.deepEqual(of(['Transfer-Encoding', 'chunked']), [undefined, 'chunked']);
    assert.deepEqual(of(['Transfer-Encoding', 'chunked'], 7), ['7', undefined]);
    assert.deepEqual(of([]), [undefined, undefined]);
  });

  it('keeps lines apart, but for Host', () => {
    const bag = proxyHeaders(contextOf(['Host', 'a', 'Host', 'b', 'X-A', '1', 'x-a', '2', 'X-A', '3']), null);
    assert.deepEqual([bag['host'], bag['x-a']], ['a', ['1', '2', '3']]);
  });

  it('names the key of the upstream in a WebSocket\'s protocols, in place of the caller\'s', () => {
    const raw = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Protocol', 'realtime, openai-insecure-api-key.gate, openai-beta.realtime-v1'];
    const bag = proxyHeaders(contextOf(raw, { upgrade: true, upstreamCredential: 'sk-up$&' }), null);
    assert.deepEqual([bag['connection'], bag['upgrade'], bag['sec-websocket-protocol']], ['Upgrade', 'websocket', 'realtime, openai-insecure-api-key.sk-up$&, openai-beta.realtime-v1']);
    assert.equal(proxyHeaders(contextOf(raw, { upgrade: true }), null)['sec-websocket-protocol'], raw[5]);
  });
});

describe('answerHead', () => {
  const hop = ['Connection', 'Keep-Alive', 'Proxy-Authenticate', 'TE', 'Trailer', 'Upgrade', 'Transfer-Encoding', 'X-Request-Id', 'X-Response-Time', 'X-Heimdall-Anything', 'Expect'];
  const theirs = ['Set-Cookie', 'OpenAI-Organization', 'OpenAI-Project', 'Anthropic-Organization-Id', 'Alt-Svc', 'Strict-Transport-Security', 'NEL', 'Report-To'];

  it('drops what ends here, and of a provider of ours what tells about the account', () => {
    for (const name of hop) for (const own of [true, false]) assert.deepEqual(answerHead([name, 'x'], own), [], name);
    for (const name of theirs) {
      assert.deepEqual(answerHead([name, 'x'], true), [], name);
      assert.deepEqual(answerHead([name, 'x'], false), [name, 'x'], name);
    }
  });

  it('keeps everything else, several cookies and odd bytes too', () => {
    const head = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Encoding', 'br', 'X-RateLimit-Remaining', '3', 'x_underscore', '1', 'Retry-After', '2', 'Content-Length', '9', 'X-Oneapi-Request-Id', 'r'];
    assert.deepEqual(answerHead(head, false), head);
    assert.deepEqual(answerHead(head.map((text) => Buffer.from(text)), false), head);
    assert.deepEqual(answerHead([Buffer.from('X-Name'), Buffer.from([0xe9, 0xff])], false), ['X-Name', '\xe9\xff']);
    assert.deepEqual(answerHead([], true), []);
  });

  it('drops what Connection names, wherever it stands', () => {
    assert.deepEqual(answerHead(['X-Hop', '1', 'Connection', 'close, x-hop', 'X-Hop', '2', 'X-End', '3'], false), ['X-End', '3']);
  });
});
