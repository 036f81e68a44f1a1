import type { Pool } from 'undici';
import type { OutboundProxy } from '../platform/platform.ts';
import { HeimdallError } from '../errors.ts';
import type { Context, Core } from '../request/request.ts';
import { peerOf } from './peer.ts';
import { poolOf } from './targets.ts';

/** Longest time of a call, milliseconds, and largest answer, bytes. */
const timeout = 5000;
const largest = 8_388_608;

/** An answer of NewAPI's own API. */
export interface NewapiAnswer {
  readonly status: number;
  /** The JSON of the body; null for anything else. */
  readonly body: unknown;
  /** Its header `Date`, if any. */
  readonly date: string | null;
}

/** Asks the NewAPI behind the gate about callers and administrators, off the way of requests. */
export class NewapiClient {
  readonly #core: Core;
  readonly #proxies: OutboundProxy | null;
  #pool: Pool | null = null;

  constructor(core: Core, proxies: OutboundProxy | null) {
    this.#core = core;
    this.#proxies = proxies;
  }

  /** @param path below the base URL. @param headers a flat list. @throws when NewAPI cannot be reached in time. */
  async get(path: string, headers: readonly string[]): Promise<NewapiAnswer> {
    const { newapi, llm } = this.#core.config;
    const url = new URL(newapi.baseUrl);
    this.#pool ??= poolOf(peerOf(url, newapi, this.#proxies), llm.timeouts.connect);
    const target = `${url.pathname.replace(/\/$/, '')}${path}`;
    const { statusCode, headers: answered, body } = await this.#pool.request({ path: target, method: 'GET', headers: ['host', url.host, 'accept-encoding', 'identity', ...headers], signal: AbortSignal.timeout(timeout) });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += (chunk as Buffer).length;
      if (size > largest) throw new Error(`NewAPI answered more than ${largest} bytes`);
      chunks.push(chunk as Buffer);
    }
    return { status: statusCode, body: jsonOf(Buffer.concat(chunks)), date: typeof answered['date'] === 'string' ? answered['date'] : null };
  }

  /** Whether NewAPI knows the bearer token of a request. Its allowed addresses are those of the caller. @throws HeimdallError when NewAPI does not say. */
  async knows({ headers: { authorization = '' }, ip }: Context): Promise<boolean> {
    const { status } = await this.get('/v1/models', ['authorization', authorization, 'x-forwarded-for', ip, 'x-real-ip', ip]).catch((cause: unknown) => {
      throw new HeimdallError('auth_unavailable', { cause });
    });
    if (status >= 200 && status < 300) return true;
    if (status === 401 || status === 403) return false;
    throw new HeimdallError('auth_unavailable');
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null;
  }
}
