// The answers of the admin API, as far as the page reads them. Times are ISO 8601 unless said.

import type { AuditRecord } from '../../../types/record.d.ts';
import type { Action, Subject } from '../../../types/detector.d.ts';
import type { FindingEvidence, FindingState } from '../../../types/finding.d.ts';

/** What NewAPI calls a caller. */
export interface Named {
  readonly user_id: number;
  readonly username: string;
  readonly token_id: number | null;
  readonly token_name: string | null;
  readonly group: string | null;
}

/** A finding of the watch. */
export interface Finding {
  readonly id: string;
  readonly rule: string;
  readonly caller: Subject & { readonly newapi?: Named | null };
  readonly score: number;
  readonly part: string;
  readonly sentence: { readonly en: string; readonly 'zh-CN': string };
  readonly since: string;
  readonly last: string;
  readonly state: FindingState;
  readonly action: Action;
  readonly would: Action | null;
  readonly expires: string | null;
  readonly rests_until: string | null;
  readonly baseline: Readonly<Record<string, number>>;
  readonly evidence: FindingEvidence;
  readonly note: string;
  /** The instance that can act on it; absent or null: this one. */
  readonly instance?: string | null;
}

/** Whether the records can be read, which lists and charts are made of; without them there is what the instance has by itself. */
export interface Readable {
  readonly available: boolean;
  readonly problem: string | null;
}

/** A page of findings. */
export interface Findings {
  readonly records: Readable;
  readonly findings: readonly Finding[];
  readonly next: number | string | null;
  readonly holds: 'all' | 'this';
}

/** The breaker of a target, or of one model of it. */
export interface Breaker {
  readonly state: 'up' | 'resting' | 'open' | 'probing';
  readonly until: string | null;
  readonly by: 'traffic' | 'probes' | null;
}

/** A target. */
export interface Target extends Breaker {
  readonly name: string;
  readonly provider: string;
  readonly credential: 'caller' | 'own';
  readonly host: string;
  readonly weight: number;
  readonly in_hand: number;
  readonly last_probe: { readonly time: string; readonly alive: boolean; readonly status: number | null; readonly duration: number } | null;
  readonly models: readonly (Breaker & { readonly model: string })[];
}

/** The queue of model requests. */
export interface Queue {
  readonly enabled: boolean;
  readonly concurrency: number;
  readonly active: number;
  readonly places: number;
  readonly waiting: number;
  readonly lanes: number;
  readonly service_time: number | null;
  readonly websockets: { readonly active: number; readonly limit: number };
}

/** Sums over time; the lists are of equal length. */
export interface Series {
  readonly step: 'minute' | 'hour' | 'day';
  /** Unix seconds. */
  readonly times: readonly number[];
  readonly requests: readonly number[];
  readonly errors: readonly number[];
  readonly refused: readonly number[];
  readonly cost: readonly number[];
  readonly prompt_tokens: readonly number[];
  readonly completion_tokens: readonly number[];
  /** Means in milliseconds. */
  readonly overhead: readonly (number | null)[];
  readonly duration: readonly (number | null)[];
  readonly first_byte: readonly (number | null)[];
}

/** The last hour, beside the same hour of last week; null where it is unknown. */
export interface Compared {
  readonly hour: number | null;
  readonly last_week: number | null;
}

/** What the overview shows. */
export interface Overview {
  readonly time: string;
  readonly status: 'healthy' | 'degraded' | 'unavailable' | 'draining';
  readonly version: string;
  readonly mode: 'enforce' | 'observe';
  /** Whose numbers these are: with `postgres` those of all instances. */
  readonly read_from: 'journal' | 'postgres';
  readonly records: Readable;
  readonly problems: readonly { readonly code: string; readonly subject: string | null; readonly detail: string | null }[];
  readonly requests: Compared;
  readonly errors: Compared;
  readonly refused: Compared;
  readonly overhead: Compared;
  readonly spend: { readonly today: number | null; readonly last_week: number | null; readonly month: number | null };
  readonly findings: { readonly open: number; readonly latest: readonly Finding[] };
  readonly targets: readonly Target[];
  readonly queue: Queue;
  readonly in_hand: number;
  readonly series: Series | null;
}

/** A caller in the list. */
export interface CallerRow {
  readonly kind: 'key' | 'token';
  readonly id: string;
  readonly requests: number;
  readonly last: string | null;
  readonly cost?: number;
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
  readonly newapi?: Named | null;
}

/** One value of a column of a caller's records. */
export interface Seen {
  readonly id: string;
  readonly requests: number;
  readonly first: string | null;
  readonly last: string | null;
}

/** Everything about a caller. */
export interface Caller {
  readonly caller: Subject;
  readonly newapi?: Named | null;
  readonly requests: number;
  readonly first: string | null;
  readonly last: string | null;
  readonly cost: number;
  readonly spend: { readonly day: number; readonly month: number } | null;
  readonly limits: readonly Limit[];
  readonly networks: readonly Seen[];
  readonly devices: readonly Seen[];
  readonly sessions: readonly Seen[];
  readonly homes: readonly Seen[];
  readonly models: readonly Seen[];
  readonly clients: readonly Seen[];
  readonly hours: readonly { readonly hour: string; readonly requests: number }[];
  readonly findings: readonly Finding[];
}

/** A limit and what is left of it. The window is text, or seconds. */
export interface Limit {
  readonly rule: string;
  readonly limit: number;
  readonly remaining: number | null;
  readonly window: string | number | null;
}

/** A record, in lists without content. */
export type LogRow = Omit<AuditRecord, 'request_headers' | 'request_body' | 'response_body' | 'cookies'> & { readonly time: string; readonly username?: string | null; readonly token_name?: string | null; readonly charged?: number | null };
/** A record whole. */
export type LogRecord = AuditRecord & { readonly username?: string | null; readonly token_name?: string | null; readonly charged?: number | null };

/** A page of records. */
export interface Logs {
  readonly logs: readonly LogRow[];
  readonly next: string | number | null;
  readonly stopped?: boolean;
}

/** A limit of requests or tokens in a window such as `1m`. */
export interface WindowLimit {
  readonly limit: number;
  readonly window: string;
}

/** The keys. */
export interface Keys {
  readonly keys: readonly Key[];
  /** Whether requests may use them. */
  readonly accepted: boolean;
  /** Whether the store can be read; else these are what was known last. */
  readonly available: boolean;
}

/** A gateway key. */
export interface Key {
  readonly name: string;
  readonly source: 'config' | 'registry';
  readonly digest: string;
  readonly created: string | null;
  readonly expires: string | null;
  readonly disabled: boolean;
  readonly models: readonly string[];
  readonly cidrs: readonly string[];
  readonly has_upstream_credential: boolean;
  readonly previous_until: string | null;
  readonly requests: WindowLimit | null;
  readonly tokens: WindowLimit | null;
  readonly concurrency: number | null;
  readonly budget: { readonly day: number | null; readonly month: number | null } | null;
}

/** A ban. */
export interface Ban {
  readonly id: string;
  readonly kind: 'address' | 'key' | 'token';
  readonly value: string;
  readonly reason: string;
  readonly created: string;
  readonly expires: string | null;
}

/** What goes on for longer than a request. */
export interface Job {
  readonly id: string;
  readonly kind: 'verify' | 'export' | 'forget';
  readonly state: 'running' | 'done' | 'failed' | 'cancelled';
  readonly done: number;
  readonly total: number | null;
  readonly started: string;
  readonly ended: string | null;
  readonly result: Readonly<Record<string, unknown>> | null;
  readonly error: string | null;
}

/** The state of the gate. */
export interface Health {
  readonly status: Overview['status'];
  readonly version: string;
  readonly time: string;
  /** Seconds. */
  readonly uptime: number;
  readonly mode: string;
  readonly draining: boolean;
  readonly requests_in_hand: number;
  readonly event_readers: number;
  readonly targets: readonly Target[];
  readonly queue: Queue;
  readonly registry: { readonly available: boolean };
  readonly resources: readonly { readonly resource: string; readonly value: number | null; readonly threshold: number; readonly short: boolean }[];
  readonly routes: readonly { readonly path: string; readonly status: string; readonly checks: Readonly<Record<string, boolean>> }[];
  readonly journal: { readonly state: string; readonly reason: string | null; readonly since: string | null; readonly last: number; readonly written: number; readonly dropped: Readonly<Record<string, number>>; readonly waiting: number; readonly waiting_bytes: number; readonly bytes: number };
  readonly sinks: readonly { readonly name: string; readonly state: string; readonly reason: string | null; readonly since: string | null; readonly lag: number; readonly lagging: boolean; readonly delivered: number; readonly refused: number; readonly errors: number }[];
  readonly anomaly: { readonly mode: string; readonly callers: number; readonly lag: number };
  readonly memory: Readonly<Record<string, number>>;
  readonly redis: { readonly used: boolean; readonly state: string | null };
  readonly certificates: readonly { readonly name: string; readonly expires: string; readonly ending: boolean }[];
}

/** What a check of a configuration says. */
export interface Checked {
  readonly ok: boolean;
  readonly problems: readonly { readonly path: string; readonly message: string }[];
  readonly warnings: readonly string[];
  readonly config: object | null;
}
