import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { chain, optional, ordered } from '../lib/chain.ts';
import { PARTS } from '../lib/config/schema.ts';

const names = (list: readonly string[] | null): string[] => ordered(list).map(({ name }) => name);

const whole = [
  'request_timer', 'fingerprint', 'logging', 'live', 'guard', 'security_headers', 'cors', 'endpoints', 'rate_limit', 'auth', 'routes', 'body', 'key_limit', 'queue', 'openai',
  'passthrough', 'panic_recovery',
];
/** What a list can move to another place. */
const movable = ['security_headers', 'cors', 'rate_limit', 'auth', 'logging'];
const staying = ['request_timer', 'key_limit', 'queue'];

describe('the chain', () => {
  it('stands in its order when none is configured', () => {
    assert.deepEqual(names(null), whole);
    assert.equal(ordered(null), chain);
  });

  it('names every part once, as its file is called', () => {
    // Beside the parts stand the room's door, the contract they fulfil, the parts a route adds and their description.
    const others = ['middlewares.ts', 'middleware.ts', 'per-route.ts', 'README.md'];
    const files = readdirSync(new URL('../lib/middlewares', import.meta.url)).filter((file) => !others.includes(file)).map((file) => file.replace('.ts', '').replaceAll('-', '_'));
    assert.deepEqual(files.sort(), chain.map(({ name }) => name).sort());
  });

  it('offers the configuration exactly its optional parts', () => {
    assert.deepEqual([...PARTS].sort(), [...optional].sort());
  });

  it('keeps its order when every part is listed in it, and without any', () => {
    assert.deepEqual(names(whole.filter((name) => optional.has(name))), whole);
    assert.deepEqual(names([]), ['fingerprint', 'live', 'guard', 'endpoints', 'routes', 'body', 'openai', 'passthrough', 'panic_recovery']);
  });

  it('leaves out what is not listed', () => {
    assert.deepEqual(names(['rate_limit', 'auth']), ['fingerprint', 'live', 'guard', 'endpoints', 'rate_limit', 'auth', 'routes', 'body', 'openai', 'passthrough', 'panic_recovery']);
  });

  it('runs what is listed in the order given, at the places of those parts', () => {
    assert.deepEqual(names(['auth', 'rate_limit']), ['fingerprint', 'live', 'guard', 'endpoints', 'auth', 'rate_limit', 'routes', 'body', 'openai', 'passthrough', 'panic_recovery']);
    assert.deepEqual(names(['logging', 'auth', 'cors', 'rate_limit', 'security_headers']), [
      'fingerprint', 'logging', 'live', 'guard', 'auth', 'cors', 'endpoints', 'rate_limit', 'security_headers', 'routes', 'body', 'openai', 'passthrough', 'panic_recovery',
    ]);
  });

  it('holds every listed part once and every other part at its place, in whatever order', () => {
    const fixed = whole.filter((name) => !movable.includes(name));
    for (const list of permutations(movable)) {
      for (let size = 0; size <= list.length; size++) {
        const result = names([...list.slice(0, size), ...staying]);
        assert.deepEqual(result.filter((name) => !movable.includes(name)), fixed);
        assert.deepEqual(result.filter((name) => movable.includes(name)), list.slice(0, size));
      }
    }
  });

  it('keeps limits and the queue behind the body, wherever a list names them', () => {
    assert.deepEqual(names(['queue', 'key_limit', 'auth']).slice(-6), ['body', 'key_limit', 'queue', 'openai', 'passthrough', 'panic_recovery']);
  });

  it('lets no part stand before the context it works on', () => {
    for (const list of permutations([...movable, 'request_timer'])) {
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
