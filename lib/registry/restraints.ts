import type { Action, Subject } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import { AddressSet } from '../identity/identity.ts';

/** An action in force about a caller. */
export interface Restraint {
  /** Id of the finding. */
  readonly finding: string;
  readonly action: 'slow' | 'limit' | 'freeze';
  /** Unix milliseconds. Null: until it is undone. */
  readonly expires: number | null;
}

const strength: Readonly<Record<Action, number>> = { none: 0, flag: 0, slow: 1, limit: 2, freeze: 3 };

interface RestrainedNetwork {
  readonly set: AddressSet;
  readonly restraint: Restraint;
}

/** The actions of the watch in force at one moment, by key, token and network: the strongest of each subject. */
export class Restraints {
  /** Unix milliseconds at which the first one ends. */
  readonly until: number;
  readonly isEmpty: boolean;
  readonly #bySubject = new Map<string, Restraint>();
  readonly #networks: RestrainedNetwork[] = [];

  /** @param now Unix milliseconds. */
  constructor(findings: Iterable<Finding>, now: number) {
    let until = Number.POSITIVE_INFINITY;
    for (const { id, caller, action, expires, state, digest } of findings) {
      if ((state !== 'open' && state !== 'acknowledged') || strength[action] === 0 || (expires !== null && expires <= now)) continue;
      until = Math.min(until, expires ?? until);
      this.#add(caller, digest ?? null, { finding: id, action: action as Restraint['action'], expires });
    }
    this.until = until;
    this.isEmpty = this.#bySubject.size === 0 && this.#networks.length === 0;
  }

  #add(subject: Subject, digest: string | null, restraint: Restraint): void {
    if (subject.kind === 'network') {
      this.#networks.push({ set: new AddressSet([subject.id]), restraint });
      return;
    }
    const name = digest === null ? `${subject.kind} ${subject.id}` : `digest ${digest}`;
    const known = this.#bySubject.get(name);
    if (known === undefined || strength[restraint.action] > strength[known.action]) this.#bySubject.set(name, restraint);
  }

  /**
   * The restraint of a caller: of the gateway key that it presents, else of all keys of that name, else of its token under this
   * install secret or a previous one.
   */
  ofCaller(key: string | null, token: TokenIdentity | null, grant: { readonly sha256: string } | null = null): Restraint | null {
    const ofDigest = grant === null ? undefined : this.#bySubject.get(`digest ${grant.sha256}`);
    const ofName = key === null ? undefined : this.#bySubject.get(`key ${key}`);
    const ofKey = ofDigest !== undefined && (ofName === undefined || strength[ofDigest.action] > strength[ofName.action]) ? ofDigest : ofName;
    if (ofKey !== undefined || token === null) return ofKey ?? null;
    const ofToken = this.#bySubject.get(`token ${token.id}`);
    if (ofToken !== undefined) return ofToken;
    for (const former of token.former) {
      const found = this.#bySubject.get(`token ${former}`);
      if (found !== undefined) return found;
    }
    return null;
  }

  /** The strongest restraint of the networks that hold an address. */
  ofAddress(ip: string): Restraint | null {
    let strongest: Restraint | null = null;
    for (const { set, restraint } of this.#networks) if ((strongest === null || strength[restraint.action] > strength[strongest.action]) && set.has(ip)) strongest = restraint;
    return strongest;
  }
}
