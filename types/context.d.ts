import type { Route } from './route.d.ts';
import type { Usage } from './usage.d.ts';

/** The caller's credential as the gate knows it: never the credential itself. */
export interface TokenIdentity {
  /** HMAC-SHA256 under the install secret, 16 hex digits; stable across requests, useless without the secret. */
  readonly id: string;
  /** For people: `sk-…` and the last four characters. */
  readonly mask: string;
  /** The same under each of `previous_secrets`, so that what was written down before is still found; empty where there are none. */
  readonly former: readonly string[];
}

/** What a handler behind the gate may read of a request: `req.heimdall`. */
export interface RequestInfo {
  /** UUIDv7; also the `X-Request-Id` of the answer. */
  readonly id: string;
  /** Verified client address: no `::ffff:` prefix, no zone. */
  readonly ip: string;
  /** The whole forwarded chain as it came, peer last; for records, not for decisions. */
  readonly forwardedFor: string;
  /** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`. */
  readonly device: string;
  /** Family and major version of the caller's program by its own word, `openai-python/1` or `chrome/131`; null when it has none. */
  readonly client: string | null;
  /** Hex MD5 of a model route's body; null without one. */
  readonly contentFingerprint: string | null;
  /** JA4 of the caller's TLS handshake, where the gate or a trusted proxy saw it; else null. */
  readonly ja4: string | null;
  readonly route: Route;
  readonly token: TokenIdentity | null;
  /** Name of the gateway key that let the caller in, or null. */
  readonly key: string | null;
  /** The caller proved its credential: a gateway key, or a token NewAPI accepted within `auth.verified_ttl`. */
  readonly verified: boolean;
  readonly model: string | null;
  /** Tokens the answer used, once they are known. */
  readonly usage: Usage | null;
  /** Rules that would have refused the request, in `mode: observe`. */
  readonly wouldRefuse: readonly string[];
  /** Milliseconds since the request arrived; null while it has not happened. */
  readonly timings: { readonly elapsed: number; readonly firstByte: number | null };
}

declare global {
  namespace Express {
    interface Request {
      /** Set by the gate's `fingerprint` part. */
      heimdall?: RequestInfo;
      /** The body as it came, when the host's parser keeps it with `keepRawBody`. */
      rawBody?: Buffer;
    }
  }
}
