import type { SyslogConfig } from '../../types/config.d.ts';
import type { PackedRecords } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { printableJson } from '../redaction/redaction.ts';
import { severities, severityOf, timesOf, toldColumns } from './span.ts';

/** What decides the form of messages. */
export interface SyslogPackOptions extends Pick<SyslogConfig, 'facility' | 'bodies'> {
  /** The name of the machine and the process, as the messages have them. */
  readonly host: string;
  readonly pid: number;
  readonly version: string;
}

/** Codes of facilities (RFC 5424 §6.2.1). */
const facilities: Readonly<Record<SyslogConfig['facility'], number>> = {
  user: 1, daemon: 3, auth: 4, authpriv: 10, local0: 16, local1: 17, local2: 18, local3: 19, local4: 20, local5: 21, local6: 22, local7: 23,
};

/** Columns that are left out without `bodies`: with them a message would be longer than receivers take. */
const long: ReadonlySet<string> = new Set(['request_headers']);

/** Makes messages of RFC 5424, each with its length in front (RFC 6587 §3.4.1). @param given {@link SyslogPackOptions}. */
export function pack(records: readonly AuditRecord[], given: unknown): PackedRecords {
  return { count: records.length, body: Buffer.concat(records.map((record) => frameOf(record, given as SyslogPackOptions))) };
}

function frameOf(record: AuditRecord, { facility, bodies, host, pid, version }: SyslogPackOptions): Buffer {
  const { start } = timesOf(record);
  const at = new Date(Number(start.slice(0, -6))).toISOString();
  const priority = facilities[facility] * 8 + severities[severityOf(record)].syslog;
  const told: Record<string, unknown> = { request_method: record.request_method, response_status: record.response_status };
  for (const column of toldColumns(record, bodies)) if (record[column] !== null && (bodies || !long.has(column))) told[column] = record[column];
  const message = Buffer.from(`<${priority}>1 ${at} ${host} heimdall ${pid} request [origin software="express-heimdall" swVersion="${version}"] ${printableJson(told)}`);
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}
