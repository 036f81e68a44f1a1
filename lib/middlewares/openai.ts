import { contextOf, type Middleware } from './middleware.ts';

/** Model routes, answered by the upstream layer. */
export const openai: Middleware = {
  name: 'openai',
  create: (_core, deps) => ({
    handle: function openaiHandler(req, _res, next) {
      const context = contextOf(req);
      if (context.route.class !== 'model') return next();
      deps.forward(context);
    },
  }),
};
