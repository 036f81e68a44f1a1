/**
 * Keeps the end of bytes that arrive in pieces: the last `limit` bytes at least, twice as many at most. Pieces are copied, so that
 * pieces of any size cost the same memory; the work is linear in the bytes that arrive.
 */
export class Tail {
  readonly #limit: number;
  #bytes: Buffer = nothing;
  #length = 0;

  /** @param limit bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get empty(): boolean {
    return this.#length === 0;
  }

  append(piece: Buffer, from = 0, to: number = piece.length): void {
    const start = Math.max(from, to - this.#limit);
    const added = to - start;
    if (start > from) this.#length = 0;
    if (this.#length + added > this.#bytes.length) this.#makeRoom(added);
    piece.copy(this.#bytes, this.#length, start, to);
    this.#length += added;
  }

  /** Takes the kept bytes out. They are valid until more is appended. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length > kept) this.#bytes = nothing;
    return taken;
  }

  #makeRoom(added: number): void {
    const most = 2 * this.#limit;
    const from = this.#length + added > most ? this.#length - Math.min(this.#length, this.#limit) : 0;
    const size = Math.min(most, Math.max(smallest, 2 * (this.#length + added)));
    const room = this.#bytes.length >= size ? this.#bytes : Buffer.allocUnsafe(size);
    this.#bytes.copy(room, 0, from, this.#length);
    this.#bytes = room;
    this.#length -= from;
  }
}

const nothing = Buffer.alloc(0);
const smallest = 512;
/** Largest buffer that is kept for the next bytes. */
const kept = 16_384;
