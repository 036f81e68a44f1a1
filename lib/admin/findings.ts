import { z } from 'zod';
import type { Action, Subject } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { SqlValue } from '../../types/journal.d.ts';
import { freezeLeaked, ruleNames, sentencesOf } from '../anomaly/anomaly.ts';
import { choice, key, list, orNull, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { calendarOf } from '../platform/platform.ts';
import { invalid } from '../registry/registry.ts';
import { callersOf, listedColumns, queryAbout, readCallerCursor } from '../journal/journal.ts';
import { changed, fieldsOf, holdsOf, integer, parametersOf, type AdminServices, type Call, type Method, word } from './call.ts';
import { iso, moment, strictly } from './fields.ts';
import { findingOf, type Found, foundOf, onlyOwn, recordsJson } from './found.ts';
import { spendOfCaller } from './me.ts';

const mostFindings = 500;
/** States of a finding. */
export const findingStates = ['open', 'acknowledged', 'undone', 'false_positive', 'over'] as const;
/** What may be done about the caller of a finding. */
export const findingActions = ['none', 'flag', 'slow', 'limit', 'freeze'] as const;

/** `GET findings?state&rule&caller&limit&cursor`: the newest first. */
export const listFindings: Method = async (call, services) => {
  const asked = parametersOf(call, ['state', 'rule', 'caller', 'limit', 'cursor']);
  const state = asked.has('state') ? word(asked, 'state', findingStates, 'open') : undefined;
  const rule = asked.has('rule') ? word(asked, 'rule', ruleNames, 'shared_key') : undefined;
  const caller = asked.get('caller');
  const limit = integer(asked, 'limit', 100, 1, mostFindings);
  const cursor = integer(asked, 'cursor', 0, 0, Number.MAX_SAFE_INTEGER);
  const read = await foundOf(services);
  const all = read.found.filter(({ finding }) => (state === undefined || finding.state === state) && (rule === undefined || finding.rule === rule) && (caller === undefined || finding.caller.id === caller));
  const page = all.slice(cursor, cursor + limit);
  return { status: 200, body: { findings: page.map((found) => namedFinding(found, services)), next: cursor + limit < all.length ? cursor + limit : null, holds: holdsOf(services), records: recordsJson(read) } };
};

export const showFinding: Method = async ({ name }, services) => ({ status: 200, body: namedFinding(await findingOf(name, services), services) });

/** Makes a method that changes one finding. */
const change = (action: string, edit: (call: Call, services: AdminServices, id: string) => Promise<Finding>): Method => async (call, services) => {
  await onlyOwn(call.name, services);
  const before = services.findings.get(call.name);
  const after = await edit(call, services, call.name);
  changed(call, `finding.${action}`, call.name, stateOf(before), stateOf(after));
  return { status: 200, body: namedFinding({ finding: after, instance: null }, services) };
};

const stateOf = ({ state, action, expires }: Finding): object => ({ state, action, expires: iso(expires) });
const note = key(strictly(text('text of at most 500 characters', 'the owner bought a second machine', /^[^]{0,500}$/), 'string'), '', 'Why');
const reasonOnly = z.strictObject({ reason: note });

export const acknowledgeFinding = change('acknowledge', async (call, { findings }, id) => findings.acknowledge(id, (await fieldsOf(call, reasonOnly)).reason));
export const undoFinding = change('undo', async (call, { findings }, id) => findings.undo(id, (await fieldsOf(call, reasonOnly)).reason));
export const rejectFinding = change('false_positive', async (call, { findings }, id) => findings.falsePositive(id, (await fieldsOf(call, reasonOnly)).reason));
export const actOnFinding = change('act', async (call, { core, findings }, id) => {
  const { action, expires, reason } = await fieldsOf(call, z.strictObject({
    action: required(choice(findingActions), 'What is done about the caller'),
    expires: key(orNull(moment(() => calendarOf(core.clock).now())), null, 'When it ends, at most a day ahead'),
    reason: note,
  }));
  return findings.act(id, action as Action, expires, reason);
});

/** A finding whose caller has the names that NewAPI knows. */
export const namedFinding = ({ finding, instance }: Found, { nameOf, records }: AdminServices): object => ({ ...findingJson(finding), caller: { ...finding.caller, newapi: nameOf(finding.caller.kind, finding.caller.id) }, ...(records.instances === 'all' && { instance }) });

/** A finding as JSON, times in ISO 8601. Names at NewAPI are known to a running gate alone. */
export function findingJson({ id, rule, caller, score, since, last, state, action, would, expires, restsUntil, note: why, baseline, evidence, reason }: Finding): object {
  return {
    id, rule, caller: { ...caller, newapi: null }, score, state, action, would, evidence, since: iso(since), last: iso(last), expires: iso(expires), rests_until: iso(restsUntil), note: why,
    part: reason, sentence: sentencesOf(rule, reason), baseline,
  };
}

/** Bytes of a report of leaked keys. */
const longestReport = 2 * 1024 * 1024;
const leakedKey = { ...strictly(text('a key, or the SHA-256 of one, as text', 'sk-…', /^[^]*$/), 'string'), unit: 'secret' } as const;

/** `POST leaked`: finds which of the keys are known here, and freezes them. */
export const reportLeaked: Method = async (call, { registry, findings }) => {
  const { keys } = await fieldsOf(call, z.strictObject({ keys: list(leakedKey, [], 'Keys, or hex SHA-256 of keys') }), longestReport);
  const answer = await freezeLeaked(keys, registry, findings);
  changed(call, 'leaked', `${answer.read} keys`, null, { keys: answer.keys });
  return { status: 200, body: answer };
};

/** `GET callers?limit&cursor`: callers with records, the latest first. */
export const listCallers: Method = async (call, { records, nameOf }) => {
  const asked = parametersOf(call, ['limit', 'cursor']);
  const limit = integer(asked, 'limit', 100, 1, 500);
  const text = asked.get('cursor');
  const cursor = text === undefined ? null : readCallerCursor(text);
  if (text !== undefined && cursor === null) throw invalid('cursor', 'the next of an earlier page', JSON.stringify(text.slice(0, 40)), '1785500000-key-team-a');
  await records.sum();
  const rows = await records.ask(callersOf(limit + 1, cursor));
  const callers = rows.slice(0, limit).map(({ last, ...row }) => ({ ...row, last: isoOf(last), newapi: nameOf(String(row['kind']), String(row['id'])) }));
  const end = rows[limit - 1];
  return { status: 200, body: { callers, next: rows.length > limit && end !== undefined ? `${String(end['last'])}-${String(end['kind'])}-${String(end['id'])}` : null } };
};

/** `GET callers/ID`: from where, with what and when a caller called. */
export const showCaller: Method = async ({ name }, services) => {
  const { core, logs, records, callers } = services;
  const caller = subjectOf(name, services);
  await records.sum();
  const [known, { found: about }, spend, limits] = await Promise.all([
    records.ask(queryAbout(caller)), foundOf(services, caller), caller.kind === 'network' ? null : spendOfCaller(caller, records, core.clock.now()), callers.limitsOf(caller),
  ]);
  const { sums: [sum] = [], hours = [], ...lists } = Object.groupBy(known, ({ what }) => String(what));
  if (Number(sum?.['requests'] ?? 0) === 0 && about.length === 0) throw new HeimdallError('not_found', { message: 'There is no record of that caller.' });
  const listOf = (what: keyof typeof listedColumns): object[] => (lists[what] ?? []).map(({ id, requests, first, last }) => ({ id, requests, first: isoOf(first), last: isoOf(last) }));
  const listed: Record<string, object[]> = Object.fromEntries(Object.keys(listedColumns).map((what) => [what, listOf(what as keyof typeof listedColumns)]));
  const { networks = [] } = listed as { networks?: { readonly id?: unknown }[] };
  const places = core.config.anomaly.mmdb === null ? null : await logs.placesOf(networks.map(({ id }) => String(id)));
  if (places !== null) listed['networks'] = networks.map((row) => ({ ...row, ...places.get(String(row.id)) }));
  return {
    status: 200,
    body: {
      caller, newapi: services.nameOf(caller.kind, caller.id), requests: sum?.['requests'] ?? 0, first: isoOf(sum?.['first'] ?? null), last: isoOf(sum?.['last'] ?? null), cost: sum?.['cost'] ?? 0, ...listed,
      limits, spend,
      hours: hours.map(({ first, requests, errors, cost }) => ({ hour: isoOf(first), requests, errors, cost })), findings: about.map((found) => namedFinding(found, services)),
    },
  };
};

const isoOf = (seconds: SqlValue | undefined): string | null => (typeof seconds === 'number' ? iso(seconds * 1000) : null);

function subjectOf(name: string, { registry }: AdminServices): Subject {
  if (name.includes('/')) return { kind: 'network', id: name };
  const isKey = registry.keys().some((each) => each.name === name);
  return !isKey && /^[0-9a-f]{16}$/.test(name) ? { kind: 'token', id: name } : { kind: 'key', id: name };
}
