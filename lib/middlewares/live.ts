import type { RouteConfig } from '../../types/config.d.ts';
import { type Context, ownRoute, underway } from '../request/request.ts';
import { type Deps, type Middleware, servedBeside } from './middleware.ts';

const json = ['Content-Type', 'application/json', 'Cache-Control', 'no-store'];

/**
 * Health, in the form of the original gateway. `/health` and `/health/live` answer 200 while the process serves, also when NewAPI
 * is down. `/health/ready` answers 503 while draining or when no target can be expected to answer, and lists configured routes
 * with health checks. Needs no slot, key or upstream.
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
      [`${base}/ready`, (context) => underway(context, ready(context))],
    ]);
    async function ready(context: Context): Promise<void> {
      core.probes.note(`${context.peer} ${context.headers['user-agent'] ?? ''}`, context.at, core.draining);
      const ok = !core.draining && (await deps.ready());
      context.answer(ok ? 200 : 503, [...json], JSON.stringify({ status: ok ? 'ready' : 'unavailable', ...routesShown(deps) }));
    }
    return {
      serves: servedBeside(deps.routes, [...answers.keys()]),
      handle: function liveHandler(context, next) {
        const { method } = context.req;
        const answer = answers.get(context.path);
        if (!answer || (method !== 'GET' && method !== 'HEAD')) return next();
        const row = deps.rows.get(context.route);
        if (row !== undefined && asksForMore(row)) return next();
        if (row === undefined) context.route = route;
        answer(context);
      },
    };
  },
};

/** A configured route at the same path that admits only some callers is answered further below, where the caller is known. */
const asksForMore = ({ middleware, headers }: RouteConfig): boolean => middleware.includes('auth') || Object.keys(headers).length > 0;

function routesShown({ routeHealth }: Deps): object {
  const shown = routeHealth.shown();
  return shown.length === 0 ? {} : { routes: Object.fromEntries(shown.map(({ path, status }) => [path, status])) };
}

/** Answers `/health`. */
export function alive(context: Context): void {
  const timestamp = Math.floor(context.time / 1000);
  context.answer(200, [...json], JSON.stringify({ status: 'healthy', service: 'Heimdall Security Gateway', timestamp }));
}
