import type { RouteConfig } from '../../types/config.d.ts';
import type { Route } from '../../types/route.d.ts';
import { HANDLERS, METHODS, methodsOf, pathOf } from '../config/config.ts';
import { ownRoute } from '../request/request.ts';

type Row = readonly [methods: string, path: string, traits?: Partial<Omit<Route, 'template'>>];

const model: Partial<Route> = { class: 'model', body: 'json', errors: 'openai', credential: true };
const task: Partial<Route> = { class: 'task', errors: 'task', credential: true };
const api: Partial<Route> = { class: 'api', errors: 'newapi' };
const webhook: Partial<Route> = { class: 'webhook', errors: 'newapi' };
const open: Partial<Route> = { credential: false };

/**
 * Every path that the gate knows, most specific first. `:name` is one segment, a trailing `*` is the rest; `*` as method is any.
 * The paths are those of NewAPI's relay, video, dashboard and web routers. A provider's `speaks` lists the routes that it
 * answers too.
 */
const table: readonly Row[] = [
  ['POST', '/v1/chat/completions', model],
  ['POST', '/v1/completions', model],
  ['POST', '/v1/embeddings', model],
  ['POST', '/v1/responses', model],
  ['POST', '/v1/messages', { ...model, errors: 'claude' }],
  ['POST', '/v1/moderations', { ...model, free: true }],
  ['POST', '/v1/rerank', model],
  ['POST', '/v1/images/generations', { ...model, media: true }],
  ['POST', '/v1/images/*', { ...model, body: 'form', media: true }],
  ['POST', '/v1/audio/speech', { ...model, media: true }],
  ['POST', '/v1/audio/*', { ...model, body: 'form', media: true }],
  // Gemini's own API: the model and what is asked of it stand in the path.
  ['POST', '/v1beta/models/*', { ...model, errors: 'gemini' }],
  ['POST', '/v1/models/*', { ...model, errors: 'gemini' }],
  ['GET', '/v1/models', { ...model, body: 'none', free: true }],
  ['GET', '/v1/models/:model', { ...model, body: 'none', free: true }],

  ['GET', '/v1/realtime', { class: 'realtime', errors: 'openai', credential: true }],
  ['*', '/v1/dashboard/*', api],
  ['GET', '/v1/videos/:id/content', { ...task, ...open }],
  ['*', '/v1beta/*', { ...task, errors: 'gemini' }],
  ['*', '/v1/messages/*', { ...task, errors: 'claude' }],
  ['*', '/v1/*', { ...task, errors: 'openai' }],

  ['*', '/api/stripe/webhook', webhook],
  ['*', '/api/creem/webhook', webhook],
  ['*', '/api/waffo/webhook', webhook],
  ['*', '/api/user/epay/notify', webhook],
  ['*', '/dashboard/*', api],
  ['*', '/pg/*', api],
  ['*', '/api/*', api],

  ['*', '/mj/notify', webhook],
  ['*', '/:mode/mj/notify', webhook],
  ['GET', '/mj/image/:id', { ...task, ...open, errors: 'midjourney' }],
  ['GET', '/:mode/mj/image/:id', { ...task, ...open, errors: 'midjourney' }],
  ['*', '/mj/*', { ...task, errors: 'midjourney' }],
  ['*', '/:mode/mj/*', { ...task, errors: 'midjourney' }],
  ['*', '/suno/*', task],
  ['*', '/kling/*', task],
  ['*', '/jimeng/*', task],
];

const defaults: Omit<Route, 'template' | 'api'> = { upstream: null, class: 'ui', body: 'none', errors: 'newapi', credential: false, free: false, media: false };
const routeFor = (template: string, traits: Partial<Route> = {}): Route => ({ ...defaults, ...traits, template, api: template });

const rest = routeFor('other');
/** A preflight carries no credential; the `cors` part answers it, or NewAPI does. */
const preflight = routeFor('preflight', { errors: 'openai' });

const listed: readonly Route[] = [...table.map(([, template, traits]) => routeFor(template, traits)), rest, preflight];

const exact = new Map<string, Route>();
const patterns: { method: string; matches: RegExp; route: Route }[] = [];
for (const [at, [method, template]] of table.entries()) {
  const route = listed[at] as Route;
  if (method !== '*' && !/[:*]/.test(template)) exact.set(`${method} ${template}`, route);
  else patterns.push({ method, matches: pattern(template), route });
}

/** `/suno/*` also matches `/suno` itself: clients call `/jimeng/`. */
function pattern(template: string): RegExp {
  const source = template.replace(/\/\*$/, '(?:/.*)?').replace(/:[a-z]+/g, '[^/]+');
  return new RegExp(`^${source}$`, 's');
}

/** The routes of one gate. */
export interface RouteTable {
  /** Every route, for metrics and docs. */
  readonly routes: readonly Route[];
  /** The route of a request. @param path canonical: decoded, without empty and dot segments. */
  readonly routeOf: (method: string, path: string) => Route;
  /** The row of the configuration for each route that it names, preflights included. */
  readonly rows: ReadonlyMap<Route, RouteConfig>;
}

/**
 * The routes above and the rows of the configuration, which take precedence. A row adds a path or refines a known one; it
 * cannot lift what the list above demands of a path.
 */
export function routeTable(configured: readonly RouteConfig[]): RouteTable {
  const rows = new Map<Route, RouteConfig>();
  const own = new Map(exact);
  const otherMethods = new Map<string, Route>();
  for (const row of configured) install(row, rows, own, otherMethods);
  return {
    routes: [...new Set([...listed, ...rows.keys()])],
    rows,
    routeOf(method, path) {
      const found = own.get(`${method} ${path}`);
      if (found) return found;
      if (method === 'OPTIONS') return preflight;
      return otherMethods.get(path) ?? matching(method, path);
    },
  };
}

function matching(method: string, path: string): Route {
  for (const { method: only, matches, route } of patterns) {
    if ((only === '*' || only === method) && matches.test(path)) return route;
  }
  return rest;
}

/** SECURITY: a path with a slash at its end is the same path, or the slash would bypass the row. */
function install(row: RouteConfig, rows: Map<Route, RouteConfig>, own: Map<string, Route>, otherMethods: Map<string, Route>): void {
  const path = pathOf(row);
  const add = (method: string, route: Route): void => {
    rows.set(route, row);
    for (const spelling of [path, `${path}/`]) {
      if (method === '') otherMethods.set(spelling, route);
      else own.set(`${method} ${spelling}`, route);
    }
  };
  const served = methodsOf(row);
  for (const method of ['', ...METHODS]) add(method, served?.includes(method) ? routeOfRow(row, method, path) : refined(row, known(method, path), path));
  add('OPTIONS', { ...preflight, upstream: own.get(`POST ${path}`)?.upstream ?? null });
}

const known = (method: string, path: string): Route => exact.get(`${method} ${path}`) ?? matching(method, path);

function routeOfRow(row: RouteConfig, method: string, path: string): Route {
  const template = HANDLERS[row.handler].api;
  const is = known(method, path);
  if (template === null || is.class === 'model') return refined(row, is, path);
  return { ...known('POST', template), template: path, upstream: template };
}

/**
 * A known route with a row of the configuration. A named path is no page of the UI. With `auth` the route needs a credential,
 * and its outgoing credential is that of a task: a credential that the gate has judged is not forwarded like a session of
 * NewAPI's own.
 */
function refined(row: RouteConfig, is: Route, path: string): Route {
  const asked = row.middleware.includes('auth');
  if (HANDLERS[row.handler].own) return { ...ownRoute(path), credential: asked };
  const route = { ...is, template: path, upstream: is.class === 'model' ? path : null };
  if (asked && !is.credential) return { ...route, class: 'task', credential: true };
  return { ...route, class: is.class === 'ui' ? 'api' : is.class };
}

/** The table of a gate whose configuration names no routes. */
export const { routes, routeOf } = routeTable([]);
