import type { RouteConfig } from '../../types/config.d.ts';
import { isDoctorProof } from '../identity/identity.ts';
import { type Context, ownRoute, underway } from '../request/request.ts';
import { type Deps, type Middleware, servedBeside } from './middleware.ts';

const json = ['Content-Type', 'application/json', 'Cache-Control', 'no-store'];

/**
 * Health, in the form of the original gateway. `/health` and `/health/live` answer 200 while the process serves, also when NewAPI
 * is down. `/health/ready` answers 503 while draining or when no target can be expected to answer, and lists configured routes
 * with health checks. `/health/doctor` tells `heimdall doctor`, and who else has the install secret, how a request arrives. Needs
 * no slot, key or upstream.
 */
export const live: Middleware = {
  name: 'live',
  create(core, deps) {
    const base = core.config.endpoints.health;
    if (base === false) return {};
    const route = ownRoute(base);
    const answers = new Map<string, (context: Context) => void>([
      [base, alive],
      [`${base}/live`, alive],
      [`${base}/ready`, (context) => underway(context, ready(context))],
    ]);
    const probed = `${base}/doctor`;
    const isAsked = ({ req, headers, time }: Context): boolean => req.method === 'GET' && isDoctorProof(String(headers['x-heimdall-doctor'] ?? ''), deps.secret, time);
    async function ready(context: Context): Promise<void> {
      core.probes.note(`${context.peer} ${context.headers['user-agent'] ?? ''}`, context.at, core.draining);
      const ok = !core.draining && (await deps.ready());
      context.answer(ok ? 200 : 503, [...json], JSON.stringify({ status: ok ? 'ready' : 'unavailable', ...routesShown(deps) }));
    }
    return {
      serves: servedBeside(deps.routes, [...answers.keys(), probed]),
      handle: function liveHandler(context, next) {
        const { method } = context.req;
        const answer = answers.get(context.path) ?? (context.path === probed && isAsked(context) ? arrival : undefined);
        if (!answer || (method !== 'GET' && method !== 'HEAD')) return next();
        const row = deps.rows.get(context.route);
        if (row !== undefined && asksForMore(row)) return next();
        if (row === undefined) context.route = route;
        answer(context);
      },
    };
  },
};

/** A configured route at the same path that admits only some callers is answered further below, where the caller is known. */
const asksForMore = ({ middleware, headers }: RouteConfig): boolean => middleware.includes('auth') || Object.keys(headers).length > 0;

function routesShown({ routeHealth }: Deps): object {
  const shown = routeHealth.shown();
  return shown.length === 0 ? {} : { routes: Object.fromEntries(shown.map(({ path, status }) => [path, status])) };
}

/** Time between the two events of an arrival, milliseconds. */
const pause = 600;

/** Tells how a request arrives, in an event stream of two events, the second of which comes later: one that comes with the first was held back. */
function arrival(context: Context): void {
  const { req, res, headers, ip, peer, core: { config, clock } } = context;
  const facts = {
    ip, peer, port: req.socket.remotePort ?? null, http: req.httpVersion, trust_proxy: config.trustProxy, client_ip_header: config.clientIpHeader,
    named: config.clientIpHeader === null ? null : (headers[config.clientIpHeader] ?? null), forwarded_for: headers['x-forwarded-for'] ?? null, real_ip: headers['x-real-ip'] ?? null, cloudflare: headers['cf-connecting-ip'] ?? null,
  };
  context.eventStream = true;
  context.begin(200, ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store, no-transform', 'X-Accel-Buffering', 'no']);
  const [first, last] = [`data: ${JSON.stringify(facts)}\n\n`, 'data: end\n\n'];
  context.bytesOut += Buffer.byteLength(first) + last.length;
  res.write(first);
  clock.setTimeout(() => res.end(last), pause);
}

/** Answers `/health`. */
export function alive(context: Context): void {
  const timestamp = Math.floor(context.time / 1000);
  context.answer(200, [...json], JSON.stringify({ status: 'healthy', service: 'Heimdall Security Gateway', timestamp }));
}
