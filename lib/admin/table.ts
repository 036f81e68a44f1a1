import { ban, listBans, unban } from './bans.ts';
import type { Method } from './call.ts';
import { acknowledgeFinding, actOnFinding, listCallers, listFindings, rejectFinding, reportLeaked, showCaller, showFinding, undoFinding } from './findings.ts';
import { readEvents } from './events.ts';
import { beginJob, listJobs, readJobFile, removeJob, showJob } from './jobs.ts';
import { aggregateLogs, frequencyOfLogs, listLogs, showLog } from './logs.ts';
import { showOverview, showSeries } from './overview.ts';
import { changeKey, createKey, listKeys, removeKey, rotateKey, showKey } from './keys.ts';
import { checkConfig, logOut, resizeQueue, showConfig, showHealth, showQueue, showSession, showTargets } from './status.ts';

/** A resource with its methods. HEAD is answered like GET, OPTIONS with the list of methods. */
export interface Resource {
  readonly path: string;
  readonly methods: Readonly<Partial<Record<'GET' | 'POST' | 'PATCH' | 'DELETE', Method>>>;
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

/** Every resource below `<admin.path>/api`. `:name` is one segment, `:name*` the rest, since a CIDR contains a slash. */
export const resources: readonly Resource[] = [
  { path: 'keys', methods: { GET: known(listKeys), POST: known(createKey) } },
  { path: 'keys/:name', methods: { GET: known(showKey), PATCH: known(changeKey), DELETE: known(removeKey) } },
  { path: 'keys/:name/rotate', methods: { POST: known(rotateKey) } },
  { path: 'bans', methods: { GET: known(listBans), POST: known(ban) } },
  { path: 'bans/:which*', methods: { DELETE: known(unban) } },
  { path: 'logs', methods: { GET: listLogs }, takesQuery: true },
  { path: 'logs/aggregate', methods: { GET: aggregateLogs }, takesQuery: true },
  { path: 'logs/frequency', methods: { GET: frequencyOfLogs }, takesQuery: true },
  { path: 'logs/:request_id', methods: { GET: showLog } },
  { path: 'findings', methods: { GET: known(listFindings) }, takesQuery: true },
  { path: 'findings/:id', methods: { GET: known(showFinding) } },
  { path: 'findings/:id/acknowledge', methods: { POST: known(acknowledgeFinding) } },
  { path: 'findings/:id/undo', methods: { POST: known(undoFinding) } },
  { path: 'findings/:id/false-positive', methods: { POST: known(rejectFinding) } },
  { path: 'findings/:id/act', methods: { POST: known(actOnFinding) } },
  { path: 'leaked', methods: { POST: known(reportLeaked) } },
  { path: 'callers', methods: { GET: listCallers }, takesQuery: true },
  { path: 'callers/:id*', methods: { GET: known(showCaller) } },
  { path: 'overview', methods: { GET: showOverview } },
  { path: 'series', methods: { GET: showSeries }, takesQuery: true },
  { path: 'targets', methods: { GET: showTargets } },
  { path: 'queue', methods: { GET: showQueue, PATCH: resizeQueue } },
  { path: 'health', methods: { GET: showHealth } },
  { path: 'config', methods: { GET: showConfig } },
  { path: 'config/check', methods: { POST: checkConfig } },
  { path: 'jobs', methods: { GET: listJobs, POST: beginJob } },
  { path: 'jobs/:id', methods: { GET: showJob, DELETE: removeJob } },
  { path: 'jobs/:id/file', methods: { GET: readJobFile } },
  { path: 'session', methods: { GET: showSession } },
  { path: 'logout', methods: { POST: logOut }, forReaders: true },
  { path: 'events', methods: { GET: readEvents }, takesQuery: true },
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
