import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { desk, type Asked, type Desk } from './fake.ts';

const second = 1000;
const names = (asked: readonly Asked[]): string[] => asked.map(({ fairnessKey }) => fairnessKey);
const many = (at: Desk, fairnessKey: string, count: number): Asked[] => Array.from({ length: count }, () => at.arrive(fairnessKey));

/** Has one request run for so long, so that the queue knows. */
function measure(at: Desk, ms: number): void {
  const asked = at.arrive('measured');
  at.clock.tick(ms);
  asked.end();
}

describe('the queue', () => {
  it('lets as many run as there are slots, the others wait and say where', () => {
    const at = desk({ concurrency: 2 });
    const [first, , third, fourth] = many(at, 'a', 4);
    const other = at.arrive('b');
    assert.deepEqual(names(at.started), ['a', 'a']);
    assert.deepEqual([first?.position, third?.position, fourth?.position, other.position], [0, 1, 2, 2]);
    assert.deepEqual([at.queue.view().active, at.queue.view().waiting, at.queue.view().lanes], [2, 3, 2]);
    at.clock.tick(1500);
    first?.end();
    assert.deepEqual([third?.state, third?.wait, other.state], ['running', 1500, 'waiting']);
  });

  it('serves callers in turn', () => {
    const at = desk({ concurrency: 1 });
    many(at, 'flood', 5);
    for (const fairnessKey of ['b', 'c', 'b']) at.arrive(fairnessKey);
    while (at.queue.view().active > 0) at.started.at(-1)?.end();
    assert.deepEqual(names(at.started), ['flood', 'flood', 'b', 'c', 'flood', 'b', 'flood', 'flood']);
  });

  it('gives a slot back once, however often it is told', () => {
    const at = desk({ concurrency: 1 });
    const [first, second_, third] = many(at, 'a', 3);
    first?.end();
    first?.end();
    assert.deepEqual([second_?.state, third?.state, at.queue.view().active], ['running', 'waiting', 1]);
  });

  it('forgets a waiter whose client left, at once', () => {
    const at = desk({ concurrency: 1 });
    const [first, gone, next] = many(at, 'a', 3);
    gone?.end();
    assert.equal(at.queue.view().waiting, 1);
    first?.end();
    assert.deepEqual([gone?.state, next?.state], ['over', 'running']);
  });

  it('refuses when all places are taken, and displaces a flood for somebody else', () => {
    const at = desk({ concurrency: 1, initialSize: 3 });
    const flood = many(at, 'flood', 6);
    assert.deepEqual(flood.map(({ state }) => state), ['running', 'waiting', 'waiting', 'waiting', 'refused', 'refused']);
    assert.equal(flood[5]?.error?.code, 'queue_full');
    const other = at.arrive('other');
    assert.deepEqual([other.state, other.position, flood[3]?.state, flood[3]?.error?.code], ['waiting', 2, 'refused', 'queue_full']);
    assert.ok((flood[3]?.error?.retryAfter ?? 0) >= 1);
    flood[0]?.end();
    flood[1]?.end();
    assert.deepEqual([flood[1]?.state, other.state], ['over', 'running']);
  });

  it('has nobody wait where there are no places', () => {
    const at = desk({ concurrency: 1, initialSize: 0 });
    at.arrive('a');
    assert.equal(at.arrive('b').error?.code, 'queue_full');
  });

  it('refuses who has waited for max_wait', () => {
    const at = desk({ concurrency: 1, maxWait: '5s' });
    const [, waiter] = many(at, 'a', 2);
    at.clock.tick(4 * second);
    const later = at.arrive('b');
    at.look();
    assert.equal(waiter?.state, 'waiting');
    at.clock.tick(second);
    at.look();
    assert.deepEqual([waiter?.error?.code, waiter?.wait, later.state], ['queue_timeout', 5 * second, 'waiting']);
    assert.deepEqual([at.queue.view().waiting, at.queue.view().active], [1, 1]);
  });

  it('waits no longer than an answer may take in all', () => {
    const at = desk({ concurrency: 1, maxWait: '60s' }, {}, { llm: { timeouts: { total: '3s' } } });
    const [, waiter] = many(at, 'a', 2);
    at.clock.tick(3 * second);
    at.look();
    assert.equal(waiter?.error?.code, 'queue_timeout');
  });

  it('refuses at once whose turn would come too late, and says when to come back', () => {
    const at = desk({ concurrency: 1, maxWait: '10s' });
    measure(at, 4 * second);
    const asked = many(at, 'a', 6);
    assert.deepEqual(asked.map(({ state }) => state), ['running', 'waiting', 'waiting', 'waiting', 'refused', 'refused']);
    assert.equal(asked[4]?.error?.code, 'queue_timeout');
    assert.match(asked[4]?.error?.message ?? '', /in about 14 s/);
    assert.equal(at.arrive('b').state, 'waiting');
  });

  it('lets waiters in when the capacity grows, and those who run finish when it shrinks', () => {
    const at = desk({ concurrency: 1 });
    many(at, 'a', 5);
    at.queue.resize(3);
    assert.equal(at.started.length, 3);
    at.queue.resize(1);
    assert.deepEqual([at.queue.view().active, at.queue.view().concurrency], [3, 1]);
    at.started[0]?.end();
    at.started[1]?.end();
    assert.equal(at.started.length, 3);
    at.started[2]?.end();
    assert.equal(at.started.length, 4);
  });

  it('refuses a capacity that is none', () => {
    const at = desk();
    for (const capacity of [0, -1, 1.5, Number.NaN, Infinity, '5' as unknown as number]) assert.throws(() => at.queue.resize(capacity), { code: 'invalid_value' }, String(capacity));
  });

  it('tells waiters when the gate shuts down, and lets who runs finish', () => {
    const at = desk({ concurrency: 1 });
    const [running, waiter] = many(at, 'a', 2);
    at.core.draining = true;
    at.queue.drain();
    assert.deepEqual([running?.state, waiter?.error?.code, at.arrive('b').error?.code], ['running', 'shutting_down', 'shutting_down']);
    running?.end();
    assert.equal(at.arrive('b').state, 'running');
  });

  it('only notes what it would refuse where the gate observes', () => {
    const at = desk({ concurrency: 1, initialSize: 1 }, { observe: true });
    const asked = many(at, 'a', 4);
    assert.ok(asked.every(({ state, position }) => state === 'running' && position === 0));
    assert.deepEqual(asked.map(({ rules }) => rules), [[], [], ['queue'], ['queue']]);
    for (const each of asked) each.end();
    assert.equal(at.queue.view().active, 0);
  });

  it('gives a stranger a share of its own when NewAPI accepts its token while it waits', () => {
    const at = desk({ concurrency: 1 });
    const flood = Array.from({ length: 20 }, () => at.arrive('address:192.0.2.1', 'flood'));
    const other = at.arrive('address:192.0.2.1', 'other');
    assert.equal(other.position, 20);
    at.accepted.add('flood');
    flood[0]?.end();
    assert.equal(other.state, 'running');
  });

  it('says nothing that grows with its callers to the metrics', () => {
    const at = desk({ concurrency: 1, initialSize: 1 });
    for (let n = 0; n < 50; n++) at.arrive(`caller ${n}`);
    const samples = at.series.flatMap((each) => each.values());
    assert.ok(samples.length < 40 && samples.every(({ labels }) => Object.keys(labels).every((label) => label === 'reason' || label === 'le')));
    const value = (name: string): unknown => at.series.find((each) => each.name === name)?.values().map((sample) => sample.value);
    assert.deepEqual([value('queue_active'), value('queue_waiting')], [[1], [1]]);
    assert.equal((value('queue_rejected_total') as number[])[0], 48);
  });
});

describe('a flood', () => {
  it('does not take the slot of who sends one request after another', () => {
    const at = desk({ concurrency: 8 });
    measure(at, 100);
    many(at, 'flood', 100);
    let other = at.arrive('other');
    assert.equal(other.state, 'waiting');
    // All slots change hands at the same moment, again and again.
    const turnOver = (): void => {
      at.clock.tick(100);
      for (const each of at.started.filter(({ state }) => state === 'running')) each.end();
    };
    turnOver();
    assert.equal(other.state, 'running');
    for (let round = 0; round < 3; round++) {
      turnOver();
      at.clock.tick(2);
      other = at.arrive('other');
      assert.deepEqual([other.state, other.wait], ['running', 0]);
      assert.equal(at.queue.view().active, 8);
    }
  });

  it('gets the slot kept for another when he does not come back', () => {
    const at = desk({ concurrency: 4 });
    measure(at, 100);
    const other = at.arrive('other');
    many(at, 'flood', 50);
    at.clock.tick(100);
    other.end();
    assert.equal(at.queue.view().active, 3);
    at.clock.tick(199);
    assert.equal(at.queue.view().active, 3);
    at.clock.tick(1);
    assert.equal(at.queue.view().active, 4);
  });

  it('of one caller alone has every slot', () => {
    const at = desk({ concurrency: 4 });
    many(at, 'flood', 50);
    for (let n = 0; n < 40; n++) {
      at.started[n]?.end();
      assert.equal(at.queue.view().active, 4);
    }
  });
});

const move = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('arrive' as const), fairnessKey: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const), at: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), at: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.constantFrom(1, 40, 300, 2000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), to: fc.integer({ min: 1, max: 12 }) }) },
);

describe('whatever happens', () => {
  const moves = fc.record({ slots: fc.integer({ min: 1, max: 12 }), places: fc.integer({ min: 0, max: 10 }), moves: fc.array(move, { maxLength: 150 }) });

  it('nobody is lost, no slot is given twice, nobody waits beside a free one', () => {
    fc.assert(
      fc.property(moves, ({ slots, places, moves: made }) => {
        const at = desk({ concurrency: slots, initialSize: places, maxWait: '10s' });
        const all: Asked[] = [];
        const those = (state: Asked['state']): Asked[] => all.filter((each) => each.state === state);
        for (const each of made) {
          const startedBefore = at.started.length;
          const activeBefore = those('running').length;
          if (each.do === 'arrive') all.push(at.arrive(each.fairnessKey));
          else if (each.do === 'finish') those('running')[each.at % Math.max(1, those('running').length)]?.end();
          else if (each.do === 'leave') those('waiting')[each.at % Math.max(1, those('waiting').length)]?.end();
          else if (each.do === 'resize') at.queue.resize(each.to);
          else {
            at.clock.tick(each.ms);
            at.look();
          }
          const { active, waiting, concurrency } = at.queue.view();
          assert.deepEqual([active, waiting], [those('running').length, those('waiting').length]);
          assert.ok(waiting <= places);
          assert.ok(active <= concurrency || at.started.length === startedBefore, 'nobody starts beyond the capacity');
          assert.ok(active <= Math.max(activeBefore, concurrency));
          assert.ok(waiting === 0 || active >= Math.ceil(concurrency / 2), 'at most half of the slots are kept');
          for (const { state, error } of all) assert.equal(state === 'refused', error !== null);
        }
        at.clock.tick(1001);
        const { active, waiting, concurrency } = at.queue.view();
        assert.ok(waiting === 0 || active >= concurrency, 'none is kept for long');
        for (const fairnessKey of new Set(names(all))) {
          const order = at.started.filter((each) => each.fairnessKey === fairnessKey).map((each) => all.indexOf(each));
          assert.deepEqual(order, order.toSorted((a, b) => a - b), 'first in, first out');
        }
        while (those('running').length > 0) those('running')[0]?.end();
        assert.deepEqual(those('waiting'), []);
        assert.deepEqual([at.queue.view().active, at.queue.view().waiting, at.queue.view().lanes], [0, 0, 0]);
        assert.equal(at.started.length + all.filter(({ state, error }) => state === 'refused' && error !== null).length + all.filter((each) => each.state === 'over' && !at.started.includes(each)).length, all.length);
      }),
      { numRuns: 300 },
    );
  });
});
