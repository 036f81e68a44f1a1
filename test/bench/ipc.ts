/** Questions and answers between the benchmark and the processes it starts. */
export interface Question {
  readonly id: number;
  readonly op: string;
  readonly data: unknown;
}

/** One answer; `error` is set when the handler threw. */
export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** The first message of a child: the port it listens on, 0 when it does not listen. */
export interface Ready {
  readonly ready: number;
}

/** What a child says about its own consumption, in microseconds and bytes. */
export interface OwnUsage {
  readonly total: number;
  readonly main: number;
  readonly rss: number;
}

type Handler = (data: unknown) => unknown;

/** Reads the JSON a child was started with; throws when there is none. */
export function startSpec<T>(): T {
  const text = process.argv[2];
  if (text === undefined) throw new TypeError('expected the start specification as first argument');
  return JSON.parse(text) as T;
}

/**
 * Answers the parent's questions until it says `exit` or goes away.
 * @param port what the child listens on, 0 for none.
 * @param close runs before a requested exit, bounded to two seconds.
 */
export function answer(port: number, handlers: Record<string, Handler>, close?: () => unknown): void {
  const ops: Record<string, Handler> = { usage: ownUsage, exit: () => leave(close), ...handlers };
  process.on('message', (question: Question) => void reply(question, ops));
  process.on('disconnect', () => process.exit(0));
  process.send?.({ ready: port } satisfies Ready);
}

async function reply({ id, op, data }: Question, ops: Record<string, Handler>): Promise<void> {
  try {
    const handler = ops[op];
    if (handler === undefined) throw new TypeError(`unknown question ${op}`);
    process.send?.({ id, result: await handler(data) } satisfies Answer);
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.message : String(error) } satisfies Answer);
  }
}

function ownUsage(): OwnUsage {
  const total = process.cpuUsage();
  const main = process.threadCpuUsage();
  return { total: total.user + total.system, main: main.user + main.system, rss: process.memoryUsage.rss() };
}

async function leave(close: (() => unknown) | undefined): Promise<void> {
  setTimeout(() => process.exit(0), 2000).unref();
  await close?.();
  // process.exit, not an empty loop: it also writes the CPU profile while sockets are still open.
  setTimeout(() => process.exit(0), 10);
}
