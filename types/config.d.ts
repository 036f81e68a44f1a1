// Generated from lib/config/schema.ts by test/generate.ts: change the schema, not this file.

import type { Provider } from './provider.d.ts';

/** Configuration of the gateway: complete and deep-frozen. Durations in milliseconds, sizes in bytes, null for what is absent. */
export interface Config {
  /** observe decides and records everything but refuses nothing (enforce or observe; default enforce). */
  readonly mode: 'enforce' | 'observe';
  /** The NewAPI behind the gate. */
  readonly newapi: NewapiConfig;
  /** Install secret of the keyed hashes that stand for tokens and cookies (a secret text of at least 16 characters; default generated beside audit.path). */
  readonly secret: string | null;
  /** Install secrets of before, under which hashes made then are still known (each a secret text of at least 16 characters; default []). */
  readonly previousSecrets: readonly string[];
  /** Optional parts of the chain, in order (each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default all, in the chain's order). */
  readonly middleware: readonly MiddlewareName[] | null;
  /** Paths the gateway answers itself. */
  readonly endpoints: EndpointsConfig;
  /** The listener of the standalone server, its timeouts and its bounds. */
  readonly server: ServerConfig;
  /** Peers whose forwarded headers tell the client's address (each an IP address or CIDR, or one of loopback, private, cloudflare; default ["loopback"]). */
  readonly trustProxy: readonly string[];
  /** Header in which a trusted peer names the client, looked at before X-Forwarded-For (the name of a header; default none). */
  readonly clientIpHeader: string | null;
  /** Header in which a trusted peer names the client's JA4 fingerprint (the name of a header; default none). */
  readonly ja4Header: string | null;
  /** Who may connect at all. */
  readonly guard: GuardConfig;
  /** Who answers model routes. */
  readonly llm: LlmConfig;
  /** When a target that fails is left alone for a while. */
  readonly circuitBreaker: CircuitBreakerConfig;
  /** How many model requests run at a time, and who waits for a turn. */
  readonly queue: QueueConfig;
  /** Who may call. */
  readonly auth: AuthConfig;
  /** The gateway's own CORS answers; left out, those of NewAPI pass. */
  readonly cors: CorsConfig | null;
  /** Limits of addresses, keys and whatever policies match. */
  readonly rateLimit: RateLimitConfig;
  /** The event log and the access log. */
  readonly logging: LoggingConfig;
  /** The journal of requests. */
  readonly audit: AuditConfig;
  /** Prometheus metrics; a list of names switches those on. */
  readonly metrics: MetricsConfig;
  /** Paths with rules of their own; what the gateway demands of a path anyway still holds (default []). */
  readonly routes: readonly RouteConfig[];
  /** The admin API. */
  readonly admin: AdminConfig;
}

/** The NewAPI behind the gate. */
export interface NewapiConfig {
  /** Where NewAPI answers (an http or https URL without user, query or fragment; default http://localhost:3000). */
  readonly baseUrl: string;
  /** How long NewAPI may be silent (a duration above 0, at most 24d; default 300s). */
  readonly timeout: number;
}

/** Optional parts of the chain, in order: one name. */
export type MiddlewareName = 'request_timer' | 'security_headers' | 'cors' | 'rate_limit' | 'key_limit' | 'queue' | 'auth' | 'logging';

/** Paths the gateway answers itself. */
export interface EndpointsConfig {
  /** Path of the health checks; false for none (a path that starts with / and does not end with one, or false; default /health). */
  readonly health: string | false;
  /** Path of the Prometheus metrics; false for none (a path that starts with / and does not end with one, or false; default /metrics). */
  readonly metrics: string | false;
  /** Path at which records are handed in; false for none (a path that starts with / and does not end with one, or false; default /api/log). */
  readonly log: string | false;
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
  /** Bodies in hand at a time; a key or an address may hold an eighth of it (a size of at least 1KB; default 512MB). */
  readonly maxInflightBytes: number;
  /** Most connections open at a time (a whole number of at least 1; default none). */
  readonly maxConnections: number | null;
  /** Sheds new work while the machine is short of something; also as health_check at the top when it names one of the thresholds. */
  readonly healthCheck: ServerHealthConfig | null;
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

/** Sheds new work while the machine is short of something; also as health_check at the top when it names one of the thresholds. */
export interface ServerHealthConfig {
  /** Whether anything is looked at (true or false; default true). */
  readonly enabled: boolean;
  /** Time between two looks (a duration of at least 50ms, at most 24d; default 60s). */
  readonly interval: number;
  /** How long a look may take; a later one counts as bad (a duration above 0, at most 24d; default 5s). */
  readonly timeout: number;
  /** Bad looks in a row after which new work is shed; also as failure_threshold (a whole number from 1 to 100; default 3). */
  readonly threshold: number;
  /** What is looked at: memory, cpu, disk, latency; none named means all. The value is a note for readers (default {}). */
  readonly checks: Readonly<Record<string, string>>;
  /** Share of the memory in use, of the container where there is one (a share above 0% and at most 100%; default 90%). */
  readonly memoryThreshold: number;
  /** Share of the processors in use since the last look (a share above 0% and at most 100%; default 80%). */
  readonly cpuThreshold: number;
  /** Share of the disk of audit.path in use (a share above 0% and at most 100%; default 95%). */
  readonly diskThreshold: number;
  /** Delay the gateway itself adds, p99 since the last look (a duration above 0, at most 24d; default 500ms). */
  readonly latencyThreshold: number;
}

/** Who may connect at all. */
export interface GuardConfig {
  /** Addresses that may call; empty means all (each an IP address or CIDR; default []). */
  readonly allow: readonly string[];
  /** Addresses that may not; stronger than allow (each an IP address or CIDR; default []). */
  readonly deny: readonly string[];
  /** Connections an address may hold open; a trusted proxy is not counted (a whole number of at least 1; default none). */
  readonly connectionsPerAddress: number | null;
  /** Requests after which a connection is closed (a whole number of at least 1; default none). */
  readonly maxRequestsPerSocket: number | null;
}

/** Who answers model routes. */
export interface LlmConfig {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint; in code also a Provider (the name of a provider; default newapi). */
  readonly provider: string | Provider;
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
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint; in code also a Provider (the name of a provider; default newapi). */
  readonly provider: string | Provider;
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

/** How many model requests run at a time, and who waits for a turn. */
export interface QueueConfig {
  /** Whether the number of model requests at a time is bounded (true or false; default true). */
  readonly enabled: boolean;
  /** Model requests at a time; can be changed while the gateway runs (a whole number of at least 1; default 1000). */
  readonly concurrency: number;
  /** Places to wait for a turn; 0 refuses whatever cannot run at once (a whole number of at least 0; default 1000). */
  readonly initialSize: number;
  /** Longest wait for a turn (a duration above 0, at most 24d; default 30s). */
  readonly maxWait: number;
  /** File, or directory, that keeps what a restart should know; none keeps nothing (a path; default none). */
  readonly statePath: string | null;
  /** Time between two saves (a duration of at least 100ms, at most 24d; default 30s). */
  readonly saveInterval: number;
  /** WebSockets open at a time, counted apart (a whole number of at least 1; default 1000). */
  readonly websockets: number;
}

/** Who may call. */
export interface AuthConfig {
  /** passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here and those made by `heimdall keys`; jwt accepts those and the tokens of an issuer (one of passthrough, keys, jwt; default passthrough while llm uses the caller's token, else keys). */
  readonly mode: 'passthrough' | 'keys' | 'jwt';
  /** How long a token NewAPI accepted counts as verified (a duration above 0, at most 24d; default 1h). */
  readonly verifiedTtl: number;
  /** Keys the gateway accepts (default []). */
  readonly keys: readonly GatewayKey[];
  /** Tokens of an identity provider, for mode jwt. */
  readonly jwt: JwtConfig | null;
}

/** A key the gateway accepts. */
export interface GatewayKey {
  /** Unique name of the key in records and metrics (a name that does not begin with jwt:; required). */
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
  /** Requests within a sliding window. */
  readonly requests: RequestLimit | null;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency: number | null;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget: Budget | null;
}

/** Requests within a sliding window. */
export interface RequestLimit {
  /** Requests a window (a whole number of at least 1; required). */
  readonly limit: number;
  /** Length of the window (a duration of at least 1s, at most 24d; default 60s). */
  readonly window: number;
}

/** Tokens, prompt and completion together, within a sliding window. */
export interface TokenLimit {
  /** Tokens a window (a whole number of at least 1; required). */
  readonly limit: number;
  /** Length of the window (a duration of at least 1s, at most 24d; default 60s). */
  readonly window: number;
}

/** US dollars by the prices known; a request without a known price is counted as 0. */
export interface Budget {
  /** US dollars a day in UTC (a number of at least 0; default none). */
  readonly day: number | null;
  /** US dollars a calendar month in UTC (a number of at least 0; default none). */
  readonly month: number | null;
}

/** Tokens of an identity provider, for mode jwt. */
export interface JwtConfig {
  /** Issuer (iss) every token must name (an issuer; default none). */
  readonly issuer: string | null;
  /** Audience (aud) every token must name (an audience; default none). */
  readonly audience: string | null;
  /** Where the issuer's keys are (an https URL, or http on loopback; default none). */
  readonly jwksUri: string | null;
  /** Signature algorithms accepted (each one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519; default ["RS256", "PS256", "ES256", "EdDSA"]). */
  readonly algorithms: readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519')[];
  /** NewAPI token sent for such callers to routes only NewAPI answers; without one those routes are closed to them (a secret text of visible ASCII characters; default none). */
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

/** Limits of addresses, keys and whatever policies match. */
export interface RateLimitConfig {
  /** Limit per client address, IPv6 by its /56. */
  readonly address: AddressLimit;
  /** Limits of every key, NewAPI's tokens included; what a key limits itself goes first. */
  readonly key: KeyLimits;
  /** Further limits; every policy that matches holds (default []). */
  readonly policies: readonly Policy[];
  /** Addresses, CIDRs, names of keys and identities of tokens that are not limited (each an IP address, a CIDR or the name of a key; default []). */
  readonly exempt: readonly string[];
  /** Where counters live: memory counts for this instance alone, redis for all together (memory or redis; default redis with a redis_url, else memory). */
  readonly store: 'memory' | 'redis';
  /** Redis that instances share; also from REDIS_URL (a URL that begins with redis:// or rediss://; default none). */
  readonly redisUrl: string | null;
  /** Instances behind one balancer; without Redis each enforces its share of every limit (a whole number from 1 to 10000; default 1). */
  readonly instances: number;
  /** While Redis cannot be asked: local enforces this instance's share, open lets pass, closed refuses (one of local, open, closed; default local). */
  readonly onStoreError: 'local' | 'open' | 'closed';
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

/** Limits of every key, NewAPI's tokens included; what a key limits itself goes first. */
export interface KeyLimits {
  /** Requests within a sliding window. */
  readonly requests: RequestLimit | null;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency: number | null;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget: Budget | null;
  /** observe counts and records what it would refuse, and refuses nothing (enforce or observe; default enforce). */
  readonly mode: 'enforce' | 'observe';
}

/** Limits for the requests it matches, counted per key. */
export interface Policy {
  /** Which requests the policy is for; all that is given must fit. */
  readonly match: PolicyMatch;
  /** Requests within a sliding window. */
  readonly requests: RequestLimit | null;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency: number | null;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget: Budget | null;
  /** Addresses such requests may come from; empty means all (each an IP address or CIDR; default []). */
  readonly cidrs: readonly string[];
  /** observe counts and records what it would refuse, and refuses nothing (enforce or observe; default enforce). */
  readonly mode: 'enforce' | 'observe';
}

/** Which requests the policy is for; all that is given must fit. */
export interface PolicyMatch {
  /** Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash (the name of a key, the 16 hex digits of a token identity, or a NewAPI token, which may end in *; default none). */
  readonly token: string | null;
  /** Model as the caller names it (the name of a model, which may end in *; default none). */
  readonly model: string | null;
  /** Client as records show it, or its family: what stands before the / (the name of a client, which may end in *; default none). */
  readonly client: string | null;
  /** Route's template, or path (a path, which may end in *; default none). */
  readonly route: string | null;
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
  /** Rotated files kept: heimdall.1.log is the latest (a whole number of at least 1; default 7). */
  readonly maxFiles: number;
  /** Query parameters whose values may be logged; of others only the name is (each the name of a query parameter; default []). */
  readonly queryAllow: readonly string[];
}

/** The journal of requests. */
export interface AuditConfig {
  /** Database file; the generated install secret lies beside it (a path; default data/heimdall.db). */
  readonly path: string;
  /** How long the journal keeps what. */
  readonly retention: RetentionConfig;
  /** Size of the database at which the oldest records are removed (a size of at least 1MB; default 10GB). */
  readonly maxSize: number;
  /** batched writes some fifty milliseconds of records at a time; strict commits the intent of a model request before it is forwarded, and does not start without the database (batched or strict; default batched). */
  readonly durability: 'batched' | 'strict';
  /** What of headers and of model routes' bodies is kept; credentials never are. */
  readonly capture: CaptureConfig;
  /** While nothing can be written: drop serves on and counts what is lost, refuse answers model routes with 503 and does not start without the database (drop or refuse; default drop). */
  readonly onFull: 'drop' | 'refuse';
  /** NewAPI's own log, for NebulaGate and other builds that have its receiver. */
  readonly newapi: AuditNewapiConfig;
  /** A table in PostgreSQL that several gateways share. */
  readonly postgres: AuditPostgresConfig;
  /** Records that others hand in at endpoints.log. */
  readonly ingest: AuditIngestConfig;
  /** Who is told at once: target open, machine short, Redis lost, disk full, sink lagging, certificate ending. */
  readonly alerts: AlertsConfig;
}

/** How long the journal keeps what. */
export interface RetentionConfig {
  /** Age at which records are removed (a duration of at least 1s, at most 3650d; default 30d). */
  readonly records: number;
  /** Age at which bodies of requests and answers are removed from their records (a duration of at least 1s, at most 3650d; default 7d). */
  readonly bodies: number;
}

/** What of headers and of model routes' bodies is kept; credentials never are. */
export interface CaptureConfig {
  /** safe keeps a fixed list of headers, all every one that carries no credential, off none (one of safe, all, off; default safe). */
  readonly headers: 'safe' | 'all' | 'off';
  /** Bytes kept of a model route's request, masked; 0 keeps none (a size of at least 0B; default 10KB). */
  readonly body: number;
  /** Bytes kept of a model route's answer, masked; 0 keeps none (a size of at least 0B; default 0). */
  readonly response: number;
}

/** NewAPI's own log, for NebulaGate and other builds that have its receiver. */
export interface AuditNewapiConfig {
  /** Whether records are sent there (true or false; default false). */
  readonly enabled: boolean;
  /** NewAPI with the receiver (an http or https URL without user, query or fragment; default newapi.base_url). */
  readonly url: string | null;
  /** Which records: all, those the gate refused or would have, or one in ten (one of all, flagged, sample; default all). */
  readonly select: 'all' | 'flagged' | 'sample';
  /** masked cannot be resolved to a user there; raw sends the key itself, without sk-, of callers seen since the start (masked or raw; default masked). */
  readonly token: 'masked' | 'raw';
  /** Most records a time; the receiver shares a limit of 180 calls in 180 s (a rate above 0; default 0.8/s). */
  readonly maxRate: number;
}

/** A table in PostgreSQL that several gateways share. */
export interface AuditPostgresConfig {
  /** Database; also DATABASE_URL (a URL that begins with postgres:// or postgresql://; default none). */
  readonly url: string | null;
}

/** Records that others hand in at endpoints.log. */
export interface AuditIngestConfig {
  /** Bearer tokens that may; without one nobody may (each a secret text of visible ASCII characters; default []). */
  readonly tokens: readonly string[];
  /** Most records a time for each token (a rate above 0; default 100/s). */
  readonly maxRate: number;
}

/** Who is told at once: target open, machine short, Redis lost, disk full, sink lagging, certificate ending. */
export interface AlertsConfig {
  /** URL the alerts are posted to (a URL that begins with http:// or https://; default none). */
  readonly webhook: string | null;
  /** Signs them: X-Heimdall-Signature (a secret text of at least 16 characters; default none). */
  readonly secret: string | null;
}

/** Prometheus metrics; a list of names switches those on. */
export interface MetricsConfig {
  /** Whether anything is measured (true or false; default true). */
  readonly enabled: boolean;
  /** What every name begins with (a prefix of letters, digits, _ and :; default heimdall_). */
  readonly prefix: string;
  /** Bearer token that may read the metrics; without one their path does not exist (a secret text of visible ASCII characters; default none). */
  readonly token: string | null;
  /** Series that are exposed (each one of request_duration_seconds, request_size_bytes, response_size_bytes, overhead_seconds, active_requests, error_total, guard_refused_total, resource_usage_ratio, resource_short, circuit_breaker_state, upstream_active_requests, upstream_attempts_total, upstream_failures_total, route_health, tokens_total, cost_usd_total, gen_ai_server_request_duration_seconds, gen_ai_server_time_to_first_token_seconds, gen_ai_server_time_per_output_token_seconds, gen_ai_client_token_usage, queue_waiting, queue_active, queue_wait_seconds, queue_rejected_total, websockets_active, inflight_bytes, rate_limit_hits_total, rate_limit_checks_total, rate_limit_store_errors_total, rate_limit_tokens_total, rate_limit_reserved, audit_records_total, audit_journal_writable, audit_queue_records, audit_journal_bytes, audit_dropped_total, audit_write_seconds, audit_sink_lag_records, audit_sink_delivered_total, audit_sink_refused_total, audit_sink_errors_total; default all). */
  readonly series: readonly SeriesName[] | null;
}

/** Series that are exposed: one name. */
export type SeriesName = 'request_duration_seconds' | 'request_size_bytes' | 'response_size_bytes' | 'overhead_seconds' | 'active_requests' | 'error_total' | 'guard_refused_total' | 'resource_usage_ratio' | 'resource_short' | 'circuit_breaker_state' | 'upstream_active_requests' | 'upstream_attempts_total' | 'upstream_failures_total' | 'route_health' | 'tokens_total' | 'cost_usd_total' | 'gen_ai_server_request_duration_seconds' | 'gen_ai_server_time_to_first_token_seconds' | 'gen_ai_server_time_per_output_token_seconds' | 'gen_ai_client_token_usage' | 'queue_waiting' | 'queue_active' | 'queue_wait_seconds' | 'queue_rejected_total' | 'websockets_active' | 'inflight_bytes' | 'rate_limit_hits_total' | 'rate_limit_checks_total' | 'rate_limit_store_errors_total' | 'rate_limit_tokens_total' | 'rate_limit_reserved' | 'audit_records_total' | 'audit_journal_writable' | 'audit_queue_records' | 'audit_journal_bytes' | 'audit_dropped_total' | 'audit_write_seconds' | 'audit_sink_lag_records' | 'audit_sink_delivered_total' | 'audit_sink_refused_total' | 'audit_sink_errors_total';

/** A path with rules of its own. */
export interface RouteConfig {
  /** Path of the route (a path that starts with / and does not end with one, without * and :name; required). */
  readonly path: string;
  /** Who answers: completion, chat and embedding make it that call; proxy leaves it what the path is without the row; health and metrics are the endpoints of that name (one of completion, chat, embedding, proxy, health, metrics; default by path, else proxy). */
  readonly handler: 'completion' | 'chat' | 'embedding' | 'proxy' | 'health' | 'metrics';
  /** Prefix of the path, unless it begins with it (a version; default none). */
  readonly version: string | null;
  /** Methods it serves; others are answered with 405, preflights always pass (each one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; default those of its handler). */
  readonly methods: readonly ('GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS')[] | null;
  /** Optional parts that run for this route where middleware leaves them out; auth also demands a credential (each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default []). */
  readonly middleware: readonly MiddlewareName[];
  /** Headers a request must carry; without one it is answered with 400 (default {}). */
  readonly headers: Readonly<Record<string, string>>;
  /** Free probes of what answers the route; while they fail it is answered with 503. */
  readonly healthCheck: RouteHealthCheck | null;
}

/** Free probes of what answers the route; while they fail it is answered with 503. */
export interface RouteHealthCheck {
  /** Whether the route is checked (true or false; default true). */
  readonly enabled: boolean;
  /** Time between two checks (a duration of at least 100ms, at most 24d; default 30s). */
  readonly interval: number;
  /** How long a check may take (a duration above 0, at most 24d; default 5s). */
  readonly timeout: number;
  /** Failed checks in a row after which the route counts as unhealthy (a whole number from 1 to 100; default 3). */
  readonly threshold: number;
  /** Checks by a name of your own: http asks whether anything that can serve the route answers, threshold whether it does so within latency_threshold, which is reported alone; none means http (default {}). */
  readonly checks: Readonly<Record<string, 'http' | 'threshold'>>;
  /** Answer time of a probe that a threshold check accepts (a duration above 0, at most 24d; default 500ms). */
  readonly latencyThreshold: number;
}

/** The admin API. */
export interface AdminConfig {
  /** Bearer token of the admin API; also HEIMDALL_ADMIN_TOKEN; without one its paths do not exist (a secret text of at least 32 characters; default none). */
  readonly token: string | null;
  /** Path below which the admin API lies (a path that starts with / and does not end with one; default /heimdall). */
  readonly path: string;
  /** Address of its own; the gateway then answers admin paths to callers on this machine alone; false for none (host:port, or false; default in the standalone 127.0.0.1 and the port after the gateway's). */
  readonly listen: string | false | null;
  /** host leaves it to the application that mounts gate.admin to know who calls (token or host; default token). */
  readonly auth: 'token' | 'host';
}

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
  /** Install secrets of before, under which hashes made then are still known (each a secret text of at least 16 characters; default []). */
  readonly previousSecrets?: readonly string[] | undefined;
  /** Optional parts of the chain, in order (each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default all, in the chain's order). */
  readonly middleware?: readonly (MiddlewareName | (string & {}))[] | null | undefined;
  /** Paths the gateway answers itself. */
  readonly endpoints?: EndpointsInput | undefined;
  /** The listener of the standalone server, its timeouts and its bounds. */
  readonly server?: ServerInput | undefined;
  /** Peers whose forwarded headers tell the client's address (each an IP address or CIDR, or one of loopback, private, cloudflare; default ["loopback"]). */
  readonly trustProxy?: readonly string[] | undefined;
  /** Header in which a trusted peer names the client, looked at before X-Forwarded-For (the name of a header; default none). */
  readonly clientIpHeader?: string | null | undefined;
  /** Header in which a trusted peer names the client's JA4 fingerprint (the name of a header; default none). */
  readonly ja4Header?: string | null | undefined;
  /** Who may connect at all. */
  readonly guard?: GuardInput | undefined;
  /** Who answers model routes. */
  readonly llm?: LlmInput | undefined;
  /** The same as llm.retry. */
  readonly retry?: RetryInput | undefined;
  /** The same as llm.healthCheck. */
  readonly healthCheck?: HealthCheckInput | undefined;
  /** When a target that fails is left alone for a while. */
  readonly circuitBreaker?: CircuitBreakerInput | undefined;
  /** How many model requests run at a time, and who waits for a turn. */
  readonly queue?: QueueInput | undefined;
  /** Who may call. */
  readonly auth?: AuthInput | undefined;
  /** The gateway's own CORS answers; left out, those of NewAPI pass. */
  readonly cors?: CorsInput | null | undefined;
  /** Limits of addresses, keys and whatever policies match. */
  readonly rateLimit?: RateLimitInput | undefined;
  /** The event log and the access log. */
  readonly logging?: LoggingInput | undefined;
  /** The journal of requests. */
  readonly audit?: AuditInput | undefined;
  /** Prometheus metrics; a list of names switches those on. */
  readonly metrics?: MetricsInput | readonly (SeriesName | (string & {}))[] | undefined;
  /** Paths with rules of their own; what the gateway demands of a path anyway still holds (default []). */
  readonly routes?: readonly RouteInput[] | undefined;
  /** The admin API. */
  readonly admin?: AdminInput | undefined;
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
  /** Path at which records are handed in; false for none (a path that starts with / and does not end with one, or false; default /api/log). */
  readonly log?: string | false | undefined;
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
  /** Bodies in hand at a time; a key or an address may hold an eighth of it (a size of at least 1KB; default 512MB). */
  readonly maxInflightBytes?: number | string | undefined;
  /** Most connections open at a time (a whole number of at least 1; default none). */
  readonly maxConnections?: number | null | undefined;
  /** Sheds new work while the machine is short of something; also as health_check at the top when it names one of the thresholds. */
  readonly healthCheck?: ServerHealthInput | null | undefined;
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

/** `ServerHealthConfig` as code may give it; what is left out keeps its default. */
export interface ServerHealthInput {
  /** Whether anything is looked at (true or false; default true). */
  readonly enabled?: boolean | undefined;
  /** Time between two looks (a duration of at least 50ms, at most 24d; default 60s). */
  readonly interval?: number | string | undefined;
  /** How long a look may take; a later one counts as bad (a duration above 0, at most 24d; default 5s). */
  readonly timeout?: number | string | undefined;
  /** Bad looks in a row after which new work is shed; also as failure_threshold (a whole number from 1 to 100; default 3). */
  readonly threshold?: number | undefined;
  /** What is looked at: memory, cpu, disk, latency; none named means all. The value is a note for readers (default {}). */
  readonly checks?: Readonly<Record<string, string>> | undefined;
  /** Share of the memory in use, of the container where there is one (a share above 0% and at most 100%; default 90%). */
  readonly memoryThreshold?: number | string | undefined;
  /** Share of the processors in use since the last look (a share above 0% and at most 100%; default 80%). */
  readonly cpuThreshold?: number | string | undefined;
  /** Share of the disk of audit.path in use (a share above 0% and at most 100%; default 95%). */
  readonly diskThreshold?: number | string | undefined;
  /** Delay the gateway itself adds, p99 since the last look (a duration above 0, at most 24d; default 500ms). */
  readonly latencyThreshold?: number | string | undefined;
}

/** `GuardConfig` as code may give it; what is left out keeps its default. */
export interface GuardInput {
  /** Addresses that may call; empty means all (each an IP address or CIDR; default []). */
  readonly allow?: readonly string[] | undefined;
  /** Addresses that may not; stronger than allow (each an IP address or CIDR; default []). */
  readonly deny?: readonly string[] | undefined;
  /** Connections an address may hold open; a trusted proxy is not counted (a whole number of at least 1; default none). */
  readonly connectionsPerAddress?: number | null | undefined;
  /** Requests after which a connection is closed (a whole number of at least 1; default none). */
  readonly maxRequestsPerSocket?: number | null | undefined;
}

/** `LlmConfig` as code may give it; what is left out keeps its default. */
export interface LlmInput {
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint; in code also a Provider (the name of a provider; default newapi). */
  readonly provider?: string | Provider | undefined;
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
  /** Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint; in code also a Provider (the name of a provider; default newapi). */
  readonly provider?: string | Provider | undefined;
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

/** `QueueConfig` as code may give it; what is left out keeps its default. */
export interface QueueInput {
  /** Whether the number of model requests at a time is bounded (true or false; default true). */
  readonly enabled?: boolean | undefined;
  /** Model requests at a time; can be changed while the gateway runs (a whole number of at least 1; default 1000). */
  readonly concurrency?: number | undefined;
  /** Places to wait for a turn; 0 refuses whatever cannot run at once (a whole number of at least 0; default 1000). */
  readonly initialSize?: number | undefined;
  /** Longest wait for a turn (a duration above 0, at most 24d; default 30s). */
  readonly maxWait?: number | string | undefined;
  /** File, or directory, that keeps what a restart should know; none keeps nothing (a path; default none). */
  readonly statePath?: string | null | undefined;
  /** Time between two saves (a duration of at least 100ms, at most 24d; default 30s). */
  readonly saveInterval?: number | string | undefined;
  /** WebSockets open at a time, counted apart (a whole number of at least 1; default 1000). */
  readonly websockets?: number | undefined;
}

/** `AuthConfig` as code may give it; what is left out keeps its default. */
export interface AuthInput {
  /** passthrough lets NewAPI judge its own tokens; keys accepts the keys listed here and those made by `heimdall keys`; jwt accepts those and the tokens of an issuer (one of passthrough, keys, jwt; default passthrough while llm uses the caller's token, else keys). */
  readonly mode?: 'passthrough' | 'keys' | 'jwt' | null | undefined;
  /** How long a token NewAPI accepted counts as verified (a duration above 0, at most 24d; default 1h). */
  readonly verifiedTtl?: number | string | undefined;
  /** Keys the gateway accepts (default []). */
  readonly keys?: readonly GatewayKeyInput[] | undefined;
  /** Tokens of an identity provider, for mode jwt. */
  readonly jwt?: JwtInput | null | undefined;
}

/** `GatewayKey` as code may give it; what is left out keeps its default. */
export interface GatewayKeyInput {
  /** Unique name of the key in records and metrics (a name that does not begin with jwt:; required). */
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
  /** Requests within a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency?: number | null | undefined;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget?: BudgetInput | null | undefined;
}

/** `RequestLimit` as code may give it; what is left out keeps its default. */
export interface RequestLimitInput {
  /** Requests a window (a whole number of at least 1; required). */
  readonly limit: number;
  /** Length of the window (a duration of at least 1s, at most 24d; default 60s). */
  readonly window?: number | string | undefined;
}

/** `TokenLimit` as code may give it; what is left out keeps its default. */
export interface TokenLimitInput {
  /** Tokens a window (a whole number of at least 1; required). */
  readonly limit: number;
  /** Length of the window (a duration of at least 1s, at most 24d; default 60s). */
  readonly window?: number | string | undefined;
}

/** `Budget` as code may give it; what is left out keeps its default. */
export interface BudgetInput {
  /** US dollars a day in UTC (a number of at least 0; default none). */
  readonly day?: number | null | undefined;
  /** US dollars a calendar month in UTC (a number of at least 0; default none). */
  readonly month?: number | null | undefined;
}

/** `JwtConfig` as code may give it; what is left out keeps its default. */
export interface JwtInput {
  /** Issuer (iss) every token must name (an issuer; default none). */
  readonly issuer?: string | null | undefined;
  /** Audience (aud) every token must name (an audience; default none). */
  readonly audience?: string | null | undefined;
  /** Where the issuer's keys are (an https URL, or http on loopback; default none). */
  readonly jwksUri?: string | null | undefined;
  /** Signature algorithms accepted (each one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519; default ["RS256", "PS256", "ES256", "EdDSA"]). */
  readonly algorithms?: readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519')[] | undefined;
  /** NewAPI token sent for such callers to routes only NewAPI answers; without one those routes are closed to them (a secret text of visible ASCII characters; default none). */
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
  /** Limits of every key, NewAPI's tokens included; what a key limits itself goes first. */
  readonly key?: KeyLimitsInput | undefined;
  /** Further limits; every policy that matches holds (default []). */
  readonly policies?: readonly PolicyInput[] | undefined;
  /** Addresses, CIDRs, names of keys and identities of tokens that are not limited (each an IP address, a CIDR or the name of a key; default []). */
  readonly exempt?: readonly string[] | undefined;
  /** Where counters live: memory counts for this instance alone, redis for all together (memory or redis; default redis with a redis_url, else memory). */
  readonly store?: 'memory' | 'redis' | null | undefined;
  /** Redis that instances share; also from REDIS_URL (a URL that begins with redis:// or rediss://; default none). */
  readonly redisUrl?: string | null | undefined;
  /** Path of a file that holds redisUrl. */
  readonly redisUrlFile?: string | null | undefined;
  /** Instances behind one balancer; without Redis each enforces its share of every limit (a whole number from 1 to 10000; default 1). */
  readonly instances?: number | undefined;
  /** While Redis cannot be asked: local enforces this instance's share, open lets pass, closed refuses (one of local, open, closed; default local). */
  readonly onStoreError?: 'local' | 'open' | 'closed' | undefined;
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

/** `KeyLimits` as code may give it; what is left out keeps its default. */
export interface KeyLimitsInput {
  /** Requests within a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency?: number | null | undefined;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget?: BudgetInput | null | undefined;
  /** observe counts and records what it would refuse, and refuses nothing (enforce or observe; default enforce). */
  readonly mode?: 'enforce' | 'observe' | undefined;
}

/** `Policy` as code may give it; what is left out keeps its default. */
export interface PolicyInput {
  /** Which requests the policy is for; all that is given must fit. */
  readonly match?: PolicyMatchInput | undefined;
  /** Requests within a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Tokens, prompt and completion together, within a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Requests in hand at a time (a whole number of at least 1; default none). */
  readonly concurrency?: number | null | undefined;
  /** US dollars by the prices known; a request without a known price is counted as 0. */
  readonly budget?: BudgetInput | null | undefined;
  /** Addresses such requests may come from; empty means all (each an IP address or CIDR; default []). */
  readonly cidrs?: readonly string[] | undefined;
  /** observe counts and records what it would refuse, and refuses nothing (enforce or observe; default enforce). */
  readonly mode?: 'enforce' | 'observe' | undefined;
}

/** `PolicyMatch` as code may give it; what is left out keeps its default. */
export interface PolicyMatchInput {
  /** Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash (the name of a key, the 16 hex digits of a token identity, or a NewAPI token, which may end in *; default none). */
  readonly token?: string | null | undefined;
  /** Model as the caller names it (the name of a model, which may end in *; default none). */
  readonly model?: string | null | undefined;
  /** Client as records show it, or its family: what stands before the / (the name of a client, which may end in *; default none). */
  readonly client?: string | null | undefined;
  /** Route's template, or path (a path, which may end in *; default none). */
  readonly route?: string | null | undefined;
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
  /** Rotated files kept: heimdall.1.log is the latest (a whole number of at least 1; default 7). */
  readonly maxFiles?: number | undefined;
  /** Query parameters whose values may be logged; of others only the name is (each the name of a query parameter; default []). */
  readonly queryAllow?: readonly string[] | undefined;
}

/** `AuditConfig` as code may give it; what is left out keeps its default. */
export interface AuditInput {
  /** Database file; the generated install secret lies beside it (a path; default data/heimdall.db). */
  readonly path?: string | undefined;
  /** How long the journal keeps what. */
  readonly retention?: RetentionInput | undefined;
  /** Size of the database at which the oldest records are removed (a size of at least 1MB; default 10GB). */
  readonly maxSize?: number | string | undefined;
  /** batched writes some fifty milliseconds of records at a time; strict commits the intent of a model request before it is forwarded, and does not start without the database (batched or strict; default batched). */
  readonly durability?: 'batched' | 'strict' | undefined;
  /** What of headers and of model routes' bodies is kept; credentials never are. */
  readonly capture?: CaptureInput | undefined;
  /** While nothing can be written: drop serves on and counts what is lost, refuse answers model routes with 503 and does not start without the database (drop or refuse; default drop). */
  readonly onFull?: 'drop' | 'refuse' | undefined;
  /** NewAPI's own log, for NebulaGate and other builds that have its receiver. */
  readonly newapi?: AuditNewapiInput | undefined;
  /** A table in PostgreSQL that several gateways share. */
  readonly postgres?: AuditPostgresInput | undefined;
  /** Records that others hand in at endpoints.log. */
  readonly ingest?: AuditIngestInput | undefined;
  /** Who is told at once: target open, machine short, Redis lost, disk full, sink lagging, certificate ending. */
  readonly alerts?: AlertsInput | undefined;
}

/** `RetentionConfig` as code may give it; what is left out keeps its default. */
export interface RetentionInput {
  /** Age at which records are removed (a duration of at least 1s, at most 3650d; default 30d). */
  readonly records?: number | string | undefined;
  /** Age at which bodies of requests and answers are removed from their records (a duration of at least 1s, at most 3650d; default 7d). */
  readonly bodies?: number | string | undefined;
}

/** `CaptureConfig` as code may give it; what is left out keeps its default. */
export interface CaptureInput {
  /** safe keeps a fixed list of headers, all every one that carries no credential, off none (one of safe, all, off; default safe). */
  readonly headers?: 'safe' | 'all' | 'off' | undefined;
  /** Bytes kept of a model route's request, masked; 0 keeps none (a size of at least 0B; default 10KB). */
  readonly body?: number | string | undefined;
  /** Bytes kept of a model route's answer, masked; 0 keeps none (a size of at least 0B; default 0). */
  readonly response?: number | string | undefined;
}

/** `AuditNewapiConfig` as code may give it; what is left out keeps its default. */
export interface AuditNewapiInput {
  /** Whether records are sent there (true or false; default false). */
  readonly enabled?: boolean | undefined;
  /** NewAPI with the receiver (an http or https URL without user, query or fragment; default newapi.base_url). */
  readonly url?: string | null | undefined;
  /** Which records: all, those the gate refused or would have, or one in ten (one of all, flagged, sample; default all). */
  readonly select?: 'all' | 'flagged' | 'sample' | undefined;
  /** masked cannot be resolved to a user there; raw sends the key itself, without sk-, of callers seen since the start (masked or raw; default masked). */
  readonly token?: 'masked' | 'raw' | undefined;
  /** Most records a time; the receiver shares a limit of 180 calls in 180 s (a rate above 0; default 0.8/s). */
  readonly maxRate?: number | string | undefined;
}

/** `AuditPostgresConfig` as code may give it; what is left out keeps its default. */
export interface AuditPostgresInput {
  /** Database; also DATABASE_URL (a URL that begins with postgres:// or postgresql://; default none). */
  readonly url?: string | null | undefined;
  /** Path of a file that holds url. */
  readonly urlFile?: string | null | undefined;
}

/** `AuditIngestConfig` as code may give it; what is left out keeps its default. */
export interface AuditIngestInput {
  /** Bearer tokens that may; without one nobody may (each a secret text of visible ASCII characters; default []). */
  readonly tokens?: readonly string[] | undefined;
  /** Most records a time for each token (a rate above 0; default 100/s). */
  readonly maxRate?: number | string | undefined;
}

/** `AlertsConfig` as code may give it; what is left out keeps its default. */
export interface AlertsInput {
  /** URL the alerts are posted to (a URL that begins with http:// or https://; default none). */
  readonly webhook?: string | null | undefined;
  /** Path of a file that holds webhook. */
  readonly webhookFile?: string | null | undefined;
  /** Signs them: X-Heimdall-Signature (a secret text of at least 16 characters; default none). */
  readonly secret?: string | null | undefined;
  /** Path of a file that holds secret. */
  readonly secretFile?: string | null | undefined;
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
  /** Series that are exposed (each one of request_duration_seconds, request_size_bytes, response_size_bytes, overhead_seconds, active_requests, error_total, guard_refused_total, resource_usage_ratio, resource_short, circuit_breaker_state, upstream_active_requests, upstream_attempts_total, upstream_failures_total, route_health, tokens_total, cost_usd_total, gen_ai_server_request_duration_seconds, gen_ai_server_time_to_first_token_seconds, gen_ai_server_time_per_output_token_seconds, gen_ai_client_token_usage, queue_waiting, queue_active, queue_wait_seconds, queue_rejected_total, websockets_active, inflight_bytes, rate_limit_hits_total, rate_limit_checks_total, rate_limit_store_errors_total, rate_limit_tokens_total, rate_limit_reserved, audit_records_total, audit_journal_writable, audit_queue_records, audit_journal_bytes, audit_dropped_total, audit_write_seconds, audit_sink_lag_records, audit_sink_delivered_total, audit_sink_refused_total, audit_sink_errors_total; default all). */
  readonly series?: readonly (SeriesName | (string & {}))[] | null | undefined;
}

/** `RouteConfig` as code may give it; what is left out keeps its default. */
export interface RouteInput {
  /** Path of the route (a path that starts with / and does not end with one, without * and :name; required). */
  readonly path: string;
  /** Who answers: completion, chat and embedding make it that call; proxy leaves it what the path is without the row; health and metrics are the endpoints of that name (one of completion, chat, embedding, proxy, health, metrics; default by path, else proxy). */
  readonly handler?: 'completion' | 'chat' | 'embedding' | 'proxy' | 'health' | 'metrics' | null | undefined;
  /** Prefix of the path, unless it begins with it (a version; default none). */
  readonly version?: string | null | undefined;
  /** Methods it serves; others are answered with 405, preflights always pass (each one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; default those of its handler). */
  readonly methods?: readonly ('GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS')[] | null | undefined;
  /** Optional parts that run for this route where middleware leaves them out; auth also demands a credential (each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default []). */
  readonly middleware?: readonly (MiddlewareName | (string & {}))[] | undefined;
  /** Headers a request must carry; without one it is answered with 400 (default {}). */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Free probes of what answers the route; while they fail it is answered with 503. */
  readonly healthCheck?: RouteHealthCheckInput | null | undefined;
}

/** `RouteHealthCheck` as code may give it; what is left out keeps its default. */
export interface RouteHealthCheckInput {
  /** Whether the route is checked (true or false; default true). */
  readonly enabled?: boolean | undefined;
  /** Time between two checks (a duration of at least 100ms, at most 24d; default 30s). */
  readonly interval?: number | string | undefined;
  /** How long a check may take (a duration above 0, at most 24d; default 5s). */
  readonly timeout?: number | string | undefined;
  /** Failed checks in a row after which the route counts as unhealthy (a whole number from 1 to 100; default 3). */
  readonly threshold?: number | undefined;
  /** Checks by a name of your own: http asks whether anything that can serve the route answers, threshold whether it does so within latency_threshold, which is reported alone; none means http (default {}). */
  readonly checks?: Readonly<Record<string, 'http' | 'threshold'>> | undefined;
  /** Answer time of a probe that a threshold check accepts (a duration above 0, at most 24d; default 500ms). */
  readonly latencyThreshold?: number | string | undefined;
}

/** `AdminConfig` as code may give it; what is left out keeps its default. */
export interface AdminInput {
  /** Bearer token of the admin API; also HEIMDALL_ADMIN_TOKEN; without one its paths do not exist (a secret text of at least 32 characters; default none). */
  readonly token?: string | null | undefined;
  /** Path of a file that holds token. */
  readonly tokenFile?: string | null | undefined;
  /** Path below which the admin API lies (a path that starts with / and does not end with one; default /heimdall). */
  readonly path?: string | undefined;
  /** Address of its own; the gateway then answers admin paths to callers on this machine alone; false for none (host:port, or false; default in the standalone 127.0.0.1 and the port after the gateway's). */
  readonly listen?: string | false | null | undefined;
  /** host leaves it to the application that mounts gate.admin to know who calls (token or host; default token). */
  readonly auth?: 'token' | 'host' | undefined;
}
