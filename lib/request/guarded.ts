import { describe } from '../platform/platform.ts';
import { HeimdallError, type ErrorCode } from '../errors.ts';
import type { Context } from './context.ts';

/**
 * Ends a request whose callback threw outside Express, and no other: the exchange with the upstream is aborted, the client gets
 * an error or, after the first byte, a broken connection, and everything that the request holds is given back. The event log
 * tells it once.
 * @param code what the client is told.
 */
export function contain(context: Context, error: unknown, code: ErrorCode = 'internal_error'): void {
  const { core, exchange, res, req } = context;
  if (!context.contained) core.log.error({ requestId: context.id, error: describe(error), stack: error instanceof Error ? error.stack : null }, 'request.panic');
  context.contained = true;
  attempt(() => exchange?.abort());
  context.exchange = null;
  const told = attempt(() => context.fail(new HeimdallError(code, { cause: error, ...(code === 'internal_error' && { status: 503 }) })));
  // The response finishes the request when it closes.
  if (told && !context.handedOver && !res.closed && (res.writableEnded || res.destroyed)) return;
  attempt(() => res.destroy());
  attempt(() => req.socket.destroy());
  attempt(() => context.finish());
}

/** @returns whether it did not throw. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

/** Lets the work of a request go on. A rejection ends that request alone: see {@link contain}. */
export function underway(context: Context, work: Promise<unknown>): void {
  work.catch((error: unknown) => contain(context, error));
}

/** A callback for Node, a proxy or a timer; what it throws ends its request alone: see {@link contain}. */
export function guarded<Args extends readonly unknown[]>(context: Context, callback: (...args: Args) => void, code?: ErrorCode): (...args: Args) => void {
  return (...args) => {
    try {
      callback(...args);
    } catch (error) {
      contain(context, error, code);
    }
  };
}
