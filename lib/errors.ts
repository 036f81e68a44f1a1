import { printableJson } from './redaction/redaction.ts';
import type { ErrorShape } from '../types/route.d.ts';

interface ErrorRow {
  readonly status: number;
  /** The `type` of OpenAI's error object. */
  readonly type: string;
  readonly message: string;
  /** How to fix the request. Appended to the message. */
  readonly hint?: string;
  /** False: the answer carries `x-should-retry: false`, so that the official SDKs do not retry. */
  readonly retryable: boolean;
}

const invalidRequest = 'invalid_request_error';
const unauthenticated = 'authentication_error';
const serverError = 'server_error';

/** Every error that the gate itself answers with. */
export const errors = {
  invalid_target: { status: 400, type: invalidRequest, message: 'The gateway does not serve this request target.', hint: 'Send an origin-form target such as /v1/models.', retryable: false },
  invalid_path: { status: 400, type: invalidRequest, message: 'Receivers could read the path in different ways.', hint: 'Encode it once, as UTF-8, without backslashes, control characters, fragments and parameters of segments.', retryable: false },
  invalid_host: { status: 400, type: invalidRequest, message: 'The request must carry exactly one valid Host header, equal to its target.', retryable: false },
  invalid_content_type: { status: 415, type: invalidRequest, message: 'The body has the wrong content type.', retryable: false },
  missing_header: { status: 400, type: invalidRequest, message: 'A header that this route requires is missing.', retryable: false },
  invalid_json: { status: 400, type: invalidRequest, message: 'The body is not a JSON object.', retryable: false },
  ambiguous_body: { status: 400, type: invalidRequest, message: 'The body can be read in more than one way, and a rule of this API key depends on it.', hint: 'Send each member once, in lower case, in a body without an unknown encoding and within the size limit.', retryable: false },
  body_too_large: { status: 413, type: invalidRequest, message: 'The body is too large.', retryable: false },
  headers_too_large: { status: 431, type: invalidRequest, message: 'The headers are too large.', retryable: false },
  unsupported_transfer_coding: { status: 501, type: serverError, message: 'The gateway supports no transfer coding but one chunked.', retryable: false },
  too_early: { status: 425, type: invalidRequest, message: 'The request came as early data, which could be replayed.', hint: 'Send it again when the handshake is complete.', retryable: true },
  expectation_failed: { status: 417, type: invalidRequest, message: 'The gateway supports no expectation but 100-continue.', retryable: false },
  malformed_request: { status: 400, type: invalidRequest, message: 'The request is not valid HTTP/1.1.', retryable: false },
  request_timeout: { status: 408, type: invalidRequest, message: 'The request did not arrive in time.', retryable: true },
  missing_credential: { status: 401, type: unauthenticated, message: 'No API key was given.', hint: 'Send it as "Authorization: Bearer YOUR_KEY".', retryable: false },
  invalid_credential: { status: 401, type: unauthenticated, message: 'The API key is not valid.', retryable: false },
  auth_unavailable: { status: 503, type: serverError, message: 'The caller cannot be identified at the moment.', retryable: true },
  address_not_allowed: { status: 403, type: 'permission_error', message: 'This API key is not allowed from this address.', retryable: false },
  address_denied: { status: 403, type: 'permission_error', message: 'This address is not allowed to use this gateway.', retryable: false },
  banned: { status: 403, type: 'permission_error', message: 'Access has been blocked.', retryable: false },
  frozen: { status: 403, type: 'permission_error', message: 'This caller is frozen.', hint: 'Ask the operator of this gateway, with the request id.', retryable: false },
  restrained: { status: 429, type: 'rate_limit_error', message: 'This caller may send one request a minute at the moment.', retryable: true },
  too_many_connections: { status: 429, type: 'rate_limit_error', message: 'This address has too many open connections.', retryable: true },
  model_not_allowed: { status: 403, type: 'permission_error', message: 'This API key is not allowed to use this model.', retryable: false },
  no_upstream_credential: { status: 403, type: 'permission_error', message: 'This API key has no access to this route.', retryable: false },
  not_verified: { status: 401, type: unauthenticated, message: 'The API key could not be verified.', retryable: false },
  too_many_bytes: { status: 429, type: 'rate_limit_error', message: 'The request bodies of this caller in progress are too large in total.', retryable: true },
  too_many_failures: { status: 429, type: 'rate_limit_error', message: 'Too many requests from this address.', retryable: false },
  rate_limit_requests: { status: 429, type: 'rate_limit_error', message: 'This API key has made too many requests.', retryable: true },
  rate_limit_tokens: { status: 429, type: 'rate_limit_error', message: 'This API key has used too many tokens.', retryable: true },
  rate_limit_concurrency: { status: 429, type: 'rate_limit_error', message: 'This API key has too many concurrent requests.', retryable: true },
  budget_exceeded: { status: 429, type: 'insufficient_quota', message: 'The budget of this API key is used up.', retryable: false },
  limits_unavailable: { status: 503, type: serverError, message: 'The limits of this API key cannot be checked at the moment.', retryable: true },
  upstream_unreachable: { status: 502, type: serverError, message: 'The upstream cannot be reached.', retryable: true },
  upstream_invalid: { status: 502, type: serverError, message: 'The upstream sent an invalid answer.', retryable: true },
  upstream_refused: { status: 502, type: serverError, message: 'The upstream did not accept the gateway.', retryable: false },
  upstream_error: { status: 502, type: serverError, message: 'The upstream failed.', retryable: true },
  upstream_timeout: { status: 504, type: serverError, message: 'The upstream did not answer in time.', retryable: true },
  upstream_interrupted: { status: 502, type: serverError, message: 'The upstream ended the answer before it was complete.', retryable: true },
  no_target: { status: 503, type: serverError, message: 'No upstream can serve this request.', retryable: true },
  too_many_records: { status: 429, type: 'rate_limit_error', message: 'The rate of records exceeds audit.ingest.max_rate.', retryable: true },
  overloaded: { status: 503, type: serverError, message: 'The gateway is overloaded.', retryable: true },
  route_unhealthy: { status: 503, type: serverError, message: 'No upstream of this route is healthy at the moment.', retryable: true },
  registry_unavailable: { status: 503, type: serverError, message: 'The store of keys and bans cannot be written.', retryable: true },
  queue_full: { status: 503, type: serverError, message: 'Too many requests are waiting in the queue.', retryable: true },
  queue_timeout: { status: 503, type: serverError, message: 'The request waited too long in the queue.', retryable: true },
  too_many_websockets: { status: 503, type: serverError, message: 'Too many WebSockets are open.', retryable: true },
  shutting_down: { status: 503, type: serverError, message: 'The gateway is shutting down.', retryable: true },
  journal_unavailable: { status: 503, type: serverError, message: 'The request cannot be recorded, and this gateway does not serve unrecorded requests.', retryable: true },
  records_unavailable: { status: 503, type: serverError, message: 'The records cannot be read at the moment.', retryable: true },
  body_already_read: { status: 500, type: serverError, message: 'The host application read the body before the gateway.', hint: 'Mount heimdall() before express.json(), or pass keepRawBody as its "verify" option.', retryable: false },
  page_not_built: { status: 503, type: serverError, message: 'The page is not built.', hint: 'Run "npm run build" in the directory of the package.', retryable: false },
  newapi_role: { status: 403, type: 'permission_error', message: 'This user of NewAPI is no administrator.', hint: 'admin.newapi_role says which role is needed.', retryable: false },
  read_only: { status: 403, type: 'permission_error', message: 'This token may read and not change anything.', retryable: false },
  unauthorized: { status: 401, type: unauthenticated, message: 'A valid token is required.', retryable: false },
  not_found: { status: 404, type: invalidRequest, message: 'The resource does not exist.', retryable: false },
  invalid_value: { status: 400, type: invalidRequest, message: 'A field has an invalid value.', retryable: false },
  invalid_config: { status: 422, type: invalidRequest, message: 'The configuration cannot be used. Nothing has changed.', retryable: false },
  conflict: { status: 409, type: invalidRequest, message: 'The request conflicts with the current state.', retryable: false },
  cross_site: { status: 403, type: 'permission_error', message: 'A page of another site is not allowed to make this request.', retryable: false },
  too_many_readers: { status: 503, type: serverError, message: 'This stream has too many readers.', retryable: true },
  method_not_allowed: { status: 405, type: invalidRequest, message: 'The path does not support this method.', retryable: false },
  internal_error: { status: 500, type: serverError, message: 'The gateway failed.', hint: 'The log contains the cause under the request id.', retryable: true },
} as const satisfies Record<string, ErrorRow>;

/** The code of an error. Codes are stable; OpenAI's error shape shows them as `code`. */
export type ErrorCode = keyof typeof errors;

interface Details {
  /** Overrides the status of the row, to pass an upstream's status. */
  readonly status?: number;
  /** Replaces the message of the row. Names the field, the expected and the actual value. Never holds a secret. */
  readonly message?: string;
  /** The invalid field of the request, for `param` of OpenAI's error shape. */
  readonly field?: string;
  /** Value of `Retry-After`, in seconds. */
  readonly retryAfter?: number;
  /** Whether a retry of this request can succeed, where it differs from the row. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** The error class of the gate. Text for clients comes from the table and from `details.message`, never from `cause`. */
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
    // Where it was made says nothing, and to find that out is a quarter of what a refusal costs.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(row.hint ? `${message} ${row.hint}` : message, { cause: details.cause });
    Error.stackTraceLimit = stackTraceLimit;
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
 * The body of an error in the error shape of a route.
 * @param id the request id, for shapes that carry it.
 */
export function render(error: HeimdallError, shape: ErrorShape, id: string): string {
  return printableJson(shapes[shape](error, id));
}

/** The error as the last event of a stream. OpenAI's shape is a `data:` line; Anthropic's names the event. */
export function renderEvent(error: HeimdallError, shape: ErrorShape, id: string): string {
  const name = shape === 'claude' ? 'event: error\n' : '';
  return `${name}data: ${render(error, shape, id)}\n\n`;
}

/** A problem of the configuration: its path as the user wrote it (file key, variable or code key), and a message. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** All problems of a configuration. The message has one line per problem. Secrets are never quoted. */
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
