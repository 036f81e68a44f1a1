import { contextOf, type Middleware } from './middleware.ts';

/**
 * Lets as many model requests run at a time as the upstream can take: a slot now, a fair and bounded wait, or a refusal that
 * says when to come back. Every model answer says how it went: `X-Queue-Position`, the place at arrival, 0 for who ran at
 * once; `X-Queue-Wait`, milliseconds. WebSockets that need a credential are counted apart.
 */
export const queue: Middleware = {
  name: 'queue',
  create(core, deps) {
    if (!core.config.queue.enabled) return {};
    return {
      handle: function queueHandler(req, _res, next) {
        const context = contextOf(req);
        const { route } = context;
        // Left while a part before this one was busy: nothing would give its slot back.
        if (context.finished) return;
        if (route.class === 'model' && route.body !== 'none') deps.queue.enter(context, next);
        else if (req.heimdallUpgrade !== undefined && route.credential) deps.queue.enterSocket(context, next);
        else next();
      },
      every: (context, head) => {
        if (context.queuePosition === null) return;
        head.push('X-Queue-Position', String(context.queuePosition), 'X-Queue-Wait', String(context.queueWait));
      },
      finish: { release: (context) => context.slot?.release() },
    };
  },
};
