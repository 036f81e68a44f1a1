// Admission: which request runs now, which waits and which is refused, each caller within a share of its own.

import type { InterruptedRequest, QueueControl, QueueView } from '../../types/queue.d.ts';
import { type Context, type Core, type Exchange, fairnessKeyOf, underway } from '../request/request.ts';
import { WEBSOCKET_SHARES } from '../config/config.ts';
import { type Crew, describe, inBackground, Repeated, own, shared, type Link } from '../platform/platform.ts';
import { type ErrorCode, HeimdallError } from '../errors.ts';
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

/** What the queue needs of a request, of this thread or of a worker. */
type Queued = Pick<Context, 'id' | 'time' | 'fairnessKey' | 'key' | 'token' | 'ip' | 'slot' | 'queuePosition' | 'queueWait' | 'exchange' | 'refuse' | 'fail'> & { readonly route: { readonly credential: boolean } };

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
  readonly context: Queued;
  /** Continues the request. */
  readonly next: () => void;
  readonly #owner: TicketOwner;

  constructor(owner: TicketOwner, context: Queued, share: CallerShare, next: () => void, since: number, returning: boolean) {
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
  protected readonly estimate: WaitEstimate;
  readonly #queue = new FairQueue<Ticket>();
  protected readonly stats = new QueueStats();
  readonly #reserve: SlotReserve;
  readonly #file: StateFile | null;
  #isDraining = false;
  #opened = false;
  #capacity: number;
  /** Slots in use, whether requests wait, and the capacity: workers of a gate take free slots by themselves. */
  readonly #counts: Int32Array;
  readonly #isShared: boolean;
  /** Callers with running requests. */
  #activeCallers = 0;
  #lastStart = 0;
  #websockets = 0;

  /**
   * @param verified the tokens that NewAPI has accepted, by their identities.
   * @param counts what all threads of a gate see; null where there is one.
   */
  constructor(core: Core, shares: CallerShares, verified: { has(token: string): boolean }, counts: Int32Array | null = null) {
    const { queue, llm } = core.config;
    this.#core = core;
    this.#shares = shares;
    this.#verified = verified;
    this.#enabled = isOn(core.config);
    this.#isShared = counts !== null;
    this.#counts = counts ?? new Int32Array(shared.perWorker);
    this.#capacity = this.#configured = queue.concurrency;
    Atomics.store(this.#counts, shared.capacity, this.#capacity);
    this.#places = queue.initialSize;
    this.#maxWait = Math.min(queue.maxWait, llm.timeouts.total);
    this.estimate = new WaitEstimate(this, this.#places, this.#maxWait);
    this.#reserve = new SlotReserve(core.clock, (now) => this.#dispatch(now));
    this.#file = this.#enabled && queue.statePath !== null ? new StateFile(core, queue.statePath, () => this.#save()) : null;
  }

  /**
   * Continues a model request when it has its slot, or answers it.
   * @param next continues it; called at once when a slot is free.
   */
  enter(context: Queued, next: () => void): void {
    if (!this.#opened) this.open();
    const share = this.#shares.of(context.fairnessKey);
    const now = this.#core.clock.monotonic();
    // While requests wait, a free slot is one that is kept from the callers that flood the queue.
    const isFree = (this.#queue.size === 0 || (share.waiting === 0 && this.#isModest(share))) && (this.#isShared ? this.#takeSlot() : Atomics.load(this.#counts, shared.active) < this.#capacity && Atomics.add(this.#counts, shared.active, 1) >= 0);
    if (!isFree) {
      if (!this.#core.observe) return this.#wait(context, share, next, now);
      const beyond = this.active - this.#capacity;
      Atomics.add(this.#counts, shared.active, 1);
      if (beyond >= this.#places || this.estimate.isTooLate(beyond + 1)) context.refuse('queue', new HeimdallError('queue_full'));
    }
    const ticket = new Ticket(this, context, share, next, now, false);
    context.slot = ticket;
    context.queuePosition = 0;
    this.stats.admitted++;
    this.#start(ticket, now);
    next();
  }

  /**
   * Counts a WebSocket until its end, or answers it. They are counted apart from requests: they stay for hours and would take
   * every slot in the end. Those on routes without a credential count for their caller alone.
   */
  enterSocket(context: Queued, next: () => void): void {
    const { credential } = context.route;
    const { websockets: limit } = this.#core.config.queue;
    const share = this.#shares.of(context.fairnessKey);
    const own = credential ? share.websockets : share.otherWebsockets;
    if (own >= Math.ceil(limit / WEBSOCKET_SHARES) || (credential && this.#websockets >= limit)) {
      const { rejected } = this.stats;
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
  readonly release = (context: Queued): void => {
    const held = context.slot as Ticket | OpenSocket | null;
    if (held === null) return;
    if (!(held instanceof Ticket)) return this.#closeSocket(context, held);
    const { state, share } = held;
    if (state === 'waiting') return this.leave(held);
    if (state !== 'running') return;
    const now = this.#core.clock.monotonic();
    const { serviceTime } = this.estimate;
    const ms = Math.max(0, now - held.since);
    held.state = 'over';
    serviceTime.samples = Math.min(serviceTime.samples + 1, mostSamples);
    serviceTime.mean = serviceTime.mean === null ? ms : serviceTime.mean + (ms - serviceTime.mean) / serviceTime.samples;
    Atomics.sub(this.#counts, shared.active, 1);
    if (--share.active === 0) this.#activeCallers--;
    if (this.#queue.size === 0) return;
    this.#reserveFor(share, now);
    this.#dispatch(now);
  };

  /** Slots in use. */
  protected get active(): number {
    return Atomics.load(this.#counts, shared.active);
  }

  #takeSlot(): boolean {
    const counts = this.#counts;
    for (;;) {
      const active = Atomics.load(counts, shared.active);
      if (active >= this.#capacity) return false;
      if (Atomics.compareExchange(counts, shared.active, active, active + 1) === active) return true;
    }
  }

  /** Tells the other threads whether requests wait: then no worker takes a free slot by itself. */
  #tellWaiting(): void {
    if (this.#isShared) Atomics.store(this.#counts, shared.waiting, this.#queue.size);
  }

  /** Workers run so many requests of a caller more, or less, in slots that they have taken by themselves. */
  noteRunning(key: string, change: number): void {
    const share = this.#shares.of(key);
    if (share.active === 0 && change > 0) this.#activeCallers++;
    share.active = Math.max(0, share.active + change);
    if (share.active === 0 && change < 0) this.#activeCallers = Math.max(0, this.#activeCallers - 1);
    if (change < 0) this.freed(key);
  }

  /** A worker has given back a slot that it had taken by itself. */
  freed(key: string | null): void {
    if (this.#queue.size === 0) return;
    const now = this.#core.clock.monotonic();
    if (key !== null) this.#reserveFor(this.#shares.of(key), now);
    this.#dispatch(now);
  }

  /** How long workers have seen requests hold slots. @param ms their mean. */
  noteServiceTime(ms: number, samples: number): void {
    Object.assign(this.estimate.serviceTime, { mean: ms, samples: Math.min(samples, mostSamples) });
  }

  /** Takes the places and waits of another configuration. The capacity changes only where `queue.concurrency` has. */
  configure(): void {
    const { queue, llm } = this.#core.config;
    this.#enabled = isOn(this.#core.config);
    this.#places = queue.initialSize;
    this.#maxWait = Math.min(queue.maxWait, llm.timeouts.total);
    this.estimate.configure(this.#places, this.#maxWait);
    if (queue.concurrency !== this.#configured) this.resize(queue.concurrency);
    this.#configured = queue.concurrency;
  }

  /** Reads the state that an earlier process saved, and begins to save. The first request does so itself. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    const saved = this.#file?.open() ?? null;
    if (saved === null) return;
    const { serviceTime } = this.estimate;
    this.#setCapacity(saved.concurrency);
    serviceTime.mean = saved.serviceTime;
    serviceTime.samples = saved.serviceTime === null ? 0 : saved.samples;
    this.stats.restore(saved.counters);
  }

  view(): QueueView {
    this.open();
    const { mean } = this.estimate.serviceTime;
    return {
      enabled: this.#enabled,
      concurrency: this.#capacity,
      active: this.active,
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
    this.#setCapacity(concurrency);
    this.#dispatch(this.#core.clock.monotonic());
    if (this.#file !== null) inBackground(this.#core.log, 'queue.save', this.#file.save());
  }

  interrupted(): readonly InterruptedRequest[] {
    this.open();
    return this.#file?.interrupted ?? [];
  }

  /** Milliseconds a request is expected to hold its slot. */
  get hold(): number {
    return this.estimate.hold(this.#core.clock.monotonic());
  }

  get capacity(): number {
    return this.#capacity;
  }

  #setCapacity(slots: number): void {
    this.#capacity = slots;
    Atomics.store(this.#counts, shared.capacity, slots);
  }

  busyFor(now: number): number {
    return this.active >= this.#capacity ? now - this.#lastStart : 0;
  }

  /** Metrics, none with labels that grow. */
  series(): Series[] {
    return [
      gauge('queue_waiting', () => this.#queue.size),
      gauge('queue_active', () => this.active),
      gauge('websockets_active', () => this.#websockets),
      this.stats.rejectedSeries(),
      this.stats.waitSeries(),
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
    this.stats.left++;
  }

  expire(ticket: Ticket): void {
    this.#turnAway(ticket, 'timeout', this.estimate.timedOut(ticket.share, this.#core.clock.monotonic()));
  }

  #closeSocket(context: Queued, { share, credential }: OpenSocket): void {
    context.slot = null;
    if (credential) this.#websockets--;
    if (credential) share.websockets--;
    else share.otherWebsockets--;
  }

  #wait(context: Queued, share: CallerShare, next: () => void, now: number): void {
    const returning = this.estimate.isExpected(share, now);
    let position = this.#queue.positionOf(share);
    if (this.#isDraining) return this.#refuse(context, 'draining', new HeimdallError('shutting_down', { retryAfter: 1 }));
    const late = this.estimate.isTooLate(position);
    if (late || this.#queue.size >= this.#places) {
      const victim = this.#queue.victimFor(share, returning);
      if (late && !this.estimate.makesTime(victim, share, position)) return this.#refuse(context, 'deadline', this.estimate.tooLate(share, position, now));
      if (victim === null) return this.#refuse(context, 'full', this.estimate.full(share, now));
      this.#turnAway(victim, 'displaced', this.estimate.full(victim.share, now));
      position = this.#queue.positionOf(share);
    }
    const ticket = new Ticket(this, context, share, next, now, returning);
    ticket.deadline = now + this.#maxWait;
    context.slot = ticket;
    context.exchange = ticket;
    context.queuePosition = position;
    this.#queue.push(ticket);
    if (!this.#isShared) return;
    this.#tellWaiting();
    // A worker may have given back a slot before it could see that requests wait.
    this.#dispatch(now);
  }

  #start(ticket: Ticket, now: number): void {
    const { share } = ticket;
    ticket.state = 'running';
    ticket.since = now;
    this.#lastStart = now;
    if (share.active++ === 0) this.#activeCallers++;
    if (share.reservedUntil !== 0) this.#reserve.delete(share);
  }

  /** Gives free slots to the requests whose turn it is. */
  #dispatch(now: number): void {
    while (this.#queue.size > 0) {
      const free = this.#capacity - this.active;
      if (!this.#takeSlot()) return;
      const ticket = this.#queue.take(free > this.#reserve.size ? anyCaller : this.#isModest, this.#home);
      if (ticket === null) return void Atomics.sub(this.#counts, shared.active, 1);
      this.#tellWaiting();
      const { context } = ticket;
      const wait = Math.max(0, now - ticket.since);
      context.exchange = null;
      context.queueWait = wait;
      this.stats.admit(wait);
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
    if (this.#isDraining || share.waiting > 0 || share.reservedUntil !== 0) return;
    const slots = this.#shareAmong(this.#activeCallers + (share.active === 0 ? 1 : 0));
    if (slots < 2 || share.active + 1 > slots) return;
    const mean = Math.max(this.estimate.serviceTime.mean ?? 0, 1);
    this.#reserve.add(share, now, Math.max(shortestReserve, Math.min(longestReserve, 2 * mean)));
  }

  #refuse(context: Queued, reason: Reason, error: HeimdallError): void {
    this.stats.rejected[reason]++;
    context.fail(error);
  }

  #turnAway(ticket: Ticket, reason: Reason, error: HeimdallError): void {
    this.#remove(ticket);
    this.#refuse(ticket.context, reason, error);
  }

  #remove(ticket: Ticket): void {
    this.#queue.remove(ticket);
    this.#tellWaiting();
    ticket.state = 'over';
    ticket.context.exchange = null;
    ticket.context.queueWait = Math.max(0, this.#core.clock.monotonic() - ticket.since);
  }

  /** Requests in hand of workers, for the state that outlives the process. */
  inWorkers: () => readonly InterruptedRequest[] = () => [];

  #save(): Snapshot {
    const { mean, samples } = this.estimate.serviceTime;
    const inHand: InterruptedRequest[] = [];
    for (const { id, time, slot, fairnessKey } of this.#core.inFlight) if (slot !== null) inHand.push({ id, time, fairnessKey });
    inHand.push(...this.inWorkers());
    return { concurrency: this.#capacity, serviceTime: mean, samples, counters: this.stats.save(), inHand };
  }
}

/** Whether any request passes the queue. */
const isOn = ({ queue, middleware, routes }: Core['config']): boolean =>
  queue.enabled && (middleware === null || middleware.includes('queue') || routes.some((route) => route.middleware.includes('queue')));

/** A request of a worker that asks for a slot, or a WebSocket that asks to be counted. */
interface Asking extends Pick<Queued, 'id' | 'time' | 'fairnessKey' | 'key' | 'token' | 'ip'> {
  readonly credential: boolean;
  readonly isSocket: boolean;
}

/** What became of it. */
interface Judged {
  readonly position: number | null;
  readonly wait: number;
  /** Rules that would have refused it. */
  readonly rules: readonly string[];
  /** Null where it goes on. */
  readonly refused: { readonly code: ErrorCode; readonly message: string; readonly retryAfter: number | null } | null;
}

/** A request of a worker in the queue of the main thread. */
class RemoteRequest implements Queued {
  readonly id: string;
  readonly time: number;
  readonly fairnessKey: string;
  readonly key: string | null;
  readonly token: Context['token'];
  readonly ip: string;
  readonly route: { readonly credential: boolean };
  slot: object | null = null;
  queuePosition: number | null = null;
  queueWait = 0;
  exchange: Exchange | null = null;
  readonly judged = Promise.withResolvers<Judged>();
  readonly #rules: string[] = [];
  readonly #observe: boolean;

  constructor({ id, time, fairnessKey, key, token, ip, credential }: Asking, observe: boolean) {
    this.id = id;
    this.time = time;
    this.fairnessKey = fairnessKey;
    this.key = key;
    this.token = token;
    this.ip = ip;
    this.route = { credential };
    this.#observe = observe;
  }

  refuse(rule: string, error: HeimdallError): boolean {
    if (this.#observe) this.#rules.push(rule);
    else this.fail(error);
    return !this.#observe;
  }

  fail({ code, message, retryAfter }: HeimdallError): void {
    this.judged.resolve(this.#judgement({ code, message, retryAfter }));
  }

  readonly goOn = (): void => this.judged.resolve(this.#judgement(null));

  #judgement(refused: Judged['refused']): Judged {
    return { position: this.queuePosition, wait: this.queueWait, rules: this.#rules, refused };
  }
}

/** What a worker holds in the queue of the main thread. */
interface WorkerPart {
  readonly requests: Map<string, RemoteRequest>;
  /** Requests by caller in slots that it has taken by itself, as far as it has told. */
  readonly running: Map<string, number>;
  inHand: readonly InterruptedRequest[];
}

/** Without requests that wait for so long, workers need not tell of the slots that they take, milliseconds. */
const calmAfter = 1000;

/** Keeps the queue for the workers of a gate. What a worker held when it ended is free. */
class QueueOwner {
  readonly #crew: Crew;
  readonly #queue: Queue;
  readonly #core: Core;
  readonly #parts = new Map<Link | null, WorkerPart>();
  /** Requests wait, or did a moment ago: workers tell which callers run in slots that they have taken by themselves. */
  #isCrowded = false;
  /** Monotonic milliseconds. */
  #waitedAt = 0;
  readonly #calming: Repeated;

  constructor(crew: Crew, queue: Queue, core: Core) {
    this.#crew = crew;
    this.#queue = queue;
    this.#core = core;
    this.#calming = new Repeated(core, 'queue', calmAfter, () => this.#calm());
    crew.answer('queue.enter', (asking, from) => this.#enter(asking as Asking, from));
    crew.answer('queue.over', (id, from) => this.#over(id as string, from));
    crew.answer('queue.late', (id, from) => this.#partOf(from).requests.get(id as string)?.exchange?.look(core.clock.monotonic()));
    crew.answer('queue.drain', () => queue.drain());
    crew.answer('queue.freed', () => queue.freed(null));
    crew.answer('queue.running', (changes, from) => {
      for (const [key, by] of changes as [string, number][]) this.#count(this.#partOf(from), key, by);
    });
    crew.answer('queue.times', (value) => queue.noteServiceTime(...(value as [number, number])));
    crew.answer('queue.inHand', (list, from) => void (this.#partOf(from).inHand = list as InterruptedRequest[]));
    queue.inWorkers = () => [...this.#parts.values()].flatMap(({ inHand }) => inHand);
    crew.subscribe('queue.crowded', { hear: () => undefined, known: () => [this.#isCrowded] });
    crew.onLeft((link) => this.#left(link));
  }

  #enter(asking: Asking, from: Link | null): Promise<Judged> {
    const request = new RemoteRequest(asking, this.#core.observe);
    this.#partOf(from).requests.set(asking.id, request);
    if (asking.isSocket) this.#queue.enterSocket(request, request.goOn);
    else this.#queue.enter(request, request.goOn);
    if (Atomics.load(this.#crew.counts, shared.waiting) > 0) {
      this.#waitedAt = this.#core.clock.monotonic();
      if (!this.#isCrowded) this.#crew.publish('queue.crowded', true);
      this.#isCrowded = true;
      this.#calming.start();
    }
    return request.judged.promise;
  }

  #over(id: string, from: Link | null): void {
    const { requests } = this.#partOf(from);
    const request = requests.get(id);
    requests.delete(id);
    if (request === undefined) return;
    this.#queue.release(request);
    // The worker keeps its question until it is answered, also that of a client that left while it waited.
    request.goOn();
  }

  #count(part: WorkerPart, key: string, by: number): void {
    const count = (part.running.get(key) ?? 0) + by;
    if (count < 0) return this.#queue.freed(key);
    if (count === 0) part.running.delete(key);
    else part.running.set(key, count);
    this.#queue.noteRunning(key, by);
  }

  #calm(): void {
    if (!this.#isCrowded || Atomics.load(this.#crew.counts, shared.waiting) > 0 || this.#core.clock.monotonic() - this.#waitedAt < calmAfter) return;
    this.#isCrowded = false;
    this.#crew.publish('queue.crowded', false);
    for (const { running } of this.#parts.values()) this.#forget(running);
  }

  #left(link: Link): void {
    const part = this.#partOf(link);
    this.#parts.delete(link);
    const { counts } = this.#crew;
    const place = shared.perWorker + link.place * own.size;
    Atomics.sub(counts, shared.active, Atomics.exchange(counts, place + own.active, 0));
    Atomics.sub(counts, shared.kilobytes, Atomics.exchange(counts, place + own.kilobytes, 0));
    for (const request of part.requests.values()) this.#queue.release(request);
    this.#forget(part.running);
    this.#queue.freed(null);
  }

  #forget(running: Map<string, number>): void {
    for (const [key, count] of running) this.#queue.noteRunning(key, -count);
    running.clear();
  }

  #partOf(link: Link | null): WorkerPart {
    let part = this.#parts.get(link);
    if (part === undefined) this.#parts.set(link, (part = { requests: new Map(), running: new Map(), inHand: [] }));
    return part;
  }
}

/** A slot that a worker has taken by itself. @param since monotonic milliseconds. */
class OwnSlot {
  readonly since: number;

  constructor(since: number) {
    this.since = since;
  }
}

/** A request that the main thread has in its queue. While it waits, a client that leaves and the time limits reach it there. */
class RemoteTicket implements Exchange {
  readonly deadline: number;
  readonly #main: Link;
  readonly #id: string;

  constructor(main: Link, id: string, deadline: number) {
    this.#main = main;
    this.#id = id;
    this.deadline = deadline;
  }

  /** Its end, which follows, gives the place back. */
  abort(): void {}

  look(now: number): void {
    if (now >= this.deadline) this.#main.tell('queue.late', this.#id);
  }
}

/**
 * The queue as a worker sees it. While no request of any worker waits, it takes free slots by itself, in the memory that all
 * threads share; otherwise the main thread decides.
 */
class WorkerQueue extends Queue {
  readonly #core: Core;
  readonly #main: Link;
  readonly #counts: Int32Array;
  /** Its part of the slots in use. */
  readonly #held: number;
  /** Requests wait somewhere: the main thread is told of slots that are taken or given back here. */
  #isCrowded = false;
  readonly #running = new Map<string, number>();
  readonly #saves: Repeated | null;

  constructor(core: Core, crew: Crew, shares: CallerShares, verified: { has(token: string): boolean }) {
    super(core, shares, verified);
    this.#core = core;
    this.#main = crew.main as Link;
    this.#counts = crew.counts;
    this.#held = shared.perWorker + this.#main.place * own.size + own.active;
    crew.subscribe('queue.crowded', { hear: (isCrowded) => this.#crowd(isCrowded === true), known: () => [] });
    const { statePath, saveInterval } = core.config.queue;
    this.#saves = statePath === null ? null : new Repeated(core, 'queue', saveInterval, () => this.#tellInHand());
    this.#saves?.start();
  }

  #crowd(isCrowded: boolean): void {
    this.#isCrowded = isCrowded;
    if (!isCrowded) return;
    this.#main.tell('queue.running', [...this.#running]);
    const { mean, samples } = this.estimate.serviceTime;
    if (mean !== null) this.#main.tell('queue.times', [mean, samples]);
  }

  override enter(context: Context, next: () => void): void {
    const counts = this.#counts;
    if (Atomics.load(counts, shared.waiting) === 0) {
      for (let active = Atomics.load(counts, shared.active); active < Atomics.load(counts, shared.capacity); active = Atomics.load(counts, shared.active)) {
        if (Atomics.compareExchange(counts, shared.active, active, active + 1) !== active) continue;
        Atomics.add(counts, this.#held, 1);
        context.slot = new OwnSlot(this.#core.clock.monotonic());
        context.queuePosition = 0;
        this.stats.admitted++;
        this.#count(context.fairnessKey, 1);
        return next();
      }
    }
    this.#ask(context, next, false);
  }

  override enterSocket(context: Context, next: () => void): void {
    this.#ask(context, next, true);
  }

  override readonly release = (context: Queued): void => {
    const held = context.slot;
    context.slot = null;
    if (held instanceof RemoteTicket) return this.#main.tell('queue.over', context.id);
    if (!(held instanceof OwnSlot)) return;
    const { serviceTime } = this.estimate;
    const ms = Math.max(0, this.#core.clock.monotonic() - held.since);
    serviceTime.samples = Math.min(serviceTime.samples + 1, mostSamples);
    serviceTime.mean = serviceTime.mean === null ? ms : serviceTime.mean + (ms - serviceTime.mean) / serviceTime.samples;
    Atomics.sub(this.#counts, this.#held, 1);
    Atomics.sub(this.#counts, shared.active, 1);
    this.#count(context.fairnessKey, -1);
    if (!this.#isCrowded && Atomics.load(this.#counts, shared.waiting) > 0) this.#main.tell('queue.freed', null);
  };

  /** The state that outlives the process is the main thread's. */
  override open(): void {}

  override drain(): void {
    this.#main.tell('queue.drain', null);
  }

  override async close(): Promise<void> {
    this.#saves?.stop();
  }

  #count(key: string, by: 1 | -1): void {
    const count = (this.#running.get(key) ?? 0) + by;
    if (count === 0) this.#running.delete(key);
    else this.#running.set(key, count);
    if (this.#isCrowded) this.#main.tell('queue.running', [[key, by]]);
  }

  #ask(context: Context, next: () => void, isSocket: boolean): void {
    const { id, time, fairnessKey, key, token, ip, route } = context;
    const { queue, llm } = this.#core.config;
    const ticket = new RemoteTicket(this.#main, id, this.#core.clock.monotonic() + Math.min(queue.maxWait, llm.timeouts.total));
    context.slot = ticket;
    if (!isSocket) context.exchange = ticket;
    const asking: Asking = { id, time, fairnessKey, key, token, ip, credential: route.credential, isSocket };
    underway(context, this.#main.ask('queue.enter', asking).then((judged) => this.#judged(context, judged as Judged, next)));
  }

  #judged(context: Context, { position, wait, rules, refused }: Judged, next: () => void): void {
    // The client has left: its end has given the place back.
    if (context.finished) return;
    if (context.exchange instanceof RemoteTicket) context.exchange = null;
    context.queuePosition = position;
    context.queueWait = wait;
    if (rules.length > 0) (context.rules ??= []).push(...rules);
    if (refused === null) return next();
    const { code, message, retryAfter } = refused;
    context.fail(Object.assign(new HeimdallError(code, retryAfter === null ? {} : { retryAfter }), { message }));
  }

  #tellInHand(): void {
    const inHand: InterruptedRequest[] = [];
    for (const { id, time, slot, fairnessKey } of this.#core.inFlight) if (slot !== null) inHand.push({ id, time, fairnessKey });
    this.#main.tell('queue.inHand', inHand);
  }
}

/** The parts that decide whether there is room for a request, by the same shares. */
export interface Admission {
  readonly queue: Queue;
  readonly bodies: BodyBudget;
  readonly series: readonly Series[];
}

/** @param verified the tokens that NewAPI has accepted, by their identities. */
export function admission(core: Core, verified: { has(token: string): boolean }): Admission {
  const shares = new CallerShares();
  const { crew } = core;
  const queue = crew?.isWorker === true ? new WorkerQueue(core, crew, shares, verified) : new Queue(core, shares, verified, crew?.counts ?? null);
  if (crew?.isWorker === false) new QueueOwner(crew, queue, core);
  const bodies = new BodyBudget(core, shares, () => queue.hold);
  return { queue, bodies, series: [...queue.series(), bodies.series()] };
}
