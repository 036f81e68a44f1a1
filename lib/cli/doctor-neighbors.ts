import { randomUUID } from 'node:crypto';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { proxyEnvironment } from '../config/config.ts';
import { codeOf, OutboundProxy, redisOf, scriptOf, systemClock } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { WebhookClient } from '../telemetry/telemetry.ts';
import { NewapiClient } from '../upstream/upstream.ts';
import { fail, ok, warn, type Check, type Finding } from './doctor-check.ts';

/** Time limit of a call, milliseconds: within that of a check. */
const timeout = 1800;
/** Difference of two clocks that harms nothing, and that breaks limits, tokens and records, milliseconds. `Date` has whole seconds. */
const smallSkew = 2000;
const largeSkew = 30_000;

/** What the gate needs of others. */
export const neighborChecks = (config: Config): readonly Check[] => {
  const environment = proxyEnvironment(config, true);
  const proxies = environment === null ? null : new OutboundProxy(environment);
  return [
    { name: 'newapi', run: (signal) => newapi(config, proxies, signal) },
    { name: 'receiver', run: async (signal) => [await receiver(config, proxies, signal)] },
    ...(config.rateLimit.redisUrl === null ? [] : [{ name: 'redis', run: async () => [await redis(config)] }]),
    ...(config.audit.postgres.url === null ? [] : [{ name: 'postgres', run: async (signal: AbortSignal) => [await postgres(config.audit.postgres.url ?? '', signal)] }]),
  ];
};

/** NewAPI with its version, and the clock by its answer. */
async function newapi(config: Config, proxies: OutboundProxy | null, signal: AbortSignal): Promise<readonly Finding[]> {
  const { baseUrl } = config.newapi;
  const client = new NewapiClient({ config } as Core, proxies);
  signal.addEventListener('abort', () => void client.close());
  const asked = systemClock.now();
  try {
    const { status, body, date } = await client.get('/api/status', []);
    const clock = clockBy(date, asked);
    if (status !== 200) return [(status === 429 ? warn : fail)('newapi', `${baseUrl}/api/status answers ${status}, which NewAPI does not`, 'see that newapi.base_url is NewAPI itself, and its log'), clock];
    const { version, system_name: system } = (body as { data?: { version?: unknown; system_name?: unknown } } | null)?.data ?? {};
    if (typeof version !== 'string') return [warn('newapi', `${baseUrl} answers, but not as NewAPI does: its version is unknown`, 'see that newapi.base_url is NewAPI itself'), clock];
    return [ok('newapi', `${baseUrl} answers, version ${version.slice(0, 64)}${typeof system === 'string' && system !== '' ? ` (${system.slice(0, 64)})` : ''}`), clock];
  } catch (error) {
    return [
      fail('newapi', `${baseUrl} cannot be reached (${codeOf(error)})`, 'start NewAPI, or correct newapi.base_url'),
      warn('clock', 'could not be compared, since NewAPI does not answer', 'timedatectl set-ntp true keeps it right'),
    ];
  } finally {
    await client.close();
  }
}

/** @param asked when the question left, Unix milliseconds. */
function clockBy(date: string | null, asked: number): Finding {
  const told = Date.parse(date ?? '');
  if (Number.isNaN(told)) return warn('clock', 'could not be compared, since NewAPI sends no Date', 'timedatectl set-ntp true keeps it right');
  const now = systemClock.now();
  // The answer was dated within this second, some time between question and answer.
  const skew = now < told ? told - now : asked > told + 1000 ? told + 1000 - asked : 0;
  const seconds = Math.abs(Math.round(skew / 1000));
  if (Math.abs(skew) <= smallSkew) return ok('clock', "agrees with NewAPI's");
  return (Math.abs(skew) > largeSkew ? fail : warn)('clock', `this machine's is ${seconds} s ${skew > 0 ? 'behind' : 'ahead of'} NewAPI's`, 'timedatectl set-ntp true on both machines');
}

/** A receiver refuses what is no record with 400 and stores nothing; a NewAPI without one answers 404. */
async function receiver({ audit: { newapi: { enabled, url } }, newapi: { baseUrl } }: Config, proxies: OutboundProxy | null, signal: AbortSignal): Promise<Finding> {
  const base = url ?? baseUrl;
  const place = `${base}/api/heimdall/log`;
  const client = new WebhookClient(place, timeout, proxies);
  const name = 'receiver';
  const off = 'audit.newapi.enabled: false, or a NewAPI with the receiver in audit.newapi.url';
  try {
    const { status, text } = await client.post('no record', {}, signal);
    const isThere = status === 400 || status === 500 || (status === 200 && text.includes('"success"'));
    if (isThere && enabled) return ok(name, `${place} is there and gets the records`);
    if (isThere) return ok(name, `${place} is there; audit.newapi.enabled: true would send it the records`);
    if (!enabled) return ok(name, `none at ${base} (${status}), and none is asked for`);
    if (status === 429) return warn(name, `${place} asks for patience (429)`, 'lower audit.newapi.max_rate');
    return fail(name, `audit.newapi is enabled, and ${base} has no receiver at /api/heimdall/log (${status})`, off);
  } catch (error) {
    if (!enabled) return ok(name, 'none is asked for');
    return fail(name, `${place} cannot be reached (${codeOf(error)})`, 'start that NewAPI, or correct audit.newapi.url');
  } finally {
    await client.close();
  }
}

/** Every command that the gate sends, on a key that goes by itself. Answers with the names of those that are refused. */
const rights = scriptOf(`
local k = KEYS[1]
local tries = {
  {'TIME'}, {'SET', k, '1', 'PX', '5000'}, {'GET', k}, {'INCR', k}, {'DECR', k}, {'INCRBY', k, '1'}, {'DECRBY', k, '1'}, {'PTTL', k}, {'PEXPIRE', k, '5000'}, {'PEXPIREAT', k, ARGV[1]}, {'DEL', k},
  {'ZADD', k, '1', 'a'}, {'ZCARD', k}, {'ZRANGEBYSCORE', k, '0', '1'}, {'ZREMRANGEBYSCORE', k, '5', '6'}, {'ZREM', k, 'a'}, {'DEL', k},
  {'HSET', k, 'a', '1'}, {'HGET', k, 'a'}, {'HGETALL', k}, {'HDEL', k, 'a'}, {'DEL', k},
}
local refused = {}
for _, try in ipairs(tries) do
  local reply = redis.pcall(unpack(try))
  if type(reply) == 'table' and reply.err then refused[#refused + 1] = string.lower(try[1]) .. ': ' .. reply.err end
end
return refused`);

async function redis(config: Config): Promise<Finding> {
  const name = 'redis';
  let lost = '';
  const log: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (fields) => void (lost = (fields as { error?: { message?: string } }).error?.message ?? lost) };
  const connection = redisOf(config, log);
  try {
    await connection?.send('PING');
    const refused = (await connection?.run(rights, ['heimdall:doctor:' + randomUUID()], [String(systemClock.now() + 5000)])) as readonly string[];
    if (refused.length === 0) return ok(name, 'answers, and its user has every right that the gate needs');
    const names = [...new Set(refused.map((each) => each.split(':', 1)[0] as string))];
    const isRight = refused.some((each) => /NOPERM|ACL|permission|can't access|can't run/i.test(each));
    return fail(name, `the commands ${names.join(', ')} are refused (${refused[0]?.slice(0, 200)})`, isRight ? `ACL SETUSER of its user: ~heimdall:* ${names.map((each) => `+${each}`).join(' ')}` : 'let rate_limit.redis_url name a server that can be written');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (/NOPERM/.test(why)) return fail(name, why, 'ACL SETUSER of its user: ~heimdall:* +ping +eval +evalsha +script|load');
    return fail(name, `rate_limit.redis_url: ${/in time|disconnect|offline|closed/i.test(why) && lost !== '' ? lost : why}`, /WRONGPASS|NOAUTH/.test(why + lost) ? 'correct the user and password in rate_limit.redis_url' : 'start Redis, or correct rate_limit.redis_url');
  } finally {
    await connection?.close();
  }
}

/** What the role may do with the table of records, and whether it may make it. */
const grants = `SELECT current_user AS role, to_regclass('heimdall_logs') IS NOT NULL AS there, to_regclass('heimdall_checkpoints') IS NOT NULL AS anchors,
  to_regprocedure('heimdall_write(json, text[])') IS NOT NULL AS calls,
  CASE WHEN to_regprocedure('heimdall_write(json, text[])') IS NOT NULL THEN has_function_privilege(to_regprocedure('heimdall_write(json, text[])'), 'EXECUTE') WHEN to_regclass('heimdall_logs') IS NULL THEN false ELSE has_table_privilege(to_regclass('heimdall_logs'), 'INSERT') END AS may_insert,
  CASE WHEN to_regclass('heimdall_checkpoints') IS NULL THEN false ELSE has_table_privilege(to_regclass('heimdall_checkpoints'), 'INSERT') END AS may_anchor,
  COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create`;

interface Grants {
  readonly role: string;
  readonly there: boolean;
  readonly anchors: boolean;
  /** Records are written by a function. */
  readonly calls: boolean;
  readonly may_insert: boolean;
  readonly may_anchor: boolean;
  readonly may_create: boolean;
}

async function postgres(url: string, signal: AbortSignal): Promise<Finding> {
  const name = 'postgres';
  const { default: pg } = await import('pg').catch(() => {
    throw new Error('audit.postgres.url: the package pg is needed beside this one: npm install pg');
  });
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: timeout, query_timeout: timeout, application_name: 'heimdall' });
  client.on('error', () => undefined);
  const end = (): void => void client.end().catch(() => undefined);
  signal.addEventListener('abort', end);
  try {
    await client.connect();
    const { role, there, anchors, calls, may_insert: mayInsert, may_anchor: mayAnchor, may_create: mayCreate } = (await client.query<Grants>(grants)).rows[0] as Grants;
    const as = `answers, as role ${role}`;
    if ((!there || !anchors) && !mayCreate) return fail(name, `${as}, which may not create the missing table ${there ? 'heimdall_checkpoints' : 'heimdall_logs'}`, `GRANT CREATE ON SCHEMA public TO "${role}"`);
    if (there && calls && !mayInsert) return fail(name, `${as}, which may not call heimdall_write`, `GRANT EXECUTE ON FUNCTION heimdall_write(json, text[]), heimdall_learn(json), heimdall_find(json, text[]) TO "${role}"`);
    const lacking = [...(there && !mayInsert ? ['heimdall_logs'] : []), ...(anchors && !mayAnchor ? ['heimdall_checkpoints'] : [])];
    if (lacking.length > 0) return fail(name, `${as}, which may not insert into ${lacking.join(' and ')}`, `GRANT INSERT ON ${lacking.join(', ')} TO "${role}"`);
    return ok(name, `${as}, which ${there ? 'may insert records' : 'may create the table'}`);
  } catch (error) {
    const code = codeOf(error);
    const isLogin = /^28/.test(code) || code === '3D000';
    return fail(name, `audit.postgres.url: ${isLogin ? `the login is refused (${code})` : `PostgreSQL cannot be asked (${code === 'Error' ? 'no answer in time' : code})`}`, isLogin ? 'correct role, password and database in audit.postgres.url' : 'start PostgreSQL, or correct audit.postgres.url');
  } finally {
    end();
  }
}
