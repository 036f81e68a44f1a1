import { statSync } from 'node:fs';

/** How often files are looked at, milliseconds. */
export const lookEvery = 300;

/**
 * Tells when files have changed, by looking at them. Follows symbolic links: certbot and Kubernetes exchange those, and leave the
 * files as they are. A change counts once two looks have seen the same, so that half of a file is not read.
 */
export class WatchedFiles {
  readonly #paths: () => readonly string[];
  /** The files that were read last, as the file system tells them apart, by path, and those that the last look has seen. */
  #read: ReadonlyMap<string, string>;
  #seen: ReadonlyMap<string, string>;

  /** @param paths those to look at. One that is new counts as read, since what names it was read with it. */
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
    const isSettled = isSame(state, this.#seen);
    this.#seen = state;
    if (isSame(state, this.#read)) {
      this.#read = state;
      return false;
    }
    return isSettled;
  }

  #state(): ReadonlyMap<string, string> {
    return new Map(this.#paths().map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return [path, found === undefined ? 'none' : `${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`];
    }));
  }
}

/** Whether no file that was known before is another now. */
const isSame = (now: ReadonlyMap<string, string>, before: ReadonlyMap<string, string>): boolean => [...now].every(([path, state]) => (before.get(path) ?? state) === state);
