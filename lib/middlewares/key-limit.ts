import { isConversation, type Context } from '../request/request.ts';
import type { Middleware } from './middleware.ts';

/** Requests, tokens, concurrency and budget of keys and policies. Without any limit it has no handler. */
export const keyLimit: Middleware = {
  name: 'key_limit',
  create(core, { limits, host }) {
    if (!limits.isPossible(core.config)) return {};
    const { skips } = host;
    return {
      handle: function keyLimitHandler(context, next) {
        if (context.route.class !== 'model' && !isLimited(context)) return next();
        if (!skips) return limits.admit(context, next);
        host.whetherSkipped(context, (skipped) => {
          if (skipped) next();
          else if (!context.finished) limits.admit(context, next);
        });
      },
      proxied: limits.answered,
      finish: { settle: limits.settle },
    };
  },
};

/** Polling for a task's result costs nothing. */
function isLimited(context: Context): boolean {
  const { route, req } = context;
  switch (route.class) {
    case 'model':
    case 'realtime':
      return true;
    case 'task':
      return route.credential && ((req.method !== 'GET' && req.method !== 'HEAD') || isConversation(context));
    case 'webhook':
    case 'api':
    case 'ui':
      return false;
  }
}
