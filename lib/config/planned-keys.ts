/**
 * A node in the tree of keys that are known but do not take effect yet: `true` is a value of any form, `[…]` a list of
 * sections, an object a section. A section that the schema has too (`server`) gets these keys in addition.
 */
export type PlannedKey = true | readonly [PlannedKey] | PlannedSection;

/** A section of planned keys. */
export interface PlannedSection {
  readonly [key: string]: PlannedKey;
}

/** Every planned key, in snake_case. Using one causes a warning, never an error. */
export const PLANNED_KEYS = {
  server: {
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
  },
  anomaly: { mode: true, rules: true, api: true },
} as const satisfies PlannedSection;
