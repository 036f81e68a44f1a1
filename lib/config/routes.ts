import type { RouteConfig } from '../../types/config.d.ts';
import { key, list, listOrNull, map, required, sectionOrNull, sections } from './fields.ts';
import { choice, duration, flag, integer, orNull, text } from './value-types.ts';
import type { Kind } from './value-types.ts';
import { show } from './problems.ts';
import type { Path } from './problems.ts';
import type { Draft } from './schema.ts';
import type { Sources } from './sources.ts';

/** Methods a route can serve. `OPTIONS` is not among them: preflights always pass. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

interface Handler {
  /** Methods it serves, null for all. */
  readonly methods: readonly string[] | null;
  /** The call a path of the user's own stands for; null: the path is what it is without the row. */
  readonly api: string | null;
  /** The gate answers itself. */
  readonly own: boolean;
}

/** What can answer a configured route. On the path of a model route every handler but the gate's own leaves it what it is. */
export const HANDLERS = {
  completion: { methods: ['POST'], api: '/v1/completions', own: false },
  chat: { methods: ['POST'], api: '/v1/chat/completions', own: false },
  embedding: { methods: ['POST'], api: '/v1/embeddings', own: false },
  proxy: { methods: null, api: null, own: false },
  health: { methods: ['GET', 'HEAD'], api: null, own: true },
  metrics: { methods: ['GET', 'HEAD'], api: null, own: true },
} as const satisfies Record<string, Handler>;

const names = Object.keys(HANDLERS) as (keyof typeof HANDLERS)[];

/** Kinds of checks by what they ask. */
const CHECKS = ['http', 'threshold'] as const;

/** Headers that carry a credential: what they must hold is for `auth` to say, and no value of theirs is printed. */
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret']);

const path = {
  ...text(
    'a path that starts with / and does not end with one, without * and :name',
    '/v1/completions',
    /^(?:\/(?!\.{1,2}(?:\/|$)|:)[^\s/?#%*"\\\p{Cc}]+)+$/u,
  ),
  // Editors may read a pattern without the flag.
  json: { type: 'string', pattern: String.raw`^(/[^\s/?#%*"\\]+)+$` },
};

const anyValue = text('the value it must have, or * for any', '*');

/** A file that says `1` or `true` means the text; of `1.0` the zero would be lost. */
const headerValue = {
  ...anyValue,
  read: (value: unknown) => anyValue.read(Number.isSafeInteger(value) || typeof value === 'boolean' ? String(value) : value),
  json: { type: ['string', 'integer', 'boolean'] },
};

const healthCheck = sectionOrNull('RouteHealthCheck', 'Free probes of what answers the route; while they fail it is answered with 503', {
  enabled: key(flag(), true, 'Whether the route is checked'),
  interval: key(duration('30s', 100), '30s', 'Time between two checks'),
  timeout: key(duration('5s'), '5s', 'How long a check may take'),
  threshold: key(integer(3, 1, 100), 3, 'Failed checks in a row after which the route counts as unhealthy'),
  checks: map(
    choice(CHECKS),
    'Checks by a name of your own: http asks whether anything that can serve the route answers, threshold whether it does so within latency_threshold, which is reported alone; none means http',
  ),
  latencyThreshold: key(duration('500ms'), '500ms', 'Answer time of a probe that a threshold check accepts'),
});

/** @param part one name of the list `middleware`. */
export const routes = <T>(part: Kind<T>) =>
  sections('RouteConfig', 'A path with rules of its own', 'Paths with rules of their own; what the gateway demands of a path anyway still holds', {
    path: required(path, 'Path of the route'),
    handler: key(
      { ...orNull(choice(names)), output: names.map((name) => `'${name}'`).join(' | ') },
      null,
      'Who answers: completion, chat and embedding make it that call; proxy leaves it what the path is without the row; health and metrics are the endpoints of that name',
      'by path, else proxy',
    ),
    version: key(orNull(text('a version', 'v1', /^[\w.-]*\w[\w.-]*$/)), null, 'Prefix of the path, unless it begins with it'),
    methods: listOrNull(
      choice([...METHODS, 'OPTIONS'], undefined, (name) => name.toUpperCase()),
      'Methods it serves; others are answered with 405, preflights always pass',
      'those of its handler',
    ),
    middleware: list(part, [], 'Optional parts that run for this route where middleware leaves them out; auth also demands a credential'),
    headers: map(headerValue, 'Headers a request must carry; without one it is answered with 400'),
    healthCheck,
  });

type Given = Pick<RouteConfig, 'path' | 'version'>;

/** The whole path of a row: its version is a prefix unless it stands there already. */
export function pathOf({ path: own, version }: Given): string {
  const prefix = version === null ? '' : `/${version}`;
  return own === prefix || own.startsWith(`${prefix}/`) ? own : prefix + own;
}

/** The methods a row serves, null for any. Where GET is, HEAD is too (RFC 9110 §9.3.2). */
export function methodsOf({ methods, handler }: Pick<RouteConfig, 'methods' | 'handler'>): readonly string[] | null {
  const listed: readonly string[] | null = methods ?? HANDLERS[handler].methods;
  return listed && METHODS.filter((method) => listed.includes(method) || (method === 'HEAD' && listed.includes('GET')));
}

/** Who answers a row that does not say it. */
export function handlerOf({ handler, ...row }: Given & { readonly handler: RouteConfig['handler'] | null }, { health, metrics }: Draft['endpoints']): RouteConfig['handler'] {
  if (handler !== null) return handler;
  const whole = pathOf(row);
  return whole === health ? 'health' : whole === metrics ? 'metrics' : 'proxy';
}

/** What the keys of a row, and rows among each other, must agree on. */
export function checkRoutes(draft: Draft, sources: Sources): void {
  const paths = draft.routes.map(pathOf);
  for (const [index, row] of draft.routes.entries()) {
    const at: Path = ['routes', index];
    const whole = paths[index] as string;
    const first = paths.indexOf(whole);
    if (first < index) sources.refuse([...at, 'path'], { expected: `another path than route ${first}, ${whole}` });
    checkPlace(draft, whole, handlerOf(row, draft.endpoints), at, sources);
    checkMethods(row.methods, handlerOf(row, draft.endpoints), at, sources);
    checkHeaders(row.headers, at, sources);
    row.middleware.forEach((name, place) => {
      if (row.middleware.indexOf(name) < place) sources.refuse([...at, 'middleware', place], { expected: 'each part once' }, `${show(name)} again`);
    });
    checkOwn(draft, row, handlerOf(row, draft.endpoints), at, sources);
  }
}

/** Where the gate has an endpoint of its own, nothing else can answer. */
function checkPlace({ endpoints, admin }: Draft, whole: string, handler: RouteConfig['handler'], at: Path, sources: Sources): void {
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
    else if (CREDENTIALS.has(lower) && value !== '*') sources.refuse(place, { expected: '*, since auth judges credentials', example: '*', unit: 'secret' });
    seen.add(lower);
  }
}

function checkOwn({ metrics }: Draft, { healthCheck: check, middleware }: Draft['routes'][number], handler: RouteConfig['handler'], at: Path, sources: Sources): void {
  if (HANDLERS[handler].own && check?.enabled) sources.refuse([...at, 'healthCheck'], { expected: `none on a route that the gateway answers itself (${handler})` });
  if (handler !== 'metrics') return;
  if (!metrics.enabled) sources.refuse([...at, 'handler'], { expected: 'another one while metrics.enabled is false', example: 'proxy' }, show(handler));
  if (metrics.token === null && !(middleware as readonly unknown[]).includes('auth')) {
    sources.refuse([...at, 'middleware'], { expected: 'auth, or metrics.token beside it: else anyone could read the metrics', example: ['auth'] });
  }
}
