import { DONE, EVENT, chatBody, type Pace } from '../wire.ts';
import { callers } from './closed.ts';
import { Connection, type Exchange } from './connection.ts';
import type { FirstTokenResult, HoldResult, Job, RoundResult } from './jobs.ts';

type Of<Kind extends Job['kind']> = Extract<Job, { kind: Kind }>;

const FIRST_TOKEN_PACE: Pace = { chunks: 4, every: 0 };
const STREAM_LIMIT = 60_000;

let held: Connection[] = [];

/** Streams as fast as they come, `concurrency` at a time; bytes are counted, so a lost or added event is an error. */
export function streams({ to, concurrency, streams: count, pace }: Of<'streams'>): Promise<RoundResult> {
  const bytes = callers(to, chatBody(pace));
  const pool = Array.from({ length: concurrency }, () => new Connection(to.port));
  let left = count;
  let done = 0;
  let events = 0;
  let errors = 0;
  let firstError: string | undefined;
  const began = performance.now();
  return new Promise((resolve) => {
    const stop = (): void => {
      clearTimeout(timer);
      const seconds = (performance.now() - began) / 1000;
      for (const connection of pool) connection.close();
      resolve({ seconds, done, errors, firstError, events });
    };
    const timer = setTimeout(() => {
      errors += count - done;
      firstError ??= `round longer than ${STREAM_LIMIT} ms`;
      stop();
    }, STREAM_LIMIT);
    const next = (connection: Connection, index: number): void => {
      if (left-- <= 0) return;
      connection.send(bytes[index % bytes.length] as Buffer, {
        done: (exchange) => {
          const wrong = streamFault(exchange, pace);
          if (wrong === undefined) events += pace.chunks;
          else errors++;
          firstError ??= wrong;
          if (++done === count) stop();
          else next(connection, index);
        },
      });
    };
    pool.forEach(next);
  });
}

function streamFault(exchange: Exchange, pace: Pace): string | undefined {
  if (exchange.error !== undefined) return exchange.error;
  if (exchange.status !== 200) return `status ${exchange.status}`;
  const expected = pace.chunks * EVENT.length + DONE.length;
  return exchange.bytes === expected ? undefined : `a stream of ${exchange.bytes} bytes instead of ${expected}`;
}

/** One stream at a time, each endpoint in turn: how long until the first payload byte? */
export async function firstToken({ to, samples }: Of<'first-token'>): Promise<FirstTokenResult> {
  const lanes = to.map((endpoint) => ({
    connection: new Connection(endpoint.port),
    requests: callers(endpoint, chatBody(FIRST_TOKEN_PACE)),
    times: [] as number[],
  }));
  const warmUp = 50;
  for (let turn = 0; turn < samples + warmUp; turn++) {
    for (const { connection, requests, times } of lanes) {
      const time = await timeToFirst(connection, requests[turn % requests.length] as Buffer);
      if (turn >= warmUp) times.push(time);
    }
    // Low load is the point: leave the gate idle between two rounds.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  for (const { connection } of lanes) connection.close();
  return { samples: lanes.map((lane) => lane.times) };
}

function timeToFirst(connection: Connection, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = performance.now();
    connection.send(request, {
      done: (exchange) => {
        const wrong = streamFault(exchange, FIRST_TOKEN_PACE);
        if (wrong === undefined) resolve(exchange.firstByte - sent);
        else reject(new Error(wrong));
      },
    });
  });
}

/** Opens streams, a few each turn, and leaves them open; answers once each has brought its first bytes. */
export function hold({ to, streams: count, pace }: Of<'hold'>): Promise<HoldResult> {
  const bytes = callers(to, chatBody(pace));
  const live = new Set<Connection>();
  let firstError: string | undefined;
  let ended = 0;
  held = [];
  return new Promise((resolve) => {
    const report = (): void => {
      clearTimeout(timer);
      resolve({ live: live.size, firstError });
    };
    const timer = setTimeout(report, 15_000);
    const open = (): void => {
      for (let turn = 0; turn < 10 && held.length < count; turn++) {
        const connection = new Connection(to.port);
        const request = bytes[held.length % bytes.length] as Buffer;
        held.push(connection);
        connection.send(request, {
          data: () => {
            live.add(connection);
            if (live.size === count) report();
          },
          done: (exchange) => {
            live.delete(connection);
            firstError ??= streamFault(exchange, pace);
            if (++ended === count) report();
          },
        });
      }
      if (held.length < count) setTimeout(open, 5);
    };
    open();
  });
}

/** Ends what `hold` left open. */
export function release(): { released: number } {
  const released = held.length;
  for (const connection of held) connection.close();
  held = [];
  return { released };
}
