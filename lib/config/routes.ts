import type { RouteConfig } from '../../types/config.d.ts';
import { key, list, listOrNull, map, required, sectionOrNull, sections } from './fields.ts';
import { choice, duration, flag, integer, type ValueType, orNull, text } from './value-types.ts';

/** Methods that a route can serve. `OPTIONS` is not listed, because preflights always pass. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

interface Handler {
  /** Methods that the handler serves. Null serves all. */
  readonly methods: readonly string[] | null;
  /** Template of the API call that a user-defined path is treated as. Null leaves the path as it is without the row. */
  readonly api: string | null;
  /** The gate answers the route itself. */
  readonly own: boolean;
}

/** Handlers of configured routes. On the path of a model route every handler except the gate's own leaves the route as it is. */
export const HANDLERS = {
  completion: { methods: ['POST'], api: '/v1/completions', own: false },
  chat: { methods: ['POST'], api: '/v1/chat/completions', own: false },
  embedding: { methods: ['POST'], api: '/v1/embeddings', own: false },
  proxy: { methods: null, api: null, own: false },
  health: { methods: ['GET', 'HEAD'], api: null, own: true },
  metrics: { methods: ['GET', 'HEAD'], api: null, own: true },
} as const satisfies Record<string, Handler>;

const names = Object.keys(HANDLERS) as (keyof typeof HANDLERS)[];

/** Types of health checks. */
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

/** `1` or `true` without quotes in a file means the text. `1.0` is not accepted, because YAML drops its zero. */
const headerValue = {
  ...anyValue,
  read: (value: unknown) => anyValue.read(Number.isSafeInteger(value) || typeof value === 'boolean' ? String(value) : value),
  json: { type: ['string', 'integer', 'boolean'] },
};

const healthCheck = sectionOrNull('RouteHealthCheck', 'Probes of the targets of the route, which cost no tokens. While they fail, the route is answered with 503', {
  enabled: key(flag(), true, 'Checks the route'),
  interval: key(duration('30s', 100), '30s', 'Time between two checks'),
  timeout: key(duration('5s'), '5s', 'Longest time of a check'),
  threshold: key(integer(3, 1, 100), 3, 'Consecutive failed checks after which the route counts as unhealthy'),
  checks: map(
    choice(CHECKS),
    'Checks by user-defined name. http checks that a target of the route answers, and closes the route when it fails. threshold checks that the answer arrives within latency_threshold, and only reports. Empty means one http check',
  ),
  latencyThreshold: key(duration('500ms'), '500ms', 'Longest answer time that a threshold check accepts'),
});

/** The section `routes`. @param part type of a name in the list `middleware`. */
export const routes = <T>(part: ValueType<T>) =>
  sections('RouteConfig', 'A path with additional rules', 'Paths with additional rules. The rules of the gateway for the path still apply', {
    path: required(path, 'Path of the route'),
    handler: key(
      { ...orNull(choice(names)), output: names.map((name) => `'${name}'`).join(' | ') },
      null,
      'Handler of the route. completion, chat and embedding treat the path as that API call. proxy leaves the path as it is without this row. health and metrics are the endpoints of that name',
      'by path, else proxy',
    ),
    version: key(orNull(text('a version', 'v1', /^[\w.-]*\w[\w.-]*$/)), null, 'Version prefix, added to a path that does not start with it'),
    methods: listOrNull(
      choice([...METHODS, 'OPTIONS'], undefined, (name) => name.toUpperCase()),
      'Allowed methods. Other methods are answered with 405. Preflights always pass',
      'those of the handler',
    ),
    middleware: list(part, [], 'Optional parts that run for this route in addition to middleware. auth also requires a credential'),
    headers: map(headerValue, 'Headers that a request must carry. A request without them is answered with 400'),
    healthCheck,
  });

type Given = Pick<RouteConfig, 'path' | 'version'>;

/** The whole path of a row. The version is added as a prefix unless the path starts with it. */
export function pathOf({ path: own, version }: Given): string {
  const prefix = version === null ? '' : `/${version}`;
  return own === prefix || own.startsWith(`${prefix}/`) ? own : prefix + own;
}

/** The methods that a row serves. Null serves any. GET includes HEAD (RFC 9110 §9.3.2). */
export function methodsOf({ methods, handler }: Pick<RouteConfig, 'methods' | 'handler'>): readonly string[] | null {
  const listed: readonly string[] | null = methods ?? HANDLERS[handler].methods;
  return listed && METHODS.filter((method) => listed.includes(method) || (method === 'HEAD' && listed.includes('GET')));
}

/** The handler of a row: the configured one, or the one that its path implies. */
export function handlerOf({ handler, ...row }: Given & { readonly handler: RouteConfig['handler'] | null }, { health, metrics }: { readonly health: string | false; readonly metrics: string | false }): RouteConfig['handler'] {
  if (handler !== null) return handler;
  const whole = pathOf(row);
  return whole === health ? 'health' : whole === metrics ? 'metrics' : 'proxy';
}
