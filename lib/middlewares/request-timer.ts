import type { Middleware } from './middleware.ts';

/** Says how long the gate took until the head went out: `X-Response-Time`, milliseconds. */
export const requestTimer: Middleware = {
  name: 'request_timer',
  create: () => ({
    every: (context, head) => {
      head.push('X-Response-Time', (context.headAt as number).toFixed(1));
    },
  }),
};
