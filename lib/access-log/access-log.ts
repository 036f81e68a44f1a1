// The access log: the formats of its lines, the console and the rotating file.

import type { Writable } from 'node:stream';
import type { Config } from '../../types/config.d.ts';
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

/** Access lines have level `info`: with a higher `logging.level` they leave the console, not the file. */
const isVerbose = ({ logging: { level } }: Config): boolean => level === 'info' || level === 'debug' || level === 'trace';

/**
 * Follows the configuration in force. A console that fails or falls behind loses lines and is reported once.
 * @param standalone whether the process belongs to the gate, which decides what the configuration leaves out.
 */
export function accessLog(core: Core, console: Writable, standalone: boolean): AccessLog {
  const { log } = core;
  const output = consoleOf(console);
  const isShown = (): boolean => (core.config.logging.console ?? standalone) && isVerbose(core.config);
  const fileOf = (): string | false => core.config.logging.file ?? (standalone ? 'heimdall.log' : false);
  let isOpen = true;
  const failed = (sink: string, error: object | string, effect: string): void => log.error({ sink, error, effect }, 'access_log.failed');
  let isReported = false;
  const report = (error: object | string): void => {
    if (!isReported) failed('console', error, 'access lines are lost');
    isReported = true;
  };
  const broke = (error: Error): void => report(describe(error));
  let isHeard = false;
  // The stream of a host that shows no lines is left alone.
  const hear = (): void => {
    if (!isHeard) console.on('error', broke);
    isHeard = true;
  };
  if (isShown()) hear();
  return {
    get isRead() {
      return isShown() || fileOf() !== false;
    },
    get file() {
      return fileOf();
    },
    get isShown() {
      return isShown();
    },
    isReadable: output.isTerminal,
    failed,
    show(lines) {
      hear();
      if (isOpen && !output.write(lines)) report('cannot keep up');
    },
    close() {
      isOpen = false;
      // The console may be the process's own stdout: it is not closed, and listened to until it has written everything.
      if (isHeard) console.write('', () => console.off('error', broke));
    },
  };
}
