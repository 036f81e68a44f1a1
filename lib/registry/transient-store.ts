import { emptyContents, type Change, type Contents, type Store } from './contents.ts';

/** Keys, bans and findings of a gate that writes no file: they last as long as the process. */
export class TransientStore implements Store {
  readonly connects = false;
  #contents = emptyContents;
  #isRead = false;

  async read(): Promise<Contents | null> {
    if (this.#isRead) return null;
    this.#isRead = true;
    return this.#contents;
  }

  async change(edit: (contents: Contents) => Change): Promise<Contents> {
    const { keys, bans, findings, damaged } = this.#contents;
    const change = edit(this.#contents);
    this.#contents = { keys: changed(keys, change.keys), bans: changed(bans, change.bans), findings: changed(findings, change.findings), damaged };
    return this.#contents;
  }

  async remember(): Promise<void> {}

  async recall(_names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return new Map();
  }

  async forgetToken(): Promise<void> {}

  close(): void {}
}

function changed<T>(before: ReadonlyMap<string, T>, edits: readonly (readonly [name: string, value: T | null])[] = []): ReadonlyMap<string, T> {
  if (edits.length === 0) return before;
  const after = new Map(before);
  for (const [name, value] of edits) {
    if (value === null) after.delete(name);
    else after.set(name, value);
  }
  return after;
}
