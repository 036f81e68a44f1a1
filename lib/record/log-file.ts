import { closeSync, constants, openSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join, parse } from 'node:path';
import type { LoggingConfig } from '../../types/config.d.ts';
import { makeDirectory } from '../directory.ts';

/** What is no file (a pipe, a terminal) and does not take lines at once loses them: to wait for it would stop the thread. Windows has no such flag. */
const appending = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | ((constants as Partial<typeof constants>).O_NONBLOCK ?? 0);

/**
 * A file of lines, mode 0600, that is rotated at its size: `access.log` becomes `access.1.log`, that one `access.2.log`, and
 * so on. It is opened anew for every write, so that who moves or removes it loses nothing of what comes after. It blocks its
 * thread, which must not be the one that serves.
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

  /** Adds whole lines, all or none of them. @throws Error as of the file system. */
  write(lines: Uint8Array): void {
    let size = sizeOf(this.path);
    if (size === null) makeDirectory(dirname(this.path));
    else if (size > 0 && size + lines.length > this.#maxSize) {
      this.#rotate();
      size = 0;
    }
    const file = openSync(this.path, appending, 0o600);
    try {
      writeFileSync(file, lines);
    } catch (error) {
      this.#takeBack(size ?? 0);
      throw error;
    } finally {
      closeSync(file);
    }
  }

  #rotate(): void {
    for (let nth = this.#maxFiles; nth > 0; nth--) if (sizeOf(this.#nth(nth - 1)) !== null) renameSync(this.#nth(nth - 1), this.#nth(nth));
  }

  #nth(nth: number): string {
    const { dir, name, ext } = parse(this.path);
    return nth === 0 ? this.path : join(dir, `${name}.${nth}${ext}`);
  }

  /** A full disk may have taken a part. */
  #takeBack(size: number): void {
    try {
      if ((sizeOf(this.path) ?? 0) > size) truncateSync(this.path, size);
    } catch {
      // Why it cannot be written is told by whoever tried to.
    }
  }
}

const sizeOf = (path: string): number | null => statSync(path, { throwIfNoEntry: false })?.size ?? null;
