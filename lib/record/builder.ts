import { createHash, createHmac, hash, type Hash } from 'node:crypto';
import type { AuditConfig, CaptureConfig } from '../../types/config.d.ts';
import { type ClientIds, clientIdsOf } from './client-ids.ts';
import { deviceFingerprint, familyOf, keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { Memo } from '../platform/platform.ts';
import type { RawRecord } from './decode.ts';
import { codingsOf, decoded } from '../http/http.ts';
import { layoutOf } from './layout.ts';
import { keepBody, newestText, type KeptBody } from './kept-body.ts';
import { joinedHeaders, namedHeaders } from './kept-headers.ts';
import { LongTexts, type LongText } from './texts.ts';
import { traceOf } from '../values/values.ts';
import { md5Each } from './md5.ts';
import { HeaderCache, type HeaderFacts } from './header-cache.ts';
import { cookiesOf, credentialsOf, headerOf, type Body, type Headers, isJson, type SecretScrubber, secretScrubber, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, maxLength, withoutCredentials } from '../redaction/redaction.ts';
import type { RecordRow } from './columns.ts';
import { copyTo } from './segment.ts';

/** The options of a {@link RecordBuilder}. */
export interface RecordBuilderOptions extends RecordBuilderSettings {
  /** The install secret. */
  readonly secret: string;
  /** Configured secrets; they are masked wherever they appear. {@link RecordBuilder.hide} adds to them. */
  readonly hidden: string[];
}

/** Those that may change. */
export interface RecordBuilderSettings {
  readonly capture: CaptureConfig;
  /** Spans are exported: the caller's trace is kept of every request. */
  readonly traced?: boolean;
  /** Ids that clients send are read for the watch. */
  readonly watched?: boolean;
  /** What the content fingerprint is made of. */
  readonly fingerprint: AuditConfig['fingerprint'];
  /** Names of query parameters whose values are kept. */
  readonly queryAllow: readonly string[];
}

/** A request body that streams, up to the latest chunk. */
interface StreamedBody {
  readonly md5: Hash | null;
  /** All of it, or of a long one and of one that is no JSON its first bytes, at most `audit.capture.body`. */
  chunks: Uint8Array[];
  /** Bytes in `chunks`. */
  kept: number;
  /** Bytes so far. */
  size: number;
}

/** Streamed bodies remembered at a time; the oldest is dropped. */
const maxStreamed = 1000;
/** Bytes of one streamed body, and of all together, that are kept until its end; of more only the beginning is. */
const maxStreamedBody = 8_388_608;
const maxStreamedBytes = 67_108_864;

/** What a record has of its bodies. */
interface BodyFacts {
  readonly fingerprint: string | null;
  readonly body: KeptBody | null;
  readonly answer: string | null;
  readonly ids: ClientIds;
}

const noIds: ClientIds = { device: null, session: null, home: null };

/** Names of session cookies: NewAPI's dashboard's, and common ones. */
const sessionCookie = /^(?:session|sid|sessionid|connect\.sid)$/i;

/** Characters of cached sessions in each of the two generations of the cache. */
const sessionRoom = 2_000_000;

/** Turns a raw record into the row that may be stored. All masking and hashing of records happens here. */
export class RecordBuilder {
  #options: RecordBuilderOptions;
  readonly #identify: ReturnType<typeof tokenIdentifier>;
  readonly #hash: (text: string) => string;
  readonly #scrub: SecretScrubber;
  #headers: HeaderCache;
  /** Sessions by token identity, each with the text it was hashed from. */
  readonly #sessions = new Memo<{ of: string; session: string }>(sessionRoom, 64);
  readonly #streamed = new Map<string, StreamedBody>();
  /** Bytes of all that is in it. */
  #streamedBytes = 0;
  /** The long texts of bodies. */
  readonly texts: LongTexts;
  /** Memory for bodies that came in pieces: new pages for each would cost more than the rest of its record. The collector frees what is not used any more. */
  #scratch: WeakRef<Buffer> | null = null;

  constructor(options: RecordBuilderOptions) {
    this.#options = options;
    this.#identify = tokenIdentifier(options.secret);
    this.#hash = keyedHash(`heimdall journal ${options.secret}`);
    this.#scrub = secretScrubber(options.hidden);
    this.#headers = new HeaderCache(this.#scrub, options.capture.headers === 'safe');
    this.texts = new LongTexts(options.secret, this.#scrub, options.capture.text);
  }

  /** Masks further secrets from now on. What was read of headers and of long texts before is forgotten. */
  hide(secrets: readonly string[]): void {
    this.#options.hidden.push(...secrets);
    this.#headers = new HeaderCache(this.#scrub, this.#options.capture.headers === 'safe');
    this.texts.clear();
  }

  /** Takes other settings from now on. */
  configure({ capture, traced = false, watched = false, fingerprint, queryAllow }: RecordBuilderSettings): void {
    this.#options = { ...this.#options, capture, traced, watched, fingerprint, queryAllow };
    this.#headers = new HeaderCache(this.#scrub, capture.headers === 'safe');
    this.texts.configure(capture.text);
  }

  /** Takes the next chunk of a request body that streams. @param id the request's. */
  bodyChunk(id: string, bytes: Uint8Array): void {
    let streamed = this.#streamed.get(id);
    if (streamed === undefined) {
      if (this.#streamed.size >= maxStreamed) this.#takeStreamed(this.#streamed.keys().next().value as string);
      this.#streamed.set(id, (streamed = { md5: this.#options.fingerprint === 'md5' ? createHash('md5') : null, chunks: [], kept: 0, size: 0 }));
    }
    streamed.md5?.update(bytes);
    if (streamed.kept === streamed.size) this.#keepChunk(streamed, bytes);
    streamed.size += bytes.length;
  }

  #keepChunk(streamed: StreamedBody, bytes: Uint8Array): void {
    const { capture, fingerprint } = this.#options;
    if (capture.body === 0 && fingerprint !== 'turn') return;
    streamed.chunks.push(bytes);
    streamed.kept += bytes.length;
    this.#streamedBytes += bytes.length;
    const isWhole = looksLikeObject(streamed.chunks[0] as Uint8Array);
    if (streamed.kept <= (isWhole ? maxStreamedBody : capture.body) && this.#streamedBytes <= maxStreamedBytes) return;
    const head = Buffer.concat(streamed.chunks, Math.min(streamed.kept, capture.body));
    this.#streamedBytes += head.length - streamed.kept;
    streamed.chunks = [head];
    streamed.kept = head.length;
  }

  #takeStreamed(id: string): void {
    this.#streamedBytes -= this.#streamed.get(id)?.kept ?? 0;
    this.#streamed.delete(id);
  }

  /** Computes the content fingerprints of records that came together, which takes less time than one by one. */
  fingerprintAll(raws: readonly (RawRecord | null)[]): void {
    if (this.#options.fingerprint !== 'md5') return;
    const whole = raws.filter((raw) => raw !== null && raw.class === 'model' && raw.fingerprint === null && raw.body?.length === 1 && raw.bodyTotal > 0 && raw.body[0]?.length === raw.bodyTotal) as RawRecord[];
    const digests = md5Each(whole.map(({ body }) => (body as [Uint8Array])[0]));
    for (const [at, raw] of whole.entries()) raw.fingerprint = digests[at] as string;
  }

  /** As {@link RecordBuilder.build}, null for an invalid record. */
  tryBuild(raw: RawRecord, texts?: RowTexts): RecordRow | null {
    try {
      return this.build(raw, texts);
    } catch {
      return null;
    }
  }

  /**
   * The row that may be stored. `id` and `created_at` are null until it is written.
   * @param texts gets the long texts that the row refers to.
   */
  build(raw: RawRecord, texts?: RowTexts): RecordRow {
    const { headers } = raw;
    const mark = raw.url.indexOf('?');
    const query = mark === -1 ? '' : raw.url.slice(mark + 1);
    const facts = this.#headers.of(headers, query);
    const credentials = credentialsOf(headers, facts.carriers, query);
    const scrub = (text: string): string => withoutCredentials(this.#scrub(text), credentials);
    const text = (value: string | null, length: number): string | null => (value === null ? null : scrub(keptText(value, length)));
    const cookies = raw.cookies ?? cookiesOf(headerOf(headers, 'cookie') ?? '');
    const device = raw.device ?? this.#device(headers);
    const token = raw.token === null ? null : this.#identify(raw.token);
    const tokenId = token?.id ?? raw.tokenId;
    const session = this.#session(cookies, tokenId, device, raw.ip);
    const headersKept = this.#requestHeaders(raw, facts, scrub, credentials, texts !== undefined);
    const { fingerprint, body, answer, ids } = this.#bodies(raw, facts, scrub, credentials, tokenId ?? raw.ip);
    const hashed = (kind: string, value: string | null): string | null => (value === null ? null : this.#hash(`${kind} ${value}`));
    const row: RecordRow = {
      id: null, request_id: raw.id, timestamp: Math.floor(raw.time / 1000), request_method: raw.method.slice(0, maxLength.method),
      response_status: raw.status, response_time: Math.round(raw.duration), route: raw.route, client: facts.client, model: text(raw.model, maxLength.name),
      stream: raw.stream ? 1 : 0, target: raw.target, attempts: raw.attempts, outcome: raw.outcome, would_refuse: raw.rules,
      queue_wait: raw.queueWait, first_byte: raw.firstByte, overhead: raw.overhead, prompt_tokens: raw.prompt, completion_tokens: raw.completion,
      tokens_reserved: raw.reserved, tokens_settled: raw.settled, tokens_released: raw.reserved === null ? null : raw.reserved - (raw.settled ?? 0), cost: raw.cost,
      bytes_in: raw.bytesIn, bytes_out: raw.bytesOut, source: raw.source, created_at: null, user_id: raw.userId,
      token_key: token?.mask ?? raw.tokenMask, token_id: tokenId, key_id: raw.key, session,
      request_path: keptPath(mark === -1 ? raw.url : raw.url.slice(0, mark), scrub), query: text(keptQuery(query, this.#options.queryAllow, scrub), maxLength.query),
      // The end of a long chain is the part that trusted hops wrote.
      real_ip: raw.ip, forwarded_for: text(raw.forwardedFor.slice(-maxLength.forwarded), maxLength.forwarded) ?? '',
      upstream_request_id: text(raw.upstreamRequestId, maxLength.name), ja4: text(raw.ja4, maxLength.name), country: raw.country,
      content_fingerprint: fingerprint, device_fingerprint: device, user_agent: facts.shownAgent === null ? null : withoutCredentials(facts.shownAgent, credentials),
      cookies: keptCookies(cookies, this.#hash), request_headers: headersKept.text,
      device_id: hashed('device', ids.device), session_id: hashed('session', ids.session), home_id: hashed('home', ids.home), request_body: body?.text ?? null, response_body: answer, request_texts: body?.places ?? null,
    };
    if (headersKept.long !== null || (body !== null && body.texts.length > 0)) texts?.set(row, { headers: headersKept.long, body: body?.texts ?? noTexts });
    return row;
  }

  /** @param byDigest headers that have come before may be named. An intent has no texts. */
  #requestHeaders(raw: RawRecord, { safe }: HeaderFacts, scrub: SecretScrubber, credentials: readonly string[], byDigest: boolean): { readonly text: string | null; readonly long: LongText | null } {
    const kept = this.#keptHeaders(raw, safe, scrub, credentials);
    const own = this.#options.traced ? ownTrace(raw.headers, kept, scrub) : null;
    const long = kept === null || raw.intent || !byDigest ? null : this.texts.headers(kept);
    return { text: long === null ? joinedHeaders(own, kept) : namedHeaders(long, own), long };
  }

  #keptHeaders(raw: RawRecord, safe: string | null, scrub: SecretScrubber, credentials: readonly string[]): string | null {
    const { headers: mode } = this.#options.capture;
    const credentialed = raw.class === 'model' || raw.class === 'realtime' || raw.class === 'task';
    if (mode === 'off' || !credentialed || raw.headers.length === 0) return null;
    return safe === null ? scrub(keptHeaders(raw.headers, mode)) : withoutCredentials(safe, credentials);
  }

  /** SECURITY: bodies are kept of model routes alone. Elsewhere they hold passwords and channel keys. */
  #bodies(raw: RawRecord, facts: HeaderFacts, scrub: SecretScrubber, credentials: readonly string[], owner: string): BodyFacts {
    const streamed = this.#streamed.get(raw.id);
    if (streamed !== undefined && !raw.intent) this.#takeStreamed(raw.id);
    if (raw.class !== 'model') return { fingerprint: null, body: null, answer: null, ids: noIds };
    const pieces = raw.body ?? streamed?.chunks ?? [];
    const bytes = this.#joined(pieces);
    try {
      return this.#readBody(raw, streamed, bytes, facts, scrub, credentials, owner);
    } finally {
      // SECURITY: bodies stay nowhere.
      if (pieces.length > 1) bytes.fill(0);
    }
  }

  #readBody(raw: RawRecord, streamed: StreamedBody | undefined, bytes: Buffer, facts: HeaderFacts, scrub: SecretScrubber, credentials: readonly string[], owner: string): BodyFacts {
    const { capture } = this.#options;
    const isWhole = bytes.length === raw.bodyTotal && bytes.length > 0;
    const plain = isWhole && facts.encoding !== null ? plainOf(bytes, raw.headers) : null;
    const content: Content = plain === null ? { bytes, total: raw.bodyTotal, type: facts.type, encoding: facts.encoding, outline: raw.outline } : { bytes: plain, total: plain.length, type: facts.type, encoding: null, outline: null };
    const answer = raw.answer === null ? null : keptBody({ bytes: raw.answer, total: raw.answerTotal, type: raw.answerType, encoding: raw.answerEncoding }, capture.response);
    const readable = isWhole && isJson(content.type, content.encoding, content.bytes);
    const ids = this.#options.watched ? clientIdsOf(raw.headers, facts.client === null ? null : familyOf(facts.client).toLowerCase(), content.bytes, readable ? content.outline : null) : noIds;
    const fingerprint = this.#fingerprint(raw, streamed, bytes, readable ? content : null);
    const body = this.#body(content, readable, scrub, credentials, owner);
    // SECURITY: bodies stay nowhere.
    plain?.fill(0);
    return { ids, fingerprint, body, answer: answer === null ? null : scrub(answer) };
  }

  /** Pieces in one piece, which the next body overwrites. */
  #joined(pieces: readonly Uint8Array[]): Buffer {
    const [first = none] = pieces;
    if (pieces.length <= 1) return asBuffer(first);
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    let bytes = this.#scratch?.deref();
    if (bytes === undefined || bytes.length < size) this.#scratch = new WeakRef((bytes = Buffer.allocUnsafeSlow(size)));
    let at = 0;
    for (const piece of pieces) {
      copyTo(bytes, piece, at);
      at += piece.length;
    }
    return bytes.subarray(0, size);
  }

  #body(content: Content, readable: boolean, scrub: SecretScrubber, credentials: readonly string[], owner: string): KeptBody | null {
    const { body: limit } = this.#options.capture;
    const kept = readable && limit > 0 ? keepBody(content.bytes, { limit, texts: this.texts, outline: content.outline, scrub, credentials, owner }) : null;
    if (kept !== null) return kept;
    const text = keptBody(content, limit);
    return text === null ? null : { text: scrub(text), places: null, texts: noTexts };
  }

  /** @param bytes as they came. @param json the whole body, where it is JSON. */
  #fingerprint(raw: RawRecord, streamed: StreamedBody | undefined, bytes: Buffer, json: Content | null): string | null {
    const { fingerprint, secret } = this.#options;
    if (raw.fingerprint !== null) return /^[0-9a-f]{32}$/i.test(raw.fingerprint) ? raw.fingerprint.toLowerCase() : null;
    if (fingerprint === 'md5') return md5Of(raw, bytes, streamed);
    const text = fingerprint === 'off' || json === null ? null : newestText(json.bytes, json.outline);
    return text === null ? null : createHmac('sha256', `heimdall turns ${secret}`).update(text).digest('hex').slice(0, 32);
  }

  #device(headers: Headers): string {
    const of = (name: string): string | undefined => headerOf(headers, name) ?? undefined;
    return deviceFingerprint({ 'user-agent': of('user-agent'), accept: of('accept'), 'accept-language': of('accept-language'), 'accept-encoding': of('accept-encoding') });
  }

  /** A keyed hash of the session cookie, or else of token, device and address. SECURITY: one made of a cookie is not cached. */
  #session(cookies: readonly (readonly [string, string])[], tokenId: string | null, device: string, ip: string): string {
    const cookie = cookies.find(([name]) => sessionCookie.test(name));
    if (cookie !== undefined) return this.#hash(`${cookie[0]}=${cookie[1]}`);
    const of = `${tokenId}|${device}|${ip}`;
    const known = this.#sessions.get(tokenId ?? '');
    if (known?.of === of) return known.session;
    const session = this.#hash(of);
    if (known === undefined) this.#sessions.set(tokenId ?? '', { of, session }, of.length);
    else {
      known.of = of;
      known.session = session;
    }
    return session;
  }
}

const none = new Uint8Array();
const noTexts: readonly LongText[] = [];

/** The long texts that rows refer to: their headers, and those of their bodies. */
export type RowTexts = Map<RecordRow, { readonly headers: LongText | null; readonly body: readonly LongText[] }>;

/** A body as it is read: decoded, where it came with a coding. */
interface Content extends Body {
  readonly bytes: Buffer;
  readonly outline: Int32Array | null;
}

/** A body may decode to so many bytes, or to less where it would grow more than text does. */
const maxDecoded = 8_388_608;
const maxRatio = 200;
const smallBytes = 1_048_576;

/** The JSON object that a body with a coding holds; null for any other. */
function plainOf(bytes: Buffer, headers: Headers): Buffer | null {
  const codings = codingsOf(headers);
  const plain = codings.length === 0 ? null : decoded(bytes, codings, Math.min(maxDecoded, Math.max(smallBytes, bytes.length * maxRatio)));
  return plain !== null && layoutOf(plain) !== null ? plain : null;
}

/** Whether a body begins as a JSON object does. */
function looksLikeObject(bytes: Uint8Array): boolean {
  const first = bytes.find((byte) => byte > 0x20);
  return first === undefined || first === 0x7b;
}

const asBuffer = (bytes: Uint8Array): Buffer => (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));

/** Hex MD5 of the whole body; null when some bytes of it are missing. */
function md5Of({ bodyTotal }: RawRecord, bytes: Buffer, streamed: StreamedBody | undefined): string | null {
  if (bytes.length === bodyTotal && bodyTotal > 0) return hash('md5', bytes);
  return streamed?.md5 != null && streamed.size === bodyTotal && bodyTotal > 0 ? streamed.md5.copy().digest('hex') : null;
}

/** The caller's trace as a header, unless it is kept already: the sink of traces finds it there. */
function ownTrace(headers: Headers, kept: string | null, scrub: SecretScrubber): string | null {
  const parent = traceparentIn(headers);
  return parent === null || kept?.includes('"traceparent":') === true ? null : `{"traceparent":${scrub(JSON.stringify(parent))}}`;
}

/** The one `traceparent` that names a trace, without what a later version adds; null without one, and where there are several. */
function traceparentIn(headers: Headers): string | null {
  let found: string | null = null;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length !== 11 || name.toLowerCase() !== 'traceparent') continue;
    if (found !== null) return null;
    found = headers[at + 1] as string;
  }
  return found === null || traceOf('', found, 0).parent === null ? null : found.slice(0, 55);
}
