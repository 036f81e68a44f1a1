import type { Config } from '../../types/config.d.ts';
import type { GatewayKeys } from './store.ts';

/** A shorter text holds none of the gate's own credentials: tokens and keys have at least 32 characters. */
const minLength = 32;
/** Tokens of fewer characters are parts of ordinary words: they count where they stand alone. */
const shortest = 8;
/** What separates credentials in a header, a cookie or a query. */
const separators = /[\s,;=&?"'()<>]+/;
/** What keys and JWTs consist of; a key may also stand right behind a word, as in `bot<token>`. */
const words = [/[\w-]{32,}/g, /[\w.-]{32,}/g, /sk-[\w-]{29,}/g];
/** Times a value may be percent-encoded that is looked into. */
const mostEncodings = 3;

/**
 * Finds the gate's own credentials in what a caller sent: tokens of its endpoints, gateway keys and JWTs of its issuer.
 * SECURITY: none of them is ever forwarded, whatever the path, the carrier and the mode.
 */
export class OwnCredentials {
  /** Values of fewer characters hold none of them. */
  readonly minLength: number;
  readonly #tokens: readonly string[];
  readonly #issuer: string | null;
  readonly #keys: GatewayKeys;

  constructor({ admin, newapi, metrics, audit, auth }: Config, keys: GatewayKeys) {
    this.#tokens = [admin.token, admin.readToken, newapi.accessToken, metrics.token, ...audit.ingest.tokens].filter((token): token is string => token !== null && token !== '');
    this.minLength = Math.min(minLength, ...this.#tokens.map(({ length }) => length));
    this.#issuer = auth.mode === 'jwt' ? (auth.jwt?.issuer ?? null) : null;
    this.#keys = keys;
  }

  /** Whether a header's or a parameter's value contains one. */
  isIn(value: string): boolean {
    if (this.#holds(value)) return true;
    let text = value;
    for (let times = 0; times < mostEncodings && text.includes('%'); times++) {
      text = decoded(text);
      if (this.#holds(text)) return true;
    }
    return /^basic\s/i.test(value) && this.#holds(Buffer.from(value.slice(6), 'base64').toString().replaceAll(':', ' '));
  }

  /** Whether a path contains one, in one of its segments. */
  isInPath(path: string): boolean {
    return path.length >= this.minLength && this.isIn(path.replace(/[/:@|\\]/g, ' '));
  }

  #holds(text: string): boolean {
    if (this.#tokens.some((token) => (token.length < shortest ? text.split(separators).includes(token) : text.includes(token)))) return true;
    if (text.length < minLength || (this.#keys.size === 0 && this.#issuer === null)) return false;
    for (const piece of text.split(separators)) if (piece.length >= minLength && (this.#keys.nameOf(piece) !== null || this.#isBetween(piece))) return true;
    return false;
  }

  /** Whether one stands between other characters: behind a label and a colon, a prefix of a subprotocol, or in a path. */
  #isBetween(piece: string): boolean {
    // The claims stand between two dots, whatever stands before the header of the token.
    if (this.#issuer !== null && piece.split('.').slice(1, -1).some((part) => part.length >= shortest && issuerIn(part) === this.#issuer)) return true;
    return words.some((word) => piece.match(word)?.some((found) => found.length < piece.length && this.#keys.nameOf(found) !== null) ?? false);
  }
}

/** Credentials are ASCII, so escapes can be read one by one, beside others that make no sense. */
const decoded = (text: string): string => text.replaceAll('+', ' ').replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** The issuer that a JWT names, verified or not. @param claims its second part. */
function issuerIn(claims: string): unknown {
  try {
    return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { iss?: unknown } | null)?.iss;
  } catch {
    return null;
  }
}
