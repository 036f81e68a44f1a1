import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { extname } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { Worker, type MessagePort } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import type { Timer } from '../../types/clock.d.ts';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { ConfigError, expectation } from '../errors.ts';
import { type Gate, internalsOf, type Prepared } from '../gateway.ts';
import { Crew, describe, guard, inBackground, Link, own, type RelayedPeer, RelaySocket, shared, sharedCountsMemory } from '../platform/platform.ts';
import { attach, refuse } from '../request/request.ts';

/** The first message to a worker: it takes a place. */
export interface WorkerStart {
  readonly config: Config;
  readonly place: number;
  readonly workers: number;
  readonly counts: Int32Array;
  readonly peers: Int32Array;
  readonly port: number;
  readonly certificates: Crew['certificates'];
  readonly ticketSecret: Uint8Array;
}

/** Sources run as `.ts`, the package as `.js`. */
const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
/** Delay before a worker takes the place of one that has ended, milliseconds; it doubles up to the second value, and begins anew after the third. */
const firstRestart = 100;
const maxRestart = 3000;
const steadyAfter = 60_000;
/** How often it is looked whether workers live, milliseconds, and looks without a sign of life after which one is replaced. */
const lookEvery = 1000;
const mostMissed = 8;
/** How long a worker may take to listen, milliseconds. */
const startTimeout = 30_000;
/** How long a worker may take to end after its requests have, milliseconds. */
const endTimeout = 10_000;
/** Largest heap of a worker, megabytes: bodies are not part of it, and a heap that fills up is found soon. */
const largestHeap = 1024;
const smallestHeap = 256;
const megabyte = 1_048_576;
/** Several threads say one thing within this time, milliseconds. */
const sameWithin = 3000;

/** The number of threads that serve. */
export const workersOf = ({ server: { workers } }: Config): number => (workers === 'auto' ? availableParallelism() : workers);

/** The threads of a gate with so many workers; null for one. */
export const crewOf = (workers: number): Crew | null => (workers === 1 ? null : new Crew(workers, new Int32Array(new SharedArrayBuffer(4 * (shared.perWorker + workers * own.size))), sharedCountsMemory(workers)));

/** One of the places in which a worker runs. */
interface Place {
  readonly number: number;
  worker: Worker | null;
  link: Link | null;
  /** It listens. */
  isUp: boolean;
  startedAt: number;
  /** Signs of life at the last look, and looks without one since. */
  beats: number;
  missed: number;
  delay: number;
  timer: Timer | null;
  /** Why it is replaced, where that is known before its end. */
  reason: string | null;
}

/** The workers of a gate: starts them, replaces those that fail or are stuck, and ends them. */
export class Workforce {
  readonly #gate: Gate;
  readonly #crew: Crew;
  readonly #relay: Server;
  readonly #places: readonly Place[];
  /** A thread that waits for a place, with everything loaded: on a busy machine that takes seconds. Costs some 45 MB. */
  #spare: Worker | null = null;
  #port = 0;
  /** When events without a request were said, monotonic milliseconds. */
  readonly #said = new LRUCache<string, number>({ max: 256 });
  #isEnding = false;
  #looking: NodeJS.Timeout | null = null;

  constructor(gate: Gate, crew: Crew) {
    this.#gate = gate;
    this.#crew = crew;
    this.#relay = relayServer(gate);
    this.#places = Array.from({ length: crew.workers }, (_, number) => ({ number, worker: null, link: null, isUp: false, startedAt: 0, beats: 0, missed: 0, delay: firstRestart, timer: null, reason: null }));
    const { core, followers } = internalsOf(gate);
    crew.answer('log', (value) => {
      const [level, fields, event] = value as [keyof Logger, object, string];
      if (this.#isNew(event, fields)) core.log[level](fields, event);
    });
    crew.answer('relay', (value) => {
      const { port, peer } = value as { port: MessagePort; peer: RelayedPeer };
      this.#relay.emit('connection', new RelaySocket(port, peer, core.log));
    });
    crew.drain = (timeout, quiet) => this.#drain(timeout, quiet);
    followers.add((next) => this.#prepare(next));
  }

  /** The server of what workers hand on. It listens nowhere. */
  get relay(): Server {
    return this.#relay;
  }

  /** Starts all workers. @returns the port on which they listen. @throws ConfigError when they cannot. */
  async start(): Promise<number> {
    this.#port = await freePort(this.#gate.config);
    await Promise.all(this.#places.map((place) => this.#launch(place)));
    this.#spare = this.#load();
    const { log } = internalsOf(this.#gate).core;
    this.#looking = setInterval(guard(log, 'workers', () => this.#look()), lookEvery).unref();
    return this.#port;
  }

  /** Whether an event is not what another thread has just said: of a change of keys, of a target that is away. Those of a request are one's own. */
  #isNew(event: string, fields: object): boolean {
    if ('requestId' in fields) return true;
    const now = internalsOf(this.#gate).core.clock.monotonic();
    const text = `${event} ${JSON.stringify(fields)}`;
    if ((this.#said.get(text) ?? Number.NEGATIVE_INFINITY) > now - sameWithin) return false;
    this.#said.set(text, now);
    return true;
  }

  /** Starts a thread that loads everything and waits for its place. */
  #load(): Worker {
    const { log } = internalsOf(this.#gate).core;
    const worker = new Worker(file, { name: 'heimdall-worker', resourceLimits: { maxOldGenerationSizeMb: heapOf(this.#crew.workers) } });
    // That it has ended is enough of one that waits.
    worker.on('error', () => undefined);
    worker.once('exit', guard(log, 'worker', () => {
      if (this.#spare === worker) this.#spare = null;
    }));
    return worker;
  }

  /** Starts a worker, and resolves when it listens. */
  #launch(place: Place): Promise<void> {
    const { core, secret } = internalsOf(this.#gate);
    const start: WorkerStart = { config: { ...core.config, secret: secret() }, place: place.number, workers: this.#crew.workers, counts: this.#crew.counts, peers: this.#crew.peers, port: this.#port, certificates: this.#crew.certificates, ticketSecret: this.#crew.ticketSecret };
    const up = Promise.withResolvers<void>();
    const worker = this.#spare ?? this.#load();
    this.#spare = null;
    worker.postMessage(start);
    const link = new Link(place.number, worker, (topic, value) => (topic === 'listening' ? this.#listening(place, value, up) : this.#crew.hear(topic, value, link)), core.log);
    Object.assign(place, { worker, link, isUp: false, startedAt: core.clock.monotonic(), missed: 0, reason: null });
    let failed: unknown = null;
    worker.on('message', guard(core.log, 'worker', link.take));
    worker.on('error', (error: unknown) => void (failed = error));
    worker.once('exit', guard(core.log, 'worker', () => {
      up.reject(failed instanceof Error ? failed : new Error('the worker ended at its start'));
      this.#ended(place, link, failed);
    }));
    this.#crew.join(link);
    return up.promise;
  }

  #listening(place: Place, value: unknown, up: PromiseWithResolvers<void>): void {
    const { problem } = value as { readonly problem?: string };
    if (problem !== undefined) {
      up.reject(new ConfigError([{ path: 'server.workers', message: expectation('1 on this system, whose listeners cannot share a port', `${this.#gate.config.server.workers} (${problem})`, '1') }]));
      return;
    }
    place.isUp = true;
    up.resolve();
  }

  #ended(place: Place, link: Link, failed: unknown): void {
    const { log, clock } = internalsOf(this.#gate).core;
    this.#crew.leave(link);
    const wasUp = place.isUp;
    Object.assign(place, { worker: null, link: null, isUp: false });
    if (this.#isEnding) return;
    if (wasUp && clock.monotonic() - place.startedAt > steadyAfter) place.delay = firstRestart;
    log.error({ worker: place.number + 1, reason: place.reason ?? 'it failed', error: failed === null ? null : describe(failed), effect: 'its requests are lost, and another one takes its place' }, 'worker.failed');
    place.timer = clock.setTimeout(() => this.#replace(place), place.delay);
    place.timer.unref();
    place.delay = Math.min(maxRestart, place.delay * 2);
  }

  #replace(place: Place): void {
    const { log } = internalsOf(this.#gate).core;
    place.timer = null;
    if (this.#isEnding) return;
    // One that ends at its start is replaced as any other.
    this.#launch(place).then(() => {
      log.info({ worker: place.number + 1 }, 'worker.started');
      if (!this.#isEnding) this.#spare ??= this.#load();
    }, () => undefined);
  }

  /** Replaces workers without a sign of life: an endless loop, or a collector that works all the time. */
  #look(): void {
    const { clock } = internalsOf(this.#gate).core;
    for (const place of this.#places) {
      if (place.worker === null) continue;
      const beats = Atomics.load(this.#crew.counts, shared.perWorker + place.number * own.size + own.beats);
      place.missed = beats === place.beats ? place.missed + 1 : 0;
      place.beats = beats;
      const isStuck = place.isUp ? place.missed >= mostMissed : clock.monotonic() - place.startedAt > startTimeout;
      if (!isStuck || place.reason !== null) continue;
      place.reason = place.isUp ? `it gave no sign of life for ${mostMissed} s` : 'it did not listen in time';
      inBackground(internalsOf(this.#gate).core.log, 'worker', place.worker.terminate());
    }
  }

  /** Makes a configuration ready in all workers. What is not ready everywhere comes into force nowhere. */
  async #prepare(next: Config): Promise<Prepared> {
    const links = [...this.#crew.links];
    const config = { ...next, secret: internalsOf(this.#gate).secret() };
    const refuse = (): void => {
      for (const link of links) link.tell('reload.decided', false);
    };
    const enter = (): void => {
      for (const link of this.#crew.links) {
        // One that has begun since then begins with the configuration before.
        if (!links.includes(link)) inBackground(internalsOf(this.#gate).core.log, 'worker', link.ask('reload', config));
        link.tell('reload.decided', true);
      }
    };
    const asked = await Promise.allSettled(links.map((link) => link.ask('reload', config)));
    const refused = asked.find((each, at) => each.status === 'rejected' && this.#crew.links.has(links[at] as Link));
    if (refused?.status === 'rejected') {
      refuse();
      throw refused.reason;
    }
    return { enter, leave: refuse };
  }

  async #drain(timeout: number, quiet: number): Promise<void> {
    this.#isEnding = true;
    const { clock, log } = internalsOf(this.#gate).core;
    for (const { timer } of this.#places) if (timer !== null) clock.clearTimeout(timer);
    const late = new Promise<void>((resolve) => void setTimeout(resolve, timeout + endTimeout).unref());
    await Promise.race([late, Promise.allSettled([...this.#crew.links].map((link) => link.ask('drain', quiet)))]);
    if (this.#looking !== null) clearInterval(this.#looking);
    const ended = Promise.all([this.#spare, ...this.#places.map(({ worker }) => worker)].map((worker) => worker?.terminate()));
    inBackground(log, 'workers', ended);
    await Promise.race([late, ended]);
  }
}

/** The heap of a worker, megabytes. */
function heapOf(workers: number): number {
  const share = (totalmem() * 0.8) / megabyte / (workers + 1);
  return Math.floor(Math.max(smallestHeap, Math.min(largestHeap, getHeapStatistics().heap_size_limit / megabyte, share)));
}

/** Finds the port, and that no other process has it: listeners that share a port would share it with a second gate too. */
async function freePort({ server: { host, port } }: Config): Promise<number> {
  const probe = createTcp();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(port, host, resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : port;
}

type Handler = (req: IncomingMessage, res: ServerResponse, next: () => void) => void;

/** Serves what workers hand on, as if it had come from its client. */
function relayServer(gate: Gate): Server {
  const { core, servers, serves } = internalsOf(gate);
  const { maxHeaderBytes, readTimeout } = core.config.server;
  const server = createHttp({ maxHeaderSize: maxHeaderBytes, requireHostHeader: false, requestTimeout: 0, headersTimeout: readTimeout }, (req, res) => (gate as unknown as Handler)(req, res, () => refuse(core, req, res, 'invalid_target')));
  attach(core, server, { gate, serves, path: '/', ours: true });
  servers.add(server);
  return server;
}
