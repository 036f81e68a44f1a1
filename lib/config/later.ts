/**
 * A place in the tree of keys that are known but do not take effect yet: `true` is a value of any form, `[…]` a list of
 * sections, an object a section. A section the schema has too (`server`) adds its later keys to it.
 */
export type Later = true | readonly [Later] | LaterSection;

/** A section of later keys. */
export interface LaterSection {
  readonly [key: string]: Later;
}

const PROBE = { enabled: true, interval: true, timeout: true, failure_threshold: true } as const;
/** Of these, one alone makes the `health_check` at the top that of `server`. */
export const THRESHOLDS = { memory_threshold: true, cpu_threshold: true, disk_threshold: true, latency_threshold: true } as const;
const WINDOW = { limit: true, window: true } as const;
const KEY_LIMITS = { requests: WINDOW, tokens: WINDOW, concurrency: true, budget: { day: true, month: true } } as const;

/** Every key that is known and takes effect in a later release, as files write it. Using one warns; it is never an error. */
export const LATER = {
  previous_secrets: true,
  ja4_header: true,
  endpoints: { log: true },
  guard: { allow: true, deny: true, connections_per_address: true, max_requests_per_socket: true },
  server: {
    max_inflight_bytes: true,
    workers: true,
    http3: {
      enabled: true,
      port: true,
      tls_cert_file: true,
      tls_key_file: true,
      idle_timeout: true,
      max_bi_streams_concurrent: true,
      max_uni_streams_concurrent: true,
      max_stream_receive_window: true,
      max_connection_receive_window: true,
      udp_receive_buffer_size: true,
      enable_0rtt: true,
      max_0rtt_size: true,
      allow_0rtt_replay: true,
    },
    health_check: { ...PROBE, threshold: true, checks: true, ...THRESHOLDS },
  },
  health_check: { checks: true, ...THRESHOLDS },
  queue: {
    enabled: true,
    concurrency: true,
    initial_size: true,
    max_wait: true,
    state_path: true,
    save_interval: true,
    websockets: true,
  },
  auth: { jwt: { issuer: true, audience: true, jwks_uri: true }, keys: [KEY_LIMITS] },
  rate_limit: {
    key: KEY_LIMITS,
    policies: [{ match: { token: true, model: true, client: true, route: true }, ...KEY_LIMITS, cidrs: true }],
    store: true,
    redis_url: true,
    redis_url_file: true,
    instances: true,
    on_store_error: true,
  },
  audit: {
    retention: { records: true, bodies: true },
    max_size: true,
    durability: true,
    capture: { headers: true, body: true, response: true },
    newapi: { enabled: true, url: true, select: true, token: true, max_rate: true },
    postgres: { url: true, url_file: true },
    ingest: { tokens: true, max_rate: true },
    on_full: true,
    alerts: { webhook: true, secret: true, secret_file: true },
  },
  anomaly: { mode: true, rules: true, api: true },
  routes: [
    {
      path: true,
      handler: true,
      version: true,
      methods: true,
      middleware: true,
      headers: true,
      health_check: { enabled: true, interval: true, timeout: true, threshold: true, checks: true },
    },
  ],
  admin: { token: true, token_file: true, path: true, listen: true, auth: true },
} as const satisfies LaterSection;
