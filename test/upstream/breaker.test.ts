import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Breaker, rejected, TargetState, type AttemptResult, type BreakerState } from '../../lib/upstream/breaker.ts';

const config = { maxRequests: 2, interval: 30_000, timeout: 10_000, failureThreshold: 3 };

interface Scene {
  readonly breaker: Breaker;
  readonly kinds: BreakerState['kind'][];
}

function scene(over: Partial<typeof config> = {}): Scene {
  const kinds: BreakerState['kind'][] = [];
  return { breaker: new Breaker({ ...config, ...over }, 0, (kind) => void kinds.push(kind)), kinds };
}

/** Lets requests in at a time and says at once how each ended. */
function run(breaker: Breaker, at: number, ...results: AttemptResult[]): void {
  for (const result of results) breaker.leave(breaker.enter(at), result, at);
}

function opened(over: Partial<typeof config> = {}): Scene {
  const made = scene(over);
  run(made.breaker, 0, 'fail', 'fail', 'fail');
  assert.equal(made.breaker.state.kind, 'open');
  return made;
}

describe('closed', () => {
  for (const [name, results, kind] of [
    ['as many failures in a row as the threshold open it', ['fail', 'fail', 'fail'], 'open'],
    ['fewer do not', ['fail', 'fail'], 'up'],
    ['a success between them begins the count again', ['fail', 'fail', 'ok', 'fail', 'fail'], 'up'],
    ['what says nothing neither counts nor forgives', ['fail', 'neutral', 'fail', 'neutral', 'fail'], 'open'],
    ['what says nothing alone changes nothing', ['neutral', 'neutral', 'neutral', 'neutral'], 'up'],
  ] as const) {
    it(name, () => {
      const { breaker, kinds } = scene();
      run(breaker, 0, ...results);
      assert.equal(breaker.state.kind, kind);
      assert.deepEqual(kinds, kind === 'open' ? ['open'] : []);
    });
  }

  it('forgets failures after the interval, or never', () => {
    for (const [interval, kind] of [[30_000, 'up'], [0, 'open']] as const) {
      const { breaker } = scene({ interval });
      run(breaker, 0, 'fail', 'fail');
      run(breaker, 30_000, 'fail');
      assert.equal(breaker.state.kind, kind);
    }
  });

  it('counts an answer that broke off after it had been counted as good', () => {
    const { breaker } = scene();
    for (let n = 0; n < 3; n++) breaker.countBroken(0);
    assert.equal(breaker.state.kind, 'open');
    breaker.countBroken(0);
    assert.equal(breaker.closedUntil(0), 10_000);
  });
});

describe('open', () => {
  it('rejects until its time is over and says when that is', () => {
    const { breaker } = opened();
    for (const now of [0, 9999]) assert.deepEqual([breaker.enter(now), breaker.closedUntil(now)], [rejected, 10_000]);
    assert.equal(breaker.closedUntil(10_000), 0);
    assert.notEqual(breaker.enter(10_000), rejected);
  });

  it('ignores results of requests let in before', () => {
    const { breaker } = scene();
    const early = [0, 1, 2, 3, 4].map(() => breaker.enter(0));
    for (const generation of early.slice(0, 3)) breaker.leave(generation, 'fail', 5);
    breaker.leave(early[3] as number, 'ok', 6);
    assert.equal(breaker.closedUntil(6), 10_005);
    run(breaker, 10_005, 'ok');
    breaker.leave(early[4] as number, 'fail', 10_006);
    assert.deepEqual(breaker.state, { kind: 'probing', inHand: 0, passed: 1, overloaded: false });
    breaker.leave(rejected, 'fail', 10_006);
    assert.equal(breaker.state.kind, 'probing');
  });

  it('rests as long as it is asked to when that is longer', () => {
    const { breaker, kinds } = opened();
    breaker.rest(5000);
    assert.equal(breaker.closedUntil(0), 10_000);
    breaker.rest(40_000);
    assert.equal(breaker.closedUntil(0), 40_000);
    assert.deepEqual(kinds, ['open']);
  });
});

describe('half-open', () => {
  it('admits so many at a time, rejects the rest and closes after as many successes', () => {
    const { breaker, kinds } = opened();
    const [first, second, third] = [1, 2, 3].map(() => breaker.enter(10_000));
    assert.equal(third, rejected);
    assert.ok(breaker.closedUntil(10_000) > 10_000);
    breaker.leave(first as number, 'ok', 10_001);
    assert.equal(breaker.state.kind, 'probing');
    breaker.leave(second as number, 'ok', 10_002);
    assert.deepEqual(breaker.state, { kind: 'up', failures: 0, since: 10_002 });
    assert.deepEqual(kinds, ['open', 'probing', 'up']);
  });

  it('opens again at one failure, for the whole time', () => {
    const { breaker, kinds } = opened();
    run(breaker, 10_000, 'ok', 'fail');
    assert.deepEqual([breaker.state.kind, breaker.closedUntil(10_000)], ['open', 20_000]);
    assert.deepEqual(kinds, ['open', 'probing', 'open']);
  });

  it('gets a place back from a request that says nothing', () => {
    const { breaker } = opened({ maxRequests: 1 });
    for (let n = 0; n < 5; n++) {
      const generation = breaker.enter(10_000);
      assert.notEqual(generation, rejected);
      assert.equal(breaker.enter(10_000), rejected);
      breaker.leave(generation, 'neutral', 10_000);
    }
    assert.deepEqual(breaker.state, { kind: 'probing', inHand: 0, passed: 0, overloaded: false });
  });

  it('is left for a rest when it is asked for', () => {
    const { breaker } = opened();
    breaker.enter(10_000);
    breaker.rest(12_000);
    assert.deepEqual([breaker.state.kind, breaker.enter(11_999)], ['resting', rejected]);
  });
});

describe('resting', () => {
  it('lets nobody in before its end, everybody after it', () => {
    const { breaker, kinds } = scene();
    breaker.rest(1000);
    assert.deepEqual([breaker.enter(999), breaker.closedUntil(999)], [rejected, 1000]);
    for (let n = 0; n < 5; n++) assert.notEqual(breaker.enter(1000), rejected);
    assert.deepEqual(kinds, ['resting', 'up']);
  });

  it('is not cut short by a later answer that asks for less', () => {
    const { breaker } = scene();
    breaker.rest(30_000);
    breaker.rest(1000);
    assert.equal(breaker.closedUntil(0), 30_000);
    breaker.rest(40_000);
    assert.equal(breaker.closedUntil(0), 40_000);
  });

  it('of no time at all keeps nobody out', () => {
    const { breaker } = scene();
    breaker.rest(5);
    assert.notEqual(breaker.enter(5), rejected);
  });
});

describe('probes', () => {
  it('open after so many misses in a row, close at one answer', () => {
    const { breaker, kinds } = scene();
    for (const [alive, kind] of [[false, 'up'], [true, 'up'], [false, 'up'], [false, 'open'], [false, 'open'], [true, 'up']] as const) {
      breaker.probe(alive, 2);
      assert.equal(breaker.state.kind, kind);
    }
    assert.deepEqual(kinds, ['open', 'up']);
  });

  it('never end by themselves what they opened', () => {
    const { breaker } = scene();
    breaker.probe(false, 1);
    assert.equal(breaker.enter(1e15), rejected);
    breaker.rest(1e15);
    assert.equal(breaker.closedUntil(0), Number.POSITIVE_INFINITY);
  });

  it('neither close nor prolong what traffic opened', () => {
    const { breaker } = opened();
    breaker.probe(true, 1);
    breaker.probe(false, 1);
    assert.deepEqual([breaker.state.kind, breaker.closedUntil(0)], ['open', 10_000]);
  });
});

describe('a target\'s state', () => {
  const make = (perModel: boolean): { state: TargetState; heard: unknown[] } => {
    const heard: unknown[] = [];
    return { state: new TargetState(config, () => 0, perModel, (kind, model) => void heard.push([kind, model])), heard };
  };

  it('is kept for each model where it is ours, whole where it is the caller\'s', () => {
    const own = make(true);
    run(own.state.breaker('a'), 0, 'fail', 'fail', 'fail');
    assert.deepEqual(['a', 'b', null].map((model) => own.state.breaker(model).state.kind), ['open', 'up', 'up']);
    assert.deepEqual([own.heard, own.state.worst()], [[['open', 'a']], 'open']);
    const caller = make(false);
    run(caller.state.breaker('a'), 0, 'fail', 'fail', 'fail');
    assert.deepEqual(['a', 'b', null].map((model) => caller.state.breaker(model).state.kind), ['open', 'open', 'open']);
    assert.deepEqual(caller.heard, [['open', null]]);
  });

  it('remembers a bounded number of models', () => {
    const { state } = make(true);
    const first = state.breaker('model-0');
    for (let n = 1; n < 1000; n++) state.breaker(`model-${n}`);
    assert.equal(state.breaker('model-0'), first);
    const last = state.breaker('model-999');
    state.breaker('one more');
    assert.equal(state.breaker('model-999'), last);
    assert.notEqual(state.breaker('model-0'), first);
  });

  it('is down when probes say so, not when traffic does', () => {
    const { state } = make(false);
    run(state.base, 0, 'fail', 'fail', 'fail');
    assert.equal(state.isDown, false);
    const probed = make(true).state;
    probed.base.probe(false, 1);
    assert.equal(probed.isDown, true);
    assert.equal(probed.worst(), 'open');
  });

  it('shows the worst of its states', () => {
    const { state } = make(true);
    assert.equal(state.worst(), 'up');
    state.breaker('a').rest(1000);
    assert.equal(state.worst(), 'resting');
    run(state.breaker('b'), 0, 'fail', 'fail', 'fail');
    assert.equal(state.worst(), 'open');
    state.breaker('b').enter(10_000);
    assert.equal(state.worst(), 'probing');
  });
});

describe('breakers of one target in two threads', () => {
  const pair = (): readonly [Breaker, Breaker] => {
    const both: Breaker[] = [];
    const make = (other: number): Breaker => new Breaker(config, 0, () => undefined, (news) => both[other]?.hear(news, now));
    both.push(make(1), make(0));
    return both as unknown as readonly [Breaker, Breaker];
  };
  let now = 0;
  const at = (time: number): number => (now = time);

  it('count failures together, and forget them together', () => {
    const [one, other] = pair();
    run(one, at(0), 'fail', 'fail', 'ok');
    run(other, at(0), 'fail');
    run(one, at(0), 'fail');
    assert.deepEqual([one.state.kind, other.state.kind], ['up', 'up']);
    run(other, at(0), 'fail');
    assert.deepEqual([one.state.kind, other.state.kind], ['open', 'open']);
  });

  it('have one of them try the target, and close together', () => {
    const [one, other] = pair();
    run(one, at(0), 'fail', 'fail', 'fail');
    const tries = [one.enter(at(10_000)), one.enter(at(10_000))];
    assert.deepEqual([one.state.kind, other.enter(at(10_001))], ['probing', rejected]);
    for (const each of tries) one.leave(each, 'ok', at(10_002));
    assert.deepEqual([one.state.kind, other.state.kind], ['up', 'up']);
  });

  it('try it by another where the first has fallen silent', () => {
    const [one, other] = pair();
    run(one, at(0), 'fail', 'fail', 'fail');
    one.enter(at(10_000));
    assert.notEqual(other.enter(at(20_000)), rejected);
  });

  it('count what each finds where both try the target', () => {
    const said: (() => void)[] = [];
    const late = (at: number, both: readonly Breaker[]): Breaker => new Breaker(config, 0, () => undefined, (news) => said.push(() => both[at]?.hear(news, now)));
    const threads: Breaker[] = [];
    threads.push(late(1, threads), late(0, threads));
    const hear = (): void => said.splice(0).forEach((word) => word());
    const [first, second] = threads as unknown as readonly [Breaker, Breaker];
    run(first, at(0), 'fail', 'fail', 'fail');
    hear();
    const tries = [first.enter(at(10_000)), first.enter(at(10_000))];
    second.enter(at(10_000));
    hear();
    for (const each of tries) first.leave(each, 'ok', at(10_001));
    hear();
    assert.deepEqual([first.state.kind, second.state.kind], ['up', 'up'], 'begun before either has heard of the other');
    first.rest(at(20_000) + 1000, true, now);
    hear();
    const slow = [first.enter(at(21_000)), first.enter(at(21_000))];
    hear();
    assert.deepEqual([second.enter(at(21_999)), second.enter(at(22_000)) === rejected], [rejected, false]);
    hear();
    for (const each of slow) first.leave(each, 'ok', at(25_000));
    hear();
    assert.deepEqual([first.state.kind, second.state.kind], ['up', 'up'], 'answered later than the other has waited');
  });

  it('pause together, and leave to probes what they have closed', () => {
    const [one, other] = pair();
    one.rest(at(0) + 5000, false, 0);
    assert.deepEqual([other.enter(at(4999)), other.enter(at(5000)) === rejected], [rejected, false]);
    other.probe(false, 1);
    run(one, at(6000), 'fail', 'ok');
    assert.deepEqual([other.state.kind === 'open' && other.state.by, one.state.kind], ['probes', 'up']);
  });
});
