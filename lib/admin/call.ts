import type { JournalStats, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { QueueControl } from '../../types/queue.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Registry } from '../../types/registry.d.ts';
import type { CheckedRoute } from '../../types/route.d.ts';
import type { SinkView } from '../../types/sink.d.ts';
import type { TargetStatus } from '../../types/target.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { readBody } from '../http/http.ts';
import { readFields, type Fields } from './fields.ts';
import type { Hub } from './hub.ts';
import type { z } from 'zod';

/** Largest body of a request, bytes. */
const longestBody = 65_536;

/** What the resources look at and change. */
export interface AdminServices {
  readonly core: Core;
  /** `ready` resolves when it knows what there is; `problem` says why it cannot be read. */
  readonly registry: Registry & { ready(): Promise<void>; readonly problem: string | null };
  readonly queue: QueueControl;
  readonly hub: Hub;
  readonly targets: () => readonly TargetStatus[];
  /** What the machine has left, and what it needs. */
  readonly resources: { usage(): readonly { readonly short: boolean }[] };
  /** Configured routes that are checked. */
  readonly routes: { shown(): readonly CheckedRoute[] };
  readonly journal: () => JournalStats;
  /** What follows the journal. */
  readonly sinks: () => readonly SinkView[];
  readonly identify: (credential: string) => TokenIdentity;
  readonly logs: LogReader;
}

/** The journal, to be read. */
export interface LogReader {
  /** The columns of a record, for a SELECT. */
  readonly columns: string;
  /** A row of those columns as the record it is. */
  readonly recordOf: (row: SqlRow) => AuditRecord;
  /** SECURITY: the text never holds anything a caller wrote. */
  readonly query: (sql: string, values: readonly SqlValue[]) => Promise<readonly SqlRow[]>;
}

/** Who asks, as the event log names them. */
export interface Caller {
  readonly ip: string;
  /** Identity of the token that let them in, when it is asked for; null where the host application did. */
  readonly token: () => string | null;
}

/** One request of the API, let in already. */
export interface Call {
  readonly context: Context;
  /** What stands in the path in the place of a `:name`. */
  readonly name: string;
  readonly caller: Caller;
}

/** What is answered: JSON, or nothing with a 204. Null when the resource has answered by itself. */
export interface Reply {
  readonly status: number;
  readonly body?: object;
  readonly head?: readonly string[];
}

/** One method of a resource. */
export type Method = (call: Call, services: AdminServices) => Promise<Reply | null> | Reply | null;

/**
 * Reads the body as an object of fields; without a body as one without fields.
 * @throws HeimdallError that names what is wrong.
 */
export async function fieldsOf<F extends Fields>({ context }: Call, fields: F): Promise<z.output<F>> {
  const bytes = await readBody(context.req, context.res, context.core.log, longestBody);
  if (bytes.length === 0) return readFields({}, fields);
  if (!isJson(context)) throw new HeimdallError('invalid_content_type', { message: 'content-type: expected application/json, without a content-encoding.' });
  return readFields(parsed(bytes), fields);
}

/** Records what an administrator has changed. `before` and `after` hold no secret. */
export function changed({ context, caller }: Call, action: string, subject: string, before: object | null, after: object | null): void {
  const { core, id } = context;
  core.log.info({ requestId: id, ip: caller.ip, token: caller.token(), action, subject, before, after }, 'admin.change');
}

/** Whether the body says it is JSON, and nothing is wrapped around it. */
export const isJson = ({ req: { headers } }: Context): boolean => /^application\/json\b/i.test(headers['content-type'] ?? '') && headers['content-encoding'] === undefined;

/** SECURITY: what cannot be read is not quoted, it may hold a secret. */
function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new HeimdallError('invalid_json', { message: `body: expected a JSON object in UTF-8, got ${bytes.length} bytes that are none.` });
  }
}
