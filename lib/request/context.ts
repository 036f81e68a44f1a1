import { createHash, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type { LRUCache } from 'lru-cache';
import type { Clock } from '../../types/clock.d.ts';
import type { HostUser } from '../../types/caller.d.ts';
import type { Config, GatewayKey } from '../../types/config.d.ts';
import type { RequestInfo, TokenIdentity } from '../../types/context.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import type { Route } from '../../types/route.d.ts';
import type { Usage } from '../../types/usage.d.ts';
import { describe, type Crew } from '../platform/platform.ts';
import { HeimdallError, render, renderEvent, type ErrorCode } from '../errors.ts';
import { withoutField, type RequestBody } from '../http/http.ts';
import { clientOf, deviceFingerprint, networkOf, type Credential } from '../identity/identity.ts';
import type { Connections } from './connections.ts';
import { errorPage } from './error-page.ts';
import type { Mount } from './mount.ts';
import type { Probes } from './probes.ts';

/** The stages of putting away a finished request, in their order. */
export const stages = ['settle', 'release', 'record', 'metrics'] as const;
/** One of them. */
export type Stage = (typeof stages)[number];

/** Adds fields to the head of an answer, a flat list of names and values. */
export type HeadPart = (context: Context, head: string[]) => void;
/** Runs once for a finished request. */
export type Finisher = (context: Context) => void;

/** What all requests of one gate share. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** `mode: observe`: decisions are recorded, and no rule refuses a request. */
  readonly observe: boolean;
  /** Set once by `close()`; readiness fails and answers close their connections. */
  draining: boolean;
  /** Set when the drain is over: requests that a host still sends are refused. */
  closed: boolean;
  readonly inFlight: RequestList & { configure(config: Config): void; close(): void };
  /** Null without `guard.connections_per_address`. */
  readonly connections: Connections | null;
  /** The other threads of a gate with several workers; null in a gate that has one thread. */
  readonly crew: Crew | null;
  readonly mount: Mount;
  /** `Alt-Svc` of the answers over TLS: where HTTP/3 is, or that it is gone. Null without `server.http3`. */
  alternative: string | null;
  /** Balancers that ask for the readiness. */
  readonly probes: Probes;
  /** Refused credentials by the place where they were sent. They last as long as the gate: a reload forgives none. */
  readonly guesses: Map<string, Guesses>;
  /** Secrets that are masked in all text that leaves the process; grows with keys that are made while the gate runs. */
  readonly hidden: string[];
  readonly heads: { readonly every: HeadPart[]; readonly own: HeadPart[]; readonly proxied: HeadPart[] };
  readonly finishers: Finisher[];
}

/** Refused credentials at one place, by network. */
export type Guesses = LRUCache<string, {
  count: number;
  /** End of the window, monotonic milliseconds. */
  readonly until: number;
}>;

/** The requests in hand; `InFlight` also keeps their time limits. Iterates over a snapshot. */
export interface RequestList extends Iterable<Context> {
  /** Monotonic time, late by at most a tenth of a second. */
  readonly now: number;
  readonly size: number;
  add(context: Context): void;
  delete(context: Context): void;
  /** Whether a request is so far behind others of its connection that it is looked at only in its turn, which {@link begin} tells. */
  isFar(res: ServerResponse): boolean;
  begin(res: ServerResponse): void;
  /** The response to the newest such request of a connection. */
  farthest(socket: Socket): ServerResponse | null;
}

/** An exchange with an upstream that must end when the client leaves. */
export interface Exchange {
  abort(): void;
  /**
   * Asked when the client's connection has closed, however the answer ended.
   * @returns true when something of the answer is still to be learnt: then the exchange calls `context.finish` at its own end.
   */
  outlives?(): boolean;
  /** Ends itself when one of its time limits is over. */
  look(now: number): void;
}

/** Sees bytes that pass, for the record. */
export interface Tap {
  /** Takes a chunk of a streaming request body. */
  body(chunk: Buffer): void;
  /** Takes the head of the answer. */
  head(head: readonly string[]): void;
  /** Takes a chunk of the answer's body. */
  answer(chunk: Buffer): void;
}

/** A WebSocket handshake that no upstream has answered yet. */
export interface Upgrade {
  readonly socket: Duplex;
  /** The client has ended its side, as a client does that is gone. */
  readonly ended: boolean;
  /** Stops reading the socket, and puts back the bytes that came behind the head. */
  release(): void;
}

/** A request with what the gate and its host put on it. */
export type GateRequest = IncomingMessage & {
  heimdall?: Context;
  heimdallUpgrade?: Upgrade;
  originalUrl?: string;
  baseUrl?: string;
  body?: unknown;
  rawBody?: unknown;
};

/** Whether an adapter of a serverless platform has made a request up: without its head as received and a connection it cannot be judged. */
export function isMadeUp({ rawHeaders, socket, headers }: { readonly rawHeaders?: readonly string[]; readonly socket?: object | null; readonly headers: object }): boolean {
  return rawHeaders === undefined || socket === undefined || socket === null || (rawHeaders.length === 0 && Object.keys(headers).length > 0);
}

/** How a request ended, for its record. */
export type Outcome = 'served' | 'refused' | 'upstream_error' | 'aborted' | 'interrupted';

/** Goes on with the next part, or, with an error, with the error handler. */
export type Next = (error?: unknown) => void;
/** An Express handler. */
export type RequestHandler = (req: GateRequest, res: ServerResponse, next: Next) => void;
/** An Express error handler. */
export type ErrorHandler = (error: unknown, req: GateRequest, res: ServerResponse, next: Next) => void;

const noRules: readonly string[] = [];

/**
 * One request on its way through the gate: identity, decisions, times, and the only methods that answer it. It has the only
 * `close` listener, so that finishers run once and in order however the request ends.
 */
export class Context implements RequestInfo {
  readonly core: Core;
  readonly req: GateRequest;
  readonly res: ServerResponse;
  /** As received; `req.headers` holds the proxy's own for a moment while it sends them. */
  readonly headers: IncomingHttpHeaders;
  readonly id: string;
  /** Unix milliseconds. */
  readonly time: number;
  /** The same moment on the clock that never jumps, for intervals. */
  readonly at: number;
  /** Monotonic, milliseconds. */
  readonly startedAt: number;
  /** Its index in the list of requests in hand. */
  place = 0;

  /** The client's address, as far as trusted peers name it. */
  ip = '';
  /** The address at the other end of the socket. */
  peer = '';
  /** The forwarded chain as received, with the peer at its end. */
  forwardedFor = '';
  /** Most callers share this address: it is that of a proxy which `trust_proxy` does not name. */
  collapsed = false;
  proto = 'http';
  host = '';
  /** The path by which the request is judged: decoded, without empty and dot segments. */
  path = '';
  /** Places in `rawHeaders` of names whose values hold a credential of the gate's own: they are not forwarded. */
  withheldHeaders: Set<number> | null = null;
  /** The query without parameters that hold one; null where none does. */
  withheldQuery: string | null = null;
  /** The subprotocols of a WebSocket without those that hold one; null where none does. */
  withheldProtocols: string | null = null;
  /** Replaces the caller's `Content-Type`; null sends it as it came. */
  contentType: string | null = null;
  /** The same path percent-encoded, as it is sent. */
  wirePath = '';
  /** The query as received, with its `?`, or empty. */
  query = '';
  /** Path and query that the proxy sends to NewAPI. */
  forwardPath = '';
  /** Puts the URL and headers as received back on `req`, after the proxy has copied those to send. */
  restore: (() => void) | null = null;
  route!: Route;
  /** Came by the admin API's own listener, not through the chain: bans and address lists do not apply. */
  viaAdminListener = false;
  /** JA4 fingerprint of the TLS handshake, where the gate or a trusted peer saw it. */
  ja4: string | null = null;
  /** ISO 3166 code named by a trusted peer. */
  country: string | null = null;
  token: TokenIdentity | null = null;
  /** The credential that counts, with its carrier; null on routes that need none. SECURITY: never stored, logged or shown. */
  credential: Credential | null = null;
  /** Name of the gateway key, JWT caller or user of the host. */
  key: string | null = null;
  /** The gateway key of the caller, with its limits; null for JWTs and NewAPI's own tokens. */
  grant: GatewayKey | null = null;
  /** The user of the host application, with its limits. */
  user: HostUser | null = null;
  /** The credential sent to NewAPI in place of the caller's; null: the caller's own. */
  upstreamCredential: string | null = null;
  /** The caller's group in NewAPI, where it is known: NewAPI charges by it. */
  newapiGroup: string | null = null;
  /** Credentials are not forwarded: one of them is a gateway key on a route that needs none, or a JWT that was refused. */
  withheld = false;
  /** The credential is proved: by the gate, or by an earlier answer of NewAPI. */
  verified = false;

  /** The body as received. */
  body: RequestBody | null = null;
  /** The decoded body of one with a coding, where it may be sent in place of `body`; else null. */
  decodedBody: Buffer | null = null;
  /** No receiver reads the coding of `body`, so that `decodedBody` is sent to each. */
  sendsDecoded = false;
  /** A body larger than `server.buffer_body_bytes`: it streams, and cannot be sent again. */
  bodyStream: Readable | null = null;
  /** Bytes of the body that count against `server.max_inflight_bytes`. */
  heldBytes = 0;
  /** Milliseconds spent waiting for the caller's body. */
  bodyWait = 0;
  model: string | null = null;
  /** Byte offsets of the model's JSON string in `decodedBody`, else in `body`, quotes included. */
  modelSpan: readonly [number, number] | null = null;
  stream = false;
  /** The most completion tokens that the body asks for, of all its choices together; null without a bound. */
  maxTokens: number | null = null;
  /** Readers may understand the body differently: a control key comes twice or in other letters, the coding is unknown, or the body is too large to be inspected. */
  bodyAmbiguous = false;
  /** Limits count the usage of the answer: the upstream is asked for it where the caller has not asked. */
  measured = false;
  /** The gate has asked the upstream for usage, so the chunk that holds it is not sent to the caller. */
  usageAdded = false;
  /** An upstream refused the request because it asked for usage: it is not asked again. */
  usageRefused = false;

  /** The charges of this request against its limits, until its end settles them; belongs to the room of limits. */
  reservation: object | null = null;
  /** Tokens that limits reserved, and, once settled, tokens used; null without a limit on tokens. */
  tokensReserved: number | null = null;
  tokensSettled = 0;
  /** Its slot, its place in the queue or its counted WebSocket; belongs to the room of the queue. */
  slot: object | null = null;
  /** Place in the queue at arrival; 0: no wait; null: the request does not queue. */
  queuePosition: number | null = null;
  /** Milliseconds waited for a slot. */
  queueWait = 0;

  exchange: Exchange | null = null;
  /** Name of the target that was asked last. */
  target: string | null = null;
  attempts = 0;
  /** The model that the answering target was asked for. */
  servedModel: string | null = null;
  usage: Usage | null = null;
  /** US dollars, where a price is known. */
  cost: number | null = null;
  upstreamRequestId: string | null = null;
  /** What NewAPI's answer says about the caller's own token. */
  /** The credential is a honey key: the request is answered as one with an unknown key, and goes nowhere. */
  trapped = false;
  newapiVerdict: 'accepted' | 'refused' | null = null;

  status = 0;
  outcome: Outcome = 'served';
  errorCode: ErrorCode | null = null;
  /** Rules that would have refused the request with `mode: enforce`. */
  rules: string[] | null = null;
  bytesIn = 0;
  bytesOut = 0;
  /** Milliseconds from the start until the request was sent to the upstream that answered it. */
  sentAt: number | null = null;
  /** Milliseconds from the start until the first byte of the upstream's answer that counted. */
  answeredAt: number | null = null;
  /** Milliseconds from the start until the head of the answer was written. */
  headAt: number | null = null;
  /** Milliseconds from the start to the end. */
  duration = 0;
  finished = false;
  /** Another thread serves it, and puts it away. */
  relayed = false;
  /** It came while an earlier request of its connection was not answered. */
  isPipelined = false;
  /** A callback of this request threw: see `contain`. */
  contained = false;
  /** Sees the bytes that pass, for the record; null when none are recorded. */
  tap: Tap | null = null;
  /** Fields that parts add to the head of any answer; a flat list. */
  extraHead: string[] | null = null;

  #fairnessKey: string | null = null;
  #device: string | null = null;
  #content: string | null | undefined = undefined;

  constructor(core: Core, req: GateRequest, res: ServerResponse) {
    this.core = core;
    this.req = req;
    this.res = res;
    this.headers = req.headers;
    this.startedAt = performance.now();
    this.time = core.clock.now();
    this.at = core.clock.monotonic();
    this.id = requestId(this.time);
    core.inFlight.add(this);
    res.on('close', () => this.finish());
  }

  /**
   * The caller whose share of slots, limits and bytes the request takes. A verified caller has a key of its own. All other
   * callers share one per address: a key per unproven token would give a share to each made-up token.
   */
  get fairnessKey(): string {
    return (this.#fairnessKey ??= fairnessKeyOf(this));
  }

  get device(): string {
    return (this.#device ??= deviceFingerprint(this.headers));
  }

  /** Set for a request whose head could not be read. */
  set device(fingerprint: string) {
    this.#device = fingerprint;
  }

  get client(): string | null {
    return clientOf(this.headers['user-agent']);
  }

  get contentFingerprint(): string | null {
    if (this.body?.isArriving) return null;
    if (this.#content === undefined) this.#content = this.body?.size ? md5Of(this.body.pieces) : null;
    return this.#content;
  }

  get wouldRefuse(): readonly string[] {
    return this.rules ?? noRules;
  }

  get timings(): RequestInfo['timings'] {
    return { elapsed: this.elapsed(), firstByte: this.headAt };
  }

  /**
   * Milliseconds that the gate itself added until the head of an upstream's answer was written, without the time in which it
   * waited for the caller's body or for the upstream. Null without an upstream's answer.
   */
  get overhead(): number | null {
    const { sentAt, answeredAt, headAt, bodyWait } = this;
    if (sentAt === null || answeredAt === null || headAt === null) return null;
    return sentAt - bodyWait + (headAt - answeredAt);
  }

  /** Milliseconds since the request arrived. */
  elapsed(): number {
    return performance.now() - this.startedAt;
  }

  /**
   * Refuses the request by a rule. With `mode: observe` the rule is recorded and the request goes on.
   * @returns true when the request was answered and the part must stop.
   */
  refuse(rule: string, error: HeimdallError): boolean {
    if (this.core.observe) (this.rules ??= []).push(rule);
    else this.fail(error);
    return !this.core.observe;
  }

  /** Answers with an error in the route's dialect; after the first byte it ends the answer as a failure instead. */
  fail(error: HeimdallError): void {
    this.errorCode ??= error.code;
    if (this.outcome === 'served') this.outcome = error.status >= 500 && error.code.startsWith('upstream') ? 'upstream_error' : 'refused';
    if (this.res.headersSent) return this.interrupt(error);
    const page = this.route === undefined ? null : errorPage(this, error);
    if (page !== null) return this.answer(error.status, page.head, page.body);
    const shape = this.route?.errors ?? 'openai';
    const head = ['Content-Type', 'application/json'];
    if (error.retryAfter !== null) head.push('Retry-After', String(error.retryAfter));
    // Retries of an SDK would multiply those of the gate.
    if (!error.retryable || this.attempts > 1) head.push('x-should-retry', 'false');
    this.answer(error.status, head, render(error, shape, this.id));
  }

  /** Sends one of the gate's own answers, when the body has arrived. */
  answer(status: number, head: string[], body: string | Buffer): void {
    if (this.res.headersSent || this.res.destroyed) return;
    if (this.body?.isArriving) return this.body.whenArrived(guarded(this, () => this.answer(status, head, body)));
    const length = Buffer.byteLength(body);
    if (status !== 204 && status !== 304) head.push('Content-Length', String(length)); // RFC 9110 §8.6
    this.begin(status, head);
    if (this.req.method === 'HEAD' || status === 304) return void this.res.end();
    this.bytesOut += length;
    this.res.end(body);
  }

  /** Begins one of the gate's own answers. */
  begin(status: number, head: string[]): void {
    for (const part of this.core.heads.own) part(this, head);
    this.writeHead(status, head);
  }

  /** Writes the head of an upstream's answer. */
  writeProxied(status: number, head: string[]): void {
    if (this.prelude) return;
    if (status === 204) withoutField(head, 'content-length'); // RFC 9110 §8.6
    for (const part of this.core.heads.proxied) part(this, head);
    this.writeHead(status, head);
  }

  /** Writes the answer's head, once. */
  writeHead(status: number, head: string[]): void {
    this.status = status;
    this.headAt = performance.now() - this.startedAt;
    for (const part of this.core.heads.every) part(this, head);
    if (this.extraHead) head.push(...this.extraHead);
    head.push('X-Request-Id', this.id);
    // An unread body left in the socket would be read as the next request.
    const isUnread = !this.req.complete && (this.body === null || this.body.isArriving) && (this.headers['content-length'] !== undefined || this.headers['transfer-encoding'] !== undefined);
    // Node's parser obeys a `Connection` among the trailers: it would refuse the next request, which may be another client's behind a proxy.
    if (isUnread || this.req.rawTrailers.length > 0 || this.core.draining) {
      head.push('Connection', 'close');
      this.res.shouldKeepAlive = false;
    }
    this.res.writeHead(status, head);
  }

  /** Ends an answer that has begun and cannot be completed. A clean end would look like success. */
  interrupt(error: HeimdallError): void {
    this.outcome = error.code === 'upstream_interrupted' ? 'upstream_error' : this.outcome;
    if (this.res.writableEnded || this.res.destroyed) return;
    if (!this.eventStream) return void this.res.destroy();
    // The upstream may have died within a line. A blank line ends that line, or it would swallow the error.
    this.res.end(`\n\n${renderEvent(error, this.route.errors, this.id)}`);
  }

  /** The answer is an SSE stream, so an error can still be sent inside it. */
  eventStream = false;
  /** The head of a stream was sent before any upstream had answered. */
  prelude = false;

  /** The socket belongs to the upstream's side of a WebSocket: the gate must not answer on it. */
  handedOver = false;

  /** Gives the socket to the proxy. Its `close` ends the request: `res` emits nothing any more. */
  handOver(socket: Duplex): void {
    this.handedOver = true;
    this.res.detachSocket(this.req.socket);
    socket.once('close', () => this.finish());
  }

  /**
   * Ends the request in whatever phase it is: a caller that waits for an answer gets the error, an event stream ends with an
   * error event, other bytes break off, and a socket that was handed over is destroyed.
   */
  cutOff(error: HeimdallError): void {
    this.exchange?.abort();
    this.haltBody();
    if (this.handedOver) this.req.socket.destroy();
    else this.fail(error);
  }

  /** No more of a body that goes on while it arrives is sent. A part of one is not recorded. */
  haltBody(): void {
    if (!this.body?.isArriving) return;
    this.body.halt();
    if (!this.req.complete) this.body = null;
  }

  /** Puts the request away, once: ends its exchange, then runs the finishers in the order of {@link stages}. */
  finish(): void {
    if (this.finished) return;
    if (this.duration === 0) this.duration = performance.now() - this.startedAt;
    if (this.#outlives()) return;
    this.finished = true;
    if (!this.res.writableFinished && (this.status === 0 || !this.req.heimdallUpgrade) && this.outcome === 'served') {
      // The client left first. 499 is nginx's status for it.
      this.outcome = 'aborted';
      this.status = 499;
    }
    this.core.inFlight.delete(this);
    try {
      this.exchange?.abort();
    } catch (error) {
      this.#unfinished(error);
    }
    if (this.body?.isArriving) this.haltBody();
    for (const finisher of this.relayed ? [] : this.core.finishers) {
      try {
        finisher(this);
      } catch (error) {
        this.#unfinished(error);
      }
    }
    if (this.body?.isOwn) this.body.free();
    this.body = this.decodedBody = null;
  }

  /** Something of the answer is still to be learnt, and the exchange calls {@link finish} again. */
  #outlives(): boolean {
    try {
      return this.exchange?.outlives?.() ?? false;
    } catch (error) {
      this.#unfinished(error);
      return false;
    }
  }

  /** A finisher that fails does not keep the others from running. */
  #unfinished(error: unknown): void {
    this.core.log.error({ requestId: this.id, error: describe(error) }, 'finish.failed');
  }
}

function md5Of(pieces: readonly Buffer[]): string {
  const md5 = createHash('md5');
  for (const piece of pieces) md5.update(piece);
  return md5.digest('hex');
}

/** The fields of a request that decide for which caller it is counted. */
export type Caller = Pick<Context, 'key' | 'token' | 'verified' | 'ip'>;

/** @returns `key:` and its name, `token:` and its identity, or, for an unverified caller, `address:` and the address (IPv6: its /56). */
export function fairnessKeyOf({ key, token, verified, ip }: Caller): string {
  if (!verified) return `address:${networkOf(ip)}`;
  return key === null ? `token:${token?.id ?? ''}` : `key:${key}`;
}

/** Whether a request opens a WebSocket on which a model answers, as in the realtime API or in that of the Responses API. */
export const isConversation = ({ route, req }: Context): boolean => req.heimdallUpgrade !== undefined && (route.class === 'realtime' || (route.class === 'task' && route.errors === 'openai'));

let stamp = 0;
let stampText = '';
let tail = '';
let count = 0;

/**
 * UUIDv7 (RFC 9562 §5.7) with a counter in `rand_a` (§6.2, method 1): ids sort in the order in which they were given, and one
 * random tail serves a millisecond. Node's own came with 24.16.
 * @param time Unix milliseconds.
 */
export function requestId(time: number): string {
  if (time !== stamp || count === 0xfff) {
    stamp = time;
    count = 0;
    const hex = time.toString(16).padStart(12, '0');
    stampText = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
    tail = randomUUID().slice(18);
  }
  return stampText + (count++).toString(16).padStart(3, '0') + tail;
}

/**
 * Ends a request whose callback threw outside Express, and no other: the exchange with the upstream is aborted, the client gets
 * an error or, after the first byte, a broken connection, and everything that the request holds is given back. The event log
 * tells it once.
 * @param code what the client is told.
 */
export function contain(context: Context, error: unknown, code: ErrorCode = 'internal_error'): void {
  const { core, exchange, res, req } = context;
  if (!context.contained) core.log.error({ requestId: context.id, error: describe(error), stack: error instanceof Error ? error.stack : null }, 'request.panic');
  context.contained = true;
  attempt(() => exchange?.abort());
  context.exchange = null;
  const told = attempt(() => {
    if (context.body?.isArriving) context.haltBody();
    context.fail(new HeimdallError(code, { cause: error, ...(code === 'internal_error' && { status: 503 }) }));
  });
  // The response finishes the request when it closes.
  if (told && !context.handedOver && !res.closed && (res.writableEnded || res.destroyed)) return;
  attempt(() => res.destroy());
  attempt(() => req.socket.destroy());
  attempt(() => context.finish());
}

/** @returns whether it did not throw. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

/** Lets the work of a request go on. A rejection ends that request alone: see {@link contain}. */
export function underway(context: Context, work: Promise<unknown>): void {
  work.catch((error: unknown) => contain(context, error));
}

/** A callback for Node, a proxy or a timer; what it throws ends its request alone: see {@link contain}. */
export function guarded<Args extends readonly unknown[]>(context: Context, callback: (...args: Args) => void, code?: ErrorCode): (...args: Args) => void {
  return (...args) => {
    try {
      callback(...args);
    } catch (error) {
      contain(context, error, code);
    }
  };
}
