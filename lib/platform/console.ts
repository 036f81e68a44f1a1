import type { Writable } from 'node:stream';

/** Bytes that may wait for a console that takes none; further lines are dropped. */
const maxWaiting = 8_388_608;

/** Where lines for people or a collector of logs go. */
export interface Console {
  /** Lines are read on a terminal. */
  readonly isTerminal: boolean;
  /** Never waits. @returns false when the line is dropped: the console is gone, or takes nothing. */
  write(line: string | Uint8Array): boolean;
}

/**
 * Writes to a stream of the process without ever waiting for its reader: Node writes pipes and sockets as they take it. The caller
 * listens for the stream's errors.
 */
export function consoleOf(stream: Writable & { readonly isTTY?: boolean }): Console {
  return {
    isTerminal: stream.isTTY === true,
    write(line) {
      if (stream.destroyed || stream.writableLength > maxWaiting) return false;
      stream.write(line);
      return true;
    },
  };
}

/** Resolves when a stream has written everything, or after a while. @param patience milliseconds. */
export function written(stream: Writable, patience: number): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, patience);
    stream.write('', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
