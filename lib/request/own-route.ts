import type { Config } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';

/** The route of one of the gate's own paths, for records and metrics. @param browsed people open it. */
export function ownRoute(template: string, browsed = false): Route {
  return { ...(browsed && { browsed }), template, api: template, upstream: null, class: 'api', body: 'none', errors: 'openai', credential: false, free: true, media: false };
}

/** Paths of the gate itself, which probes, scrapers and the page ask for: what is below them is theirs too. */
export const ownPaths = ({ admin, endpoints }: Pick<Config, 'admin' | 'endpoints'>): readonly string[] => [admin.path, endpoints.health, endpoints.metrics].filter((each) => each !== false);
