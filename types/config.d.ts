// Generated from lib/config/schema.ts by test/generate.ts: change the schema, not this file.

import type { Provider } from './provider.d.ts';

/** Configuration of the gateway: complete and deep-frozen. Durations are in milliseconds, sizes in bytes. An absent value is null. */
export interface Config {
  /** enforce applies every decision. observe decides and records, but refuses no request by a rule. Enforce or observe; default enforce. */
  readonly mode: 'enforce' | 'observe';
  /** The NewAPI behind the gateway. */
  readonly newapi: NewapiConfig;
  /** Install secret, the key of the hashes of tokens and cookies. A secret text of at least 16 characters; default generated in the directory of audit.path. */
  readonly secret: string | null;
  /** Earlier install secrets. Hashes made with them are still found. Each a secret text of at least 16 characters; default []. */
  readonly previousSecrets: readonly string[];
  /** Optional parts of the chain, in order. Each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default all, in the order of the chain. */
  readonly middleware: readonly MiddlewareName[] | null;
  /** Paths that the gateway answers itself. */
  readonly endpoints: EndpointsConfig;
  /** Proxy for connections to upstreams: environment uses HTTP_PROXY, HTTPS_PROXY and NO_PROXY, off connects directly. Environment or off; default environment in the standalone, else off. */
  readonly proxy: 'environment' | 'off' | null;
  /** Listener, timeouts and bounds of the standalone server. */
  readonly server: ServerConfig;
  /** Peers whose forwarding headers are trusted for the client address. unix is the peer of every connection over a Unix socket. Each an IP address or CIDR, or one of loopback, private, cloudflare, unix; default ["loopback"]. */
  readonly trustProxy: readonly string[];
  /** Header with the client address from a trusted peer. Takes precedence over X-Forwarded-For. The name of a header; default none. */
  readonly clientIpHeader: string | null;
  /** Header with the client's JA4 fingerprint from a trusted peer. The name of a header; default none. */
  readonly ja4Header: string | null;
  /** Address lists and connection limits, checked first. */
  readonly guard: GuardConfig;
  /** Targets of model routes. */
  readonly llm: LlmConfig;
  /** Circuit breaker of each target. */
  readonly circuitBreaker: CircuitBreakerConfig;
  /** Admission queue of model requests. */
  readonly queue: QueueConfig;
  /** Authentication of callers. */
  readonly auth: AuthConfig;
  /** CORS answers of the gateway. Without this section, NewAPI's CORS headers pass unchanged. */
  readonly cors: CorsConfig | null;
  /** Limits per address, per key and per policy. */
  readonly rateLimit: RateLimitConfig;
  /** Event log and access log. */
  readonly logging: LoggingConfig;
  /** Journal of requests, its sinks, ingestion and alerts. */
  readonly audit: AuditConfig;
  /** Prometheus metrics. A list of names in place of the section sets series. */
  readonly metrics: MetricsConfig;
  /** Paths with additional rules. The rules of the gateway for the path still apply. Default []. */
  readonly routes: readonly RouteConfig[];
  /** The watch: finds shared, stolen and abused keys. */
  readonly anomaly: AnomalyConfig;
  /** The admin API. */
  readonly admin: AdminConfig;
}

/** The NewAPI behind the gateway. */
export interface NewapiConfig {
  /** Base URL of NewAPI. An http or https URL without user, query or fragment; default http://localhost:3000. */
  readonly baseUrl: string;
  /** Longest silence of NewAPI. A duration above 0, at most 24d; default 300s. */
  readonly timeout: number;
  /** Access token of an administrator of NewAPI, by which the gateway learns users' and tokens' names and charges. Needs user_id. A secret text of visible ASCII characters; default none. */
  readonly accessToken: string | null;
  /** Id of the user that access_token belongs to. A whole number of at least 1; default none. */
  readonly userId: number | null;
  /** Host header sent to NewAPI: client is the client's, target is that of base_url. TLS always uses the host name of base_url or server_name. Client or target; default client. */
  readonly host: 'client' | 'target';
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath: string | null;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath: string | null;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath: string | null;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName: string | null;
}

/** Optional parts of the chain, in order: one name. */
export type MiddlewareName = 'request_timer' | 'security_headers' | 'cors' | 'rate_limit' | 'key_limit' | 'queue' | 'auth' | 'logging';

/** Paths that the gateway answers itself. */
export interface EndpointsConfig {
  /** Path of the health checks. false turns them off. A path that starts with / and does not end with one, or false; default /health. */
  readonly health: string | false;
  /** Path of the Prometheus metrics. false turns it off. A path that starts with / and does not end with one, or false; default /metrics. */
  readonly metrics: string | false;
  /** Path of the record ingestion. false turns it off. A path that starts with / and does not end with one, or false; default /api/log. */
  readonly log: string | false;
}

/** Listener, timeouts and bounds of the standalone server. */
export interface ServerConfig {
  /** Address or host name to listen on, or the absolute path of a Unix socket, which has no port. An address or host name; default 0.0.0.0. */
  readonly host: string;
  /** Port to listen on. 0 takes a free port. A whole number from 0 to 65535; default 8000. */
  readonly port: number;
  /** TLS of the server. Without a certificate and a key the server uses HTTP. A list in place of the section gives several certificates; a client that names no host gets the first. */
  readonly tls: TlsConfig | null;
  /** Offers HTTP/2 to the clients of server.tls, beside HTTP/1.1. Without TLS it has no effect. True or false; default true. */
  readonly http2: boolean;
  /** HTTP/3 of the standalone: it starts and supervises Caddy, which speaks QUIC with TLS 1.3 and hands each request to it over a Unix socket. While Caddy is down, clients use the TCP port. */
  readonly http3: Http3Config;
  /** Number of threads that serve requests, each with a listener of its own at the same address; auto: one for each core. Limits, budgets, the queue, keys, bans and max_inflight_bytes count over all of them; the part of max_inflight_bytes that one caller may have holds for each. Auto or a whole number from 1 to 1024; default 1. */
  readonly workers: number | 'auto';
  /** Expects the PROXY protocol, version 1 or 2, at the beginning of every connection of a peer in trust_proxy, before TLS, and takes the client that it names for the peer. Such a connection without it is closed. Connections of other peers are taken as they are. True or false; default false. */
  readonly proxyProtocol: boolean;
  /** Reads the configuration file again when it changes, and puts it in force. A file that cannot be used changes nothing. True or false; default false. */
  readonly watch: boolean;
  /** Longest time to receive the headers of a request. A body may take longer while data keeps arriving. A duration above 0, at most 24d; default 30s. */
  readonly readTimeout: number;
  /** Longest stall of a write. Does not limit the length of a stream. A duration above 0, at most 24d; default 45s. */
  readonly writeTimeout: number;
  /** Longest idle time of a connection between two requests. A duration above 0, at most 24d; default 72s. */
  readonly idleTimeout: number;
  /** Largest size of the headers of a request. A size of at least 1KB; default 1MB. */
  readonly maxHeaderBytes: number;
  /** Largest body that is buffered for failover. A larger body streams to the first target without failover. At most max_body_bytes. A size of at least 1KB; default 32MB. */
  readonly bufferBodyBytes: number;
  /** Largest accepted body. A size of at least 1KB; default 128MB. */
  readonly maxBodyBytes: number;
  /** Highest total size of buffered bodies. A key or an address may hold an eighth of it. A size of at least 1KB; default 512MB. */
  readonly maxInflightBytes: number;
  /** Highest number of open connections, over all workers. A whole number of at least 1; default none. */
  readonly maxConnections: number | null;
  /** Load shedding while the machine is short of a resource. Also as the top-level health_check when it names one of the thresholds. */
  readonly healthCheck: ServerHealthConfig | null;
  /** Time for running requests to finish when the server stops. A duration above 0, at most 24d; default 30s. */
  readonly shutdownTimeout: number;
}

/** TLS of the server. Without a certificate and a key the server uses HTTP. A list in place of the section gives several certificates; a client that names no host gets the first. */
export interface TlsConfig {
  /** PEM file of the certificate and its chain. A path; default none. */
  readonly certPath: string;
  /** PEM file of the private key. A path; default none. */
  readonly keyPath: string;
  /** Lowest accepted TLS version. 1.2 or 1.3; default 1.2. */
  readonly minVersion: '1.2' | '1.3';
  /** The only host name (SNI) that gets this certificate. A handshake for a name that no certificate answers to is refused. A host name; default the names in the certificate; any name for the first. */
  readonly serverName: string | null;
  /** Further certificates: the rest of a list in place of the section. Default []. */
  readonly others: readonly OtherTlsConfig[];
}

/** A further certificate. */
export interface OtherTlsConfig {
  /** PEM file of the certificate and its chain. A path; required. */
  readonly certPath: string;
  /** PEM file of the private key. A path; required. */
  readonly keyPath: string;
  /** Lowest accepted TLS version. 1.2 or 1.3; default 1.2. */
  readonly minVersion: '1.2' | '1.3';
  /** The only host name (SNI) that gets this certificate. A handshake for a name that no certificate answers to is refused. A host name; default the names in the certificate; any name for the first. */
  readonly serverName: string | null;
}

/** HTTP/3 of the standalone: it starts and supervises Caddy, which speaks QUIC with TLS 1.3 and hands each request to it over a Unix socket. While Caddy is down, clients use the TCP port. */
export interface Http3Config {
  /** Serves HTTP/3. True or false; default false. */
  readonly enabled: boolean;
  /** UDP port. Caddy opens the TCP port of this number too, so server.port is another one. A whole number from 1 to 65535; default 443. */
  readonly port: number;
  /** PEM file of the certificate and its chain. A path; default the certificate of server.tls. */
  readonly tlsCertFile: string | null;
  /** PEM file of the private key. A path; default the key of server.tls. */
  readonly tlsKeyFile: string | null;
  /** Longest idle time of a connection. Caddy has it fixed, so another value is refused. A duration above 0, at most 24d; default 30s. */
  readonly idleTimeout: number;
  /** Requests at a time on a connection. Caddy has it fixed, so another value is refused. A whole number of at least 1; default 100. */
  readonly maxBiStreamsConcurrent: number;
  /** Streams in one direction on a connection. Caddy has it fixed, so another value is refused. A whole number of at least 1; default 100. */
  readonly maxUniStreamsConcurrent: number;
  /** Bytes of a body that a client may send ahead. Caddy has it fixed, so another value is refused. A size of at least 1B; default 6MB. */
  readonly maxStreamReceiveWindow: number;
  /** Bytes of all bodies of a connection that a client may send ahead. Caddy has it fixed, so another value is refused. A size of at least 1B; default 15MB. */
  readonly maxConnectionReceiveWindow: number;
  /** Receive buffer of the UDP port. Caddy asks for 2MB; a larger one takes net.core.rmem_default of that size. A size of at least 1B; default 2MB. */
  readonly udpReceiveBufferSize: number;
  /** Requests in the first flight of a connection. Refused: Caddy does not tell which these are, so that a replayed one could not be told from the first (RFC 8470). True or false; default false. */
  readonly enable0rtt: boolean;
  /** Largest request that a trusted peer in front may mark with Early-Data, head and body; a larger one gets 425. A size of at least 0B; default 16KB. */
  readonly max0rttSize: number;
  /** Serves replayable requests that are not safe to repeat. Refused: a chat that is replayed is charged twice. True or false; default false. */
  readonly allow0rttReplay: boolean;
  /** Caddy: its path, or its name on the PATH. A path or the name of a program; default caddy. */
  readonly engine: string;
}

/** Load shedding while the machine is short of a resource. Also as the top-level health_check when it names one of the thresholds. */
export interface ServerHealthConfig {
  /** Checks the resources. True or false; default true. */
  readonly enabled: boolean;
  /** Time between two checks. A duration of at least 50ms, at most 24d; default 60s. */
  readonly interval: number;
  /** Longest time of a check. A slower check counts as failed. A duration above 0, at most 24d; default 5s. */
  readonly timeout: number;
  /** Consecutive failed checks after which new requests are refused. Also as failure_threshold. A whole number from 1 to 100; default 3. */
  readonly threshold: number;
  /** Resources to check: memory, cpu, disk, latency. Empty checks all. The value is a note without effect. Default {}. */
  readonly checks: Readonly<Record<string, string>>;
  /** Highest share of memory in use, of the container where there is one. A share above 0% and at most 100%; default 90%. */
  readonly memoryThreshold: number;
  /** Highest share of processor time in use since the last check. A share above 0% and at most 100%; default 80%. */
  readonly cpuThreshold: number;
  /** Highest share of the disk of audit.path in use. A share above 0% and at most 100%; default 95%. */
  readonly diskThreshold: number;
  /** Highest delay that the gateway itself adds, p99 since the last check. A duration above 0, at most 24d; default 500ms. */
  readonly latencyThreshold: number;
}

/** Address lists and connection limits, checked first. */
export interface GuardConfig {
  /** Client addresses that may call. Empty allows all. Each an IP address or CIDR; default []. */
  readonly allow: readonly string[];
  /** Client addresses that may not call. deny wins over allow. Each an IP address or CIDR; default []. */
  readonly deny: readonly string[];
  /** Highest number of open connections per address (IPv6 /56), and so of unread heads: a share that an office behind one address does not use up. null: none. Trusted proxies are not counted. A whole number of at least 1; default 1024. */
  readonly connectionsPerAddress: number | null;
  /** Number of requests after which a connection is closed. A whole number of at least 1; default none. */
  readonly maxRequestsPerSocket: number | null;
}

/** Targets of model routes. */
export interface LlmConfig {
  /** API of the target: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint. In code also a Provider. The name of a provider; default newapi. */
  readonly provider: string | Provider;
  /** Base URL including the version. The default is the provider's own URL, for newapi newapi.base_url + /v1. An http or https URL without user, query or fragment; default by provider. */
  readonly endpoint: string | null;
  /** Credential sent to the target. Without a credential, newapi gets the caller's. A secret text of visible ASCII characters; default none. */
  readonly apiKey: string | null;
  /** Model that replaces the requested model in every request to the target. The name of a model; default none. */
  readonly model: string | null;
  /** Models to rename for the target, as requested: sent. Default {}. */
  readonly models: Readonly<Record<string, string>>;
  /** Weight of the target with strategy weighted. A whole number from 1 to 1000; default 1. */
  readonly weight: number;
  /** Host header sent to the target: client is the client's, target is that of endpoint. TLS always uses the host name of endpoint or server_name. Client or target; default newapi.host for a newapi target without api_key, else target. */
  readonly host: 'client' | 'target';
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath: string | null;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath: string | null;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath: string | null;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName: string | null;
  /** Backup targets, tried in this order when the targets before them fail. Same keys as llm. Default []. */
  readonly backupProviders: readonly LlmTarget[];
  /** Choice of the first target: failover takes the first in the list, weighted chooses by weight, least_busy takes the one with the fewest concurrent requests. One of failover, weighted, least_busy; default failover. */
  readonly strategy: 'failover' | 'weighted' | 'least_busy';
  /** Prices by model name, or by a prefix followed by *. The longest match applies. Default {}. */
  readonly prices: Readonly<Record<string, ModelPrice>>;
  /** Prices of models that prices leaves out: newapi asks each NewAPI for its own (/api/pricing, with the ratio of the caller's group where it is known, else of default), package takes those of @pydantic/genai-prices, which also count for other targets and unknown models with newapi. none takes none. One of newapi, package, none; default newapi in front of a NewAPI, else package. */
  readonly priceSource: 'newapi' | 'package' | 'none';
  /** Retries of failed requests. Also as the top-level retry. */
  readonly retry: RetryConfig;
  /** Probes of the targets, which cost no tokens. Also as the top-level health_check. */
  readonly healthCheck: HealthCheckConfig;
  /** Timeouts of requests to targets. */
  readonly timeouts: LlmTimeouts;
  /** Answer of a client that has left: cancel ends it at once, finish reads it on without the client and counts the usage that the provider bills. Such an answer keeps its slot, is read for at most 5m and 32MB, and they have at most a quarter of queue.concurrency, one caller an eighth of that. Cancel or finish; default cancel. */
  readonly onClientAbort: 'cancel' | 'finish';
  /** Request bodies with a Content-Encoding: auto sends them decoded to targets that cannot read the coding, at most server.buffer_body_bytes large. NewAPI reads gzip and br, other targets none. off sends every body as received. Auto or off; default auto. */
  readonly decodeRequestBodies: 'auto' | 'off';
  /** Wait after which a stream without an answer starts with its head and SSE comments, so that a CDN does not close the connection. A duration above 0, at most 24d, or off; default off. */
  readonly streamPreludeAfter: number | null;
  /** Silence after which an SSE comment is sent within a stream, repeatedly, so that no proxy closes the connection. A duration above 0, at most 24d, or off; default off. */
  readonly keepAliveComments: number | null;
}

/** A target of model routes. */
export interface LlmTarget {
  /** API of the target: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint. In code also a Provider. The name of a provider; default newapi. */
  readonly provider: string | Provider;
  /** Base URL including the version. The default is the provider's own URL, for newapi newapi.base_url + /v1. An http or https URL without user, query or fragment; default by provider. */
  readonly endpoint: string | null;
  /** Credential sent to the target. Without a credential, newapi gets the caller's. A secret text of visible ASCII characters; default none. */
  readonly apiKey: string | null;
  /** Model that replaces the requested model in every request to the target. The name of a model; default none. */
  readonly model: string | null;
  /** Models to rename for the target, as requested: sent. Default {}. */
  readonly models: Readonly<Record<string, string>>;
  /** Weight of the target with strategy weighted. A whole number from 1 to 1000; default 1. */
  readonly weight: number;
  /** Host header sent to the target: client is the client's, target is that of endpoint. TLS always uses the host name of endpoint or server_name. Client or target; default newapi.host for a newapi target without api_key, else target. */
  readonly host: 'client' | 'target';
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath: string | null;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath: string | null;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath: string | null;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName: string | null;
}

/** Price of a model in US dollars per million tokens. */
export interface ModelPrice {
  /** US dollars per million prompt tokens. A number of at least 0; required. */
  readonly input: number;
  /** US dollars per million completion tokens. A number of at least 0; required. */
  readonly output: number;
  /** US dollars per million cached prompt tokens. A number of at least 0; default input. */
  readonly cached: number | null;
}

/** Retries of failed requests. Also as the top-level retry. */
export interface RetryConfig {
  /** Highest number of retries after every target was tried once. 0 turns retries off. A whole number from 0 to 100; default 5. */
  readonly maxRetries: number;
  /** Longest delay before the first retry. The actual delay is random between 0 and this value. A duration above 0, at most 24d; default 100ms. */
  readonly initialDelay: number;
  /** Longest delay before any retry. A duration above 0, at most 24d; default 5s. */
  readonly maxDelay: number;
  /** Factor by which the longest delay grows with every retry. A number from 1 to 10; default 1.5. */
  readonly multiplier: number;
  /** Failures that are retried. A retry after timeout may bill a request twice. Each one of rate_limit, timeout, server_error; default ["rate_limit", "server_error"]. */
  readonly retryableErrors: readonly ('rate_limit' | 'timeout' | 'server_error')[];
}

/** Probes of the targets, which cost no tokens. Also as the top-level health_check. */
export interface HealthCheckConfig {
  /** Probes the targets. True or false; default true. */
  readonly enabled: boolean;
  /** Time between two probes of a target. A duration of at least 1s, at most 24d; default 15s. */
  readonly interval: number;
  /** Longest time of a probe. A duration above 0, at most 24d; default 5s. */
  readonly timeout: number;
  /** Consecutive failed probes after which a target counts as down. Also as threshold. A whole number from 1 to 100; default 2. */
  readonly failureThreshold: number;
}

/** Timeouts of requests to targets. */
export interface LlmTimeouts {
  /** Longest time to connect to a target. A duration above 0, at most 24d; default 5s. */
  readonly connect: number;
  /** Longest time until a target begins its answer; comments and white space after a status of 200 restart it. A duration above 0, at most 24d; default 300s. */
  readonly firstByte: number;
  /** Longest silence within an answer. A duration above 0, at most 24d; default 300s. */
  readonly idle: number;
  /** Longest time of all attempts together, until the first part of an answer is sent to the client. A duration above 0, at most 24d; default 10m. */
  readonly total: number;
}

/** Circuit breaker of each target. */
export interface CircuitBreakerConfig {
  /** Highest number of concurrent requests while the breaker is half-open. A whole number from 1 to 1000; default 1. */
  readonly maxRequests: number;
  /** Time after which the failure count of a closed breaker is reset. 0 never resets it. A duration of at most 24d; default 30s. */
  readonly interval: number;
  /** Time after which an open breaker becomes half-open. A duration above 0, at most 24d; default 10s. */
  readonly timeout: number;
  /** Consecutive failures that open the breaker. A whole number from 1 to 1000; default 5. */
  readonly failureThreshold: number;
}

/** Admission queue of model requests. */
export interface QueueConfig {
  /** Limits the number of concurrent model requests. True or false; default true. */
  readonly enabled: boolean;
  /** Highest number of concurrent model requests. Can be changed while the gateway runs. A whole number of at least 1; default 1000. */
  readonly concurrency: number;
  /** Highest number of waiting requests. 0 refuses a request that cannot run at once. A whole number of at least 0; default 1000. */
  readonly initialSize: number;
  /** Longest wait in the queue. A duration above 0, at most 24d; default 30s. */
  readonly maxWait: number;
  /** File or directory that keeps the state of the queue over a restart. Without a path no state is kept. A path; default none. */
  readonly statePath: string | null;
  /** Time between two saves of the state. A duration of at least 100ms, at most 24d; default 30s. */
  readonly saveInterval: number;
  /** Highest number of open WebSockets. Counted apart from concurrency. A key or an address may hold an eighth of it. A whole number of at least 1; default 1000. */
  readonly websockets: number;
}

/** Authentication of callers. */
export interface AuthConfig {
  /** passthrough lets NewAPI check its own tokens. keys accepts the keys of this list and of `heimdall keys`. jwt accepts these keys and the tokens of an issuer. One of passthrough, keys, jwt; default passthrough when llm uses the caller's token, else keys. */
  readonly mode: 'passthrough' | 'keys' | 'jwt';
  /** Time for which a token that NewAPI accepted counts as verified. A duration above 0, at most 24d; default 1h. */
  readonly verifiedTtl: number;
  /** Gateway keys. Default []. */
  readonly keys: readonly GatewayKey[];
  /** Verification of tokens from an identity provider, for auth.mode jwt. */
  readonly jwt: JwtConfig | null;
  /** NewAPI token sent for users that `identify` of an embedding program names and gives no token of their own. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential: string | null;
}

/** A gateway key. */
export interface GatewayKey {
  /** Unique name of the key in records and metrics. A name that does not begin with jwt: or user:; required. */
  readonly name: string;
  /** SHA-256 in hex of the key exactly as clients send it, including sk-. The SHA-256 of the key in 64 hex digits; required. */
  readonly sha256: string;
  /** Time at which the key expires. A date without a time means 00:00 UTC. An ISO date, or a date and time with Z or an offset; default none. */
  readonly expires: number | null;
  /** Refuses the key and keeps its entry. True or false; default false. */
  readonly disabled: boolean;
  /** Models that the key may use. Empty allows all. Each the name of a model; default []. */
  readonly models: readonly string[];
  /** Client addresses that may use the key. Empty allows all. Each an IP address or CIDR; default []. */
  readonly cidrs: readonly string[];
  /** NewAPI token that replaces the key on routes that only NewAPI answers. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential: string | null;
  /** Limit of requests in a sliding window. */
  readonly requests: RequestLimit | null;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency: number | null;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget: Budget | null;
}

/** Limit of requests in a sliding window. */
export interface RequestLimit {
  /** Highest number of requests in a window. A whole number of at least 1; required. */
  readonly limit: number;
  /** Length of the window. A duration of at least 1s, at most 24d; default 60s. */
  readonly window: number;
}

/** Limit of tokens, prompt and completion together, in a sliding window. */
export interface TokenLimit {
  /** Highest number of tokens in a window. A whole number of at least 1; required. */
  readonly limit: number;
  /** Length of the window. A duration of at least 1s, at most 24d; default 60s. */
  readonly window: number;
}

/** Limit of cost in US dollars. A request without a known price counts as 0. */
export interface Budget {
  /** Highest cost in US dollars per day (UTC). A number of at least 0; default none. */
  readonly day: number | null;
  /** Highest cost in US dollars per calendar month (UTC). A number of at least 0; default none. */
  readonly month: number | null;
}

/** Verification of tokens from an identity provider, for auth.mode jwt. */
export interface JwtConfig {
  /** Issuer (iss) that a token must name. An issuer; default none. */
  readonly issuer: string | null;
  /** Audience (aud) that a token must name. An audience; default none. */
  readonly audience: string | null;
  /** URL of the issuer's key set (JWKS). An https URL, or http on loopback; default none. */
  readonly jwksUri: string | null;
  /** Accepted signature algorithms. Each one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519; default ["RS256", "PS256", "ES256", "EdDSA"]. */
  readonly algorithms: readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519')[];
  /** NewAPI token sent to routes that only NewAPI answers. Without a token these routes are refused to JWT callers. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential: string | null;
}

/** CORS answers of the gateway. Without this section, NewAPI's CORS headers pass unchanged. */
export interface CorsConfig {
  /** Origins that may call from a browser. * allows all. Each an origin or *; default []. */
  readonly allowOrigins: readonly string[];
  /** Allowed methods. Each an HTTP method; default ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]. */
  readonly allowMethods: readonly string[];
  /** Allowed request headers. Each the name of a header; default those that the preflight requests. */
  readonly allowHeaders: readonly string[] | null;
  /** Response headers that a page may read. Each the name of a header; default []. */
  readonly exposeHeaders: readonly string[];
  /** Allows cookies. Not allowed together with the origin *. True or false; default false. */
  readonly credentials: boolean;
  /** Time for which browsers may cache a preflight answer, in seconds. A duration of whole seconds, at most 24d; default none. */
  readonly maxAge: number | null;
}

/** Limits per address, per key and per policy. */
export interface RateLimitConfig {
  /** Limit per client address. IPv6 addresses count by their /56. */
  readonly address: AddressLimit;
  /** Limits of every key, including NewAPI's tokens. A limit of the key itself takes precedence. */
  readonly key: KeyLimits;
  /** Additional limits. Every matching policy applies. Default []. */
  readonly policies: readonly Policy[];
  /** Addresses, CIDRs, key names, token identities and users (user:ID) without limits. Each an IP address, a CIDR, the name of a key or user: and an id; default []. */
  readonly exempt: readonly string[];
  /** Store of the counters: memory counts per instance, redis counts over all instances. Memory or redis; default redis with redis_url, else memory. */
  readonly store: 'memory' | 'redis';
  /** URL of the Redis that the instances share. redis+cluster://host,host is a cluster, redis+sentinel://host,host/master/database the master that Sentinels name; rediss is TLS. Also set by REDIS_URL. A URL that begins with redis:// or rediss://, redis+cluster:// or redis+sentinel://; default none. */
  readonly redisUrl: string | null;
  /** PEM file of the authorities that sign the certificate of Redis. A path; default those of Node. */
  readonly redisCaPath: string | null;
  /** Number of instances behind one load balancer. Without Redis each instance enforces its share of every limit. A whole number from 1 to 10000; default 1. */
  readonly instances: number;
  /** Rate of a caller over all instances above which its limits of requests and tokens are taken from Redis in blocks, a hundredth of a limit at a time, instead of one round trip a request. More than a limit does not pass, but for a block of an instance that is killed; `instances` blocks may be refused too early. true is 1000/s. False, true or a rate above 0; default false. */
  readonly redisBlocks: number | false;
  /** What happens while Redis is not available: local enforces this instance's share, open accepts, closed refuses with 503. One of local, open, closed; default local. */
  readonly onStoreError: 'local' | 'open' | 'closed';
}

/** Limit per client address. IPv6 addresses count by their /56. */
export interface AddressLimit {
  /** Highest number of requests in a window. 0 turns the limit off. A whole number of at least 0; default 60. */
  readonly limit: number;
  /** Length of the window. A duration above 0, at most 24d; default 60s. */
  readonly window: number;
  /** failed counts only requests with a refused credential. all counts every request except UI, assets, webhooks and task polling. Failed or all; default failed. */
  readonly count: 'failed' | 'all';
}

/** Limits of every key, including NewAPI's tokens. A limit of the key itself takes precedence. */
export interface KeyLimits {
  /** Limit of requests in a sliding window. */
  readonly requests: RequestLimit | null;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency: number | null;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget: Budget | null;
  /** enforce refuses requests above a limit. observe counts and records them, and refuses none. Enforce or observe; default enforce. */
  readonly mode: 'enforce' | 'observe';
}

/** Limits of the matching requests, counted per key. */
export interface Policy {
  /** Requests that the policy applies to. Every given field must match. */
  readonly match: PolicyMatch;
  /** Limit of requests in a sliding window. */
  readonly requests: RequestLimit | null;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens: TokenLimit | null;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency: number | null;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget: Budget | null;
  /** Client addresses allowed for matching requests. Empty allows all. Each an IP address or CIDR; default []. */
  readonly cidrs: readonly string[];
  /** enforce refuses requests above a limit. observe counts and records them, and refuses none. Enforce or observe; default enforce. */
  readonly mode: 'enforce' | 'observe';
}

/** Requests that the policy applies to. Every given field must match. */
export interface PolicyMatch {
  /** Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash. The name of a key, the 16 hex digits of a token identity, or a NewAPI token, which may end in *; default none. */
  readonly token: string | null;
  /** Model as the caller names it. The name of a model, which may end in *; default none. */
  readonly model: string | null;
  /** Client as records show it, or the family before the /. The name of a client, which may end in *; default none. */
  readonly client: string | null;
  /** Template or path of the route. A path, which may end in *; default none. */
  readonly route: string | null;
  /** Group that `identify` of an embedding program gave. The name of a group, which may end in *; default none. */
  readonly group: string | null;
  /** Id that `identify` of an embedding program gave. The id of a user, which may end in *; default none. */
  readonly user: string | null;
  /** User of NewAPI, by id or name; its tokens count together. Names are learnt with newapi.access_token seconds after a token's first request: until then nothing is refused by them, and what was used counts afterwards. While they cannot be learnt, a caller without a name is held to every policy by names. The id or name of a user of NewAPI, which may end in *; default none. */
  readonly newapiUser: string | null;
  /** Name of a token of NewAPI, learnt in the same way. The name of a token of NewAPI, which may end in *; default none. */
  readonly newapiToken: string | null;
  /** Group of NewAPI, learnt in the same way; each of its users counts alone. The name of a group of NewAPI, which may end in *; default none. */
  readonly newapiGroup: string | null;
}

/** Event log and access log. */
export interface LoggingConfig {
  /** Lowest level of logged events. One of trace, debug, info, warn, error, fatal, silent; default info. */
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Writes the access log and the event log to standard output. Without it the event log goes to standard error. True or false; default true in the standalone, else false. */
  readonly console: boolean | null;
  /** Format of the access log. Json or combined; default json. */
  readonly format: 'json' | 'combined';
  /** File of the access log, in addition to the console. false writes no file. A path, or false; default heimdall.log in the standalone, else false. */
  readonly file: string | false | null;
  /** Size at which the file is rotated. A size of at least 1KB; default 100MB. */
  readonly maxSize: number;
  /** Number of rotated files to keep. heimdall.1.log is the latest. A whole number of at least 1; default 7. */
  readonly maxFiles: number;
  /** Query parameters that are logged with their values. Other parameters are logged by name only. Each the name of a query parameter; default []. */
  readonly queryAllow: readonly string[];
}

/** Journal of requests, its sinks, ingestion and alerts. */
export interface AuditConfig {
  /** Keeps the journal. false, or audit: false, keeps no record and writes no file beside it: keys, bans and budgets last as long as the process. True or false; default true. */
  readonly enabled: boolean;
  /** SQLite file of the journal. A generated install secret is stored in the same directory. A path; default data/heimdall.db. */
  readonly path: string;
  /** How long the journal keeps records and bodies. */
  readonly retention: RetentionConfig;
  /** Size of the database at which the oldest records are deleted. A size of at least 1MB; default 10GB. */
  readonly maxSize: number;
  /** batched commits records about every 50 ms. strict commits the intent of a model request before it is forwarded, and does not start without the database. Batched or strict; default batched. */
  readonly durability: 'batched' | 'strict';
  /** Headers and bodies of model routes that a record keeps. Credentials are never kept. */
  readonly capture: CaptureConfig;
  /** Content fingerprint of a model request. md5 is of the whole body. turn is a keyed hash of the text of the newest turn, equal when people repeat themselves. off is none. One of md5, turn, off; default md5. */
  readonly fingerprint: 'md5' | 'turn' | 'off';
  /** What happens while the journal cannot be written. drop serves requests and counts lost records. refuse answers model routes with 503, and does not start without the database. Drop or refuse; default drop. */
  readonly onFull: 'drop' | 'refuse';
  /** Sink: the log receiver of NewAPI, in NebulaGate and other builds that have it. */
  readonly newapi: AuditNewapiConfig;
  /** Sink: a PostgreSQL table that several gateways share. */
  readonly postgres: AuditPostgresConfig;
  /** Sink: OpenTelemetry by OTLP/HTTP (JSON), with a trace of each request, which its upstream is told in traceparent. */
  readonly otlp: OtlpConfig;
  /** Sink: syslog (RFC 5424), each record as JSON in a message. */
  readonly syslog: SyslogConfig;
  /** Ingestion of records from other gateways at endpoints.log. */
  readonly ingest: AuditIngestConfig;
  /** Webhook alerts: target open, machine short of resources, Redis lost, disk full, sink lagging, certificate about to expire, findings of the watch. */
  readonly alerts: AlertsConfig;
}

/** How long the journal keeps records and bodies. */
export interface RetentionConfig {
  /** Age at which a record is deleted. A duration of at least 1s, at most 3650d; default 30d. */
  readonly records: number;
  /** Age at which the bodies are deleted from a record. A duration of at least 1s, at most 3650d; default 7d. */
  readonly bodies: number;
}

/** Headers and bodies of model routes that a record keeps. Credentials are never kept. */
export interface CaptureConfig {
  /** Headers kept: safe is a fixed list, all is every header without a credential, off is none. One of safe, all, off; default safe. */
  readonly headers: 'safe' | 'all' | 'off';
  /** Bytes of a model request body to keep, masked: the newest turn first, then everything short. 0 keeps none. A size of at least 0B; default 10KB. */
  readonly body: number;
  /** Bytes to keep, masked, of each long text of a request body (system prompt, tools, an earlier turn). Equal texts are kept once. 0 keeps digests alone. A size of at least 0B; default 32KB. */
  readonly text: number;
  /** Bytes of a model response body to keep, masked. 0 keeps none. A size of at least 0B; default 0. */
  readonly response: number;
}

/** Sink: the log receiver of NewAPI, in NebulaGate and other builds that have it. */
export interface AuditNewapiConfig {
  /** Sends records to the receiver. True or false; default false. */
  readonly enabled: boolean;
  /** Base URL of the NewAPI with the receiver. An http or https URL without user, query or fragment; default newapi.base_url. */
  readonly url: string | null;
  /** Records to send: all, flagged (refused, or would have been refused), or sample (one in ten). One of all, flagged, sample; default all. */
  readonly select: 'all' | 'flagged' | 'sample';
  /** masked sends a masked token, which the receiver cannot map to a user. raw sends the token itself, without sk-, for callers seen since the start. Masked or raw; default masked. */
  readonly token: 'masked' | 'raw';
  /** Highest number of records per time. The receiver shares a limit of 180 calls in 180 s. A rate above 0; default 0.8/s. */
  readonly maxRate: number;
}

/** Sink: a PostgreSQL table that several gateways share. */
export interface AuditPostgresConfig {
  /** URL of the database. Also set by DATABASE_URL. A URL that begins with postgres:// or postgresql://; default none. */
  readonly url: string | null;
  /** URL of the database as admin.read_from: postgres reads it, with a role that may only read. A URL that begins with postgres:// or postgresql://; default audit.postgres.url. */
  readonly readUrl: string | null;
}

/** Sink: OpenTelemetry by OTLP/HTTP (JSON), with a trace of each request, which its upstream is told in traceparent. */
export interface OtlpConfig {
  /** Base URL of the receiver; /v1/traces and /v1/logs are added. An http or https URL without user, query or fragment; default none. */
  readonly endpoint: string | null;
  /** Headers sent with each export, as name=value with commas between. Headers as name=value, with commas between; default none. */
  readonly headers: string | null;
  /** PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones. A path; default none. */
  readonly caPath: string | null;
  /** Exports a server span for each request. The trace of the caller's traceparent goes on. True or false; default true. */
  readonly traces: boolean;
  /** Exports each record as a log. True or false; default false. */
  readonly logs: boolean;
  /** Share of the traces made by the gate that are sampled. A trace that the caller has begun keeps its flag. A share above 0% and at most 100%; default 100%. */
  readonly sample: number;
  /** Exports bodies as well, as far as records keep them. True or false; default false. */
  readonly bodies: boolean;
  /** Longest time for one export. A duration above 0, at most 25s; default 10s. */
  readonly timeout: number;
  /** Highest number of records of one export. A whole number from 1 to 1000; default 200. */
  readonly batch: number;
}

/** Sink: syslog (RFC 5424), each record as JSON in a message. */
export interface SyslogConfig {
  /** Receiver: tcp or tls, host and port. Without a port 601, with tls 6514. A URL of tcp:// or tls:// with a host, and a port or none; default none. */
  readonly url: string | null;
  /** PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones. A path; default none. */
  readonly caPath: string | null;
  /** Facility of the messages. One of local0, local1, local2, local3, local4, local5, local6, local7, user, daemon, auth, authpriv; default local0. */
  readonly facility: 'local0' | 'local1' | 'local2' | 'local3' | 'local4' | 'local5' | 'local6' | 'local7' | 'user' | 'daemon' | 'auth' | 'authpriv';
  /** Sends headers and bodies as well, as far as records keep them. Receivers may cut long messages. True or false; default false. */
  readonly bodies: boolean;
  /** Longest time for one batch. A duration above 0, at most 25s; default 10s. */
  readonly timeout: number;
  /** Highest number of records sent at a time. A whole number from 1 to 1000; default 200. */
  readonly batch: number;
}

/** Ingestion of records from other gateways at endpoints.log. */
export interface AuditIngestConfig {
  /** Bearer tokens that may send records. Without a token the endpoint accepts none. Each a secret text of visible ASCII characters; default []. */
  readonly tokens: readonly string[];
  /** Highest number of records per time for each token. A rate above 0; default 100/s. */
  readonly maxRate: number;
}

/** Webhook alerts: target open, machine short of resources, Redis lost, disk full, sink lagging, certificate about to expire, findings of the watch. */
export interface AlertsConfig {
  /** URL that receives the alerts by POST. A URL that begins with http:// or https://; default none. */
  readonly webhook: string | null;
  /** Secret that signs the alerts, in the header X-Heimdall-Signature; with feishu and dingtalk the one that the robot signs with. A secret text of at least 16 characters; default none. */
  readonly secret: string | null;
  /** Form of the alerts: JSON of the gate, or messages of a chat service. For telegram, webhook is https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>. One of json, slack, feishu, dingtalk, wecom, telegram; default json. */
  readonly format: AlertFormat;
}

/** Form of the alerts: JSON of the gate, or messages of a chat service. For telegram, webhook is https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>: one name. */
export type AlertFormat = 'json' | 'slack' | 'feishu' | 'dingtalk' | 'wecom' | 'telegram';

/** Prometheus metrics. A list of names in place of the section sets series. */
export interface MetricsConfig {
  /** Collects metrics. True or false; default true. */
  readonly enabled: boolean;
  /** Prefix of every metric name, except those of OpenTelemetry. A prefix of letters, digits, _ and :; default heimdall_. */
  readonly prefix: string;
  /** Bearer token of the metrics endpoint. Without a token the endpoint does not exist. A secret text of visible ASCII characters; default none. */
  readonly token: string | null;
  /** Metrics to expose. Each one of request_duration_seconds, request_size_bytes, response_size_bytes, overhead_seconds, active_requests, error_total, guard_refused_total, resource_usage_ratio, resource_short, tls_certificate_not_after_seconds, circuit_breaker_state, upstream_active_requests, upstream_attempts_total, upstream_failures_total, route_health, tokens_total, cost_usd_total, gen_ai_server_request_duration_seconds, gen_ai_server_time_to_first_token_seconds, gen_ai_server_time_per_output_token_seconds, gen_ai_client_token_usage, queue_waiting, queue_active, queue_wait_seconds, queue_rejected_total, websockets_active, inflight_bytes, rate_limit_hits_total, rate_limit_checks_total, rate_limit_budgets_total, rate_limit_store_errors_total, rate_limit_tokens_total, rate_limit_reserved, watch_refused_messages_total, audit_records_total, audit_journal_writable, audit_queue_records, audit_journal_bytes, audit_dropped_total, audit_write_seconds, audit_sink_lag_records, audit_sink_delivered_total, audit_sink_refused_total, audit_sink_errors_total; default all. */
  readonly series: readonly SeriesName[] | null;
}

/** Metrics to expose: one name. */
export type SeriesName = 'request_duration_seconds' | 'request_size_bytes' | 'response_size_bytes' | 'overhead_seconds' | 'active_requests' | 'error_total' | 'guard_refused_total' | 'resource_usage_ratio' | 'resource_short' | 'tls_certificate_not_after_seconds' | 'circuit_breaker_state' | 'upstream_active_requests' | 'upstream_attempts_total' | 'upstream_failures_total' | 'route_health' | 'tokens_total' | 'cost_usd_total' | 'gen_ai_server_request_duration_seconds' | 'gen_ai_server_time_to_first_token_seconds' | 'gen_ai_server_time_per_output_token_seconds' | 'gen_ai_client_token_usage' | 'queue_waiting' | 'queue_active' | 'queue_wait_seconds' | 'queue_rejected_total' | 'websockets_active' | 'inflight_bytes' | 'rate_limit_hits_total' | 'rate_limit_checks_total' | 'rate_limit_budgets_total' | 'rate_limit_store_errors_total' | 'rate_limit_tokens_total' | 'rate_limit_reserved' | 'watch_refused_messages_total' | 'audit_records_total' | 'audit_journal_writable' | 'audit_queue_records' | 'audit_journal_bytes' | 'audit_dropped_total' | 'audit_write_seconds' | 'audit_sink_lag_records' | 'audit_sink_delivered_total' | 'audit_sink_refused_total' | 'audit_sink_errors_total';

/** A path with additional rules. */
export interface RouteConfig {
  /** Path of the route. A path that starts with / and does not end with one, without * and :name; required. */
  readonly path: string;
  /** Handler of the route. completion, chat and embedding treat the path as that API call. proxy leaves the path as it is without this row. health and metrics are the endpoints of that name. One of completion, chat, embedding, proxy, health, metrics; default by path, else proxy. */
  readonly handler: 'completion' | 'chat' | 'embedding' | 'proxy' | 'health' | 'metrics';
  /** Version prefix, added to a path that does not start with it. A version; default none. */
  readonly version: string | null;
  /** Allowed methods. Other methods are answered with 405. Preflights always pass. Each one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; default those of the handler. */
  readonly methods: readonly ('GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS')[] | null;
  /** Optional parts that run for this route in addition to middleware. auth also requires a credential. Each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default []. */
  readonly middleware: readonly MiddlewareName[];
  /** Headers that a request must carry. A request without them is answered with 400. Default {}. */
  readonly headers: Readonly<Record<string, string>>;
  /** Probes of the targets of the route, which cost no tokens. While they fail, the route is answered with 503. */
  readonly healthCheck: RouteHealthCheck | null;
}

/** Probes of the targets of the route, which cost no tokens. While they fail, the route is answered with 503. */
export interface RouteHealthCheck {
  /** Checks the route. True or false; default true. */
  readonly enabled: boolean;
  /** Time between two checks. A duration of at least 100ms, at most 24d; default 30s. */
  readonly interval: number;
  /** Longest time of a check. A duration above 0, at most 24d; default 5s. */
  readonly timeout: number;
  /** Consecutive failed checks after which the route counts as unhealthy. A whole number from 1 to 100; default 3. */
  readonly threshold: number;
  /** Checks by user-defined name. http checks that a target of the route answers, and closes the route when it fails. threshold checks that the answer arrives within latency_threshold, and only reports. Empty means one http check. Default {}. */
  readonly checks: Readonly<Record<string, 'http' | 'threshold'>>;
  /** Longest answer time that a threshold check accepts. A duration above 0, at most 24d; default 500ms. */
  readonly latencyThreshold: number;
}

/** The watch: finds shared, stolen and abused keys. */
export interface AnomalyConfig {
  /** off judges nothing, shadow reports what it would do, enforce acts. Every action ends by itself and can be undone. One of off, shadow, enforce; default shadow. */
  readonly mode: 'off' | 'shadow' | 'enforce';
  /** Answers the paths of the original, /api/anomaly/*, with the admin token, in place of NewAPI. True or false; default false. */
  readonly api: boolean;
  /** File in MaxMind's format that says where addresses are: country, autonomous system, hosting. It is shown with findings and callers, and gives impossible_travel its countries. A newer file is taken up by itself. A path; default none. */
  readonly mmdb: string | null;
  /** The rules of the watch. */
  readonly rules: AnomalyRules;
}

/** The rules of the watch. */
export interface AnomalyRules {
  /** One key behind which several people work. */
  readonly sharedKey: AnomalyRule;
  /** A network, a client and a model that the key never had. */
  readonly stolenKey: AnomalyRule;
  /** Spending far above what the key and all others ever spent. */
  readonly spendVelocity: AnomalyRule;
  /** Requests far above what the key and all others ever sent. */
  readonly requestRate: AnomalyRule;
  /** Many refused credentials from one network. */
  readonly credentialStuffing: AnomalyRule;
  /** One network that tries many good keys. */
  readonly keySpraying: AnomalyRule;
  /** Nearly every request fails. */
  readonly failureBurst: AnomalyRule;
  /** One body over many keys, or without end. */
  readonly contentRepetition: AnomalyRule;
  /** Many unknown paths from one network. */
  readonly scanning: AnomalyRule;
  /** A key that was reported as leaked. Unlike other rules it acts in every mode, until it is undone or rotated. */
  readonly leakedKey: AnomalyRule;
  /** A honey key was used. */
  readonly honeyKey: AnomalyRule;
  /** A client that says it is Claude Code, Codex or Qwen Code, and lacks what that one always sends. It never does more than flag. */
  readonly clientForgery: AnomalyRule;
  /** Countries in turn within an hour. */
  readonly impossibleTravel: AnomalyRule;
}

/** One key behind which several people work. */
export interface AnomalyRule {
  /** Highest action. none ignores the rule, flag only reports, slow delays each request, limit lets one request a minute through, freeze refuses the caller. One of none, flag, slow, limit, freeze; default freeze. */
  readonly action: AnomalyAction;
}

/** Highest action. none ignores the rule, flag only reports, slow delays each request, limit lets one request a minute through, freeze refuses the caller: one name. */
export type AnomalyAction = 'none' | 'flag' | 'slow' | 'limit' | 'freeze';

/** The admin API. */
export interface AdminConfig {
  /** Bearer token of the admin API. Also set by HEIMDALL_ADMIN_TOKEN. Without a token the admin API does not exist. A secret text of at least 32 characters; default none. */
  readonly token: string | null;
  /** Bearer token that may read everything in the admin API and change nothing. A secret text of at least 32 characters; default none. */
  readonly readToken: string | null;
  /** Base path of the admin API. A path that starts with / and does not end with one; default /heimdall. */
  readonly path: string;
  /** Separate address of the admin API. The main port then answers admin paths only to callers on this machine. false opens no separate address. Host:port, or false; default in the standalone 127.0.0.1 and server.port + 1. */
  readonly listen: string | false | null;
  /** PEM file of the authorities whose client certificates the separate address demands, beside the token. The main port then has no admin API. Needs server.tls. A path; default none. */
  readonly clientCaPath: string | null;
  /** token demands admin.token. host relies on the login of the application that mounts gate.admin. newapi relies on NewAPI's own login: its session, or an access token, of a user with newapi_role. One of token, host, newapi; default token. */
  readonly auth: 'token' | 'host' | 'newapi';
  /** Where lists, charts, callers and findings are read: in the journal of this instance, or in audit.postgres, which has those of all. Journal or postgres; default journal. */
  readonly readFrom: 'journal' | 'postgres';
  /** Role that admin.auth: newapi demands: 10 administrators, 100 the owner. They read the prompts of all users. 10 or 100; default 10. */
  readonly newapiRole: number;
}

/** `Config` as code may pass it. A missing key takes its default. */
export interface ConfigInput {
  /** enforce applies every decision. observe decides and records, but refuses no request by a rule. Enforce or observe; default enforce. */
  readonly mode?: 'enforce' | 'observe' | undefined;
  /** The NewAPI behind the gateway. */
  readonly newapi?: NewapiInput | undefined;
  /** Install secret, the key of the hashes of tokens and cookies. A secret text of at least 16 characters; default generated in the directory of audit.path. */
  readonly secret?: string | null | undefined;
  /** Path of a file that holds secret. */
  readonly secretFile?: string | null | undefined;
  /** Earlier install secrets. Hashes made with them are still found. Each a secret text of at least 16 characters; default []. */
  readonly previousSecrets?: readonly string[] | undefined;
  /** Optional parts of the chain, in order. Each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default all, in the order of the chain. */
  readonly middleware?: readonly (MiddlewareName | (string & {}))[] | null | undefined;
  /** Paths that the gateway answers itself. */
  readonly endpoints?: EndpointsInput | undefined;
  /** Proxy for connections to upstreams: environment uses HTTP_PROXY, HTTPS_PROXY and NO_PROXY, off connects directly. Environment or off; default environment in the standalone, else off. */
  readonly proxy?: 'environment' | 'off' | null | undefined;
  /** Listener, timeouts and bounds of the standalone server. */
  readonly server?: ServerInput | undefined;
  /** Peers whose forwarding headers are trusted for the client address. unix is the peer of every connection over a Unix socket. Each an IP address or CIDR, or one of loopback, private, cloudflare, unix; default ["loopback"]. */
  readonly trustProxy?: readonly string[] | undefined;
  /** Header with the client address from a trusted peer. Takes precedence over X-Forwarded-For. The name of a header; default none. */
  readonly clientIpHeader?: string | null | undefined;
  /** Header with the client's JA4 fingerprint from a trusted peer. The name of a header; default none. */
  readonly ja4Header?: string | null | undefined;
  /** Address lists and connection limits, checked first. */
  readonly guard?: GuardInput | undefined;
  /** Targets of model routes. */
  readonly llm?: LlmInput | undefined;
  /** Alias of llm.retry. */
  readonly retry?: RetryInput | undefined;
  /** Alias of llm.healthCheck. */
  readonly healthCheck?: HealthCheckInput | undefined;
  /** Circuit breaker of each target. */
  readonly circuitBreaker?: CircuitBreakerInput | undefined;
  /** Admission queue of model requests. */
  readonly queue?: QueueInput | undefined;
  /** Authentication of callers. */
  readonly auth?: AuthInput | undefined;
  /** CORS answers of the gateway. Without this section, NewAPI's CORS headers pass unchanged. */
  readonly cors?: CorsInput | null | undefined;
  /** Limits per address, per key and per policy. */
  readonly rateLimit?: RateLimitInput | undefined;
  /** Event log and access log. */
  readonly logging?: LoggingInput | undefined;
  /** Journal of requests, its sinks, ingestion and alerts. */
  readonly audit?: AuditInput | false | undefined;
  /** Prometheus metrics. A list of names in place of the section sets series. */
  readonly metrics?: MetricsInput | readonly (SeriesName | (string & {}))[] | undefined;
  /** Paths with additional rules. The rules of the gateway for the path still apply. Default []. */
  readonly routes?: readonly RouteInput[] | undefined;
  /** The watch: finds shared, stolen and abused keys. */
  readonly anomaly?: AnomalyInput | undefined;
  /** The admin API. */
  readonly admin?: AdminInput | undefined;
}

/** `NewapiConfig` as code may pass it. A missing key takes its default. */
export interface NewapiInput {
  /** Base URL of NewAPI. An http or https URL without user, query or fragment; default http://localhost:3000. */
  readonly baseUrl?: string | undefined;
  /** Longest silence of NewAPI. A duration above 0, at most 24d; default 300s. */
  readonly timeout?: number | string | undefined;
  /** Access token of an administrator of NewAPI, by which the gateway learns users' and tokens' names and charges. Needs user_id. A secret text of visible ASCII characters; default none. */
  readonly accessToken?: string | null | undefined;
  /** Path of a file that holds accessToken. */
  readonly accessTokenFile?: string | null | undefined;
  /** Id of the user that access_token belongs to. A whole number of at least 1; default none. */
  readonly userId?: number | null | undefined;
  /** Host header sent to NewAPI: client is the client's, target is that of base_url. TLS always uses the host name of base_url or server_name. Client or target; default client. */
  readonly host?: 'client' | 'target' | undefined;
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath?: string | null | undefined;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath?: string | null | undefined;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath?: string | null | undefined;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName?: string | null | undefined;
}

/** `EndpointsConfig` as code may pass it. A missing key takes its default. */
export interface EndpointsInput {
  /** Path of the health checks. false turns them off. A path that starts with / and does not end with one, or false; default /health. */
  readonly health?: string | false | undefined;
  /** Path of the Prometheus metrics. false turns it off. A path that starts with / and does not end with one, or false; default /metrics. */
  readonly metrics?: string | false | undefined;
  /** Path of the record ingestion. false turns it off. A path that starts with / and does not end with one, or false; default /api/log. */
  readonly log?: string | false | undefined;
}

/** `ServerConfig` as code may pass it. A missing key takes its default. */
export interface ServerInput {
  /** Address or host name to listen on, or the absolute path of a Unix socket, which has no port. An address or host name; default 0.0.0.0. */
  readonly host?: string | undefined;
  /** Alias of the top-level middleware. */
  readonly middleware?: ConfigInput['middleware'];
  /** Port to listen on. 0 takes a free port. A whole number from 0 to 65535; default 8000. */
  readonly port?: number | undefined;
  /** TLS of the server. Without a certificate and a key the server uses HTTP. A list in place of the section gives several certificates; a client that names no host gets the first. */
  readonly tls?: TlsInput | readonly TlsInput[] | null | undefined;
  /** Offers HTTP/2 to the clients of server.tls, beside HTTP/1.1. Without TLS it has no effect. True or false; default true. */
  readonly http2?: boolean | undefined;
  /** HTTP/3 of the standalone: it starts and supervises Caddy, which speaks QUIC with TLS 1.3 and hands each request to it over a Unix socket. While Caddy is down, clients use the TCP port. */
  readonly http3?: Http3Input | undefined;
  /** Number of threads that serve requests, each with a listener of its own at the same address; auto: one for each core. Limits, budgets, the queue, keys, bans and max_inflight_bytes count over all of them; the part of max_inflight_bytes that one caller may have holds for each. Auto or a whole number from 1 to 1024; default 1. */
  readonly workers?: number | 'auto' | undefined;
  /** Expects the PROXY protocol, version 1 or 2, at the beginning of every connection of a peer in trust_proxy, before TLS, and takes the client that it names for the peer. Such a connection without it is closed. Connections of other peers are taken as they are. True or false; default false. */
  readonly proxyProtocol?: boolean | undefined;
  /** Reads the configuration file again when it changes, and puts it in force. A file that cannot be used changes nothing. True or false; default false. */
  readonly watch?: boolean | undefined;
  /** Longest time to receive the headers of a request. A body may take longer while data keeps arriving. A duration above 0, at most 24d; default 30s. */
  readonly readTimeout?: number | string | undefined;
  /** Longest stall of a write. Does not limit the length of a stream. A duration above 0, at most 24d; default 45s. */
  readonly writeTimeout?: number | string | undefined;
  /** Longest idle time of a connection between two requests. A duration above 0, at most 24d; default 72s. */
  readonly idleTimeout?: number | string | undefined;
  /** Largest size of the headers of a request. A size of at least 1KB; default 1MB. */
  readonly maxHeaderBytes?: number | string | undefined;
  /** Largest body that is buffered for failover. A larger body streams to the first target without failover. At most max_body_bytes. A size of at least 1KB; default 32MB. */
  readonly bufferBodyBytes?: number | string | null | undefined;
  /** Largest accepted body. A size of at least 1KB; default 128MB. */
  readonly maxBodyBytes?: number | string | undefined;
  /** Highest total size of buffered bodies. A key or an address may hold an eighth of it. A size of at least 1KB; default 512MB. */
  readonly maxInflightBytes?: number | string | undefined;
  /** Highest number of open connections, over all workers. A whole number of at least 1; default none. */
  readonly maxConnections?: number | null | undefined;
  /** Load shedding while the machine is short of a resource. Also as the top-level health_check when it names one of the thresholds. */
  readonly healthCheck?: ServerHealthInput | null | undefined;
  /** Time for running requests to finish when the server stops. A duration above 0, at most 24d; default 30s. */
  readonly shutdownTimeout?: number | string | undefined;
}

/** `TlsConfig` as code may pass it. A missing key takes its default. */
export interface TlsInput {
  /** PEM file of the certificate and its chain. A path; default none. */
  readonly certPath?: string | null | undefined;
  /** PEM file of the private key. A path; default none. */
  readonly keyPath?: string | null | undefined;
  /** Lowest accepted TLS version. 1.2 or 1.3; default 1.2. */
  readonly minVersion?: '1.2' | '1.3' | undefined;
  /** The only host name (SNI) that gets this certificate. A handshake for a name that no certificate answers to is refused. A host name; default the names in the certificate; any name for the first. */
  readonly serverName?: string | null | undefined;
  /** Further certificates: the rest of a list in place of the section. Default []. */
  readonly others?: readonly OtherTlsInput[] | undefined;
}

/** `OtherTlsConfig` as code may pass it. A missing key takes its default. */
export interface OtherTlsInput {
  /** PEM file of the certificate and its chain. A path; required. */
  readonly certPath: string;
  /** PEM file of the private key. A path; required. */
  readonly keyPath: string;
  /** Lowest accepted TLS version. 1.2 or 1.3; default 1.2. */
  readonly minVersion?: '1.2' | '1.3' | undefined;
  /** The only host name (SNI) that gets this certificate. A handshake for a name that no certificate answers to is refused. A host name; default the names in the certificate; any name for the first. */
  readonly serverName?: string | null | undefined;
}

/** `Http3Config` as code may pass it. A missing key takes its default. */
export interface Http3Input {
  /** Serves HTTP/3. True or false; default false. */
  readonly enabled?: boolean | undefined;
  /** UDP port. Caddy opens the TCP port of this number too, so server.port is another one. A whole number from 1 to 65535; default 443. */
  readonly port?: number | undefined;
  /** PEM file of the certificate and its chain. A path; default the certificate of server.tls. */
  readonly tlsCertFile?: string | null | undefined;
  /** PEM file of the private key. A path; default the key of server.tls. */
  readonly tlsKeyFile?: string | null | undefined;
  /** Longest idle time of a connection. Caddy has it fixed, so another value is refused. A duration above 0, at most 24d; default 30s. */
  readonly idleTimeout?: number | string | undefined;
  /** Requests at a time on a connection. Caddy has it fixed, so another value is refused. A whole number of at least 1; default 100. */
  readonly maxBiStreamsConcurrent?: number | undefined;
  /** Streams in one direction on a connection. Caddy has it fixed, so another value is refused. A whole number of at least 1; default 100. */
  readonly maxUniStreamsConcurrent?: number | undefined;
  /** Bytes of a body that a client may send ahead. Caddy has it fixed, so another value is refused. A size of at least 1B; default 6MB. */
  readonly maxStreamReceiveWindow?: number | string | undefined;
  /** Bytes of all bodies of a connection that a client may send ahead. Caddy has it fixed, so another value is refused. A size of at least 1B; default 15MB. */
  readonly maxConnectionReceiveWindow?: number | string | undefined;
  /** Receive buffer of the UDP port. Caddy asks for 2MB; a larger one takes net.core.rmem_default of that size. A size of at least 1B; default 2MB. */
  readonly udpReceiveBufferSize?: number | string | undefined;
  /** Requests in the first flight of a connection. Refused: Caddy does not tell which these are, so that a replayed one could not be told from the first (RFC 8470). True or false; default false. */
  readonly enable0rtt?: boolean | undefined;
  /** Largest request that a trusted peer in front may mark with Early-Data, head and body; a larger one gets 425. A size of at least 0B; default 16KB. */
  readonly max0rttSize?: number | string | undefined;
  /** Serves replayable requests that are not safe to repeat. Refused: a chat that is replayed is charged twice. True or false; default false. */
  readonly allow0rttReplay?: boolean | undefined;
  /** Caddy: its path, or its name on the PATH. A path or the name of a program; default caddy. */
  readonly engine?: string | undefined;
}

/** `ServerHealthConfig` as code may pass it. A missing key takes its default. */
export interface ServerHealthInput {
  /** Checks the resources. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** Time between two checks. A duration of at least 50ms, at most 24d; default 60s. */
  readonly interval?: number | string | undefined;
  /** Longest time of a check. A slower check counts as failed. A duration above 0, at most 24d; default 5s. */
  readonly timeout?: number | string | undefined;
  /** Consecutive failed checks after which new requests are refused. Also as failure_threshold. A whole number from 1 to 100; default 3. */
  readonly threshold?: number | undefined;
  /** Resources to check: memory, cpu, disk, latency. Empty checks all. The value is a note without effect. Default {}. */
  readonly checks?: Readonly<Record<string, string>> | undefined;
  /** Highest share of memory in use, of the container where there is one. A share above 0% and at most 100%; default 90%. */
  readonly memoryThreshold?: number | string | undefined;
  /** Highest share of processor time in use since the last check. A share above 0% and at most 100%; default 80%. */
  readonly cpuThreshold?: number | string | undefined;
  /** Highest share of the disk of audit.path in use. A share above 0% and at most 100%; default 95%. */
  readonly diskThreshold?: number | string | undefined;
  /** Highest delay that the gateway itself adds, p99 since the last check. A duration above 0, at most 24d; default 500ms. */
  readonly latencyThreshold?: number | string | undefined;
}

/** `GuardConfig` as code may pass it. A missing key takes its default. */
export interface GuardInput {
  /** Client addresses that may call. Empty allows all. Each an IP address or CIDR; default []. */
  readonly allow?: readonly string[] | undefined;
  /** Client addresses that may not call. deny wins over allow. Each an IP address or CIDR; default []. */
  readonly deny?: readonly string[] | undefined;
  /** Highest number of open connections per address (IPv6 /56), and so of unread heads: a share that an office behind one address does not use up. null: none. Trusted proxies are not counted. A whole number of at least 1; default 1024. */
  readonly connectionsPerAddress?: number | null | undefined;
  /** Number of requests after which a connection is closed. A whole number of at least 1; default none. */
  readonly maxRequestsPerSocket?: number | null | undefined;
}

/** `LlmConfig` as code may pass it. A missing key takes its default. */
export interface LlmInput {
  /** API of the target: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint. In code also a Provider. The name of a provider; default newapi. */
  readonly provider?: string | Provider | undefined;
  /** Base URL including the version. The default is the provider's own URL, for newapi newapi.base_url + /v1. An http or https URL without user, query or fragment; default by provider. */
  readonly endpoint?: string | null | undefined;
  /** Credential sent to the target. Without a credential, newapi gets the caller's. A secret text of visible ASCII characters; default none. */
  readonly apiKey?: string | null | undefined;
  /** Path of a file that holds apiKey. */
  readonly apiKeyFile?: string | null | undefined;
  /** Model that replaces the requested model in every request to the target. The name of a model; default none. */
  readonly model?: string | null | undefined;
  /** Models to rename for the target, as requested: sent. Default {}. */
  readonly models?: Readonly<Record<string, string>> | undefined;
  /** Weight of the target with strategy weighted. A whole number from 1 to 1000; default 1. */
  readonly weight?: number | undefined;
  /** Host header sent to the target: client is the client's, target is that of endpoint. TLS always uses the host name of endpoint or server_name. Client or target; default newapi.host for a newapi target without api_key, else target. */
  readonly host?: 'client' | 'target' | null | undefined;
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath?: string | null | undefined;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath?: string | null | undefined;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath?: string | null | undefined;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName?: string | null | undefined;
  /** Backup targets, tried in this order when the targets before them fail. Same keys as llm. Default []. */
  readonly backupProviders?: readonly LlmTargetInput[] | undefined;
  /** Choice of the first target: failover takes the first in the list, weighted chooses by weight, least_busy takes the one with the fewest concurrent requests. One of failover, weighted, least_busy; default failover. */
  readonly strategy?: 'failover' | 'weighted' | 'least_busy' | undefined;
  /** Prices by model name, or by a prefix followed by *. The longest match applies. Default {}. */
  readonly prices?: Readonly<Record<string, ModelPriceInput>> | undefined;
  /** Prices of models that prices leaves out: newapi asks each NewAPI for its own (/api/pricing, with the ratio of the caller's group where it is known, else of default), package takes those of @pydantic/genai-prices, which also count for other targets and unknown models with newapi. none takes none. One of newapi, package, none; default newapi in front of a NewAPI, else package. */
  readonly priceSource?: 'newapi' | 'package' | 'none' | null | undefined;
  /** Retries of failed requests. Also as the top-level retry. */
  readonly retry?: RetryInput | undefined;
  /** Probes of the targets, which cost no tokens. Also as the top-level health_check. */
  readonly healthCheck?: HealthCheckInput | undefined;
  /** Timeouts of requests to targets. */
  readonly timeouts?: LlmTimeoutsInput | undefined;
  /** Answer of a client that has left: cancel ends it at once, finish reads it on without the client and counts the usage that the provider bills. Such an answer keeps its slot, is read for at most 5m and 32MB, and they have at most a quarter of queue.concurrency, one caller an eighth of that. Cancel or finish; default cancel. */
  readonly onClientAbort?: 'cancel' | 'finish' | undefined;
  /** Request bodies with a Content-Encoding: auto sends them decoded to targets that cannot read the coding, at most server.buffer_body_bytes large. NewAPI reads gzip and br, other targets none. off sends every body as received. Auto or off; default auto. */
  readonly decodeRequestBodies?: 'auto' | 'off' | undefined;
  /** Wait after which a stream without an answer starts with its head and SSE comments, so that a CDN does not close the connection. A duration above 0, at most 24d, or off; default off. */
  readonly streamPreludeAfter?: number | string | false | null | undefined;
  /** Silence after which an SSE comment is sent within a stream, repeatedly, so that no proxy closes the connection. A duration above 0, at most 24d, or off; default off. */
  readonly keepAliveComments?: number | string | false | null | undefined;
}

/** `LlmTarget` as code may pass it. A missing key takes its default. */
export interface LlmTargetInput {
  /** API of the target: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint. In code also a Provider. The name of a provider; default newapi. */
  readonly provider?: string | Provider | undefined;
  /** Base URL including the version. The default is the provider's own URL, for newapi newapi.base_url + /v1. An http or https URL without user, query or fragment; default by provider. */
  readonly endpoint?: string | null | undefined;
  /** Credential sent to the target. Without a credential, newapi gets the caller's. A secret text of visible ASCII characters; default none. */
  readonly apiKey?: string | null | undefined;
  /** Path of a file that holds apiKey. */
  readonly apiKeyFile?: string | null | undefined;
  /** Model that replaces the requested model in every request to the target. The name of a model; default none. */
  readonly model?: string | null | undefined;
  /** Models to rename for the target, as requested: sent. Default {}. */
  readonly models?: Readonly<Record<string, string>> | undefined;
  /** Weight of the target with strategy weighted. A whole number from 1 to 1000; default 1. */
  readonly weight?: number | undefined;
  /** Host header sent to the target: client is the client's, target is that of endpoint. TLS always uses the host name of endpoint or server_name. Client or target; default newapi.host for a newapi target without api_key, else target. */
  readonly host?: 'client' | 'target' | null | undefined;
  /** PEM file of the certificate authorities that may sign the server certificate, in place of the public ones. A path; default none. */
  readonly caPath?: string | null | undefined;
  /** PEM file of the client certificate and its chain, for servers that require one. A path; default none. */
  readonly certPath?: string | null | undefined;
  /** PEM file of the private key of the client certificate. A path; default none. */
  readonly keyPath?: string | null | undefined;
  /** Host name for TLS: sent as SNI and checked against the server certificate. A host name; default host name of the URL. */
  readonly serverName?: string | null | undefined;
}

/** `ModelPrice` as code may pass it. A missing key takes its default. */
export interface ModelPriceInput {
  /** US dollars per million prompt tokens. A number of at least 0; required. */
  readonly input: number;
  /** US dollars per million completion tokens. A number of at least 0; required. */
  readonly output: number;
  /** US dollars per million cached prompt tokens. A number of at least 0; default input. */
  readonly cached?: number | null | undefined;
}

/** `RetryConfig` as code may pass it. A missing key takes its default. */
export interface RetryInput {
  /** Highest number of retries after every target was tried once. 0 turns retries off. A whole number from 0 to 100; default 5. */
  readonly maxRetries?: number | undefined;
  /** Longest delay before the first retry. The actual delay is random between 0 and this value. A duration above 0, at most 24d; default 100ms. */
  readonly initialDelay?: number | string | undefined;
  /** Longest delay before any retry. A duration above 0, at most 24d; default 5s. */
  readonly maxDelay?: number | string | undefined;
  /** Factor by which the longest delay grows with every retry. A number from 1 to 10; default 1.5. */
  readonly multiplier?: number | undefined;
  /** Failures that are retried. A retry after timeout may bill a request twice. Each one of rate_limit, timeout, server_error; default ["rate_limit", "server_error"]. */
  readonly retryableErrors?: readonly ('rate_limit' | 'timeout' | 'server_error')[] | undefined;
}

/** `HealthCheckConfig` as code may pass it. A missing key takes its default. */
export interface HealthCheckInput {
  /** Probes the targets. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** Time between two probes of a target. A duration of at least 1s, at most 24d; default 15s. */
  readonly interval?: number | string | undefined;
  /** Longest time of a probe. A duration above 0, at most 24d; default 5s. */
  readonly timeout?: number | string | undefined;
  /** Consecutive failed probes after which a target counts as down. Also as threshold. A whole number from 1 to 100; default 2. */
  readonly failureThreshold?: number | undefined;
  /** Alias of failureThreshold. */
  readonly threshold?: number | undefined;
}

/** `LlmTimeouts` as code may pass it. A missing key takes its default. */
export interface LlmTimeoutsInput {
  /** Longest time to connect to a target. A duration above 0, at most 24d; default 5s. */
  readonly connect?: number | string | undefined;
  /** Longest time until a target begins its answer; comments and white space after a status of 200 restart it. A duration above 0, at most 24d; default 300s. */
  readonly firstByte?: number | string | undefined;
  /** Longest silence within an answer. A duration above 0, at most 24d; default 300s. */
  readonly idle?: number | string | undefined;
  /** Longest time of all attempts together, until the first part of an answer is sent to the client. A duration above 0, at most 24d; default 10m. */
  readonly total?: number | string | undefined;
}

/** `CircuitBreakerConfig` as code may pass it. A missing key takes its default. */
export interface CircuitBreakerInput {
  /** Highest number of concurrent requests while the breaker is half-open. A whole number from 1 to 1000; default 1. */
  readonly maxRequests?: number | undefined;
  /** Time after which the failure count of a closed breaker is reset. 0 never resets it. A duration of at most 24d; default 30s. */
  readonly interval?: number | string | undefined;
  /** Time after which an open breaker becomes half-open. A duration above 0, at most 24d; default 10s. */
  readonly timeout?: number | string | undefined;
  /** Consecutive failures that open the breaker. A whole number from 1 to 1000; default 5. */
  readonly failureThreshold?: number | undefined;
}

/** `QueueConfig` as code may pass it. A missing key takes its default. */
export interface QueueInput {
  /** Limits the number of concurrent model requests. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** Highest number of concurrent model requests. Can be changed while the gateway runs. A whole number of at least 1; default 1000. */
  readonly concurrency?: number | undefined;
  /** Highest number of waiting requests. 0 refuses a request that cannot run at once. A whole number of at least 0; default 1000. */
  readonly initialSize?: number | undefined;
  /** Longest wait in the queue. A duration above 0, at most 24d; default 30s. */
  readonly maxWait?: number | string | undefined;
  /** File or directory that keeps the state of the queue over a restart. Without a path no state is kept. A path; default none. */
  readonly statePath?: string | null | undefined;
  /** Time between two saves of the state. A duration of at least 100ms, at most 24d; default 30s. */
  readonly saveInterval?: number | string | undefined;
  /** Highest number of open WebSockets. Counted apart from concurrency. A key or an address may hold an eighth of it. A whole number of at least 1; default 1000. */
  readonly websockets?: number | undefined;
}

/** `AuthConfig` as code may pass it. A missing key takes its default. */
export interface AuthInput {
  /** passthrough lets NewAPI check its own tokens. keys accepts the keys of this list and of `heimdall keys`. jwt accepts these keys and the tokens of an issuer. One of passthrough, keys, jwt; default passthrough when llm uses the caller's token, else keys. */
  readonly mode?: 'passthrough' | 'keys' | 'jwt' | null | undefined;
  /** Time for which a token that NewAPI accepted counts as verified. A duration above 0, at most 24d; default 1h. */
  readonly verifiedTtl?: number | string | undefined;
  /** Gateway keys. Default []. */
  readonly keys?: readonly GatewayKeyInput[] | undefined;
  /** Verification of tokens from an identity provider, for auth.mode jwt. */
  readonly jwt?: JwtInput | null | undefined;
  /** NewAPI token sent for users that `identify` of an embedding program names and gives no token of their own. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential?: string | null | undefined;
  /** Path of a file that holds upstreamCredential. */
  readonly upstreamCredentialFile?: string | null | undefined;
}

/** `GatewayKey` as code may pass it. A missing key takes its default. */
export interface GatewayKeyInput {
  /** Unique name of the key in records and metrics. A name that does not begin with jwt: or user:; required. */
  readonly name: string;
  /** SHA-256 in hex of the key exactly as clients send it, including sk-. The SHA-256 of the key in 64 hex digits; required. */
  readonly sha256: string;
  /** Time at which the key expires. A date without a time means 00:00 UTC. An ISO date, or a date and time with Z or an offset; default none. */
  readonly expires?: number | string | Date | null | undefined;
  /** Refuses the key and keeps its entry. True or false; default false. */
  readonly disabled?: boolean | undefined;
  /** Models that the key may use. Empty allows all. Each the name of a model; default []. */
  readonly models?: readonly string[] | undefined;
  /** Client addresses that may use the key. Empty allows all. Each an IP address or CIDR; default []. */
  readonly cidrs?: readonly string[] | undefined;
  /** NewAPI token that replaces the key on routes that only NewAPI answers. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential?: string | null | undefined;
  /** Path of a file that holds upstreamCredential. */
  readonly upstreamCredentialFile?: string | null | undefined;
  /** Limit of requests in a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency?: number | null | undefined;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget?: BudgetInput | null | undefined;
}

/** `RequestLimit` as code may pass it. A missing key takes its default. */
export interface RequestLimitInput {
  /** Highest number of requests in a window. A whole number of at least 1; required. */
  readonly limit: number;
  /** Length of the window. A duration of at least 1s, at most 24d; default 60s. */
  readonly window?: number | string | undefined;
}

/** `TokenLimit` as code may pass it. A missing key takes its default. */
export interface TokenLimitInput {
  /** Highest number of tokens in a window. A whole number of at least 1; required. */
  readonly limit: number;
  /** Length of the window. A duration of at least 1s, at most 24d; default 60s. */
  readonly window?: number | string | undefined;
}

/** `Budget` as code may pass it. A missing key takes its default. */
export interface BudgetInput {
  /** Highest cost in US dollars per day (UTC). A number of at least 0; default none. */
  readonly day?: number | null | undefined;
  /** Highest cost in US dollars per calendar month (UTC). A number of at least 0; default none. */
  readonly month?: number | null | undefined;
}

/** `JwtConfig` as code may pass it. A missing key takes its default. */
export interface JwtInput {
  /** Issuer (iss) that a token must name. An issuer; default none. */
  readonly issuer?: string | null | undefined;
  /** Audience (aud) that a token must name. An audience; default none. */
  readonly audience?: string | null | undefined;
  /** URL of the issuer's key set (JWKS). An https URL, or http on loopback; default none. */
  readonly jwksUri?: string | null | undefined;
  /** Accepted signature algorithms. Each one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519; default ["RS256", "PS256", "ES256", "EdDSA"]. */
  readonly algorithms?: readonly ('RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA' | 'Ed25519')[] | undefined;
  /** NewAPI token sent to routes that only NewAPI answers. Without a token these routes are refused to JWT callers. A secret text of visible ASCII characters; default none. */
  readonly upstreamCredential?: string | null | undefined;
  /** Path of a file that holds upstreamCredential. */
  readonly upstreamCredentialFile?: string | null | undefined;
}

/** `CorsConfig` as code may pass it. A missing key takes its default. */
export interface CorsInput {
  /** Origins that may call from a browser. * allows all. Each an origin or *; default []. */
  readonly allowOrigins?: readonly string[] | undefined;
  /** Allowed methods. Each an HTTP method; default ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]. */
  readonly allowMethods?: readonly string[] | undefined;
  /** Allowed request headers. Each the name of a header; default those that the preflight requests. */
  readonly allowHeaders?: readonly string[] | null | undefined;
  /** Response headers that a page may read. Each the name of a header; default []. */
  readonly exposeHeaders?: readonly string[] | undefined;
  /** Allows cookies. Not allowed together with the origin *. True or false; default false. */
  readonly credentials?: boolean | undefined;
  /** Time for which browsers may cache a preflight answer, in seconds. A duration of whole seconds, at most 24d; default none. */
  readonly maxAge?: number | string | null | undefined;
}

/** `RateLimitConfig` as code may pass it. A missing key takes its default. */
export interface RateLimitInput {
  /** Limit per client address. IPv6 addresses count by their /56. */
  readonly address?: AddressLimitInput | undefined;
  /** Limits of every key, including NewAPI's tokens. A limit of the key itself takes precedence. */
  readonly key?: KeyLimitsInput | undefined;
  /** Additional limits. Every matching policy applies. Default []. */
  readonly policies?: readonly PolicyInput[] | undefined;
  /** Addresses, CIDRs, key names, token identities and users (user:ID) without limits. Each an IP address, a CIDR, the name of a key or user: and an id; default []. */
  readonly exempt?: readonly string[] | undefined;
  /** Store of the counters: memory counts per instance, redis counts over all instances. Memory or redis; default redis with redis_url, else memory. */
  readonly store?: 'memory' | 'redis' | null | undefined;
  /** URL of the Redis that the instances share. redis+cluster://host,host is a cluster, redis+sentinel://host,host/master/database the master that Sentinels name; rediss is TLS. Also set by REDIS_URL. A URL that begins with redis:// or rediss://, redis+cluster:// or redis+sentinel://; default none. */
  readonly redisUrl?: string | null | undefined;
  /** Path of a file that holds redisUrl. */
  readonly redisUrlFile?: string | null | undefined;
  /** PEM file of the authorities that sign the certificate of Redis. A path; default those of Node. */
  readonly redisCaPath?: string | null | undefined;
  /** Number of instances behind one load balancer. Without Redis each instance enforces its share of every limit. A whole number from 1 to 10000; default 1. */
  readonly instances?: number | undefined;
  /** Rate of a caller over all instances above which its limits of requests and tokens are taken from Redis in blocks, a hundredth of a limit at a time, instead of one round trip a request. More than a limit does not pass, but for a block of an instance that is killed; `instances` blocks may be refused too early. true is 1000/s. False, true or a rate above 0; default false. */
  readonly redisBlocks?: boolean | number | string | undefined;
  /** What happens while Redis is not available: local enforces this instance's share, open accepts, closed refuses with 503. One of local, open, closed; default local. */
  readonly onStoreError?: 'local' | 'open' | 'closed' | undefined;
}

/** `AddressLimit` as code may pass it. A missing key takes its default. */
export interface AddressLimitInput {
  /** Highest number of requests in a window. 0 turns the limit off. A whole number of at least 0; default 60. */
  readonly limit?: number | undefined;
  /** Length of the window. A duration above 0, at most 24d; default 60s. */
  readonly window?: number | string | undefined;
  /** failed counts only requests with a refused credential. all counts every request except UI, assets, webhooks and task polling. Failed or all; default failed. */
  readonly count?: 'failed' | 'all' | undefined;
}

/** `KeyLimits` as code may pass it. A missing key takes its default. */
export interface KeyLimitsInput {
  /** Limit of requests in a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency?: number | null | undefined;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget?: BudgetInput | null | undefined;
  /** enforce refuses requests above a limit. observe counts and records them, and refuses none. Enforce or observe; default enforce. */
  readonly mode?: 'enforce' | 'observe' | undefined;
}

/** `Policy` as code may pass it. A missing key takes its default. */
export interface PolicyInput {
  /** Requests that the policy applies to. Every given field must match. */
  readonly match?: PolicyMatchInput | undefined;
  /** Limit of requests in a sliding window. */
  readonly requests?: RequestLimitInput | null | undefined;
  /** Limit of tokens, prompt and completion together, in a sliding window. */
  readonly tokens?: TokenLimitInput | null | undefined;
  /** Highest number of concurrent requests. A whole number of at least 1; default none. */
  readonly concurrency?: number | null | undefined;
  /** Limit of cost in US dollars. A request without a known price counts as 0. */
  readonly budget?: BudgetInput | null | undefined;
  /** Client addresses allowed for matching requests. Empty allows all. Each an IP address or CIDR; default []. */
  readonly cidrs?: readonly string[] | undefined;
  /** enforce refuses requests above a limit. observe counts and records them, and refuses none. Enforce or observe; default enforce. */
  readonly mode?: 'enforce' | 'observe' | undefined;
}

/** `PolicyMatch` as code may pass it. A missing key takes its default. */
export interface PolicyMatchInput {
  /** Name of a gateway key, identity of a NewAPI token as records show it, or the token itself, which is compared by its hash. The name of a key, the 16 hex digits of a token identity, or a NewAPI token, which may end in *; default none. */
  readonly token?: string | null | undefined;
  /** Model as the caller names it. The name of a model, which may end in *; default none. */
  readonly model?: string | null | undefined;
  /** Client as records show it, or the family before the /. The name of a client, which may end in *; default none. */
  readonly client?: string | null | undefined;
  /** Template or path of the route. A path, which may end in *; default none. */
  readonly route?: string | null | undefined;
  /** Group that `identify` of an embedding program gave. The name of a group, which may end in *; default none. */
  readonly group?: string | null | undefined;
  /** Id that `identify` of an embedding program gave. The id of a user, which may end in *; default none. */
  readonly user?: string | null | undefined;
  /** User of NewAPI, by id or name; its tokens count together. Names are learnt with newapi.access_token seconds after a token's first request: until then nothing is refused by them, and what was used counts afterwards. While they cannot be learnt, a caller without a name is held to every policy by names. The id or name of a user of NewAPI, which may end in *; default none. */
  readonly newapiUser?: string | null | undefined;
  /** Name of a token of NewAPI, learnt in the same way. The name of a token of NewAPI, which may end in *; default none. */
  readonly newapiToken?: string | null | undefined;
  /** Group of NewAPI, learnt in the same way; each of its users counts alone. The name of a group of NewAPI, which may end in *; default none. */
  readonly newapiGroup?: string | null | undefined;
}

/** `LoggingConfig` as code may pass it. A missing key takes its default. */
export interface LoggingInput {
  /** Lowest level of logged events. One of trace, debug, info, warn, error, fatal, silent; default info. */
  readonly level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' | undefined;
  /** Writes the access log and the event log to standard output. Without it the event log goes to standard error. True or false; default true in the standalone, else false. */
  readonly console?: boolean | null | undefined;
  /** Format of the access log. Json or combined; default json. */
  readonly format?: 'json' | 'combined' | undefined;
  /** File of the access log, in addition to the console. false writes no file. A path, or false; default heimdall.log in the standalone, else false. */
  readonly file?: string | false | null | undefined;
  /** Size at which the file is rotated. A size of at least 1KB; default 100MB. */
  readonly maxSize?: number | string | undefined;
  /** Number of rotated files to keep. heimdall.1.log is the latest. A whole number of at least 1; default 7. */
  readonly maxFiles?: number | undefined;
  /** Query parameters that are logged with their values. Other parameters are logged by name only. Each the name of a query parameter; default []. */
  readonly queryAllow?: readonly string[] | undefined;
}

/** `AuditConfig` as code may pass it. A missing key takes its default. */
export interface AuditInput {
  /** Keeps the journal. false, or audit: false, keeps no record and writes no file beside it: keys, bans and budgets last as long as the process. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** SQLite file of the journal. A generated install secret is stored in the same directory. A path; default data/heimdall.db. */
  readonly path?: string | undefined;
  /** How long the journal keeps records and bodies. */
  readonly retention?: RetentionInput | undefined;
  /** Size of the database at which the oldest records are deleted. A size of at least 1MB; default 10GB. */
  readonly maxSize?: number | string | undefined;
  /** batched commits records about every 50 ms. strict commits the intent of a model request before it is forwarded, and does not start without the database. Batched or strict; default batched. */
  readonly durability?: 'batched' | 'strict' | undefined;
  /** Headers and bodies of model routes that a record keeps. Credentials are never kept. */
  readonly capture?: CaptureInput | undefined;
  /** Content fingerprint of a model request. md5 is of the whole body. turn is a keyed hash of the text of the newest turn, equal when people repeat themselves. off is none. One of md5, turn, off; default md5. */
  readonly fingerprint?: 'md5' | 'turn' | 'off' | undefined;
  /** What happens while the journal cannot be written. drop serves requests and counts lost records. refuse answers model routes with 503, and does not start without the database. Drop or refuse; default drop. */
  readonly onFull?: 'drop' | 'refuse' | undefined;
  /** Sink: the log receiver of NewAPI, in NebulaGate and other builds that have it. */
  readonly newapi?: AuditNewapiInput | undefined;
  /** Sink: a PostgreSQL table that several gateways share. */
  readonly postgres?: AuditPostgresInput | undefined;
  /** Sink: OpenTelemetry by OTLP/HTTP (JSON), with a trace of each request, which its upstream is told in traceparent. */
  readonly otlp?: OtlpInput | undefined;
  /** Sink: syslog (RFC 5424), each record as JSON in a message. */
  readonly syslog?: SyslogInput | undefined;
  /** Ingestion of records from other gateways at endpoints.log. */
  readonly ingest?: AuditIngestInput | undefined;
  /** Webhook alerts: target open, machine short of resources, Redis lost, disk full, sink lagging, certificate about to expire, findings of the watch. */
  readonly alerts?: AlertsInput | undefined;
}

/** `RetentionConfig` as code may pass it. A missing key takes its default. */
export interface RetentionInput {
  /** Age at which a record is deleted. A duration of at least 1s, at most 3650d; default 30d. */
  readonly records?: number | string | undefined;
  /** Age at which the bodies are deleted from a record. A duration of at least 1s, at most 3650d; default 7d. */
  readonly bodies?: number | string | undefined;
}

/** `CaptureConfig` as code may pass it. A missing key takes its default. */
export interface CaptureInput {
  /** Headers kept: safe is a fixed list, all is every header without a credential, off is none. One of safe, all, off; default safe. */
  readonly headers?: 'safe' | 'all' | 'off' | undefined;
  /** Bytes of a model request body to keep, masked: the newest turn first, then everything short. 0 keeps none. A size of at least 0B; default 10KB. */
  readonly body?: number | string | undefined;
  /** Bytes to keep, masked, of each long text of a request body (system prompt, tools, an earlier turn). Equal texts are kept once. 0 keeps digests alone. A size of at least 0B; default 32KB. */
  readonly text?: number | string | undefined;
  /** Bytes of a model response body to keep, masked. 0 keeps none. A size of at least 0B; default 0. */
  readonly response?: number | string | undefined;
}

/** `AuditNewapiConfig` as code may pass it. A missing key takes its default. */
export interface AuditNewapiInput {
  /** Sends records to the receiver. True or false; default false. */
  readonly enabled?: boolean | undefined;
  /** Base URL of the NewAPI with the receiver. An http or https URL without user, query or fragment; default newapi.base_url. */
  readonly url?: string | null | undefined;
  /** Records to send: all, flagged (refused, or would have been refused), or sample (one in ten). One of all, flagged, sample; default all. */
  readonly select?: 'all' | 'flagged' | 'sample' | undefined;
  /** masked sends a masked token, which the receiver cannot map to a user. raw sends the token itself, without sk-, for callers seen since the start. Masked or raw; default masked. */
  readonly token?: 'masked' | 'raw' | undefined;
  /** Highest number of records per time. The receiver shares a limit of 180 calls in 180 s. A rate above 0; default 0.8/s. */
  readonly maxRate?: number | string | undefined;
}

/** `AuditPostgresConfig` as code may pass it. A missing key takes its default. */
export interface AuditPostgresInput {
  /** URL of the database. Also set by DATABASE_URL. A URL that begins with postgres:// or postgresql://; default none. */
  readonly url?: string | null | undefined;
  /** Path of a file that holds url. */
  readonly urlFile?: string | null | undefined;
  /** URL of the database as admin.read_from: postgres reads it, with a role that may only read. A URL that begins with postgres:// or postgresql://; default audit.postgres.url. */
  readonly readUrl?: string | null | undefined;
  /** Path of a file that holds readUrl. */
  readonly readUrlFile?: string | null | undefined;
}

/** `OtlpConfig` as code may pass it. A missing key takes its default. */
export interface OtlpInput {
  /** Base URL of the receiver; /v1/traces and /v1/logs are added. An http or https URL without user, query or fragment; default none. */
  readonly endpoint?: string | null | undefined;
  /** Headers sent with each export, as name=value with commas between. Headers as name=value, with commas between; default none. */
  readonly headers?: string | null | undefined;
  /** Path of a file that holds headers. */
  readonly headersFile?: string | null | undefined;
  /** PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones. A path; default none. */
  readonly caPath?: string | null | undefined;
  /** Exports a server span for each request. The trace of the caller's traceparent goes on. True or false; default true. */
  readonly traces?: boolean | undefined;
  /** Exports each record as a log. True or false; default false. */
  readonly logs?: boolean | undefined;
  /** Share of the traces made by the gate that are sampled. A trace that the caller has begun keeps its flag. A share above 0% and at most 100%; default 100%. */
  readonly sample?: number | string | undefined;
  /** Exports bodies as well, as far as records keep them. True or false; default false. */
  readonly bodies?: boolean | undefined;
  /** Longest time for one export. A duration above 0, at most 25s; default 10s. */
  readonly timeout?: number | string | undefined;
  /** Highest number of records of one export. A whole number from 1 to 1000; default 200. */
  readonly batch?: number | undefined;
}

/** `SyslogConfig` as code may pass it. A missing key takes its default. */
export interface SyslogInput {
  /** Receiver: tcp or tls, host and port. Without a port 601, with tls 6514. A URL of tcp:// or tls:// with a host, and a port or none; default none. */
  readonly url?: string | null | undefined;
  /** PEM file of the certificate authorities that may sign the certificate of the receiver, in place of the public ones. A path; default none. */
  readonly caPath?: string | null | undefined;
  /** Facility of the messages. One of local0, local1, local2, local3, local4, local5, local6, local7, user, daemon, auth, authpriv; default local0. */
  readonly facility?: 'local0' | 'local1' | 'local2' | 'local3' | 'local4' | 'local5' | 'local6' | 'local7' | 'user' | 'daemon' | 'auth' | 'authpriv' | undefined;
  /** Sends headers and bodies as well, as far as records keep them. Receivers may cut long messages. True or false; default false. */
  readonly bodies?: boolean | undefined;
  /** Longest time for one batch. A duration above 0, at most 25s; default 10s. */
  readonly timeout?: number | string | undefined;
  /** Highest number of records sent at a time. A whole number from 1 to 1000; default 200. */
  readonly batch?: number | undefined;
}

/** `AuditIngestConfig` as code may pass it. A missing key takes its default. */
export interface AuditIngestInput {
  /** Bearer tokens that may send records. Without a token the endpoint accepts none. Each a secret text of visible ASCII characters; default []. */
  readonly tokens?: readonly string[] | undefined;
  /** Highest number of records per time for each token. A rate above 0; default 100/s. */
  readonly maxRate?: number | string | undefined;
}

/** `AlertsConfig` as code may pass it. A missing key takes its default. */
export interface AlertsInput {
  /** URL that receives the alerts by POST. A URL that begins with http:// or https://; default none. */
  readonly webhook?: string | null | undefined;
  /** Path of a file that holds webhook. */
  readonly webhookFile?: string | null | undefined;
  /** Secret that signs the alerts, in the header X-Heimdall-Signature; with feishu and dingtalk the one that the robot signs with. A secret text of at least 16 characters; default none. */
  readonly secret?: string | null | undefined;
  /** Path of a file that holds secret. */
  readonly secretFile?: string | null | undefined;
  /** Form of the alerts: JSON of the gate, or messages of a chat service. For telegram, webhook is https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>. One of json, slack, feishu, dingtalk, wecom, telegram; default json. */
  readonly format?: AlertFormat | undefined;
}

/** `MetricsConfig` as code may pass it. A missing key takes its default. */
export interface MetricsInput {
  /** Collects metrics. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** Prefix of every metric name, except those of OpenTelemetry. A prefix of letters, digits, _ and :; default heimdall_. */
  readonly prefix?: string | undefined;
  /** Bearer token of the metrics endpoint. Without a token the endpoint does not exist. A secret text of visible ASCII characters; default none. */
  readonly token?: string | null | undefined;
  /** Path of a file that holds token. */
  readonly tokenFile?: string | null | undefined;
  /** Metrics to expose. Each one of request_duration_seconds, request_size_bytes, response_size_bytes, overhead_seconds, active_requests, error_total, guard_refused_total, resource_usage_ratio, resource_short, tls_certificate_not_after_seconds, circuit_breaker_state, upstream_active_requests, upstream_attempts_total, upstream_failures_total, route_health, tokens_total, cost_usd_total, gen_ai_server_request_duration_seconds, gen_ai_server_time_to_first_token_seconds, gen_ai_server_time_per_output_token_seconds, gen_ai_client_token_usage, queue_waiting, queue_active, queue_wait_seconds, queue_rejected_total, websockets_active, inflight_bytes, rate_limit_hits_total, rate_limit_checks_total, rate_limit_budgets_total, rate_limit_store_errors_total, rate_limit_tokens_total, rate_limit_reserved, watch_refused_messages_total, audit_records_total, audit_journal_writable, audit_queue_records, audit_journal_bytes, audit_dropped_total, audit_write_seconds, audit_sink_lag_records, audit_sink_delivered_total, audit_sink_refused_total, audit_sink_errors_total; default all. */
  readonly series?: readonly (SeriesName | (string & {}))[] | null | undefined;
}

/** `RouteConfig` as code may pass it. A missing key takes its default. */
export interface RouteInput {
  /** Path of the route. A path that starts with / and does not end with one, without * and :name; required. */
  readonly path: string;
  /** Handler of the route. completion, chat and embedding treat the path as that API call. proxy leaves the path as it is without this row. health and metrics are the endpoints of that name. One of completion, chat, embedding, proxy, health, metrics; default by path, else proxy. */
  readonly handler?: 'completion' | 'chat' | 'embedding' | 'proxy' | 'health' | 'metrics' | null | undefined;
  /** Version prefix, added to a path that does not start with it. A version; default none. */
  readonly version?: string | null | undefined;
  /** Allowed methods. Other methods are answered with 405. Preflights always pass. Each one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; default those of the handler. */
  readonly methods?: readonly ('GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS')[] | null | undefined;
  /** Optional parts that run for this route in addition to middleware. auth also requires a credential. Each one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging; default []. */
  readonly middleware?: readonly (MiddlewareName | (string & {}))[] | undefined;
  /** Headers that a request must carry. A request without them is answered with 400. Default {}. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Probes of the targets of the route, which cost no tokens. While they fail, the route is answered with 503. */
  readonly healthCheck?: RouteHealthCheckInput | null | undefined;
}

/** `RouteHealthCheck` as code may pass it. A missing key takes its default. */
export interface RouteHealthCheckInput {
  /** Checks the route. True or false; default true. */
  readonly enabled?: boolean | undefined;
  /** Time between two checks. A duration of at least 100ms, at most 24d; default 30s. */
  readonly interval?: number | string | undefined;
  /** Longest time of a check. A duration above 0, at most 24d; default 5s. */
  readonly timeout?: number | string | undefined;
  /** Consecutive failed checks after which the route counts as unhealthy. A whole number from 1 to 100; default 3. */
  readonly threshold?: number | undefined;
  /** Checks by user-defined name. http checks that a target of the route answers, and closes the route when it fails. threshold checks that the answer arrives within latency_threshold, and only reports. Empty means one http check. Default {}. */
  readonly checks?: Readonly<Record<string, 'http' | 'threshold'>> | undefined;
  /** Longest answer time that a threshold check accepts. A duration above 0, at most 24d; default 500ms. */
  readonly latencyThreshold?: number | string | undefined;
}

/** `AnomalyConfig` as code may pass it. A missing key takes its default. */
export interface AnomalyInput {
  /** off judges nothing, shadow reports what it would do, enforce acts. Every action ends by itself and can be undone. One of off, shadow, enforce; default shadow. */
  readonly mode?: 'off' | 'shadow' | 'enforce' | undefined;
  /** Answers the paths of the original, /api/anomaly/*, with the admin token, in place of NewAPI. True or false; default false. */
  readonly api?: boolean | undefined;
  /** File in MaxMind's format that says where addresses are: country, autonomous system, hosting. It is shown with findings and callers, and gives impossible_travel its countries. A newer file is taken up by itself. A path; default none. */
  readonly mmdb?: string | null | undefined;
  /** The rules of the watch. */
  readonly rules?: AnomalyRulesInput | undefined;
}

/** `AnomalyRules` as code may pass it. A missing key takes its default. */
export interface AnomalyRulesInput {
  /** One key behind which several people work. */
  readonly sharedKey?: AnomalyRuleInput | undefined;
  /** A network, a client and a model that the key never had. */
  readonly stolenKey?: AnomalyRuleInput | undefined;
  /** Spending far above what the key and all others ever spent. */
  readonly spendVelocity?: AnomalyRuleInput | undefined;
  /** Requests far above what the key and all others ever sent. */
  readonly requestRate?: AnomalyRuleInput | undefined;
  /** Many refused credentials from one network. */
  readonly credentialStuffing?: AnomalyRuleInput | undefined;
  /** One network that tries many good keys. */
  readonly keySpraying?: AnomalyRuleInput | undefined;
  /** Nearly every request fails. */
  readonly failureBurst?: AnomalyRuleInput | undefined;
  /** One body over many keys, or without end. */
  readonly contentRepetition?: AnomalyRuleInput | undefined;
  /** Many unknown paths from one network. */
  readonly scanning?: AnomalyRuleInput | undefined;
  /** A key that was reported as leaked. Unlike other rules it acts in every mode, until it is undone or rotated. */
  readonly leakedKey?: AnomalyRuleInput | undefined;
  /** A honey key was used. */
  readonly honeyKey?: AnomalyRuleInput | undefined;
  /** A client that says it is Claude Code, Codex or Qwen Code, and lacks what that one always sends. It never does more than flag. */
  readonly clientForgery?: AnomalyRuleInput | undefined;
  /** Countries in turn within an hour. */
  readonly impossibleTravel?: AnomalyRuleInput | undefined;
}

/** `AnomalyRule` as code may pass it. A missing key takes its default. */
export interface AnomalyRuleInput {
  /** Highest action. none ignores the rule, flag only reports, slow delays each request, limit lets one request a minute through, freeze refuses the caller. One of none, flag, slow, limit, freeze; default freeze. */
  readonly action?: AnomalyAction | undefined;
}

/** `AdminConfig` as code may pass it. A missing key takes its default. */
export interface AdminInput {
  /** Bearer token of the admin API. Also set by HEIMDALL_ADMIN_TOKEN. Without a token the admin API does not exist. A secret text of at least 32 characters; default none. */
  readonly token?: string | null | undefined;
  /** Path of a file that holds token. */
  readonly tokenFile?: string | null | undefined;
  /** Bearer token that may read everything in the admin API and change nothing. A secret text of at least 32 characters; default none. */
  readonly readToken?: string | null | undefined;
  /** Path of a file that holds readToken. */
  readonly readTokenFile?: string | null | undefined;
  /** Base path of the admin API. A path that starts with / and does not end with one; default /heimdall. */
  readonly path?: string | undefined;
  /** Separate address of the admin API. The main port then answers admin paths only to callers on this machine. false opens no separate address. Host:port, or false; default in the standalone 127.0.0.1 and server.port + 1. */
  readonly listen?: string | false | null | undefined;
  /** PEM file of the authorities whose client certificates the separate address demands, beside the token. The main port then has no admin API. Needs server.tls. A path; default none. */
  readonly clientCaPath?: string | null | undefined;
  /** token demands admin.token. host relies on the login of the application that mounts gate.admin. newapi relies on NewAPI's own login: its session, or an access token, of a user with newapi_role. One of token, host, newapi; default token. */
  readonly auth?: 'token' | 'host' | 'newapi' | undefined;
  /** Where lists, charts, callers and findings are read: in the journal of this instance, or in audit.postgres, which has those of all. Journal or postgres; default journal. */
  readonly readFrom?: 'journal' | 'postgres' | undefined;
  /** Role that admin.auth: newapi demands: 10 administrators, 100 the owner. They read the prompts of all users. 10 or 100; default 10. */
  readonly newapiRole?: number | undefined;
}
