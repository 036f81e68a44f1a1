import { guarded, type Context } from '../request/request.ts';
import { Rounds } from '../platform/platform.ts';

/** Bytes that an answer passes on before others have their turn. */
const bytesInTurn = 262_144;
/** Answers that wait for their next turn. */
const turns = new Rounds(2);

/** Where the bytes of an answer come from. */
interface Source {
  pause(): unknown;
  resume(): unknown;
}

/**
 * The bytes of an answer on their way to the client. A slow client pauses the upstream, so that memory does not fill. A fast upstream
 * takes turns with all else: Node reads 2 MB of a connection at once, and with two hundred of them nothing else would be looked at
 * for seconds.
 */
export class Outflow {
  readonly #context: Context;
  readonly #source: Source;
  readonly #resumed: (() => void) | null;
  #inTurn = 0;

  /** @param resumed called when the client has room again. */
  constructor(context: Context, source: Source, resumed: (() => void) | null = null) {
    this.#context = context;
    this.#source = source;
    this.#resumed = resumed;
  }

  write(bytes: Buffer): void {
    const isFull = bytes.length > 0 && !this.#context.res.write(bytes);
    this.#inTurn += bytes.length;
    if (this.#inTurn >= bytesInTurn) this.#endTurn();
    else if (isFull) this.#waitForDrain();
  }

  #endTurn(): void {
    this.#inTurn = 0;
    this.#source.pause();
    turns.add(guarded(this.#context, () => {
      if (this.#context.res.writableNeedDrain) this.#waitForDrain();
      else this.#source.resume();
    }));
  }

  #waitForDrain(): void {
    this.#source.pause();
    this.#context.res.once('drain', guarded(this.#context, () => {
      this.#resumed?.();
      this.#source.resume();
    }));
  }
}
