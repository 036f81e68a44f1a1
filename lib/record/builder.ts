import { createHash, hash, type Hash } from 'node:crypto';
import type { CaptureConfig } from '../../types/config.d.ts';
import { deviceFingerprint, keyedHash, tokenIdentifier } from '../identity/identity.ts';
import { Memo } from '../platform/platform.ts';
import type { Raw } from './decode.ts';
import { Heads, type Head } from './header-cache.ts';
import { cookiesOf, credentialsOf, headerOf, type Headers, type Hide, hider, keptBody, keptCookies, keptHeaders, keptPath, keptQuery, keptText, longest, withoutCredentials } from '../redaction/redaction.ts';
import type { Draft } from './columns.ts';

/** What the making of drafts depends on. */
export interface DraftOptions {
  readonly secret: string;
  readonly hidden: readonly string[];
  readonly capture: CaptureConfig;
  readonly queryAllow: readonly string[];
}

/** A body that was too large to be kept, as far as it has passed. */
interface Passing {
  readonly md5: Hash;
  readonly head: Buffer[];
  size: number;
}

/** Streams that are looked at at a time; the oldest is let go. */
const mostPassing = 1000;

/** Cookies that are a session of NewAPI's dashboard, or of most others. */
const sessionCookie = /^(?:session|sid|sessionid|connect\.sid)$/i;

/** Characters of the callers whose session is remembered, twice. */
const sessions = 2_000_000;

/** Turns what the main thread hands over into what may be kept: here and nowhere else is anything masked and hashed. */
export class Drafter {
  readonly #options: DraftOptions;
  readonly #identify: ReturnType<typeof tokenIdentifier>;
  readonly #hash: (text: string) => string;
  readonly #hide: Hide;
  readonly #heads: Heads;
  /** By the token's identity, with what the session was made of. */
  readonly #sessions = new Memo<{ of: string; session: string }>(sessions, 64);
  readonly #passing = new Map<string, Passing>();

  constructor(options: DraftOptions) {
    this.#options = options;
    this.#identify = tokenIdentifier(options.secret);
    this.#hash = keyedHash(`heimdall journal ${options.secret}`);
    this.#hide = hider(options.hidden);
    this.#heads = new Heads(this.#hide, options.capture.headers === 'safe');
  }

  /** A piece of a body that streams. */
  piece(id: string, bytes: Uint8Array): void {
    let passing = this.#passing.get(id);
    if (passing === undefined) {
      if (this.#passing.size >= mostPassing) this.#passing.delete(this.#passing.keys().next().value as string);
      this.#passing.set(id, (passing = { md5: createHash('md5'), head: [], size: 0 }));
    }
    if (passing.size < this.#options.capture.body) passing.head.push(Buffer.from(bytes.subarray(0, this.#options.capture.body - passing.size)));
    passing.md5.update(bytes);
    passing.size += bytes.length;
  }

  /** @returns null for a record that makes no sense. */
  tryDraft(raw: Raw): Draft | null {
    try {
      return this.draft(raw);
    } catch {
      return null;
    }
  }

  /** The record as it may be kept. */
  draft(raw: Raw): Draft {
    const { headers } = raw;
    const mark = raw.url.indexOf('?');
    const query = mark === -1 ? '' : raw.url.slice(mark + 1);
    const head = this.#heads.of(headers, query);
    const credentials = credentialsOf(headers, head.carriers, query);
    const hide = (text: string): string => withoutCredentials(this.#hide(text), credentials);
    const text = (value: string | null, length: number): string | null => (value === null ? null : hide(keptText(value, length)));
    const cookies = raw.cookies ?? cookiesOf(headerOf(headers, 'cookie') ?? '');
    const device = raw.device ?? this.#device(headers);
    const token = raw.token === null ? null : this.#identify(raw.token);
    const tokenId = token?.id ?? raw.tokenId;
    const session = this.#session(cookies, tokenId, device, raw.ip);
    const { fingerprint, body, answer } = this.#bodies(raw, head, hide);
    return {
      id: null, request_id: raw.id, timestamp: Math.floor(raw.time / 1000), request_method: raw.method.slice(0, longest.method),
      response_status: raw.status, response_time: Math.round(raw.duration), route: raw.route, client: head.client, model: text(raw.model, longest.name),
      stream: raw.stream ? 1 : 0, target: raw.target, attempts: raw.attempts, outcome: raw.outcome, would_refuse: raw.rules,
      queue_wait: raw.queueWait, first_byte: raw.firstByte, overhead: raw.overhead, prompt_tokens: raw.prompt, completion_tokens: raw.completion,
      tokens_reserved: raw.reserved, tokens_settled: raw.settled, tokens_released: raw.reserved === null ? null : raw.reserved - (raw.settled ?? 0), cost: raw.cost,
      bytes_in: raw.bytesIn, bytes_out: raw.bytesOut, source: raw.source, created_at: null, user_id: raw.userId,
      token_key: token?.mask ?? raw.tokenMask, token_id: tokenId, key_id: raw.key, session,
      request_path: hide(keptPath(mark === -1 ? raw.url : raw.url.slice(0, mark))), query: text(keptQuery(query, this.#options.queryAllow), longest.query),
      // Of a long chain the end is what trusted hops wrote.
      real_ip: raw.ip, forwarded_for: text(raw.forwardedFor.slice(-longest.forwarded), longest.forwarded) ?? '',
      upstream_request_id: text(raw.upstreamRequestId, longest.name), ja4: text(raw.ja4, longest.name), country: raw.country,
      content_fingerprint: fingerprint, device_fingerprint: device, user_agent: head.shownAgent === null ? null : withoutCredentials(head.shownAgent, credentials),
      cookies: keptCookies(cookies, this.#hash), request_headers: this.#headers(raw, head, hide, credentials), request_body: body, response_body: answer,
    };
  }

  #headers(raw: Raw, { safe }: Head, hide: Hide, credentials: readonly string[]): string | null {
    const { headers: mode } = this.#options.capture;
    const credentialed = raw.class === 'model' || raw.class === 'realtime' || raw.class === 'task';
    if (mode === 'off' || !credentialed || raw.headers.length === 0) return null;
    return safe === null ? hide(keptHeaders(raw.headers, mode)) : withoutCredentials(safe, credentials);
  }

  /** Only model routes have bodies to keep: elsewhere they hold passwords and channel keys. */
  #bodies(raw: Raw, { type, encoding }: Head, hide: Hide): { fingerprint: string | null; body: string | null; answer: string | null } {
    const passing = this.#passing.get(raw.id);
    if (passing !== undefined && !raw.intent) this.#passing.delete(raw.id);
    if (raw.class !== 'model') return { fingerprint: null, body: null, answer: null };
    const { capture } = this.#options;
    const bytes = raw.body ?? (passing === undefined ? none : Buffer.concat(passing.head));
    const body = keptBody({ bytes, total: raw.bodyTotal, type, encoding }, capture.body);
    const answer = raw.answer === null ? null : keptBody({ bytes: raw.answer, total: raw.answerTotal, type: raw.answerType, encoding: raw.answerEncoding }, capture.response);
    return { fingerprint: fingerprintOf(raw, passing), body: body === null ? null : hide(body), answer: answer === null ? null : hide(answer) };
  }

  #device(headers: Headers): string {
    const of = (name: string): string | undefined => headerOf(headers, name) ?? undefined;
    return deviceFingerprint({ 'user-agent': of('user-agent'), accept: of('accept'), 'accept-language': of('accept-language'), 'accept-encoding': of('accept-encoding') });
  }

  /** SECURITY: one that is made of a cookie is not remembered. */
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

/** Hex MD5 of the whole body; null when not all of it was seen. */
function fingerprintOf({ body, bodyTotal, fingerprint }: Raw, passing: Passing | undefined): string | null {
  if (fingerprint !== null) return /^[0-9a-f]{32}$/i.test(fingerprint) ? fingerprint.toLowerCase() : null;
  if (body !== null && body.length === bodyTotal) return hash('md5', body);
  return passing !== undefined && passing.size === bodyTotal && bodyTotal > 0 ? passing.md5.copy().digest('hex') : null;
}
