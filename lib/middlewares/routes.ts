import type { RouteConfig } from '../../types/config.d.ts';
import { HANDLERS, methodsOf } from '../config/config.ts';
import { type Context, relayTo, underway } from '../request/request.ts';
import { BearerGuard } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import type { Deps, Middleware } from './middleware.ts';
import { alive } from './live.ts';

/** Answers a request that no upstream gets. */
type Answer = (context: Context) => void;

/** A row of the configuration, read once. */
interface Rule {
  readonly row: RouteConfig;
  /** Null: any. */
  readonly methods: readonly string[] | null;
  /** Lower-case name and the value it must have; null: any. */
  readonly headers: readonly (readonly [name: string, value: string | null])[];
  /** Null where an upstream answers. */
  readonly answer: Answer | null;
}

/** Checks what `routes` of the configuration asks of a request: method, headers, and an upstream that can answer. */
export const routes: Middleware = {
  name: 'routes',
  create(core, deps) {
    if (deps.rows.size === 0) return {};
    const { token } = core.config.metrics;
    const guard = token === null ? null : new BearerGuard(core, 'routes', [token], 'auth.failed');
    const { crew } = core;
    // The page of all threads is the main thread's.
    const page: Answer | null = crew?.isWorker === true ? relayTo(crew) : null;
    const rules = new Map([...deps.rows].map(([route, row]) => [route, ruleOf(row, row.handler === 'metrics' ? page : null, deps, guard)] as const));
    return {
      handle: function routesHandler(context, next) {
        const rule = rules.get(context.route);
        // A preflight comes without the headers of the request it asks for.
        if (rule === undefined || context.req.method === 'OPTIONS') return next();
        deps.routeHealth.start();
        if (refused(context, rule, deps)) return;
        if (rule.answer === null) return next();
        rule.answer(context);
      },
    };
  },
};

function ruleOf(row: RouteConfig, relay: Answer | null, { metrics }: Deps, guard: BearerGuard | null): Rule {
  const headers = Object.entries(row.headers).map(([name, value]) => [name.toLowerCase(), value === '*' ? null : value] as const);
  return { row, methods: methodsOf(row), headers, answer: relay ?? answerOf(row, metrics, guard) };
}

/**
 * SECURITY: no upstream checks the credential of a request that the gate answers itself. Where a route asks for `auth`, the
 * caller must be verified, and metrics are never open in any mode.
 */
function answerOf({ handler, middleware }: RouteConfig, metrics: Metrics, guard: BearerGuard | null): Answer | null {
  if (!HANDLERS[handler].own) return null;
  const demanded = middleware.includes('auth');
  const mayRead = (context: Context): HeimdallError | null => (demanded && context.verified ? null : guard === null ? new HeimdallError('unauthorized') : guard.check(context));
  if (handler === 'metrics') return (context) => underway(context, show(context, metrics, mayRead));
  return (context) => {
    if (demanded && !context.verified && context.refuse('auth', new HeimdallError('unauthorized'))) return;
    alive(context);
  };
}

async function show(context: Context, metrics: Metrics, mayRead: (context: Context) => HeimdallError | null): Promise<void> {
  try {
    const refusal = mayRead(context);
    if (refusal !== null) return context.fail(refusal);
    context.answer(200, ['Content-Type', metrics.contentType], await metrics.exposition());
  } catch (cause) {
    context.fail(new HeimdallError('internal_error', { cause }));
  }
}

function refused(context: Context, { row, methods, headers }: Rule, { routeHealth }: Deps): boolean {
  if (methods !== null && !methods.includes(context.req.method ?? '')) {
    if (!context.core.observe) (context.extraHead ??= []).push('Allow', methods.join(', '));
    if (context.refuse('routes.methods', new HeimdallError('method_not_allowed'))) return true;
  }
  for (const [name, value] of headers) {
    const wrong = wrongHeader(context, name, value);
    if (wrong !== null && context.refuse('routes.headers', wrong)) return true;
  }
  const retryAfter = routeHealth.retryAfter(row);
  return retryAfter !== null && context.refuse('routes.health_check', new HeimdallError('route_unhealthy', { retryAfter }));
}

/** The answer does not name the expected value: it may be a secret. */
function wrongHeader({ req }: Context, name: string, value: string | null): HeimdallError | null {
  const sent = req.headers[name];
  if (sent === undefined) return new HeimdallError('missing_header', { message: `header ${name}: expected by this route, got nothing.`, field: name });
  if (value === null || same(name, String(sent), value)) return null;
  return new HeimdallError('missing_header', { message: `header ${name}: expected the value this route asks for, got another.`, field: name });
}

/** A content type matches whatever its parameters are. */
const same = (name: string, sent: string, value: string): boolean => sent === value || (name === 'content-type' && essence(sent) === essence(value));

const essence = (type: string): string => (type.split(';', 1)[0] as string).trim().toLowerCase();
