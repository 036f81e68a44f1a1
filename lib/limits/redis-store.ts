import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Redis } from '../platform/platform.ts';
import { Blocks } from './blocks.ts';
import type { Charge, ChargeSet, Holder, Kind } from './charge.ts';
import { renewScript, settleScript, spendScript, takeScript } from './scripts.ts';

/** An instance that is silent for so long has died, and what it held is given back, milliseconds. */
const lease = 30_000;
const renewEvery = 10_000;
/** Leases renewed with one command. */
const renewedAtOnce = 500;

/** Corrections kept until Redis is back; beyond, the oldest are dropped. */
const mostOwed = 20_000;

/** How often a request waits for blocks that others ask for before it asks for itself alone. */
const mostWaits = 3;

/** Caller of a probe, and how long what it takes is held, milliseconds. */
const probed = 'probe:probe';
const probeLease = 2000;

const kinds: Readonly<Record<Kind, 'w' | 'c' | 'b'>> = { requests: 'w', tokens: 'w', concurrency: 'c', budget: 'b' };

/** A failure has been noted where it happened. */
const ignored = (): void => undefined;

/** 0 has Redis take its own time; tests pass another. */
const redisTime = (): number => 0;

/**
 * Counters in Redis, exact for all instances: one script, one round trip for all rules of a request. Everything has an end:
 * windows a window after their latest request, budgets a day after theirs, slots and reservations 30 s after the last sign
 * of life of the instance that holds them.
 */
export class RedisStore implements Holder {
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #now: () => number;
  /** What is held under leases. */
  readonly #leased = new Set<ChargeSet>();
  /** Corrections that Redis has not confirmed; of blocks that have ended, when each was last used. */
  readonly #owed = new Map<ChargeSet, readonly number[] | null>();
  readonly #blocks: Blocks;
  #timer: Timer | null = null;
  #isClosed = false;
  /** Called when something could not be settled, which is owed until `recover`. */
  failed: (error: unknown, like: string | undefined) => void = () => undefined;

  constructor(redis: Redis, clock: Clock, now: () => number = redisTime) {
    this.#redis = redis;
    this.#clock = clock;
    this.#now = now;
    this.#blocks = new Blocks(clock, (charges, lastUses) => this.#settle({ id: '', charges, holder: null }, lastUses).catch(ignored));
  }

  /** Decides by the blocks in hand (`rate_limit.redis_blocks`). @returns null where Redis has to be asked. */
  draw(set: ChargeSet, isNew = true): boolean | null {
    const taken = this.#blocks.draw(set, isNew);
    if (taken === true) set.holder = this;
    return taken;
  }

  /**
   * @returns whether all rules had room and have counted.
   * @throws when Redis cannot be reached. If it counted after all, that is taken back when its answer arrives.
   */
  async take(set: ChargeSet): Promise<boolean> {
    let pending = this.#blocks.pending(set);
    for (let waits = 0; pending !== null && waits < mostWaits; waits++) {
      await pending;
      const known = this.draw(set, false);
      if (known !== null) return known;
      pending = this.#blocks.pending(set);
    }
    const wishes = pending === null ? this.#blocks.wishes(set) : null;
    const answer = this.#ask(set, wishes);
    if (wishes !== null) this.#blocks.ask(set, answer);
    return answer;
  }

  /** @param wishes how much more of each charge to take for requests to come, where there is room for it. */
  async #ask(set: ChargeSet, wishes: readonly number[] | null): Promise<boolean> {
    const { id, charges } = set;
    const keys: string[] = [];
    const args = [String(this.#now()), id, String(lease)];
    for (let at = 0; at < charges.length; at++) {
      const { counter: { rule, key, until }, amount } = charges[at] as Charge;
      keys.push(keyOf(key));
      args.push(kinds[rule.kind], String(rule.limit), String(rule.window || until), String(amount), rule.observe ? '1' : '0', String(wishes?.[at] ?? 0));
    }
    const reply = (await this.#redis.run(takeScript, keys, args, (late) => this.#undo(id, charges, late as string[]))) as string[];
    if (!understand(charges, reply)) {
      this.#blocks.refused(set);
      return false;
    }
    if (wishes !== null) this.#blocks.granted(set, charges.map((_, nth) => grantedIn(reply, nth)));
    set.holder = this;
    if (charges.some(isLeased)) this.#lease(set);
    return true;
  }

  settle(set: ChargeSet): void {
    this.#leased.delete(set);
    set.holder = null;
    if (this.#blocks.settle(set)) return;
    if (set.charges.some(isOpen)) this.#settle(set).catch(ignored);
  }

  /** Delivers what is owed. */
  async recover(): Promise<void> {
    const owed = [...this.#owed];
    this.#owed.clear();
    await Promise.all([this.#renew(), ...owed.map(([set, lastUses]) => this.#settle(set, lastUses))]);
  }

  /** Adds what was spent while Redis could not be reached. @throws when it still cannot. */
  async spend(key: string, spent: number, until: number): Promise<void> {
    await this.#redis.run(spendScript, [keyOf(key)], [String(this.#now()), String(spent), String(until)]);
  }

  /**
   * Does all that a request needs, for a caller that there is not: another user, a replica, a Redis without memory or a cluster
   * with a hole answers a PING, too. Every script is known afterwards, since one that Redis does not know takes two round trips,
   * and a later command could overtake it.
   * @param like a counter; its caller's server is asked.
   * @throws when something fails.
   */
  async probe(like = probed): Promise<void> {
    const keys = (['w', 'c', 'b'] as const).map((kind) => keyOf(`probe.${kind}:${callerOf(like)}`));
    const now = String(this.#now());
    const id = randomUUID();
    const until = String(this.#clock.now() + probeLease);
    await this.#redis.run(takeScript, keys, [now, id, String(probeLease), ...['w', 'c', 'b'].flatMap((kind) => [kind, '1', kind === 'b' ? until : String(probeLease), '1', '1', '0'])]);
    await this.#redis.run(renewScript, keys.slice(1), [now, String(probeLease), 'c', id, '1', until, 'b', id, '1', until]);
    await this.#redis.run(spendScript, keys.slice(2), [now, '0', until]);
    await this.#redis.run(settleScript, keys, [now, id, ...['w', 'c', 'b'].flatMap((kind) => [kind, kind === 'b' ? until : String(probeLease), '0', '1', '0', '0', '-1'])]);
  }

  /** Waits until Redis has all that was sent. The connection is closed by its owner. What is held from then on ends with its lease. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#blocks.close();
    this.#leased.clear();
    await this.recover();
    await this.probe().catch(() => undefined);
  }

  /** @param lastUses the charges are blocks that have ended, and were last used then, monotonic milliseconds. */
  async #settle(set: ChargeSet, lastUses: readonly number[] | null = null): Promise<void> {
    const open = lastUses === null ? set.charges.filter(isOpen) : set.charges;
    const args = [String(this.#now()), set.id];
    const now = this.#clock.monotonic();
    for (const [at, { counter: { rule, until }, amount, actual, place }] of open.entries()) {
      args.push(kinds[rule.kind], String(rule.window || until), String(place), String(amount), String(actual), rule.kind === 'tokens' ? '1' : '0', String(lastUses === null ? -1 : now - (lastUses[at] as number)));
    }
    try {
      await this.#redis.run(settleScript, open.map(({ counter }) => keyOf(counter.key)), args, () => this.#owed.delete(set));
    } catch (error) {
      this.#owe(set, lastUses);
      this.failed(error, open[0]?.counter.key);
    }
  }

  #owe(set: ChargeSet, lastUses: readonly number[] | null): void {
    this.#owed.set(set, lastUses);
    for (const oldest of this.#owed.keys()) {
      if (this.#owed.size <= mostOwed) return;
      this.#owed.delete(oldest);
    }
  }

  /** The answer came too late: the request has been decided without it. */
  #undo(id: string, charges: readonly Charge[], reply: readonly string[]): void {
    const late = charges.map((charge, nth) => ({ ...charge, amount: charge.amount + grantedIn(reply, nth), actual: 0 }));
    if (understand(late, reply)) this.#settle({ id, charges: late, holder: null }).catch(ignored);
  }

  #lease(set: ChargeSet): void {
    if (this.#isClosed) return;
    this.#leased.add(set);
    if (this.#timer !== null) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      return this.#renew();
    }, renewEvery);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    const held = [...this.#leased].flatMap(({ id, charges }) => charges.filter(isLeased).map((charge) => ({ id, charge })));
    const callers = [...Map.groupBy(held, ({ charge }) => callerOf(charge.counter.key)).values()];
    const batches = callers.flatMap((all) => Array.from({ length: Math.ceil(all.length / renewedAtOnce) }, (_, at) => all.slice(at * renewedAtOnce, (at + 1) * renewedAtOnce)));
    // All are sent before anything else: a lease that is renewed behind its settlement would be taken anew.
    await Promise.all(batches.map((some) => {
      const args = [String(this.#now()), String(lease)];
      for (const { id, charge: { counter, amount } } of some) args.push(kinds[counter.rule.kind], id, String(amount), String(counter.until));
      return this.#redis.run(renewScript, some.map(({ charge }) => keyOf(charge.counter.key)), args).catch(() => undefined);
    }));
    const [one] = this.#leased;
    if (one !== undefined) this.#lease(one);
  }
}

/** What comes behind the name of the rule. */
const callerOf = (key: string): string => key.slice(key.indexOf(':') + 1);

/** The caller is the hash tag, so that all counters of a request are in one slot of a cluster. */
function keyOf(key: string): string {
  const caller = callerOf(key);
  const rule = key.slice(0, key.length - caller.length);
  return `heimdall:limit:${rule}{${/[{}%]/.test(caller) ? caller.replaceAll(/[{}%]/g, encodeURIComponent) : caller}}`;
}

const isLeased = ({ counter: { rule } }: Charge): boolean => rule.kind === 'concurrency' || rule.kind === 'budget';

/** A request that was counted with its actual amount needs no correction. */
const isOpen = (charge: Charge): boolean => isLeased(charge) || charge.counter.rule.kind === 'tokens' || charge.actual !== charge.amount;

/** Fields of the script's answer for each charge; the last is what was granted beyond its amount. */
const replied = 6;
const grantedIn = (reply: readonly string[], nth: number): number => Number(reply[replied * (nth + 1)]);

/** Reads the script's answer into the charges. @returns whether it counted. */
function understand(charges: readonly Charge[], reply: readonly string[]): boolean {
  for (const [nth, charge] of charges.entries()) {
    const at = replied * nth + 1;
    const wait = Number(reply[at + 2]);
    charge.limit = charge.counter.rule.limit;
    charge.used = Number(reply[at]);
    charge.fits = reply[at + 1] === '1';
    charge.wait = wait === -1 ? Infinity : wait;
    charge.reset = Number(reply[at + 3]);
    charge.place = Number(reply[at + 4]);
  }
  return reply[0] === '1';
}
