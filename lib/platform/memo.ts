/**
 * A copy of a text with memory of its own. In V8 a part of a text keeps the whole text alive: a cached name of twenty letters
 * would keep half a megabyte of request, and the secrets in it.
 */
export const ownText = (text: string): string => JSON.parse(JSON.stringify(text)) as string;

/** Memory of one entry beside its text and value, in characters. */
const entryOverhead = 64;

interface Entry<V> {
  readonly value: V;
  readonly size: number;
}

/**
 * A bounded cache by text. It holds two generations: when the newer one is full, it becomes the older one, and entries of the
 * former older one that were not read since are dropped.
 */
export class Memo<V extends NonNullable<unknown> | null> {
  readonly #capacity: number;
  readonly #maxText: number;
  #recent = new Map<string, Entry<V>>();
  #older = new Map<string, Entry<V>>();
  #used = 0;

  /** @param capacity characters of each of the two generations. @param maxText longer texts are not cached, characters. */
  constructor(capacity: number, maxText: number) {
    this.#capacity = capacity;
    this.#maxText = maxText;
  }

  get(text: string): V | undefined {
    const found = this.#recent.get(text);
    if (found !== undefined) return found.value;
    const older = this.#older.get(text);
    if (older !== undefined) this.set(text, older.value, older.size);
    return older?.value;
  }

  /**
   * @param value contains no part of a longer text, see {@link ownText}.
   * @param size characters in the value, where they count.
   */
  set(text: string, value: V, size = 0): void {
    if (text.length > this.#maxText) return;
    const takes = entryOverhead + text.length + size;
    if (this.#used + takes > this.#capacity) {
      this.#older = this.#recent;
      this.#recent = new Map();
      this.#used = 0;
    }
    this.#used += takes;
    this.#recent.set(ownText(text), { value, size });
  }
}

const none: readonly never[] = [];

/** A bounded cache of the latest few values of each text. */
export class Variants<V extends { readonly size: number }> {
  readonly #memo: Memo<readonly V[]>;
  readonly #maxVariants: number;

  /** @param capacity as of a {@link Memo}. @param maxText as of a {@link Memo}. @param maxVariants values of one text. */
  constructor(capacity: number, maxText: number, maxVariants: number) {
    this.#memo = new Memo(capacity, maxText);
    this.#maxVariants = maxVariants;
  }

  /** The values of a text, the latest first. */
  get(text: string): readonly V[] {
    return this.#memo.get(text) ?? none;
  }

  /** @param value contains no part of a longer text; its `size` is in characters. */
  add(text: string, value: V): void {
    const all = [value, ...this.get(text).slice(0, this.#maxVariants - 1)];
    this.#memo.set(text, all, all.reduce((sum, { size }) => sum + size, 0));
  }
}

/** One copy for all equal texts. */
export class InternedTexts {
  readonly #memo: Memo<string>;

  /** @param capacity as of a {@link Memo}. @param maxText as of a {@link Memo}. */
  constructor(capacity: number, maxText: number) {
    this.#memo = new Memo(capacity, maxText);
  }

  own(text: string): string {
    const known = this.#memo.get(text);
    if (known !== undefined) return known;
    const own = ownText(text);
    this.#memo.set(own, own);
    return own;
  }
}
