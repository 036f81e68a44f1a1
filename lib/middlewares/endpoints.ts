import { type Context, type Core, ownRoute } from '../request/request.ts';
import { BearerGuard } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { contextOf, type Deps, type Middleware, type Part } from './middleware.ts';

/**
 * The gate's own endpoints, each behind its own token. Without a token a path is not ours and goes to NewAPI, but for those
 * of ingestion: the receiver behind them asks nobody who is calling.
 */
export const endpoints: Middleware = {
  name: 'endpoints',
  create(core, deps) {
    const metrics = metricsPart(core, deps);
    const { admin, ingestion } = deps;
    return {
      ...metrics,
      handle: function endpointsHandler(req, res, next) {
        const context = contextOf(req);
        if (admin?.owns(context)) return admin.answer(context);
        if (context.path === ingestion.path ? req.method === 'POST' : ingestion.receiver.test(context.path)) return ingestion.answer(context);
        if (metrics.handle === undefined) return next();
        metrics.handle(req, res, next);
      },
    };
  },
};

function metricsPart(core: Core, deps: Deps): Part {
  const { enabled, token } = core.config.metrics;
  const path = core.config.endpoints.metrics;
  if (!enabled || token === null || path === false) return {};
  const guard = new BearerGuard(core, [token], 'auth.failed');
  const route = ownRoute(path);
  return {
    handle: function metricsHandler(req, _res, next) {
      const context = contextOf(req);
      if (context.path !== path || deps.rows.has(context.route)) return next();
      context.route = route;
      guard.check(context).then((refusal) => expose(context, deps, refusal)).then(undefined, next);
    },
    close: () => guard.close(),
  };
}

async function expose(context: Context, { metrics }: Deps, refusal: HeimdallError | null): Promise<void> {
  const { method } = context.req;
  if (refusal !== null) return context.fail(refusal);
  if (method === 'GET' || method === 'HEAD') return context.answer(200, ['Content-Type', metrics.contentType], await metrics.exposition());
  (context.extraHead ??= []).push('Allow', 'GET, HEAD');
  context.fail(new HeimdallError('method_not_allowed'));
}
