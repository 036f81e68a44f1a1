import type { Middleware } from './middleware.ts';

/** Model routes, answered by the upstream layer. */
export const openai: Middleware = {
  name: 'openai',
  create: (_core, { forward }) => ({
    serves: 'models',
    handle: forward,
  }),
};
