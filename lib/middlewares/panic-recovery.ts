import { Context, isMadeUp, type GateRequest } from '../request/request.ts';
import { describe } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import type { Middleware } from './middleware.ts';

/** The one error handler: any error of a part becomes an answer with a request id and a line in the event log. */
export const panicRecovery: Middleware = {
  name: 'panic_recovery',
  create: (core) => ({
    catch: function panicRecoveryHandler(error, req, res, next) {
      if (isMadeUp(req)) return next(error);
      const context = (req as GateRequest).heimdall ?? new Context(core, req, res);
      if (!(error instanceof HeimdallError)) core.log.error({ requestId: context.id, error: describe(error), stack: error instanceof Error ? error.stack : null }, 'request.panic');
      context.exchange?.abort();
      context.fail(error instanceof HeimdallError ? error : new HeimdallError('internal_error', { cause: error }));
    },
  }),
};
