/** Rules of findings: the names of the detectors, and those of what is reported or seen on the request itself. */
export type RuleName =
  | 'leaked_key' | 'honey_key' | 'shared_key' | 'stolen_key' | 'spend_velocity' | 'request_rate' | 'credential_stuffing' | 'key_spraying' | 'failure_burst'
  | 'content_repetition' | 'scanning' | 'impossible_travel' | 'client_forgery';

/** What the gate does about a finding, from nothing to refusing the caller. */
export type Action = 'none' | 'flag' | 'slow' | 'limit' | 'freeze';

/** The subject of a finding: a gateway key by name, a token by its identity, a network in CIDR notation, or a content fingerprint. */
export interface Subject {
  readonly kind: 'key' | 'token' | 'network' | 'content';
  readonly id: string;
}

/** What the watch reads of a finished request. Identifiers of clients are keyed hashes. */
export interface Signal {
  readonly requestId: string;
  /** Arrival, Unix milliseconds. */
  readonly time: number;
  /** Milliseconds from arrival to the end of the answer. */
  readonly duration: number;
  /** Null for a request without an accepted credential. */
  readonly caller: Subject | null;
  /** Identity of the credential that was refused. Null where none was. */
  readonly refusedToken: string | null;
  /** Client network: IPv4 /24, IPv6 /56. */
  readonly network: string;
  /** A wider part of the same network, IPv4 /16, IPv6 /32: addresses within it often belong to one access provider. */
  readonly near: string;
  readonly country: string | null;
  /** Client family without version, for example `claude-code`. */
  readonly client: string | null;
  /** Operating system and architecture as far as the client names them, and JA4 where there is one. */
  readonly platform: string;
  /** Device id that the client sent. */
  readonly device: string | null;
  /** Account name in the working directory. Null for names that containers use, and where the client names none. */
  readonly home: string | null;
  /** `home` is the end user that a program names, no account of a machine. */
  readonly endUser: boolean;
  /** The client usually names a home, and this request named none or a container's: probably a job without a person. */
  readonly automated: boolean;
  /** The client says that it is a coding agent, and lacks what that agent always sends. */
  readonly forged: boolean;
  readonly session: string | null;
  readonly model: string | null;
  /** Route template; null for a path that belongs to no route. */
  readonly route: string | null;
  /** The path, for unknown routes. */
  readonly path: string;
  readonly failed: boolean;
  /** Prompt and completion tokens. */
  readonly tokens: number;
  /** US dollars; an estimate from tokens where no price is known. */
  readonly cost: number;
  /** Bytes of the request body. */
  readonly size: number;
  /** Content fingerprint. */
  readonly content: string | null;
}

/** What a detector says of a subject. */
export interface Verdict {
  readonly rule: RuleName;
  readonly subject: Subject;
  /** 0 to 100. It never falls when evidence is added. */
  readonly score: number;
  /** Which part of the evidence gave the score. */
  readonly reason: string;
  /** The highest action that this kind of evidence allows, whatever the configuration allows. */
  readonly most: Action;
  /** The normal values that the evidence exceeded. */
  readonly baseline: Readonly<Record<string, number>>;
  readonly evidence: Readonly<Record<string, number>>;
}

/** Evidence as numbers: more never lowers the score. */
export type Evidence = Readonly<Record<string, number>>;

/** One rule: pure functions over the bounded state of one subject. */
export interface Detector<State, E extends Evidence = Evidence> {
  readonly name: RuleName;
  /** Evidence after a signal was taken into the state. Null when this signal is no evidence. */
  evidence(state: State, signal: Signal): E | null;
  /** 0 to 100, monotone in every number of the evidence, with the number that decided. */
  score(evidence: E): { readonly score: number; readonly reason: string };
  /** The normal values that the evidence is compared with. */
  baseline(state: State, signal: Signal): Readonly<Record<string, number>>;
  /** The highest action that a reason allows. Default: `freeze`. */
  most?(reason: string): Action;
}
