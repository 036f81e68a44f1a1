import type { Context } from '../context.ts';
import { contextOf, type Middleware } from '../part.ts';
import { ownRoute } from '../own-route.ts';

const json = ['Content-Type', 'application/json', 'Cache-Control', 'no-store'];

/**
 * Health, as the original gateway answers it: `/health` and `/health/live` while the process serves, NewAPI down included;
 * `/health/ready` says 503 while draining or when no target can be expected to answer. Needs no slot, key or upstream.
 */
export const live: Middleware = {
  name: 'live',
  create(core, deps) {
    const base = core.config.endpoints.health;
    if (base === false) return {};
    const route = ownRoute(base);
    const answers = new Map<string, (context: Context) => void>([
      [base, alive],
      [`${base}/live`, alive],
      [`${base}/ready`, (context) => void ready(context)],
    ]);
    async function ready(context: Context): Promise<void> {
      const ok = !core.draining && (await deps.ready());
      context.answer(ok ? 200 : 503, [...json], JSON.stringify({ status: ok ? 'ready' : 'unavailable' }));
    }
    return {
      handle: function liveHandler(req, _res, next) {
        const context = contextOf(req);
        const answer = answers.get(context.path);
        if (!answer || (req.method !== 'GET' && req.method !== 'HEAD')) return next();
        context.route = route;
        answer(context);
      },
    };
  },
};

function alive(context: Context): void {
  const timestamp = Math.floor(context.time / 1000);
  context.answer(200, [...json], JSON.stringify({ status: 'healthy', service: 'Heimdall Security Gateway', timestamp }));
}
