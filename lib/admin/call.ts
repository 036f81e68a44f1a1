import type { NewapiName } from '../../types/caller.d.ts';
import type { Subject } from '../../types/detector.d.ts';
import type { Place } from '../../types/finding.d.ts';
import type { JournalStats, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { QueueControl } from '../../types/queue.d.ts';
import type { RecordReader } from '../../types/reader.d.ts';
import type { LimitView, Registry } from '../../types/registry.d.ts';
import type { CheckedRoute } from '../../types/route.d.ts';
import type { SinkView } from '../../types/sink.d.ts';
import type { TargetStatus } from '../../types/target.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Findings, KeyOwners } from '../anomaly/anomaly.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { readBody } from '../http/http.ts';
import { readFields, type Fields } from './fields.ts';
import { invalid } from '../registry/registry.ts';
import type { Hub } from './hub.ts';
import type { JobJournal, Jobs } from './job-list.ts';
import type { Access } from './login.ts';
import type { AskNewapi, NewapiAdmin } from './newapi-login.ts';
import type { z } from 'zod';

/** Largest body of a request, bytes. */
const longestBody = 65_536;

/** What the resources read and change. */
export interface AdminServices {
  readonly core: Core;
  /** `ready` resolves after the first reading; `problem` is the reason why it cannot be read. */
  readonly registry: Registry & KeyOwners & { ready(): Promise<void>; readonly problem: string | null };
  readonly queue: QueueControl;
  /** Reads the configuration again. @throws ConfigError that names every problem. */
  readonly reload: () => Promise<{ readonly changed: readonly string[]; readonly restart: readonly string[] }>;
  readonly hub: Hub;
  readonly targets: () => readonly TargetStatus[];
  /** The resources of the machine. */
  readonly resources: { usage(): readonly { readonly resource: string; readonly short: boolean }[] };
  /** Configured routes that are checked. */
  readonly routes: { shown(): readonly CheckedRoute[] };
  readonly journal: () => JournalStats;
  /** The state of the sinks. */
  readonly sinks: () => readonly SinkView[];
  /** The findings of the watch. */
  readonly findings: Findings;
  /** The state of the watch. */
  readonly watch: () => { readonly callers: number; readonly lag: number };
  readonly identify: (credential: string) => TokenIdentity;
  readonly newapi: { readonly get: AskNewapi };
  /** What NewAPI calls a caller; null where that is unknown. */
  readonly nameOf: (kind: string, id: string | null) => NewapiName | null;
  /** Callers of model routes by their own credential, and what limits them. */
  readonly callers: {
    find(context: Context, mayAsk: () => boolean): Promise<Subject | null>;
    limits(context: Context): Promise<readonly LimitView[]>;
    /** What limits a key or token that sends no request now. */
    limitsOf(subject: Subject): Promise<readonly LimitView[]>;
  };
  /** Certificates that the gate's servers serve; `ends`: Unix milliseconds; `isEnding`: it is time for another one. */
  readonly certificates: () => readonly { readonly path: string; readonly ends: number; readonly isEnding: boolean }[];
  /** The keys and tokens of a user, or those of a token's name, that NewAPI knows. */
  readonly named: (username: string | undefined, tokenName: string | undefined) => readonly string[];
  /** Records and their sums, those of all instances with `admin.read_from: postgres`. */
  readonly records: RecordReader;
  readonly logs: LogReader;
  readonly work: JobJournal;
  readonly jobs: Jobs;
}

/** Read access to the journal of this gate. */
export interface LogReader {
  /** What `anomaly.mmdb` says of addresses; those it does not know are absent. */
  readonly placesOf: (addresses: readonly string[]) => Promise<ReadonlyMap<string, Place>>;
  /** SECURITY: the SQL text contains nothing that a caller wrote. */
  readonly query: (sql: string, values: readonly SqlValue[]) => Promise<readonly SqlRow[]>;
}

/** The caller as the event log names it. */
export interface Caller {
  readonly ip: string;
  /** Identity of the admin token, computed when called; null where the host application has authenticated the caller. */
  readonly token: () => string | null;
  /** Whether it may change something. */
  readonly access: Access;
  /** End of its login, Unix milliseconds; null without one. */
  readonly expires: number | null;
  /** The user of NewAPI that has logged in; null with any other login. */
  readonly user: NewapiAdmin | null;
  /** Ends its login and gives the head that says so; null without one. */
  readonly leave: (() => readonly string[]) | null;
}

/** One authenticated request of the API. */
export interface Call {
  readonly context: Context;
  /** The part of the path at the place of `:name`. */
  readonly name: string;
  readonly caller: Caller;
}

/** An answer: JSON, or no body with a 204. Null when the resource has answered by itself. */
export interface Reply {
  readonly status: number;
  readonly body?: object;
  readonly head?: readonly string[];
}

/** One method of a resource. */
export type Method = (call: Call, services: AdminServices) => Promise<Reply | null> | Reply | null;

/**
 * Reads the body as an object of fields; an absent body is an empty object.
 * @param longest bytes of the body at most.
 * @throws HeimdallError that names the problem.
 */
export async function fieldsOf<F extends Fields>({ context }: Pick<Call, 'context'>, fields: F, longest = longestBody): Promise<z.output<F>> {
  const bytes = await readBody(context.req, context.res, context.core.log, longest);
  if (bytes.length === 0) return readFields({}, fields);
  if (!isJson(context)) throw new HeimdallError('invalid_content_type', { message: 'content-type: expected application/json, without a content-encoding.' });
  return readFields(parsed(bytes), fields);
}

/** Logs a change by an administrator. `before` and `after` contain no secret. */
export function changed({ context, caller }: Call, action: string, subject: string, before: object | null, after: object | null): void {
  const { core, id } = context;
  core.log.info({ requestId: id, ip: caller.ip, token: caller.token(), action, subject, before, after }, 'admin.change');
}

/** Where bans and actions hold: on all instances that share a Redis, or on this one alone. */
export const holdsOf = ({ core }: Pick<AdminServices, 'core'>): 'all' | 'this' => (core.config.rateLimit.redisUrl === null ? 'this' : 'all');

/** Whether the content type is JSON and there is no content coding. */
export const isJson = ({ req: { headers } }: Context): boolean => /^application\/json\b/i.test(headers['content-type'] ?? '') && headers['content-encoding'] === undefined;

/** SECURITY: an unreadable body is not quoted, since it may contain a secret. */
function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new HeimdallError('invalid_json', { message: `body: expected a JSON object in UTF-8, got ${bytes.length} bytes that are none.` });
  }
}

/** The parameters of a call's query. @throws HeimdallError for one that is unknown, or given twice. */
export function parametersOf({ context }: Call, names: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(context.query)) {
    if (found.has(name)) throw invalid(name, 'each parameter once', 'it twice');
    if (!names.includes(name)) throw invalid(name.slice(0, 60), `one of ${names.join(', ')}`, 'another name');
    found.set(name, value);
  }
  return found;
}

/** A whole number among the parameters. @throws HeimdallError for anything else. */
export function integer(rest: ReadonlyMap<string, string>, name: string, fallback: number, least: number, most: number): number {
  const text = rest.get(name);
  if (text === undefined) return fallback;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw invalid(name, `a whole number from ${least} to ${most}`, JSON.stringify(text.slice(0, 40)), String(fallback));
}

/** One of a few words among the parameters. @throws HeimdallError for any other. */
export function word<T extends string>(rest: ReadonlyMap<string, string>, name: string, words: readonly T[], fallback: T): T {
  const text = rest.get(name) ?? fallback;
  const found = words.find((each) => each === text);
  if (found === undefined) throw invalid(name, `one of ${words.join(', ')}`, JSON.stringify(text.slice(0, 40)), fallback);
  return found;
}
