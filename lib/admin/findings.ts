import { z } from 'zod';
import type { Action, Subject } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import { ruleNames, sentencesOf } from '../anomaly/anomaly.ts';
import { choice, key, orNull, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { invalid } from '../registry/registry.ts';
import { changed, fieldsOf, type AdminServices, type Call, type Method } from './call.ts';
import { iso, moment, strictly } from './fields.ts';

const mostFindings = 500;
const states = ['open', 'acknowledged', 'undone', 'false_positive', 'over'] as const;
const actions = ['none', 'flag', 'slow', 'limit', 'freeze'] as const;

/** `GET findings?state&rule&caller&limit&cursor`: the newest first. */
export const listFindings: Method = (call, { findings }) => {
  const asked = parameters(call, ['state', 'rule', 'caller', 'limit', 'cursor']);
  const state = oneOf(asked, 'state', states);
  const rule = oneOf(asked, 'rule', ruleNames);
  const caller = asked.get('caller');
  const limit = numberOf(asked, 'limit', 100, mostFindings);
  const cursor = numberOf(asked, 'cursor', 0, Number.MAX_SAFE_INTEGER);
  const all = findings.list().filter((finding) => (state === undefined || finding.state === state) && (rule === undefined || finding.rule === rule) && (caller === undefined || finding.caller.id === caller));
  const page = all.slice(cursor, cursor + limit);
  return { status: 200, body: { findings: page.map(findingJson), next: cursor + limit < all.length ? cursor + limit : null } };
};

export const showFinding: Method = ({ name }, { findings }) => ({ status: 200, body: findingJson(findings.get(name)) });

/** Makes a method that changes one finding. */
const change = (action: string, edit: (call: Call, services: AdminServices, id: string) => Promise<Finding>): Method => async (call, services) => {
  const before = services.findings.get(call.name);
  const after = await edit(call, services, call.name);
  changed(call, `finding.${action}`, call.name, stateOf(before), stateOf(after));
  return { status: 200, body: findingJson(after) };
};

const stateOf = ({ state, action, expires }: Finding): object => ({ state, action, expires: iso(expires) });
const note = key(strictly(text('text of at most 500 characters', 'the owner bought a second machine', /^[^]{0,500}$/), 'string'), '', 'Why');
const reasonOnly = z.strictObject({ reason: note });

export const acknowledgeFinding = change('acknowledge', async (call, { findings }, id) => findings.acknowledge(id, (await fieldsOf(call, reasonOnly)).reason));
export const undoFinding = change('undo', async (call, { findings }, id) => findings.undo(id, (await fieldsOf(call, reasonOnly)).reason));
export const rejectFinding = change('false_positive', async (call, { findings }, id) => findings.falsePositive(id, (await fieldsOf(call, reasonOnly)).reason));
export const actOnFinding = change('act', async (call, { core, findings }, id) => {
  const { action, expires, reason } = await fieldsOf(call, z.strictObject({
    action: required(choice(actions), 'What is done about the caller'),
    expires: key(orNull(moment(core.clock.now)), null, 'When it ends, at most a day ahead'),
    reason: note,
  }));
  return findings.act(id, action as Action, expires, reason);
});

/** A finding as JSON, times in ISO 8601. */
export function findingJson({ since, last, expires, restsUntil, note: reason, baseline, reason: part, ...rest }: Finding): object {
  return {
    ...rest, since: iso(since), last: iso(last), expires: iso(expires), rests_until: iso(restsUntil), note: reason,
    part, sentence: sentencesOf(rest.rule, part), baseline,
  };
}

/** `GET callers?limit&cursor`: callers with records, the latest first. */
export const listCallers: Method = async (call, { logs }) => {
  const asked = parameters(call, ['limit', 'cursor']);
  const limit = numberOf(asked, 'limit', 100, 500);
  const offset = numberOf(asked, 'cursor', 0, 1_000_000);
  const rows = await logs.query(
    `SELECT CASE WHEN key_id IS NULL THEN 'token' ELSE 'key' END AS kind, coalesce(key_id, token_id) AS id, count(*) AS requests, max(timestamp) AS last
     FROM heimdall_logs WHERE coalesce(key_id, token_id) IS NOT NULL GROUP BY 1, 2 ORDER BY last DESC, id LIMIT ? OFFSET ?`, [limit + 1, offset]);
  const callers = rows.slice(0, limit).map(({ kind, id, requests, last }) => ({ kind, id, requests, last: iso(Number(last) * 1000) }));
  return { status: 200, body: { callers, next: rows.length > limit ? offset + limit : null } };
};

/** Different values of one column that are listed. */
const mostListed = 50;

/** `GET callers/ID`: where from, with what and when a caller called. */
export const showCaller: Method = async ({ name }, services) => {
  const { logs, findings } = services;
  const subject = await subjectOf(name, services);
  const [where, value] = subject.kind === 'network' ? networkFilter(subject.id) : [subject.kind === 'key' ? 'key_id = ?' : 'token_id = ? AND key_id IS NULL', subject.id];
  const listed = async (column: string): Promise<unknown[]> => {
    const rows = await logs.query(`SELECT ${column} AS value, count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last FROM heimdall_logs WHERE ${where} AND ${column} IS NOT NULL AND ${column} <> '' GROUP BY 1 ORDER BY last DESC LIMIT ${mostListed}`, [value]);
    return rows.map(({ value: id, requests, first, last }) => ({ id, requests, first: iso(Number(first) * 1000), last: iso(Number(last) * 1000) }));
  };
  const [sum] = await logs.query(`SELECT count(*) AS requests, min(timestamp) AS first, max(timestamp) AS last, sum(coalesce(cost, 0)) AS cost FROM heimdall_logs WHERE ${where}`, [value]);
  const hours = await logs.query(`SELECT timestamp / 3600 * 3600 AS hour, count(*) AS requests FROM heimdall_logs WHERE ${where} GROUP BY 1 ORDER BY 1 DESC LIMIT 168`, [value]);
  const about = findings.list().filter(({ caller }) => caller.kind === subject.kind && caller.id === subject.id);
  if (Number(sum?.['requests'] ?? 0) === 0 && about.length === 0) throw new HeimdallError('not_found', { message: 'There is no record of that caller.' });
  return {
    status: 200,
    body: {
      caller: subject, requests: Number(sum?.['requests'] ?? 0), first: iso(Number(sum?.['first'] ?? 0) * 1000), last: iso(Number(sum?.['last'] ?? 0) * 1000), cost: Number(sum?.['cost'] ?? 0),
      networks: await listed('real_ip'), devices: await listed('device_id'), sessions: await listed('session_id'), homes: await listed('home_id'), models: await listed('model'),
      clients: await listed('client'), hours: hours.map(({ hour, requests }) => ({ hour: iso(Number(hour) * 1000), requests })), findings: about.map(findingJson),
    },
  };
};

async function subjectOf(name: string, { registry }: AdminServices): Promise<Subject> {
  if (name.includes('/')) return { kind: 'network', id: name };
  const isKey = registry.keys().some((each) => each.name === name);
  return !isKey && /^[0-9a-f]{16}$/.test(name) ? { kind: 'token', id: name } : { kind: 'key', id: name };
}

/** A network is found by the beginning of its addresses. */
function networkFilter(network: string): readonly [where: string, value: string] {
  const [address = ''] = network.split('/');
  const begin = address.includes(':') ? address.replace(/00::$/, '').replace(/::$/, ':') : address.replace(/\.0$/, '.');
  return ['substr(real_ip, 1, length(?1)) = ?1', begin];
}

function parameters({ context }: Call, own: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(context.query)) {
    if (found.has(name)) throw invalid(name, 'each parameter once', 'it twice');
    if (!own.includes(name)) throw invalid(name.slice(0, 60), `one of ${own.join(', ')}`, 'another name');
    found.set(name, value);
  }
  return found;
}

function oneOf<T extends string>(asked: ReadonlyMap<string, string>, name: string, words: readonly T[]): T | undefined {
  const value = asked.get(name);
  if (value === undefined) return undefined;
  const found = words.find((word) => word === value);
  if (found === undefined) throw invalid(name, `one of ${words.join(', ')}`, JSON.stringify(value.slice(0, 40)), words[0]);
  return found;
}

function numberOf(asked: ReadonlyMap<string, string>, name: string, fallback: number, most: number): number {
  const value = asked.get(name);
  if (value === undefined) return fallback;
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= (name === 'limit' ? 1 : 0) && number <= most) return number;
  throw invalid(name, `a whole number up to ${most}`, JSON.stringify(value.slice(0, 40)), String(fallback));
}
