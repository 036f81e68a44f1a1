import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Config } from '../../types/config.d.ts';
import type { Context } from '../../lib/request/request.ts';
import { UnreadAnswers, type UnreadAnswer } from '../../lib/upstream/unread-answers.ts';

const places = (concurrency: number, onClientAbort = 'finish', enabled = true): UnreadAnswers => new UnreadAnswers({ llm: { onClientAbort }, queue: { enabled, concurrency } } as unknown as Config);
const from = (fairnessKey: string, more: object = {}): Context => ({ fairnessKey, outcome: 'served', core: { draining: false, clock: { monotonic: () => 1_000 } }, ...more }) as unknown as Context;

it('has a quarter of the slots, an eighth of it a caller, at least one', () => {
  for (const [concurrency, most, each] of [[1, 1, 1], [4, 1, 1], [8, 2, 1], [64, 16, 2], [1000, 250, 32]] as const) {
    const all = places(concurrency);
    let admitted = 0;
    for (let caller = 0; caller < 400; caller++) {
      let held = 0;
      while (all.admit(from(`token:${caller}`)) !== null) held++;
      assert.ok(held <= each);
      admitted += held;
    }
    assert.equal(admitted, most);
  }
});

it('gives a place back once', () => {
  const all = places(4);
  const first = all.admit(from('a')) as UnreadAnswer;
  assert.equal(all.admit(from('b')), null);
  first.release();
  first.release();
  assert.ok(all.admit(from('b')) !== null);
  assert.equal(all.admit(from('a')), null);
});

it('has none by default, for a gate that ends, and for a request that the gate has ended', () => {
  assert.equal(places(1000, 'cancel').admit(from('a')), null);
  assert.equal(places(1000, 'cancel').possible, false);
  assert.equal(places(1000).admit(from('a', { outcome: 'refused' })), null);
  assert.equal(places(1000).admit(from('a', { core: { draining: true, clock: { monotonic: () => 0 } } })), null);
});

it('reads an answer for five minutes and 32 MB', () => {
  const answer = places(1, 'finish', false).admit(from('a')) as UnreadAnswer;
  assert.ok(!answer.isLate(300_999) && answer.isLate(301_000));
  assert.ok(answer.take(33_554_432));
  assert.ok(!answer.take(1));
});
