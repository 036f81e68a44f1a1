import { basename, dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { createStream, type RotatingFileStream } from 'rotating-file-stream';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { Core } from '../core.ts';
import { describe } from '../describe.ts';

/** Bytes that may wait for a slow disk or terminal before lines are dropped. */
const maxWaiting = 8_388_608;

/** Where the access lines go. */
export interface AccessLog {
  /** Whether anybody reads them. */
  readonly isRead: boolean;
  write(lines: Uint8Array): void;
  close(): Promise<void>;
}

/**
 * The console and a rotating file (mode 0600), which the first line opens. A sink that fails or falls behind loses lines, is
 * reported once, and stops nothing.
 */
export function accessLog(core: Core, console: Writable | null): AccessLog {
  const config = core.config.logging;
  const sinks: Sink[] = console === null ? [] : [new Sink(core, 'console', console)];
  let file: RotatingFileStream | null = null;
  let closed = false;
  return {
    isRead: console !== null || config.file !== false,
    write(lines) {
      if (closed) return;
      if (file === null && config.file !== false) sinks.push(new Sink(core, config.file, (file = open(config, config.file))));
      for (const sink of sinks) sink.write(lines);
    },
    close() {
      closed = true;
      for (const sink of sinks) sink.close();
      return new Promise((resolve) => (file === null || file.destroyed ? resolve() : file.end(() => resolve())));
    },
  };
}

/** Apart from its directory the name is what a rotated file's name is made of. */
function open(config: LoggingConfig, path: string): RotatingFileStream {
  return createStream(basename(path), { path: dirname(path), size: `${Math.max(1, Math.ceil(config.maxSize / 1024))}K`, maxFiles: config.maxFiles, mode: 0o600 });
}

class Sink {
  readonly #core: Core;
  readonly #name: string;
  readonly #stream: Writable;
  readonly #failed = (error: Error): void => this.#report(error);
  #reported = false;

  constructor(core: Core, name: string, stream: Writable) {
    this.#core = core;
    this.#name = name;
    this.#stream = stream;
    stream.on('error', this.#failed);
  }

  write(lines: Uint8Array): void {
    if (this.#stream.destroyed || this.#stream.writableLength > maxWaiting) return this.#report(null);
    this.#stream.write(lines);
  }

  /** Lets go of the stream, which may be the process's own, once it has taken what it was given. */
  close(): void {
    this.#stream.write('', () => this.#stream.off('error', this.#failed));
  }

  #report(error: Error | null): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#core.log.error({ sink: this.#name, error: error === null ? 'cannot keep up' : describe(error), effect: 'access lines are lost' }, 'access_log.failed');
  }
}
