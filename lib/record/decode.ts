import type { RouteClass } from '../../types/route.d.ts';
import type { Headers } from './redact.ts';
import { fieldEnd, fields, marksEach, recordEnd, type Added, type Batch } from './wire.ts';

/** A record before anything in it is masked. Times are milliseconds. */
export interface Raw {
  /** The request has not ended: this stands for it, should the gate not live to see that. */
  readonly intent: boolean;
  /** Else it leaves nothing but an access line. */
  readonly isRecorded: boolean;
  readonly isLined: boolean;
  readonly id: string;
  readonly time: number;
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly ip: string;
  readonly forwardedFor: string;
  readonly status: number;
  readonly duration: number;
  readonly outcome: string;
  readonly device: string | null;
  readonly tokenId: string | null;
  readonly tokenMask: string | null;
  /** The token itself, of records from elsewhere. */
  readonly token: string | null;
  readonly key: string | null;
  readonly userId: number | null;
  readonly ja4: string | null;
  readonly country: string | null;
  readonly model: string | null;
  readonly stream: boolean;
  readonly target: string | null;
  readonly attempts: number;
  readonly upstreamRequestId: string | null;
  readonly queueWait: number;
  readonly firstByte: number | null;
  readonly overhead: number | null;
  readonly prompt: number | null;
  readonly completion: number | null;
  readonly cached: number | null;
  readonly reasoning: number | null;
  readonly estimated: boolean;
  readonly reserved: number | null;
  readonly settled: number | null;
  readonly cost: number | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly rules: string | null;
  readonly route: string;
  readonly class: RouteClass;
  readonly answerType: string | null;
  readonly answerEncoding: string | null;
  readonly source: string;
  readonly headers: Headers;
  readonly cookies: readonly (readonly [string, string])[] | null;
  /** What there is of the body, and how long all of it was. */
  readonly body: Uint8Array | null;
  readonly bodyTotal: number;
  readonly answer: Uint8Array | null;
  readonly answerTotal: number;
  /** Of records from elsewhere. */
  readonly fingerprint: string | null;
}

/** The records of a batch, in their order. A text that is none is `null`. */
export function* decode(batch: Batch): Generator<Raw | null> {
  const memory = Buffer.from(batch.memory);
  const texts = memory.toString('utf8', 0, batch.used).split(recordEnd);
  let top = batch.memory.byteLength;
  const bytes = (mark: number): Uint8Array | null => {
    if (mark === 0) return null;
    if (mark < 0) return Buffer.from(batch.large[-mark - 1] as SharedArrayBuffer);
    top -= mark;
    return memory.subarray(top, top + mark);
  };
  for (let at = 0; at * marksEach < batch.marks.length; at++) {
    const [body = 0, bodyTotal = 0, answer = 0, answerTotal = 0] = batch.marks.slice(at * marksEach, (at + 1) * marksEach);
    const ofBody = bytes(body);
    yield rawOf(texts[at] ?? '', ofBody, bodyTotal, bytes(answer), answerTotal);
  }
  for (const added of batch.added) yield rawOfAdded(added);
}

/** Overwrites all that a batch held. */
export function wipe({ memory, used, marks, large }: Batch): void {
  let inside = 0;
  for (let at = 0; at < marks.length; at += marksEach) inside += Math.max(0, marks[at] as number) + (marks[at + 2] as number);
  new Uint8Array(memory, 0, used).fill(0);
  new Uint8Array(memory, memory.byteLength - inside).fill(0);
  for (const body of large) new Uint8Array(body).fill(0);
}

/** The records of which there is nothing but text. */
export function* decodeTexts(texts: string): Generator<Raw | null> {
  for (const text of texts.split(recordEnd).slice(0, -1)) yield rawOf(text, null, 0, null, 0);
}

/** A request id begins with when it was given, RFC 9562 §5.7. */
const timeOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

const number = (text: string): number | null => (text === '' ? null : Number(text));
const millis = (text: string): number | null => (text === '' ? null : Number(text) / 1000);
const text = (value: string): string | null => (value === '' ? null : value);

function rawOf(line: string, body: Uint8Array | null, bodyTotal: number, answer: Uint8Array | null, answerTotal: number): Raw | null {
  const values = line.split(fieldEnd);
  if (values.length < fields.length || (values.length - fields.length) % 2 !== 0) return null;
  // As in `fields`; an object of them would cost three microseconds.
  const [
    kind, id, method, url, httpVersion, ip, forwardedFor, status, duration, outcome, device, tokenId, tokenEnd, key, ja4, country, model, stream,
    target, attempts, upstreamRequestId, queueWait, firstByte, overhead, prompt, completion, cached, reasoning, estimated, reserved, settled, cost, bytesIn, bytesOut,
    rules, route, of, answerType, answerEncoding,
  ] = values as unknown as Texts<typeof fields>;
  return {
    intent: kind === 'i', isRecorded: kind !== 'l', isLined: kind !== 'i', id, time: timeOf(id), method, url, httpVersion, ip, forwardedFor, status: Number(status), duration: Number(duration), outcome, device,
    tokenId: text(tokenId), tokenMask: tokenId === '' ? null : `sk-…${tokenEnd}`, token: null, key: text(key), userId: null, ja4: text(ja4), country: text(country),
    model: text(model), stream: stream === '1', target: text(target), attempts: Number(attempts), upstreamRequestId: text(upstreamRequestId),
    queueWait: millis(queueWait) ?? 0, firstByte: millis(firstByte), overhead: millis(overhead), prompt: number(prompt), completion: number(completion),
    cached: number(cached), reasoning: number(reasoning), estimated: estimated === '1', reserved: number(reserved), settled: number(settled), cost: number(cost), bytesIn: Number(bytesIn), bytesOut: Number(bytesOut),
    rules: text(rules), route, class: of as RouteClass, answerType: text(answerType), answerEncoding: text(answerEncoding), source: 'gate',
    headers: values.slice(fields.length), cookies: null, body, bodyTotal, answer, answerTotal, fingerprint: null,
  };
}

/** As many texts as there are fields. */
type Texts<Names extends readonly unknown[]> = { readonly [At in keyof Names]: string };

function rawOfAdded({ record, id, route, class: of }: Added): Raw {
  const body = record.request_body ?? null;
  const bytes = body === null ? null : Buffer.from(body);
  const agent = record.user_agent ?? null;
  return {
    intent: false, isRecorded: true, isLined: false, id, time: record.time, method: record.request_method, url: record.request_path, httpVersion: '', ip: record.real_ip, forwardedFor: record.forwarded_for ?? '',
    status: record.response_status, duration: record.response_time, outcome: record.outcome ?? 'served', device: record.device_fingerprint ?? null,
    tokenId: record.token_id ?? null, tokenMask: record.token_mask ?? null, token: record.token_key ?? null, key: record.key_id ?? null, userId: record.user_id ?? null,
    ja4: null, country: null, model: record.model ?? null, stream: false, target: record.target ?? null, attempts: 0, upstreamRequestId: null,
    queueWait: 0, firstByte: null, overhead: null, prompt: null, completion: null, cached: null, reasoning: null, estimated: false, reserved: null, settled: null, cost: null, bytesIn: bytes?.length ?? 0, bytesOut: 0,
    rules: null, route, class: of, answerType: null, answerEncoding: null, source: record.source,
    headers: [...(agent === null ? [] : ['user-agent', agent]), ...Object.entries(record.headers ?? {}).filter(([name]) => name.toLowerCase() !== 'user-agent').flat()],
    cookies: record.cookies === undefined || record.cookies === null ? null : Object.entries(record.cookies),
    body: bytes, bodyTotal: bytes?.length ?? 0, answer: null, answerTotal: 0, fingerprint: record.content_fingerprint ?? null,
  };
}
