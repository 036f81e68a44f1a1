import type { Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { errorIn } from './sse.ts';

/** Between two comments while there is nothing else to send, milliseconds. */
const every = 10_000;

/**
 * For clients behind a proxy that cuts silent answers (Cloudflare after 100 s): after a time of waiting the gate sends the
 * head of a stream, then comments, although no target has answered yet. Failover stays possible; a later failure is told as an
 * event.
 */
export class Prelude {
  readonly #context: Context;
  #due: number;

  /** @param after milliseconds since the request arrived. */
  constructor(context: Context, after: number) {
    this.#context = context;
    this.#due = context.at + after;
  }

  look(now: number): void {
    const context = this.#context;
    if (now < this.#due || context.res.destroyed || context.res.writableEnded) return;
    this.#due = now + every;
    if (!context.prelude) begin(context);
    context.res.write(': waiting\n\n');
  }
}

function begin(context: Context): void {
  context.writeProxied(200, ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache, no-transform', 'X-Accel-Buffering', 'no']);
  context.prelude = true;
  context.eventStream = true;
}

/**
 * Sends a complete answer, most likely an error, as one event to a client that has been sent the head of a stream. An error that
 * a client cannot recognise, such as a page of HTML, is replaced by one of ours.
 */
export function deliverAsEvent(context: Context, status: number, body: Buffer): void {
  const text = body.toString().replace(/[\r\n]+/g, ' ');
  if (status >= 300 && !isError(text)) return context.fail(new HeimdallError('upstream_error', { status }));
  const name = status >= 400 && context.route.errors === 'claude' ? 'event: error\n' : '';
  const event = `${name}data: ${text}\n\n`;
  context.bytesOut += Buffer.byteLength(event);
  context.res.end(event);
}

function isError(text: string): boolean {
  try {
    return errorIn(JSON.parse(text)) !== null;
  } catch {
    return false;
  }
}
