import type { Action, RuleName, Subject } from './detector.d.ts';

/** `open` until someone looked; `acknowledged`; `undone` and `false_positive` rest the pattern for that subject; `over` after a time without evidence. */
export type FindingState = 'open' | 'acknowledged' | 'undone' | 'false_positive' | 'over';

/** What `anomaly.mmdb` says of an address; null where it says nothing. */
export interface Place {
  /** Number of the autonomous system. */
  readonly asn: number | null;
  readonly organization: string | null;
  /** ISO 3166-1, two letters. */
  readonly country: string | null;
  /** The network belongs to a hosting provider. */
  readonly hosting: boolean | null;
}

/** What supports a finding. */
export interface FindingEvidence {
  /** Ids of the latest requests that were evidence, at most 20. */
  readonly records: readonly string[];
  /** Number of requests that were evidence. */
  readonly requests: number;
  /** Different devices, wide networks and sessions of the subject, as far as the rule counts them. */
  readonly devices: number;
  readonly networks: number;
  readonly sessions: number;
  /** The latest client networks of the evidence, at most 20, with what `anomaly.mmdb` says of them. Absent without such a file. */
  readonly places?: readonly (Place & { readonly network: string })[];
}

/** Something that the watch found about a subject. Times are Unix milliseconds. */
export interface Finding {
  /** Unique over instances. */
  readonly id: string;
  readonly rule: RuleName;
  readonly caller: Subject;
  /** 0 to 100, the highest so far. */
  readonly score: number;
  /** Which part of the evidence gave the score. */
  readonly reason: string;
  readonly since: number;
  readonly last: number;
  readonly state: FindingState;
  /** The action in force. */
  readonly action: Action;
  /** The action that shadow mode would have taken. Null in enforce mode. */
  readonly would: Action | null;
  /** End of the action; null without one. */
  readonly expires: number | null;
  readonly baseline: Readonly<Record<string, number>>;
  readonly evidence: FindingEvidence;
  /** Time until which the same pattern of this subject raises no finding. Null: none. */
  readonly restsUntil: number | null;
  /** Why an operator changed it. */
  readonly note: string;
  /** Hex SHA-256 of the gateway key that a `leaked_key` finding is about: the key made by a rotation is another. Null for others. */
  readonly digest?: string | null;
}

/** A report of the watch about one subject, sent from the journal's thread. */
export interface Sighting {
  readonly rule: RuleName;
  readonly subject: Subject;
  readonly score: number;
  readonly reason: string;
  readonly most: Action;
  readonly baseline: Readonly<Record<string, number>>;
  readonly evidence: FindingEvidence;
  /** Unix milliseconds of the first and the latest request. */
  readonly since: number;
  readonly last: number;
  /** As of {@link Finding}. */
  readonly digest?: string | null;
}
