import { BlockList, isIP, SocketAddress } from 'node:net';
import type { IncomingHttpHeaders } from 'node:http';
import { ipKeyGenerator } from 'express-rate-limit';

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

/** Answers kept for peers already asked about; a gate has few. */
const peersRemembered = 1000;

/** A set of addresses, CIDRs and presets (`loopback`, `private`, `cloudflare`). */
export class AddressSet {
  readonly #list = new BlockList();
  readonly #seen = new Map<string, boolean>();

  constructor(entries: readonly string[]) {
    for (const entry of entries.flatMap((name) => presets[name] ?? [name])) {
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.#list.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family);
    }
  }

  /** @param address as {@link parseAddress} gives it. */
  has(address: string): boolean {
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

/** Providers hand out IPv6 by /56 or shorter; single addresses would be free to rotate. */
const ipv6Prefix = 56;

/** What counts as one sender: an IPv4 address, or an IPv6 network of 56 bits. */
export function networkOf(ip: string): string {
  return ip.includes(':') ? ipKeyGenerator(ip, ipv6Prefix) : ip;
}

/** Whom a request comes from. */
export interface ClientAddress {
  /** Who sent the request, as far as trusted hops vouch for it. */
  readonly ip: string;
  /** The socket's other end. */
  readonly peer: string;
  /** The peer's forwarded headers count. */
  readonly trusted: boolean;
}

/**
 * Finds the client behind trusted proxies: the configured header, else `X-Forwarded-For` read from the right up to the
 * first hop that is not trusted, else `X-Real-IP`. What stands left of that hop, anybody could have written.
 * An entry that is no address ends the walk: the last trusted hop is then the client.
 */
export function clientAddress(remote: string | undefined, headers: IncomingHttpHeaders, trust: AddressSet, header: string | null): ClientAddress {
  const peer = parseAddress(remote ?? '') ?? '0.0.0.0';
  if (!trust.has(peer)) return { ip: peer, peer, trusted: false };
  return { ip: vouched(peer, headers, trust, header), peer, trusted: true };
}

function vouched(peer: string, headers: IncomingHttpHeaders, trust: AddressSet, header: string | null): string {
  const named = header === null ? undefined : headers[header];
  if (named !== undefined) return parseAddress(String(named)) ?? peer;
  const chain = headers['x-forwarded-for'];
  if (chain !== undefined) return walk(peer, String(chain).split(','), trust);
  return parseAddress(String(headers['x-real-ip'] ?? '')) ?? peer;
}

function walk(peer: string, hops: readonly string[], trust: AddressSet): string {
  let client = peer;
  for (let at = hops.length - 1; at >= 0; at--) {
    const hop = parseAddress(hops[at] ?? '');
    if (hop === null) return client;
    client = hop;
    if (!trust.has(hop)) return client;
  }
  return client;
}
