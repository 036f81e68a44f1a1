import { Pool } from 'undici';

/** How long an idle connection is kept, milliseconds. */
const keptFor = 4000;
/** Bytes of an answer that are read: whoever stands at the address may send anything. */
const longestAnswer = 65_536;

/** What came back. */
export interface WebhookAnswer {
  readonly status: number;
  readonly retryAfter: string | null;
  /** At most 64 KB of it. */
  readonly text: string;
}

/** POSTs JSON to one URL, over connections of its own that end with it. Redirects are not followed. */
export class WebhookClient {
  readonly #pool: Pool;
  readonly #path: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #patience: number;

  /**
   * @param url a user and password in it are sent as `Authorization: Basic` (RFC 7617).
   * @param patience milliseconds for connecting, and for the whole exchange.
   */
  constructor(url: string, patience: number) {
    const { origin, pathname, search, username, password } = new URL(url);
    const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    this.#path = pathname + search;
    this.#headers = { 'content-type': 'application/json', ...(user === ':' ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }) };
    this.#patience = patience;
    this.#pool = new Pool(origin, { connections: 1, allowH2: false, keepAliveTimeout: keptFor, connect: { timeout: patience } });
  }

  /**
   * @param headers beside the content type.
   * @throws when there is no answer in time, or the signal aborts.
   */
  async post(body: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<WebhookAnswer> {
    const both = AbortSignal.any([signal, AbortSignal.timeout(this.#patience)]);
    const answer = await this.#pool.request({ method: 'POST', path: this.#path, headers: { ...this.#headers, ...headers }, body, signal: both });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= longestAnswer) break;
    }
    const retryAfter = answer.headers['retry-after'];
    return { status: answer.statusCode, retryAfter: retryAfter === undefined ? null : String(retryAfter), text: Buffer.concat(chunks).toString() };
  }

  /** Cuts what is under way. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }
}
