import type { Context } from './context.ts';
import type { HeimdallError } from '../errors.ts';

/**
 * Ends a request in whatever phase it is: who waits for an answer is told why, an event stream ends with an error event, other
 * bytes break off, and a socket that was handed over is destroyed.
 */
export function cut(context: Context, error: HeimdallError): void {
  context.exchange?.abort();
  if (context.handedOver) context.req.socket.destroy();
  else context.fail(error);
}
