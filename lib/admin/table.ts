import { ban, listBans, unban } from './bans.ts';
import type { Method } from './call.ts';
import { acknowledgeFinding, actOnFinding, listCallers, listFindings, rejectFinding, reportLeaked, showCaller, showFinding, undoFinding } from './findings.ts';
import { readEvents } from './events.ts';
import { beginJob, listJobs, readJobFile, removeJob, showJob } from './jobs.ts';
import { aggregateLogs, frequencyOfLogs, listLogs, showLog } from './logs.ts';
import { openapi } from './openapi.ts';
import { showOverview, showSeries } from './overview.ts';
import { changeKey, createKey, listKeys, removeKey, rotateKey, showKey } from './keys.ts';
import { checkConfig, logOut, reloadConfig, resizeQueue, showConfig, showHealth, showQueue, showSession, showTargets } from './status.ts';

/** A resource with its methods. HEAD is answered like GET, OPTIONS with the list of methods. */
export interface Resource {
  readonly path: string;
  readonly methods: Readonly<Partial<Record<'GET' | 'POST' | 'PATCH' | 'DELETE', Method>>>;
  /** What each method does, for the table in README.md and the OpenAPI document. Words in backticks are fields and parameters, but for those in parentheses. */
  readonly what: Readonly<Partial<Record<'GET' | 'POST' | 'PATCH' | 'DELETE', string>>>;
  /** The methods read parameters of the query. Any other resource takes none. */
  readonly takesQuery?: true;
  /** Its methods change nothing of the gate, so that those who may only read may use them all. */
  readonly forReaders?: true;
}

/** Waits for the registry's first reading. */
const known = (method: Method): Method => async (call, services) => {
  await services.registry.ready();
  return method(call, services);
};

const showOpenapi: Method = async (_call, { core }) => ({ status: 200, body: openapi(resources, `${core.config.admin.path}/api`) });

/** Every resource below `<admin.path>/api`. `:name` is one segment, `:name*` the rest, since a CIDR contains a slash. */
export const resources: readonly Resource[] = [
  { path: 'keys', methods: { GET: known(listKeys), POST: known(createKey) }, what: { GET: 'lists keys', POST: 'creates a key from `name` and optional `expires`, `models`, `cidrs`, `upstream_credential`, `requests`, `tokens`, `concurrency`, `budget`, `honey`; the answer contains the key, once' } },
  { path: 'keys/:name', methods: { GET: known(showKey), PATCH: known(changeKey), DELETE: known(removeKey) }, what: { GET: 'shows a key', PATCH: 'changes `disabled`, `expires`, `models`, `cidrs`, `requests`, `tokens`, `concurrency`, `budget` (null takes a limit away); keys of the configuration can be changed there only', DELETE: 'deletes a key' } },
  { path: 'keys/:name/rotate', methods: { POST: known(rotateKey) }, what: { POST: 'replaces the key; the old key stays valid for `overlap` (default 0)' } },
  { path: 'bans', methods: { GET: known(listBans), POST: known(ban) }, what: { GET: 'lists bans', POST: "bans `value` (address, CIDR, key's name or token identity), with `kind`, `reason`, `expires`, `force`" } },
  { path: 'bans/:which*', methods: { DELETE: known(unban) }, what: { DELETE: 'lifts a ban, by its id or its value' } },
  { path: 'logs', methods: { GET: listLogs }, takesQuery: true, what: { GET: 'records, newest first: every filter of `heimdall logs`, `grep`, `limit`, `order`, `count=true`; `own=false` leaves out the gate\'s own; `cursor` is what the previous page calls `"next"`; `"stopped": true` says that the time for rare records was over' } },
  { path: 'logs/aggregate', methods: { GET: aggregateLogs }, takesQuery: true, what: { GET: 'records aggregated `by` key, address, device, session, model …: requests, keys, addresses, devices, errors, tokens, cost; `sort`, `least`, `page`, `page_size`, `own=false`; of very many records the latest, which `"stopped": true` says' } },
  { path: 'logs/frequency', methods: { GET: frequencyOfLogs }, takesQuery: true, what: { GET: 'requests per `interval` seconds, `by` any of these; of very many records the latest, which `"stopped": true` says' } },
  { path: 'logs/:request_id', methods: { GET: showLog }, what: { GET: 'one record with headers and bodies; the access is logged as an event' } },
  { path: 'findings', methods: { GET: known(listFindings) }, takesQuery: true, what: { GET: 'what the watch found, newest first: `state`, `rule`, `caller`, `limit`, `cursor`' } },
  { path: 'findings/:id', methods: { GET: known(showFinding) }, what: { GET: 'one finding with its evidence' } },
  { path: 'findings/:id/acknowledge', methods: { POST: known(acknowledgeFinding) }, what: { POST: 'marks a finding as seen and right; optional `reason`' } },
  { path: 'findings/:id/undo', methods: { POST: known(undoFinding) }, what: { POST: 'ends the action; the pattern rests for 30 days; optional `reason`' } },
  { path: 'findings/:id/false-positive', methods: { POST: known(rejectFinding) }, what: { POST: 'calls a finding wrong and ends its action; optional `reason`' } },
  { path: 'findings/:id/act', methods: { POST: known(actOnFinding) }, what: { POST: 'sets `action` (`none`, `flag`, `slow`, `limit`, `freeze`), with `expires` within a day and `reason`' } },
  { path: 'leaked', methods: { POST: known(reportLeaked) }, what: { POST: 'freezes those of `keys` (10 000 at most, 2 MB) that are known here; answers `{ read, keys: [{ kind, id }] }`' } },
  { path: 'callers', methods: { GET: listCallers }, takesQuery: true, what: { GET: 'keys and tokens with records, the latest first, with their sums: `limit`, `cursor`' } },
  { path: 'callers/:id*', methods: { GET: known(showCaller) }, what: { GET: 'addresses, devices, sessions, homes, models, clients, hours and findings of a key, a token or a network' } },
  { path: 'overview', methods: { GET: showOverview }, what: { GET: 'whether anything is wrong, the last hour beside the same hour a week before, spend, open findings, targets and queue, in one answer' } },
  { path: 'series', methods: { GET: showSeries }, takesQuery: true, what: { GET: 'requests, errors, refusals, tokens, cost and times of each `step` (`minute`, `hour`, `day`) `from` a time `to` another' } },
  { path: 'targets', methods: { GET: showTargets }, what: { GET: 'state, breakers, last probe and running requests of each target' } },
  { path: 'queue', methods: { GET: showQueue, PATCH: resizeQueue }, what: { GET: 'shows the queue', PATCH: 'changes `concurrency`' } },
  { path: 'health', methods: { GET: showHealth }, what: { GET: 'a summary, with journal, sinks, version, uptime and memory' } },
  { path: 'config', methods: { GET: showConfig }, what: { GET: 'the effective configuration, secrets masked' } },
  { path: 'config/check', methods: { POST: checkConfig }, what: { POST: 'checks a pasted configuration by itself: `yaml`' } },
  { path: 'reload', methods: { POST: reloadConfig }, what: { POST: 'reads the configuration again and puts it in force; answers `{ changed, restart }`, keys as a file names them' } },
  { path: 'jobs', methods: { GET: listJobs, POST: known(beginJob) }, what: { GET: 'long work with its progress', POST: 'begins work of a `kind`, an export with `format` and `filters`, an erasure with `key`, `token`, `ip` or `device`: `{"kind": "verify"}`, `{"kind": "export", "format": "csv", "filters": {"from": "30d"}}`, `{"kind": "forget", "key": "team-a"}`' } },
  { path: 'jobs/:id', methods: { GET: showJob, DELETE: removeJob }, what: { GET: 'one job', DELETE: 'cancels or removes a job; an erasure that runs is a 409' } },
  { path: 'jobs/:id/file', methods: { GET: readJobFile }, what: { GET: 'the file that an export wrote' } },
  { path: 'session', methods: { GET: showSession }, what: { GET: 'how the caller is logged in, and whether it may change anything' } },
  { path: 'logout', methods: { POST: logOut }, forReaders: true, what: { POST: 'ends a login' } },
  { path: 'openapi.json', methods: { GET: showOpenapi }, what: { GET: 'this table as an OpenAPI 3.1 document' } },
  { path: 'events', methods: { GET: readEvents }, takesQuery: true, what: { GET: 'server-sent events: the event log (`log`, continues after `Last-Event-ID`) and every finished request (`request`). `rows=20` shows at most so many a second, evenly, and tells the real rate; filters `key`, `token`, `model`, `target`, `outcome`, `status`, and `own=false`' } },
];

/** @returns the resource and the part of the path at the place of its name, or null. */
export function resourceFor(segments: readonly string[]): { readonly resource: Resource; readonly name: string } | null {
  for (const resource of resources) {
    const name = nameIn(resource.path.split('/'), segments);
    if (name !== null) return { resource, name };
  }
  return null;
}

function nameIn(pattern: readonly string[], segments: readonly string[]): string | null {
  const rest = pattern.at(-1)?.endsWith('*') ?? false;
  if (rest ? segments.length < pattern.length : segments.length !== pattern.length) return null;
  let name = '';
  for (const [at, part] of pattern.entries()) {
    if (part.startsWith(':')) name = (part.endsWith('*') ? segments.slice(at).join('/') : segments[at]) as string;
    else if (part !== segments[at]) return null;
  }
  return name;
}
