import { Worker } from 'node:worker_threads';
import { callers, fault } from './closed.ts';
import { Connection } from './connection.ts';
import type { Job, OpenResult } from './jobs.ts';

/** Requests at the head of a segment that open the connections and are not counted. */
const LEAD = 100;

/**
 * Requests at fixed times, whether or not the earlier ones are answered; latency counts from the time a request
 * was due, so a stall is felt by every request it delays (no coordinated omission).
 */
export function openLoop({ to, rate, requests }: Extract<Job, { kind: 'open' }>): Promise<OpenResult> {
  const bytes = callers(to);
  const every = 1000 / rate;
  const idle: Connection[] = [];
  const all: Connection[] = [];
  const latencies: number[] = [];
  let errors = 0;
  let done = 0;
  let firstError: string | undefined;
  const start = performance.timeOrigin + performance.now() + 200;
  const ticker = new Worker(new URL('./ticker.ts', import.meta.url), { workerData: { start, every, count: requests } });
  return new Promise((resolve) => {
    const stop = (): void => {
      clearTimeout(timer);
      for (const connection of all) connection.close();
      void ticker.terminate();
      resolve({ latencies, errors, firstError });
    };
    const timer = setTimeout(() => {
      errors += requests - done;
      firstError ??= 'answers were still missing 10 s after the last request';
      stop();
    }, requests * every + 10_000);
    ticker.on('message', (index: number) => {
      const due = start + index * every - performance.timeOrigin;
      const connection = idle.pop() ?? add(all, to.port);
      connection.send(bytes[index % bytes.length] as Buffer, {
        done: (exchange) => {
          const wrong = fault(exchange, to.bytes);
          if (wrong !== undefined) errors++;
          else if (index >= LEAD) latencies.push(exchange.ended - due);
          firstError ??= wrong;
          idle.push(connection);
          if (++done === requests) stop();
        },
      });
    });
  });
}

function add(all: Connection[], port: number): Connection {
  const connection = new Connection(port);
  all.push(connection);
  return connection;
}
