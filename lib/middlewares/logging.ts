import { contextOf, type Middleware } from './middleware.ts';

/** One access line and one record for every request, however it ended; written off the request's path. */
export const logging: Middleware = {
  name: 'logging',
  create(core, deps) {
    const finish = { record: deps.record };
    if (core.config.audit.capture.response === 0) return { finish };
    return {
      finish,
      handle: function loggingHandler(req, _res, next) {
        const context = contextOf(req);
        if (context.route.class === 'model') deps.tap(context);
        next();
      },
    };
  },
};
