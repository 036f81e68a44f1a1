import type { Handler, Route } from './state.ts';

/** What answers, and the groups of its pattern. */
export interface Match {
  readonly handler: Handler;
  readonly groups: readonly (string | undefined)[];
}

const NO_GROUPS: readonly string[] = [];

/** Looks exact paths up and tries patterns in their order. */
export function createRouter(routes: readonly Route[]): (method: string, path: string) => Match | undefined {
  const exact = new Map<string, Match>();
  const patterns = routes.filter(([, path]) => path instanceof RegExp);
  for (const [method, path, handler] of routes) {
    if (typeof path === 'string') exact.set(`${method} ${path}`, { handler, groups: NO_GROUPS });
  }
  return (method, path) => {
    const known = exact.get(`${method} ${path}`);
    if (known) return known;
    for (const [wanted, pattern, handler] of patterns) {
      if (wanted !== method && wanted !== '*') continue;
      const found = (pattern as RegExp).exec(path);
      if (found) return { handler, groups: found.slice(1) };
    }
    return undefined;
  };
}
