/** One metric: its type, labels and HELP text. */
interface SeriesRow {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Names of the labels. Label values come from tables and the configuration, never from a request. */
  readonly labels: readonly string[];
  /** The HELP line. */
  readonly help: string;
  /** Named by OpenTelemetry's conventions for generative AI, so exposed without the prefix. */
  readonly otel?: true;
  /** What the values of several workers come to; default: their sum. */
  readonly across?: 'max' | 'min';
}

const ofModel = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const;

/**
 * Every metric of the gate, by its name without the prefix. `metrics.series` of the configuration accepts these names, and
 * the table of `lib/telemetry/README.md` is made from them.
 */
export const series = {
  request_duration_seconds: { type: 'histogram', labels: ['route', 'method', 'status'], help: 'Time from arrival to the end of the answer. status is the status class.' },
  request_size_bytes: { type: 'histogram', labels: ['route'], help: 'Size of request bodies on model routes.' },
  response_size_bytes: { type: 'histogram', labels: ['route'], help: 'Size of response bodies.' },
  overhead_seconds: { type: 'histogram', labels: ['route'], help: 'Time the gateway itself added until the head of a proxied answer was sent.' },
  active_requests: { type: 'gauge', labels: [], help: 'Requests in progress.' },
  error_total: { type: 'counter', labels: ['type'], help: 'Requests that the gateway itself answered with an error, by error code.' },
  guard_refused_total: { type: 'counter', labels: ['reason'], help: 'Requests that the guard refused, by list, kind of ban or short resource.' },
  resource_usage_ratio: { type: 'gauge', labels: ['resource'], help: 'Share of memory, cpu and disk in use at the last check. For latency, its share of the threshold.', across: 'max' },
  resource_short: { type: 'gauge', labels: ['resource'], help: '1 while new requests are refused because the resource is short.', across: 'max' },

  tls_certificate_not_after_seconds: { type: 'gauge', labels: ['certificate'], help: 'When the certificate that is served ends, Unix seconds.', across: 'min' },
  circuit_breaker_state: { type: 'gauge', labels: ['target'], help: 'State of the circuit breaker: 0 closed, 1 half-open, 2 open.', across: 'max' },
  upstream_active_requests: { type: 'gauge', labels: ['target'], help: 'Attempts in progress at a target.' },
  upstream_attempts_total: { type: 'counter', labels: ['target'], help: 'Attempts at a target.' },
  upstream_failures_total: { type: 'counter', labels: ['target', 'kind'], help: 'Attempts that failed before the client got an answer, by kind of failure.' },
  route_health: { type: 'gauge', labels: ['route', 'check'], help: 'Checks of configured routes: 1 passes, 0 failed threshold times in a row.', across: 'min' },
  tokens_total: { type: 'counter', labels: ['target', 'kind'], help: 'Tokens of answers, by kind. cached is part of prompt, reasoning part of completion.' },
  cost_usd_total: { type: 'counter', labels: ['target'], help: 'Cost in US dollars, for models with a known price.' },

  gen_ai_server_request_duration_seconds: { type: 'histogram', labels: [...ofModel, 'error_type'], help: 'Time of a model request from arrival to its end. error_type is set only on failure.', otel: true },
  gen_ai_server_time_to_first_token_seconds: { type: 'histogram', labels: ofModel, help: 'Time from arrival to the first event of a stream.', otel: true },
  gen_ai_server_time_per_output_token_seconds: { type: 'histogram', labels: ofModel, help: 'Time per token after the first token of a complete stream.', otel: true },
  gen_ai_client_token_usage: { type: 'histogram', labels: [...ofModel, 'gen_ai_token_type'], help: 'Tokens of a request as the answer reports them. Estimates are not included.', otel: true },

  queue_waiting: { type: 'gauge', labels: [], help: 'Model requests that wait for a slot.' },
  queue_active: { type: 'gauge', labels: [], help: 'Model requests that hold a slot.' },
  queue_wait_seconds: { type: 'histogram', labels: [], help: 'Time that admitted requests waited for a slot. 0 for a request that ran at once.' },
  queue_rejected_total: { type: 'counter', labels: ['reason'], help: 'Requests that left the queue without a slot, by reason.' },
  websockets_active: { type: 'gauge', labels: [], help: 'Open WebSockets on routes that require a credential.' },
  inflight_bytes: { type: 'gauge', labels: [], help: 'Bytes of buffered request bodies.' },

  rate_limit_hits_total: { type: 'counter', labels: ['rule'], help: 'Requests above a limit, by rule.' },
  rate_limit_checks_total: { type: 'counter', labels: ['result'], help: 'Requests checked against key limits, by result.' },
  rate_limit_budgets_total: { type: 'counter', labels: ['rule', 'level'], help: 'Budgets of which 80 % or 100 % is spent, by rule.' },
  rate_limit_store_errors_total: { type: 'counter', labels: [], help: 'Failures of the store of key limits.' },
  rate_limit_tokens_total: { type: 'counter', labels: ['kind'], help: 'Tokens reserved for requests, settled by actual usage, and released unused.' },
  rate_limit_reserved: { type: 'gauge', labels: ['kind'], help: 'Reservations of requests in progress: requests, tokens, US dollars of budgets.' },

  watch_refused_messages_total: { type: 'counter', labels: [], help: 'Messages of other instances to the watch that were refused because they are malformed.' },

  audit_records_total: { type: 'counter', labels: ['result'], help: 'Records of requests, by result.' },
  audit_journal_writable: { type: 'gauge', labels: [], help: '1 while records reach the journal file, 0 while the disk is full or the file cannot be used.', across: 'min' },
  audit_queue_records: { type: 'gauge', labels: [], help: 'Records that wait to be written.' },
  audit_journal_bytes: { type: 'gauge', labels: [], help: 'Bytes of the journal in use.', across: 'max' },
  audit_dropped_total: { type: 'counter', labels: ['reason'], help: 'Records lost, or deleted before their time, by reason.' },
  audit_write_seconds: { type: 'histogram', labels: [], help: 'Time of a commit to the journal.' },
  audit_sink_lag_records: { type: 'gauge', labels: ['sink'], help: 'Records of the journal that a sink has not received yet.' },
  audit_sink_delivered_total: { type: 'counter', labels: ['sink'], help: 'Records that a sink accepted.' },
  audit_sink_refused_total: { type: 'counter', labels: ['sink'], help: 'Records that a sink refused for good, set aside.' },
  audit_sink_errors_total: { type: 'counter', labels: ['sink'], help: 'Deliveries to a sink that failed and will be repeated.' },
} as const satisfies Readonly<Record<string, SeriesRow>>;

/** The name of a metric, without the prefix. */
export type SeriesName = keyof typeof series;

/** All names, in the order of the list. */
export const seriesNames = Object.keys(series) as readonly SeriesName[];

/** The row of a metric, with the optional fields in its type. */
export const rowOf = (name: SeriesName): SeriesRow => series[name];
