// Admission: which request runs now, which waits and which is refused, each caller within a share of its own.

import type { InterruptedRequest, QueueControl, QueueView } from '../../types/queue.d.ts';
import { type Context, type Core, type Exchange, fairnessKeyOf } from '../request/request.ts';
import { WEBSOCKET_SHARES } from '../config/config.ts';
import { describe, inBackground } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import { BodyBudget, CallerShares, type CallerShare, type Waiter } from './caller-share.ts';
import { FairQueue } from './fair-queue.ts';
import { gauge, QueueStats, type Reason, type Series } from './queue-stats.ts';
import { SlotReserve } from './slot-reserve.ts';
import { StateFile, type Snapshot } from './state-file.ts';
import { mostSamples, WaitEstimate, type Load } from './wait-estimate.ts';

export { BodyBudget } from './caller-share.ts';

/** A free slot stays reserved for its last caller twice the time that slots are held, within these bounds, milliseconds. */
const shortestReserve = 100;
const longestReserve = 1000;

/** Refused WebSockets come back spread over so many seconds: when one will close is unknown. */
const websocketSpread = 10;

const anyCaller = (): boolean => true;

/** What the owner of tickets does with them. */
interface TicketOwner {
  /** The client left before the request had a slot. */
  leave(ticket: Ticket): void;
  /** The request has waited as long as it may. */
  expire(ticket: Ticket): void;
}

/** A request's place in the queue, and then its slot. While the request waits, a client that leaves and the time limits reach it as they reach an exchange with an upstream. */
class Ticket implements Waiter, Exchange {
  share: CallerShare;
  older: Waiter | null = null;
  newer: Waiter | null = null;
  state: 'waiting' | 'running' | 'over' = 'waiting';
  /** Monotonic milliseconds since when it waits, then since when it runs. */
  since: number;
  /** Monotonic milliseconds by which it must run. */
  deadline = 0;
  readonly returning: boolean;
  readonly context: Context;
  /** Continues the request. */
  readonly next: () => void;
  readonly #owner: TicketOwner;

  constructor(owner: TicketOwner, context: Context, share: CallerShare, next: () => void, since: number, returning: boolean) {
    this.#owner = owner;
    this.context = context;
    this.share = share;
    this.next = next;
    this.since = since;
    this.returning = returning;
  }

  abort(): void {
    if (this.state === 'waiting') this.#owner.leave(this);
  }

  look(now: number): void {
    if (this.state === 'waiting' && now >= this.deadline) this.#owner.expire(this);
  }
}

/** An open WebSocket that is counted. */
interface OpenSocket {
  readonly share: CallerShare;
  /** Its route requires a credential. */
  readonly credential: boolean;
}

/**
 * Admission of model requests: a slot at once, a bounded wait in a fair queue, or a refusal that says when to come back. A
 * request holds its slot to its end.
 */
export class Queue implements QueueControl, TicketOwner, Load {
  readonly #core: Core;
  readonly #shares: CallerShares;
  readonly #verified: { has(token: string): boolean };
  #enabled: boolean;
  #places: number;
  /** Longest wait, milliseconds. */
  #maxWait: number;
  /** `queue.concurrency`, which a changed capacity may differ from. */
  #configured: number;
  readonly #estimate: WaitEstimate;
  readonly #queue = new FairQueue<Ticket>();
  readonly #stats = new QueueStats();
  readonly #reserve: SlotReserve;
  readonly #file: StateFile | null;
  #isDraining = false;
  #opened = false;
  #capacity: number;
  #active = 0;
  /** Callers with running requests. */
  #activeCallers = 0;
  #lastStart = 0;
  #websockets = 0;

  /** @param verified the tokens that NewAPI has accepted, by their identities. */
  constructor(core: Core, shares: CallerShares, verified: { has(token: string): boolean }) {
    const { queue, llm } = core.config;
    this.#core = core;
    this.#shares = shares;
    this.#verified = verified;
    this.#enabled = isOn(core.config);
    this.#capacity = this.#configured = queue.concurrency;
    this.#places = queue.initialSize;
    this.#maxWait = Math.min(queue.maxWait, llm.timeouts.total);
    this.#estimate = new WaitEstimate(this, this.#places, this.#maxWait);
    this.#reserve = new SlotReserve(core.clock, (now) => this.#dispatch(now));
    this.#file = this.#enabled && queue.statePath !== null ? new StateFile(core, queue.statePath, () => this.#save()) : null;
  }

  /**
   * Continues a model request when it has its slot, or answers it.
   * @param next continues it; called at once when a slot is free.
   */
  enter(context: Context, next: () => void): void {
    if (!this.#opened) this.open();
    const share = this.#shares.of(context.fairnessKey);
    const now = this.#core.clock.monotonic();
    // While requests wait, a free slot is one that is kept from the callers that flood the queue.
    const isFree = this.#active < this.#capacity && (this.#queue.size === 0 || (share.waiting === 0 && this.#isModest(share)));
    if (!isFree) {
      if (!this.#core.observe) return this.#wait(context, share, next, now);
      const beyond = this.#active - this.#capacity;
      if (beyond >= this.#places || this.#estimate.isTooLate(beyond + 1)) context.refuse('queue', new HeimdallError('queue_full'));
    }
    const ticket = new Ticket(this, context, share, next, now, false);
    context.slot = ticket;
    context.queuePosition = 0;
    this.#stats.admitted++;
    this.#start(ticket, now);
    next();
  }

  /**
   * Counts a WebSocket until its end, or answers it. They are counted apart from requests: they stay for hours and would take
   * every slot in the end. Those on routes without a credential count for their caller alone.
   */
  enterSocket(context: Context, next: () => void): void {
    const { credential } = context.route;
    const { websockets: limit } = this.#core.config.queue;
    const share = this.#shares.of(context.fairnessKey);
    const own = credential ? share.websockets : share.otherWebsockets;
    if (own >= Math.ceil(limit / WEBSOCKET_SHARES) || (credential && this.#websockets >= limit)) {
      const { rejected } = this.#stats;
      if (!this.#core.observe) rejected.websockets++;
      if (context.refuse('queue', new HeimdallError('too_many_websockets', { retryAfter: 1 + (rejected.websockets % websocketSpread) }))) return;
    }
    if (credential) this.#websockets++;
    if (credential) share.websockets++;
    else share.otherWebsockets++;
    context.slot = { share, credential };
    next();
  }

  /** At the end of a request: gives back its slot, its place or its WebSocket, once. */
  readonly release = (context: Context): void => {
    const held = context.slot as Ticket | OpenSocket | null;
    if (held === null) return;
    if (!(held instanceof Ticket)) return this.#closeSocket(context, held);
    const { state, share } = held;
    if (state === 'waiting') return this.leave(held);
    if (state !== 'running') return;
    const now = this.#core.clock.monotonic();
    const { serviceTime } = this.#estimate;
    const ms = Math.max(0, now - held.since);
    held.state = 'over';
    serviceTime.samples = Math.min(serviceTime.samples + 1, mostSamples);
    serviceTime.mean = serviceTime.mean === null ? ms : serviceTime.mean + (ms - serviceTime.mean) / serviceTime.samples;
    this.#active--;
    if (--share.active === 0) this.#activeCallers--;
    if (this.#queue.size === 0) return;
    this.#reserveFor(share, now);
    this.#dispatch(now);
  };

  /** Takes the places and waits of another configuration. The capacity changes only where `queue.concurrency` has. */
  configure(): void {
    const { queue, llm } = this.#core.config;
    this.#enabled = isOn(this.#core.config);
    this.#places = queue.initialSize;
    this.#maxWait = Math.min(queue.maxWait, llm.timeouts.total);
    this.#estimate.configure(this.#places, this.#maxWait);
    if (queue.concurrency !== this.#configured) this.resize(queue.concurrency);
    this.#configured = queue.concurrency;
  }

  /** Reads the state that an earlier process saved, and begins to save. The first request does so itself. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    const saved = this.#file?.open() ?? null;
    if (saved === null) return;
    const { serviceTime } = this.#estimate;
    this.#capacity = saved.concurrency;
    serviceTime.mean = saved.serviceTime;
    serviceTime.samples = saved.serviceTime === null ? 0 : saved.samples;
    this.#stats.restore(saved.counters);
  }

  view(): QueueView {
    this.open();
    const { mean } = this.#estimate.serviceTime;
    return {
      enabled: this.#enabled,
      concurrency: this.#capacity,
      active: this.#active,
      places: this.#places,
      waiting: this.#queue.size,
      lanes: this.#queue.callers,
      serviceTime: mean === null ? null : Math.round(mean * 10) / 10,
      websockets: { active: this.#websockets, limit: this.#core.config.queue.websockets },
    };
  }

  resize(concurrency: number): void {
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new HeimdallError('invalid_value', { field: 'concurrency', message: `concurrency: expected a whole number of at least 1, got ${JSON.stringify(concurrency)}. Example: 200` });
    }
    this.open();
    this.#capacity = concurrency;
    this.#dispatch(this.#core.clock.monotonic());
    if (this.#file !== null) inBackground(this.#core.log, 'queue.save', this.#file.save());
  }

  interrupted(): readonly InterruptedRequest[] {
    this.open();
    return this.#file?.interrupted ?? [];
  }

  /** Milliseconds a request is expected to hold its slot. */
  get hold(): number {
    return this.#estimate.hold(this.#core.clock.monotonic());
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
      gauge('queue_waiting', () => this.#queue.size),
      gauge('queue_active', () => this.#active),
      gauge('websockets_active', () => this.#websockets),
      this.#stats.rejectedSeries(),
      this.#stats.waitSeries(),
    ];
  }

  /** The gate shuts down: waiting requests, and new ones that would wait, are refused while their clients have time to go elsewhere. */
  drain(): void {
    this.#isDraining = true;
    for (const ticket of [...this.#queue]) this.#turnAway(ticket, 'draining', new HeimdallError('shutting_down', { retryAfter: 1 }));
  }

  async close(): Promise<void> {
    this.drain();
    this.#reserve.close();
    await this.#file?.close();
  }

  leave(ticket: Ticket): void {
    this.#remove(ticket);
    this.#stats.left++;
  }

  expire(ticket: Ticket): void {
    this.#turnAway(ticket, 'timeout', this.#estimate.timedOut(ticket.share, this.#core.clock.monotonic()));
  }

  #closeSocket(context: Context, { share, credential }: OpenSocket): void {
    context.slot = null;
    if (credential) this.#websockets--;
    if (credential) share.websockets--;
    else share.otherWebsockets--;
  }

  #wait(context: Context, share: CallerShare, next: () => void, now: number): void {
    const returning = this.#estimate.isExpected(share, now);
    let position = this.#queue.positionOf(share);
    if (this.#isDraining) return this.#refuse(context, 'draining', new HeimdallError('shutting_down', { retryAfter: 1 }));
    const late = this.#estimate.isTooLate(position);
    if (late || this.#queue.size >= this.#places) {
      const victim = this.#queue.victimFor(share, returning);
      if (late && !this.#estimate.makesTime(victim, share, position)) return this.#refuse(context, 'deadline', this.#estimate.tooLate(share, position, now));
      if (victim === null) return this.#refuse(context, 'full', this.#estimate.full(share, now));
      this.#turnAway(victim, 'displaced', this.#estimate.full(victim.share, now));
      position = this.#queue.positionOf(share);
    }
    const ticket = new Ticket(this, context, share, next, now, returning);
    ticket.deadline = now + this.#maxWait;
    context.slot = ticket;
    context.exchange = ticket;
    context.queuePosition = position;
    this.#queue.push(ticket);
  }

  #start(ticket: Ticket, now: number): void {
    const { share } = ticket;
    ticket.state = 'running';
    ticket.since = now;
    this.#lastStart = now;
    this.#active++;
    if (share.active++ === 0) this.#activeCallers++;
    if (share.reservedUntil !== 0) this.#reserve.delete(share);
  }

  /** Gives free slots to the requests whose turn it is. */
  #dispatch(now: number): void {
    while (this.#queue.size > 0) {
      const free = this.#capacity - this.#active;
      if (free <= 0) return;
      const ticket = this.#queue.take(free > this.#reserve.size ? anyCaller : this.#isModest, this.#home);
      if (ticket === null) return;
      const { context } = ticket;
      const wait = Math.max(0, now - ticket.since);
      context.exchange = null;
      context.queueWait = wait;
      this.#stats.admit(wait);
      this.#start(ticket, now);
      try {
        ticket.next();
      } catch (error) {
        this.#core.log.error({ requestId: context.id, error: describe(error) }, 'queue.failed');
        context.fail(new HeimdallError('internal_error', { cause: error }));
      }
    }
  }

  /** The slots of each caller while all want some. @param running callers with running requests. */
  #shareAmong(running: number): number {
    return this.#capacity / Math.max(1, running + this.#reserve.size, this.#queue.callers);
  }

  /** False for a caller that has its share and asks for more than the capacity. */
  readonly #isModest = (share: CallerShare): boolean => share.active + share.waiting <= this.#capacity || share.active < this.#shareAmong(this.#activeCallers);

  /** A token that NewAPI has accepted since the request came has a share of its own. */
  readonly #home = ({ share, context }: Ticket): CallerShare => {
    if (context.token === null || !share.key.startsWith('address:') || !this.#verified.has(context.token.id)) return share;
    return this.#shares.of(fairnessKeyOf({ key: context.key, token: context.token, verified: true, ip: context.ip }));
  };

  /** With fewer than two slots for each caller nothing is reserved: the next slot comes within one service time anyway. */
  #reserveFor(share: CallerShare, now: number): void {
    if (share.waiting > 0 || share.reservedUntil !== 0) return;
    const slots = this.#shareAmong(this.#activeCallers + (share.active === 0 ? 1 : 0));
    if (slots < 2 || share.active + 1 > slots) return;
    const mean = Math.max(this.#estimate.serviceTime.mean ?? 0, 1);
    this.#reserve.add(share, now, Math.max(shortestReserve, Math.min(longestReserve, 2 * mean)));
  }

  #refuse(context: Context, reason: Reason, error: HeimdallError): void {
    this.#stats.rejected[reason]++;
    context.fail(error);
  }

  #turnAway(ticket: Ticket, reason: Reason, error: HeimdallError): void {
    this.#remove(ticket);
    this.#refuse(ticket.context, reason, error);
  }

  #remove(ticket: Ticket): void {
    this.#queue.remove(ticket);
    ticket.state = 'over';
    ticket.context.exchange = null;
    ticket.context.queueWait = Math.max(0, this.#core.clock.monotonic() - ticket.since);
  }

  #save(): Snapshot {
    const { mean, samples } = this.#estimate.serviceTime;
    const inHand: InterruptedRequest[] = [];
    for (const { id, time, slot, fairnessKey } of this.#core.inFlight) if (slot !== null) inHand.push({ id, time, fairnessKey });
    return { concurrency: this.#capacity, serviceTime: mean, samples, counters: this.#stats.save(), inHand };
  }
}

/** Whether any request passes the queue. */
const isOn = ({ queue, middleware, routes }: Core['config']): boolean =>
  queue.enabled && (middleware === null || middleware.includes('queue') || routes.some((route) => route.middleware.includes('queue')));

/** The parts that decide whether there is room for a request, by the same shares. */
export interface Admission {
  readonly queue: Queue;
  readonly bodies: BodyBudget;
  readonly series: readonly Series[];
}

/** @param verified the tokens that NewAPI has accepted, by their identities. */
export function admission(core: Core, verified: { has(token: string): boolean }): Admission {
  const shares = new CallerShares();
  const queue = new Queue(core, shares, verified);
  const bodies = new BodyBudget(core, shares, () => queue.hold);
  return { queue, bodies, series: [...queue.series(), bodies.series()] };
}
