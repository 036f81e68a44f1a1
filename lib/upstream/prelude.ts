import type { Context } from '../context.ts';

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
    this.#due = after;
  }

  look(): void {
    const context = this.#context;
    if (context.elapsed() < this.#due || context.res.destroyed) return;
    this.#due = context.elapsed() + every;
    if (!context.prelude) begin(context);
    context.res.write(': waiting\n\n');
  }
}

function begin(context: Context): void {
  context.writeProxied(200, ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache', 'X-Accel-Buffering', 'no']);
  context.prelude = true;
  context.eventStream = true;
}

/** A complete answer, most likely an error, to a client that has been sent a stream's head: its one event. */
export function deliverAsEvent(context: Context, status: number, body: Buffer): void {
  const text = body.toString().replace(/\r?\n/g, ' ');
  const name = status >= 400 && context.route.errors === 'claude' ? 'event: error\n' : '';
  context.res.end(`${name}data: ${text}\n\n`);
}
