import type { RouteClass } from '../../types/route.d.ts';
import type { Headers } from '../redaction/redaction.ts';
import { blockBelow, erase } from './segment.ts';
import { kinds, numbers, ownTexts, recordEnd, textEnd, texts, type ExternalRecord, type Kind, type LargeBytes, type RecordMemory } from './messages.ts';

/** A record before anything in it is masked. Times are milliseconds. */
export interface RawRecord {
  /** The request is about to be forwarded. It becomes a record only when the gate ends before the request does. */
  readonly intent: boolean;
  /** False for a request that leaves an access line alone. */
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
  /** The token itself; only records from elsewhere have it. */
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
  /** The part of the body that was handed on, in pieces, and the bytes of all of it. */
  readonly body: readonly Uint8Array[] | null;
  /** The parts that a scan has found in a large body; see `outlineKinds`. */
  readonly outline: Int32Array | null;
  readonly bodyTotal: number;
  readonly answer: Uint8Array | null;
  readonly answerTotal: number;
  /** Given by records from elsewhere; of others it is computed. */
  fingerprint: string | null;
}

/** The records of a batch in their order; null for one that cannot be read. */
export function* decode({ memory, records, used, large, external = none }: RecordMemory & { readonly external?: readonly ExternalRecord[] }): Generator<RawRecord | null> {
  const all = Buffer.from(memory);
  const floats = new Float64Array(memory);
  const lines = linesOf(all.toString('utf8', 0, used), records);
  const rows: (readonly string[])[] = [];
  let top = memory.byteLength;
  const bytes = (mark: number): LargeBytes | null => {
    if (mark === 0) return null;
    if (mark < 0) return large[-mark - 1] ?? null;
    top -= mark;
    return { pieces: [all.subarray(top, top + mark)] };
  };
  for (let nth = 0; nth < records; nth++) {
    top = blockBelow(top);
    const block = top / floats.BYTES_PER_ELEMENT;
    const numberOf: NumberOf = (name) => floats[block + place[name]] as number;
    const parts = (lines[nth] ?? '').split(textEnd);
    const row = numberOf('base') === -1 ? parts : withChanges(rows[numberOf('base')] ?? none, parts);
    rows.push(row);
    const body = bytes(numberOf('body'));
    const answer = bytes(numberOf('answer'));
    yield rawOf(row, numberOf, body, answer?.pieces[0] ?? null, bytes(numberOf('outline'))?.pieces[0] ?? null);
  }
  for (const one of external) yield rawOfExternal(one);
}

/** No lines at all where their number is wrong: a line must not be taken for another record's. */
function linesOf(text: string, records: number): readonly string[] {
  const lines = text.split(String.fromCharCode(recordEnd));
  return lines.length === records + 1 ? lines : none;
}

/**
 * The texts of a record that is based on another.
 * @param parts its own texts, then positions and texts in turn.
 * @returns no texts when a position is wrong.
 */
function withChanges(base: readonly string[], parts: readonly string[]): readonly string[] {
  if ((parts.length - ownTexts.length) % 2 !== 0) return none;
  const row = base.slice();
  for (let at = 0; at < ownTexts.length; at++) row[at] = parts[at] as string;
  for (let at = ownTexts.length; at < parts.length; at += 2) {
    const place = ownTexts.length + Number(parts[at]);
    if (!(Number.isInteger(place) && place < base.length && place >= ownTexts.length)) return none;
    row[place] = parts[at + 1] as string;
  }
  return row;
}

/** Overwrites every text, body and answer in the memory. */
export function wipe({ memory, used, top, large }: RecordMemory): void {
  const bytes = Buffer.from(memory);
  erase(bytes, 0, used);
  erase(bytes, top, bytes.length);
  // What was moved is freed already.
  for (const { pieces } of large) for (const { buffer } of pieces) if (buffer instanceof SharedArrayBuffer) erase(Buffer.from(buffer), 0, buffer.byteLength);
}

const none: readonly never[] = [];
type NumberName = (typeof numbers)[number];
type NumberOf = (name: NumberName) => number;
const place = Object.fromEntries(numbers.map((name, at) => [name, at])) as Readonly<Record<NumberName, number>>;
const textsEach = ownTexts.length + texts.length;
const kindOf = Object.keys(kinds) as readonly Kind[];

/** A request id begins with the time at which it was given (UUIDv7, RFC 9562 §5.7). */
const timeOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

/** Milliseconds rounded to the microsecond. */
const micro = (value: number): number | null => (Number.isNaN(value) ? null : Math.round(value * 1000) / 1000);
const text = (value: string): string | null => (value === '' ? null : value);

function rawOf(row: readonly string[], numberOf: NumberOf, large: LargeBytes | null, answer: Uint8Array | null, outline: Uint8Array | null): RawRecord | null {
  if (row.length < textsEach || (row.length - textsEach) % 2 !== 0) return null;
  // In the order in which they are written. An object made of them would cost 3 µs.
  const [
    id, upstreamRequestId, tokenId, tokenEnd,
    method, url, httpVersion, ip, forwardedFor, outcome, device, key, ja4, country, model, target, rules, route, of, answerType, answerEncoding,
  ] = row as unknown as Each<readonly [...typeof ownTexts, ...typeof texts]>;
  const or = (name: NumberName): number | null => (Number.isNaN(numberOf(name)) ? null : numberOf(name));
  const kind = kindOf[numberOf('kind')];
  return {
    intent: kind === 'intent', isRecorded: kind !== 'line', isLined: kind !== 'intent', id, time: timeOf(id), method, url, httpVersion, ip, forwardedFor,
    status: numberOf('status'), duration: Math.round(numberOf('duration') * 10) / 10, outcome: kind === 'intent' ? 'interrupted' : outcome, device,
    tokenId: text(tokenId), tokenMask: tokenId === '' ? null : `sk-…${tokenEnd}`, token: null, key: text(key), userId: null, ja4: text(ja4), country: text(country),
    model: text(model), stream: numberOf('stream') === 1, target: text(target), attempts: numberOf('attempts'), upstreamRequestId: text(upstreamRequestId),
    queueWait: micro(numberOf('queueWait')) ?? 0, firstByte: micro(numberOf('firstByte')), overhead: micro(numberOf('overhead')), prompt: or('prompt'), completion: or('completion'),
    cached: or('cached'), reasoning: or('reasoning'), estimated: numberOf('estimated') === 1, reserved: or('reserved'), settled: or('settled'), cost: or('cost'),
    bytesIn: numberOf('bytesIn'), bytesOut: numberOf('bytesOut'), rules: text(rules), route, class: of as RouteClass, answerType: text(answerType), answerEncoding: text(answerEncoding), source: 'gate',
    headers: row.slice(textsEach), cookies: null, body: large === null || large.pieces.length === 0 ? null : large.pieces, outline: outline === null ? null : numbersIn(outline), bodyTotal: numberOf('bodyTotal'), answer, answerTotal: numberOf('answerTotal'), fingerprint: null,
  };
}

/** Bytes in the segment begin anywhere. */
const numbersIn = (bytes: Uint8Array): Int32Array => new Int32Array(Uint8Array.from(bytes).buffer);

/** One text for each name. */
type Each<Names extends readonly unknown[]> = { readonly [At in keyof Names]: string };

function rawOfExternal({ record, id, route, class: of }: ExternalRecord): RawRecord {
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
    body: bytes === null ? null : [bytes], outline: null, bodyTotal: bytes?.length ?? 0, answer: null, answerTotal: 0, fingerprint: record.content_fingerprint ?? null,
  };
}
