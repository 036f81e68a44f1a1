import { createHash, hash, type Hash } from 'node:crypto';
import type { CaptureConfig } from '../../types/config.d.ts';
import { deviceFingerprint, keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { Memo } from '../platform/platform.ts';
import type { RawRecord } from './decode.ts';
import { HeaderCache, type HeaderFacts } from './header-cache.ts';
import { cookiesOf, credentialsOf, headerOf, type Headers, type SecretScrubber, secretScrubber, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, maxLength, withoutCredentials } from '../redaction/redaction.ts';
import type { RecordRow } from './columns.ts';

/** The options of a {@link RecordBuilder}. */
export interface RecordBuilderOptions {
  /** The install secret. */
  readonly secret: string;
  /** Configured secrets; they are masked wherever they appear. */
  readonly hidden: readonly string[];
  readonly capture: CaptureConfig;
  /** Names of query parameters whose values are kept. */
  readonly queryAllow: readonly string[];
}

/** A request body that streams, up to the latest chunk. */
interface StreamedBody {
  readonly md5: Hash;
  /** Its first bytes, at most `audit.capture.body`. */
  readonly head: Buffer[];
  /** Bytes so far. */
  size: number;
}

/** Streamed bodies remembered at a time; the oldest is dropped. */
const maxStreamed = 1000;

/** Names of session cookies: NewAPI's dashboard's, and common ones. */
const sessionCookie = /^(?:session|sid|sessionid|connect\.sid)$/i;

/** Characters of cached sessions in each of the two generations of the cache. */
const sessionRoom = 2_000_000;

/** Turns a raw record into the row that may be stored. All masking and hashing of records happens here. */
export class RecordBuilder {
  readonly #options: RecordBuilderOptions;
  readonly #identify: ReturnType<typeof tokenIdentifier>;
  readonly #hash: (text: string) => string;
  readonly #scrub: SecretScrubber;
  readonly #headers: HeaderCache;
  /** Sessions by token identity, each with the text it was hashed from. */
  readonly #sessions = new Memo<{ of: string; session: string }>(sessionRoom, 64);
  readonly #streamed = new Map<string, StreamedBody>();

  constructor(options: RecordBuilderOptions) {
    this.#options = options;
    this.#identify = tokenIdentifier(options.secret);
    this.#hash = keyedHash(`heimdall journal ${options.secret}`);
    this.#scrub = secretScrubber(options.hidden);
    this.#headers = new HeaderCache(this.#scrub, options.capture.headers === 'safe');
  }

  /** Takes the next chunk of a request body that streams. @param id the request's. */
  bodyChunk(id: string, bytes: Uint8Array): void {
    let streamed = this.#streamed.get(id);
    if (streamed === undefined) {
      if (this.#streamed.size >= maxStreamed) this.#streamed.delete(this.#streamed.keys().next().value as string);
      this.#streamed.set(id, (streamed = { md5: createHash('md5'), head: [], size: 0 }));
    }
    if (streamed.size < this.#options.capture.body) streamed.head.push(Buffer.from(bytes.subarray(0, this.#options.capture.body - streamed.size)));
    streamed.md5.update(bytes);
    streamed.size += bytes.length;
  }

  /** As {@link RecordBuilder.build}, null for an invalid record. */
  tryBuild(raw: RawRecord): RecordRow | null {
    try {
      return this.build(raw);
    } catch {
      return null;
    }
  }

  /** The row that may be stored. `id` and `created_at` are null until it is written. */
  build(raw: RawRecord): RecordRow {
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
    const { fingerprint, body, answer } = this.#bodies(raw, facts, scrub);
    return {
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
      cookies: keptCookies(cookies, this.#hash), request_headers: this.#requestHeaders(raw, facts, scrub, credentials), request_body: body, response_body: answer,
    };
  }

  #requestHeaders(raw: RawRecord, { safe }: HeaderFacts, scrub: SecretScrubber, credentials: readonly string[]): string | null {
    const { headers: mode } = this.#options.capture;
    const credentialed = raw.class === 'model' || raw.class === 'realtime' || raw.class === 'task';
    if (mode === 'off' || !credentialed || raw.headers.length === 0) return null;
    return safe === null ? scrub(keptHeaders(raw.headers, mode)) : withoutCredentials(safe, credentials);
  }

  /** SECURITY: bodies are kept of model routes alone. Elsewhere they hold passwords and channel keys. */
  #bodies(raw: RawRecord, { type, encoding }: HeaderFacts, scrub: SecretScrubber): { fingerprint: string | null; body: string | null; answer: string | null } {
    const streamed = this.#streamed.get(raw.id);
    if (streamed !== undefined && !raw.intent) this.#streamed.delete(raw.id);
    if (raw.class !== 'model') return { fingerprint: null, body: null, answer: null };
    const { capture } = this.#options;
    const bytes = raw.body ?? (streamed === undefined ? none : Buffer.concat(streamed.head));
    const body = keptBody({ bytes, total: raw.bodyTotal, type, encoding }, capture.body);
    const answer = raw.answer === null ? null : keptBody({ bytes: raw.answer, total: raw.answerTotal, type: raw.answerType, encoding: raw.answerEncoding }, capture.response);
    return { fingerprint: fingerprintOf(raw, streamed), body: body === null ? null : scrub(body), answer: answer === null ? null : scrub(answer) };
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

/** Hex MD5 of the whole body; null when some bytes of it are missing. */
function fingerprintOf({ body, bodyTotal, fingerprint }: RawRecord, streamed: StreamedBody | undefined): string | null {
  if (fingerprint !== null) return /^[0-9a-f]{32}$/i.test(fingerprint) ? fingerprint.toLowerCase() : null;
  if (body !== null && body.length === bodyTotal) return hash('md5', body);
  return streamed !== undefined && streamed.size === bodyTotal && bodyTotal > 0 ? streamed.md5.copy().digest('hex') : null;
}
