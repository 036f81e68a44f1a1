import type { ErrorShape } from '../types/route.d.ts';

interface ErrorRow {
  readonly status: number;
  /** The `type` of OpenAI's error object. */
  readonly type: string;
  readonly message: string;
  /** What the reader can do about it; appended to the message. */
  readonly hint?: string;
  /** False: the official SDKs are told not to try again (`x-should-retry`). */
  readonly retryable: boolean;
}

const invalid = 'invalid_request_error';
const denied = 'authentication_error';
const broken = 'server_error';

/** Every error the gate itself answers with. */
export const errors = {
  invalid_target: { status: 400, type: invalid, message: 'The request target is not one this gateway serves.', hint: 'Send an origin-form target such as /v1/models.', retryable: false },
  invalid_path: { status: 400, type: invalid, message: 'The path holds bytes that are not allowed.', hint: 'Encode it as UTF-8 without NUL.', retryable: false },
  invalid_host: { status: 400, type: invalid, message: 'The request must carry exactly one Host header, equal to its target.', retryable: false },
  invalid_content_type: { status: 415, type: invalid, message: 'The body has the wrong content type.', retryable: false },
  missing_header: { status: 400, type: invalid, message: 'A header that this route asks for is missing.', retryable: false },
  invalid_json: { status: 400, type: invalid, message: 'The body is not a JSON object.', retryable: false },
  ambiguous_body: { status: 400, type: invalid, message: 'What the body asks for cannot be told for certain, and a rule for this key depends on it.', hint: 'Name each member once, in lower case, in a body that is not too large or packed in an unknown way to be looked into.', retryable: false },
  body_too_large: { status: 413, type: invalid, message: 'The body is larger than this gateway accepts.', retryable: false },
  headers_too_large: { status: 431, type: invalid, message: 'The headers are larger than this gateway accepts.', retryable: false },
  malformed_request: { status: 400, type: invalid, message: 'The request is not valid HTTP/1.1.', retryable: false },
  request_timeout: { status: 408, type: invalid, message: 'The request did not arrive in time.', retryable: true },
  missing_credential: { status: 401, type: denied, message: 'No API key was given.', hint: 'Send it as "Authorization: Bearer YOUR_KEY".', retryable: false },
  invalid_credential: { status: 401, type: denied, message: 'The API key is not valid.', retryable: false },
  auth_unavailable: { status: 503, type: broken, message: 'Nobody can tell at the moment whether the token is good.', retryable: true },
  address_not_allowed: { status: 403, type: 'permission_error', message: 'This API key may not be used from this address.', retryable: false },
  address_denied: { status: 403, type: 'permission_error', message: 'This address may not use this gateway.', retryable: false },
  banned: { status: 403, type: 'permission_error', message: 'Access has been blocked.', retryable: false },
  too_many_connections: { status: 429, type: 'rate_limit_error', message: 'This address holds too many connections open.', retryable: true },
  model_not_allowed: { status: 403, type: 'permission_error', message: 'This API key may not use this model.', retryable: false },
  no_upstream_credential: { status: 403, type: 'permission_error', message: 'This API key has no access to this route.', retryable: false },
  not_verified: { status: 401, type: denied, message: 'The API key could not be verified.', retryable: false },
  too_many_bytes: { status: 429, type: 'rate_limit_error', message: 'The bodies of this caller\'s requests in hand are too large together.', retryable: true },
  too_many_failures: { status: 429, type: 'rate_limit_error', message: 'Too many requests from this address.', retryable: false },
  rate_limit_requests: { status: 429, type: 'rate_limit_error', message: 'This API key has made too many requests.', retryable: true },
  rate_limit_tokens: { status: 429, type: 'rate_limit_error', message: 'This API key has used too many tokens.', retryable: true },
  rate_limit_concurrency: { status: 429, type: 'rate_limit_error', message: 'This API key has too many requests in hand.', retryable: true },
  budget_exceeded: { status: 429, type: 'insufficient_quota', message: 'The budget of this API key is spent.', retryable: false },
  limits_unavailable: { status: 503, type: broken, message: 'The limits of this API key cannot be checked at the moment.', retryable: true },
  upstream_unreachable: { status: 502, type: broken, message: 'The upstream cannot be reached.', retryable: true },
  upstream_invalid: { status: 502, type: broken, message: 'The upstream sent an answer that could not be used.', retryable: true },
  upstream_refused: { status: 502, type: broken, message: 'The upstream did not accept the gateway.', retryable: false },
  upstream_error: { status: 502, type: broken, message: 'The upstream failed.', retryable: true },
  upstream_timeout: { status: 504, type: broken, message: 'The upstream did not answer in time.', retryable: true },
  upstream_interrupted: { status: 502, type: broken, message: 'The upstream ended the answer before it was complete.', retryable: true },
  no_target: { status: 503, type: broken, message: 'No upstream can serve this request.', retryable: true },
  too_many_records: { status: 429, type: 'rate_limit_error', message: 'More records came than audit.ingest.max_rate allows.', retryable: true },
  overloaded: { status: 503, type: broken, message: 'The gateway has no resources left for new work.', retryable: true },
  route_unhealthy: { status: 503, type: broken, message: 'Nothing that can serve this route answers at the moment.', retryable: true },
  registry_unavailable: { status: 503, type: broken, message: 'The store of keys and bans cannot be written.', retryable: true },
  queue_full: { status: 503, type: broken, message: 'Too many requests are waiting for their turn.', retryable: true },
  queue_timeout: { status: 503, type: broken, message: 'The request did not get its turn in time.', retryable: true },
  too_many_websockets: { status: 503, type: broken, message: 'Too many WebSockets are open.', retryable: true },
  shutting_down: { status: 503, type: broken, message: 'The gateway is shutting down.', retryable: true },
  journal_unavailable: { status: 503, type: broken, message: 'The request cannot be recorded, and this gateway serves none unrecorded.', retryable: true },
  body_already_read: { status: 500, type: broken, message: 'The host application read the body before the gateway.', hint: 'Mount heimdall() before express.json(), or pass keepRawBody as its "verify" option.', retryable: false },
  unauthorized: { status: 401, type: denied, message: 'A valid token is needed here.', retryable: false },
  not_found: { status: 404, type: invalid, message: 'There is no such thing here.', retryable: false },
  invalid_value: { status: 400, type: invalid, message: 'A field has a value that cannot be used.', retryable: false },
  conflict: { status: 409, type: invalid, message: 'The request does not fit what is there.', retryable: false },
  cross_site: { status: 403, type: 'permission_error', message: 'Another site\'s page may not ask for this.', retryable: false },
  too_many_readers: { status: 503, type: broken, message: 'Too many others read this stream already.', retryable: true },
  method_not_allowed: { status: 405, type: invalid, message: 'This path does not know that method.', retryable: false },
  internal_error: { status: 500, type: broken, message: 'The gateway failed.', hint: 'The request id finds it in the log.', retryable: true },
} as const satisfies Record<string, ErrorRow>;

/** Names an error: stable, and the `code` that OpenAI's dialect shows. */
export type ErrorCode = keyof typeof errors;

interface Details {
  /** Overrides the row's status, for an upstream's own. */
  readonly status?: number;
  /** Names the field, what was expected and what came; replaces the row's message. Never holds a secret. */
  readonly message?: string;
  /** What of the request is wrong, for `param` of OpenAI's dialect. */
  readonly field?: string;
  /** Seconds, for `Retry-After`. */
  readonly retryAfter?: number;
  /** False where trying again cannot help this time. */
  readonly retryable?: false;
  readonly cause?: unknown;
}

/** The one error class. What is shown to a client comes from the table and from `details.message`, never from `cause`. */
export class HeimdallError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly retryable: boolean;
  readonly retryAfter: number | null;
  readonly field: string | null;

  constructor(code: ErrorCode, details: Details = {}) {
    const row: ErrorRow = errors[code];
    const message = details.message ?? row.message;
    super(row.hint ? `${message} ${row.hint}` : message, { cause: details.cause });
    this.name = 'HeimdallError';
    this.code = code;
    this.status = details.status ?? row.status;
    this.type = row.type;
    this.retryable = details.retryable ?? row.retryable;
    this.retryAfter = details.retryAfter ?? null;
    this.field = details.field ?? null;
  }
}

/** Anthropic's error types by status (their API reference, "Errors"). */
const claudeTypes: Readonly<Record<number, string>> = {
  400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error',
  408: 'timeout_error', 413: 'request_too_large', 429: 'rate_limit_error', 503: 'overloaded_error', 529: 'overloaded_error', 504: 'timeout_error',
};

/** google.rpc.Code names by HTTP status, as Gemini answers. */
const googleStatus: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED', 503: 'UNAVAILABLE', 504: 'DEADLINE_EXCEEDED',
};

const shapes: Readonly<Record<ErrorShape, (error: HeimdallError, id: string) => object>> = {
  openai: (error) => ({ error: { message: error.message, type: error.type, param: error.field, code: error.code } }),
  claude: (error, id) => ({ type: 'error', error: { type: claudeTypes[error.status] ?? (error.status < 500 ? 'invalid_request_error' : 'api_error'), message: error.message }, request_id: id }),
  gemini: (error) => ({ error: { code: error.status, message: error.message, status: googleStatus[error.status] ?? (error.status < 500 ? 'INVALID_ARGUMENT' : 'INTERNAL') } }),
  midjourney: (error) => ({ description: error.message, type: error.type, code: error.status }),
  task: (error) => ({ code: error.code, message: error.message, data: null }),
  newapi: (error) => ({ success: false, message: error.message }),
};

/**
 * The body of an error in the dialect of a route.
 * @param id the request id, for dialects that carry it.
 */
export function render(error: HeimdallError, shape: ErrorShape, id: string): string {
  return JSON.stringify(shapes[shape](error, id));
}

/** The same error as the last event of a stream; OpenAI's dialect has a bare `data:` line, Anthropic's names the event. */
export function renderEvent(error: HeimdallError, shape: ErrorShape, id: string): string {
  const name = shape === 'claude' ? 'event: error\n' : '';
  return `${name}data: ${render(error, shape, id)}\n\n`;
}

/** One thing wrong with the configuration: where (as the user wrote it: file key, variable or code key) and what. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** Everything wrong with a configuration at once; the message has one line per problem. Secrets are never quoted. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
    this.problems = problems;
  }
}

/** `expected X, got Y. Example: Z`. */
export function expectation(expected: string, got: string, example?: unknown): string {
  return `expected ${expected}, got ${got}.${example === undefined ? '' : ` Example: ${typeof example === 'string' ? example : JSON.stringify(example)}`}`;
}
