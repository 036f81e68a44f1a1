/** How a connection is cut: `fin` closes it quietly, `rst` resets it. */
export type Cut = 'fin' | 'rst';

/** What goes wrong with one request. */
export type Fault =
  /** Nothing; `close` ends the connection after the answer, as `Connection: close` announces. */
  | { readonly kind: 'ok'; readonly close?: boolean }
  /** Stops listening and drops every connection until `script` or `restart` is called: connect() is refused. */
  | { readonly kind: 'refuse' }
  /**
   * Goes silent with the connection open: at `accept` nothing is read, at `headers` the request is read and not
   * answered, at `first_event` the head is out, in the `middle` half of the body, `after_done` all of it but its end.
   */
  | { readonly kind: 'hang'; readonly at: 'accept' | 'headers' | 'first_event' | 'middle' | 'after_done' }
  /**
   * Cuts the connection: at `accept` before anything is read, `before` with the request read and no byte answered,
   * at `headers` when the head and `after` (default 0) bytes behind it are out.
   */
  | { readonly kind: 'reset'; readonly at: 'accept' | 'before' | 'headers'; readonly after?: number; readonly by: Cut }
  /** Answers with this status; the default body is an error in OpenAI's shape. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: unknown;
    }
  /** 200 and an event stream whose event number `after` (default 0, the first) is an error; then a clean end. */
  | { readonly kind: 'error_event'; readonly shape: 'openai' | 'claude' | 'responses'; readonly after?: number }
  /** Right but late: `delay` milliseconds before the head, or before every event. */
  | { readonly kind: 'slow'; readonly delay: number; readonly at?: 'headers' | 'events' }
  /** `json`: `bytes` (default half) of the document in a complete message; `chunked`: the terminating chunk never comes, then FIN. */
  | { readonly kind: 'truncated'; readonly of: 'json'; readonly bytes?: number }
  | { readonly kind: 'truncated'; readonly of: 'chunked' }
  /** Announces `by` (default 10) bytes more than follow, or fewer when it is negative, then FIN. */
  | { readonly kind: 'short_length'; readonly by?: number }
  /** 103 first, then the right answer. */
  | { readonly kind: 'early_hints' }
  /** Several lines of the same name, `Set-Cookie` among them. */
  | { readonly kind: 'duplicate_headers' }
  /** Bytes of another protocol. */
  | { readonly kind: 'not_http' }
  /** 200, the head of an event stream, a clean end. */
  | { readonly kind: 'empty_stream' }
  /** 200 and `count` comments, then a clean end; without `count` one every `every` (default 10) ms until the client leaves. */
  | { readonly kind: 'comments_only'; readonly count?: number; readonly every?: number }
  | { readonly kind: 'redirect'; readonly location: string; readonly status?: number }
  /**
   * Cuts the right answer, or an error with this `status`, after its first `byte` bytes, the head counted; `chunked` although
   * the length is known, or compressed when it does not stream.
   */
  | { readonly kind: 'kill_at'; readonly byte: number; readonly by: Cut; readonly chunked?: boolean; readonly status?: number; readonly encoding?: 'gzip' | 'br' }
  /** The right answer, its body compressed, when it does not stream. */
  | { readonly kind: 'encoded'; readonly encoding: 'gzip' | 'br' }
  /** HTTP/1.0: the end of the connection is the end of the body. */
  | { readonly kind: 'http10' }
  /** A head of at least this many bytes. */
  | { readonly kind: 'big_head'; readonly bytes: number };

/** One request as a provider saw it. */
export interface Call {
  readonly method: string;
  /** As sent, query included. */
  readonly path: string;
  /** Lower-case names; repeated lines joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  /** Decoded from its framing; grows no more once `received`. */
  readonly body: Buffer;
  readonly received: boolean;
  /** Which connection it came on, counted from 1, and its place there, counted from 1. */
  readonly connection: number;
  readonly place: number;
  /** The client left before the answer was complete. */
  readonly aborted: boolean;
  /** The answer, or the fault, has been played to its end. */
  readonly finished: boolean;
  /** All that comes before a silence without end, or before comments without end, is written. */
  readonly stalled: boolean;
  readonly fault: Fault;
}
