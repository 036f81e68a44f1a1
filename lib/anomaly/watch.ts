import type { Detector, Signal, Subject, Verdict } from '../../types/detector.d.ts';
import type { FindingEvidence } from '../../types/finding.d.ts';
import { Cohort } from './cohort.ts';
import { detectorsOf } from './detectors/detectors.ts';
import { secondsOf, shortHash } from './counting.ts';
import { CallerState } from './state.ts';
import { ContentState, NetworkState } from './surroundings.ts';
import { ladder, thresholds } from './thresholds.ts';

/** Subjects whose state is kept; the ones that have been silent for longest are forgotten first. */
const most = { callers: 100_000, networks: 50_000, contents: 20_000 };
/** Seconds. */
const hour = 3600;

/** The score from which a finding is raised. */
export const raiseAt = ladder[0]?.[0] ?? 100;

/** Judges requests one by one: takes each into the state of its caller, its network and its body, and asks the detectors. */
export class Watch {
  readonly #callers = new States(CallerState, most.callers);
  readonly #networks = new States(NetworkState, most.networks);
  readonly #contents = new States(ContentState, most.contents);
  readonly #sightings = new Sightings();
  readonly #spend = new Cohort(0.001, thresholds.cohortShare, thresholds.cohort.needs, thresholds.cohort.spend);
  readonly #requests = new Cohort(1, thresholds.cohortShare, thresholds.cohort.needs, thresholds.cohort.requests);
  readonly #raiseAt: number;
  readonly #detectors = detectorsOf({ spend: this.#spend, requests: this.#requests });

  /** @param from lowest score of a verdict. */
  constructor(from = raiseAt) {
    this.#raiseAt = from;
  }

  /** Callers whose state is kept. */
  get callers(): number {
    return this.#callers.size;
  }

  caller(subject: Subject): CallerState | null {
    return this.#callers.get(subject) ?? null;
  }

  /** Takes a request. @returns what the detectors say of it: scores from which a finding is raised. */
  observe(signal: Signal): readonly Verdict[] {
    const verdicts: Verdict[] = [];
    const caller = signal.caller === null ? null : this.#callers.make(signal.caller);
    if (caller !== null) {
      this.#countHour(caller, secondsOf(signal.time));
      caller.take(signal);
      judge(this.#detectors.caller, caller, signal, this.#raiseAt, verdicts);
    }
    const network = this.#networks.make({ kind: 'network', id: signal.network });
    network.take(signal, caller);
    judge(this.#detectors.network, network, signal, this.#raiseAt, verdicts);
    caller?.judged();
    if (signal.content !== null && signal.size >= thresholds.repeatedSize && this.#sightings.see(signal.content)) {
      const content = this.#contents.make({ kind: 'content', id: signal.content });
      content.take(signal);
      judge(this.#detectors.content, content, signal, this.#raiseAt, verdicts);
    }
    return verdicts;
  }

  /** What supports a verdict. @param last Unix milliseconds of the latest request. */
  evidenceOf({ subject, evidence }: Verdict, last: number, records: readonly string[], requests: number): FindingEvidence {
    const state = this.caller(subject);
    const at = secondsOf(last);
    const counted = (name: string, fallback: number): number => Math.round(evidence[name] ?? fallback);
    return {
      records, requests,
      devices: counted('devices', state === null ? 0 : state.devicesADay(at)), networks: counted('networks', state === null ? 1 : state.networksADay(at)), sessions: counted('sessions', 0),
    };
  }

  /** Forgets a caller. */
  forget(subject: Subject): void {
    this.#callers.delete(subject);
  }

  /** An active hour of a key joins the cohort when the key's next hour begins. */
  #countHour(caller: CallerState, now: number): void {
    if (caller.last === 0 || Math.floor(now / hour) <= Math.floor(caller.last / hour)) return;
    this.#spend.add(caller.spend.long(caller.last));
    this.#requests.add(caller.rate.long(caller.last));
  }
}

/** The id alone, which the state holds anyway, but for keys: a key may be named like a token. */
const nameOf = ({ kind, id }: Subject): string => (kind === 'key' ? `key ${id}` : id);

/**
 * States by subject, in two generations: when the newer one is full it becomes the older one, and states of the former older one that
 * were not used since are dropped. (A map from which the oldest entry is deleted time and again becomes slow in V8.)
 */
class States<S> {
  readonly #State: new (subject: Subject) => S;
  readonly #limit: number;
  #recent = new Map<string, S>();
  #older = new Map<string, S>();

  constructor(State: new (subject: Subject) => S, most: number) {
    this.#State = State;
    this.#limit = most / 2;
  }

  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  get(subject: Subject): S | undefined {
    const key = nameOf(subject);
    return this.#recent.get(key) ?? this.#older.get(key);
  }

  make(subject: Subject): S {
    const key = nameOf(subject);
    const found = this.#recent.get(key);
    if (found !== undefined) return found;
    const state = this.#older.get(key) ?? new this.#State(subject);
    this.#older.delete(key);
    if (this.#recent.size >= this.#limit) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(key, state);
    return state;
  }

  delete(subject: Subject): void {
    const key = nameOf(subject);
    this.#recent.delete(key);
    this.#older.delete(key);
  }
}

/** Bodies seen lately, by a hash each in the place of its last bits: a state is made for a body that comes again. */
class Sightings {
  readonly #hashes = new Int32Array(65_536);

  /** @returns whether the body was seen before. */
  see(content: string): boolean {
    const hash = shortHash(content);
    const at = hash & 65_535;
    if (this.#hashes[at] === hash) return true;
    this.#hashes[at] = hash;
    return false;
  }
}

function judge<S extends { readonly subject: Subject }>(detectors: readonly Detector<S>[], state: S, signal: Signal, from: number, verdicts: Verdict[]): void {
  for (const detector of detectors) {
    const evidence = detector.evidence(state, signal);
    if (evidence === null) continue;
    const { score, reason } = detector.score(evidence);
    if (score < from) continue;
    verdicts.push({ rule: detector.name, subject: state.subject, score, reason, most: detector.most?.(reason) ?? 'freeze', baseline: detector.baseline(state, signal), evidence });
  }
}
