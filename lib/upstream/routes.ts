import type { Route } from '../../types/route.d.ts';

type Row = readonly [methods: string, path: string, traits?: Partial<Omit<Route, 'template'>>];

const model: Partial<Route> = { class: 'model', body: 'json', errors: 'openai', credential: true };
const task: Partial<Route> = { class: 'task', errors: 'task', credential: true };
const api: Partial<Route> = { class: 'api', errors: 'newapi' };
const webhook: Partial<Route> = { class: 'webhook', errors: 'newapi' };
const open: Partial<Route> = { credential: false };

const everywhere = ['openai', 'anthropic', 'ollama'];

/**
 * Every path the gate knows, most specific first. `:name` is one segment, a trailing `*` the rest; `*` as method is any.
 * What NewAPI serves and how it reads it: its relay, video, dashboard and web routers.
 */
const table: readonly Row[] = [
  ['POST', '/v1/chat/completions', { ...model, providers: everywhere }],
  ['POST', '/v1/completions', { ...model, providers: ['openai', 'ollama'] }],
  ['POST', '/v1/embeddings', { ...model, free: false, providers: ['openai', 'ollama'] }],
  ['POST', '/v1/responses', { ...model, providers: ['openai'] }],
  ['POST', '/v1/messages', { ...model, errors: 'claude', providers: ['anthropic'] }],
  ['POST', '/v1/moderations', { ...model, free: true, providers: ['openai'] }],
  ['POST', '/v1/rerank', { ...model }],
  ['POST', '/v1/images/generations', { ...model, media: true, providers: ['openai'] }],
  ['POST', '/v1/images/*', { ...model, body: 'form', media: true, providers: ['openai'] }],
  ['POST', '/v1/audio/speech', { ...model, media: true, providers: ['openai'] }],
  ['POST', '/v1/audio/*', { ...model, body: 'form', media: true, providers: ['openai'] }],
  ['GET', '/v1/models', { ...model, body: 'none', free: true, providers: everywhere }],
  ['GET', '/v1/models/:model', { ...model, body: 'none', free: true, providers: everywhere }],

  ['GET', '/v1/realtime', { class: 'realtime', errors: 'openai', credential: true }],
  ['*', '/v1/dashboard/*', api],
  ['GET', '/v1/videos/:id/content', { ...task, ...open }],
  ['*', '/v1beta/*', { ...task, errors: 'gemini' }],
  ['POST', '/v1/models/*', { ...task, errors: 'gemini' }],
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

const defaults: Omit<Route, 'template'> = { class: 'ui', body: 'none', errors: 'newapi', credential: false, free: false, media: false, providers: [] };

const rest: Route = { ...defaults, template: 'other' };
/** A preflight carries no credential; NewAPI answers it, or the `cors` part does. */
const preflight: Route = { ...defaults, template: 'preflight', errors: 'openai' };

/** The routes, for metrics and docs. */
export const routes: readonly Route[] = [...table.map(([, template, traits]) => ({ ...defaults, ...traits, template })), rest, preflight];

const exact = new Map<string, Route>();
const patterns: { method: string; matches: RegExp; route: Route }[] = [];
for (const [at, [method, template]] of table.entries()) {
  const route = routes[at] as Route;
  if (method !== '*' && !/[:*]/.test(template)) exact.set(`${method} ${template}`, route);
  else patterns.push({ method, matches: pattern(template), route });
}

/** `/suno/*` also matches `/suno` itself, as `/jimeng/` is called. */
function pattern(template: string): RegExp {
  const source = template.replace(/\/\*$/, '(?:/.*)?').replace(/:[a-z]+/g, '[^/]+');
  return new RegExp(`^${source}$`, 's');
}

/** @param path canonical: decoded, without empty and dot segments. */
export function routeOf(method: string, path: string): Route {
  const found = exact.get(`${method} ${path}`);
  if (found) return found;
  if (method === 'OPTIONS') return preflight;
  for (const { method: only, matches, route } of patterns) {
    if ((only === '*' || only === method) && matches.test(path)) return route;
  }
  return rest;
}

