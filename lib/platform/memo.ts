/**
 * A text of its own. What is cut out of a longer text keeps all of that alive in V8: remembered for long, a name of twenty
 * letters would hold the half megabyte of requests it came with, and their secrets.
 */
export const ownText = (text: string): string => JSON.parse(JSON.stringify(text)) as string;

/** Counted with every text: what a map takes for it, in characters. */
const each = 64;

interface Kept<V> {
  readonly value: V;
  readonly size: number;
}

/** Remembers what was found out about texts, within bounds: when it is full, what was not asked for since it was full last is forgotten. */
export class Memo<V extends NonNullable<unknown> | null> {
  readonly #room: number;
  readonly #longest: number;
  #recent = new Map<string, Kept<V>>();
  #before = new Map<string, Kept<V>>();
  #used = 0;

  /** @param room characters, twice. @param longest characters of a text that is remembered. */
  constructor(room: number, longest: number) {
    this.#room = room;
    this.#longest = longest;
  }

  get(text: string): V | undefined {
    const found = this.#recent.get(text);
    if (found !== undefined) return found.value;
    const older = this.#before.get(text);
    if (older !== undefined) this.set(text, older.value, older.size);
    return older?.value;
  }

  /**
   * @param value holds nothing that was cut out of a longer text.
   * @param size characters of the value, where they count.
   */
  set(text: string, value: V, size = 0): void {
    if (text.length > this.#longest) return;
    const takes = each + text.length + size;
    if (this.#used + takes > this.#room) {
      this.#before = this.#recent;
      this.#recent = new Map();
      this.#used = 0;
    }
    this.#used += takes;
    this.#recent.set(ownText(text), { value, size });
  }
}

const none: readonly never[] = [];

/** Remembers the latest few findings of each text. */
export class Variants<V extends { readonly size: number }> {
  readonly #known: Memo<readonly V[]>;
  readonly #most: number;

  /** @param room as of a {@link Memo}. @param longest as well. @param most findings of one text. */
  constructor(room: number, longest: number, most: number) {
    this.#known = new Memo(room, longest);
    this.#most = most;
  }

  /** The latest first. */
  of(text: string): readonly V[] {
    return this.#known.get(text) ?? none;
  }

  /** @param value holds nothing that was cut out of a longer text; its `size` is characters. */
  add(text: string, value: V): void {
    const all = [value, ...this.of(text).slice(0, this.#most - 1)];
    this.#known.set(text, all, all.reduce((sum, { size }) => sum + size, 0));
  }
}

/** Texts of their own that stand for all that are the same. */
export class Texts {
  readonly #known: Memo<string>;

  constructor(room: number, longest: number) {
    this.#known = new Memo(room, longest);
  }

  own(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const own = ownText(text);
    this.#known.set(own, own);
    return own;
  }
}
