// What takes longer than a request: verifying, exporting and forgetting, with its progress.

import { pipeline } from 'node:stream';
import { z } from 'zod';
import type { Forgetting } from '../../types/journal.d.ts';
import { choice, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { parseAddress } from '../identity/identity.ts';
import { type JobWork, readWanted, SearchError } from '../journal/journal.ts';
import { guard } from '../platform/platform.ts';
import { ownPaths } from '../request/request.ts';
import { invalid } from '../registry/registry.ts';
import { changed, fieldsOf, type AdminServices, type Method } from './call.ts';
import { strictly } from './fields.ts';
import { type Job, jobJson } from './job-list.ts';

export const listJobs: Method = async (_call, services) => ({ status: 200, body: { jobs: (await jobsOf(services)).list().map(jobJson) } });

export const showJob: Method = async ({ name }, services) => ({ status: 200, body: jobJson((await jobsOf(services)).find(name)) });

/** The jobs, without exports from before an erasure, which another process may have made. */
async function jobsOf(services: AdminServices): Promise<AdminServices['jobs']> {
  const { jobs } = services;
  if (jobs.hasExports) jobs.removeExports(await lastErasure(services));
  return jobs;
}

async function lastErasure({ logs }: AdminServices): Promise<number> {
  const [row] = await logs.query('SELECT coalesce(max(erasure), 0) AS last FROM heimdall_erasures', []);
  return Number(row?.['last'] ?? 0);
}

/** `DELETE jobs/ID`. */
export const removeJob: Method = (call, { jobs }) => {
  const { id, kind, state } = jobs.find(call.name);
  if (kind === 'forget' && state === 'running') throw new HeimdallError('conflict', { message: 'An erasure cannot be cancelled.' });
  jobs.remove(id);
  changed(call, 'job.remove', id, { kind, state }, null);
  return { status: 204 };
};

/** `POST jobs`: begins a job, and answers before it is over. */
export const beginJob: Method = async (call, services) => {
  const fields = await fieldsOf(call, newJob);
  if (!services.core.config.audit.enabled) throw new HeimdallError('conflict', { message: 'There is no journal (audit.enabled).' });
  const job = fields.kind === 'forget' ? forget(services, subjectOf(fields)) : read(services, workOf(fields, services), await lastErasure(services));
  changed(call, `job.${job.kind}`, job.id, null, job.kind === 'export' ? { format: fields.format ?? 'jsonl', filters: fields.filters ?? {} } : null);
  return { status: 202, body: jobJson(job), head: ['Location', `jobs/${job.id}`] };
};

/** `GET jobs/ID/file`: what an export has written. */
export const readJobFile: Method = async (call, services) => {
  const { context } = call;
  const { state, file, kind } = (await jobsOf(services)).find(call.name);
  if (file === null || state !== 'done') throw new HeimdallError('not_found', { message: kind === 'export' ? 'The export is not done.' : 'The job writes no file.' });
  const { ending } = file;
  const head = ['Content-Type', ending === 'csv' ? 'text/csv; charset=utf-8' : 'application/jsonl', 'Content-Disposition', `attachment; filename="heimdall.${ending}"`];
  if (context.req.method === 'HEAD') return { status: 200, head };
  changed(call, 'job.read', call.name, null, null);
  context.begin(200, [...head, 'X-Content-Type-Options', 'nosniff']);
  // Ends the connection when the file cannot be read.
  pipeline(file.read(), context.res, guard(services.core.log, 'job', () => undefined));
  return null;
};

const field = (what: string, example: string) => strictly(text(what, example), 'string');
const newJob = z.strictObject({
  kind: required(choice(['verify', 'export', 'forget'] as const), 'What is done'),
  format: required(choice(['jsonl', 'csv'] as const), 'Form of an export').optional(),
  filters: z.record(z.string(), required(field('the value of a filter', '24h'), 'A filter')).optional(),
  key: required(field('the name of a key', 'team-a'), 'A key').optional(),
  token: required(field('the identity of a token', '9f86d081884c7d65'), 'A token').optional(),
  ip: required(field('an address', '192.0.2.7'), 'An address').optional(),
  device: required(field('64 hex digits', 'a1b2'), 'A device').optional(),
});
type NewJob = z.output<typeof newJob>;

const forms = { key: /./, token: /^[0-9a-f]{16}$/, ip: /./, device: /^[0-9a-f]{64}$/ } as const;

/** Whose data are erased: exactly one subject is named. */
function subjectOf(fields: NewJob): Forgetting {
  const given = (Object.keys(forms) as (keyof typeof forms)[]).filter((each) => fields[each] !== undefined);
  const [name] = given;
  if (name === undefined || given.length > 1) throw invalid('body', 'one of key, token, ip and device', given.length === 0 ? 'none' : 'several', { kind: 'forget', key: 'team-a' });
  const value = fields[name] as string;
  const address = name === 'ip' ? parseAddress(value) : null;
  if (!forms[name].test(value) || (name === 'ip' && address === null)) throw invalid(name, name === 'ip' ? 'an IP address' : name === 'token' ? '16 hex digits' : '64 hex digits', JSON.stringify(value.slice(0, 40)));
  return { kind: name === 'ip' ? 'address' : name === 'token' ? 'key' : name, value: address ?? value };
}

function workOf({ kind, format = 'jsonl', filters: wanted = {} }: NewJob, { core }: AdminServices): (file: string) => JobWork {
  if (kind === 'verify') return () => ({ kind });
  const { grep, own = 'true', ...rest } = wanted;
  if (own !== 'true' && own !== 'false') throw invalid('filters.own', 'true or false', JSON.stringify(own.slice(0, 40)), 'false');
  const now = core.clock.now();
  try {
    readWanted(rest, now);
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: `filters.${error.message}`, field: `filters.${error.field}` });
    throw error;
  }
  return (file) => ({ kind: 'export', wanted: rest, format, now, file, without: own === 'false' ? ownPaths(core.config) : null, ...(grep === undefined ? {} : { grep }) });
}

function read(services: AdminServices, make: (file: string) => JobWork, erasure: number): Job {
  const work = make('');
  return services.jobs.begin(work.kind, services.core, work.kind === 'export' ? { ending: work.format, erasure } : null, async (job) => {
    const running = await services.work.work(make(job.file?.path ?? ''), (done, total) => Object.assign(job, { done, total }));
    job.cancel = running.cancel;
    // Removed before its thread began.
    if (job.state !== 'running') running.cancel();
    return running.result;
  });
}

function forget(services: AdminServices, what: Forgetting): Job {
  return services.jobs.begin('forget', services.core, null, async (job) => {
    const erased = await services.work.forget(what);
    await jobsOf(services);
    Object.assign(job, { done: erased, total: erased });
    return { erased };
  });
}
