import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { internalsOf } from '../../../lib/gateway.ts';
import type { Clock, ConfigInput, LlmInput, Timer } from '../../../lib/index.ts';
import { request, within, type TestLike } from '../../support/client.ts';
import { caller } from '../../support/clock.ts';
import { startGate, type RunningGate } from '../../support/gate.ts';
import { startProvider, type Call, type Provider } from '../../support/provider.ts';
import { KEY } from '../../support/ring.ts';
import { bearer, CALLER, OWN } from '../../support/scene.ts';
import { METRICS_TOKEN } from '../gate.ts';
import { anyModel, questions, send, type Headers, type Question, type Right } from './question.ts';
import type { Setting } from './rules.ts';

/** Events of text in every streamed answer. */
export const textEvents = 40;
/** How long the gate waits for an upstream, milliseconds: longer than any machine is busy. */
export const patience = 60_000;
const FIRST = 'our-own-secret-key-at-the-first';
export const now = (): number => Date.UTC(2026, 0, 5);

/** A gate before one or two upstreams that can be made to fail. */
export interface World {
  readonly setting: Setting;
  readonly primary: Provider;
  /** Stands there even where the gate does not know it: nobody may find it. */
  readonly backup: Provider;
  readonly gate: RunningGate;
  readonly clock: CountingClock;
  /** Of a caller who is let in. */
  readonly headers: Headers;
  /** Requests in hand. */
  live(): number;
  /** Exchanges all targets are working on, as the gate's own metrics say. */
  exchanges(): Promise<number>;
  /** Has the caller served once. @param kept on a connection that stays. */
  verify(kept: boolean): Promise<void>;
  /** The upstreams' right answers to a question about `anyModel`. */
  right(question: Question): Promise<Right>;
  /** Closes everything and says what would have stayed. */
  end(): Promise<Left>;
}

/** What a gate without work still holds. All of it should be 0. */
export interface Left {
  /** Busy connections to upstreams, any to clients, and what outlives the gate. */
  readonly sockets: number;
  readonly timers: number;
  /** Requests in hand, and exchanges of targets. */
  readonly slots: number;
}

export interface WorldOptions {
  /** How long the gate waits for a connection, milliseconds. Default `patience`. */
  readonly connect?: number;
  readonly config?: Omit<ConfigInput, 'llm'>;
  readonly llm?: LlmInput | ((primary: Provider) => LlmInput);
  /** Where the first target is, instead of `primary`. */
  readonly at?: string;
  /** What the second target speaks. */
  readonly provider?: string;
}

/** Times that a caller is asked to come back, 200 ms apart. */
const mostPauses = 50;

export async function startWorld(setting: Setting, options: WorldOptions = {}): Promise<World> {
  const closers: (() => unknown)[] = [];
  const scope: TestLike = { after: (run) => void closers.push(run) };
  const primary = await startProvider({ name: 'primary', events: textEvents, now, ...(setting.first === 'ours' && { key: FIRST }) });
  const backup = await startProvider({ name: 'backup', events: textEvents, now, key: OWN });
  const clock = countingClock();
  const gate = await startGate(scope, configOf(setting, primary, backup, options), { clock });
  const headers = bearer(setting.first === 'ours' ? KEY : CALLER);
  return {
    setting, primary, backup, gate, clock, headers,
    live: () => internalsOf(gate.gate).core.inFlight.size,
    exchanges: () => exchanges(gate.url),
    async verify(kept) {
      await primary.script([{ kind: 'ok', close: !kept }]);
      // A target that said in the trial before that it is overloaded is left alone for a while.
      for (let tries = 0; ; tries++) {
        const { status, text } = await send(gate.url, questions.chat, anyModel, headers);
        if (status === 200) return;
        if (status !== 503 || tries === mostPauses) throw new Error(`Expected the caller to be served, got ${status} ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    },
    async right(question) {
      await primary.script([]);
      return { primary: await asked(primary.url, question, FIRST), backup: await asked(backup.url, question, OWN) };
    },
    async end() {
      const left = await leftIn(gate, clock, [primary, backup]);
      for (const close of closers.reverse()) await close();
      const sockets = left.sockets + (await outlasting(() => primary.open + backup.open));
      const timers = left.timers + clock.delays().length;
      await Promise.all([primary.close(), backup.close()]);
      return { ...left, sockets, timers };
    },
  };
}

const asked = async (url: string, question: Question, key: string): Promise<string> => (await send(url, question, anyModel, bearer(key))).text;

function configOf(setting: Setting, primary: Provider, backup: Provider, { connect = patience, config, llm: given, at, provider = 'openai' }: WorldOptions): ConfigInput {
  const ours = setting.first === 'ours';
  const llm = typeof given === 'function' ? given(primary) : given;
  return {
    // A journal is part of the proof; the short form of the suite starts so many gates that its threads would be most of its work.
    ...(process.env['NODE_TEST_CONTEXT'] !== undefined && { audit: false }),
    ...config,
    newapi: { baseUrl: at ?? primary.url },
    ...(ours && { auth: { mode: 'keys', keys: [{ name: 'chaos', sha256: createHash('sha256').update(KEY).digest('hex') }] } }),
    metrics: { token: METRICS_TOKEN },
    rateLimit: { address: { limit: 1_000_000 } },
    circuitBreaker: { failureThreshold: 1000, ...config?.circuitBreaker },
    llm: {
      ...(ours && { provider, endpoint: at === undefined ? primary.endpoint : `${at}/v1`, apiKey: FIRST }),
      backupProviders: setting.backup ? [{ provider, endpoint: backup.endpoint, apiKey: OWN }] : [],
      timeouts: { connect, firstByte: patience, idle: patience },
      ...llm,
      retry: { maxRetries: 2, initialDelay: 1, maxDelay: 2, retryableErrors: ['rate_limit', 'server_error', ...(setting.timeout ? (['timeout'] as const) : [])], ...llm?.retry },
    },
  };
}

/** Whether an upstream has done with a request. */
export const isOver = ({ finished, aborted }: Call): boolean => finished || aborted;

/** What a gate still holds when its work is done. */
export async function leftIn({ gate, server, url }: RunningGate, clock: CountingClock, providers: readonly Provider[]): Promise<Left> {
  const { core } = internalsOf(gate);
  const inbound = (): Promise<number> => new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
  const busy = (): number => providers.flatMap(({ calls }) => calls).filter((call) => !isOver(call)).length;
  const slots = (await outlasting(() => core.inFlight.size)) + (await outlasting(() => exchanges(url)));
  const own = await (housekeeping ??= idleTimers());
  const timers = await outlasting(() => clock.delays().filter((ms) => !own.has(ms)).length);
  return { slots, sockets: (await outlasting(inbound)) + (await outlasting(busy)), timers };
}

let housekeeping: Promise<ReadonlySet<number>> | null = null;

/** The delays of timers that a gate keeps for itself when it has nothing to do. */
async function idleTimers(): Promise<ReadonlySet<number>> {
  const closers: (() => unknown)[] = [];
  const clock = countingClock();
  const upstream = await startProvider();
  const gate = await startGate({ after: (run) => void closers.push(run) }, { newapi: { baseUrl: upstream.url } }, { clock });
  await gate.gate.ready;
  await send(gate.url, questions.chat, anyModel, bearer(CALLER));
  await pause(700);
  const seen = new Set<number>();
  for (const over = performance.now() + 300; performance.now() < over; await pause(10)) for (const ms of clock.delays()) seen.add(ms);
  for (const close of closers.reverse()) await close();
  await upstream.close();
  return seen;
}

async function exchanges(url: string): Promise<number> {
  const { text } = await request(`${url}/metrics`, { headers: bearer(METRICS_TOKEN) });
  return [...text.matchAll(/^heimdall_upstream_active_requests\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What a count stays at that should fall to 0 soon. */
export async function outlasting(count: () => number | Promise<number>): Promise<number> {
  await within(patience, async () => (await count()) === 0);
  return count();
}

/** A real clock that knows which of its timers are armed. */
export interface CountingClock extends Clock {
  /** Milliseconds they were set to. */
  delays(): readonly number[];
  /** Stops the time, but not the timers; it goes as told until it goes on from there. */
  stop(): { forward(ms: number): void; go(): void };
  /** Lets no timer fire that a file arms from now on, until they are released. @param file the end of its path. */
  hold(file: string): { count(): number; release(): void };
}

interface Armed extends Timer {
  readonly ms: number;
  readonly isHeld: boolean;
  start(): void;
  stop(): void;
}

export function countingClock(): CountingClock {
  const armed = new Set<Armed>();
  let held: string | null = null;
  let stopped: number | null = null;
  let ahead = 0;
  const now = (): number => stopped ?? Date.now() + ahead;
  return {
    now,
    monotonic: now,
    setTimeout(run, ms) {
      let real: NodeJS.Timeout | undefined;
      const timer: Armed = {
        ms,
        isHeld: held !== null && caller().includes(`${held}:`),
        start() {
          armed.add(timer);
          real ??= setTimeout(() => {
            armed.delete(timer);
            run();
          }, ms).unref();
        },
        stop() {
          armed.delete(timer);
          clearTimeout(real);
        },
        refresh: () => void real?.refresh(),
        unref: () => timer,
      };
      if (timer.isHeld) armed.add(timer);
      else timer.start();
      return timer;
    },
    clearTimeout: (timer) => (timer as Armed | undefined)?.stop(),
    delays: () => [...armed].map(({ ms }) => ms),
    hold(file) {
      held = file;
      const waiting = (): Armed[] => [...armed].filter(({ isHeld }) => isHeld);
      return {
        count: () => waiting().length,
        release() {
          held = null;
          for (const timer of waiting()) timer.start();
        },
      };
    },
    stop() {
      let at = (stopped = now());
      return {
        forward: (ms) => void (stopped = at += ms),
        go() {
          ahead = at - Date.now();
          stopped = null;
        },
      };
    },
  };
}
