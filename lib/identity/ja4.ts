import { hash } from 'node:crypto';

/** The parts of a ClientHello that JA4 uses, without GREASE values (RFC 8701). */
export interface ClientHello {
  /** The highest version in `supported_versions`, else the legacy version. */
  readonly version: number;
  readonly ciphers: readonly number[];
  readonly extensions: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** The first protocol of ALPN; empty without ALPN. */
  readonly protocol: Buffer;
}

const versions: Readonly<Record<number, string>> = { 0x0304: '13', 0x0303: '12', 0x0302: '11', 0x0301: '10', 0x0300: 's3', 0x0002: 's2' };

const serverName = 0x0000;
const signatureAlgorithms = 0x000d;
const applicationProtocols = 0x0010;
const supportedVersions = 0x002b;

/** JA4 of a TLS client over TCP as FoxIO's `technical_details/JA4.md` defines it: `t13d1516h2_8daaf6152771_e5627efa2ab1`. */
export function ja4Of(hello: ClientHello): string {
  const { version, ciphers, extensions, signatureAlgorithms: algorithms, protocol } = hello;
  const listed = extensions.filter((type) => type !== serverName && type !== applicationProtocols);
  const signatures = algorithms.length === 0 ? '' : `_${algorithms.map(hex).join(',')}`;
  const about = `t${versions[version] ?? '00'}${extensions.includes(serverName) ? 'd' : 'i'}${count(ciphers)}${count(extensions)}${ends(protocol)}`;
  return `${about}_${digest(sorted(ciphers))}_${digest(listed.length === 0 ? '' : sorted(listed) + signatures)}`;
}

const hex = (value: number): string => value.toString(16).padStart(4, '0');
const sorted = (values: readonly number[]): string => values.map(hex).sort().join(',');
const count = ({ length }: readonly number[]): string => String(Math.min(99, length)).padStart(2, '0');
const digest = (text: string): string => (text === '' ? '0'.repeat(12) : hash('sha256', text).slice(0, 12));

/** First and last character of the protocol, or of its hex digits where one of the two is not a letter or digit. */
function ends(protocol: Buffer): string {
  const text = protocol.toString('latin1');
  if (text === '') return '00';
  const plain = /^[0-9A-Za-z]$/.test(text.charAt(0)) && /^[0-9A-Za-z]$/.test(text.charAt(text.length - 1));
  const shown = plain ? text : protocol.toString('hex');
  return shown.charAt(0) + shown.charAt(shown.length - 1);
}

/** Longest accepted ClientHello in bytes. Real ones are shorter, post-quantum key shares included. */
const maxHello = 32_768;
const handshake = 22;
const clientHello = 1;

/**
 * Reads the ClientHello at the beginning of a connection (RFC 8446 §4.1.2, §5.1). It may be split over several records.
 * @returns `more` while it is incomplete; null when the bytes are not a ClientHello.
 */
export function helloIn(bytes: Buffer): ClientHello | 'more' | null {
  const parts: Buffer[] = [];
  let size = 0;
  for (let at = 0; ; ) {
    if (bytes.length < at + 5) return bytes.length > at && bytes[at] !== handshake ? null : 'more';
    const length = bytes.readUInt16BE(at + 3);
    if (bytes[at] !== handshake || length === 0) return null;
    parts.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
    size += length;
    const message = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    if (message.length >= 4) {
      const wanted = 4 + message.readUIntBE(1, 3);
      if (message[0] !== clientHello || wanted > maxHello) return null;
      if (message.length >= wanted) return readHello(message.subarray(4, wanted));
    }
    if (at > bytes.length) return 'more';
    if (size > maxHello) return null;
  }
}

function readHello(body: Buffer): ClientHello | null {
  try {
    const read = new Reader(body);
    let version = read.number(2);
    read.take(32);
    read.block(1);
    const ciphers = numbers(read.block(2));
    read.block(1);
    const extensions: number[] = [];
    let algorithms: readonly number[] = [];
    let protocol = Buffer.alloc(0);
    const rest = read.left === 0 ? null : new Reader(read.block(2));
    while (rest !== null && rest.left > 0) {
      const type = rest.number(2);
      const data = new Reader(rest.block(2));
      if (isGrease(type)) continue;
      extensions.push(type);
      if (type === supportedVersions) version = Math.max(0, ...numbers(data.block(1)));
      else if (type === signatureAlgorithms) algorithms = numbers(data.block(2));
      else if (type === applicationProtocols) protocol = Buffer.from(new Reader(data.block(2)).block(1));
    }
    return { version, ciphers, extensions, signatureAlgorithms: algorithms, protocol };
  } catch {
    return null;
  }
}

/** Both bytes are equal and end in `a` (RFC 8701 §2). */
const isGrease = (value: number): boolean => (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);

function numbers(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const value = bytes.readUInt16BE(at);
    if (!isGrease(value)) found.push(value);
  }
  return found;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next bytes. @throws RangeError when fewer are left. */
  take(length: number): Buffer {
    if (length > this.left) throw new RangeError('cut short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  number(length: number): number {
    return this.take(length).readUIntBE(0, length);
  }

  /** A block of bytes behind its length. @param length bytes of the length field. */
  block(length: number): Buffer {
    return this.take(this.number(length));
  }
}

/** JA4 by socket. */
const seen = new WeakMap<object, string>();

/** Stores the JA4 fingerprint of a socket's client. */
export function rememberHandshake(socket: object, ja4: string): void {
  seen.set(socket, ja4);
}

/** The JA4 fingerprint of a socket's client; null where its handshake was not seen. */
export const handshakeOf = (socket: object): string | null => seen.get(socket) ?? null;
