import type { Context } from '../request/request.ts';
import { contextOf, type Middleware } from './middleware.ts';

/** Requests, tokens, concurrency and budget of keys and policies. Without any limit it is not there. */
export const keyLimit: Middleware = {
  name: 'key_limit',
  create(_core, { limits }) {
    if (!limits.possible) return {};
    return {
      handle: function keyLimitHandler(req, _res, next) {
        const context = contextOf(req);
        if (isLimited(context)) limits.admit(context, next);
        else next();
      },
      proxied: limits.answered,
      finish: { settle: limits.settle },
    };
  },
};

/** Whoever waits for a task asks for it again and again; that costs nothing. */
function isLimited({ route, req }: Context): boolean {
  switch (route.class) {
    case 'model':
    case 'realtime':
      return true;
    case 'task':
      return route.credential && req.method !== 'GET' && req.method !== 'HEAD';
    case 'webhook':
    case 'api':
    case 'ui':
      return false;
  }
}
