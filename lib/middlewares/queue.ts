import type { Middleware } from './middleware.ts';

/**
 * Runs as many model requests at a time as the upstream can take: each gets a slot at once, a fair and bounded wait, or a refusal
 * that says when to come back. Every answer of a model route carries `X-Queue-Position`, the place at arrival (0: no wait), and
 * `X-Queue-Wait` in milliseconds. WebSockets have a count of their own; each caller may hold an eighth of `queue.websockets`.
 */
export const queue: Middleware = {
  name: 'queue',
  create(core, deps) {
    if (!core.config.queue.enabled) return {};
    return {
      handle: function queueHandler(context, next) {
        const { route, req } = context;
        // The client left while an earlier part was busy: a slot taken now would never be given back.
        if (context.finished) return;
        if (route.class === 'model' && route.body !== 'none') deps.queue.enter(context, next);
        else if (req.heimdallUpgrade !== undefined) deps.queue.enterSocket(context, next);
        else next();
      },
      every: (context, head) => {
        if (context.queuePosition === null) return;
        head.push('X-Queue-Position', String(context.queuePosition), 'X-Queue-Wait', String(context.queueWait));
      },
      finish: { release: deps.queue.release },
    };
  },
};
