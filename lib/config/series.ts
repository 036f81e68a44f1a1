/** One metric: what it is, how it is cut and what it says. */
interface SeriesRow {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Names of its labels. Their values come from tables and the configuration, never from what a caller wrote. */
  readonly labels: readonly string[];
  /** The HELP line. */
  readonly help: string;
  /** Named by OpenTelemetry's conventions for generative AI: it stands without the prefix. */
  readonly otel?: true;
}

const ofModel = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const;

/**
 * Every metric of the gate, by its name without the prefix. `metrics.series` of the configuration names them, and the table
 * in the README is made of them.
 */
export const series = {
  request_duration_seconds: { type: 'histogram', labels: ['route', 'method', 'status'], help: 'Time from arrival to the end of the answer; status is its class.' },
  request_size_bytes: { type: 'histogram', labels: ['route'], help: 'Size of request bodies on model routes.' },
  response_size_bytes: { type: 'histogram', labels: ['route'], help: 'Size of answers\' bodies.' },
  overhead_seconds: { type: 'histogram', labels: ['route'], help: 'Time the gate itself added until the head of an upstream\'s answer went out.' },
  active_requests: { type: 'gauge', labels: [], help: 'Requests in hand.' },
  error_total: { type: 'counter', labels: ['type'], help: 'Requests the gate itself answered with an error, by its code.' },
  guard_refused_total: { type: 'counter', labels: ['reason'], help: 'Requests the guard refused, by list, kind of ban or lack of resources.' },
  resource_usage_ratio: { type: 'gauge', labels: ['resource'], help: 'Share of memory, cpu and disk in use at the last look; of latency its share of the threshold.' },
  resource_short: { type: 'gauge', labels: ['resource'], help: '1 while new work is refused for want of the resource.' },

  circuit_breaker_state: { type: 'gauge', labels: ['target'], help: 'What a target is expected to do: 0 closed, 1 half-open, 2 open.' },
  upstream_active_requests: { type: 'gauge', labels: ['target'], help: 'Exchanges a target is working on.' },
  upstream_attempts_total: { type: 'counter', labels: ['target'], help: 'Exchanges with a target.' },
  upstream_failures_total: { type: 'counter', labels: ['target', 'kind'], help: 'Exchanges that gave the client nothing, by how they failed.' },
  route_health: { type: 'gauge', labels: ['route', 'check'], help: 'Checks of configured routes: 1 while one passes, 0 when it has failed too often in a row.' },
  tokens_total: { type: 'counter', labels: ['target', 'kind'], help: 'Tokens of answers, by kind; cached is part of prompt, reasoning part of completion.' },
  cost_usd_total: { type: 'counter', labels: ['target'], help: 'US dollars, where a price is known.' },

  gen_ai_server_request_duration_seconds: { type: 'histogram', labels: [...ofModel, 'error_type'], help: 'Time of a model request from arrival to its end; error_type only where it failed.', otel: true },
  gen_ai_server_time_to_first_token_seconds: { type: 'histogram', labels: ofModel, help: 'Time from arrival to the first event of a stream.', otel: true },
  gen_ai_server_time_per_output_token_seconds: { type: 'histogram', labels: ofModel, help: 'Time a token after the first of a complete stream.', otel: true },
  gen_ai_client_token_usage: { type: 'histogram', labels: [...ofModel, 'gen_ai_token_type'], help: 'Tokens of a request as its answer tells them; estimates are left out.', otel: true },

  queue_waiting: { type: 'gauge', labels: [], help: 'Model requests that wait for a slot.' },
  queue_active: { type: 'gauge', labels: [], help: 'Model requests that hold a slot.' },
  queue_wait_seconds: { type: 'histogram', labels: [], help: 'Time admitted requests waited for a slot; 0 for those that ran at once.' },
  queue_rejected_total: { type: 'counter', labels: ['reason'], help: 'Requests that got no turn, by reason.' },
  websockets_active: { type: 'gauge', labels: [], help: 'WebSockets that need a credential and are open.' },
  inflight_bytes: { type: 'gauge', labels: [], help: 'Bytes of request bodies in hand.' },

  rate_limit_hits_total: { type: 'counter', labels: ['rule'], help: 'Rules that had no room for a request, by rule.' },
  rate_limit_checks_total: { type: 'counter', labels: ['result'], help: 'Requests checked against key limits, by how it ended.' },
  rate_limit_store_errors_total: { type: 'counter', labels: [], help: 'Failures of the store of key limits.' },
  rate_limit_tokens_total: { type: 'counter', labels: ['kind'], help: 'Tokens reserved for requests, settled by what they used, and released unused.' },
  rate_limit_reserved: { type: 'gauge', labels: ['kind'], help: 'What requests in hand have reserved: requests, tokens, US dollars of budgets.' },

  audit_records_total: { type: 'counter', labels: ['result'], help: 'Records of requests, by what became of them.' },
  audit_journal_writable: { type: 'gauge', labels: [], help: '1 while records reach the file of the journal, 0 while its disk is full or it cannot be used.' },
  audit_queue_records: { type: 'gauge', labels: [], help: 'Records that wait to be written.' },
  audit_journal_bytes: { type: 'gauge', labels: [], help: 'Bytes of the journal in use.' },
  audit_dropped_total: { type: 'counter', labels: ['reason'], help: 'Records lost, or removed before their time, by reason.' },
  audit_write_seconds: { type: 'histogram', labels: [], help: 'Time a commit to the journal took.' },
  audit_sink_lag_records: { type: 'gauge', labels: ['sink'], help: 'Records of the journal a sink has not seen yet.' },
  audit_sink_delivered_total: { type: 'counter', labels: ['sink'], help: 'Records a sink has taken.' },
  audit_sink_refused_total: { type: 'counter', labels: ['sink'], help: 'Records a sink can never take, set aside.' },
  audit_sink_errors_total: { type: 'counter', labels: ['sink'], help: 'Deliveries to a sink that failed and were held.' },
} as const satisfies Readonly<Record<string, SeriesRow>>;

/** Names a metric, without the prefix. */
export type SeriesName = keyof typeof series;

/** All names, in the order of the list. */
export const seriesNames = Object.keys(series) as readonly SeriesName[];

/** A row as the rest reads it. */
export const rowOf = (name: SeriesName): SeriesRow => series[name];
