import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP, SocketAddress, type Socket } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';
import type { Logger } from '../../types/logger.d.ts';

/**
 * Cloudflare's published ranges (cloudflare.com/ips). Behind it, set `client_ip_header: cf-connecting-ip` too.
 */
const cloudflare = [
  '173.245.48.0/20', '103.21.244.0/22', '103.22.200.0/22', '103.31.4.0/22', '141.101.64.0/18', '108.162.192.0/18',
  '190.93.240.0/20', '188.114.96.0/20', '197.234.240.0/22', '198.41.128.0/17', '162.158.0.0/15', '104.16.0.0/13',
  '104.24.0.0/14', '172.64.0.0/13', '131.0.72.0/22', '2400:cb00::/32', '2606:4700::/32', '2803:f800::/32',
  '2405:b500::/32', '2405:8100::/32', '2a06:98c0::/29', '2c0f:f248::/32',
];

const presets: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10'],
  cloudflare,
};

/** Most answers kept for addresses that were looked up before. A gate has few peers. */
const peersRemembered = 1000;

/** The peer of a connection over a Unix socket, which has no address; also its name in `trust_proxy`. */
export const unixPeer = 'unix';

/** Connections over a Unix socket that have been seen: a server that closes no longer tells. */
const overUnix = new WeakSet<Socket>();

/** The address of the other end as the socket reports it, `unix`, or undefined where the connection is closed. */
export function remoteOf(socket: Socket): string | undefined {
  const { remoteAddress } = socket;
  if (remoteAddress !== undefined || overUnix.has(socket)) return remoteAddress ?? unixPeer;
  // A closed TCP connection has no address either.
  const { server } = socket as { server?: { address?(): unknown } };
  if (typeof server?.address?.() !== 'string') return undefined;
  overUnix.add(socket);
  return unixPeer;
}

/** The other end of a connection in one spelling; `0.0.0.0` where it is not known. @param remote as {@link remoteOf} gives it. */
export const peerIn = (remote: string | undefined): string => (remote === unixPeer ? unixPeer : (parseAddress(remote ?? '') ?? unknown));

const unknown = '0.0.0.0';

/** A set of addresses, CIDRs and presets (`loopback`, `private`, `cloudflare`), and of the peers of Unix sockets (`unix`). */
export class AddressSet {
  readonly #list = new BlockList();
  readonly #seen = new Map<string, boolean>();
  readonly #unix: boolean;

  constructor(entries: readonly string[]) {
    this.#unix = entries.includes(unixPeer);
    for (const entry of entries.flatMap((name) => presets[name] ?? [name])) {
      if (entry === unixPeer) continue;
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.#list.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family);
    }
  }

  /** @param address as {@link parseAddress} or {@link peerIn} gives it. */
  has(address: string): boolean {
    if (address === unixPeer) return this.#unix;
    const known = this.#seen.get(address);
    if (known !== undefined) return known;
    const family = isIP(address);
    const found = family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
    if (this.#seen.size >= peersRemembered) this.#seen.clear();
    this.#seen.set(address, found);
    return found;
  }
}

/** Brackets with an optional port behind them, or an IPv4 address with one. */
const withPort = /^(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)$/;

/**
 * One spelling for one address: no port, brackets, zone or `::ffff:` prefix; null when it is no address.
 * Proxies write `1.2.3.4:5678` and `[2001:db8::1]:443` too.
 */
export function parseAddress(text: string): string | null {
  let address = text.trim();
  if (address.startsWith('::ffff:') && address.includes('.')) address = address.slice(7);
  if (isIP(address) === 4) return address;
  const parts = withPort.exec(address);
  if (parts !== null) address = parts[1] ?? (parts[2] as string);
  const zone = address.indexOf('%');
  if (zone !== -1) address = address.slice(0, zone);
  const family = isIP(address);
  if (family !== 6) return family === 4 ? address : null;
  address = new SocketAddress({ address, family: 'ipv6' }).address;
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

/** Providers assign IPv6 networks of /56 or larger, so a client can change its address within /56 at will. */
const ipv6Prefix = 56;

/** The network that counts as one sender: an IPv4 address, or an IPv6 network of 56 bits. */
export function networkOf(ip: string): string {
  return ip.includes(':') ? ipKeyGenerator(ip, ipv6Prefix) : ip;
}

/** Where a request comes from. */
export interface ClientAddress {
  /** The client's address, as far as trusted hops report it. */
  readonly ip: string;
  /** The address of the other end of the socket, or `unix`. */
  readonly peer: string;
  /** The peer's forwarded headers count. */
  readonly trusted: boolean;
}

/**
 * Finds the client behind trusted proxies: the configured header, else `X-Forwarded-For` read from the right up to the
 * first hop that is not trusted, else `X-Real-IP`. Entries left of that hop may be forged by the client.
 * An entry that is not an address ends the search: the last trusted hop is then the client.
 * @param remote as {@link remoteOf} gives it.
 * @param trust `trust_proxy`.
 * @param header `client_ip_header`, in lower case.
 */
export function clientAddress(remote: string | undefined, headers: IncomingHttpHeaders, trust: AddressSet, header: string | null): ClientAddress {
  const peer = peerIn(remote);
  const own = peer === unixPeer ? unknown : peer;
  if (!trust.has(peer)) return { ip: own, peer, trusted: false };
  const named = header === null ? undefined : headers[header];
  const chain = headers['x-forwarded-for'];
  let ip: string | null = own;
  if (named !== undefined) ip = parseAddress(String(named));
  else if (chain !== undefined) ip = firstUntrusted(own, String(chain).split(','), trust);
  else if (headers['x-real-ip'] !== undefined) ip = parseAddress(String(headers['x-real-ip']));
  return { ip: ip ?? own, peer, trusted: true };
}

function firstUntrusted(peer: string, hops: readonly string[], trust: AddressSet): string {
  let client = peer;
  for (let at = hops.length - 1; at >= 0; at--) {
    const hop = parseAddress(hops[at] ?? '');
    if (hop === null) return client;
    client = hop;
    if (!trust.has(hop)) return client;
  }
  return client;
}

/** Length of the counting period, milliseconds. */
const period = 60_000;
/** Fewer requests per period do not show where most traffic comes from, and rarely reach the limit of an address. */
const minRequests = 50;
/** Most peers that are warned about, each once. */
const maxWarned = 20;

const nearby = new AddressSet(['loopback', 'private']);
const cdn = new AddressSet(['cloudflare']);

/**
 * Detects a proxy in front of the gate that `trust_proxy` does not name: a private peer, or a CDN, that sends forwarded
 * headers. All clients behind it share its address. Such a peer is warned about once, with the setting that fixes it. While
 * more than half of the traffic comes through one, its address does not identify a caller.
 */
export class UntrustedProxyDetector {
  readonly #log: Logger;
  readonly #trust: readonly string[];
  readonly #header: string | null;
  readonly #warned = new Set<string>();
  /** Peers, or `cloudflare` for the CDN as a whole, through which most of the traffic comes. */
  readonly #collapsed = new Set<string>();
  readonly #counts = new Map<string, number>();
  #total = 0;
  #ends = 0;

  /**
   * @param trust `trust_proxy`, for the text of the fix.
   * @param header `client_ip_header`.
   */
  constructor(log: Logger, trust: readonly string[], header: string | null) {
    this.#log = log;
    this.#trust = trust;
    this.#header = header;
  }

  /**
   * Counts a request.
   * @param now monotonic milliseconds.
   * @returns whether its peer's address stands for many clients.
   */
  count(peer: string, trusted: boolean, headers: IncomingHttpHeaders, now: number): boolean {
    if (now >= this.#ends) this.#beginPeriod(now);
    this.#total++;
    if (trusted || !this.#forwards(headers)) return false;
    const source = nearby.has(peer) || peer === unixPeer ? peer : cdn.has(peer) ? 'cloudflare' : null;
    if (source === null) return false;
    if (source === peer) this.#warn(peer);
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    if (this.#total >= minRequests && count * 2 > this.#total && !this.#collapsed.has(source)) this.#report(source, count);
    return this.#collapsed.has(source);
  }

  #forwards(headers: IncomingHttpHeaders): boolean {
    return headers['x-forwarded-for'] !== undefined || headers['x-real-ip'] !== undefined || headers.forwarded !== undefined
      || headers['cf-connecting-ip'] !== undefined || (this.#header !== null && headers[this.#header] !== undefined);
  }

  /** A period with little traffic changes no finding. */
  #beginPeriod(now: number): void {
    if (this.#total >= minRequests) {
      for (const source of this.#collapsed) if ((this.#counts.get(source) ?? 0) * 2 <= this.#total) this.#collapsed.delete(source);
    }
    this.#counts.clear();
    this.#total = 0;
    this.#ends = now + period;
  }

  #warn(peer: string): void {
    if (this.#warned.has(peer) || this.#warned.size >= maxWarned) return;
    this.#warned.add(peer);
    this.#log.warn({ peer, effect: 'its forwarded headers are ignored, and all its clients count as one address', fix: this.#fix(peer) }, 'address.untrusted_proxy');
  }

  #report(source: string, count: number): void {
    this.#collapsed.add(source);
    const share = Math.round((100 * count) / this.#total);
    const header = source === 'cloudflare' && this.#header === null ? ' and client_ip_header: cf-connecting-ip' : '';
    this.#log.warn({ source, share: `${share}%`, effect: 'the address limit stops enforcing for it', fix: `${this.#fix(source)}${header}` }, 'address.collapse');
  }

  #fix(source: string): string {
    return `trust_proxy: [${[...this.#trust, source].join(', ')}]`;
  }
}
