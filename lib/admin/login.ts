import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Context } from '../request/request.ts';

/** How long a login lasts, milliseconds. */
const lasts = 12 * 3_600_000;
/** Logins at a time; beyond, the least recently used ends. By size: a `max` takes its memory at the start. */
const kept = { maxSize: 1000, sizeCalculation: () => 1 };
/** The header in which a page sends its proof. */
const proofHeader = 'x-heimdall-proof';

/** What a login may do: `read` changes nothing. */
export type Access = 'full' | 'read';

/** A login by a token. */
export interface Login {
  readonly access: Access;
  /** Identity of the token. */
  readonly token: string;
  /** Unix milliseconds. */
  readonly expires: number;
}

interface Kept extends Login {
  readonly proof: Buffer;
}

/**
 * Logins of browsers. SECURITY: a browser sends a cookie to every port of a host, so that another program there can read it. The
 * cookie is therefore half of a login: the page keeps the other half, the proof, by origin, and sends it in a header.
 */
export class Logins {
  /** By digest of the cookie, so that a dump of the memory holds none. */
  readonly #logins = new LRUCache<string, Kept>(kept);

  /** Begins a login. @returns it with its two halves. */
  begin(access: Access, token: string, now: number): Login & { readonly cookie: string; readonly proof: string } {
    const cookie = randomBytes(32).toString('base64url');
    const proof = randomBytes(32).toString('base64url');
    const login = { access, token, expires: now + lasts };
    this.#logins.set(digestOf(cookie), { ...login, proof: hash('sha256', proof, 'buffer') });
    return { ...login, cookie, proof };
  }

  /** Finds the login of a request that carries both halves. @param name of the cookie. */
  find({ req: { headers } }: Context, name: string, now: number): (Login & { end(): void }) | null {
    const proof = headers[proofHeader];
    if (typeof proof !== 'string') return null;
    const sent = hash('sha256', proof, 'buffer');
    for (const cookie of cookiesOf(headers.cookie, name)) {
      const key = digestOf(cookie);
      const login = this.#logins.get(key);
      if (login === undefined || login.expires <= now || !timingSafeEqual(sent, login.proof)) continue;
      return { access: login.access, token: login.token, expires: login.expires, end: () => void this.#logins.delete(key) };
    }
    return null;
  }
}

/** Whether a request claims a login, whatever it is worth: a page whose login has ended is no guess at a token. */
export const claimsLogin = ({ req: { headers } }: Context): boolean => headers.authorization === undefined && headers[proofHeader] !== undefined;

/**
 * The cookie of a login. It names no path, so that it belongs to the directory of the API as the browser sees it, also behind a
 * proxy that strips a prefix.
 */
export function cookieHead(name: string, value: string, seconds: number, secure: boolean): readonly string[] {
  return ['Set-Cookie', `${name}=${value}; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`];
}

const digestOf = (cookie: string): string => hash('sha256', cookie, 'hex');

/** The values of a cookie; several where it was set for several directories. */
function cookiesOf(header: string | undefined, name: string): string[] {
  return (header ?? '').split(';', 100).map((part) => part.trim()).filter((part) => part.startsWith(`${name}=`)).slice(0, 4).map((part) => part.slice(name.length + 1));
}
