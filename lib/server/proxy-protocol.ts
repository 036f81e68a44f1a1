import type { Server } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../../types/logger.d.ts';
import { guard } from '../platform/platform.ts';
import { parseAddress, peerIn, remoteOf, type AddressSet } from '../identity/identity.ts';

/** The first bytes of version 2 (haproxy, proxy-protocol.txt §2.2), and the length of its fixed part. */
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixed = 16;
/** The longest line of version 1, its end included (§2.1). */
const longestLine = 107;
/** Longest wait for a preamble, milliseconds; §2 asks for at least 3 s. */
const patience = 5000;

/** The client of a connection as a load balancer names it; null where it is its own, or names none. */
interface Preamble {
  readonly length: number;
  readonly client: { readonly address: string; readonly port: number } | null;
}

type Listener = (this: Server, socket: Socket) => void;

/**
 * Expects the PROXY protocol, version 1 or 2, at the beginning of every connection of a trusted peer, before TLS. The client that
 * it names takes the place of the peer. A connection that begins otherwise, or too slowly, is closed, since a guess would let a
 * client write the preamble (§5). Connections of other peers are taken as they are, and a preamble there is no request.
 * @param server with all its listeners, which get a connection after its preamble.
 * @param trust peers whose preamble counts, asked at each connection.
 * @param readTimeout `server.read_timeout`.
 */
export function expectPreambles(server: Server, trust: () => AddressSet, readTimeout: number, log: Logger): void {
  const listeners = server.listeners('connection') as Listener[];
  /** Clients by the balancer's end of the connection, until the TLS handshake is done. */
  const named = new Map<string, Exclude<Preamble['client'], null>>();
  server.removeAllListeners('connection');
  server.on('connection', guard(log, 'proxy protocol', (socket: Socket) => {
    const pass = (): void => listeners.forEach((listener) => listener.call(server, socket));
    if (!trust().has(peerIn(remoteOf(socket)))) return pass();
    readPreamble(socket, Math.min(readTimeout, patience), log, ({ client }) => {
      if (client !== null) {
        const end = endOf(socket);
        named.set(end, client);
        socket.once('close', () => named.delete(end));
        rename(socket, client);
      }
      pass();
    });
  }, (socket) => socket.destroy()));
  // TLS has a socket of its own over that of the connection.
  server.prependListener('secureConnection', guard(log, 'proxy protocol', (socket: TLSSocket) => {
    const client = named.get(endOf(socket));
    if (client !== undefined) rename(socket, client);
  }, (socket) => socket.destroy()));
}

const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${remotePort ?? 0}`;

function rename(socket: Socket, { address, port }: Exclude<Preamble['client'], null>): void {
  const family = isIP(address) === 6 ? 'IPv6' : 'IPv4';
  Object.defineProperties(socket, { remoteAddress: { value: address }, remotePort: { value: port }, remoteFamily: { value: family } });
}

function readPreamble(socket: Socket, timeout: number, log: Logger, done: (preamble: Preamble) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const leave = (): void => void socket.destroy();
  const timer = setTimeout(leave, timeout).unref();
  const onReadable = guard(log, 'proxy protocol', (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const preamble = preambleIn(bytes);
    if (preamble === 'more') return;
    stop();
    if (preamble === null) return leave();
    if (bytes.length > preamble.length) socket.unshift(bytes.subarray(preamble.length));
    done(preamble);
  }, leave);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', onReadable).off('end', leave).off('error', leave).off('close', stop);
  };
  socket.on('readable', onReadable).on('end', leave).on('error', leave).on('close', stop);
}

/**
 * Reads a preamble at the beginning of a connection.
 * @returns `more` while it is not whole, null when it is none.
 */
export function preambleIn(bytes: Buffer): Preamble | 'more' | null {
  const head = bytes.subarray(0, signature.length);
  if (head.equals(signature.subarray(0, head.length))) return bytes.length < fixed ? 'more' : binary(bytes);
  if (!'PROXY '.startsWith(bytes.toString('latin1', 0, 6))) return null;
  const end = bytes.subarray(0, longestLine).indexOf('\r\n');
  if (end === -1) return bytes.length < longestLine && isLine(bytes) ? 'more' : null;
  return line(bytes.toString('latin1', 0, end), end + 2);
}

/** A line has no control characters but the CR before its end. */
const isLine = (bytes: Buffer): boolean => bytes.every((byte, at) => byte >= 0x20 || (byte === 0x0d && at === bytes.length - 1));

/** `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, or `PROXY UNKNOWN` and anything. */
function line(text: string, length: number): Preamble | null {
  if (/^PROXY UNKNOWN(?: |$)/.test(text)) return { length, client: null };
  const [, family, from = '', to = '', fromPort, toPort] = /^PROXY TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5})$/.exec(text) ?? [];
  if (family === undefined || [from, to].some((address) => isIP(address) !== Number(family))) return null;
  if (Number(fromPort) > 65_535 || Number(toPort) > 65_535) return null;
  return { length, client: { address: parseAddress(from) as string, port: Number(fromPort) } };
}

/** Bytes of an address by the family of version 2: IPv4, IPv6, and the path of a Unix socket. */
const sizes: Readonly<Record<number, number>> = { 1: 4, 2: 16, 3: 108 };

function binary(bytes: Buffer): Preamble | 'more' | null {
  const [version, family, transport] = [(bytes[12] as number), (bytes[13] as number) >> 4, (bytes[13] as number) & 15];
  const length = fixed + bytes.readUInt16BE(14);
  if (version !== 0x20 && version !== 0x21) return null;
  if (bytes.length < length) return 'more';
  // LOCAL: the balancer itself asks, as its health checks do; what follows is skipped (§2.2).
  if (version === 0x20) return { length, client: null };
  if (family > 3 || transport > 2) return null;
  const size = sizes[family] ?? 0;
  const ports = family === 1 || family === 2 ? 4 : 0;
  if (length < fixed + 2 * size + ports || !areTlvs(bytes.subarray(fixed + 2 * size + ports, length))) return null;
  if (ports === 0 || transport !== 1) return transport === 2 ? null : { length, client: null };
  const address = bytes.subarray(fixed, fixed + size);
  const text = family === 1 ? address.join('.') : Array.from({ length: 8 }, (_, at) => address.readUInt16BE(2 * at).toString(16)).join(':');
  return { length, client: { address: parseAddress(text) as string, port: bytes.readUInt16BE(fixed + 2 * size) } };
}

/** Whether the rest is a list of type, length and value (§2.2.1). Without a family it may be anything. */
function areTlvs(rest: Buffer): boolean {
  let at = 0;
  while (at + 3 <= rest.length) at += 3 + rest.readUInt16BE(at + 1);
  return at === rest.length;
}
