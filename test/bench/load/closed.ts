import net from 'node:net';
import { bodiesOf } from '../bodies.ts';
import { CALLER_KEYS, DONE, EVENT, chatBody, requestBytes, type Pace } from '../wire.ts';
import { Connection, type Exchange } from './connection.ts';
import type { Endpoint, FailoverResult, Job, Load, ProbeResult, RoundResult } from './jobs.ts';

type Of<Kind extends Job['kind']> = Extract<Job, { kind: Kind }>;

/** The requests of every caller to one endpoint, precomputed. */
export function callers(to: Endpoint, body = chatBody()): Buffer[] {
  return CALLER_KEYS.map((key) => requestBytes(to.port, key, body, to.headers));
}

/** Callers that send pictures: two hold 16 MB here for each contestant, eight would hold 64. */
const picturing = 2;
const made = new Map<string, Buffer[]>();

/** The bodies of all callers, made once; the callers repeat in their order. */
function bodies({ body, pace }: Load): Buffer[] {
  const name = JSON.stringify([body, pace]);
  let known = made.get(name);
  if (known === undefined) made.set(name, (known = bodiesOf(body, body === 'picture' ? picturing : CALLER_KEYS.length, pace)));
  return known;
}

/** The requests of a load: head and body apart, so that no body is copied for each contestant. */
function requestsOf(to: Endpoint, load: Load): Buffer[][] {
  return bodies(load).map((body, at) => {
    const request = requestBytes(to.port, CALLER_KEYS[at % CALLER_KEYS.length] as string, body, to.headers);
    return body.length > 65_536 * 4 ? [request.subarray(0, request.length - body.length), body] : [request];
  });
}

/** What is wrong with a plain answer; undefined when nothing is. */
export function fault(exchange: Exchange, bytes: number | undefined): string | undefined {
  if (exchange.error !== undefined) return exchange.error;
  if (exchange.status !== 200) return `status ${exchange.status}`;
  if (bytes !== undefined && exchange.bytes !== bytes) return `${exchange.bytes} bytes instead of ${bytes}`;
  return undefined;
}

/** Sends one request and waits for its answer, at most `limit` milliseconds. */
export function once(connection: Connection, request: Buffer | readonly Buffer[], limit = 10_000): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      connection.close();
      reject(new Error(`no answer within ${limit} ms`));
    }, limit);
    connection.send(request, {
      done: (exchange) => {
        clearTimeout(timer);
        resolve(exchange);
      },
    });
  });
}

const plain: Load = { body: 'small' };

/** Payload bytes of a streamed answer. */
const streamed = ({ chunks }: Pace): number => chunks * EVENT.length + DONE.length;

/** One request to see that a contestant answers, and how long its answer is. */
export async function probe({ to, load = plain }: Of<'probe'>): Promise<ProbeResult> {
  const connection = new Connection(to.port);
  const exchange = await once(connection, requestsOf(to, load)[0] as Buffer[]);
  connection.close();
  const wrong = fault(exchange, load.pace === undefined ? to.bytes : streamed(load.pace));
  if (wrong !== undefined) throw new Error(wrong);
  return { bytes: exchange.bytes };
}

/** A fixed number of requests over a fixed number of connections, each sending the next when it has its answer. */
export function closedLoop({ to, connections, requests, limit, load = plain }: Of<'closed'>): Promise<RoundResult> {
  const bytes = requestsOf(to, load);
  const expected = load.pace === undefined ? to.bytes : streamed(load.pace);
  const pool = Array.from({ length: connections }, () => new Connection(to.port));
  let left = requests;
  let sent = 0;
  let done = 0;
  let errors = 0;
  let firstError: string | undefined;
  const began = performance.now();
  return new Promise((resolve) => {
    const stop = (): void => {
      clearTimeout(timer);
      const seconds = (performance.now() - began) / 1000;
      for (const connection of pool) connection.close();
      resolve({ seconds, done, errors, firstError, events: 0 });
    };
    const timer = setTimeout(() => {
      errors += requests - done;
      firstError ??= `round longer than ${limit} ms`;
      stop();
    }, limit);
    const next = (connection: Connection): void => {
      if (left-- <= 0) return;
      // The next body of the list, so that a connection's caller sends another text each time.
      connection.send(bytes[sent++ % bytes.length] as Buffer[], {
        done: (exchange) => {
          const wrong = fault(exchange, expected);
          if (wrong !== undefined) firstError ??= wrong;
          if (wrong !== undefined) errors++;
          // A contestant that fails this often is invalid already: no point in going on.
          if (++done === requests || errors > 200) stop();
          else next(connection);
        },
      });
    };
    for (const connection of pool) next(connection);
  });
}

/** Requests one by one to a gate whose first target refuses: when did the second one see them? */
export async function failover({ to, samples }: Of<'failover'>): Promise<FailoverResult> {
  const requests = callers(to);
  const times: number[] = [];
  let errors = 0;
  let firstError: string | undefined;
  for (let index = 0; index < samples; index++) {
    try {
      times.push(await arrival(to.port, requests[index % requests.length] as Buffer));
    } catch (error) {
      errors++;
      firstError ??= (error as Error).message;
    }
  }
  return { samples: times, errors, firstError };
}

/** The stamped upstream answers with its own monotonic clock, which all processes of a machine share. */
function arrival(port: number, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    let text = '';
    let sent = 0n;
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10000 ms')));
    socket.on('connect', () => {
      sent = process.hrtime.bigint();
      socket.write(request);
    });
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      const arrived = /"arrived":"(\d+)"/.exec(text)?.[1];
      const failed = /^HTTP\/1\.1 [^2]\d\d/.exec(text)?.[0];
      if (arrived !== undefined) resolve(Number(BigInt(arrived) - sent) / 1e6);
      else if (failed !== undefined) reject(new Error(`status ${failed.slice(9)}`));
      else return;
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('connection closed')));
  });
}
