import type { Socket } from 'node:net';
import { render, type HeimdallError } from '../errors.ts';
import { guarded, type Context, type Exchange } from '../request/request.ts';
import { SocketMeter, sumOf } from '../usage/usage.ts';

/**
 * Counts what the answers on a WebSocket have used so far and makes room for the next one.
 * @param refused is called, at once or later, when there is no room.
 */
export type Spend = (context: Context, refused: (error: HeimdallError) => void) => void;

/** The close code of a broken policy (RFC 6455 §7.4.1). */
const policyViolation = 1008;
const finalText = 0x81;
const finalClose = 0x88;

/** The exchange of a WebSocket on which a model answers: adds up what its answers use, and ends it when the caller's limit is reached. */
export class MeteredSocket implements Exchange {
  readonly #context: Context;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #meter: SocketMeter;
  #isOver = false;
  /** The client is told why the socket ends, and closes it. */
  isTold = false;

  /** @param speaks the gate may write a message of its own: what the meter has seen is what the client has been sent. */
  constructor(context: Context, client: Socket, upstream: Socket, speaks: boolean, spend: Spend) {
    this.#context = context;
    this.#client = client;
    this.#upstream = upstream;
    this.#meter = new SocketMeter((usage) => {
      context.usage = sumOf(context.usage, usage);
      // An answer of a model proves the token, as on model routes.
      if (context.upstreamCredential === null) context.newapiVerdict = 'accepted';
      if (!this.#isOver) spend(context, (error) => this.#refuse(error, speaks));
    });
    context.servedModel = context.model;
    // The proxy puts back what came behind the head of the handshake, then joins the sockets; they flow a turn later.
    process.nextTick(guarded(context, () => upstream.on('data', guarded(context, (chunk: Buffer) => this.#meter.push(chunk)))));
  }

  abort(): void {
    this.#isOver = true;
    const rest = this.#meter.rest(this.#client.bytesRead);
    if (rest !== null) this.#context.usage = sumOf(this.#context.usage, rest);
  }

  look(): void {}

  /** Ends both sides, once what has arrived is passed on. */
  #refuse(error: HeimdallError, speaks: boolean): void {
    const context = this.#context;
    if (this.#isOver) return;
    this.#isOver = true;
    context.errorCode ??= error.code;
    context.outcome = 'refused';
    setImmediate(guarded(context, () => {
      const client = this.#client;
      if (speaks && this.#meter.isBetween && client.writable) {
        this.isTold = true;
        // What the client still sends reaches no one.
        client.unpipe(this.#upstream).resume();
        client.end(lastWords(error, context.id));
      }
      this.#upstream.destroy();
    }));
  }
}

/** An error event of the realtime API, and the end of the connection. */
function lastWords(error: HeimdallError, id: string): Buffer {
  const { error: told } = JSON.parse(render(error, 'openai', id)) as { readonly error: object };
  const reason = Buffer.alloc(2 + Buffer.byteLength(error.code));
  reason.writeUInt16BE(policyViolation);
  reason.write(error.code, 2);
  return Buffer.concat([frame(finalText, Buffer.from(JSON.stringify({ type: 'error', event_id: id, error: told }))), frame(finalClose, reason)]);
}

/** A frame of a server (RFC 6455 §5.2). @param payload of at most 65535 bytes. */
function frame(first: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = length < 126 ? [first, length] : [first, 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), payload]);
}
