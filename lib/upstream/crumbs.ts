import { guarded, type Context } from '../request/request.ts';

/** Chunks of an answer smaller than this are crumbs, bytes: on its way each costs many times the memory of what it carries. */
export const crumbBytes = 64;
/** So many crumbs of an answer go on as they come. */
const mostSingle = 64;
/** Further ones that arrive together go on together, up to so many bytes. */
const gatheredBytes = 4096;

/**
 * The crumbs of an answer. An upstream can fill what Node reads at once with ten thousand chunks of one byte: those that arrive
 * in one turn of the event loop go on in few pieces, at the latest when it ends.
 */
export class Crumbs {
  readonly #context: Context;
  readonly #pass: (bytes: Buffer) => void;
  #single = 0;
  #room: Buffer | null = null;
  #length = 0;
  #isDue = false;

  /** @param pass is called within a guard. */
  constructor(context: Context, pass: (bytes: Buffer) => void) {
    this.#context = context;
    this.#pass = pass;
  }

  push(crumb: Buffer): void {
    if (this.#single === mostSingle) return this.#gather(crumb);
    this.#single++;
    this.#pass(crumb);
  }

  /** What has been gathered goes on, before what is larger, and before the end. */
  flush(): void {
    if (this.#length === 0) return;
    // A copy of its size: an upstream that sends a byte at a time would have a slow client's gate keep a whole room for each.
    const bytes = Buffer.from((this.#room as Buffer).subarray(0, this.#length));
    this.#length = 0;
    this.#pass(bytes);
  }

  #gather(crumb: Buffer): void {
    this.#room ??= Buffer.allocUnsafe(gatheredBytes);
    crumb.copy(this.#room, this.#length);
    this.#length += crumb.length;
    if (this.#length > gatheredBytes - crumbBytes) return this.flush();
    if (this.#isDue) return;
    this.#isDue = true;
    process.nextTick(guarded(this.#context, () => {
      this.#isDue = false;
      this.flush();
    }));
  }
}
