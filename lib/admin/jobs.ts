// What takes longer than a request: verifying, exporting and forgetting, with its progress.

import { randomUUID } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { Forgetting } from '../../types/journal.d.ts';
import { choice, required, text } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { parseAddress } from '../identity/identity.ts';
import { type JobWork, readWanted, type RunningJob, SearchError } from '../journal/journal.ts';
import { describe, guard } from '../platform/platform.ts';
import { invalid } from '../registry/registry.ts';
import { changed, fieldsOf, type AdminServices, type Method } from './call.ts';
import { iso, strictly } from './fields.ts';

/** Jobs that are kept, and those that run at a time. */
const mostJobs = 20;
const mostRunning = 2;

/** What jobs do with the journal. */
export interface JobJournal {
  work(work: JobWork, told: (done: number, total: number | null) => void): Promise<RunningJob>;
  forget(what: Forgetting): Promise<number>;
}

interface Job {
  readonly id: string;
  readonly kind: 'verify' | 'export' | 'forget';
  state: 'running' | 'done' | 'failed' | 'cancelled';
  done: number;
  total: number | null;
  readonly started: number;
  ended: number | null;
  result: object | null;
  error: string | null;
  /** The file of an export. */
  readonly file: string | null;
  cancel: (() => void) | null;
}

const jobJson = ({ id, kind, state, done, total, started, ended, result, error }: Job): object => ({ id, kind, state, done, total, started: iso(started), ended: iso(ended), result, error });

/** The jobs of one gate, the oldest first. They end with it. */
export class Jobs {
  readonly #all = new Map<string, Job>();
  #directory: string | null = null;

  list(): readonly Job[] {
    return [...this.#all.values()].reverse();
  }

  /** @throws HeimdallError where there is none of that id. */
  find(id: string): Job {
    const job = this.#all.get(id);
    if (job === undefined) throw new HeimdallError('not_found', { message: 'There is no job of that id.' });
    return job;
  }

  /** Begins a job. @param run gives its result. @param file the ending of the file that it writes; null for none. */
  begin(kind: Job['kind'], { core: { clock, log } }: AdminServices, file: string | null, run: (job: Job) => Promise<object>): Job {
    if ([...this.#all.values()].filter(({ state }) => state === 'running').length >= mostRunning) throw new HeimdallError('conflict', { message: `Expected fewer than ${mostRunning} jobs at a time; wait for one, or cancel it.` });
    for (const [id, { state }] of this.#all) if (this.#all.size >= mostJobs && state !== 'running') this.remove(id);
    const id = randomUUID();
    const job: Job = { id, kind, state: 'running', done: 0, total: null, started: clock.now(), ended: null, result: null, error: null, file: file === null ? null : join((this.#directory ??= mkdtempSync(join(tmpdir(), 'heimdall-export-'))), `${id}.${file}`), cancel: null };
    this.#all.set(id, job);
    const ended = (state: Job['state'], result: object | null, error: string | null): void => {
      if (job.state === 'running') Object.assign(job, { state, result, error, ended: clock.now() });
    };
    run(job).then((result) => ended('done', result, null), (error: unknown) => {
      log.warn({ job: kind, error: describe(error) }, 'job.failed');
      ended('failed', null, error instanceof Error ? error.message : String(error));
    });
    return job;
  }

  /** Cancels a job that runs; removes one that is over, with its file. */
  remove(id: string): void {
    const job = this.find(id);
    job.cancel?.();
    if (job.state === 'running') Object.assign(job, { state: 'cancelled', ended: job.started });
    if (job.file !== null) rmSync(job.file, { force: true });
    this.#all.delete(id);
  }

  close(): void {
    for (const id of this.#all.keys()) this.remove(id);
    if (this.#directory !== null) rmSync(this.#directory, { recursive: true, force: true });
  }
}

export const listJobs: Method = (_call, { jobs }) => ({ status: 200, body: { jobs: jobs.list().map(jobJson) } });

export const showJob: Method = ({ name }, { jobs }) => ({ status: 200, body: jobJson(jobs.find(name)) });

export const removeJob: Method = ({ name }, { jobs }) => {
  jobs.remove(name);
  return { status: 204 };
};

/** `POST jobs`: begins a job, and answers before it is over. */
export const beginJob: Method = async (call, services) => {
  const fields = await fieldsOf(call, newJob);
  if (!services.core.config.audit.enabled) throw new HeimdallError('conflict', { message: 'There is no journal (audit.enabled).' });
  const job = fields.kind === 'forget' ? forget(services, subjectOf(fields)) : read(services, workOf(fields, services));
  changed(call, `job.${job.kind}`, job.id, null, job.kind === 'export' ? { format: fields.format ?? 'jsonl', filters: fields.filters ?? {} } : null);
  return { status: 202, body: jobJson(job), head: ['Location', `jobs/${job.id}`] };
};

/** `GET jobs/ID/file`: what an export has written. */
export const readJobFile: Method = (call, { core, jobs }) => {
  const { context } = call;
  const { state, file, kind } = jobs.find(call.name);
  if (file === null || state !== 'done') throw new HeimdallError('not_found', { message: kind === 'export' ? 'The export is not done.' : 'The job writes no file.' });
  const ending = file.endsWith('.csv') ? 'csv' : 'jsonl';
  const head = ['Content-Type', ending === 'csv' ? 'text/csv; charset=utf-8' : 'application/jsonl', 'Content-Disposition', `attachment; filename="heimdall.${ending}"`];
  if (context.req.method === 'HEAD') return { status: 200, head };
  context.begin(200, [...head, 'X-Content-Type-Options', 'nosniff']);
  const stream = createReadStream(file);
  stream.on('error', guard(core.log, 'job', () => context.res.destroy()));
  stream.pipe(context.res);
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
  const { grep, ...rest } = wanted;
  const now = core.clock.now();
  try {
    readWanted(rest, now);
  } catch (error) {
    if (error instanceof SearchError) throw new HeimdallError('invalid_value', { message: `filters.${error.message}`, field: `filters.${error.field}` });
    throw error;
  }
  return (file) => ({ kind: 'export', wanted: rest, format, now, file, ...(grep === undefined ? {} : { grep }) });
}

function read(services: AdminServices, make: (file: string) => JobWork): Job {
  const work = make('');
  return services.jobs.begin(work.kind, services, work.kind === 'export' ? work.format : null, async (job) => {
    const running = await services.work.work(make(job.file ?? ''), (done, total) => Object.assign(job, { done, total }));
    job.cancel = running.cancel;
    return running.result;
  });
}

function forget(services: AdminServices, what: Forgetting): Job {
  return services.jobs.begin('forget', services, null, async (job) => {
    const erased = await services.work.forget(what);
    Object.assign(job, { done: erased, total: erased });
    return { erased };
  });
}
