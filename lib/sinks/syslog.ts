import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { extname } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { SyslogConfig } from '../../types/config.d.ts';
import type { PackedRecords, Packing } from '../../types/journal.d.ts';
import { codeOf, packageVersion } from '../platform/platform.ts';
import type { FollowingSink } from './follower.ts';
import { pack as packHere, type SyslogPackOptions } from './syslog-packer.ts';

/** The options of the syslog sink. */
export interface SyslogSinkOptions {
  readonly syslog: Omit<SyslogConfig, 'url'> & { readonly url: string };
  /** The certificate authorities that may sign the receiver's certificate, in place of the public ones. */
  readonly ca?: string | null;
  /** Makes the messages of records, first to last id, where they are read. Without it they are made here, of whole records. */
  readonly pack?: ((first: number, last: number, packing: Packing) => Promise<PackedRecords>) | null;
}

/** Where messages are made, as the journal's thread loads it. */
const packer = new URL(`./syslog-packer${extname(import.meta.url)}`, import.meta.url).href;
/** Ports where the URL names none: RFC 5425 §4.1 and RFC 6587. */
const ports = { 'tls:': 6514, 'tcp:': 601 } as const;
/** How long the end of a connection is waited for, milliseconds. */
const endTimeout = 500;

/**
 * Sends each record as a message of RFC 5424 over TCP or TLS, counted in octets (RFC 6587 §3.4.1, RFC 5425 §4.3). A receiver confirms
 * nothing: what was sent last is sent again when its connection has broken since.
 */
export function syslogSink({ syslog, ca = null, pack = null }: SyslogSinkOptions): FollowingSink {
  const url = new URL(syslog.url);
  const line = new Line(url, ca);
  const host = hostname().replace(/[^\x21-\x7e]/g, '').slice(0, 255) || '-';
  return {
    name: 'syslog',
    batch: syslog.batch,
    isLight: pack !== null,
    async deliver(records, aborted) {
      const options: SyslogPackOptions = { facility: syslog.facility, bodies: syslog.bodies, host, pid: process.pid, version: await packageVersion() };
      const [first, last] = [records[0], records.at(-1)];
      if (first === undefined || last === undefined) return { kind: 'delivered' };
      const { body } = pack === null ? packHere(records, options) : await pack(first.id, last.id, { module: packer, options });
      try {
        await line.send(Buffer.from(body.buffer, body.byteOffset, body.byteLength), AbortSignal.any([aborted, AbortSignal.timeout(syslog.timeout)]));
        return { kind: 'delivered' };
      } catch (error) {
        return { kind: 'held', reason: `the receiver cannot be reached (${codeOf(error)})` };
      }
    },
    close: () => line.end(),
  };
}

/** One connection, opened with the first message. An idle one does not keep the process alive. */
class Line {
  readonly #url: URL;
  readonly #ca: string | null;
  #socket: Socket | null = null;
  /** What was written last. */
  #last: Buffer | null = null;

  constructor(url: URL, ca: string | null) {
    this.#url = url;
    this.#ca = ca;
  }

  /** Resolves once the bytes are with the system. */
  async send(bytes: Buffer, signal: AbortSignal): Promise<void> {
    const isNew = this.#socket === null || this.#socket.destroyed || this.#socket.readableEnded;
    if (isNew) this.#socket?.destroy();
    const socket = isNew ? this.#opened() : (this.#socket as Socket);
    const over = new AbortController();
    socket.ref();
    signal.addEventListener('abort', () => socket.destroy(), { once: true, signal: over.signal });
    try {
      if (isNew) await once(socket, this.#isSecure ? 'secureConnect' : 'connect', { signal });
      await written(socket, isNew && this.#last !== null ? Buffer.concat([this.#last, bytes]) : bytes, signal);
      this.#last = bytes;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      over.abort();
      socket.unref();
    }
  }

  /** Ends the connection in the regular way, and destroys it when that takes too long. */
  async end(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null || socket.destroyed) return;
    const closed = once(socket, 'close', { signal: AbortSignal.timeout(endTimeout) }).catch(() => undefined);
    socket.end();
    await closed;
    socket.destroy();
  }

  get #isSecure(): boolean {
    return this.#url.protocol === 'tls:';
  }

  #opened(): Socket {
    const { protocol, hostname: name, port } = this.#url;
    const host = name.replace(/^\[|\]$/g, '');
    const to = { host, port: port === '' ? ports[protocol as keyof typeof ports] : Number(port) };
    const socket = this.#isSecure ? connectTls({ ...to, ...(isIP(host) === 0 && { servername: host }), ...(this.#ca !== null && { ca: this.#ca }) }) : connect(to);
    this.#socket = socket;
    socket.setKeepAlive(true, 30_000);
    socket.on('error', () => socket.destroy());
    // Nothing is expected from there, and its end is seen only by reading.
    socket.resume();
    return socket;
  }
}

/** Writes, and waits until the system has taken all of it. */
async function written(socket: Socket, bytes: Buffer, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.write(bytes, (error) => (error ? reject(signal.aborted ? (signal.reason as Error) : error) : resolve()));
  await promise;
}
