import { closeSync, constants, fstatSync, ftruncateSync, lstatSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, parse } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { LoggingConfig } from '../../types/config.d.ts';
import { makeDirectory } from '../platform/platform.ts';

/** A pipe or a terminal that does not take lines at once loses them: waiting would stop the thread. Windows has no such flag. */
const appending = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | ((constants as Partial<typeof constants>).O_NONBLOCK ?? 0);

/**
 * A file of lines with mode 0600 that is rotated at its maximum size: `access.log` becomes `access.1.log`, that one
 * `access.2.log`, and so on. A link or a pipe is not rotated. The file is opened for every write, so that it may be moved or removed
 * at any time, and several gates may share it. Writing blocks the thread, which must not be the main thread.
 */
export class LogFile {
  readonly path: string;
  readonly #maxSize: number;
  readonly #maxFiles: number;

  constructor(path: string, { maxSize, maxFiles }: Pick<LoggingConfig, 'maxSize' | 'maxFiles'>) {
    this.path = path;
    this.#maxSize = maxSize;
    this.#maxFiles = maxFiles;
  }

  /**
   * Adds whole lines.
   * @returns the error of a rotation that failed; the lines are written all the same.
   * @throws Error of the file system; nothing is written then.
   */
  write(lines: Uint8Array): Error | null {
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    if (found === undefined) makeDirectory(dirname(this.path));
    const isDue = found?.isFile() === true && found.size > 0 && found.size + lines.length > this.#maxSize;
    const wrong = isDue ? this.#tryRotate() : null;
    this.#append(lines);
    return wrong;
  }

  #append(lines: Uint8Array): void {
    const file = openSync(this.path, appending, 0o600);
    const before = fstatSync(file);
    try {
      writeFileSync(file, lines);
    } catch (error) {
      // A full disk may have taken a part of the lines.
      if (before.isFile() && fstatSync(file).size > before.size) ftruncateSync(file, before.size);
      throw error;
    } finally {
      closeSync(file);
    }
  }

  #tryRotate(): Error | null {
    try {
      this.#rotate();
      return null;
    } catch (error) {
      return error as Error;
    }
  }

  /** Of several gates the one that renames the file first rotates it; the others go on with the new file. */
  #rotate(): void {
    const taken = this.#named(`${process.pid}-${threadId}`);
    try {
      renameSync(this.path, taken);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    try {
      this.#shift(taken);
    } catch (error) {
      if (!isThere(this.path)) renameSync(taken, this.path);
      throw error;
    }
  }

  #shift(taken: string): void {
    let free = 1;
    while (free < this.#maxFiles && isThere(this.#named(free))) free++;
    for (let nth = free; nth > 1; nth--) renameSync(this.#named(nth - 1), this.#named(nth));
    renameSync(taken, this.#named(1));
  }

  #named(by: number | string): string {
    const { dir, name, ext } = parse(this.path);
    return join(dir, `${name}.${by}${ext}`);
  }
}

const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
