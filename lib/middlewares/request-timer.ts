import type { Middleware } from './middleware.ts';

/** Adds `X-Response-Time`: milliseconds from the arrival of the request to the head of its answer. */
export const requestTimer: Middleware = {
  name: 'request_timer',
  create: () => ({
    every: (context, head) => {
      head.push('X-Response-Time', (context.headAt as number).toFixed(1));
    },
  }),
};
