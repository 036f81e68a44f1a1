import type { RouteConfig } from '../../types/config.d.ts';
import { type Context, ownRoute } from '../request/request.ts';
import { contextOf, type Deps, type Middleware } from './middleware.ts';

const json = ['Content-Type', 'application/json', 'Cache-Control', 'no-store'];

/**
 * Health, as the original gateway answers it: `/health` and `/health/live` while the process serves, NewAPI down included;
 * `/health/ready` says 503 while draining or when no target can be expected to answer, and how configured routes that have
 * checks are. Needs no slot, key or upstream.
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
      context.answer(ok ? 200 : 503, [...json], JSON.stringify({ status: ok ? 'ready' : 'unavailable', ...routesShown(deps) }));
    }
    return {
      handle: function liveHandler(req, _res, next) {
        const context = contextOf(req);
        const answer = answers.get(context.path);
        if (!answer || (req.method !== 'GET' && req.method !== 'HEAD')) return next();
        const row = deps.rows.get(context.route);
        if (row !== undefined && asksForMore(row)) return next();
        if (row === undefined) context.route = route;
        answer(context);
      },
    };
  },
};

/** A route at the same path that lets in only some is answered further below, where they are known. */
const asksForMore = ({ middleware, headers }: RouteConfig): boolean => middleware.includes('auth') || Object.keys(headers).length > 0;

function routesShown({ routeHealth }: Deps): object {
  const shown = routeHealth.shown();
  return shown.length === 0 ? {} : { routes: Object.fromEntries(shown.map(({ path, status }) => [path, status])) };
}

/** The answer of `/health`. */
export function alive(context: Context): void {
  const timestamp = Math.floor(context.time / 1000);
  context.answer(200, [...json], JSON.stringify({ status: 'healthy', service: 'Heimdall Security Gateway', timestamp }));
}
