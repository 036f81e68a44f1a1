// The line a request leaves: its formats, and the console and rotating file it is written to.

import type { Writable } from 'node:stream';
import type { Core } from '../request/request.ts';
import { describe } from '../platform/platform.ts';

export { Lines } from './lines.ts';

/** Bytes that may wait for a slow terminal before lines are dropped. */
const maxWaiting = 8_388_608;

/** The access log on the main thread: the console. The file is the journal's thread's. */
export interface AccessLog {
  /** Whether anybody reads the lines, here or in the file. */
  readonly isRead: boolean;
  /** Whether they are wanted here. */
  readonly isShown: boolean;
  show(lines: Uint8Array): void;
  /** Tells the event log what is wrong with a sink. */
  failed(sink: string, error: object | string, effect: string): void;
  close(): void;
}

/** A console that fails or falls behind loses lines, is reported once, and stops nothing. */
export function accessLog({ config, log }: Core, console: Writable | null): AccessLog {
  let isOpen = console !== null;
  const failed = (sink: string, error: object | string, effect: string): void => log.error({ sink, error, effect }, 'access_log.failed');
  let isReported = false;
  const report = (error: object | string): void => {
    if (!isReported) failed('console', error, 'access lines are lost');
    isReported = true;
  };
  const broke = (error: Error): void => report(describe(error));
  console?.on('error', broke);
  return {
    isRead: console !== null || config.logging.file !== false,
    isShown: console !== null,
    failed,
    show(lines) {
      if (console === null || !isOpen) return;
      if (console.destroyed || console.writableLength > maxWaiting) report('cannot keep up');
      else console.write(lines);
    },
    close() {
      isOpen = false;
      // It may be the process's own: it is let go of once it has taken what it was given.
      console?.write('', () => console.off('error', broke));
    },
  };
}
