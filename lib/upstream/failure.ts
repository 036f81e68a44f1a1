import { codingsOf, decoded } from '../http/http.ts';
import type { Target } from './targets.ts';

/** An error is text of a few lines; a body that decodes to more bytes is not read. */
const largestError = 1_048_576;

/** An answer that was not passed on. */
export interface Reply {
  readonly status: number;
  readonly head: string[];
  /** Null when it did not arrive whole within the bounds of an attempt. */
  readonly body: Buffer | null;
}

/** The body of an answer without its content codings, in which it goes to the client; null when it cannot be read. */
export const plainBody = ({ head, body }: Reply): Buffer | null => (body === null ? null : decoded(body, codingsOf(head), largestError));

/** Why an attempt ended without an answer for the client. */
export type Failure =
  /** Nothing was sent, or not all of the request: refused, DNS, TLS, connect timeout, or broken while its body arrived. */
  | { readonly kind: 'unreachable'; readonly cause: unknown }
  /** A keep-alive socket was closed under the request: zero bytes came back. */
  | { readonly kind: 'stale' }
  /** The connection broke after the request was sent. @property head of the answer, if it had arrived. */
  | { readonly kind: 'reset'; readonly cause: unknown; readonly head: readonly string[] | null }
  | { readonly kind: 'timeout' }
  /** No HTTP, or a status that no client can read. */
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

/**
 * Shortages of this machine, by Node's names: open files, memory, ports, buffers, its name resolution and its network. None says
 * anything about the target.
 */
const ownFaults: ReadonlySet<string> = new Set([
  'EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'EAI_MEMORY', 'EAI_SYSTEM', 'EAI_FAIL', 'ENETDOWN', 'ENETUNREACH', 'EPERM', 'EACCES',
]);

/** Whether an error of a connection is a shortage of this machine. Of an attempt on several addresses all have to be. */
export function isOwnFault(error: unknown): boolean {
  const { code, errors, cause } = (error ?? {}) as { code?: unknown; errors?: unknown; cause?: unknown };
  if (Array.isArray(errors) && errors.length > 0) return errors.every(isOwnFault);
  return ownFaults.has(String(code)) || (cause instanceof Error && isOwnFault(cause));
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
