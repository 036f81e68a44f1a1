import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream, type SecureServerOptions } from 'node:http2';
import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { AddressSet, handshakeOf, peerIn, rememberHandshake, remoteOf } from '../identity/identity.ts';
import { guard, Rounds } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { StreamConnection, type StreamOwner } from './stream-connection.ts';
import { requestHead, type StreamHead } from './stream-head.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } = constants;

/** Streams that a session may have open at a time; RFC 9113 §6.5.2 recommends at least 100. */
const mostStreams = 128;
/** Bytes of a body that a client may send ahead of its reader, on one stream and on all of a session. */
const streamWindow = 262_144;
const sessionWindow = 1_048_576;
/** Fields of a head: the check of request heads counts them too, and tells the client. */
const mostFields = 1010;
/** Bytes of heads that a session may have in hand at least, so that many small ones fit also where a single one must be small. */
const leastHeads = 4096 * mostStreams;
/** Memory of a session within Node, MB. */
const sessionMemory = 10;
/** Connections in memory that a session keeps for its next streams. */
const mostIdle = 32;
/** A client may reset so many streams at once, and so many a second for long, before its session is closed. A trusted peer resets for many clients. */
const resets = { burst: 200, rate: 20 };
const trustedResets = { burst: 10_000, rate: 1000 };
/**
 * Bytes a second beside heads and bodies, and how many at once: frames that only cause work. Window updates for
 * an answer of 100 MB/s take some 80 KB.
 */
const control = { burst: 524_288, rate: 262_144 };
/** What a stream may cost in frames beside its head and body, bytes. */
const perStream = 512;
/** How often sessions are looked at, milliseconds. */
const lookEvery = 1000;
/** Streams of all sessions that begin in one round of the event loop. */
const turns = new Rounds(16);
/** The last stream that a client may still have opened when it is told to open no more: any (RFC 9113 §6.8). */
const anyStream = 2 ** 31 - 1;

/** The protocols that a TLS server offers, its favorite first. */
export const protocols = { both: ['h2', 'http/1.1'], old: ['http/1.1'] } as const;

type Listener = (this: Server, socket: Duplex) => void;

/**
 * Lets a TLS server speak HTTP/2 with clients that choose it. Each stream reaches the same server as an exchange of HTTP/1.1, by
 * {@link StreamConnection}.
 * @param server just made, with {@link protocols}.
 */
export function speakHttp2(server: Server, core: Core): void {
  const [speakHttp1] = server.listeners('secureConnection') as [Listener];
  const sessions = new Set<Session>();
  let trust = new AddressSet(core.config.trustProxy);
  let trustOf = core.config.trustProxy;
  let isDraining = false;
  server.removeListener('secureConnection', speakHttp1);
  server.on('secureConnection', guard(core.log, 'http2', (socket: TLSSocket) => {
    if (socket.alpnProtocol !== 'h2') return speakHttp1.call(server, socket);
    if (trustOf !== core.config.trustProxy) {
      trustOf = core.config.trustProxy;
      trust = new AddressSet(trustOf);
    }
    const session = new Session(core, socket, trust.has(peerIn(remoteOf(socket))), (connection) => speakHttp1.call(server, connection));
    sessions.add(session);
    socket.once('close', () => sessions.delete(session));
    if (isDraining) session.announceEnd();
  }, (socket) => socket.destroy()));
  const timer = setInterval(guard(core.log, 'http2', () => {
    for (const session of sessions) session.look();
  }), lookEvery).unref();
  server.once('close', () => clearInterval(timer));
  server.on('draining', guard(core.log, 'http2', () => {
    isDraining = true;
    for (const session of sessions) session.announceEnd();
  }));
  const { closeIdleConnections, closeAllConnections } = server;
  Object.assign(server, {
    closeIdleConnections(): void {
      for (const session of sessions) session.close();
      closeIdleConnections.call(server);
    },
    closeAllConnections(): void {
      for (const session of sessions) session.destroy();
      closeAllConnections.call(server);
    },
  });
}

/** So much may be used at once, and it comes back at a rate. Times are monotonic milliseconds. */
class Allowance {
  readonly #burst: number;
  readonly #rate: number;
  #left: number;
  #at: number;

  constructor({ burst, rate }: { readonly burst: number; readonly rate: number }, now: number) {
    this.#burst = this.#left = burst;
    this.#rate = rate;
    this.#at = now;
  }

  /** @returns whether so much was left. */
  take(amount: number, now: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#at) / 1000) * this.#rate) - amount;
    this.#at = now;
    return this.#left >= 0;
  }
}

/** One connection of HTTP/2. */
class Session implements StreamOwner {
  readonly log: Core['log'];
  readonly #core: Core;
  readonly #socket: TLSSocket;
  readonly #session: ServerHttp2Session;
  readonly #serve: (connection: StreamConnection) => void;
  readonly #connections: (StreamConnection | undefined)[] = [];
  readonly #idle: StreamConnection[] = [];
  readonly #resets: Allowance;
  readonly #control: Allowance;
  #open = 0;
  #served = 0;
  /** Bytes of the heads of streams in hand. */
  #heads = 0;
  /** Bytes of heads and bodies, and of all that was read at the last look. */
  #useful = 0;
  #read = 0;
  #idleSince: number;
  #isAnnounced = false;

  constructor(core: Core, socket: TLSSocket, isTrusted: boolean, serve: (connection: StreamConnection) => void) {
    const now = core.clock.monotonic();
    this.#core = core;
    this.log = core.log;
    this.#socket = socket;
    this.#serve = serve;
    this.#idleSince = now;
    this.#resets = new Allowance(isTrusted ? trustedResets : resets, now);
    this.#control = new Allowance(control, now);
    this.#session = performServerHandshake(socket, optionsFor(core.config.server.maxHeaderBytes, isTrusted));
    this.#session.on('error', () => undefined);
    this.#session.on('connect', guard(core.log, 'http2', () => {
      if (!this.#session.destroyed) this.#session.setLocalWindowSize(sessionWindow);
    }));
    this.#session.on('stream', guard(core.log, 'http2', (stream: ServerHttp2Stream, _fields: object, flags: number, raw: readonly string[] = []) => this.#take(stream, flags, raw), (stream) => stream.destroy()));
  }

  readonly idle = (connection: StreamConnection): void => {
    // An idle connection counts as one of its address.
    if (this.#idle.length < mostIdle && (this.#core.connections === null || connection.place === 0)) this.#idle.push(connection);
    else connection.destroy();
  };

  readonly answering = (): void => {
    if (this.#core.draining) this.announceEnd();
  };

  /** Tells the client to open no more streams here; those that are on their way are still served. */
  announceEnd(): void {
    if (this.#isAnnounced || this.#session.destroyed || this.#session.closed) return;
    this.#isAnnounced = true;
    this.#session.goaway(NGHTTP2_NO_ERROR, anyStream);
  }

  /** Ends with the last stream that is open; further ones are refused. */
  close(): void {
    if (!this.#session.destroyed && !this.#session.closed) this.#session.close();
  }

  destroy(code = NGHTTP2_NO_ERROR): void {
    // Without an error Node says NO_ERROR.
    if (!this.#session.destroyed) this.#session.destroy(code === NGHTTP2_NO_ERROR ? undefined : new Error('flood'), code);
    for (const connection of this.#connections) connection?.destroy();
  }

  /** Ends a session that only causes work, or nothing: bytes that belong to no request keep none alive. */
  look(): void {
    const { clock, config: { server: { idleTimeout, readTimeout, writeTimeout } } } = this.#core;
    const now = clock.monotonic();
    const read = this.#socket.bytesRead;
    const wasted = Math.max(0, read - this.#read - this.#useful);
    this.#read = read;
    this.#useful = 0;
    if (!this.#control.take(wasted, now)) return this.#calm('control');
    if (this.#open > 0) return;
    const idle = now - this.#idleSince;
    if (idle < (this.#served === 0 ? Math.min(readTimeout, idleTimeout) : idleTimeout)) return;
    if (idle > idleTimeout + writeTimeout) this.destroy();
    else this.close();
  }

  #take(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    // What went wrong is told by its end.
    stream.on('error', () => undefined);
    const counted = guard(this.log, 'http2', () => this.#count(stream));
    if (stream.destroyed) counted();
    else stream.once('close', counted);
    let size = 0;
    for (const text of raw) size += text.length;
    this.#useful += size + perStream;
    // Reset in the packet that opened it, or too late.
    if (stream.destroyed || stream.closed || this.#session.destroyed) return;
    const { maxHeaderBytes } = this.#core.config.server;
    const isOver = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
    const head = requestHead(raw, !isOver);
    if (head === null || this.#heads + size > Math.max(leastHeads, 2 * maxHeaderBytes)) return stream.close(head === null ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM);
    this.#open++;
    this.#heads += size;
    stream.once('close', guard(this.log, 'http2', () => {
      this.#open--;
      this.#heads -= size;
      this.#idleSince = this.#core.clock.monotonic();
    }));
    turns.add(guard(this.log, 'http2', () => this.#carry(stream, head, isOver), () => stream.destroy()));
    const { maxRequestsPerSocket } = this.#core.config.guard;
    this.#served++;
    if (maxRequestsPerSocket !== null && this.#served >= maxRequestsPerSocket) this.close();
  }

  /** In its turn, behind the packet that opened it, which may have reset it too: that costs no request then. */
  #carry(stream: ServerHttp2Stream, head: StreamHead, isOver: boolean): void {
    if (stream.destroyed || stream.closed || this.#session.destroyed) return;
    if (!isOver) stream.on('data', guard(this.log, 'http2', (chunk: Buffer) => void (this.#useful += chunk.length + perStream)));
    this.#connection().carry(stream, head, isOver);
  }

  /** Counts a stream that its client has reset before the answer was complete. */
  #count(stream: ServerHttp2Stream): void {
    if (stream.aborted && !this.#resets.take(1, this.#core.clock.monotonic())) this.#calm('resets');
  }

  #calm(reason: string): void {
    if (this.#session.destroyed) return;
    this.#core.log.warn({ ip: peerIn(remoteOf(this.#socket)), reason }, 'connection.flood');
    this.destroy(NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #connection(): StreamConnection {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) if (!connection.destroyed) return connection;
    const free = this.#connections.indexOf(undefined);
    const place = free === -1 ? this.#connections.length : free;
    const connection = new StreamConnection(this.#socket, place, this);
    this.#connections[place] = connection;
    connection.once('close', guard(this.log, 'http2', () => void (this.#connections[place] = undefined)));
    connection.on('error', () => undefined);
    const ja4 = handshakeOf(this.#socket);
    if (ja4 !== null) rememberHandshake(connection, ja4);
    this.#serve(connection);
    return connection;
  }
}

function optionsFor(maxHeaderBytes: number, isTrusted: boolean): SecureServerOptions {
  const { burst, rate } = isTrusted ? trustedResets : resets;
  return {
    settings: { maxConcurrentStreams: mostStreams, initialWindowSize: streamWindow, maxHeaderListSize: maxHeaderBytes },
    maxHeaderListPairs: mostFields,
    maxSessionMemory: sessionMemory,
    // Node's own count ends a session without a word: ours is there before.
    streamResetBurst: 10 * burst,
    streamResetRate: 10 * rate,
  };
}
