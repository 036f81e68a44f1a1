import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { chain, optional, ordered } from '../lib/chain.ts';
import { PARTS } from '../lib/config/schema.ts';

const names = (list: readonly string[] | null): string[] => ordered(list).map(({ name }) => name);

const whole = [
  'request_timer', 'fingerprint', 'logging', 'live', 'security_headers', 'cors', 'rate_limit', 'endpoints', 'auth', 'body', 'openai', 'passthrough', 'panic_recovery',
];

describe('the chain', () => {
  it('stands in its order when none is configured', () => {
    assert.deepEqual(names(null), whole);
    assert.equal(ordered(null), chain);
  });

  it('names every part once, as its file is called', () => {
    const files = readdirSync(new URL('../lib/middlewares', import.meta.url)).map((file) => file.replace('.ts', '').replaceAll('-', '_'));
    assert.deepEqual(files.sort(), chain.map(({ name }) => name).sort());
  });

  it('offers the configuration exactly its optional parts', () => {
    assert.deepEqual([...PARTS].sort(), [...optional].sort());
  });

  it('keeps its order when every part is listed in it, and without any', () => {
    assert.deepEqual(names(whole.filter((name) => optional.has(name))), whole);
    assert.deepEqual(names([]), ['fingerprint', 'live', 'endpoints', 'body', 'openai', 'passthrough', 'panic_recovery']);
  });

  it('leaves out what is not listed', () => {
    assert.deepEqual(names(['rate_limit', 'auth']), ['fingerprint', 'live', 'rate_limit', 'endpoints', 'auth', 'body', 'openai', 'passthrough', 'panic_recovery']);
  });

  it('runs what is listed in the order given, at the places of those parts', () => {
    assert.deepEqual(names(['auth', 'rate_limit']), ['fingerprint', 'live', 'auth', 'endpoints', 'rate_limit', 'body', 'openai', 'passthrough', 'panic_recovery']);
    assert.deepEqual(names(['logging', 'auth', 'cors', 'rate_limit', 'security_headers']), [
      'fingerprint', 'logging', 'live', 'auth', 'cors', 'rate_limit', 'endpoints', 'security_headers', 'body', 'openai', 'passthrough', 'panic_recovery',
    ]);
  });

  it('holds every listed part once and every other part at its place, in whatever order', () => {
    const fixed = whole.filter((name) => !optional.has(name));
    for (const list of permutations([...optional])) {
      for (let size = 0; size <= list.length; size++) {
        const result = names(list.slice(0, size));
        assert.deepEqual(result.filter((name) => !optional.has(name)), fixed);
        const moved = (name: string): boolean => optional.has(name) && name !== 'request_timer';
        assert.deepEqual(result.filter(moved), list.slice(0, size).filter(moved));
      }
    }
  });

  it('lets no part stand before the context it works on', () => {
    for (const list of permutations([...optional])) {
      const at = names(list).indexOf('fingerprint');
      assert.deepEqual(names(list).slice(0, at), ['request_timer']);
    }
    assert.equal(names(['auth', 'rate_limit'])[0], 'fingerprint');
  });
});

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));
}
