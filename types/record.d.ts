/**
 * How a request ended: `served`; `refused:<error code>` by the gate; `upstream_error`; `aborted` by the client (status
 * 499); `interrupted` by the end of the gate's process.
 */
export type RecordedOutcome = 'served' | `refused:${string}` | 'upstream_error' | 'aborted' | 'interrupted';

/**
 * The record of a request in the journal: a row of the table `heimdall_logs`, with these column names. The first group has
 * the columns of the original gateway, so that its readers work on the table. A record holds no secret: bodies are kept for
 * model routes only and masked, credentials and cookie values are keyed hashes, and of a query only the names are kept.
 */
export interface AuditRecord {
  /** Position in the journal, used by cursors. Increases by one with every record, in the order in which requests end. */
  readonly id: number;
  /** Id of NewAPI's user, from ingested records only. */
  readonly user_id: number | null;
  /** Masked token: `sk-…` and the last four characters. */
  readonly token_key: string | null;
  /** Path without query as received, masked, at most 512 characters. */
  readonly request_path: string;
  readonly request_method: string;
  /** Verified client address. */
  readonly real_ip: string;
  /** The forwarding chain as received, peer last, at most 255 characters. Empty without one. */
  readonly forwarded_for: string;
  /** At most 512 characters. Null without the header. */
  readonly user_agent: string | null;
  /** JSON object of the headers that `audit.capture.headers` allows. Null on routes that require no credential. */
  readonly request_headers: string | null;
  /**
   * What is kept of a model request body within `audit.capture.body`, masked: the newest turn first, then everything short; long
   * texts and earlier turns are named in brackets. Of other bodies the beginning, or a description in brackets.
   */
  readonly request_body: string | null;
  /** By `audit.fingerprint`: MD5 of the whole body of a model request, or a keyed hash of the text of its newest turn; 32 hex digits. */
  readonly content_fingerprint: string | null;
  /** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`. */
  readonly device_fingerprint: string;
  /** JSON object of cookie names to keyed hashes of their values, 16 hex digits. */
  readonly cookies: string | null;
  /** 499 when the client aborted, 0 without an answer. */
  readonly response_status: number;
  /** Milliseconds from arrival to the end of the answer. */
  readonly response_time: number;
  /** Arrival, Unix seconds. */
  readonly timestamp: number;

  /** Facts learnt after the record was written, by name; absent without any. */
  readonly learnt?: Readonly<Record<string, string | number | boolean | null>>;
  /** UUIDv7 of the arrival; also the answer's `X-Request-Id`. Unique. */
  readonly request_id: string;
  /** NewAPI's id of the request. */
  readonly upstream_request_id: string | null;
  /** Token identity: HMAC-SHA256 under the install secret, 16 hex digits. */
  readonly token_id: string | null;
  /** Name of the gateway key, or subject of the JWT, that authenticated the caller. */
  readonly key_id: string | null;
  /** Keyed hash of the session cookie, else of token, device and address together; 16 hex digits. */
  readonly session: string;
  /** Client program and major version from its headers, for example `openai-python/1`. */
  readonly client: string | null;
  /** Template of the route. */
  readonly route: string;
  /** Names of the query parameters, with values of the names in `logging.query_allow`. */
  readonly query: string | null;
  readonly model: string | null;
  readonly stream: boolean;
  /** Name of the target that answered. */
  readonly target: string | null;
  /** Number of attempts at targets. */
  readonly attempts: number;
  readonly outcome: RecordedOutcome;
  /** Rules that would have refused the request, in `mode: observe`. */
  readonly would_refuse: readonly string[];
  /** Time waited for a slot, in milliseconds. */
  readonly queue_wait: number;
  /** Time until the head of the answer was sent, in milliseconds. */
  readonly first_byte: number | null;
  /** Time that the gate itself added until then, in milliseconds. */
  readonly overhead: number | null;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  /** Tokens that limits reserved, settled by actual usage, and released (negative: taken in addition). Null without such a limit. */
  readonly tokens_reserved: number | null;
  readonly tokens_settled: number | null;
  readonly tokens_released: number | null;
  /** Cost in US dollars. Null without a known price. */
  readonly cost: number | null;
  /** Bytes of the request body that the gate read. */
  readonly bytes_in: number;
  /** Bytes of the response body. */
  readonly bytes_out: number;
  readonly ja4: string | null;
  /** Keyed hashes of what the client itself sent to identify its installation, its session and its user's home (of agents; of other programs their end user); null without. */
  readonly device_id: string | null;
  readonly session_id: string | null;
  readonly home_id: string | null;
  /** ISO 3166 country code from a trusted peer (`cf-ipcountry`). */
  readonly country: string | null;
  /** `gate`, or the source of an ingested record. */
  readonly source: string;
  /** The first `audit.capture.response` bytes of a model response body, masked. */
  readonly response_body: string | null;
}

/**
 * A record of another source (ingestion, requests running at a crash), before it is masked and hashed. A missing field is
 * unknown. Bodies and content fingerprints are kept for paths of model routes only.
 */
export interface NewRecord {
  /** UUIDv7. Default: created from `time`. */
  readonly request_id?: string;
  /** Time of arrival, Unix milliseconds. */
  readonly time: number;
  readonly request_method: string;
  /** With or without a query. */
  readonly request_path: string;
  readonly real_ip: string;
  readonly response_status: number;
  /** Milliseconds from arrival to the end of the answer. */
  readonly response_time: number;
  readonly source: string;
  readonly outcome?: RecordedOutcome;
  readonly user_id?: number | null;
  /** The raw token, masked and hashed before it is stored. */
  readonly token_key?: string | null;
  /** Identity and mask, when the raw token is not known. */
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
