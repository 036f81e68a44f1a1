import { changedContents, emptyContents, type Change, type Contents, type Store } from './contents.ts';

/** Keys, bans and findings of a gate that writes no file: they last as long as the process. */
export class TransientStore implements Store {
  readonly connects = false;
  #contents = emptyContents;

  async read(): Promise<Contents> {
    return this.#contents;
  }

  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    this.#contents = changedContents(this.#contents, edit(this.#contents));
    return this.#contents;
  }

  async remember(): Promise<void> {}

  async recall(_names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return new Map();
  }

  async forgetToken(): Promise<void> {}

  close(): void {}
}
