import { Pool, ProxyAgent, type Dispatcher } from 'undici';
import type { OutboundProxy } from '../platform/platform.ts';

/** How long an idle connection is kept, milliseconds. */
const keepAliveTimeout = 4000;
/** Most bytes of an answer that are read. */
const maxAnswer = 65_536;

/** The answer to a POST. */
export interface WebhookAnswer {
  readonly status: number;
  readonly retryAfter: string | null;
  /** The first 64 KB of the body. */
  readonly text: string;
}

/** POSTs JSON to one URL over connections of its own. Redirects are not followed. */
export class WebhookClient {
  readonly #dispatcher: Dispatcher;
  readonly #origin: string;
  readonly #path: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeout: number;

  /**
   * @param url a user and password in it are sent as `Authorization: Basic` (RFC 7617).
   * @param timeout milliseconds for connecting, and for the whole exchange.
   * @param proxies for connections to the outside; null without any.
   * @param ca certificate authorities in place of the public ones, PEM.
   */
  constructor(url: string, timeout: number, proxies: OutboundProxy | null = null, ca: string | null = null) {
    const { origin, pathname, search, username, password } = new URL(url);
    const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    this.#path = pathname + search;
    this.#headers = { 'content-type': 'application/json', ...(user === ':' ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }) };
    this.#timeout = timeout;
    this.#origin = origin;
    const hop = proxies?.hopTo(new URL(url)) ?? null;
    const options = { connections: 1, allowH2: false, keepAliveTimeout, connect: { timeout, ...(ca !== null && { ca }) } };
    this.#dispatcher = hop === null ? new Pool(origin, options) : new ProxyAgent({ ...options, ...(ca !== null && { requestTls: { ca } }), uri: hop.url.origin, ...(hop.authorization !== null && { token: hop.authorization }) });
  }

  /**
   * @param headers in addition to the content type.
   * @param query appended to that of the URL.
   * @throws when no answer comes in time, or the signal aborts.
   */
  async post(body: string | Uint8Array, headers: Readonly<Record<string, string>>, signal: AbortSignal, query: Readonly<Record<string, string>> = {}): Promise<WebhookAnswer> {
    const more = new URLSearchParams(query).toString();
    const path = more === '' ? this.#path : `${this.#path}${this.#path.includes('?') ? '&' : '?'}${more}`;
    const both = AbortSignal.any([signal, AbortSignal.timeout(this.#timeout)]);
    const answer = await this.#dispatcher.request({ origin: this.#origin, method: 'POST', path, headers: { ...this.#headers, ...headers }, body, signal: both });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= maxAnswer) break;
    }
    const retryAfter = answer.headers['retry-after'];
    return { status: answer.statusCode, retryAfter: retryAfter === undefined ? null : String(retryAfter), text: Buffer.concat(chunks).toString() };
  }

  /** Aborts running exchanges. */
  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }
}
