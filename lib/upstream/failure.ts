import type { Target } from './targets.ts';

/** A complete answer that was not passed on. */
export interface Reply {
  readonly status: number;
  readonly head: string[];
  /** Null when it did not come whole within the bounds below. */
  readonly body: Buffer | null;
}

/** Why an attempt ended without an answer for the client. */
export type Failure =
  /** Nothing was sent: refused, DNS, TLS, connect timeout. */
  | { readonly kind: 'unreachable'; readonly cause: unknown }
  /** A kept-alive socket was closed under the request: zero bytes came back. */
  | { readonly kind: 'stale' }
  /** The connection broke after the request was sent. */
  | { readonly kind: 'reset'; readonly cause: unknown }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'not_http'; readonly cause: unknown }
  /** A JSON answer cut short, or a stream without an event. */
  | { readonly kind: 'cut'; readonly cause: unknown; readonly head: string[] }
  /** The request itself cannot be put on the wire. */
  | { readonly kind: 'malformed'; readonly cause: unknown }
  | ErrorReply
  | ErrorEvent;

/** An answer that says it failed. */
export interface ErrorReply {
  readonly kind: 'reply';
  readonly reply: Reply;
}

/** A stream whose first event is an error. */
export interface ErrorEvent {
  readonly kind: 'error_event';
  readonly error: unknown;
  readonly head: string[];
}

/** What kept a request from being sent. */
export function neverSent(error: Error): Failure {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_INVALID_ARG' ? { kind: 'malformed', cause: error } : { kind: 'unreachable', cause: error };
}

/** Who is told how an attempt goes. */
export interface Watcher {
  /** Nothing was sent to the client. */
  failed(failure: Failure, target: Target): void;
  /** From here on the answer, which begins with these bytes, is this target's. */
  committed(target: Target, bytes: Buffer): void;
  /**
   * Or it broke off after that.
   * @param silent its connection lives, but nothing came on it.
   */
  broken(target: Target, silent: boolean): void;
  /** It came to its end. */
  completed(target: Target): void;
}
