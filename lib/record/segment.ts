import type { Context, Tap } from '../request/request.ts';
import { handedOver, type RequestBody } from '../http/http.ts';
import { credentialHeaders } from '../redaction/redaction.ts';
import { kinds, lateNumbers, numbers, ownTexts, recordEnd, textEnd, texts, type Batch, type ExternalRecord, type Kind, type LargeBytes, type RecordMemory } from './messages.ts';

/** Bytes of a segment. Its pages cost memory once they are used. */
const segmentBytes = 1_572_864;
/** The outline of a shorter body is not handed on: to walk it again costs as much. */
const leastOutlined = 4096;
/** Bytes of the numbers of one record. They start at a multiple of eight bytes. */
const numbersBytes = numbers.length * Float64Array.BYTES_PER_ELEMENT;
/** Records of a segment whose texts serve as a base for later ones: one for each user agent. */
const maxBases = 64;

/** Characters of a request line, and of a header, that are handed on. The journal keeps fewer. */
const maxUrl = 8192;
const maxHeader = 16_384;
/** Characters of a name that the caller or an upstream chose, and of a list of addresses. The journal keeps fewer. */
const maxName = 1024;
const maxList = 4096;

const separator = new RegExp(`[${textEnd}${String.fromCharCode(recordEnd)}]`);
const separators = new RegExp(separator, 'g');
const control = /\p{Cc}/u;
const controls = /\p{Cc}/gu;

/** Position of the numbers of a record that is written below `top`. */
export const blockBelow = (top: number): number => Math.floor(top / Float64Array.BYTES_PER_ELEMENT) * Float64Array.BYTES_PER_ELEMENT - numbersBytes;

/**
 * Copies bytes to an offset, one side or both in shared memory. V8 copies those word by word, each an atomic access (13 µs for
 * 64 KB, and four times that where both sides lie at different places of a word); what fills a buffer is copied plainly (2 µs),
 * which is enough here: the other thread reads nothing before it is posted.
 */
export function copyTo(memory: Buffer, bytes: Uint8Array, at: number): void {
  memory.fill(bytes, at, at + bytes.length);
}

const zeros = Buffer.alloc(65_536);

/** Overwrites bytes with zeros; see {@link copyTo}. */
export function erase(memory: Buffer, from: number, to: number): void {
  for (let at = from; at < to; at += zeros.length) memory.fill(to - at < zeros.length ? zeros.subarray(0, to - at) : zeros, at, Math.min(to, at + zeros.length));
}

/** Called once a segment is committed, or cannot be. @param written whether it is committed. */
export type Committed = (written: boolean) => void;

/** A tap that keeps what the record needs of bytes that pass. */
export interface RecordTap extends Tap {
  /** Bytes of a streamed request body. */
  readonly streamed: number;
  readonly type: string | null;
  readonly encoding: string | null;
  /** @returns the part of the answer that is kept. */
  taken(): Buffer | null;
}

/**
 * Writes the record of a request into a segment: its numbers, and those of its texts that differ from an earlier record's.
 * @param maxBody bytes of the request body that are handed on.
 * @returns false when the record does not fit; the segment is unchanged then.
 */
export function encode(segment: Segment, context: Context, kind: Kind, maxBody: number): boolean {
  const { rawHeaders } = context.req;
  if (context.route.credential && rawHeaders.length > 0) {
    if (writeRecord(segment, context, kind, maxBody, rawHeaders)) return true;
    // Headers that do not even fit into an empty segment are left out. Otherwise the next segment is tried first.
    if (segment.records > 0) return false;
  }
  return writeRecord(segment, context, kind, maxBody, fewHeaders(context));
}

/** Texts are written in the order of `ownTexts` and `texts`, then headers, then numbers in the order of `numbers`. */
function writeRecord(segment: Segment, context: Context, kind: Kind, maxBody: number, headers: readonly string[]): boolean {
  const { req, route, token } = context;
  if (!segment.begin(req.headers['user-agent'] ?? '', texts.length + headers.length)) return false;
  const tap = context.tap as RecordTap | null;
  segment.text(context.id);
  segment.text((context.upstreamRequestId ?? '').slice(0, maxName));
  segment.text(token === null ? '' : token.id);
  // The characters after `sk-…`.
  segment.text(token === null ? '' : clean(token.mask.slice(4)));
  segment.text((req.method ?? '').slice(0, maxName));
  segment.text((req.originalUrl ?? req.url ?? '').slice(0, maxUrl));
  segment.text(req.httpVersion);
  segment.text(context.ip);
  segment.text(context.forwardedFor.slice(-maxList));
  segment.text(context.outcome === 'refused' ? `refused:${context.errorCode ?? 'unknown'}` : context.outcome);
  segment.text(context.device);
  segment.text(clean(context.key));
  segment.text(context.ja4 ?? '');
  segment.text(context.country ?? '');
  segment.text(clean(context.model));
  segment.text((context.target ?? '').slice(0, maxName));
  segment.text(context.rules === null ? '' : context.rules.join(','));
  segment.text(route.template);
  segment.text(route.class);
  segment.text(tap?.type ?? '');
  segment.text(tap?.encoding ?? '');
  for (let at = 0; at < headers.length; at++) segment.text(headers[at] as string);
  const isWhole = kind === 'record' && context.body !== null && context.body.size > 0 && route.class === 'model' && (tap === null || tap.streamed === 0);
  const body = isWhole ? context.body : null;
  segment.number(kinds[kind]);
  segment.number(body === null ? (tap?.streamed ?? 0) : body.size);
  writeNumbers(segment, context);
  const moved = body !== null && body.size > handedOver && body.size <= maxBody && body.memory !== null ? body : null;
  const copied = body === null || moved !== null ? none : body.size <= maxBody ? body.pieces : [body.head(maxBody)];
  const outline = body === null || body.size < leastOutlined || body.scan === null ? null : body.scan.outline();
  return segment.end(copied, kind === 'record' && tap !== null ? tap.taken() : null, moved, outline === null ? noOutline : new Uint8Array(outline.buffer));
}

const none: readonly Buffer[] = [];
const noOutline = new Uint8Array();

/** The numbers from `answerTotal` on. */
function writeNumbers(segment: Segment, context: Context): void {
  const { usage, tokensReserved } = context;
  segment.number(context.bytesOut);
  segment.number(context.status);
  segment.number(context.duration);
  segment.number(context.attempts);
  segment.number(context.queueWait);
  segment.number(context.headAt ?? NaN);
  segment.number(context.overhead ?? NaN);
  segment.number(usage?.prompt ?? NaN);
  segment.number(usage?.completion ?? NaN);
  segment.number(usage?.cached ?? NaN);
  segment.number(usage?.reasoning ?? NaN);
  segment.number(tokensReserved ?? NaN);
  segment.number(tokensReserved === null ? NaN : context.tokensSettled);
  segment.number(context.cost ?? NaN);
  segment.number(context.bytesIn);
  segment.number(context.bytesOut);
  segment.number(context.stream ? 1 : 0);
  segment.number(usage?.estimated === true ? 1 : 0);
}

/** A text that was decoded, or came neither in a header nor in the request line, may hold control characters. */
function clean(text: string | null): string {
  if (text === null) return '';
  const bounded = text.length > maxName ? text.slice(0, maxName) : text;
  return control.test(bounded) ? bounded.replace(controls, ' ') : bounded;
}

/**
 * The headers that are needed of requests that are no API calls, name and value in turn. Of the dashboard's, of webhooks' and of
 * pages' requests only the agent, cookies, body type, the path of the referrer and credentials are handed on; the latter are masked
 * where they appear, and no header is kept.
 */
function fewHeaders({ req }: Context): readonly string[] {
  const { 'user-agent': agent, cookie, referer, 'content-type': type, 'content-encoding': encoding, traceparent } = req.headers;
  const found = { 'user-agent': agent, cookie, referer: referer?.split(/[?#]/, 1)[0], 'content-type': type, 'content-encoding': encoding, traceparent: traceparent as string | undefined };
  const kept = Object.entries(found).flatMap(([name, value]) => (value === undefined ? [] : [name, value.slice(0, maxHeader)]));
  for (const name of credentialHeaders) {
    const value = req.headers[name];
    if (typeof value === 'string' && value.length <= maxHeader) kept.push(name, value);
  }
  return kept;
}

/** A record that was written with all its texts, and on which later records of the same agent are based. */
interface Base {
  /** Its number in the segment, from 0. */
  readonly nth: number;
  readonly texts: readonly string[];
}

/**
 * Memory shared by both threads, into which records are written as requests end. Objects kept until a batch is full would cost a
 * request 13 µs of garbage collection. A client sends nearly the same with every request, so most records hold only those texts
 * that differ from an earlier record's. A segment does not change from the time it is posted until the worker has committed it,
 * so that it can be posted to another worker again.
 */
export class Segment {
  readonly memory = new SharedArrayBuffer(segmentBytes);
  readonly #bytes = Buffer.from(this.memory);
  readonly #numbers = new Float64Array(this.memory);
  /** Texts fill the memory from its start to here; numbers, bodies and answers from its end down to `#top`. */
  #used = 0;
  #top = segmentBytes;
  #large: LargeBytes[] = [];
  #largeBytes = 0;
  #external: ExternalRecord[] = [];
  #waiting: Committed[] = [];
  /** Records in the segment. Changed here only: a getter would be one more call for each request. */
  records = 0;
  /** Bytes in use. Changed here only. */
  size = 0;
  readonly #bases = new Map<string, Base>();
  /** The record being written: its agent, its base, the texts written so far, the number of the next text and number. */
  #agent = '';
  #base: Base | null = null;
  #parts: (string | number)[] = [];
  #at = 0;
  #block = 0;
  #number = 0;

  /**
   * Begins a record. Its own texts, the other texts and its numbers follow in their order, then {@link Segment.end}.
   * @param agent records with the same agent have much in common. @param texts how many texts follow beside its own.
   * @returns false when there is no room for another record.
   */
  begin(agent: string, texts: number): boolean {
    const block = blockBelow(this.#top);
    if (block < this.#used) return false;
    const base = this.#bases.get(agent);
    this.#agent = agent;
    this.#base = base?.texts.length === texts ? base : null;
    this.#parts = [];
    this.#at = -ownTexts.length;
    this.#block = block;
    this.#number = block / Float64Array.BYTES_PER_ELEMENT + lateNumbers;
    return true;
  }

  /** Adds the next text. SECURITY: with a separator in a text a caller could forge the records of others. */
  text(text: string): void {
    const at = this.#at++;
    if (this.#base !== null && at >= 0) {
      if (this.#base.texts[at] === text) return;
      this.#parts.push(at);
    }
    this.#parts.push(separator.test(text) ? text.replace(separators, ' ') : text);
  }

  number(value: number): void {
    this.#numbers[this.#number++] = value;
  }

  /**
   * Ends the record, with the part of its body and of its answer that is kept.
   * @param body its pieces; empty without one. @param moved a body whose memory goes to the worker with the batch, in place of `body`.
   * @param outline what the scan of the body has found.
   * @returns false when it does not fit.
   */
  end(body: readonly Buffer[], answer: Buffer | null, moved: RequestBody | null = null, outline: Uint8Array = noOutline): boolean {
    const text = this.#parts.join(textEnd);
    let size = 0;
    for (const { length } of body) size += length;
    const answered = answer === null ? 0 : answer.length;
    const inside = (size > handedOver ? 0 : size) + (answered > handedOver ? 0 : answered) + outline.length;
    // A character takes at most three bytes.
    if (this.#used + text.length * 3 + 1 + inside > this.#block) return false;
    this.#used += this.#bytes.write(text, this.#used);
    this.#bytes[this.#used++] = recordEnd;
    this.#top = this.#block;
    const first = this.#block / Float64Array.BYTES_PER_ELEMENT;
    this.#numbers[first] = this.#base?.nth ?? -1;
    this.#numbers[first + 1] = moved !== null ? this.#move(moved) : this.#place(body, size);
    this.#numbers[first + 2] = answer === null ? 0 : this.#place([answer], answered);
    this.#numbers[first + 3] = this.#place([outline], outline.length);
    if (this.#base === null && (this.#bases.size < maxBases || this.#bases.has(this.#agent))) {
      this.#bases.set(this.#agent, { nth: this.records - this.#external.length, texts: this.#parts.slice(ownTexts.length) as string[] });
    }
    this.records++;
    this.size = this.#used + (segmentBytes - this.#top) + this.#largeBytes;
    return true;
  }

  /** @returns the bytes taken below `#top`, or minus the number of the memory of its own, from 1. */
  #place(pieces: readonly Uint8Array[], size: number): number {
    if (size === 0) return 0;
    const isLarge = size > handedOver;
    const bytes = isLarge ? Buffer.from(new SharedArrayBuffer(size)) : this.#bytes;
    if (!isLarge) this.#top -= size;
    let at = isLarge ? 0 : this.#top;
    for (const piece of pieces) {
      copyTo(bytes, piece, at);
      at += piece.length;
    }
    if (!isLarge) return size;
    this.#largeBytes += size;
    return -this.#large.push({ pieces: [bytes] });
  }

  #move(body: RequestBody): number {
    // It is this segment's now.
    body.isOwn = false;
    this.#largeBytes += body.size;
    return -this.#large.push({ pieces: body.pieces });
  }

  /** Adds a record from elsewhere. */
  append(record: ExternalRecord): void {
    this.#external.push(record);
    this.records++;
  }

  /** Calls back when the segment is committed. */
  whenCommitted(call: Committed): void {
    this.#waiting.push(call);
  }

  /** Calls all back that wait for the commit. */
  settle(written: boolean): void {
    const calls = this.#waiting;
    this.#waiting = [];
    for (const call of calls) call(written);
  }

  /** What is in it so far. */
  get content(): RecordMemory {
    return { memory: this.memory, records: this.records - this.#external.length, used: this.#used, top: this.#top, large: this.#large };
  }

  /** The message for the worker. Nothing is added to the segment after it. */
  message(seq: number, now: number, cursors: Batch['cursors'], isPart = false): Batch {
    this.#forget();
    return { kind: 'batch', memory: this.memory, records: this.records - this.#external.length, used: this.#used, top: this.#top, large: this.#large, seq, now, external: this.#external, cursors, isLined: false, isPart };
  }

  /** Makes an acknowledged segment ready for the next records. @param written whether it was committed. */
  release(written: boolean): void {
    if (this.#waiting.length > 0) this.settle(written);
    this.#used = 0;
    this.#top = segmentBytes;
    this.#large = [];
    this.#largeBytes = 0;
    this.#external = [];
    this.records = 0;
    this.size = 0;
    this.#forget();
  }

  /** Lets go of the texts of requests: a segment may wait long for its commit. */
  #forget(): void {
    this.#bases.clear();
    this.#base = null;
    this.#parts = [];
  }
}
