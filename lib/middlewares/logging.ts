import type { Middleware } from './middleware.ts';

/** Writes one access line and one record for every request, however it ended; after the answer. */
export const logging: Middleware = {
  name: 'logging',
  create(core, deps) {
    const finish = { record: deps.record };
    if (core.config.audit.capture.response === 0) return { finish };
    return {
      finish,
      serves: 'models',
      handle: function loggingHandler(context, next) {
        deps.tap(context);
        next();
      },
    };
  },
};
