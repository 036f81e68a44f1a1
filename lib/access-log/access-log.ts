// The access log: the formats of its lines, the console and the rotating file.

import type { Writable } from 'node:stream';
import type { Core } from '../request/request.ts';
import { describe } from '../platform/platform.ts';

export { AccessLineWriter } from './lines.ts';

/** Bytes that may wait for a slow terminal; further lines are dropped. */
const maxWaiting = 8_388_608;

/** The access log on the main thread, which writes the console. The journal's worker writes the file. */
export interface AccessLog {
  /** Lines are written, to the console or to the file. */
  readonly isRead: boolean;
  /** Lines are written to the console. */
  readonly isShown: boolean;
  show(lines: Uint8Array): void;
  /** Reports a failure of the console or the file as an event. */
  failed(sink: string, error: object | string, effect: string): void;
  close(): void;
}

/** A console that fails or falls behind loses lines and is reported once. */
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
      // The console may be the process's own stdout: it is not closed, and listened to until it has written everything.
      console?.write('', () => console.off('error', broke));
    },
  };
}
