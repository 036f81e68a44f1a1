// Generated from lib/config/schema.ts by test/generate.ts: change the schema, not this file.

/** Configuration of the gateway: complete and deep-frozen. Durations in milliseconds, sizes in bytes, null for what is absent. */
export interface Config {
  /** observe decides and records everything but refuses nothing (enforce or observe; default enforce). */
  readonly mode: 'enforce' | 'observe';
  /** The NewAPI behind the gate. */
  readonly newapi: NewapiConfig;
  /** Install secret of the keyed hashes that stand for tokens and cookies (a secret text of at least 16 characters; default generated beside audit.path). */
  readonly secret: string | null;
  /** Optional parts of the chain, in order (each one of request_timer, security_headers, cors, rate_limit, auth, logging; default all, in the chain's order). */
  readonly middleware: readonly MiddlewareName[] | null;
  /** Paths the gateway answers itself. */
  readonly endpoints: EndpointsConfig;
  /** The listener of the standalone server, its timeouts and its bounds. */
  readonly server: ServerConfig;
  /** Peers whose forwarded headers tell the client's address (each an IP address or CIDR, or one of loopback, private, cloudflare; default ["loopback"]). */
  readonly trustProxy: readonly string[];
  /** Header in which a trusted peer names the client, looked at before X-Forwarded-For (the name of a header; default none). */
  readonly clientIpHeader: string | null;
  /** Who answers model routes. */
  readonly llm: LlmConfig;
  /** When a target that fails is left alone for a while. */
  readonly circuitBreaker: CircuitBreakerConfig;
  /** Who may call. */
  readonly auth: AuthConfig;
  /** The gateway's own CORS answers; left out, those of NewAPI pass. */
  readonly cors: CorsConfig | null;
  /** Limits that need no key. */
  readonly rateLimit: RateLimitConfig;
  /** The event log and the access log. */
  readonly logging: LoggingConfig;
  /** The journal of requests. */
  readonly audit: AuditConfig;
  /** Prometheus metrics; a list of names switches those on. */
  readonly metrics: MetricsConfig;
}

/** The NewAPI behind the gate. */
export interface NewapiConfig {
  /** Where NewAPI answers (an http or https URL without user, query or fragment; default http://localhost:3000). */
  readonly baseUrl: string;
  /** How long NewAPI may be silent (a duration above 0, at most 24d; default 300s). */
  readonly timeout: number;
}

/** Optional parts of the chain, in order: one name. */
export type MiddlewareName = 'request_timer' | 'security_headers' | 'cors' | 'rate_limit' | 'auth' | 'logging';

/** Paths the gateway answers itself. */
export interface EndpointsConfig {
  /** Path of the health checks; false for none (a path that starts with / and does not end with one, or false; default /health). */
  readonly health: string | false;
  /** Path of the Prometheus metrics; false for none (a path that starts with / and does not end with one, or false; default /metrics). */
  readonly metrics: string | false;
}

/** The listener of the standalone server, its timeouts and its bounds. */
export interface ServerConfig {
  /** Address to listen on (an address or host name; default 0.0.0.0). */
  readonly host: string;
  /** Port to listen on; 0 takes any free one (a whole number from 0 to 65535; default 8000). */
  readonly port: number;
  /** Certificate to serve HTTPS with; without both paths the server speaks HTTP. */
  readonly tls: TlsConfig | null;
  /** How long a request's headers may take; a body may take longer while it keeps coming (a duration above 0, at most 24d; default 30s). */
  readonly readTimeout: number;
  /** Longest stall of a write; a stream that moves may last any time (a duration above 0, at most 24d; default 45s). */
  readonly writeTimeout: number;
  /** How long a connection may idle between two requests (a duration above 0, at most 24d; default 72s). */
  readonly idleTimeout: number;
  /** Largest head of a request (a size of at least 1KB; default 1MB). */
  readonly maxHeaderBytes: number;
  /** Largest body kept for failover; a larger one streams to the first target; never above max_body_bytes (a size of at least 1KB; default 32MB). */
  readonly bufferBodyBytes: number;
  /** Largest body accepted (a size of at least 1KB; default 128MB). */
  readonly maxBodyBytes: number;
  /** Most connections open at a time (a whole number of at least 1; default none). */
  readonly maxConnections: number | null;
  /** How long requests may take to finish when the server stops (a duration above 0, at most 24d; default 30s). */
  readonly shutdownTimeout: number;
}

/** Certificate to serve HTTPS with; without both paths the server speaks HTTP. */
export interface TlsConfig {
  /** PEM file with the certificate and its chain (a path; default none). */
  readonly certPath: string;
  /** PEM file with the private key (a path; default none). */
  readonly keyPath: string;
  /** Oldest TLS version accepted (1.2 or 1.3; default 1.2). */
  readonly minVersion: '1.2' | '1.3';
  /** Only host name served; handshakes for others are refused (a host name; default none). */
  readonly serverName: string | null;
}

/** Who answers model routes. */
export interface LlmConfig {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint (the name of a provider; default newapi). */
  readonly provider: string;
  /** Base URL up to and with the version; none means the provider's own, for newapi newapi.base_url + /v1 (an http or https URL without user, query or fragment; default by provider). */
  readonly endpoint: string | null;
  /** Credential sent to the target; without one newapi gets the caller's (a secret text of visible ASCII characters; default none). */
  readonly apiKey: string | null;
  /** Model every request to the target uses instead of the one it names (the name of a model; default none). */
  readonly model: string | null;
  /** Models renamed on the way to the target, from: to (default {}). */
  readonly models: Readonly<Record<string, string>>;
  /** Share of the requests the target gets beside the others when strategy is weighted (a whole number from 1 to 1000; default 1). */
  readonly weight: number;
  /** Targets asked in this order when those before cannot answer; keys as in llm (default []). */
  readonly backupProviders: readonly LlmTarget[];
  /** Which target is asked first: the first in the list, one by weight, or the one with the fewest requests in hand (one of failover, weighted, least_busy; default failover). */
  readonly strategy: 'failover' | 'weighted' | 'least_busy';
  /** Prices by the name of a model, or by what names begin with and a * after it; the longest that fits counts (default {}). */
  readonly prices: Readonly<Record<string, ModelPrice>>;
  /** When and how often the targets are asked again; also as retry at the top. */
  readonly retry: RetryConfig;
  /** Free probes of the targets; also as health_check at the top. */
  readonly healthCheck: HealthCheckConfig;
  /** Patience with targets. */
  readonly timeouts: LlmTimeouts;
  /** Silence after which a stream that has no answer yet begins with comments, so that a CDN does not cut it (a duration above 0, at most 24d, or off; default off). */
  readonly streamPreludeAfter: number | null;
  /** Silence after which a comment is sent within a stream, again and again, so that nothing on the way cuts it (a duration above 0, at most 24d, or off; default off). */
  readonly keepAliveComments: number | null;
}

/** A place that can answer model routes. */
export interface LlmTarget {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint (the name of a provider; default newapi). */
  readonly provider: string;
  /** Base URL up to and with the version; none means the provider's own, for newapi newapi.base_url + /v1 (an http or https URL without user, query or fragment; default by provider). */
  readonly endpoint: string | null;
  /** Credential sent to the target; without one newapi gets the caller's (a secret text of visible ASCII characters; default none). */
  readonly apiKey: string | null;
  /** Model every request to the target uses instead of the one it names (the name of a model; default none). */
  readonly model: string | null;
  /** Models renamed on the way to the target, from: to (default {}). */
  readonly models: Readonly<Record<string, string>>;
  /** Share of the requests the target gets beside the others when strategy is weighted (a whole number from 1 to 1000; default 1). */
  readonly weight: number;
}

/** What a model costs, in USD per million tokens. */
export interface ModelPrice {
  /** USD per million prompt tokens (a number of at least 0; required). */
  readonly input: number;
  /** USD per million completion tokens (a number of at least 0; required). */
  readonly output: number;
  /** USD per million prompt tokens read from a cache; none means the price of input (a number of at least 0; default none). */
  readonly cached: number | null;
}

/** When and how often the targets are asked again; also as retry at the top. */
export interface RetryConfig {
  /** How often the targets are asked again after every one was asked once; 0 for never (a whole number from 0 to 100; default 5). */
  readonly maxRetries: number;
  /** Longest wait before the first retry; the real one is random below it (a duration above 0, at most 24d; default 100ms). */
  readonly initialDelay: number;
  /** Longest wait before any retry (a duration above 0, at most 24d; default 5s). */
  readonly maxDelay: number;
  /** What the wait grows by with every retry (a number from 1 to 10; default 1.5). */
  readonly multiplier: number;
  /** Failures that are tried again; timeout may bill a request twice (each one of rate_limit, timeout, server_error; default ["rate_limit", "server_error"]). */
  readonly retryableErrors: readonly ('rate_limit' | 'timeout' | 'server_error')[];
}

/** Free probes of the targets; also as health_check at the top. */
export interface HealthCheckConfig {
  /** Whether targets are probed (true or false; default true). */
  readonly enabled: boolean;
  /** Time between two probes of a target (a duration of at least 1s, at most 24d; default 15s). */
  readonly interval: number;
  /** How long a probe may take (a duration above 0, at most 24d; default 5s). */
  readonly timeout: number;
  /** Failed probes in a row after which a target counts as down; also as threshold (a whole number from 1 to 100; default 2). */
  readonly failureThreshold: number;
}

/** Patience with targets. */
export interface LlmTimeouts {
  /** How long a target may take to accept a connection (a duration above 0, at most 24d; default 5s). */
  readonly connect: number;
  /** How long it may take to begin its answer (a duration above 0, at most 24d; default 300s). */
  readonly firstByte: number;
  /** How long it may be silent within an answer (a duration above 0, at most 24d; default 300s). */
  readonly idle: number;
  /** How long all attempts together may take until an answer is committed to (a duration above 0, at most 24d; default 10m). */
  readonly total: number;
}

/** When a target that fails is left alone for a while. */
export interface CircuitBreakerConfig {
  /** Requests at a time that test whether a target is back (a whole number from 1 to 1000; default 1). */
  readonly maxRequests: number;
  /** Time after which the failures counted so far are forgotten; 0 for never (a duration of at most 24d; default 30s). */
  readonly interval: number;
  /** How long a target is left alone before it is tested (a duration above 0, at most 24d; default 10s). */
  readonly timeout: number;
  /** Failures in a row after which a target is left alone (a whole number from 1 to 1000; default 5). */
  readonly failureThreshold: number;
}

/** Who may call. */
export interface AuthConfig {
  /** passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here (passthrough or keys; default passthrough while llm uses the caller's token, else keys). */
  readonly mode: 'passthrough' | 'keys';
  /** How long a token NewAPI accepted counts as verified (a duration above 0, at most 24d; default 1h). */
  readonly verifiedTtl: number;
  /** Keys the gateway accepts (default []). */
  readonly keys: readonly GatewayKey[];
}

/** A key the gateway accepts. */
export interface GatewayKey {
  /** Unique name of the key in records and metrics (a name; required). */
  readonly name: string;
  /** Hex SHA-256 of the key exactly as clients send it, sk- included (the SHA-256 of the key in 64 hex digits; required). */
  readonly sha256: string;
  /** When the key ends; a bare date at its first moment in UTC (an ISO date, or a date and time with Z or an offset; default none). */
  readonly expires: number | null;
  /** Refuses the key without forgetting it (true or false; default false). */
  readonly disabled: boolean;
  /** Models the key may use; empty means all (each the name of a model; default []). */
  readonly models: readonly string[];
  /** Addresses the key may come from; empty means all (each an IP address or CIDR; default []). */
  readonly cidrs: readonly string[];
  /** NewAPI token sent in place of the key to routes only NewAPI answers (a secret text of visible ASCII characters; default none). */
  readonly upstreamCredential: string | null;
}

/** The gateway's own CORS answers; left out, those of NewAPI pass. */
export interface CorsConfig {
  /** Origins that may call from a browser; * means any (each an origin or *; default []). */
  readonly allowOrigins: readonly string[];
  /** Methods they may use (each an HTTP method; default ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]). */
  readonly allowMethods: readonly string[];
  /** Request headers they may send (each the name of a header; default those the preflight asks for). */
  readonly allowHeaders: readonly string[] | null;
  /** Answer headers they may read (each the name of a header; default []). */
  readonly exposeHeaders: readonly string[];
  /** Lets them send cookies; not together with the origin * (true or false; default false). */
  readonly credentials: boolean;
  /** How long browsers may keep a preflight's answer, in seconds (a duration of whole seconds, at most 24d; default none). */
  readonly maxAge: number | null;
}

/** Limits that need no key. */
export interface RateLimitConfig {
  /** Limit per client address, IPv6 by its /56. */
  readonly address: AddressLimit;
  /** Addresses, CIDRs and names of keys that are not limited (each an IP address, a CIDR or the name of a key; default []). */
  readonly exempt: readonly string[];
}

/** Limit per client address, IPv6 by its /56. */
export interface AddressLimit {
  /** Requests a window; 0 switches the limit off (a whole number of at least 0; default 60). */
  readonly limit: number;
  /** Length of the window (a duration above 0, at most 24d; default 60s). */
  readonly window: number;
  /** failed counts refused credentials alone, all counts every request but UI, assets, webhooks and polling (failed or all; default failed). */
  readonly count: 'failed' | 'all';
}

/** The event log and the access log. */
export interface LoggingConfig {
  /** Least severe event that is logged (one of trace, debug, info, warn, error, fatal, silent; default info). */
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Form of an access line (json or combined; default json). */
  readonly format: 'json' | 'combined';
  /** File of the access log, beside the console; false for none (a path, or false; default heimdall.log). */
  readonly file: string | false;
  /** Size at which the file is rotated (a size of at least 1KB; default 100MB). */
  readonly maxSize: number;
  /** Rotated files kept (a whole number of at least 1; default 7). */
  readonly maxFiles: number;
  /** Query parameters whose values may be logged; of others only the name is (each the name of a query parameter; default []). */
  readonly queryAllow: readonly string[];
}

/** The journal of requests. */
export interface AuditConfig {
  /** Database file; the generated install secret lies beside it (a path; default data/heimdall.db). */
  readonly path: string;
}

/** Prometheus metrics; a list of names switches those on. */
export interface MetricsConfig {
  /** Whether anything is measured (true or false; default true). */
  readonly enabled: boolean;
  /** What every name begins with (a prefix of letters, digits, _ and :; default heimdall_). */
  readonly prefix: string;
  /** Bearer token that may read the metrics; without one their path does not exist (a secret text of visible ASCII characters; default none). */
  readonly token: string | null;
  /** Series that are exposed (each one of request_duration_seconds, request_size_bytes, response_size_bytes, active_requests, error_total, overhead_seconds, circuit_breaker_state, upstream_attempts_total, upstream_failures_total, tokens_total, cost_usd_total; default all). */
  readonly series: readonly SeriesName[] | null;
}

/** Series that are exposed: one name. */
export type SeriesName = 'request_duration_seconds' | 'request_size_bytes' | 'response_size_bytes' | 'active_requests' | 'error_total' | 'overhead_seconds' | 'circuit_breaker_state' | 'upstream_attempts_total' | 'upstream_failures_total' | 'tokens_total' | 'cost_usd_total';

/** `Config` as code may give it; what is left out keeps its default. */
export interface ConfigInput {
  /** observe decides and records everything but refuses nothing (enforce or observe; default enforce). */
  readonly mode?: 'enforce' | 'observe' | undefined;
  /** The NewAPI behind the gate. */
  readonly newapi?: NewapiInput | undefined;
  /** Install secret of the keyed hashes that stand for tokens and cookies (a secret text of at least 16 characters; default generated beside audit.path). */
  readonly secret?: string | null | undefined;
  /** Path of a file that holds secret. */
  readonly secretFile?: string | null | undefined;
  /** Optional parts of the chain, in order (each one of request_timer, security_headers, cors, rate_limit, auth, logging; default all, in the chain's order). */
  readonly middleware?: readonly (MiddlewareName | (string & {}))[] | null | undefined;
  /** Paths the gateway answers itself. */
  readonly endpoints?: EndpointsInput | undefined;
  /** The listener of the standalone server, its timeouts and its bounds. */
  readonly server?: ServerInput | undefined;
  /** Peers whose forwarded headers tell the client's address (each an IP address or CIDR, or one of loopback, private, cloudflare; default ["loopback"]). */
  readonly trustProxy?: readonly string[] | undefined;
  /** Header in which a trusted peer names the client, looked at before X-Forwarded-For (the name of a header; default none). */
  readonly clientIpHeader?: string | null | undefined;
  /** Who answers model routes. */
  readonly llm?: LlmInput | undefined;
  /** The same as llm.retry. */
  readonly retry?: RetryInput | undefined;
  /** The same as llm.healthCheck. */
  readonly healthCheck?: HealthCheckInput | undefined;
  /** When a target that fails is left alone for a while. */
  readonly circuitBreaker?: CircuitBreakerInput | undefined;
  /** Who may call. */
  readonly auth?: AuthInput | undefined;
  /** The gateway's own CORS answers; left out, those of NewAPI pass. */
  readonly cors?: CorsInput | null | undefined;
  /** Limits that need no key. */
  readonly rateLimit?: RateLimitInput | undefined;
  /** The event log and the access log. */
  readonly logging?: LoggingInput | undefined;
  /** The journal of requests. */
  readonly audit?: AuditInput | undefined;
  /** Prometheus metrics; a list of names switches those on. */
  readonly metrics?: MetricsInput | readonly (SeriesName | (string & {}))[] | undefined;
}

/** `NewapiConfig` as code may give it; what is left out keeps its default. */
export interface NewapiInput {
  /** Where NewAPI answers (an http or https URL without user, query or fragment; default http://localhost:3000). */
  readonly baseUrl?: string | undefined;
  /** How long NewAPI may be silent (a duration above 0, at most 24d; default 300s). */
  readonly timeout?: number | string | undefined;
}

/** `EndpointsConfig` as code may give it; what is left out keeps its default. */
export interface EndpointsInput {
  /** Path of the health checks; false for none (a path that starts with / and does not end with one, or false; default /health). */
  readonly health?: string | false | undefined;
  /** Path of the Prometheus metrics; false for none (a path that starts with / and does not end with one, or false; default /metrics). */
  readonly metrics?: string | false | undefined;
}

/** `ServerConfig` as code may give it; what is left out keeps its default. */
export interface ServerInput {
  /** Address to listen on (an address or host name; default 0.0.0.0). */
  readonly host?: string | undefined;
  /** The same as middleware at the top. */
  readonly middleware?: ConfigInput['middleware'];
  /** Port to listen on; 0 takes any free one (a whole number from 0 to 65535; default 8000). */
  readonly port?: number | undefined;
  /** Certificate to serve HTTPS with; without both paths the server speaks HTTP. */
  readonly tls?: TlsInput | null | undefined;
  /** How long a request's headers may take; a body may take longer while it keeps coming (a duration above 0, at most 24d; default 30s). */
  readonly readTimeout?: number | string | undefined;
  /** Longest stall of a write; a stream that moves may last any time (a duration above 0, at most 24d; default 45s). */
  readonly writeTimeout?: number | string | undefined;
  /** How long a connection may idle between two requests (a duration above 0, at most 24d; default 72s). */
  readonly idleTimeout?: number | string | undefined;
  /** Largest head of a request (a size of at least 1KB; default 1MB). */
  readonly maxHeaderBytes?: number | string | undefined;
  /** Largest body kept for failover; a larger one streams to the first target; never above max_body_bytes (a size of at least 1KB; default 32MB). */
  readonly bufferBodyBytes?: number | string | null | undefined;
  /** Largest body accepted (a size of at least 1KB; default 128MB). */
  readonly maxBodyBytes?: number | string | undefined;
  /** Most connections open at a time (a whole number of at least 1; default none). */
  readonly maxConnections?: number | null | undefined;
  /** How long requests may take to finish when the server stops (a duration above 0, at most 24d; default 30s). */
  readonly shutdownTimeout?: number | string | undefined;
}

/** `TlsConfig` as code may give it; what is left out keeps its default. */
export interface TlsInput {
  /** PEM file with the certificate and its chain (a path; default none). */
  readonly certPath?: string | null | undefined;
  /** PEM file with the private key (a path; default none). */
  readonly keyPath?: string | null | undefined;
  /** Oldest TLS version accepted (1.2 or 1.3; default 1.2). */
  readonly minVersion?: '1.2' | '1.3' | undefined;
  /** Only host name served; handshakes for others are refused (a host name; default none). */
  readonly serverName?: string | null | undefined;
}

/** `LlmConfig` as code may give it; what is left out keeps its default. */
export interface LlmInput {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint (the name of a provider; default newapi). */
  readonly provider?: string | undefined;
  /** Base URL up to and with the version; none means the provider's own, for newapi newapi.base_url + /v1 (an http or https URL without user, query or fragment; default by provider). */
  readonly endpoint?: string | null | undefined;
  /** Credential sent to the target; without one newapi gets the caller's (a secret text of visible ASCII characters; default none). */
  readonly apiKey?: string | null | undefined;
  /** Path of a file that holds apiKey. */
  readonly apiKeyFile?: string | null | undefined;
  /** Model every request to the target uses instead of the one it names (the name of a model; default none). */
  readonly model?: string | null | undefined;
  /** Models renamed on the way to the target, from: to (default {}). */
  readonly models?: Readonly<Record<string, string>> | undefined;
  /** Share of the requests the target gets beside the others when strategy is weighted (a whole number from 1 to 1000; default 1). */
  readonly weight?: number | undefined;
  /** Targets asked in this order when those before cannot answer; keys as in llm (default []). */
  readonly backupProviders?: readonly LlmTargetInput[] | undefined;
  /** Which target is asked first: the first in the list, one by weight, or the one with the fewest requests in hand (one of failover, weighted, least_busy; default failover). */
  readonly strategy?: 'failover' | 'weighted' | 'least_busy' | undefined;
  /** Prices by the name of a model, or by what names begin with and a * after it; the longest that fits counts (default {}). */
  readonly prices?: Readonly<Record<string, ModelPriceInput>> | undefined;
  /** When and how often the targets are asked again; also as retry at the top. */
  readonly retry?: RetryInput | undefined;
  /** Free probes of the targets; also as health_check at the top. */
  readonly healthCheck?: HealthCheckInput | undefined;
  /** Patience with targets. */
  readonly timeouts?: LlmTimeoutsInput | undefined;
  /** Silence after which a stream that has no answer yet begins with comments, so that a CDN does not cut it (a duration above 0, at most 24d, or off; default off). */
  readonly streamPreludeAfter?: number | string | false | null | undefined;
  /** Silence after which a comment is sent within a stream, again and again, so that nothing on the way cuts it (a duration above 0, at most 24d, or off; default off). */
  readonly keepAliveComments?: number | string | false | null | undefined;
}

/** `LlmTarget` as code may give it; what is left out keeps its default. */
export interface LlmTargetInput {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint (the name of a provider; default newapi). */
  readonly provider?: string | undefined;
  /** Base URL up to and with the version; none means the provider's own, for newapi newapi.base_url + /v1 (an http or https URL without user, query or fragment; default by provider). */
  readonly endpoint?: string | null | undefined;
  /** Credential sent to the target; without one newapi gets the caller's (a secret text of visible ASCII characters; default none). */
  readonly apiKey?: string | null | undefined;
  /** Path of a file that holds apiKey. */
  readonly apiKeyFile?: string | null | undefined;
  /** Model every request to the target uses instead of the one it names (the name of a model; default none). */
  readonly model?: string | null | undefined;
  /** Models renamed on the way to the target, from: to (default {}). */
  readonly models?: Readonly<Record<string, string>> | undefined;
  /** Share of the requests the target gets beside the others when strategy is weighted (a whole number from 1 to 1000; default 1). */
  readonly weight?: number | undefined;
}

/** `ModelPrice` as code may give it; what is left out keeps its default. */
export interface ModelPriceInput {
  /** USD per million prompt tokens (a number of at least 0; required). */
  readonly input: number;
  /** USD per million completion tokens (a number of at least 0; required). */
  readonly output: number;
  /** USD per million prompt tokens read from a cache; none means the price of input (a number of at least 0; default none). */
  readonly cached?: number | null | undefined;
}

/** `RetryConfig` as code may give it; what is left out keeps its default. */
export interface RetryInput {
  /** How often the targets are asked again after every one was asked once; 0 for never (a whole number from 0 to 100; default 5). */
  readonly maxRetries?: number | undefined;
  /** Longest wait before the first retry; the real one is random below it (a duration above 0, at most 24d; default 100ms). */
  readonly initialDelay?: number | string | undefined;
  /** Longest wait before any retry (a duration above 0, at most 24d; default 5s). */
  readonly maxDelay?: number | string | undefined;
  /** What the wait grows by with every retry (a number from 1 to 10; default 1.5). */
  readonly multiplier?: number | undefined;
  /** Failures that are tried again; timeout may bill a request twice (each one of rate_limit, timeout, server_error; default ["rate_limit", "server_error"]). */
  readonly retryableErrors?: readonly ('rate_limit' | 'timeout' | 'server_error')[] | undefined;
}

/** `HealthCheckConfig` as code may give it; what is left out keeps its default. */
export interface HealthCheckInput {
  /** Whether targets are probed (true or false; default true). */
  readonly enabled?: boolean | undefined;
  /** Time between two probes of a target (a duration of at least 1s, at most 24d; default 15s). */
  readonly interval?: number | string | undefined;
  /** How long a probe may take (a duration above 0, at most 24d; default 5s). */
  readonly timeout?: number | string | undefined;
  /** Failed probes in a row after which a target counts as down; also as threshold (a whole number from 1 to 100; default 2). */
  readonly failureThreshold?: number | undefined;
  /** The same as failureThreshold. */
  readonly threshold?: number | undefined;
}

/** `LlmTimeouts` as code may give it; what is left out keeps its default. */
export interface LlmTimeoutsInput {
  /** How long a target may take to accept a connection (a duration above 0, at most 24d; default 5s). */
  readonly connect?: number | string | undefined;
  /** How long it may take to begin its answer (a duration above 0, at most 24d; default 300s). */
  readonly firstByte?: number | string | undefined;
  /** How long it may be silent within an answer (a duration above 0, at most 24d; default 300s). */
  readonly idle?: number | string | undefined;
  /** How long all attempts together may take until an answer is committed to (a duration above 0, at most 24d; default 10m). */
  readonly total?: number | string | undefined;
}

/** `CircuitBreakerConfig` as code may give it; what is left out keeps its default. */
export interface CircuitBreakerInput {
  /** Requests at a time that test whether a target is back (a whole number from 1 to 1000; default 1). */
  readonly maxRequests?: number | undefined;
  /** Time after which the failures counted so far are forgotten; 0 for never (a duration of at most 24d; default 30s). */
  readonly interval?: number | string | undefined;
  /** How long a target is left alone before it is tested (a duration above 0, at most 24d; default 10s). */
  readonly timeout?: number | string | undefined;
  /** Failures in a row after which a target is left alone (a whole number from 1 to 1000; default 5). */
  readonly failureThreshold?: number | undefined;
}

/** `AuthConfig` as code may give it; what is left out keeps its default. */
export interface AuthInput {
  /** passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here (passthrough or keys; default passthrough while llm uses the caller's token, else keys). */
  readonly mode?: 'passthrough' | 'keys' | null | undefined;
  /** How long a token NewAPI accepted counts as verified (a duration above 0, at most 24d; default 1h). */
  readonly verifiedTtl?: number | string | undefined;
  /** Keys the gateway accepts (default []). */
  readonly keys?: readonly GatewayKeyInput[] | undefined;
}

/** `GatewayKey` as code may give it; what is left out keeps its default. */
export interface GatewayKeyInput {
  /** Unique name of the key in records and metrics (a name; required). */
  readonly name: string;
  /** Hex SHA-256 of the key exactly as clients send it, sk- included (the SHA-256 of the key in 64 hex digits; required). */
  readonly sha256: string;
  /** When the key ends; a bare date at its first moment in UTC (an ISO date, or a date and time with Z or an offset; default none). */
  readonly expires?: number | string | Date | null | undefined;
  /** Refuses the key without forgetting it (true or false; default false). */
  readonly disabled?: boolean | undefined;
  /** Models the key may use; empty means all (each the name of a model; default []). */
  readonly models?: readonly string[] | undefined;
  /** Addresses the key may come from; empty means all (each an IP address or CIDR; default []). */
  readonly cidrs?: readonly string[] | undefined;
  /** NewAPI token sent in place of the key to routes only NewAPI answers (a secret text of visible ASCII characters; default none). */
  readonly upstreamCredential?: string | null | undefined;
  /** Path of a file that holds upstreamCredential. */
  readonly upstreamCredentialFile?: string | null | undefined;
}

/** `CorsConfig` as code may give it; what is left out keeps its default. */
export interface CorsInput {
  /** Origins that may call from a browser; * means any (each an origin or *; default []). */
  readonly allowOrigins?: readonly string[] | undefined;
  /** Methods they may use (each an HTTP method; default ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]). */
  readonly allowMethods?: readonly string[] | undefined;
  /** Request headers they may send (each the name of a header; default those the preflight asks for). */
  readonly allowHeaders?: readonly string[] | null | undefined;
  /** Answer headers they may read (each the name of a header; default []). */
  readonly exposeHeaders?: readonly string[] | undefined;
  /** Lets them send cookies; not together with the origin * (true or false; default false). */
  readonly credentials?: boolean | undefined;
  /** How long browsers may keep a preflight's answer, in seconds (a duration of whole seconds, at most 24d; default none). */
  readonly maxAge?: number | string | null | undefined;
}

/** `RateLimitConfig` as code may give it; what is left out keeps its default. */
export interface RateLimitInput {
  /** Limit per client address, IPv6 by its /56. */
  readonly address?: AddressLimitInput | undefined;
  /** Addresses, CIDRs and names of keys that are not limited (each an IP address, a CIDR or the name of a key; default []). */
  readonly exempt?: readonly string[] | undefined;
}

/** `AddressLimit` as code may give it; what is left out keeps its default. */
export interface AddressLimitInput {
  /** Requests a window; 0 switches the limit off (a whole number of at least 0; default 60). */
  readonly limit?: number | undefined;
  /** Length of the window (a duration above 0, at most 24d; default 60s). */
  readonly window?: number | string | undefined;
  /** failed counts refused credentials alone, all counts every request but UI, assets, webhooks and polling (failed or all; default failed). */
  readonly count?: 'failed' | 'all' | undefined;
}

/** `LoggingConfig` as code may give it; what is left out keeps its default. */
export interface LoggingInput {
  /** Least severe event that is logged (one of trace, debug, info, warn, error, fatal, silent; default info). */
  readonly level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' | undefined;
  /** Form of an access line (json or combined; default json). */
  readonly format?: 'json' | 'combined' | undefined;
  /** File of the access log, beside the console; false for none (a path, or false; default heimdall.log). */
  readonly file?: string | false | undefined;
  /** Size at which the file is rotated (a size of at least 1KB; default 100MB). */
  readonly maxSize?: number | string | undefined;
  /** Rotated files kept (a whole number of at least 1; default 7). */
  readonly maxFiles?: number | undefined;
  /** Query parameters whose values may be logged; of others only the name is (each the name of a query parameter; default []). */
  readonly queryAllow?: readonly string[] | undefined;
}

/** `AuditConfig` as code may give it; what is left out keeps its default. */
export interface AuditInput {
  /** Database file; the generated install secret lies beside it (a path; default data/heimdall.db). */
  readonly path?: string | undefined;
}

/** `MetricsConfig` as code may give it; what is left out keeps its default. */
export interface MetricsInput {
  /** Whether anything is measured (true or false; default true). */
  readonly enabled?: boolean | undefined;
  /** What every name begins with (a prefix of letters, digits, _ and :; default heimdall_). */
  readonly prefix?: string | undefined;
  /** Bearer token that may read the metrics; without one their path does not exist (a secret text of visible ASCII characters; default none). */
  readonly token?: string | null | undefined;
  /** Path of a file that holds token. */
  readonly tokenFile?: string | null | undefined;
  /** Series that are exposed (each one of request_duration_seconds, request_size_bytes, response_size_bytes, active_requests, error_total, overhead_seconds, circuit_breaker_state, upstream_attempts_total, upstream_failures_total, tokens_total, cost_usd_total; default all). */
  readonly series?: readonly (SeriesName | (string & {}))[] | null | undefined;
}
