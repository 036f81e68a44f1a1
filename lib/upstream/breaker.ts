import type { CircuitBreakerConfig } from '../../types/config.d.ts';

/**
 * What a target is expected to do. `resting`: it asked to be left alone. `open`: it failed too often, or its probes say it
 * is down. `probing`: half-open, `inHand` requests try it out.
 */
export type State =
  | { readonly kind: 'up'; failures: number; since: number }
  | { readonly kind: 'resting'; readonly until: number }
  | { readonly kind: 'open'; readonly until: number; readonly by: 'traffic' | 'probes' }
  | { readonly kind: 'probing'; inHand: number; passed: number };

/** How a request that was let in ended. `neither`: it says nothing about the target, such as a client that left. */
export type Result = 'ok' | 'fail' | 'neither';

/** What {@link Breaker.enter} gives when a request must go elsewhere. */
export const rejected = -1;

/**
 * One target's state (for targets with our own credential: one for each model), fed by traffic and probes. Counting and
 * half-open follow gobreaker: `failureThreshold` failures in a row open it, after `timeout` up to `maxRequests` at a time
 * try it out while the others are rejected, as many successes close it, one failure opens it again; results of an older
 * state are ignored.
 */
export class Breaker {
  readonly #config: CircuitBreakerConfig;
  readonly #changed: (state: State['kind']) => void;
  #state: State;
  #generation = 0;
  #missedProbes = 0;

  /** @param changed hears of every change of kind. */
  constructor(config: CircuitBreakerConfig, now: number, changed: (state: State['kind']) => void) {
    this.#config = config;
    this.#changed = changed;
    this.#state = { kind: 'up', failures: 0, since: now };
  }

  get state(): State {
    return this.#state;
  }

  /** When it may be asked again, Unix milliseconds; 0 when it may now. */
  closedUntil(now: number): number {
    const state = this.#state;
    switch (state.kind) {
      case 'up':
        return 0;
      case 'resting':
      case 'open':
        return state.until > now ? state.until : 0;
      case 'probing':
        return state.inHand < this.#config.maxRequests ? 0 : now + this.#config.timeout;
    }
  }

  /** Lets a request in, or gives {@link rejected}. @returns what {@link leave} wants back. */
  enter(now: number): number {
    const state = this.#state;
    if (this.closedUntil(now) > 0) return rejected;
    if (state.kind === 'resting') this.#become({ kind: 'up', failures: 0, since: now });
    else if (state.kind === 'open') this.#become({ kind: 'probing', inHand: 1, passed: 0 });
    else if (state.kind === 'probing') state.inHand++;
    return this.#generation;
  }

  /** @param generation from {@link enter}; a result of an older state is ignored. */
  leave(generation: number, result: Result, now: number): void {
    const state = this.#state;
    if (generation !== this.#generation) return;
    switch (state.kind) {
      case 'up':
        return this.#count(state, result, now);
      case 'probing':
        state.inHand = Math.max(0, state.inHand - 1);
        if (result === 'fail') this.#open(now);
        else if (result === 'ok' && ++state.passed >= this.#config.maxRequests) this.#become({ kind: 'up', failures: 0, since: now });
        return;
      case 'open':
      case 'resting':
        return;
    }
  }

  /** An answer that had been counted as good broke off. */
  lapse(now: number): void {
    if (this.#state.kind === 'up') this.#count(this.#state, 'fail', now);
  }

  /** The target asked to be left alone. A longer rest that it has asked for before still holds. */
  rest(until: number): void {
    const state = this.#state;
    const longest = state.kind === 'resting' || state.kind === 'open' ? Math.max(until, state.until) : until;
    if (state.kind !== 'open') this.#become({ kind: 'resting', until: longest });
    else if (longest > state.until) this.#become({ ...state, until: longest });
  }

  /**
   * A probe's finding, one more source of events: so many misses in a row open the state, one answer closes what misses
   * opened. What traffic has opened only traffic closes.
   */
  probe(alive: boolean, threshold: number): void {
    this.#missedProbes = alive ? 0 : this.#missedProbes + 1;
    const state = this.#state;
    if (alive && state.kind === 'open' && state.by === 'probes') this.#become({ kind: 'up', failures: 0, since: 0 });
    else if (!alive && this.#missedProbes >= threshold && state.kind === 'up') this.#become({ kind: 'open', until: Number.POSITIVE_INFINITY, by: 'probes' });
  }

  #count(state: State & { kind: 'up' }, result: Result, now: number): void {
    if (result === 'neither') return;
    const { interval, failureThreshold } = this.#config;
    if (interval > 0 && now - state.since >= interval) {
      state.failures = 0;
      state.since = now;
    }
    state.failures = result === 'ok' ? 0 : state.failures + 1;
    if (state.failures >= failureThreshold) this.#open(now);
  }

  #open(now: number): void {
    this.#become({ kind: 'open', until: now + this.#config.timeout, by: 'traffic' });
  }

  #become(state: State): void {
    const changed = state.kind !== this.#state.kind;
    this.#state = state;
    this.#generation++;
    if (changed) this.#changed(state.kind);
  }
}

/** Models of one target whose states are remembered; callers may name as many as they like. */
const modelsRemembered = 1000;

/** Where all that is known of one target's condition stands. */
export class TargetState {
  /** Fed by probes; for a target that is asked with the caller's credential by traffic too. */
  readonly base: Breaker;
  readonly #byModel: Map<string, Breaker> | null;
  readonly #make: (model: string) => Breaker;

  /**
   * @param perModel failures of one model say nothing about another.
   * @param changed hears of every change of kind.
   */
  constructor(config: CircuitBreakerConfig, now: () => number, perModel: boolean, changed: (state: State['kind'], model: string | null) => void) {
    this.base = new Breaker(config, now(), (kind) => changed(kind, null));
    this.#byModel = perModel ? new Map() : null;
    this.#make = (model) => new Breaker(config, now(), (kind) => changed(kind, model));
  }

  /** Probes alone call it down. */
  get isDown(): boolean {
    const { state } = this.base;
    return state.kind === 'open' && state.by === 'probes';
  }

  /** What a request for a model has to pass. */
  breaker(model: string | null): Breaker {
    if (this.#byModel === null || model === null) return this.base;
    const known = this.#byModel.get(model);
    if (known) return known;
    const oldest = this.#byModel.size >= modelsRemembered ? this.#byModel.keys().next().value : undefined;
    if (oldest !== undefined) this.#byModel.delete(oldest);
    const made = this.#make(model);
    this.#byModel.set(model, made);
    return made;
  }

  /** Every model with a state of its own. */
  models(): Iterable<readonly [model: string, breaker: Breaker]> {
    return this.#byModel ?? [];
  }

  /** The worst of its states, for metrics: what of it is closed to somebody. */
  worst(): State['kind'] {
    const order = ['up', 'resting', 'probing', 'open'] as const;
    const kinds = [this.base, ...(this.#byModel?.values() ?? [])].map(({ state }) => order.indexOf(state.kind));
    return order[Math.max(...kinds)] as State['kind'];
  }
}
