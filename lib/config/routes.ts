import type { RouteConfig } from '../../types/config.d.ts';
import { key, list, listOrNull, map, required, sectionOrNull, sections } from './fields.ts';
import { choice, duration, flag, integer, type Kind, orNull, text } from './value-types.ts';

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
export function handlerOf({ handler, ...row }: Given & { readonly handler: RouteConfig['handler'] | null }, { health, metrics }: { readonly health: string | false; readonly metrics: string | false }): RouteConfig['handler'] {
  if (handler !== null) return handler;
  const whole = pathOf(row);
  return whole === health ? 'health' : whole === metrics ? 'metrics' : 'proxy';
}
