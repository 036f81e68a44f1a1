import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Rule, ChargeSet } from '../../lib/limits/charge.ts';
import { RedisStore } from '../../lib/limits/redis-store.ts';
import { settleScript, takeScript } from '../../lib/limits/scripts.ts';
import type { Redis } from '../../lib/platform/redis.ts';
import { generator } from '../support/random.ts';
import type { Finding } from './proof.ts';

const seed = 18;
/** A caller that sends a third more than it may, for two windows and a half. Milliseconds. */
const window = 10_000;
const limit = 15_000;
const perSecond = 2000;
const length = 2.5 * window;
/** Way to Redis and back, milliseconds: half a millisecond, and up to two more. */
const leastTrip = 0.5;
const spread = 2;

/** Time that goes from event to event. */
class Simulation implements Clock {
  readonly #heap: { readonly due: number; readonly order: number; readonly run: () => void; isCleared: boolean }[] = [];
  #now = 0;
  #order = 0;

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  setTimeout(run: () => void, ms: number): Timer {
    const armed = { due: this.#now + ms, order: this.#order++, run, isCleared: false };
    this.#heap.push(armed);
    for (let at = this.#heap.length - 1; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
    return { refresh: () => undefined, unref: () => undefined, clear: () => void (armed.isCleared = true) } as Timer;
  }

  clearTimeout(timer: Timer): void {
    (timer as Timer & { clear(): void }).clear();
  }

  /** What follows an event by promises alone happens before the next one. */
  async run(until: number): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.due <= until; next = this.#heap[0]) {
      const last = this.#heap.pop() as typeof next;
      if (last !== next) {
        this.#heap[0] = last;
        this.#sink();
      }
      this.#now = next.due;
      if (!next.isCleared) next.run();
      for (let turns = 0; turns < 12; turns++) await null;
    }
  }

  #sink(): void {
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < this.#heap.length && this.#isBefore(child, least)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #isBefore(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one] as { due: number; order: number }, this.#heap[other] as { due: number; order: number }];
    return a.due < b.due || (a.due === b.due && a.order < b.order);
  }

  #swap(one: number, other: number): void {
    [this.#heap[one], this.#heap[other]] = [this.#heap[other] as never, this.#heap[one] as never];
  }
}

/** The scripts of one window, as `lib/limits/scripts.ts` has them in Lua, at a distance. */
class ModelRedis implements Redis {
  readonly #clock: Simulation;
  readonly #random: (bound: number) => number;
  readonly #log: [first: number, latest: number, count: number][] = [];
  commands = 0;

  constructor(clock: Simulation, random: (bound: number) => number) {
    this.#clock = clock;
    this.#random = random;
  }

  run(script: typeof takeScript, _keys: readonly string[], args: readonly string[]): Promise<unknown> {
    this.commands++;
    const trip = leastTrip + (spread * this.#random(1000)) / 1000;
    return new Promise((resolve) => {
      this.#clock.setTimeout(() => {
        const reply = this.#answer(script, args);
        this.#clock.setTimeout(() => resolve(reply), trip / 2);
      }, trip / 2);
    });
  }

  async send(): Promise<unknown> {
    return 'OK';
  }

  async close(): Promise<void> {}

  #answer(script: typeof takeScript, args: readonly string[]): unknown {
    const now = this.#clock.now();
    while (this.#log[0] !== undefined && this.#log[0][1] + window <= now) this.#log.shift();
    if (script === takeScript) return this.#take(args, now);
    if (script !== settleScript) throw new Error('only windows are modelled');
    const [, , , , place, amount, actual, , age] = args;
    const entry = this.#log.find(([first]) => first === Number(place));
    if (entry === undefined) return 1;
    entry[2] = Math.max(0, entry[2] + Number(actual) - Number(amount));
    if (Number(age) >= 0) entry[1] = Math.max(entry[1], now - Number(age));
    return 1;
  }

  #take(args: readonly string[], now: number): string[] {
    const [amount, block] = [Number(args[6]), Number(args[8])];
    const used = this.#log.reduce((sum, [, , count]) => sum + count, 0);
    if (used + amount > limit) return ['0', String(used), '0', String((this.#log[0]?.[1] ?? 0) + window - now), '0', '0', '0'];
    const granted = used + amount + block <= limit ? block : 0;
    const last = this.#log.at(-1);
    if (last !== undefined && now - last[0] < window / 60) {
      last[1] = now;
      last[2] += amount + granted;
      return ['1', String(used), '1', '0', String(window), String(last[0]), String(granted)];
    }
    this.#log.push([now, now, amount + granted]);
    return ['1', String(used), '1', '0', String(window), String(now), String(granted)];
  }
}

interface Outcome {
  readonly most: number;
  readonly least: number;
  readonly commands: number;
  readonly mean: number;
  readonly p99: number;
}

async function simulate(instances: number, rule: Rule): Promise<Outcome> {
  const clock = new Simulation();
  const random = generator(seed);
  const redis = new ModelRedis(clock, random);
  const stores = Array.from({ length: instances }, () => new RedisStore(redis, clock, () => clock.now()));
  const passed: number[] = [];
  const waits: number[] = [];
  const counter = { rule, key: 'key.requests:caller', until: 0, state: null };
  for (let nth = 0; nth < (perSecond * length) / 1000; nth++) {
    const store = stores[random(instances)] as RedisStore;
    const at = (nth * 1000) / perSecond + random(1000) / 1000;
    clock.setTimeout(() => {
      const set: ChargeSet = { id: String(nth), charges: [{ counter, amount: 1, provisional: false, actual: 1, limit: 0, used: 0, fits: true, wait: 0, reset: 0, place: 0 }], holder: null };
      const decided = (isTaken: boolean): void => {
        waits.push(clock.now() - at);
        if (isTaken) passed.push(clock.now());
      };
      const known = store.draw(set);
      if (known !== null) decided(known);
      else void store.take(set).then(decided);
    }, at);
  }
  await clock.run(length);
  waits.sort((a, b) => a - b);
  const inWindows = passed.flatMap((time, from) => {
    const to = passed.findIndex((other, at) => at >= from + limit / 2 && other >= time + window);
    return to === -1 ? [] : [to - from];
  }).concat(passed.length < limit ? [passed.length] : []);
  return { most: Math.max(...inWindows), least: Math.min(...inWindows), commands: redis.commands, mean: waits.reduce((sum, wait) => sum + wait, 0) / waits.length, p99: waits[Math.floor(waits.length * 0.99)] ?? 0 };
}

/**
 * A model of 10, 100 and 1 000 instances that share one caller's limit: the code of the gate over a Redis in memory, with time and
 * ways of their own, once with a question for each request and once in blocks.
 */
export async function scale(): Promise<Finding> {
  const rows: Record<string, string | number>[] = [];
  let holds = true;
  for (const instances of [10, 100, 1000]) {
    for (const isInBlocks of [false, true]) {
      const size = limit / 100;
      const error = Math.min(limit, instances * size);
      const rule: Rule = { name: 'key_limit.requests', kind: 'requests', limit, share: limit, window, period: null, counter: 'key.requests', observe: false, perUser: false, blocks: isInBlocks ? { rate: perSecond / 2 / instances, size, error } : null };
      const { most, least, commands, mean, p99 } = await simulate(instances, rule);
      const bound = isInBlocks ? error : 0;
      // A place is free a sixtieth of the window late, whatever is asked.
      const late = Math.ceil((perSecond * window) / 60 / 1000) + 1;
      if (most > limit || least < limit - bound - 2 * late) holds = false;
      rows.push({
        instances, blocks: isInBlocks ? 'on' : 'off', 'most in a window': most, 'least in a window': least, 'error bound': bound,
        'commands/s': Math.round((commands * 1000) / length), 'added mean ms': Math.round(mean * 100) / 100, 'added p99 ms': Math.round(p99 * 100) / 100,
      });
    }
  }
  return { rows, bar: `of ${perSecond} requests/s no window of ${window / 1000} s holds more than ${limit}, and none less than ${limit} and the error bound (and a sixtieth of the window)`, holds };
}
