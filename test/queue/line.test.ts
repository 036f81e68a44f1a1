import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Lane, Lanes, type Waiter } from '../../lib/queue/lanes.ts';
import { Line } from '../../lib/queue/line.ts';

interface Someone extends Waiter {
  readonly name: number;
}

const anybody = (): boolean => true;
const stays = (waiter: Someone): Lane => waiter.lane;

/** A line and what it should be: whose turn is next first, each lane with its waiters. */
class Pair {
  readonly lanes = new Lanes();
  readonly line = new Line<Someone>();
  round: { readonly key: string; readonly names: number[] }[] = [];
  readonly waiters = new Map<number, Someone>();
  #names = 0;

  join(key: string, returning = false): void {
    const waiter: Someone = { name: ++this.#names, lane: this.lanes.of(key), older: null, newer: null, returning };
    this.waiters.set(waiter.name, waiter);
    const position = this.line.positionIn(waiter.lane);
    this.line.push(waiter);
    const lane = this.round.find((each) => each.key === key);
    if (lane) lane.names.push(waiter.name);
    else this.round.push({ key, names: [waiter.name] });
    assert.equal(position, this.order().indexOf(waiter.name) + 1);
  }

  leave(at: number): void {
    const name = [...this.waiters.keys()][at % Math.max(1, this.waiters.size)];
    if (name === undefined) return;
    this.line.remove(this.waiters.get(name) as Someone);
    this.drop(name);
  }

  take(may: (lane: Lane) => boolean = anybody): void {
    const at = this.round.findIndex(({ key }) => may(this.lanes.of(key)));
    const taken = this.line.take(may, stays);
    assert.equal(taken?.name, this.round[at]?.names[0]);
    if (taken === null) return;
    this.drop(taken.name);
    // The round goes on behind it: an emptied lane is gone from it already.
    const gone = this.round[at]?.names[0] === undefined || this.round[at]?.key !== taken.lane.key;
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
    assert.equal(this.line.lanes, this.round.length);
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
  it('serves one of each lane in turn and within a lane the first first, whoever leaves in between', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const pair = new Pair();
        for (const each of steps) {
          if (each.do === 'join') pair.join(each.key);
          else if (each.do === 'take') pair.take();
          else if (each.do === 'take but') pair.take((lane) => lane.key !== each.key);
          else pair.leave(each.at);
          pair.check();
        }
        while (pair.waiters.size > 0) pair.take();
        pair.check();
      }),
    );
  });

  it('lets nobody be passed by a lane more often than his own lane has turns before him', () => {
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
          for (const [name, { lane }] of pair.waiters) {
            if (lane === taken.lane) continue;
            const counts = passed.get(name) ?? new Map<string, number>();
            passed.set(name, counts.set(taken.lane.key, (counts.get(taken.lane.key) ?? 0) + 1));
            assert.ok((counts.get(taken.lane.key) ?? 0) <= (ahead.get(name) ?? 0) + 1);
          }
        };
        for (const each of steps) {
          if (each.do === 'join') {
            const before = pair.lanes.of(each.key).waiting;
            pair.join(each.key);
            ahead.set(pair.waiters.size === 0 ? 0 : Math.max(...pair.waiters.keys()), before);
          } else if (each.do === 'leave') pair.leave(each.at);
          else take();
        }
        while (pair.waiters.size > 0) take();
      }),
    );
  });

  it('moves those at the front to the lane they belong to by now', () => {
    const pair = new Pair();
    const { line, lanes } = pair;
    for (const lane of ['x', 'x', 'x', 'y']) pair.join(lane);
    const named = new Set([1, 2]);
    const home = (waiter: Someone): Lane => (named.has(waiter.name) ? lanes.of('z') : waiter.lane);
    const order: number[] = [];
    for (let waiter = line.take(anybody, home); waiter !== null; waiter = line.take(anybody, home)) order.push(waiter.name);
    assert.deepEqual(order, [3, 4, 1, 2]);
    assert.deepEqual([line.size, line.lanes, lanes.of('x').waiting, lanes.of('z').waiting], [0, 0, 0, 0]);
  });

  it('moves even the only one there is', () => {
    const pair = new Pair();
    pair.join('x');
    assert.equal(pair.line.take(anybody, () => pair.lanes.of('z'))?.name, 1);
    assert.equal(pair.line.size, 0);
  });
});

describe('who must go from a full line', () => {
  const nameOf = (pair: Pair, newcomer: string, returning = false): number | undefined => pair.line.victimFor(pair.lanes.of(newcomer), returning)?.name;

  it('is the newest of the longest lane, where that is longer than the newcomer\'s would be', () => {
    const pair = new Pair();
    for (const lane of ['a', 'a', 'b', 'a']) pair.join(lane);
    assert.equal(nameOf(pair, 'c'), 4);
    assert.equal(nameOf(pair, 'b'), 4);
    assert.equal(nameOf(pair, 'a'), undefined);
  });

  it('is nobody among equals, or the last to come would win', () => {
    const pair = new Pair();
    for (const lane of ['a', 'b', 'c']) pair.join(lane);
    for (const lane of ['a', 'b', 'd']) assert.equal(nameOf(pair, lane), undefined, lane);
  });

  it('is among lanes as long as the newcomer\'s would be one with more running', () => {
    const pair = new Pair();
    for (const lane of ['a', 'b', 'c']) pair.join(lane);
    pair.lanes.of('b').active = 3;
    assert.equal(nameOf(pair, 'd'), 2);
    pair.lanes.of('d').active = 3;
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

  it('makes lanes more alike, whatever they are', () => {
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: 40 }), key, (keys, newcomer) => {
        const pair = new Pair();
        for (const each of keys) pair.join(each);
        const victim = pair.line.victimFor(pair.lanes.of(newcomer), false);
        const length = pair.lanes.of(newcomer).waiting;
        if (victim === null) assert.ok(pair.line.longest <= length + 1);
        else assert.ok(victim.lane.waiting > length + 1 && victim.lane.newest === victim);
      }),
    );
  });
});

describe('lanes', () => {
  it('are kept while in use and go in numbers when not', () => {
    const lanes = new Lanes();
    const used = lanes.of('used');
    used.active = 1;
    for (let n = 0; n < 100_000; n++) lanes.of(`passing ${n}`);
    assert.equal(lanes.of('used'), used);
    assert.ok(lanes.size <= 2048, String(lanes.size));
  });
});
