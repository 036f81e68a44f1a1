/** An answer that is an error, or none at all (`status` 0). The message is the server's. */
export class Failure extends Error {
  readonly status: number;
  readonly code: string;
  readonly field: string | null;
  readonly requestId: string | null;
  readonly retryAfter: number | null;

  /** The gate, or what stands before it, may answer in a moment. */
  get isPassing(): boolean {
    return this.status === 0 || (this.status >= 502 && this.status <= 504);
  }

  constructor(status: number, { message, code, param }: { readonly message?: string; readonly code?: string; readonly param?: string | null }, headers?: Headers) {
    super(message ?? `HTTP ${status}`);
    this.status = status;
    this.code = code ?? 'unknown';
    this.field = param ?? null;
    this.requestId = headers?.get('X-Request-Id') ?? null;
    this.retryAfter = Number(headers?.get('Retry-After')) || null;
  }
}
