import { type Context, type Core, type Next, ownRoute, relayTo, underway } from '../request/request.ts';
import { BearerGuard } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { receiver } from '../record/record.ts';
import { type Deps, type Handler, type Middleware, servedBeside } from './middleware.ts';

/**
 * The gate's own endpoints, each with its own token. Without a token a path belongs to NewAPI. Ingestion is the exception: the
 * original receiver behind its paths asks for no token, so they are never forwarded.
 */
export const endpoints: Middleware = {
  name: 'endpoints',
  create(core, deps) {
    const { admin, ingestion, original } = deps;
    const { crew } = core;
    const relay = crew?.isWorker === true ? relayTo(crew) : null;
    const metrics = metricsEndpoint(core, deps);
    const { log } = core.config.endpoints;
    const paths = [receiver, ...(original === null ? [] : ['/api/anomaly']), ...(log === false ? [] : [log]), ...(admin === null ? [] : [core.config.admin.path]), ...(metrics === null ? [] : [metrics.path])];
    return {
      serves: servedBeside(deps.routes, paths),
      handle: function endpointsHandler(context, next) {
        if (admin?.owns(context)) return relay === null ? admin.answer(context) : relay(context);
        if (original?.owns(context)) return relay === null ? original.answer(context) : relay(context);
        if (context.path === ingestion.path ? context.req.method === 'POST' : ingestion.receiver.test(context.path)) return relay === null ? ingestion.answer(context) : relay(context);
        if (metrics === null || context.path !== metrics.path || deps.rows.has(context.route)) return next();
        if (relay === null) metrics.answer(context, next);
        else relay(context);
      },
    };
  },
};

interface Endpoint {
  readonly path: string;
  readonly answer: Handler;
}

/** Null without `metrics.token`. */
function metricsEndpoint(core: Core, deps: Deps): Endpoint | null {
  const { enabled, token } = core.config.metrics;
  const path = core.config.endpoints.metrics;
  if (!enabled || token === null || path === false) return null;
  const guard = new BearerGuard(core, 'metrics', [token], 'auth.failed');
  const route = ownRoute(path, true);
  return {
    path,
    answer(context, next) {
      context.route = route;
      underway(context, expose(context, deps, guard.check(context), next));
    },
  };
}

async function expose(context: Context, { metrics }: Deps, refusal: HeimdallError | null, next: Next): Promise<void> {
  const { method } = context.req;
  if (refusal !== null) return context.fail(refusal);
  if (method === 'GET' || method === 'HEAD') {
    try {
      return context.answer(200, ['Content-Type', metrics.contentType], await metrics.exposition());
    } catch (error) {
      return next(error);
    }
  }
  (context.extraHead ??= []).push('Allow', 'GET, HEAD');
  context.fail(new HeimdallError('method_not_allowed'));
}
