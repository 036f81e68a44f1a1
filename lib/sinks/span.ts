import type { AuditRecord } from '../../types/record.d.ts';
import { traceOf, type Trace } from '../values/values.ts';

/** A value of OTLP's JSON. 64-bit numbers are text. */
type AnyValue = { readonly stringValue: string } | { readonly boolValue: boolean } | { readonly intValue: string } | { readonly doubleValue: number } | { readonly arrayValue: { readonly values: readonly AnyValue[] } };

/** An attribute of OTLP's JSON. */
export interface Attribute {
  readonly key: string;
  readonly value: AnyValue;
}

/** The methods that spans name (OpenTelemetry's conventions for HTTP); another one is `_OTHER`. */
const methods: ReadonlySet<string> = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']);

/** `gen_ai.operation.name` by the end of the route. */
const operations: readonly (readonly [RegExp, string])[] = [
  [/\/(?:chat\/completions|messages|responses)$/, 'chat'], [/\/completions$/, 'text_completion'], [/\/embeddings$|:(?:batch)?embedcontents?$/i, 'embeddings'], [/:(?:stream)?generatecontent$/i, 'generate_content'],
];

/** Columns under OpenTelemetry's names. Every other one is named `heimdall.<column>`. */
const named: Readonly<Partial<Record<keyof AuditRecord, string>>> = {
  request_path: 'url.path', route: 'http.route', real_ip: 'client.address', user_agent: 'user_agent.original', model: 'gen_ai.request.model',
  prompt_tokens: 'gen_ai.usage.input_tokens', completion_tokens: 'gen_ai.usage.output_tokens', bytes_in: 'http.request.body.size', bytes_out: 'http.response.body.size',
};

/** What a span tells beside what is named above. */
const inSpans: readonly (keyof AuditRecord)[] = [
  'request_path', 'route', 'real_ip', 'user_agent', 'model', 'prompt_tokens', 'completion_tokens', 'bytes_in', 'bytes_out',
  'request_id', 'upstream_request_id', 'outcome', 'would_refuse', 'target', 'attempts', 'queue_wait', 'first_byte', 'overhead', 'cost', 'stream', 'key_id', 'token_id', 'session', 'client', 'country',
];

const bodies: ReadonlySet<string> = new Set(['request_body', 'response_body']);
/** Columns that a log tells otherwise, or that are places in the journal. */
const untold: ReadonlySet<string> = new Set(['id', 'request_method', 'response_status', 'timestamp', 'learnt', 'request_texts']);

const attribute = (key: string, value: AnyValue): Attribute => ({ key, value });

function valueOf(value: unknown): AnyValue | null {
  if (typeof value === 'string') return value === '' ? null : { stringValue: value.toWellFormed() };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  if (!Array.isArray(value) || value.length === 0) return null;
  return { arrayValue: { values: value.flatMap((each) => valueOf(each) ?? []) } };
}

/** The headers that a record keeps, by name in lower case. */
function headersOf({ request_headers: kept }: AuditRecord): Readonly<Record<string, unknown>> {
  if (kept === null) return {};
  try {
    return (JSON.parse(kept) ?? {}) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** The trace of a record: the one that its upstream was told. @param share see {@link traceOf}. */
export function traceOfRecord(record: AuditRecord, share: number): Trace {
  const kept = record.request_headers;
  return traceOf(record.request_id, kept !== null && kept.includes('"traceparent"') ? headersOf(record)['traceparent'] : null, share);
}

/** Unix nanoseconds of the arrival and of the end, as text. The id of a request begins with the millisecond of its arrival. */
export function timesOf({ request_id: id, response_time: took }: AuditRecord): { readonly start: string; readonly end: string } {
  const start = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return { start: `${start}000000`, end: `${start + Math.max(0, Math.round(took))}000000` };
}

/** What went wrong, in a word; null where nothing did. */
export function errorOf({ outcome, response_status: status }: AuditRecord): string | null {
  if (outcome.startsWith('refused:')) return outcome.slice(8);
  if (outcome !== 'served') return outcome;
  return status >= 400 ? String(status) : null;
}

/** What the conventions ask for that is not in one column. */
function derived(record: AuditRecord): Attribute[] {
  const { request_method: method, response_status: status, route } = record;
  const found = [attribute('http.request.method', { stringValue: methods.has(method) ? method : '_OTHER' })];
  if (!methods.has(method)) found.push(attribute('http.request.method_original', { stringValue: method }));
  if (status > 0) found.push(attribute('http.response.status_code', { intValue: String(status) }));
  const error = errorOf(record);
  if (error !== null) found.push(attribute('error.type', { stringValue: error }));
  const operation = record.model === null ? undefined : operations.find(([form]) => form.test(route))?.[1];
  if (operation !== undefined) found.push(attribute('gen_ai.operation.name', { stringValue: operation }));
  const host = headersOf(record)['host'];
  const [, name, port] = (typeof host === 'string' ? /^(\[[\da-f:.]+\]|[^:\s]+)(?::(\d{1,5}))?$/i.exec(host) : null) ?? [];
  if (name !== undefined) found.push(attribute('server.address', { stringValue: name.replace(/^\[|\]$/g, '') }));
  if (port !== undefined) found.push(attribute('server.port', { intValue: port }));
  return found;
}

function told(record: AuditRecord, columns: readonly (keyof AuditRecord)[]): Attribute[] {
  const found = derived(record);
  for (const column of columns) {
    const value = valueOf(record[column]);
    if (value !== null) found.push(attribute(named[column] ?? `heimdall.${column}`, value));
  }
  return found;
}

/** The server span of a request. SECURITY: only what a record holds, which is masked; of the query nothing, of bodies what the record keeps and only if asked. */
export function spanOf(record: AuditRecord, { id, span, parent, sampled }: Trace, withBodies: boolean): object {
  const { start, end } = timesOf(record);
  const { request_method: method, response_status: status, outcome, route } = record;
  const isFailed = status >= 500 || outcome === 'upstream_error' || outcome === 'interrupted';
  return {
    traceId: id, spanId: span, ...(parent === null ? {} : { parentSpanId: parent }), flags: sampled ? 1 : 0, name: `${methods.has(method) ? method : 'HTTP'} ${route}`, kind: 2,
    startTimeUnixNano: start, endTimeUnixNano: end, attributes: told(record, withBodies ? [...inSpans, 'request_body', 'response_body'] : inSpans), ...(isFailed ? { status: { code: 2 } } : {}),
  };
}

/** OpenTelemetry's severity, which syslog's follows. */
export const severities = { info: { number: 9, text: 'INFO', syslog: 6 }, warning: { number: 13, text: 'WARN', syslog: 4 }, error: { number: 17, text: 'ERROR', syslog: 3 } } as const;

/** How bad a request's end was. */
export function severityOf({ outcome, response_status: status }: AuditRecord): keyof typeof severities {
  if (status >= 500 || outcome === 'upstream_error' || outcome === 'interrupted') return 'error';
  return status >= 400 || outcome !== 'served' ? 'warning' : 'info';
}

/** The columns that a log tells. */
export const toldColumns = (record: AuditRecord, withBodies: boolean): (keyof AuditRecord)[] => (Object.keys(record) as (keyof AuditRecord)[]).filter((column) => !untold.has(column) && (withBodies || !bodies.has(column)));

/** A record as a log, within the trace of its request where there is one. */
export function logOf(record: AuditRecord, trace: Trace | null, withBodies: boolean): object {
  const { number, text } = severities[severityOf(record)];
  const { end } = timesOf(record);
  return {
    timeUnixNano: end, observedTimeUnixNano: end, severityNumber: number, severityText: text, eventName: 'heimdall.request',
    body: { stringValue: `${record.request_method} ${record.request_path} ${record.response_status} ${record.outcome}`.toWellFormed() }, attributes: told(record, toldColumns(record, withBodies)),
    ...(trace === null ? {} : { traceId: trace.id, spanId: trace.span, flags: trace.sampled ? 1 : 0 }),
  };
}
