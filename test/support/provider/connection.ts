import type { Socket } from 'node:net';

import type { Manner } from './answer.ts';
import type { Call, Cut, Fault } from './fault.ts';
import { plan, type Plan } from './plan.ts';
import { createReader, type Reader } from './wire.ts';

/** What the connections share. */
export interface Shared {
  manner: Manner;
  reuse: 'keep' | Cut;
  readonly calls: Call[];
  connections: number;
  resets: number;
  readonly silent: (call: Call) => void;
  /** The fault for a connection just made, when it meets one before any request. */
  takeAccept(): Fault | undefined;
  takeFault(head: { method: string; path: string }): Fault;
  /** The port is closed: no connection is kept for another request. */
  draining(): boolean;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const KEPT_CALLS = 10_000;

/** Serves one connection until either side ends it; the returned function tells whether it is idle. */
export function serveConnection(socket: Socket, shared: Shared): () => boolean {
  const connection = ++shared.connections;
  let place = 0;
  let call: Writable<Call> | undefined;
  socket.on('error', () => {});
  socket.on('close', () => {
    if (call && !call.finished) call.aborted = true;
  });

  const early = shared.takeAccept();
  if (early) {
    meet(socket, early);
    return () => false;
  }

  const reader: Reader = createReader({
    head(head) {
      place++;
      const fault = shared.takeFault(head);
      call = { ...head, body: Buffer.alloc(0), received: false, connection, place, aborted: false, finished: false, stalled: false, fault };
      shared.calls.push(call);
      if (shared.calls.length > KEPT_CALLS) shared.calls.shift();
      // On a connection made earlier, `accept` is met when the next request begins.
      if ('at' in fault && fault.at === 'accept') return void meet(socket, fault), false;
      if (head.headers['expect'] !== undefined) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      return true;
    },
    body(body) {
      if (!call) return;
      call.body = body;
      call.received = true;
      void answer(socket, call, plan(call.fault, call, shared.manner), shared, () => (shared.draining() ? cut(socket, 'fin') : reader.next()));
    },
  });

  socket.on('data', (chunk: Buffer) => {
    if (shared.reuse !== 'keep' && place > 0 && call?.finished) {
      shared.resets++;
      cut(socket, shared.reuse);
      return;
    }
    reader.push(chunk);
  });
  return () => call === undefined || call.finished;
}

/** A fault before any request: nothing is read any more. */
function meet(socket: Socket, fault: Fault): void {
  if (fault.kind === 'reset') cut(socket, fault.by);
  else socket.pause();
}

async function answer(socket: Socket, call: Writable<Call>, { delay, parts, gap, endless, end }: Plan, { silent }: Shared, next: () => void): Promise<void> {
  const stall = (): void => {
    call.stalled = true;
    silent(call);
  };
  if (delay > 0) await pause(socket, delay);
  for (let i = 0; i < parts.length && !socket.destroyed; i++) {
    const part = parts[i];
    if (part && part.length > 0 && !socket.write(part)) await drained(socket);
    const last = i === parts.length - 1;
    if (last && endless) {
      i--;
      if (!call.stalled) stall();
    }
    // A turn between the parts lets a client in this process see them one by one; before a cut it lets it see the last.
    if (!last || endless || end !== 'keep') await pause(socket, gap);
  }
  if (socket.destroyed) return;
  if (end === 'hang') return stall();
  call.finished = true;
  if (end === 'keep') next();
  else cut(socket, end);
}

function cut(socket: Socket, by: Cut): void {
  if (by === 'rst') return void socket.resetAndDestroy();
  // Closing with bytes unread would send a reset: what still comes is read and dropped until the client closes, too.
  socket.removeAllListeners('data').resume().end();
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

function pause(socket: Socket, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (ms === 0) return void setImmediate(resolve);
    const done = (): void => {
      clearTimeout(timer);
      socket.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    socket.once('close', done);
  });
}
