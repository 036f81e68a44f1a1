import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { credentialsOf, secretScrubber, withoutCredentials } from '../../lib/redaction/scrub.ts';
import { masked } from '../../lib/redaction/mask.ts';
import { cookiesOf, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, maxLength } from '../../lib/redaction/redact.ts';

const sent = [
  'Host', 'api.example.com', 'User-Agent', 'OpenAI/Python 1.2', 'Authorization', 'Bearer of-bad-news', 'X-API-Key', 'key-one', 'Cookie', 'session=abc', 'X-Custom', 'custom',
  'Stripe-Signature', 't=1,v1=abc', 'Referer', 'https://user:pass@example.com/console/token?code=42#part', 'accept', 'text/plain', 'Accept', '*/*', 'X-Amz-Security-Token', 'FwoGZ',
];

describe('headers', () => {
  it('are kept by a literal list', () => {
    assert.deepEqual(JSON.parse(keptHeaders(sent, 'safe')), { host: 'api.example.com', 'user-agent': 'OpenAI/Python 1.2', referer: '/console/token', accept: 'text/plain, */*' });
  });

  it('are all kept on demand but for what carries a credential', () => {
    assert.deepEqual(JSON.parse(keptHeaders(sent, 'all')), {
      host: 'api.example.com', 'user-agent': 'OpenAI/Python 1.2', authorization: masked, 'x-api-key': masked, cookie: masked, 'x-custom': 'custom', 'stripe-signature': masked,
      referer: '/console/token', accept: 'text/plain, */*', 'x-amz-security-token': masked,
    });
  });

  it('are bounded and masked, and no name reaches the prototype', () => {
    const many = Array.from({ length: 200 }, (_, at) => [`x-${at}`, 'v'.repeat(5000)]).flat();
    assert.ok(keptHeaders(['__proto__', 'x', 'user-agent', `sk-${'a'.repeat(40)}`, ...many], 'all').length < maxLength.headers + 8192);
    assert.deepEqual(JSON.parse(keptHeaders(['user-agent', `me sk-${'a'.repeat(40)}`], 'safe')), { 'user-agent': `me ${masked}` });
    assert.deepEqual(Object.keys(JSON.parse(keptHeaders(['__proto__', 'x'], 'all')) as object), ['__proto__']);
  });
});

describe('cookies', () => {
  it('are names and hashes of values', () => {
    const pairs = cookiesOf('session=s%3Aabc.def; theme=dark; broken; =empty; "odd name"=1; a=b=c');
    assert.deepEqual(pairs, [['session', 's%3Aabc.def'], ['theme', 'dark'], ['a', 'b=c']]);
    assert.equal(keptCookies(pairs, (value) => `#${value.length}`), '{"session":"#11","theme":"#4","a":"#3"}');
    assert.equal(keptCookies([], String), null);
  });
});

describe('a query', () => {
  it('keeps names, and values of listed names alone', () => {
    assert.equal(keptQuery('code=4/0Adeu&state=xyz&page=2', ['page']), 'code&state&page=2');
    assert.equal(keptQuery('', ['page']), null);
  });

  it('takes for a name only what looks like one', () => {
    assert.equal(keptQuery('4/0AX4XfWhAbCdEf&flag&0123456789abcdef0123&a%20b%2f=1&<script>=1&x=1', []), '…&flag&…&a%20b%2f&…&x');
  });
});

describe('a path', () => {
  it('loses who stands before it, and credentials', () => {
    assert.equal(keptPath('http://user:pass@host/a/b'), '/a/b');
    assert.equal(keptPath(`/reset/sk-${'a'.repeat(30)}/x`), `/reset/${masked}/x`);
    assert.equal(keptPath(`/${'a'.repeat(2000)}`).length, maxLength.path);
  });
});

describe('a body', () => {
  const body = (text: string | Buffer, type: string | null = 'application/json', more: { total?: number; encoding?: string; limit?: number } = {}): string | null => {
    const bytes = Buffer.from(text as string);
    return keptBody({ bytes, total: more.total ?? bytes.length, type, encoding: more.encoding ?? null }, more.limit ?? 10_240);
  };

  it('is kept as text when it is JSON or plain, masked', () => {
    assert.equal(body('{"model":"x","key":"abc"}'), `{"model":"x","key":"${masked}"}`);
    assert.equal(body('{"a":1}', 'application/vnd.api+json; charset=utf-8'), '{"a":1}');
    assert.equal(body(' {"a":1}', null), ' {"a":1}');
    assert.equal(body('hi', 'text/plain'), 'hi');
    assert.equal(body('a\0b', 'text/plain'), 'ab');
  });

  it('is cut at its limit, never within a character and never leaving half a key', () => {
    assert.equal(body('密码'.repeat(10), 'text/plain', { limit: 8 }), '密码… [60 bytes]');
    assert.equal(body(`use sk-${'a'.repeat(40)}`, 'text/plain', { limit: 9 }), 'use … [47 bytes]');
    assert.equal(body('one two', 'text/plain', { total: 100 }), 'one … [100 bytes]');
  });

  it('is described when it is anything else', () => {
    assert.equal(body(Buffer.from([0, 1, 2, 255]), 'image/png'), '[image/png, 4 bytes]');
    assert.equal(body(Buffer.from([0, 1]), null), '[unknown, 2 bytes]');
    assert.equal(body('{"a":1}', 'application/json', { encoding: 'gzip' }), '[gzip, 7 bytes]');
    assert.equal(body('password=x', 'application/x-www-form-urlencoded'), '[application/x-www-form-urlencoded, 10 bytes]');
  });

  it('of a form is described by its parts', () => {
    const form = ['--b1', 'Content-Disposition: form-data; name="file"; filename="my secret plan.mp3"', 'Content-Type: audio/mpeg', '', 'ID3', '--b1', 'Content-Disposition: form-data; name="prompt"', '', 'hush', '--b1--', ''].join('\r\n');
    assert.equal(body(form, 'multipart/form-data; boundary=b1'), `[multipart/form-data, ${form.length} bytes: file .mp3 audio/mpeg 3 bytes; prompt 4 bytes]`);
    assert.equal(body('no parts', 'multipart/form-data; boundary="x"'), '[multipart/form-data, 8 bytes]');
    const endless = `--b1\r\n${'--b1\r\n'.repeat(100_000)}`;
    assert.ok((body(endless, 'multipart/form-data; boundary=b1') ?? '').length < 1000);
  });

  it('is not kept without a limit, and is nothing when it is empty', () => {
    assert.equal(body('{"a":1}', 'application/json', { limit: 0 }), null);
    assert.equal(body(''), null);
  });
});

describe('what is known to be secret', () => {
  it('is hidden wherever it stands, whatever its form', () => {
    const own = credentialsOf(['Authorization', 'Bearer sk-plainwords', 'Sec-WebSocket-Protocol', 'realtime, openai-insecure-api-key.socketkey', 'X-Api-Key', 'short'], [1, 5], 'key=query%20secret&page=2');
    assert.deepEqual(own, ['plainwords', 'socketkey', 'query secret', 'query%20secret']);
    const hide = (text: string): string => withoutCredentials(secretScrubber(['the-configured-secret'])(text), own);
    assert.equal(hide('plainwords, socketkey, query secret, the-configured-secret and page'), `${masked}, ${masked}, ${masked}, ${masked} and page`);
    assert.equal(hide('the-configured-secret'), masked);
    const forms = ['a/configured"secret', 'a/configured\\"secret', 'a\\/configured\\"secret', 'a/configured\\\\\\"secret', 'a\\\\/configured\\\\\\"secret', 'a%2Fconfigured%22secret'];
    assert.equal(secretScrubber(['a/configured"secret'])(forms.join(' ')), forms.map(() => masked).join(' '));
  });

  it('is known without what stands before it', () => {
    const bare = ['Bearer sk-plainwords', 'Bearer plainwords', 'bearer  sk-plainwords ', 'sk-plainwords', 'Basic plainwords', 'Token   plainwords', 'Bearer sk- plainwords'];
    for (const value of bare) assert.deepEqual(credentialsOf(['Authorization', value], [1], ''), ['plainwords'], value);
  });

  it('is no part of a pattern', () => {
    assert.equal(secretScrubber(['a.c*(+[x'])('abc a.c*(+[x'), `abc ${masked}`);
    const many = Array.from({ length: 70 }, (_, at) => `configured-secret-${at}`);
    assert.equal(secretScrubber(many)('configured-secret-7, configured-secret-69'), `${masked}, ${masked}`);
    assert.equal(secretScrubber([])('anything'), 'anything');
  });
});
