import { hash, timingSafeEqual } from 'node:crypto';
import { HeimdallError } from '../errors.ts';
import { ownRoute } from '../own-route.ts';
import { contextOf, type Middleware } from '../part.ts';

/** The gate's own endpoints, each behind its own token. Without a token the path is not ours and goes to NewAPI. */
export const endpoints: Middleware = {
  name: 'endpoints',
  create(core, deps) {
    const { enabled, token } = core.config.metrics;
    const path = core.config.endpoints.metrics;
    if (!enabled || token === null || path === false) return {};
    const expected = digest(token);
    const route = ownRoute(path);
    return {
      handle: function endpointsHandler(req, _res, next) {
        const context = contextOf(req);
        if (context.path !== path) return next();
        context.route = route;
        if (!carries(req.headers.authorization, expected)) {
          core.log.warn({ requestId: context.id, ip: context.ip, path }, 'auth.failed');
          return context.fail(new HeimdallError('unauthorized'));
        }
        if (req.method !== 'GET' && req.method !== 'HEAD') return context.fail(new HeimdallError('method_not_allowed'));
        deps.metrics.exposition().then((text) => context.answer(200, ['Content-Type', deps.metrics.contentType], text), next);
      },
    };
  },
};

const digest = (token: string): Buffer => hash('sha256', token, 'buffer');

/** Digests have one length, so the comparison takes the same time whatever was sent. */
function carries(header: string | undefined, expected: Buffer): boolean {
  const token = /^bearer (.+)$/i.exec(header ?? '')?.[1];
  return token !== undefined && timingSafeEqual(digest(token), expected);
}
