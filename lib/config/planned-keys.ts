/**
 * A place in the tree of keys that are known but do not take effect yet: `true` is a value of any form, `[…]` a list of
 * sections, an object a section. A section the schema has too (`server`) adds its later keys to it.
 */
export type Later = true | readonly [Later] | LaterSection;

/** A section of later keys. */
export interface LaterSection {
  readonly [key: string]: Later;
}

/** Every key that is known and takes effect in a later release, as files write it. Using one warns; it is never an error. */
export const LATER = {
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
} as const satisfies LaterSection;
