import type { CircuitBreakerConfig } from '../../types/config.d.ts';

/** A pause that a target asks for. */
export interface Rest {
  /** Milliseconds. */
  readonly duration: number;
  /** The target is overloaded: after the pause a few requests try it first. */
  readonly overloaded: boolean;
  /** Of all its models, not only of the one that was asked for. */
  readonly whole: boolean;
}

/**
 * `up`: closed, requests are admitted. `resting`: the target asked for a pause. `open`: the target failed too often, or its
 * probes fail. `probing`: half-open, `inHand` requests try the target. `overloaded`: it has said so. Times are monotonic milliseconds.
 */
export type BreakerState =
  | { readonly kind: 'up'; failures: number; since: number }
  | { readonly kind: 'resting'; readonly until: number; readonly overloaded: boolean }
  | { readonly kind: 'open'; readonly until: number; readonly by: 'traffic' | 'probes' }
  | { readonly kind: 'probing'; inHand: number; passed: number; readonly overloaded: boolean };

/** What the end of an admitted request says about the target. `neutral`: nothing, as when the client left. */
export type AttemptResult = 'ok' | 'fail' | 'neutral';

/**
 * What a breaker tells those of the same target in other threads: a result that counts, or its state with its duration in
 * milliseconds. `trying`: its requests try the target, and so long the others wait for what they find.
 */
export type BreakerNews =
  | { readonly kind: 'ok' | 'fail' | 'up' }
  | { readonly kind: 'trying'; readonly duration: number }
  | { readonly kind: 'resting'; readonly duration: number; readonly overloaded: boolean }
  | { readonly kind: 'open'; readonly duration: number };

/** After a pause for overload, how long a request waits that is not among the first, milliseconds. */
const busyWait = 1000;

/** What {@link Breaker.enter} returns when it does not admit a request. */
export const rejected = -1;

/**
 * The circuit breaker of one target (of a target with our own credential: of each of its models), fed by traffic and probes.
 * Counting and half-open follow gobreaker: `failureThreshold` failures in a row open it. After `timeout` it admits up to
 * `maxRequests` at a time; as many successes close it, one failure opens it again. Results of requests that an older state
 * admitted are ignored.
 */
export class Breaker {
  #config: CircuitBreakerConfig;
  readonly #changed: (state: BreakerState['kind']) => void;
  readonly #tell: ((news: BreakerNews) => void) | null;
  /** Only the breaker itself writes it. */
  state: BreakerState;
  #generation = 0;
  #missedProbes = 0;

  /** @param changed is told every change of kind. @param tell tells the other threads; null where there is one. */
  constructor(config: CircuitBreakerConfig, now: number, changed: (state: BreakerState['kind']) => void, tell: ((news: BreakerNews) => void) | null = null) {
    this.#config = config;
    this.#changed = changed;
    this.#tell = tell;
    this.state = { kind: 'up', failures: 0, since: now };
  }

  /** Takes other thresholds; its state stays. */
  configure(config: CircuitBreakerConfig): void {
    this.#config = config;
  }

  /** When it admits a request again, monotonic milliseconds; 0 when it admits one now. */
  closedUntil(now: number): number {
    const state = this.state;
    switch (state.kind) {
      case 'up':
        return 0;
      case 'resting':
      case 'open':
        return state.until > now ? state.until : 0;
      case 'probing':
        return state.inHand < this.#config.maxRequests ? 0 : now + (state.overloaded ? busyWait : this.#config.timeout);
    }
  }

  /** Admits a request. @returns the generation for {@link leave}, or {@link rejected}. */
  enter(now: number): number {
    const state = this.state;
    if (this.closedUntil(now) > 0) return rejected;
    if (state.kind === 'open') this.#tell?.({ kind: 'trying', duration: this.#config.timeout });
    else if (state.kind === 'resting' && state.overloaded) this.#tell?.({ kind: 'trying', duration: busyWait });
    if (state.kind === 'resting') this.#become(state.overloaded ? { kind: 'probing', inHand: 1, passed: 0, overloaded: true } : { kind: 'up', failures: 0, since: now });
    else if (state.kind === 'open') this.#become({ kind: 'probing', inHand: 1, passed: 0, overloaded: false });
    else if (state.kind === 'probing') state.inHand++;
    return this.#generation;
  }

  /** Counts the result of an admitted request. @param generation from {@link enter}; a result of an older state is ignored. */
  leave(generation: number, result: AttemptResult, now: number): void {
    const state = this.state;
    if (generation !== this.#generation) return;
    switch (state.kind) {
      case 'up':
        return this.#count(state, result, now);
      case 'probing':
        state.inHand = Math.max(0, state.inHand - 1);
        if (result === 'fail') this.#open(now);
        else if (result === 'ok' && ++state.passed >= this.#config.maxRequests) {
          this.#tell?.({ kind: 'up' });
          this.#become({ kind: 'up', failures: 0, since: now });
        }
        return;
      case 'open':
      case 'resting':
        return;
    }
  }

  /** Counts an answer that broke off after it had been counted as `ok`. */
  countBroken(now: number): void {
    if (this.state.kind === 'up') this.#count(this.state, 'fail', now);
  }

  /**
   * The target asked for a pause. A longer pause that it has asked for before still holds.
   * @param until monotonic milliseconds, as `now`. @param overloaded after the pause the breaker is half-open.
   */
  rest(until: number, overloaded = false, now = 0): void {
    this.#tell?.({ kind: 'resting', duration: until - now, overloaded });
    this.#rest(until, overloaded);
  }

  /** Takes what the same target has shown in another thread. */
  hear(news: BreakerNews, now: number): void {
    const { state } = this;
    // Misses of probes are counted in one thread, which tells the others of each probe.
    if (state.kind === 'open' && state.by === 'probes') return;
    switch (news.kind) {
      case 'ok':
      case 'fail':
        if (state.kind === 'up') this.#count(state, news.kind, now, null);
        return;
      case 'up':
        if (state.kind !== 'up') this.#become({ kind: 'up', failures: 0, since: now });
        return;
      case 'trying':
        // Requests of this thread that try the target count on: two threads may begin in the same moment, and an answer may take longer than others wait.
        if (state.kind === 'resting' || state.kind === 'open') this.#become({ ...state, until: Math.max(state.until, now + news.duration) });
        return;
      case 'resting':
        return this.#rest(now + news.duration, news.overloaded);
      case 'open':
        if (state.kind !== 'open' || state.until < now + news.duration) this.#become({ kind: 'open', until: now + news.duration, by: 'traffic' });
    }
  }

  /** What {@link hear} needs in a breaker that is new to come to the same state, but for what probes have shown. */
  known(now: number): readonly BreakerNews[] {
    const { state } = this;
    switch (state.kind) {
      case 'up':
        return Array.from({ length: state.failures }, () => ({ kind: 'fail' }));
      case 'resting':
        return [{ kind: 'resting', duration: Math.max(0, state.until - now), overloaded: state.overloaded }];
      case 'open':
        return state.by === 'traffic' ? [{ kind: 'open', duration: Math.max(0, state.until - now) }] : [];
      case 'probing':
        // Others try it: they tell what they find.
        return [{ kind: 'open', duration: state.overloaded ? busyWait : this.#config.timeout }];
    }
  }

  /** Misses of probes in a row. */
  get missedProbes(): number {
    return this.#missedProbes;
  }

  #rest(until: number, overloaded: boolean): void {
    const { state } = this;
    switch (state.kind) {
      case 'up':
      case 'probing':
        return this.#become({ kind: 'resting', until, overloaded });
      case 'resting':
        return this.#become({ kind: 'resting', until: Math.max(until, state.until), overloaded: overloaded || state.overloaded });
      case 'open':
        if (until > state.until) this.#become({ ...state, until });
    }
  }

  /** It will admit requests soon: it rests, or it was overloaded a moment ago. */
  get isPausing(): boolean {
    return this.state.kind === 'resting' || (this.state.kind === 'probing' && this.state.overloaded);
  }

  /**
   * Counts a probe: `threshold` misses in a row open the breaker, one answer closes what misses opened. Only traffic closes
   * what traffic opened.
   */
  probe(alive: boolean, threshold: number): void {
    this.#missedProbes = alive ? 0 : this.#missedProbes + 1;
    const state = this.state;
    if (alive && state.kind === 'open' && state.by === 'probes') this.#become({ kind: 'up', failures: 0, since: 0 });
    else if (!alive && this.#missedProbes >= threshold && state.kind === 'up') this.#become({ kind: 'open', until: Number.POSITIVE_INFINITY, by: 'probes' });
  }

  #count(state: BreakerState & { kind: 'up' }, result: AttemptResult, now: number, tell = this.#tell): void {
    if (result === 'neutral') return;
    if (tell !== null && (result === 'fail' || state.failures > 0)) tell({ kind: result });
    const { interval, failureThreshold } = this.#config;
    if (interval > 0 && now - state.since >= interval) {
      state.failures = 0;
      state.since = now;
    }
    state.failures = result === 'ok' ? 0 : state.failures + 1;
    if (state.failures >= failureThreshold) this.#open(now, tell);
  }

  #open(now: number, tell = this.#tell): void {
    tell?.({ kind: 'open', duration: this.#config.timeout });
    this.#become({ kind: 'open', until: now + this.#config.timeout, by: 'traffic' });
  }

  #become(state: BreakerState): void {
    const changed = state.kind !== this.state.kind;
    this.state = state;
    this.#generation++;
    if (changed) this.#changed(state.kind);
  }
}

/** Models of one target whose breakers are kept: a caller can name any number of models. */
const modelsRemembered = 1000;

/** The breakers of one target. */
export class TargetState {
  /** Fed by probes; of a target that is asked with the caller's credential by traffic too. */
  readonly base: Breaker;
  /** Its probes alone have opened it. */
  isDown = false;
  readonly #perModel: boolean;
  #config: CircuitBreakerConfig;
  readonly #byModel = new Map<string, Breaker>();
  readonly #make: (model: string) => Breaker;

  /**
   * @param perModel one breaker for each model: failures of one model say nothing about another. Otherwise a model has a breaker
   *   of its own only while its provider is overloaded.
   * @param changed is told every change of kind. @param tell tells the other threads; null where there is one.
   */
  constructor(config: CircuitBreakerConfig, now: () => number, perModel: boolean, changed: (state: BreakerState['kind'], model: string | null) => void, tell: ((model: string | null, news: BreakerNews) => void) | null = null) {
    const tellOf = (model: string | null): ((news: BreakerNews) => void) | null => tell && ((news) => tell(model, news));
    this.base = new Breaker(config, now(), (kind) => {
      const { state } = this.base;
      this.isDown = state.kind === 'open' && state.by === 'probes';
      changed(kind, null);
    }, tellOf(null));
    this.#perModel = perModel;
    this.#config = config;
    this.#make = (model) => new Breaker(this.#config, now(), (kind) => {
      if (kind === 'up' && !perModel) this.#byModel.delete(model);
      changed(kind, model);
    }, tellOf(model));
  }

  /** Takes what the target has shown in another thread. @param model that of the breaker; null for the target's own. */
  hear(model: string | null, news: BreakerNews, now: number): void {
    const isGood = news.kind === 'ok' || news.kind === 'up';
    const breaker = model === null ? this.base : isGood ? this.#byModel.get(model) : this.#of(model);
    breaker?.hear(news, now);
  }

  /** What {@link hear} needs in another thread that begins, by model. */
  known(now: number): readonly (readonly [model: string | null, news: BreakerNews])[] {
    return [[null, this.base] as const, ...this.#byModel].flatMap(([model, breaker]) => breaker.known(now).map((news) => [model, news] as const));
  }

  /** Takes other thresholds; the states stay. */
  configure(config: CircuitBreakerConfig): void {
    this.#config = config;
    for (const breaker of [this.base, ...this.#byModel.values()]) breaker.configure(config);
  }

  /** Whether it depends on the model which breaker a request has to pass. */
  get asksForModel(): boolean {
    return this.#perModel || this.#byModel.size > 0;
  }

  /** The breaker that a request for a model has to pass. */
  breaker(model: string | null): Breaker {
    if (model === null || (!this.#perModel && this.#byModel.size === 0)) return this.base;
    if (this.#perModel) return this.#of(model);
    return this.base.state.kind === 'up' ? (this.#byModel.get(model) ?? this.base) : this.base;
  }

  /** Pauses a model, or with `rest.whole` all models of a target without breakers for each. */
  rest(model: string | null, now: number, { duration, overloaded, whole }: Rest): void {
    const breaker = model === null || (whole && !this.#perModel) ? this.base : this.#of(model);
    breaker.rest(now + duration, overloaded, now);
  }

  #of(model: string): Breaker {
    const known = this.#byModel.get(model);
    if (known) return known;
    const oldest = this.#byModel.size >= modelsRemembered ? this.#byModel.keys().next().value : undefined;
    if (oldest !== undefined) this.#byModel.delete(oldest);
    const made = this.#make(model);
    this.#byModel.set(model, made);
    return made;
  }

  /** Every model that has a breaker of its own. */
  models(): Iterable<readonly [model: string, breaker: Breaker]> {
    return this.#byModel;
  }

  /** The worst state of its breakers, for metrics. */
  worst(): BreakerState['kind'] {
    const order = ['up', 'resting', 'probing', 'open'] as const;
    const kinds = [this.base, ...this.#byModel.values()].map(({ state }) => order.indexOf(state.kind));
    return order[Math.max(...kinds)] as BreakerState['kind'];
  }
}
