import { statSync } from 'node:fs';

/** How often files are looked at, milliseconds. */
export const lookEvery = 300;

/**
 * Tells when files have changed, by looking at them. Follows symbolic links: certbot and Kubernetes exchange those, and leave the
 * files as they are. A change counts once two looks have seen the same, so that half of a file is not read.
 */
export class WatchedFiles {
  readonly #paths: () => readonly string[];
  /** The files that were read last, as the file system tells them apart, and those that the last look has seen. */
  #read: string;
  #seen: string;

  /** @param paths those to look at; may change when they are {@link taken}. */
  constructor(paths: () => readonly string[]) {
    this.#paths = paths;
    this.#read = this.#seen = this.#state();
  }

  /** The files are read now. */
  taken(): void {
    this.#read = this.#seen = this.#state();
  }

  /** Looks at the files. @returns whether they have changed since they were read, and rest since the last look. */
  haveChanged(): boolean {
    const state = this.#state();
    const isSettled = state === this.#seen;
    this.#seen = state;
    return isSettled && state !== this.#read;
  }

  #state(): string {
    return this.#paths().map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? 'none' : `${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`;
    }).join(', ');
  }
}
