import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import { bareToken, credentialOf, tokenIdentifier } from '../../lib/identity/caller.ts';
import { generator } from '../support/random.ts';

const key = 'A1b2C3d4'.repeat(6);
const other = 'Z9y8X7w6'.repeat(6);

describe('credentialOf', () => {
  type Row = readonly [what: string, path: string, query: string, headers: IncomingHttpHeaders, value: string | null];
  const chat = '/v1/chat/completions';
  const gemini = '/v1beta/models/gemini:generateContent';
  const protocols = `realtime, openai-insecure-api-key.${key}, openai-beta.realtime-v1`;
  const table: readonly Row[] = [
    ['nothing', chat, '', {}, null],
    ['a bearer', chat, '', { authorization: `Bearer sk-${key}` }, `sk-${key}`],
    ['a small bearer', chat, '', { authorization: `bearer ${key}` }, key],
    ['a bare key', chat, '', { authorization: `sk-${key}` }, `sk-${key}`],
    ['a bearer of nothing', chat, '', { authorization: 'Bearer' }, null],
    ['white space', chat, '', { authorization: '  ' }, null],
    ['x-api-key off its path', chat, '', { 'x-api-key': key }, null],
    ['x-goog-api-key off its path', chat, '', { 'x-goog-api-key': key }, null],
    ['a query key off its path', chat, `?key=${key}`, {}, null],
    ['x-api-key on messages', '/v1/messages', '', { 'x-api-key': key }, key],
    ['x-api-key over a bearer', '/v1/messages', '', { 'x-api-key': key, authorization: `Bearer ${other}` }, key],
    ['an empty x-api-key', '/v1/messages', '', { 'x-api-key': '', authorization: `Bearer ${key}` }, key],
    ['x-api-key below messages', '/v1/messages/count_tokens', '', { 'x-api-key': key }, key],
    ['x-api-key lines', '/v1/messages', '', { 'x-api-key': `${key}, ${other}` }, key],
    ['x-goog-api-key', gemini, '', { 'x-goog-api-key': key, authorization: `Bearer ${other}` }, key],
    ['x-goog-api-key over a query key', gemini, `?key=${other}`, { 'x-goog-api-key': key }, key],
    ['a query key over a bearer', gemini, `?alt=sse&key=${key}`, { authorization: `Bearer ${other}` }, key],
    ['gemini by its OpenAI path', '/v1beta/openai/models', `?key=${key}`, {}, key],
    ['a bearer on gemini', gemini, '?key=', { authorization: `Bearer ${key}` }, key],
    ['a WebSocket', '/v1/realtime', '', { 'sec-websocket-protocol': protocols, authorization: `Bearer ${other}` }, key],
    ['a WebSocket without a key', '/v1/realtime', '', { 'sec-websocket-protocol': 'realtime', authorization: `Bearer ${key}` }, key],
    ['a WebSocket with an empty key', '/v1/realtime', '', { 'sec-websocket-protocol': 'openai-insecure-api-key.' }, null],
    ['x-api-key over a protocol of no WebSocket', '/v1/messages', '', { 'sec-websocket-protocol': protocols, 'x-api-key': other }, other],
    ['mj-api-secret', '/mj/submit/imagine', '', { 'mj-api-secret': key }, key],
    ['a bearer in mj-api-secret', '/mj/submit/imagine', '', { 'mj-api-secret': `Bearer ${key}` }, key],
    ['mj-api-secret behind a bearer', '/mj/submit/imagine', '', { 'mj-api-secret': other, authorization: `Bearer ${key}` }, key],
    ['the placeholder of midjourney-proxy', '/mj/submit/imagine', '', { 'mj-api-secret': key, authorization: 'midjourney-proxy' }, key],
    ['that placeholder on messages', '/v1/messages', '', { 'mj-api-secret': key, authorization: 'Bearer midjourney-proxy' }, key],
    ['that placeholder in x-api-key', '/v1/messages', '', { 'mj-api-secret': key, 'x-api-key': 'midjourney-proxy' }, key],
    ['that placeholder alone', '/mj/submit/imagine', '', { authorization: 'midjourney-proxy' }, 'midjourney-proxy'],
    ['one carrier on the list', '/v1/models', '', { authorization: `Bearer ${key}` }, key],
    ['equal carriers on the list', '/v1/models', `?key=${key}`, { authorization: `Bearer ${key}`, 'x-api-key': key }, key],
    ['x-api-key alone on the list', '/v1/models', '', { 'x-api-key': key }, key],
    ['two carriers on the list', '/v1/models', '', { authorization: `Bearer ${other}`, 'x-api-key': key }, key],
    ['a protocol that is a key', chat, '', { 'sec-websocket-protocol': `sk-${key}`, authorization: `Bearer ${other}` }, `sk-${key}`],
    ['a protocol that is a key', '/v1/realtime', '', { 'sec-websocket-protocol': `sk-${key}` }, `sk-${key}`],
    ['protocols that are no key', chat, '', { 'sec-websocket-protocol': 'realtime', authorization: `Bearer ${other}` }, other],
    ['a query key on the list', '/v1/models', `?key=${key}`, { authorization: `Bearer ${other}` }, key],
    ['a query key on a model', '/v1/models/gpt-4o', `?key=${key}`, { authorization: `Bearer ${other}` }, key],
    ['mj-api-secret on the list', '/v1/models', '', { 'x-api-key': other, 'mj-api-secret': key }, other],
  ];
  for (const [what, path, query, headers, value] of table) {
    it(`reads ${what}`, () => assert.equal(credentialOf(headers, path, query)?.value ?? null, value));
  }

  it('reads a query as Go does', () => {
    const samples: Record<string, string> = {
      [`?%6Bey=${key}`]: key,
      [`?k%65y=${key}`]: key,
      [`?key=%zz&key=${key}`]: key,
      [`?key=a;b&key=${key}`]: key,
      [`?x=1;key=${other}&key=${key}`]: key,
      [`?key&key=${other}`]: 'fallback',
      [`?key=&key=${other}`]: 'fallback',
      [`?Key=${other}`]: 'fallback',
      [`?key%20=${other}`]: 'fallback',
      [`?akey=${other}`]: 'fallback',
      '?key=%': 'fallback',
      '?': 'fallback',
      '?key=a+b%2Bc': 'a b+c',
    };
    for (const [query, value] of Object.entries(samples)) assert.equal(credentialOf({ authorization: 'fallback' }, gemini, query)?.value, value, query);
  });
});

describe('bareToken', () => {
  it('cuts what NewAPI cuts and leaves the keys of others whole', () => {
    assert.equal(bareToken(`sk-${key}`), key);
    assert.equal(bareToken(key), key);
    assert.equal(bareToken(`sk-${key}-17`), key);
    assert.equal(bareToken(`${key}-17-x`), key);
    for (const whole of ['sk-proj-AbC-123_x', 'sk-ant-api03-xyz-AA', 'sk-or-v1-0123', `sk-${key}x-1`, `sk-${key.slice(1)}-1`, 'a-b', '-', '']) {
      assert.equal(bareToken(whole), whole.replace(/^sk-/, ''), whole);
    }
    assert.equal(bareToken(`sk-sk-${key}`), `sk-${key}`);
  });
});

describe('tokenIdentifier', () => {
  const expected = (secret: string, token: string): string => createHmac('sha256', secret).update(token).digest('hex').slice(0, 16);

  it('is HMAC-SHA256 for secrets around and beyond a block', () => {
    for (const length of [0, 1, 16, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 1000]) {
      const secret = 'sécret-'.repeat(150).slice(0, length);
      assert.equal(tokenIdentifier(secret)(`sk-${key}`).id, expected(secret, key), `${length}`);
    }
  });

  it('is HMAC-SHA256 for tokens of any length and alphabet, in any order', () => {
    const identify = tokenIdentifier('an install secret of some length');
    const pick = generator(3);
    const lengths = [0, 1, 2, 47, 48, 55, 56, 63, 64, 65, 170, 171, 511, 512, 513, 2000, 10_000, 70_000, 3, 600];
    for (let round = 0; round < 300; round++) lengths.push(pick(900));
    for (const [at, length] of lengths.entries()) {
      const alphabet = ['abc', 'é€', '鍵', '\u{1f511}', '\xff\x00'][at % 5] as string;
      const token = Array.from({ length }, (_, place) => alphabet[place % alphabet.length]).join('');
      assert.equal(identify(token).id, expected('an install secret of some length', token), `${length} of ${alphabet}`);
    }
  });

  it('forgets what it hashed before', () => {
    const identify = tokenIdentifier('secret');
    const short = identify('short').id;
    identify('x'.repeat(5000));
    assert.equal(identify('short').id, short);
    assert.notEqual(tokenIdentifier('Secret')('short').id, short);
  });

  it('gives one identity to every spelling of a key, and a mask that shows little', () => {
    const identify = tokenIdentifier('secret');
    const ids = [key, `sk-${key}`, `sk-${key}-3`].map((token) => identify(token).id);
    assert.equal(new Set(ids).size, 1);
    assert.match(ids[0] as string, /^[0-9a-f]{16}$/);
    assert.equal(identify(`sk-${key}`).mask, `sk-…${key.slice(-4)}`);
    assert.equal(identify('sk-short').mask, 'sk-…');
    assert.ok(!JSON.stringify(identify(`sk-${key}`)).includes(key.slice(0, -4)));
  });

  it('knows a token under the secrets of before, too', () => {
    const identify = tokenIdentifier('the secret of now', ['the one before', 'the first']);
    const identity = identify(`sk-${key}`);
    assert.equal(identity.id, expected('the secret of now', key));
    assert.deepEqual(identity.former, ['the one before', 'the first'].map((secret) => expected(secret, key)));
    assert.deepEqual(tokenIdentifier('the secret of now')(`sk-${key}`).former, []);
  });

  it('cuts no JWT, whose parts may hold a dash anywhere', () => {
    const head = `eyJ${'A'.repeat(45)}-B`;
    const [one, other] = ['one', 'other'].map((body) => `${head}.${body}.sig`) as [string, string];
    assert.deepEqual([bareToken(one), bareToken(other)], [one, other]);
    assert.notEqual(tokenIdentifier('secret')(one).id, tokenIdentifier('secret')(other).id);
    assert.equal(bareToken(`sk-${key}-a.b`), key);
  });
});

