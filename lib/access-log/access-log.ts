// The access log: the formats of its lines, the console and the rotating file.

import type { Writable } from 'node:stream';
import type { Core } from '../request/request.ts';
import { consoleOf, describe } from '../platform/platform.ts';

export { AccessLineWriter } from './lines.ts';

/** The access log on the main thread, which writes the console. The journal's worker writes the file. */
export interface AccessLog {
  /** Lines are written, to the console or to the file. */
  readonly isRead: boolean;
  readonly file: string | false;
  /** Lines are written to the console. */
  readonly isShown: boolean;
  /** The console is a terminal. */
  readonly isReadable: boolean;
  show(lines: Uint8Array): void;
  /** Reports a failure of the console or the file as an event. */
  failed(sink: string, error: object | string, effect: string): void;
  close(): void;
}

/** A console that fails or falls behind loses lines and is reported once. @param file of the lines. */
export function accessLog({ log }: Core, console: Writable | null, file: string | false): AccessLog {
  const output = console === null ? null : consoleOf(console);
  let isOpen = output !== null;
  const failed = (sink: string, error: object | string, effect: string): void => log.error({ sink, error, effect }, 'access_log.failed');
  let isReported = false;
  const report = (error: object | string): void => {
    if (!isReported) failed('console', error, 'access lines are lost');
    isReported = true;
  };
  const broke = (error: Error): void => report(describe(error));
  console?.on('error', broke);
  return {
    isRead: output !== null || file !== false,
    file,
    isShown: output !== null,
    isReadable: output?.isTerminal ?? false,
    failed,
    show(lines) {
      if (output !== null && isOpen && !output.write(lines)) report('cannot keep up');
    },
    close() {
      isOpen = false;
      // The console may be the process's own stdout: it is not closed, and listened to until it has written everything.
      console?.write('', () => console.off('error', broke));
    },
  };
}
