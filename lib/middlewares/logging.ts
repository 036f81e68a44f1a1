import type { Middleware } from '../part.ts';

/** One access line for every request, however it ended; written off the request's path. */
export const logging: Middleware = {
  name: 'logging',
  create: (_core, deps) => ({ finish: { record: deps.writeAccessLine } }),
};
