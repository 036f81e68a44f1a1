import type { InterruptedRequest, QueueControl, QueueView } from '../../types/queue.d.ts';
import { type Context, type Core, fairnessKeyOf } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { Forecast, type Load } from './forecast.ts';
import { Keep } from './keep.ts';
import type { Lane, Lanes } from './lanes.ts';
import { Line } from './line.ts';
import { Sockets } from './sockets.ts';
import { StateFile, type Snapshot } from './state.ts';
import { gauge, Tally, type Reason, type Series } from './tally.ts';
import { Turn, type TurnKeeper } from './turn.ts';

/** How long a free slot is kept for a caller who has just given one back: twice as long as it is held, within these, milliseconds. */
const shortestKeep = 100;
const longestKeep = 1000;

const anybody = (): boolean => true;

/**
 * Admission of model requests: a slot now, a bounded wait in a fair line, or a refusal that says when to come back. One slot
 * is one request from here to its end.
 */
export class Queue implements QueueControl, TurnKeeper, Load {
  readonly #core: Core;
  readonly #lanes: Lanes;
  readonly #verified: { has(token: string): boolean };
  readonly #enabled: boolean;
  readonly #places: number;
  /** Longest wait, milliseconds. */
  readonly #patience: number;
  readonly #forecast: Forecast;
  readonly #line = new Line<Turn>();
  readonly #tally = new Tally();
  readonly #keep: Keep;
  readonly #sockets: Sockets;
  readonly #file: StateFile | null;
  #opened = false;
  #capacity: number;
  #active = 0;
  /** Lanes with something running. */
  #activeLanes = 0;
  #lastStart = 0;

  /** @param verified the tokens that NewAPI has accepted, by their identities. */
  constructor(core: Core, lanes: Lanes, verified: { has(token: string): boolean }) {
    const { queue, llm, middleware, routes } = core.config;
    this.#core = core;
    this.#lanes = lanes;
    this.#verified = verified;
    this.#enabled = queue.enabled && (middleware === null || middleware.includes('queue') || routes.some((route) => route.middleware.includes('queue')));
    this.#capacity = queue.concurrency;
    this.#places = queue.initialSize;
    this.#patience = Math.min(queue.maxWait, llm.timeouts.total);
    this.#forecast = new Forecast(this, this.#places, this.#patience);
    this.#keep = new Keep(core.clock, (now) => this.#dispatch(now));
    this.#sockets = new Sockets(core, this.#tally);
    this.#file = this.#enabled && queue.statePath !== null ? new StateFile(core, queue.statePath, () => this.#save()) : null;
  }

  /**
   * Lets a model request go on when it has its turn, or answers it.
   * @param next goes on with it; called at once when a slot is free.
   */
  enter(context: Context, next: () => void): void {
    if (!this.#opened) this.open();
    const lane = this.#lanes.of(context.fairnessKey);
    const now = this.#core.clock.now();
    if (!this.#isFreeFor(lane)) {
      if (!this.#core.observe) return this.#wait(context, lane, next, now);
      const beyond = this.#active - this.#capacity;
      if (beyond >= this.#places || this.#forecast.inVain(beyond + 1)) context.refuse('queue', new HeimdallError('queue_full'));
    }
    const turn = new Turn(this, context, lane, next, now);
    context.slot = turn;
    context.queuePosition = 0;
    this.#tally.admitted++;
    this.#start(turn, now);
    next();
  }

  /** Counts a WebSocket until its end, or answers it. */
  enterSocket(context: Context, next: () => void): void {
    this.#sockets.enter(context, next);
  }

  /** Reads what an earlier process left and begins to save; the first request does so itself. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    const saved = this.#file?.open() ?? null;
    if (saved === null) return;
    this.#capacity = saved.concurrency;
    this.#forecast.pace.restore(saved.serviceTime, saved.samples);
    this.#tally.restore(saved.counters);
  }

  view(): QueueView {
    this.open();
    const { mean } = this.#forecast.pace;
    return {
      enabled: this.#enabled,
      concurrency: this.#capacity,
      active: this.#active,
      places: this.#places,
      waiting: this.#line.size,
      lanes: this.#line.lanes,
      serviceTime: mean === null ? null : Math.round(mean * 10) / 10,
      websockets: { active: this.#sockets.active, limit: this.#sockets.limit },
    };
  }

  resize(concurrency: number): void {
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new HeimdallError('invalid_value', { field: 'concurrency', message: `concurrency: expected a whole number of at least 1, got ${JSON.stringify(concurrency)}. Example: 200` });
    }
    this.open();
    this.#capacity = concurrency;
    this.#dispatch(this.#core.clock.now());
    void this.#file?.save();
  }

  interrupted(): readonly InterruptedRequest[] {
    this.open();
    return this.#file?.interrupted ?? [];
  }

  /** Milliseconds a request is expected to hold what it has taken. */
  get hold(): number {
    return this.#forecast.hold(this.#core.clock.now());
  }

  get capacity(): number {
    return this.#capacity;
  }

  busyFor(now: number): number {
    return this.#active >= this.#capacity ? now - this.#lastStart : 0;
  }

  /** Metrics, none with labels that grow. */
  series(): Series[] {
    return [
      gauge('queue_waiting', () => this.#line.size),
      gauge('queue_active', () => this.#active),
      gauge('websockets_active', () => this.#sockets.active),
      this.#tally.rejectedSeries(),
      this.#tally.waitSeries(),
    ];
  }

  /** The gate shuts down: who has not begun is told, while there is time to go elsewhere. */
  drain(): void {
    for (const turn of [...this.#line]) this.#turnAway(turn, 'draining', new HeimdallError('shutting_down', { retryAfter: 1 }));
  }

  async close(): Promise<void> {
    this.drain();
    this.#keep.close();
    await this.#file?.close();
  }

  leave(turn: Turn): void {
    this.#remove(turn);
    this.#tally.left++;
  }

  expire(turn: Turn): void {
    this.#turnAway(turn, 'timeout', this.#forecast.timedOut(turn.lane, this.#core.clock.now()));
  }

  free(turn: Turn): void {
    const now = this.#core.clock.now();
    const { lane } = turn;
    turn.state = 'over';
    this.#forecast.pace.add(Math.max(0, now - turn.since));
    this.#active--;
    if (--lane.active === 0) this.#activeLanes--;
    if (this.#line.size === 0) return;
    this.#keepFor(lane, now);
    this.#dispatch(now);
  }

  #wait(context: Context, lane: Lane, next: () => void, now: number): void {
    const returning = this.#forecast.isExpected(lane, now);
    let position = this.#line.positionIn(lane);
    if (this.#core.draining) return this.#refuse(context, 'draining', new HeimdallError('shutting_down', { retryAfter: 1 }));
    const late = this.#forecast.inVain(position);
    if (late || this.#line.size >= this.#places) {
      const victim = this.#line.victimFor(lane, returning);
      if (late && !this.#forecast.makesTime(victim, lane, position)) return this.#refuse(context, 'deadline', this.#forecast.tooLate(lane, position, now));
      if (victim === null) return this.#refuse(context, 'full', this.#forecast.full(lane, now));
      this.#turnAway(victim, 'displaced', this.#forecast.full(victim.lane, now));
      position = this.#line.positionIn(lane);
    }
    const turn = new Turn(this, context, lane, next, now, returning);
    turn.deadline = now + this.#patience;
    context.slot = turn;
    context.exchange = turn;
    context.queuePosition = position;
    this.#line.push(turn);
  }

  #start(turn: Turn, now: number): void {
    const { lane } = turn;
    turn.state = 'running';
    turn.since = now;
    this.#lastStart = now;
    this.#active++;
    if (lane.active++ === 0) this.#activeLanes++;
    if (lane.keptUntil !== 0) this.#keep.delete(lane);
  }

  /** Gives free slots to those whose turn it is. */
  #dispatch(now: number): void {
    while (this.#line.size > 0) {
      const free = this.#capacity - this.#active;
      if (free <= 0) return;
      const turn = this.#line.take(free > this.#keep.size ? anybody : this.#isModest, this.#home);
      if (turn === null) return;
      const { context } = turn;
      const wait = Math.max(0, now - turn.since);
      context.exchange = null;
      context.queueWait = wait;
      this.#tally.admit(wait);
      this.#start(turn, now);
      try {
        turn.next();
      } catch (error) {
        this.#core.log.error({ requestId: context.id, error: describe(error) }, 'queue.failed');
        context.fail(new HeimdallError('internal_error', { cause: error }));
      }
    }
  }

  /** Slots are free beside a line only while they are kept from those who flood it. */
  #isFreeFor(lane: Lane): boolean {
    if (this.#active >= this.#capacity) return false;
    return this.#line.size === 0 || (lane.waiting === 0 && this.#isModest(lane));
  }

  /** Slots a lane may call its own while others want some, too. @param running lanes with something running. */
  #shareAmong(running: number): number {
    return this.#capacity / Math.max(1, running + this.#keep.size, this.#line.lanes);
  }

  /** False for a lane that has its share and asks for more than there is. */
  readonly #isModest = (lane: Lane): boolean => lane.active + lane.waiting <= this.#capacity || lane.active < this.#shareAmong(this.#activeLanes);

  /** A stranger's token that NewAPI has accepted by now has a lane of its own. */
  readonly #home = (turn: Turn): Lane => {
    const { lane, context } = turn;
    if (context.token === null || !lane.key.startsWith('address:') || !this.#verified.has(context.token.id)) return lane;
    return this.#lanes.of(fairnessKeyOf({ key: context.key, token: context.token, verified: true, ip: context.ip }));
  };

  /** With less than two slots a lane, a turn comes within one service time anyway. */
  #keepFor(lane: Lane, now: number): void {
    if (lane.waiting > 0 || lane.keptUntil !== 0) return;
    const share = this.#shareAmong(this.#activeLanes + (lane.active === 0 ? 1 : 0));
    if (share >= 2 && lane.active + 1 <= share) this.#keep.add(lane, now, Math.max(shortestKeep, Math.min(longestKeep, 2 * this.#forecast.pace.hold(0))));
  }

  #refuse(context: Context, reason: Reason, error: HeimdallError): void {
    this.#tally.rejected[reason]++;
    context.fail(error);
  }

  #turnAway(turn: Turn, reason: Reason, error: HeimdallError): void {
    this.#remove(turn);
    this.#refuse(turn.context, reason, error);
  }

  #remove(turn: Turn): void {
    this.#line.remove(turn);
    turn.state = 'over';
    turn.context.exchange = null;
    turn.context.queueWait = Math.max(0, this.#core.clock.now() - turn.since);
  }

  #save(): Snapshot {
    const { mean, samples } = this.#forecast.pace;
    const inHand: InterruptedRequest[] = [];
    for (const { id, time, slot, fairnessKey } of this.#core.inFlight) if (slot !== null) inHand.push({ id, time, fairnessKey });
    return { concurrency: this.#capacity, serviceTime: mean, samples, counters: this.#tally.save(), inHand };
  }
}
