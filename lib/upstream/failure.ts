import type { Target } from './targets.ts';

/** An answer that was not passed on. */
export interface Reply {
  readonly status: number;
  readonly head: string[];
  /** Null when it did not arrive whole within the bounds of an attempt. */
  readonly body: Buffer | null;
}

/** Why an attempt ended without an answer for the client. */
export type Failure =
  /** Nothing was sent: refused, DNS, TLS, connect timeout. */
  | { readonly kind: 'unreachable'; readonly cause: unknown }
  /** A keep-alive socket was closed under the request: zero bytes came back. */
  | { readonly kind: 'stale' }
  /** The connection broke after the request was sent. */
  | { readonly kind: 'reset'; readonly cause: unknown }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'not_http'; readonly cause: unknown }
  /** A JSON answer cut short, or a stream without an event. */
  | { readonly kind: 'cut'; readonly cause: unknown; readonly head: string[] }
  /** The request cannot be written on the wire. */
  | { readonly kind: 'malformed'; readonly cause: unknown }
  | ErrorReply
  | ErrorEvent;

/** An answer with a status of 400 or more. */
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

/** The failure for an error that came before the request was sent. */
export function neverSent(error: Error): Failure {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_INVALID_ARG' ? { kind: 'malformed', cause: error } : { kind: 'unreachable', cause: error };
}

/** Is told the course of an attempt. */
export interface AttemptListener {
  /** The attempt ended; the client was sent nothing. */
  failed(failure: Failure, target: Target): void;
  /** The answer, which begins with these bytes, goes to the client from here on. */
  committed(target: Target, bytes: Buffer): void;
  /**
   * The answer broke off after that.
   * @param silent the connection is open, but no bytes arrived.
   */
  broken(target: Target, silent: boolean): void;
  /** The answer is complete. */
  completed(target: Target): void;
}
