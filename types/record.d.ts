/**
 * How a request ended: `served`; `refused:<error code>` by the gate; `upstream_error`; `aborted` by the client (499);
 * `interrupted` when the gate itself ended before the answer did.
 */
export type RecordedOutcome = 'served' | `refused:${string}` | 'upstream_error' | 'aborted' | 'interrupted';

/**
 * One request as the journal keeps it: a row of the table `heimdall_logs`, whose columns have these names. The first group
 * is the original's, so that its readers work on the table. Nothing in it is a secret: bodies are masked and only of model
 * routes, credentials and cookie values are keyed hashes, of a query only the names are kept.
 */
export interface AuditRecord {
  /** Position in the journal: grows by one with every record, in the order of their ends. What cursors count. */
  readonly id: number;
  /** NewAPI's user; only what an ingested record said. */
  readonly user_id: number | null;
  /** The caller's token for people: `sk-…` and its last four characters. */
  readonly token_key: string | null;
  /** Path without query, as it came, at most 512 characters; masked. */
  readonly request_path: string;
  readonly request_method: string;
  /** Verified client address. */
  readonly real_ip: string;
  /** The forwarded chain as it came, peer last; empty without one. At most 255 characters. */
  readonly forwarded_for: string;
  /** At most 512 characters; null without one. */
  readonly user_agent: string | null;
  /** JSON object of the headers that `audit.capture.headers` lets through; null on other than credentialed routes. */
  readonly request_headers: string | null;
  /** What `audit.capture.body` lets through of a model route's body, masked, or a description in brackets. */
  readonly request_body: string | null;
  /** Hex MD5 of a model route's whole body. */
  readonly content_fingerprint: string | null;
  /** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`. */
  readonly device_fingerprint: string;
  /** JSON object of cookie names to keyed hashes of their values, 16 hex digits. */
  readonly cookies: string | null;
  /** 499 when the client left first, 0 when nothing was answered. */
  readonly response_status: number;
  /** Milliseconds from arrival to the end of the answer. */
  readonly response_time: number;
  /** Arrival, Unix seconds. */
  readonly timestamp: number;

  /** UUIDv7 of the arrival; also the answer's `X-Request-Id`. Unique. */
  readonly request_id: string;
  /** NewAPI's own id of the request. */
  readonly upstream_request_id: string | null;
  /** HMAC-SHA256 of the token under the install secret, 16 hex digits: what tells tokens apart. */
  readonly token_id: string | null;
  /** Name of the gateway key, or the subject of the JWT, that let the caller in. */
  readonly key_id: string | null;
  /** Keyed hash, 16 hex digits, of the session cookie, else of token, device and address together. */
  readonly session: string;
  /** Program and major version that sent the request, by its own word, for example `openai-python/1`. */
  readonly client: string | null;
  /** Template of the route. */
  readonly route: string;
  /** Names of the query's parameters; values where `logging.query_allow` lists the name. */
  readonly query: string | null;
  readonly model: string | null;
  readonly stream: boolean;
  /** Who answered. */
  readonly target: string | null;
  /** Exchanges with targets. */
  readonly attempts: number;
  readonly outcome: RecordedOutcome;
  /** Rules that would have refused the request, in `mode: observe`. */
  readonly would_refuse: readonly string[];
  /** Milliseconds waited for a slot. */
  readonly queue_wait: number;
  /** Milliseconds until the head of the answer went out. */
  readonly first_byte: number | null;
  /** Milliseconds the gate itself added until then. */
  readonly overhead: number | null;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  /** Tokens that limits reserved, settled by what was used, and gave back (negative: took in addition); null without such a limit. */
  readonly tokens_reserved: number | null;
  readonly tokens_settled: number | null;
  readonly tokens_released: number | null;
  /** US dollars, where a price is known. */
  readonly cost: number | null;
  /** Bytes of the request's body, where the gate has read it. */
  readonly bytes_in: number;
  /** Bytes of the answer's body. */
  readonly bytes_out: number;
  readonly ja4: string | null;
  /** ISO 3166 code that a trusted peer named (`cf-ipcountry`). */
  readonly country: string | null;
  /** `gate`, or who handed the record in. */
  readonly source: string;
  /** What `audit.capture.response` lets through of a model route's answer, masked. */
  readonly response_body: string | null;
}

/**
 * A record from elsewhere (ingestion, requests in hand at a crash), before it is masked and hashed. What is left out is
 * unknown. Bodies and content fingerprints are kept for paths of model routes only.
 */
export interface NewRecord {
  /** UUIDv7; made from `time` when absent. */
  readonly request_id?: string;
  /** Arrival, Unix milliseconds. */
  readonly time: number;
  readonly request_method: string;
  /** With or without a query. */
  readonly request_path: string;
  readonly real_ip: string;
  readonly response_status: number;
  /** Milliseconds. */
  readonly response_time: number;
  readonly source: string;
  readonly outcome?: RecordedOutcome;
  readonly user_id?: number | null;
  /** The raw token: masked and hashed before it is kept. */
  readonly token_key?: string | null;
  /** Identity and mask, for who has no raw token. */
  readonly token_id?: string | null;
  readonly token_mask?: string | null;
  readonly key_id?: string | null;
  readonly forwarded_for?: string;
  readonly user_agent?: string | null;
  readonly headers?: Readonly<Record<string, string>> | null;
  readonly request_body?: string | null;
  readonly content_fingerprint?: string | null;
  readonly device_fingerprint?: string;
  readonly cookies?: Readonly<Record<string, string>> | null;
  readonly model?: string | null;
  readonly target?: string | null;
}
