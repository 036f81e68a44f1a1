import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { HeaderCache } from '../../lib/record/header-cache.ts';
import { secretScrubber } from '../../lib/redaction/scrub.ts';
import { masked } from '../../lib/redaction/mask.ts';

const hide = secretScrubber(['the-configured-secret']);
const long = 'aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5oQ7s';

/** Few names and few values, so that the same sets come again and others differ from them in little. */
const header = fc.constantFrom<readonly [string, string]>(
  ['Host', 'a.example.com'], ['host', 'b.example.com'], ['User-Agent', 'curl/8'], ['User-Agent', 'OpenAI/Python 1.2'], ['user-agent', `me sk-${long}`], ['User-Agent', 'the-configured-secret'], ['Accept', '*/*'], ['accept', 'text/plain'],
  ['Content-Type', 'application/json'], ['Content-Type', 'text/plain'], ['Content-Encoding', 'gzip'], ['Authorization', 'Bearer one-of-two'], ['Authorization', 'Bearer two-of-two'], ['X-Api-Key', 'another-key'],
  ['Referer', 'https://a.example.com/one?x=1'], ['Referer', 'https://b.example.com/one?x=2'], ['Referer', '/two'], ['Origin', 'one-of-two'], ['X-Custom', 'a'], ['X-Custom', 'b'],
);

describe('headers', () => {
  it('are remembered as they would be read anew', () => {
    const heads = new HeaderCache(hide, true);
    fc.assert(
      fc.property(fc.array(header, { maxLength: 6 }), (pairs) => {
        const headers = pairs.flat();
        assert.deepEqual(heads.of(headers, ''), new HeaderCache(hide, true).of(headers, ''));
        assert.deepEqual(heads.of(headers, ''), new HeaderCache(hide, true).of(headers, ''));
      }),
      { numRuns: 2000 },
    );
  });

  it('are read once', () => {
    const heads = new HeaderCache(hide, true);
    const sent = (key: string, referer: string): string[] => ['User-Agent', 'curl/8', 'Authorization', `Bearer ${key}`, 'Content-Length', key, 'Referer', referer];
    const first = heads.of(sent('the-first-key', 'https://a.example.com/one?code=1'), '');
    assert.equal(heads.of(sent('the-second-key', 'https://b.example.com/one?code=2'), ''), first);
    assert.notEqual(heads.of(sent('the-second-key', 'https://b.example.com/two'), ''), first);
    assert.deepEqual(first, { agent: 'curl/8', shownAgent: 'curl/8', client: 'curl/8', type: null, encoding: null, safe: '{"user-agent":"curl/8","referer":"/one"}', carriers: [3] });
  });

  it('are read every time where something in them is hidden', () => {
    const secrets = [['User-Agent', `me sk-${long}`], ['User-Agent', 'the-configured-secret'], ['Accept', 'plainwords', 'Authorization', 'Bearer plainwords'], ['Referer', `/reset/sk-${long}`], ['Accept', 'x'.repeat(3000)]];
    for (const headers of secrets) {
      const heads = new HeaderCache(hide, true);
      assert.notEqual(heads.of(headers, ''), heads.of(headers, ''), headers.join());
    }
    const heads = new HeaderCache(hide, true);
    assert.notEqual(heads.of(['Accept', 'plainwords'], 'key=plainwords'), heads.of(['Accept', 'plainwords'], 'key=plainwords'));
    assert.equal(new HeaderCache(hide, true).of(['User-Agent', 'the-configured-secret 1'], '').shownAgent, `${masked} 1`);
  });

  it('say where credentials stand, the most telling first', () => {
    const { carriers } = new HeaderCache(hide, false).of(['api-key', 'a', 'Authorization', 'b', 'authorization', 'c', 'X-API-Key', 'd'], '');
    assert.deepEqual(carriers, [3, 7, 1]);
  });

  it('are kept where they may be alone', () => {
    assert.equal(new HeaderCache(hide, false).of(['Accept', '*/*'], '').safe, null);
    assert.equal(new HeaderCache(hide, true).of([], '').safe, null);
  });
});
