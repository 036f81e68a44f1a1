import type { Route } from './route.d.ts';
import type { Usage } from './usage.d.ts';

/** The identity of the caller's credential. Never holds the credential itself. */
export interface TokenIdentity {
  /** HMAC-SHA256 under the install secret, 16 hex digits. Stable across requests. */
  readonly id: string;
  /** Masked form for people: `sk-…` and the last four characters. */
  readonly mask: string;
  /** Identities under each of `previous_secrets`, so that earlier entries are still found. */
  readonly former: readonly string[];
}

/** A user of the host application. */
export interface UserInfo {
  readonly id: string;
  readonly name: string | null;
  readonly group: string | null;
}

/** Facts about a request for handlers behind the gate: `req.heimdall`. */
export interface RequestInfo {
  /** UUIDv7; also the `X-Request-Id` of the answer. */
  readonly id: string;
  /** Verified client address: no `::ffff:` prefix, no zone. */
  readonly ip: string;
  /** The forwarding chain as received, peer last. For records only, not for decisions. */
  readonly forwardedFor: string;
  /** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`. */
  readonly device: string;
  /** Family and major version of the client program from its headers, for example `openai-python/1`. Null when unknown. */
  readonly client: string | null;
  /** MD5 in hex of the body of a model request. Null without a body. */
  readonly contentFingerprint: string | null;
  /** JA4 fingerprint of the client's TLS handshake, from the gate or a trusted proxy. Null when unknown. */
  readonly ja4: string | null;
  readonly route: Route;
  readonly token: TokenIdentity | null;
  /** Name of the gateway key that authenticated the caller, `jwt:` and a subject, `user:` and an id of the host's, or null. */
  readonly key: string | null;
  /** The host's user that `identify` has named, or null. */
  readonly user: UserInfo | null;
  /** Whether the credential is verified: a gateway key, or a token that NewAPI accepted within `auth.verified_ttl`. */
  readonly verified: boolean;
  readonly model: string | null;
  /** Tokens that the answer used. Null until they are known. */
  readonly usage: Usage | null;
  /** Rules that would have refused the request in `mode: enforce`. */
  readonly wouldRefuse: readonly string[];
  /** Milliseconds since the request arrived. `firstByte` is null until the head of the answer is sent. */
  readonly timings: { readonly elapsed: number; readonly firstByte: number | null };
}

declare global {
  namespace Express {
    interface Request {
      /** Set by the gate's `fingerprint` part. */
      heimdall?: RequestInfo;
      /** The body as received, when the host's parser keeps it with `keepRawBody`. */
      rawBody?: Buffer;
    }
  }
}
