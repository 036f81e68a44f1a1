import type { Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';

/** Between two comments while nothing else can be sent, milliseconds. */
const every = 10_000;

/**
 * For clients behind something that cuts silent answers (Cloudflare after 100 s): after a while of waiting the head of a
 * stream goes out and comments follow, though no target has answered yet. Failover stays possible; what fails after that
 * is said as an event.
 */
export class Prelude {
  readonly #context: Context;
  #due: number;

  /** @param after milliseconds since the request arrived. */
  constructor(context: Context, after: number) {
    this.#context = context;
    this.#due = context.time + after;
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
  context.writeProxied(200, ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache', 'X-Accel-Buffering', 'no']);
  context.prelude = true;
  context.eventStream = true;
}

/**
 * A complete answer, most likely an error, to a client that has been sent a stream's head: its one event. An error that its
 * reader would not know for one, such as a page of HTML, is told in our words.
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
    const error = (JSON.parse(text) as { error?: unknown } | null)?.error;
    return error !== null && error !== undefined;
  } catch {
    return false;
  }
}
