import { head, pause } from './exchange.ts';
import type { Exchange } from './state.ts';

const SSE = [
  'Content-Type',
  'text/event-stream',
  'Cache-Control',
  'no-cache',
  'Connection',
  'keep-alive',
  'X-Accel-Buffering',
  'no',
] as const;

/** Sends an event stream frame by frame, with back pressure; stops when the client leaves. True when all of it went out. */
export async function stream(x: Exchange, frames: readonly string[]): Promise<boolean> {
  const { res, state } = x;
  head(x, 200, SSE);
  res.flushHeaders();
  if (state.settings.ping) res.write(': PING\n\n');
  for (const frame of frames) {
    await pause(x, state.settings.pace);
    if (res.closed || res.destroyed) return false;
    if (!res.write(frame)) await drained(x);
  }
  if (!res.destroyed) res.end();
  return !res.destroyed;
}

function drained({ res }: Exchange): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      res.off('drain', done);
      res.off('close', done);
      resolve();
    };
    res.on('drain', done);
    res.on('close', done);
  });
}
