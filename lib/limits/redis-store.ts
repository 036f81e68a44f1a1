import type { Clock, Timer } from '../../types/clock.d.ts';
import type { Redis } from '../platform/platform.ts';
import { Ask, Taking, type Holder, type Kind } from './rule.ts';
import { renewScript, settleScript, spendScript, takeScript } from './scripts.ts';

/** After this an instance that is not heard of has died and gives back what it held, milliseconds. */
const lease = 30_000;
const renewEvery = 10_000;
/** Leases renewed with one command. */
const renewedAtOnce = 500;

/** Corrections that could not be delivered and wait for Redis to come back; older ones go first. */
const mostOwed = 20_000;

const kinds: Readonly<Record<Kind, 'w' | 'c' | 'b'>> = { requests: 'w', tokens: 'w', concurrency: 'c', budget: 'b' };

/** Where Redis takes its own time; tests say another. */
const redisTime = (): number => 0;

/**
 * Counters in Redis, exact for all instances: one script, one round trip for all rules of a request. Everything has an end:
 * windows a window after their latest request, budgets a day after theirs, slots and reservations 30 s after the instance
 * that holds them was heard of last.
 */
export class RedisStore implements Holder {
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #now: () => number;
  /** What is held under leases. */
  readonly #leased = new Set<Taking>();
  readonly #owed = new Set<Taking>();
  #timer: Timer | null = null;

  constructor(redis: Redis, clock: Clock, now: () => number = redisTime) {
    this.#redis = redis;
    this.#clock = clock;
    this.#now = now;
  }

  /**
   * @returns whether all rules had room and have counted.
   * @throws when Redis cannot be asked; what it counted after all is taken back as soon as it says so.
   */
  async take(taking: Taking): Promise<boolean> {
    const { id, asks } = taking;
    const keys: string[] = [];
    const args = [String(this.#now()), id, String(lease)];
    for (const { rule, key, amount, until } of asks) {
      keys.push(keyOf(key));
      args.push(kinds[rule.kind], String(rule.limit), String(rule.window || until), String(amount), rule.observe ? '1' : '0');
    }
    const reply = (await this.#redis.run(takeScript, keys, args, (late) => this.#undo(id, asks, late as string[]))) as string[];
    if (!understand(taking, reply)) return false;
    taking.holder = this;
    if (asks.some(isLeased)) this.#lease(taking);
    return true;
  }

  settle(taking: Taking): void {
    this.#leased.delete(taking);
    taking.holder = null;
    if (taking.asks.some(isOpen)) void this.#settle(taking);
  }

  /** Delivers what is owed. */
  async recover(): Promise<void> {
    const owed = [...this.#owed];
    this.#owed.clear();
    await Promise.all([this.#renew(), ...owed.map((taking) => this.#settle(taking))]);
  }

  /** Adds what was spent while Redis could not be asked. @throws when it still cannot. */
  async spend(key: string, spent: number, until: number): Promise<void> {
    await this.#redis.run(spendScript, [keyOf(key)], [String(this.#now()), String(spent), String(until)]);
  }

  /**
   * Writes something: a replica and a Redis without memory answer a PING, too. Loads the scripts: one that Redis does not know
   * takes two turns, in which a later one could overtake it.
   * @throws when that fails.
   */
  async probe(): Promise<void> {
    await Promise.all([takeScript, settleScript, renewScript, spendScript].map(({ source }) => this.#redis.send('SCRIPT', 'LOAD', source)));
    await this.spend('probe', 0, 0);
  }

  /** Waits until Redis has all that was sent; the connection belongs to who made it. */
  async close(): Promise<void> {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#leased.clear();
    await this.recover();
    await this.probe().catch(() => undefined);
  }

  async #settle(taking: Taking): Promise<void> {
    const open = taking.asks.filter(isOpen);
    const args = [String(this.#now()), taking.id];
    for (const { rule, amount, actual, place, until } of open) {
      args.push(kinds[rule.kind], String(rule.window || until), String(place), String(amount), String(actual), rule.kind === 'tokens' ? '1' : '0');
    }
    try {
      await this.#redis.run(settleScript, open.map(({ key }) => keyOf(key)), args, () => this.#owed.delete(taking));
    } catch {
      this.#owe(taking);
    }
  }

  #owe(taking: Taking): void {
    this.#owed.add(taking);
    for (const oldest of this.#owed) {
      if (this.#owed.size <= mostOwed) return;
      this.#owed.delete(oldest);
    }
  }

  /** Nobody waited for it any more, and somebody else has decided. */
  #undo(id: string, asks: readonly Ask[], reply: readonly string[]): void {
    const taken = new Taking(id, asks.map(({ account, amount }) => new Ask(account, amount)));
    if (!understand(taken, reply)) return;
    for (const ask of taken.asks) ask.actual = 0;
    void this.#settle(taken);
  }

  #lease(taking: Taking): void {
    this.#leased.add(taking);
    if (this.#timer !== null) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      void this.#renew();
    }, renewEvery);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    const held = [...this.#leased].flatMap(({ id, asks }) => asks.filter(isLeased).map((ask) => ({ id, ask })));
    for (let at = 0; at < held.length; at += renewedAtOnce) {
      const some = held.slice(at, at + renewedAtOnce);
      const args = [String(this.#now()), String(lease)];
      for (const { id, ask } of some) args.push(kinds[ask.rule.kind], id, String(ask.amount), String(ask.until));
      await this.#redis.run(renewScript, some.map(({ ask }) => keyOf(ask.key)), args).catch(() => undefined);
    }
    const [one] = this.#leased;
    if (one !== undefined) this.#lease(one);
  }
}

const keyOf = (key: string): string => `heimdall:limit:${key}`;

const isLeased = ({ rule }: Ask): boolean => rule.kind === 'concurrency' || rule.kind === 'budget';

/** What counts at once and as it was asked needs no correction. */
const isOpen = (ask: Ask): boolean => isLeased(ask) || ask.rule.kind === 'tokens' || ask.actual !== ask.amount;

/** Reads the script's answer into the asks. @returns whether it counted. */
function understand({ asks }: Taking, reply: readonly string[]): boolean {
  for (const [nth, ask] of asks.entries()) {
    const at = 5 * nth + 1;
    const wait = Number(reply[at + 2]);
    ask.limit = ask.rule.limit;
    ask.used = Number(reply[at]);
    ask.fits = reply[at + 1] === '1';
    ask.wait = wait === -1 ? Infinity : wait;
    ask.reset = Number(reply[at + 3]);
    ask.place = Number(reply[at + 4]);
  }
  return reply[0] === '1';
}
