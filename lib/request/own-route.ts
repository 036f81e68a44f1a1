import type { Route } from '../../types/route.d.ts';

/** The route of one of the gate's own paths, for records and metrics. */
export function ownRoute(template: string): Route {
  return { template, api: template, upstream: null, class: 'api', body: 'none', errors: 'openai', credential: false, free: true, media: false };
}
