import { randomBytes } from 'node:crypto';
import type { MessagePort, Transferable } from 'node:worker_threads';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from './describe.ts';
import { guard } from './guard.ts';
import { SharedCounts } from './shared-counts.ts';

/** What is said under a topic. @param from the worker that says it; null for the main thread. @returns the answer, where one is asked for. */
export type Heard = (value: unknown, from: Link | null) => unknown;

/** What the threads tell each other under a topic. */
export interface News {
  /** Takes what another thread tells. */
  readonly hear: (value: unknown) => void;
  /** Of the main thread: what a worker that begins has to be told, as if it had heard it. */
  readonly known: () => Iterable<unknown>;
}

/** `[topic, value]` tells, `[topic, value, n]` asks, `[null, value, n, failed]` answers. */
type Message = readonly [topic: string | null, value: unknown, call?: number, failed?: boolean];

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One end of the connection between a worker and the main thread. What is said in one turn of the event loop goes as one message:
 * to post one costs some five microseconds, whatever it holds.
 */
export class Link {
  /** Place of the worker among the workers, from 0. */
  readonly place: number;
  readonly #port: Pick<MessagePort, 'postMessage'>;
  readonly #hear: (topic: string, value: unknown) => unknown;
  readonly #log: Logger;
  readonly #pending = new Map<number, Pending>();
  #said: Message[] = [];
  #isFlushing = false;
  #calls = 0;
  #isOver = false;

  /** @param hear answers what the other end says. @param log where failures are said. */
  constructor(place: number, port: Pick<MessagePort, 'postMessage'>, hear: (topic: string, value: unknown) => unknown, log: Logger) {
    this.place = place;
    this.#port = port;
    this.#hear = hear;
    this.#log = log;
  }

  tell(topic: string, value: unknown): void {
    if (!this.#isOver) this.#say([topic, value]);
  }

  /** Tells at once, and hands over what can be moved: ports. */
  hand(topic: string, value: unknown, moved: readonly Transferable[]): void {
    if (this.#isOver) return;
    this.#flush();
    this.#port.postMessage([[topic, value]], moved);
  }

  /** @returns the answer. Rejects when the other end fails or has ended. */
  ask(topic: string, value: unknown): Promise<unknown> {
    if (this.#isOver) return Promise.reject(new Error('the thread has ended'));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const call = ++this.#calls;
    this.#pending.set(call, { resolve, reject });
    this.#say([topic, value, call]);
    return promise;
  }

  /** Takes what the other end has posted. */
  readonly take = (messages: readonly Message[]): void => {
    if (this.#isOver) return;
    for (const [topic, value, call, failed] of messages) {
      if (topic === null) this.#answered(value, call as number, failed === true);
      else this.#heard(topic, value, call);
    }
  };

  /** The other end has ended. */
  end(): void {
    this.#isOver = true;
    for (const { reject } of this.#pending.values()) reject(new Error('the thread has ended'));
    this.#pending.clear();
    this.#said = [];
  }

  #heard(topic: string, value: unknown, call: number | undefined): void {
    try {
      const found = this.#hear(topic, value);
      if (found instanceof Promise) found.then((answer: unknown) => this.#answer(answer, call, false), (error: unknown) => this.#failed(topic, error, call));
      else this.#answer(found, call, false);
    } catch (error) {
      this.#failed(topic, error, call);
    }
  }

  #failed(topic: string, error: unknown, call: number | undefined): void {
    this.#log.error({ in: `thread ${topic}`, error: describe(error), stack: error instanceof Error ? (error.stack ?? null) : null }, 'callback.failed');
    this.#answer(error instanceof Error ? error.message : String(error), call, true);
  }

  #answer(value: unknown, call: number | undefined, failed: boolean): void {
    if (call !== undefined && !this.#isOver) this.#say([null, value, call, failed]);
  }

  #answered(value: unknown, call: number, failed: boolean): void {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    if (failed) pending?.reject(new Error(String(value)));
    else pending?.resolve(value);
  }

  #say(message: Message): void {
    this.#said.push(message);
    if (!this.#isFlushing) setImmediate(guard(this.#log, 'thread', this.#flush));
    this.#isFlushing = true;
  }

  readonly #flush = (): void => {
    this.#isFlushing = false;
    const said = this.#said;
    if (said.length === 0) return;
    this.#said = [];
    try {
      this.#port.postMessage(said);
    } catch (error) {
      // What cannot be copied between threads must not take the rest with it.
      if (said.length > 1) for (const one of said) this.#postAlone(one);
      else this.#lost(said[0] as Message, error);
    }
  };

  #postAlone(message: Message): void {
    try {
      this.#port.postMessage([message]);
    } catch (error) {
      this.#lost(message, error);
    }
  }

  #lost([topic, , call]: Message, error: unknown): void {
    this.#log.error({ in: `thread ${topic ?? 'answer'}`, error: describe(error) }, 'callback.failed');
    if (topic !== null && call !== undefined) this.#answered('it cannot be copied between threads', call, true);
  }
}

/** The numbers that all threads of a gate see, 32 bits each: slots in use, requests that wait, slots there are, kilobytes of bodies in hand, connections of the listeners; see {@link Crew.counts}. */
export const shared = { active: 0, waiting: 1, capacity: 2, kilobytes: 3, connections: 4, perWorker: 5 } as const;
/** Numbers of each worker, from `perWorker` on: slots, kilobytes and connections that it holds, its signs of life, and its requests in hand at the last of them. */
export const own = { active: 0, kilobytes: 1, beats: 2, inHand: 3, connections: 4, size: 5 } as const;

/** A certificate and its key, as their files were. */
export interface PairInUse {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

/** The threads of a gate with several workers, as one of them knows the others. Null in a gate that has one thread. */
export class Crew {
  /** Number of workers. */
  readonly workers: number;
  /** Of a worker, its connection with the main thread; null in the main thread. */
  main: Link | null = null;
  /** Of the main thread: the workers that run. */
  readonly links = new Set<Link>();
  /** In memory that all threads share; see {@link shared}. */
  readonly counts: Int32Array;
  /** The same for the connections of each address; see {@link SharedCounts}. */
  readonly peers: Int32Array;
  /** The certificates in use, by path: their files may have changed since. */
  readonly certificates = new Map<string, PairInUse>();
  /** What the keys of TLS session tickets are made from: a session goes on in any worker. */
  ticketSecret: Uint8Array = randomBytes(32);
  log: Logger | null = null;
  /** Of the main thread, while workers run: drains them within a time, milliseconds. */
  drain: ((timeout: number, quiet: number) => Promise<void>) | null = null;
  readonly #topics = new Map<string, Heard>();
  readonly #news = new Map<string, News>();
  readonly #left = new Set<(from: Link) => void>();

  constructor(workers: number, counts: Int32Array, peers: Int32Array) {
    this.workers = workers;
    this.counts = counts;
    this.peers = peers;
  }

  /** Whether this is a worker: what is exact over all is kept by the main thread. */
  get isWorker(): boolean {
    return this.main !== null;
  }

  /** Requests that the workers have in hand, but for those that the main thread serves for them; a quarter of a second old at most. */
  get inHand(): number {
    let sum = 0;
    for (const { place } of this.links) sum += Atomics.load(this.counts, shared.perWorker + place * own.size + own.inHand);
    return sum;
  }

  /** Answers what is said under a topic. */
  answer(topic: string, heard: Heard): void {
    this.#topics.set(topic, heard);
  }

  /** Tells all other threads. */
  publish(topic: string, value: unknown): void {
    if (this.main !== null) this.main.tell('news', [topic, value]);
    else for (const link of this.links) link.tell('news', [topic, value]);
  }

  /** Hears what other threads publish. What comes with another configuration takes the place of what was before. */
  subscribe(topic: string, news: News): void {
    this.#news.set(topic, news);
  }

  /** @param listener is told of a worker that has ended: what it held is free. */
  onLeft(listener: (from: Link) => void): void {
    this.#left.add(listener);
  }

  /** Handles what a thread says. @param from the worker; null for the main thread. */
  hear(topic: string, value: unknown, from: Link | null): unknown {
    if (topic !== 'news') {
      const heard = this.#topics.get(topic);
      if (heard === undefined) throw new Error(`nothing answers ${topic}`);
      return heard(value, from);
    }
    const [name, what] = value as [string, unknown];
    this.#news.get(name)?.hear(what);
    if (this.main === null) for (const link of this.links) if (link !== from) link.tell('news', [name, what]);
    return undefined;
  }

  /** A worker begins, and is told what the others have heard. */
  join(link: Link): void {
    Atomics.store(this.counts, shared.perWorker + link.place * own.size + own.inHand, 0);
    this.links.add(link);
    for (const [topic, { known }] of this.#news) for (const value of known()) link.tell('news', [topic, value]);
  }

  /** A worker has ended. */
  leave(link: Link): void {
    if (!this.links.delete(link)) return;
    link.end();
    Atomics.sub(this.counts, shared.connections, Atomics.exchange(this.counts, shared.perWorker + link.place * own.size + own.connections, 0));
    SharedCounts.clear(this.peers, this.workers, link.place);
    for (const listener of this.#left) {
      if (this.log === null) listener(link);
      else guard(this.log, 'worker', listener)(link);
    }
  }
}
