import type { RouteConfig } from '../../types/config.d.ts';
import { type Path, show } from '../values/values.ts';
import { HANDLERS, handlerOf, METHODS, pathOf } from './routes.ts';
import type { ParsedConfig } from './schema.ts';
import type { Sources } from './sources.ts';

/** Headers that carry a credential. Only `auth` checks their values, and no value of them is printed. */
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret']);

/** Checks the keys of each row against each other, and the rows against each other. */
export function checkRoutes(parsed: ParsedConfig, sources: Sources): void {
  const paths = parsed.routes.map(pathOf);
  for (const [index, row] of parsed.routes.entries()) {
    const at: Path = ['routes', index];
    const whole = paths[index] as string;
    const first = paths.indexOf(whole);
    if (first < index) sources.refuse([...at, 'path'], { expected: `another path than route ${first}, ${whole}` });
    checkPlace(parsed, whole, handlerOf(row, parsed.endpoints), at, sources);
    checkMethods(row.methods, handlerOf(row, parsed.endpoints), at, sources);
    checkHeaders(row.headers, at, sources);
    row.middleware.forEach((name, place) => {
      if (row.middleware.indexOf(name) < place) sources.refuse([...at, 'middleware', place], { expected: 'each part once' }, `${show(name)} again`);
    });
    checkOwn(parsed, row, handlerOf(row, parsed.endpoints), at, sources);
  }
}

/** A route cannot take the path of an endpoint of the gate. */
function checkPlace({ endpoints, admin }: ParsedConfig, whole: string, handler: RouteConfig['handler'], at: Path, sources: Sources): void {
  const within = (base: string | false): boolean => base !== false && (whole === base || whole.startsWith(`${base}/`));
  if (within(admin.path)) sources.refuse([...at, 'path'], { expected: `a path outside admin.path, ${admin.path}` });
  for (const [name, taken] of Object.entries(endpoints)) {
    const own = taken !== false && (whole === taken || (name === 'health' && [`${taken}/live`, `${taken}/ready`].includes(whole)));
    if (!own || (handler === name && whole === taken)) continue;
    const instead = name in HANDLERS ? `, or handler ${name} at ${taken}` : '';
    sources.refuse([...at, 'path'], { expected: `another path than those of endpoints.${name}${instead}` });
  }
}

function checkMethods(methods: readonly string[] | null, handler: RouteConfig['handler'], at: Path, sources: Sources): void {
  const served: readonly string[] = HANDLERS[handler].methods ?? METHODS;
  if (methods?.every((method) => method === 'OPTIONS')) sources.refuse([...at, 'methods'], { expected: `one of ${served.join(', ')} at least`, example: [served[0]] });
  for (const [place, method] of (methods ?? []).entries()) {
    if (method !== 'OPTIONS' && !served.includes(method)) sources.refuse([...at, 'methods', place], { expected: `${served.join(' or ')}, which ${handler} serves`, example: served[0] });
  }
}

function checkHeaders(headers: Readonly<Record<string, string>>, at: Path, sources: Sources): void {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    const place = [...at, 'headers', name];
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) sources.refuse(place, { expected: 'the name of a header', example: 'x-api-version' }, show(name));
    else if (seen.has(lower)) sources.refuse(place, { expected: 'each header once' }, `${show(name)} again`);
    else if (CREDENTIALS.has(lower) && value !== '*') sources.refuse(place, { expected: '*, because auth checks credentials', example: '*', unit: 'secret' });
    seen.add(lower);
  }
}

function checkOwn({ metrics }: ParsedConfig, { healthCheck: check, middleware }: ParsedConfig['routes'][number], handler: RouteConfig['handler'], at: Path, sources: Sources): void {
  if (HANDLERS[handler].own && check?.enabled) sources.refuse([...at, 'healthCheck'], { expected: `no health check on a route that the gateway answers itself (${handler})` });
  if (handler !== 'metrics') return;
  if (!metrics.enabled) sources.refuse([...at, 'handler'], { expected: 'another one while metrics.enabled is false', example: 'proxy' }, show(handler));
  if (metrics.token === null && !(middleware as readonly unknown[]).includes('auth')) {
    sources.refuse([...at, 'middleware'], { expected: 'auth, or metrics.token, because otherwise every caller could read the metrics', example: ['auth'] });
  }
}
