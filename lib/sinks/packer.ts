import { hostname } from 'node:os';
import type { OtlpConfig } from '../../types/config.d.ts';
import type { PackedRecords, Packing } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import { logOf, spanOf, traceOfRecord } from './span.ts';

/** What is exported, each with a cursor of its own: a receiver without one of them does not hold the other. */
export type Signal = 'traces' | 'logs';

/** What decides the form of an export. */
export interface PackOptions extends Pick<OtlpConfig, 'bodies' | 'sample' | 'traces'> {
  readonly signal: Signal;
  readonly version: string;
}

/** How records are made into the body of an export. It is done where they are read, in the journal's thread: it takes some 35 µs a record. */
export const packingOf = (extension: string, options: PackOptions): Packing => ({ module: new URL(`./packer${extension}`, import.meta.url).href, options });

/** Whether a record has a span that is exported. */
export const hasSpan = (record: AuditRecord, share: number): boolean => record.source === 'gate' && traceOfRecord(record, share).sampled;

/** Makes the body of an export. @param given a {@link PackOptions}. */
export function pack(records: readonly AuditRecord[], given: unknown): PackedRecords {
  const options = given as PackOptions;
  const { signal, sample } = options;
  const wanted = signal === 'traces' ? records.filter((record) => hasSpan(record, sample)) : records;
  return { count: wanted.length, body: Buffer.from(wanted.length === 0 ? '' : JSON.stringify(signal === 'traces' ? spansBody(wanted, options) : logsBody(wanted, options))) };
}

const resourceOf = (version: string): object => ({
  attributes: Object.entries({ 'service.name': 'heimdall', 'service.version': version, 'service.instance.id': hostname(), 'host.name': hostname() }).map(([key, value]) => ({ key, value: { stringValue: value } })),
});
const scopeOf = (version: string): object => ({ name: 'express-heimdall', version });

function spansBody(records: readonly AuditRecord[], { bodies, sample, version }: PackOptions): object {
  const spans = records.map((record) => spanOf(record, traceOfRecord(record, sample), bodies));
  return { resourceSpans: [{ resource: resourceOf(version), scopeSpans: [{ scope: scopeOf(version), spans }] }] };
}

function logsBody(records: readonly AuditRecord[], { bodies, sample, traces, version }: PackOptions): object {
  const logRecords = records.map((record) => logOf(record, traces && record.source === 'gate' ? traceOfRecord(record, sample) : null, bodies));
  return { resourceLogs: [{ resource: resourceOf(version), scopeLogs: [{ scope: scopeOf(version), logRecords }] }] };
}
