import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { CallerShares, type CallerShare, type Waiter } from '../../lib/queue/caller-share.ts';
import { FairQueue } from '../../lib/queue/fair-queue.ts';

interface Someone extends Waiter {
  readonly name: number;
}

const anybody = (): boolean => true;
const stays = (waiter: Someone): CallerShare => waiter.share;

/** A queue and what it should hold: the caller whose turn is next first, each with its waiting requests. */
class Pair {
  readonly callers = new CallerShares();
  readonly line = new FairQueue<Someone>();
  round: { readonly key: string; readonly names: number[] }[] = [];
  readonly waiters = new Map<number, Someone>();
  #names = 0;

  join(key: string, returning = false): void {
    const waiter: Someone = { name: ++this.#names, share: this.callers.of(key), older: null, newer: null, returning };
    this.waiters.set(waiter.name, waiter);
    const position = this.line.positionOf(waiter.share);
    this.line.push(waiter);
    const caller = this.round.find((each) => each.key === key);
    if (caller) caller.names.push(waiter.name);
    else this.round.push({ key, names: [waiter.name] });
    assert.equal(position, this.order().indexOf(waiter.name) + 1);
  }

  leave(at: number): void {
    const name = [...this.waiters.keys()][at % Math.max(1, this.waiters.size)];
    if (name === undefined) return;
    this.line.remove(this.waiters.get(name) as Someone);
    this.drop(name);
  }

  take(may: (caller: CallerShare) => boolean = anybody): void {
    const at = this.round.findIndex(({ key }) => may(this.callers.of(key)));
    const taken = this.line.take(may, stays);
    assert.equal(taken?.name, this.round[at]?.names[0]);
    if (taken === null) return;
    this.drop(taken.name);
    // The round goes on behind it; a caller without waiting requests has left it already.
    const gone = this.round[at]?.names[0] === undefined || this.round[at]?.key !== taken.share.key;
    const next = gone ? at : at + 1;
    this.round = [...this.round.slice(next), ...this.round.slice(0, next)];
  }

  drop(name: number): void {
    this.waiters.delete(name);
    for (const { names } of this.round) if (names.includes(name)) names.splice(names.indexOf(name), 1);
    this.round = this.round.filter(({ names }) => names.length > 0);
  }

  /** Everybody in the order of their turns. */
  order(): number[] {
    const left = this.round.map(({ names }) => [...names]);
    const order: number[] = [];
    while (left.some((names) => names.length > 0)) for (const names of left) order.push(...names.splice(0, 1));
    return order;
  }

  check(): void {
    assert.equal(this.line.size, this.waiters.size);
    assert.equal(this.line.callers, this.round.length);
    assert.equal(this.line.longest, Math.max(0, ...this.round.map(({ names }) => names.length)));
    assert.deepEqual([...this.line].map(({ name }) => name).sort(), [...this.waiters.keys()].sort());
  }
}

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), key }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('take but' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), at: fc.nat(50) }) },
);

describe('the line', () => {
  it('serves one of each caller in turn and of one caller the first first, whatever leaves in between', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const pair = new Pair();
        for (const each of steps) {
          if (each.do === 'join') pair.join(each.key);
          else if (each.do === 'take') pair.take();
          else if (each.do === 'take but') pair.take((caller) => caller.key !== each.key);
          else pair.leave(each.at);
          pair.check();
        }
        while (pair.waiters.size > 0) pair.take();
        pair.check();
      }),
    );
  });

  it('lets no request be passed by a caller more often than its own caller has turns before it', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const pair = new Pair();
        const passed = new Map<number, Map<string, number>>();
        const ahead = new Map<number, number>();
        const take = (): void => {
          const before = new Map(pair.waiters);
          pair.take();
          const taken = [...before].find(([name]) => !pair.waiters.has(name))?.[1];
          if (taken === undefined) return;
          for (const [name, { share: caller }] of pair.waiters) {
            if (caller === taken.share) continue;
            const counts = passed.get(name) ?? new Map<string, number>();
            passed.set(name, counts.set(taken.share.key, (counts.get(taken.share.key) ?? 0) + 1));
            assert.ok((counts.get(taken.share.key) ?? 0) <= (ahead.get(name) ?? 0) + 1);
          }
        };
        for (const each of steps) {
          if (each.do === 'join') {
            const before = pair.callers.of(each.key).waiting;
            pair.join(each.key);
            ahead.set(pair.waiters.size === 0 ? 0 : Math.max(...pair.waiters.keys()), before);
          } else if (each.do === 'leave') pair.leave(each.at);
          else take();
        }
        while (pair.waiters.size > 0) take();
      }),
    );
  });

  it('moves the first requests to the caller they belong to by now', () => {
    const pair = new Pair();
    const { line, callers } = pair;
    for (const caller of ['x', 'x', 'x', 'y']) pair.join(caller);
    const named = new Set([1, 2]);
    const home = (waiter: Someone): CallerShare => (named.has(waiter.name) ? callers.of('z') : waiter.share);
    const order: number[] = [];
    for (let waiter = line.take(anybody, home); waiter !== null; waiter = line.take(anybody, home)) order.push(waiter.name);
    assert.deepEqual(order, [3, 4, 1, 2]);
    assert.deepEqual([line.size, line.callers, callers.of('x').waiting, callers.of('z').waiting], [0, 0, 0, 0]);
  });

  it('moves even the only one there is', () => {
    const pair = new Pair();
    pair.join('x');
    assert.equal(pair.line.take(anybody, () => pair.callers.of('z'))?.name, 1);
    assert.equal(pair.line.size, 0);
  });
});

describe('who must go from a full line', () => {
  const nameOf = (pair: Pair, newcomer: string, returning = false): number | undefined => pair.line.victimFor(pair.callers.of(newcomer), returning)?.name;

  it('is the newest of the caller with the most waiting, where that is more than the newcomer would have', () => {
    const pair = new Pair();
    for (const caller of ['a', 'a', 'b', 'a']) pair.join(caller);
    assert.equal(nameOf(pair, 'c'), 4);
    assert.equal(nameOf(pair, 'b'), 4);
    assert.equal(nameOf(pair, 'a'), undefined);
  });

  it('is nobody among equals, or the last to come would win', () => {
    const pair = new Pair();
    for (const caller of ['a', 'b', 'c']) pair.join(caller);
    for (const caller of ['a', 'b', 'd']) assert.equal(nameOf(pair, caller), undefined, caller);
  });

  it('is between equals of a caller with more running', () => {
    const pair = new Pair();
    for (const caller of ['a', 'b', 'c']) pair.join(caller);
    pair.callers.of('b').active = 3;
    assert.equal(nameOf(pair, 'd'), 2);
    pair.callers.of('d').active = 3;
    assert.equal(nameOf(pair, 'd'), undefined);
  });

  it('is for somebody who comes back as told one who was never sent away', () => {
    const pair = new Pair();
    pair.join('a', true);
    pair.join('b');
    pair.join('c', true);
    assert.equal(nameOf(pair, 'd', true), 2);
    pair.leave(1);
    assert.equal(nameOf(pair, 'd', true), undefined);
    pair.join('e', true);
    pair.join('f');
    assert.equal(nameOf(pair, 'f', true), 5);
    assert.equal(nameOf(pair, 'e', true), undefined);
  });

  it('makes the callers more alike, whatever they are', () => {
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: 40 }), key, (keys, newcomer) => {
        const pair = new Pair();
        for (const each of keys) pair.join(each);
        const victim = pair.line.victimFor(pair.callers.of(newcomer), false);
        const length = pair.callers.of(newcomer).waiting;
        if (victim === null) assert.ok(pair.line.longest <= length + 1);
        else assert.ok(victim.share.waiting > length + 1 && victim.share.newest === victim);
      }),
    );
  });
});

describe('callers', () => {
  it('are kept while in use and go in numbers when not', () => {
    const callers = new CallerShares();
    const used = callers.of('used');
    used.active = 1;
    for (let n = 0; n < 100_000; n++) callers.of(`passing ${n}`);
    assert.equal(callers.of('used'), used);
    assert.ok(callers.size <= 2048, String(callers.size));
  });
});
