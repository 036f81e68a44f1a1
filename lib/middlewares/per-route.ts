import type { RouteConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import { type Context, type Finisher, type HeadPart, stages } from '../request/request.ts';
import { contextOf, type Handler, type Middleware, type Part } from './middleware.ts';

/**
 * The parts with those that only some routes have: each at its place in the chain, for these routes alone. A route's list
 * adds parts; it takes none away and moves none, so that nothing stands before what protects it.
 * @param chain every part in its order.
 * @param parts those that run for all requests, in theirs.
 */
export function onRoutes(chain: readonly Middleware[], parts: readonly Middleware[], rows: ReadonlyMap<Route, RouteConfig>): readonly Middleware[] {
  const all = [...parts];
  for (const [at, part] of chain.entries()) {
    if (parts.includes(part)) continue;
    const only = new Set([...rows].filter(([, { middleware }]) => (middleware as readonly string[]).includes(part.name)).map(([route]) => route));
    if (only.size > 0) all.splice(all.findIndex((other) => chain.indexOf(other) > at), 0, limited(part, only));
  }
  return all;
}

function limited({ name, create }: Middleware, only: ReadonlySet<Route>): Middleware {
  return {
    name,
    create(core, deps): Part {
      const { handle, every, own, proxied, finish, ...rest } = create(core, deps);
      const within = <Rest extends readonly unknown[]>(run: (context: Context, ...rest: Rest) => void) => (context: Context, ...more: Rest): void => {
        if (only.has(context.route)) run(context, ...more);
      };
      const finishers = stages.flatMap((stage) => (finish?.[stage] ? [[stage, within<[]>(finish[stage])] as const] : []));
      return {
        ...rest,
        ...(handle && { handle: passed(handle, only) }),
        ...(every && { every: within(every) satisfies HeadPart }),
        ...(own && { own: within(own) satisfies HeadPart }),
        ...(proxied && { proxied: within(proxied) satisfies HeadPart }),
        finish: Object.fromEntries(finishers) satisfies Partial<Record<string, Finisher>>,
      };
    },
  };
}

function passed(handle: Handler, only: ReadonlySet<Route>): Handler {
  return function onRoutesHandler(req, res, next) {
    if (only.has(contextOf(req).route)) handle(req, res, next);
    else next();
  };
}
