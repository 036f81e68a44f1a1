import type { Config } from '../../types/config.d.ts';
import type { RouteClass } from '../../types/route.d.ts';
import type { Context } from '../request/request.ts';

/**
 * The credential a request leaves with. `caller`: every carrier as it came, since who gave it out is who is asked. `granted`:
 * the `upstream_credential` of the caller's key in place of every carrier. `ours`: the target's own key, or none where it has
 * none. `none`: as it came, but for the carriers. `never`: it does not go there.
 */
export type Leaves = 'caller' | 'granted' | 'ours' | 'none' | 'never';

/** Who is asked: NewAPI with a credential that it gave out, or a target with ours. */
export type Place = 'newapi' | 'own';

type Row = Readonly<Record<Place, Leaves>>;

const byCaller: Row = { newapi: 'caller', own: 'never' };
const byGrant: Row = { newapi: 'granted', own: 'never' };

/** Class of the route, mode of `auth`, who is asked: what leaves. The only place that says so. */
export const leaves: Readonly<Record<RouteClass, Readonly<Record<Config['auth']['mode'], Row>>>> = {
  model: { passthrough: { newapi: 'caller', own: 'ours' }, keys: { newapi: 'granted', own: 'ours' }, jwt: { newapi: 'granted', own: 'ours' } },
  realtime: { passthrough: byCaller, keys: byGrant, jwt: byGrant },
  task: { passthrough: byCaller, keys: byGrant, jwt: byGrant },
  webhook: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
  api: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
  ui: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
};

/**
 * The credential this request leaves with.
 * SECURITY: a credential of the gate's own goes to nobody, in no mode; an `own` target spends our money, so only a verified
 * caller reaches it.
 */
export function leavesWith(context: Context, place: Place): Leaves {
  // Whom nobody let in is here because his route asks for nothing or because the gate only observes: NewAPI judges him.
  const mode = context.key === null ? 'passthrough' : context.core.config.auth.mode;
  const rule = leaves[context.route.class][mode][place];
  switch (rule) {
    case 'granted':
      return context.upstreamCredential === null ? 'never' : rule;
    case 'ours':
      return context.verified ? rule : 'never';
    case 'caller':
      return context.withheld ? 'none' : rule;
    default:
      return rule;
  }
}
