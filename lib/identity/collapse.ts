import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from '../../types/logger.d.ts';
import { AddressSet } from './address.ts';

/** How long traffic is counted before it is judged anew, milliseconds. */
const window = 60_000;
/** Fewer requests a minute say nothing of where most come from, and hardly reach the limit of an address. */
const fewest = 50;
/** Peers warned about, each once. */
const mostWarned = 20;

const nearby = new AddressSet(['loopback', 'private']);
const cdn = new AddressSet(['cloudflare']);

/**
 * Notices a gate that sees everybody under the address of a proxy it does not trust: a private peer, or a CDN, that sends
 * forwarded headers. Such a peer is warned about once, with the line that mends it. While most of the traffic comes from
 * there, its address says nothing of who calls.
 */
export class Collapse {
  readonly #log: Logger;
  readonly #trust: readonly string[];
  readonly #header: string | null;
  readonly #warned = new Set<string>();
  /** Peers, and a CDN as a whole, behind which most of the traffic hides. */
  readonly #collapsed = new Set<string>();
  readonly #counts = new Map<string, number>();
  #total = 0;
  #ends = 0;

  /**
   * @param trust `trust_proxy`, for the line that mends it.
   * @param header `client_ip_header`.
   */
  constructor(log: Logger, trust: readonly string[], header: string | null) {
    this.#log = log;
    this.#trust = trust;
    this.#header = header;
  }

  /**
   * Counts a request.
   * @param now Unix milliseconds.
   * @returns whether its peer's address stands for many.
   */
  look(peer: string, trusted: boolean, headers: IncomingHttpHeaders, now: number): boolean {
    if (now >= this.#ends) this.#turn(now);
    this.#total++;
    if (trusted || !this.#forwards(headers)) return false;
    const source = nearby.has(peer) ? peer : cdn.has(peer) ? 'cloudflare' : null;
    if (source === null) return false;
    if (source === peer) this.#warn(peer);
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    if (this.#total >= fewest && count * 2 > this.#total && !this.#collapsed.has(source)) this.#report(source, count);
    return this.#collapsed.has(source);
  }

  #forwards(headers: IncomingHttpHeaders): boolean {
    return headers['x-forwarded-for'] !== undefined || headers['x-real-ip'] !== undefined || headers.forwarded !== undefined
      || headers['cf-connecting-ip'] !== undefined || (this.#header !== null && headers[this.#header] !== undefined);
  }

  /** A quiet minute proves nothing either way. */
  #turn(now: number): void {
    if (this.#total >= fewest) {
      for (const source of this.#collapsed) if ((this.#counts.get(source) ?? 0) * 2 <= this.#total) this.#collapsed.delete(source);
    }
    this.#counts.clear();
    this.#total = 0;
    this.#ends = now + window;
  }

  #warn(peer: string): void {
    if (this.#warned.has(peer) || this.#warned.size >= mostWarned) return;
    this.#warned.add(peer);
    this.#log.warn({ peer, effect: 'what it says of its clients is ignored, and all of them count as one address', fix: this.#fix(peer) }, 'address.untrusted_proxy');
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
