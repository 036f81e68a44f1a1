import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { Seen } from './state.ts';

/** A record of a request whose head has come. */
export function see(req: IncomingMessage): Seen {
  return {
    method: req.method ?? '',
    url: req.url ?? '',
    rawHeaders: req.rawHeaders,
    headers: req.headers,
    body: Buffer.alloc(0),
    bytes: 0,
    remoteAddress: req.socket.remoteAddress,
    httpVersion: req.httpVersion,
    status: 0,
    aborted: false,
    done: false,
    finished: Promise.resolve(),
  };
}

/** Closes the record with the answer. */
export function finishWithAnswer(seen: Seen, res: ServerResponse): void {
  seen.finished = new Promise((resolve) => {
    res.once('close', () => {
      seen.aborted = !res.writableFinished;
      if (res.headersSent) seen.status = res.statusCode;
      seen.done = true;
      resolve();
    });
  });
}

/** Closes the record with a connection that was taken over. */
export function finishWithSocket(seen: Seen, socket: Socket): void {
  seen.finished = new Promise((resolve) => {
    socket.once('close', () => {
      seen.done = true;
      resolve();
    });
  });
}
