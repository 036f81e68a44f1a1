import type { RouteConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import { type Context, type Finisher, type HeadPart, stages } from '../request/request.ts';
import type { Handler, Middleware, Part } from './middleware.ts';

/**
 * Adds the parts that only some routes have, each at its place in the chain and for these routes alone. The list of a route
 * adds parts; it removes and moves none, so that no part runs before one that protects it.
 * @param chain all parts, in their order.
 * @param parts the parts that run for all requests, in the configured order.
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
    create(core, deps, before): Part {
      const { handle, every, own, proxied, finish, ...rest } = create(core, deps, before);
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
  return function onRoutesHandler(context, next) {
    if (only.has(context.route)) handle(context, next);
    else next();
  };
}
