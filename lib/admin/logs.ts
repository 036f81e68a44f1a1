import type { AuditRecord } from '../../types/record.d.ts';
import type { JournalSearch, Position, SqlRow } from '../../types/journal.d.ts';
import type { Between, Question } from '../../types/reader.d.ts';
import { HeimdallError } from '../errors.ts';
import { countOf, filters, frequencyOf, groups, groupsOf, measures, readWanted, SearchError, type Wanted } from '../journal/journal.ts';
import { ownPaths } from '../request/request.ts';
import { invalid } from '../registry/registry.ts';
import { type AdminServices, type Call, changed, integer, type Method, parametersOf, type Reply, word } from './call.ts';

const mostRecords = 1000;
const defaultRecords = 100;
const longestGrep = 1000;
const answers = ['true', 'false'] as const;

/** How long a search for a text may take, milliseconds. */
const searchTime = 2000;
/** How long a page of records may be looked for, milliseconds. */
const listTime = 18;

/** `GET logs`: records without headers and bodies; filters by name, `grep`, `limit`, `cursor`, `order`, `count`, `own=false` to leave out the gate's own. */
export const listLogs: Method = async (call, services) => {
  const { wanted, rest } = asked(call, ['grep', 'limit', 'cursor', 'order', 'count', 'own']);
  const limit = integer(rest, 'limit', defaultRecords, 1, mostRecords);
  const order = word(rest, 'order', ['newest', 'oldest'] as const, 'newest');
  const { cursor, until } = positionIn(rest, services);
  const now = services.core.clock.now();
  const without = withoutOwn(rest, services);
  const counts = word(rest, 'count', answers, 'false') === 'true';
  checked(() => readWanted(wanted, now));
  const last = until ?? (order === 'oldest' ? await services.records.latest() : null);
  const { username, token_name: tokenName, ...others } = wanted;
  const callers = username === undefined && tokenName === undefined ? [] : services.named(username, tokenName);
  const search = { wanted: callers.length === 0 ? wanted : others, callers: callers.length === 0 ? null : callers, cursor, order, last, without, now };
  const grep = rest.get('grep');
  if (grep !== undefined) return searchLogs(services, { ...search, grep, limit, time: searchTime }, counts);
  // One more, which tells whether there is another page.
  const { records: found, next: goOn, stopped } = await services.records.search({ ...search, grep: null, limit: limit + 1, time: listTime });
  const logs = found.slice(0, limit);
  const shown = logs.at(-1);
  const id = found.length > limit && shown !== undefined ? services.records.positionOf(shown) : goOn;
  const next = cursorOf(id, last);
  const count = counts ? { count: Number((await services.records.ask(countOf(wanted, now, without)))[0]?.['records'] ?? 0) } : {};
  return { status: 200, body: { logs: logs.map((record) => named(withoutBodies(record), record, services)), next, ...(stopped && { stopped }), ...count } };
};

/** With `grep`: records whose bodies hold a text. `stopped`: the time was over, and `next` is where to go on. */
async function searchLogs(services: AdminServices, search: JournalSearch<Position> & { readonly grep: string }, counts: boolean): Promise<Reply> {
  if (search.grep === '' || search.grep.length > longestGrep) throw invalid('grep', `a text of 1 to ${longestGrep} characters`, `${search.grep.length} characters`, 'connection refused');
  if (counts) throw invalid('count', 'no count of what a text is searched for in', 'it beside grep');
  const { records, next, stopped } = await services.records.search(search);
  return { status: 200, body: { logs: records.map((record) => named(withoutBodies(record), record, services)), next: cursorOf(next, search.last ?? null), stopped } };
}

/** `GET logs/:request_id`: one record with its headers and bodies; the access is logged. */
export const showLog: Method = async (call, services) => {
  const record = await services.records.request(call.name);
  if (record === null) throw new HeimdallError('not_found', { message: 'There is no record of that request id.' });
  if (call.context.req.method !== 'HEAD') changed(call, 'log.read', call.name, null, null);
  return { status: 200, body: named(record, record, services) };
};

/** `GET logs/aggregate?by=…`: groups of records with their sums. */
export const aggregateLogs: Method = async (call, services) => {
  const { wanted, rest } = asked(call, ['by', 'sort', 'least', 'page', 'page_size', 'own']);
  const by = word(rest, 'by', Object.keys(groups) as (keyof typeof groups)[], 'key');
  const sort = word(rest, 'sort', measures, 'requests');
  const page = integer(rest, 'page', 1, 1, 1_000_000);
  const pageSize = integer(rest, 'page_size', 20, 1, 100);
  const least = integer(rest, 'least', 0, 0, Number.MAX_SAFE_INTEGER);
  const now = services.core.clock.now();
  const between = await bounded(services, wanted, now);
  const rows = await run(services, groupsOf({ wanted, by, sort, least, limit: pageSize, offset: (page - 1) * pageSize, without: withoutOwn(rest, services), now, between }));
  return { status: 200, body: { by, groups: rows, page, page_size: pageSize, ...(between !== null && { stopped: true }) } };
};

/** `GET logs/frequency?interval=60&by=…`: requests per interval of that many seconds. */
export const frequencyOfLogs: Method = async (call, services) => {
  const { wanted, rest } = asked(call, ['by', 'interval', 'limit']);
  const by = rest.get('by') === undefined ? null : word(rest, 'by', Object.keys(groups) as (keyof typeof groups)[], 'key');
  const interval = integer(rest, 'interval', 60, 1, 86_400);
  const limit = integer(rest, 'limit', mostRecords, 1, 10_000);
  const now = services.core.clock.now();
  const between = await bounded(services, wanted, now);
  const rows = await run(services, frequencyOf(wanted, by, interval, limit, now, between));
  return { status: 200, body: { by, interval, ...(between !== null && { stopped: true }), frequency: rows.map(({ time, ...row }) => ({ time: new Date(Number(time) * 1000).toISOString(), ...row })) } };
};

/** Splits the parameters of the query into filters and the resource's own parameters. */
function asked(call: Call, own: readonly string[]): { wanted: Wanted; rest: ReadonlyMap<string, string> } {
  const rest = parametersOf(call, [...own, ...Object.keys(filters)]);
  return { wanted: Object.fromEntries([...rest].filter(([name]) => !own.includes(name))), rest };
}

/** With `own=false`: the paths of the gate's own, whose requests are left out. */
const withoutOwn = (rest: ReadonlyMap<string, string>, { core }: AdminServices): readonly string[] | null => (word(rest, 'own', answers, 'true') === 'false' ? ownPaths(core.config) : null);

/** The cursor of a page: the position of its last record, and from the oldest on that of the last record of the walk. */
function positionIn(rest: ReadonlyMap<string, string>, { records }: AdminServices): { readonly cursor: Position | null; readonly until: Position | null } {
  const text = rest.get('cursor');
  if (text === undefined) return { cursor: null, until: null };
  const [at = '', last, more] = text.split('_');
  const [cursor, until] = [records.position(at), last === undefined ? null : records.position(last)];
  if (cursor === null || more !== undefined || (last !== undefined && until === null)) throw invalid('cursor', 'the next of an earlier page', JSON.stringify(text.slice(0, 40)), '1234');
  return { cursor, until };
}

/** See {@link positionIn}. */
const cursorOf = (id: Position | null, last: Position | null): Position | string | null => (id === null || last === null ? id : `${id}_${last}`);

/** The records that a question about many of them is asked of, where all would take too long; null: all. */
const bounded = async ({ records }: AdminServices, wanted: Wanted, now: number): Promise<Between | null> => {
  checked(() => readWanted(wanted, now));
  return records.bounded(wanted, now);
};

async function run({ records }: AdminServices, question: Question): Promise<readonly SqlRow[]> {
  return records.ask((dialect) => checked(() => question(dialect)));
}

function checked<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: error.message, field: error.field });
    throw error;
  }
}

/** A record with what NewAPI calls its caller and has charged, as far as that is known. */
function named(shown: object, { learnt, key_id: key, token_id: token }: AuditRecord, { nameOf }: AdminServices): object {
  const name = key === null ? nameOf('token', token) : nameOf('key', key);
  return { ...shown, username: learnt?.['username'] ?? name?.username ?? null, token_name: learnt?.['token_name'] ?? name?.token_name ?? null, charged: learnt?.['charged'] ?? null };
}

/** A record without headers, bodies and cookies, for lists. */
function withoutBodies({ request_headers: _headers, request_body: _body, response_body: _answer, cookies: _cookies, timestamp, ...rest }: AuditRecord): object {
  return { ...rest, time: new Date(timestamp * 1000).toISOString(), timestamp };
}
