import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Action, RuleName, Subject } from '../../types/detector.d.ts';
import type { Finding, FindingState, Sighting } from '../../types/finding.d.ts';
import type { Core } from '../request/request.ts';
import { toCamel } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { type Calendar, calendarOf, describe, inBackground } from '../platform/platform.ts';
import { invalid, type KeyRegistry } from '../registry/registry.ts';
import { actionOf, milder } from './thresholds.ts';

/** Milliseconds. */
const hour = 3_600_000;
const day = 24 * hour;

/** How long an action stays in force after its last evidence. */
const lasts: Readonly<Record<Action, number>> = { none: 0, flag: 0, slow: hour, limit: 2 * hour, freeze: 6 * hour };
/** The longest action. */
const longest = day;
/** An undone pattern raises no finding for the same subject in this time. */
const rest = 30 * day;
/** A finding without new evidence is over after this time, and forgotten after the next. */
const overAfter = 7 * day;
const forgottenAfter = 90 * day;
/** Findings kept, and a tenth more; the oldest that are over are dropped first. */
const most = 5000;
const mostRecords = 20;
/** A confirmed finding lowers the scores at which the next of the subject acts, a false positive raises them. */
const strike = { confirmed: 4, falsePositive: -8 };

const isLive = (state: FindingState): boolean => state === 'open' || state === 'acknowledged';

/** A leaked key stays frozen until it is undone or replaced; any other action ends. */
const isEndless = (rule: RuleName, action: Action): boolean => rule === 'leaked_key' && action === 'freeze';

/** The finding keeps a leaked key frozen. */
const holds = ({ rule, action, expires, state }: Finding): boolean => isLive(state) && isEndless(rule, action) && expires === null;

/** Without evidence for a week. */
const isOver = (finding: Finding, now: number): boolean => now - finding.last > overAfter && !holds(finding);

/** A finding that was raised, or has grown. */
interface Raised {
  readonly finding: Finding;
  readonly isNew: boolean;
  /** The action before. */
  readonly before: Action;
}

/** Sightings that wait to be reported; the oldest are dropped beyond. */
const mostWaiting = 10_000;
/** Sightings of one step, and leaked keys of one: each step looks at all findings, and stores what a Redis takes in well within its time. */
const atOnce = 500;
const leakedAtOnce = 2000;
/** Between two steps, milliseconds. */
const mostPause = 1000;

const nameOf = ({ kind, id }: Subject): string => `${kind} ${id}`;
const subjectOf = ({ caller }: Finding): string => nameOf(caller);

type Edit = readonly (readonly [id: string, finding: Finding | null])[];

/** The findings of all instances. Each change is one atomic step of the registry, so that an exemption and an action cannot cross. */
export class Findings {
  readonly #core: Core;
  /** Actions end by it: a clock that jumps ends none early, and none late. */
  readonly #calendar: Calendar;
  readonly #registry: KeyRegistry;
  #waiting: Sighting[] = [];
  #isReporting = false;
  #isClosed = false;

  constructor(core: Core, registry: KeyRegistry) {
    this.#core = core;
    this.#calendar = calendarOf(core.clock);
    this.#registry = registry;
  }

  /** The newest first. */
  list(): readonly Finding[] {
    const now = this.#calendar.now();
    return [...this.#registry.findings().values()].map((finding) => asOf(finding, now)).sort((one, other) => other.last - one.last || (one.id < other.id ? 1 : -1));
  }

  has(id: string): boolean {
    return this.#registry.findings().has(id);
  }

  get(id: string): Finding {
    const finding = this.#registry.findings().get(id);
    if (finding === undefined) throw new HeimdallError('not_found', { message: 'There is no finding of that id.' });
    return asOf(finding, this.#calendar.now());
  }

  /**
   * Reports soon, together with what else is seen until then. Between two steps the main thread is left alone for nine times what a
   * step took, a second at most. What cannot be stored is told in the event log, and seen again with the subject's next request.
   */
  reportSoon(sighting: Sighting): void {
    if (this.#isClosed) return;
    this.#waiting.push(sighting);
    if (this.#waiting.length > mostWaiting) this.#waiting.shift();
    if (this.#isReporting) return;
    this.#isReporting = true;
    inBackground(this.#core.log, 'findings', this.#reportWaiting());
  }

  async #reportWaiting(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const began = performance.now();
        await this.#reportSome();
        await pause(Math.min(mostPause, 9 * (performance.now() - began)), undefined, { ref: false });
      }
    } finally {
      this.#isReporting = false;
    }
  }

  async #reportSome(): Promise<void> {
    const some = this.#waiting.splice(0, atOnce);
    const lost = (error: unknown): void => this.#core.log.error({ error: describe(error), rules: [...new Set(some.map(({ rule }) => rule))], sightings: some.length }, 'finding.lost');
    await this.#report(some, false).catch(lost);
  }

  /** Reports what waits, and nothing afterwards: the registry closes next. */
  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#waiting.length > 0) await this.#reportSome();
  }

  /** Raises a finding about each subject, or adds to the one that is open, all in one step. */
  report(...sightings: readonly Sighting[]): Promise<void> {
    return this.#report(sightings, true);
  }

  /** @param isDurable false: the watch sees the same again after a loss of power. */
  async #report(sightings: readonly Sighting[], isDurable: boolean): Promise<void> {
    const now = this.#calendar.now();
    let raised = new Map<string, Raised>();
    await this.#registry.changeFindings((all) => {
      raised = new Map();
      const bySubject = Map.groupBy(all.values(), subjectOf);
      for (const sighting of sightings) {
        const about = bySubject.get(nameOf(sighting.subject)) ?? [];
        const one = this.#raised(about, sighting, now);
        if (one === null) continue;
        const first = raised.get(one.finding.id) ?? one;
        raised.set(one.finding.id, { finding: one.finding, isNew: first.isNew, before: first.before });
        bySubject.set(nameOf(sighting.subject), [...about.filter(({ id }) => id !== one.finding.id), one.finding]);
      }
      // The last edit of an entry counts, so that one which has grown is kept.
      return raised.size === 0 ? [] : [...this.#old(all, now), ...[...raised.values()].map(({ finding }) => [finding.id, finding] as const)];
    }, isDurable);
    for (const each of raised.values()) this.#tell(each);
  }

  /** Freezes the callers whose keys are known to others, on every instance and in every `anomaly.mode`. */
  async reportLeaked(owners: readonly { readonly caller: Subject; readonly digest: string | null }[]): Promise<void> {
    if (owners.length === 0) return;
    const now = this.#calendar.now();
    const evidence = { records: [], requests: 0, devices: 0, networks: 0, sessions: 0 };
    const sightings = owners.map(({ caller, digest }) => ({ rule: 'leaked_key' as const, subject: caller, score: 100, reason: 'reported', most: 'freeze' as const, baseline: {}, evidence, since: now, last: now, digest }));
    // A store that is asked for thousands at once answers too late, and nothing would be frozen.
    for (let from = 0; from < sightings.length; from += leakedAtOnce) await this.report(...sightings.slice(from, from + leakedAtOnce));
  }

  /** Raises a finding about a honey key that was used. @param time of the latest use, Unix milliseconds. */
  reportHoney(name: string, records: readonly string[], requests: number, time: number): Promise<void> {
    const evidence = { records, requests, devices: 0, networks: 1, sessions: 0 };
    return this.report({ rule: 'honey_key', subject: { kind: 'key', id: name }, score: 100, reason: 'used', most: 'flag', baseline: {}, evidence, since: time, last: time });
  }

  /** @param about the findings about the subject. */
  #raised(about: readonly Finding[], sighting: Sighting, now: number): Raised | null {
    const same = about.filter(({ rule, digest }) => rule === sighting.rule && (digest ?? null) === (sighting.digest ?? null));
    if (same.some(({ restsUntil }) => restsUntil !== null && restsUntil > now)) return null;
    const known = same.find((finding) => isLive(finding.state) && !isOver(finding, now));
    const finding = this.#merged(known, sighting, strikesOf(about, sighting), now);
    return finding === null ? null : { finding, isNew: known === undefined, before: known?.action ?? 'none' };
  }

  #merged(known: Finding | undefined, { rule, subject, score, reason, most: mostOfKind, baseline, evidence, since, last, digest = null }: Sighting, strikes: number, now: number): Finding | null {
    const { mode, anomaly } = this.#core.config;
    const acts = mode !== 'observe' && (anomaly.mode === 'enforce' || rule === 'leaked_key');
    const allowed = anomaly.rules[toCamel(rule) as keyof typeof anomaly.rules].action;
    if (allowed === 'none') return null;
    const highest = Math.max(known?.score ?? 0, score);
    const step = subject.kind === 'content' ? 'flag' : milder(milder(actionOf(Math.min(100, highest + strikes)), allowed), mostOfKind);
    const action = acts ? step : 'none';
    const began = known?.since ?? Math.min(since, now);
    const ends = lasts[action] === 0 || isEndless(rule, action) ? null : Math.min(now + lasts[action], began + longest > now ? began + longest : now + longest);
    return {
      id: known?.id ?? randomBytes(6).toString('hex'), rule, caller: subject, score: highest, reason: score >= (known?.score ?? 0) ? reason : (known?.reason ?? reason),
      since: began, last: Math.max(known?.last ?? 0, last), state: known?.state ?? 'open', action, would: acts ? null : step, expires: ends,
      baseline, evidence: added(known?.evidence, evidence), restsUntil: null, note: known?.note ?? '', digest,
    };
  }

  /** Findings that are to be dropped. */
  #old(all: ReadonlyMap<string, Finding>, now: number): Edit {
    // Not longer than its records, unless an operator has judged it: that counts for the next finding about the caller.
    const unjudged = Math.min(forgottenAfter, Math.max(this.#core.config.audit.retention.records, overAfter));
    const ageOf = ({ state }: Finding): number => (state === 'open' || state === 'over' ? unjudged : forgottenAfter);
    const old = [...all.values()].filter((finding) => now - finding.last > ageOf(finding) && (finding.restsUntil ?? 0) < now && !holds(finding));
    const surplus = all.size - old.length - most;
    // Each removal is taken out of the file at once: a step drops many, or none.
    const more = surplus <= most / 10 ? [] : [...all.values()].filter(({ state, action, restsUntil }) => (!isLive(state) || action === 'none') && restsUntil === null).slice(0, surplus);
    return [...old, ...more].map(({ id }) => [id, null] as const);
  }

  #tell({ finding, isNew, before }: Raised): void {
    const { id, rule, caller, score, action, would, expires } = finding;
    const fields = { finding: id, rule, kind: caller.kind, caller: caller.id, score, action, would, expires: expires === null ? null : new Date(expires).toISOString() };
    if (isNew) this.#core.log.warn(fields, 'finding.raised');
    else if (action !== before) this.#core.log.warn(fields, 'finding.action');
  }

  /** Drops findings that are old. Called about once a minute. */
  async tidy(): Promise<void> {
    const now = this.#calendar.now();
    if (this.#old(this.#registry.findings(), now).length > 0) await this.#registry.changeFindings((all) => this.#old(all, now));
  }

  acknowledge(id: string, reason: string): Promise<Finding> {
    return this.#change(id, (finding) => ({ ...finding, state: 'acknowledged', note: reason || finding.note }), 'finding.acknowledged');
  }

  /** Takes back what an operator said of a finding. */
  reopen(id: string): Promise<Finding> {
    return this.#change(id, (finding) => ({ ...finding, state: 'open', restsUntil: null }), 'finding.reopened');
  }

  /** Ends the action; the same pattern of the subject rests for 30 days. */
  undo(id: string, reason: string): Promise<Finding> {
    return this.#change(id, (finding, now) => ({ ...finding, state: 'undone', action: 'none', would: null, expires: null, restsUntil: now + rest, note: reason || finding.note }), 'finding.undone');
  }

  falsePositive(id: string, reason: string): Promise<Finding> {
    return this.#change(id, (finding, now) => ({ ...finding, state: 'false_positive', action: 'none', would: null, expires: null, restsUntil: now + rest, note: reason || finding.note }), 'finding.false_positive');
  }

  /** Sets the action by hand. @param expires Unix milliseconds, at most a day ahead unless the action is `none` or `flag`. */
  act(id: string, action: Action, expires: number | null, reason: string): Promise<Finding> {
    return this.#change(id, (finding, now) => {
      if (expires !== null && expires <= now) throw invalid('expires', 'a moment to come', new Date(expires).toISOString(), '2h');
      if (expires !== null && expires > now + longest) throw invalid('expires', 'a moment within 24 hours', new Date(expires).toISOString(), '2h');
      if (finding.caller.kind === 'content' && action !== 'none' && action !== 'flag') throw invalid('action', 'none or flag, since a body is no caller', action);
      const ends = lasts[action] === 0 ? null : (expires ?? (isEndless(finding.rule, action) ? null : now + lasts[action]));
      return { ...finding, state: 'acknowledged', action, would: null, expires: ends, restsUntil: null, note: reason || finding.note };
    }, 'finding.action');
  }

  async #change(id: string, edit: (finding: Finding, now: number) => Finding, event: string): Promise<Finding> {
    const now = this.#calendar.now();
    let changed: Finding | null = null;
    await this.#registry.changeFindings((all) => {
      const finding = all.get(id);
      if (finding === undefined) throw new HeimdallError('not_found', { message: 'There is no finding of that id.' });
      changed = edit(finding, now);
      return [[id, changed]];
    });
    const { rule, caller, action, state } = changed as unknown as Finding;
    this.#core.log.info({ finding: id, rule, kind: caller.kind, caller: caller.id, action, state }, event);
    return changed as unknown as Finding;
  }
}

/** A finding at a moment: an action that has ended is none, and a finding without evidence for a week is over. */
function asOf(finding: Finding, now: number): Finding {
  const ended = finding.expires !== null && finding.expires <= now;
  const over = isLive(finding.state) && isOver(finding, now);
  if (!ended && !over) return finding;
  return { ...finding, state: over ? 'over' : finding.state, ...(ended || over ? { action: 'none' as const, expires: null } : {}) };
}

/** @param about the findings about the subject. */
function strikesOf(about: Iterable<Finding>, { rule }: Sighting): number {
  let sum = 0;
  for (const { state, rule: other } of about) {
    if (state === 'false_positive' && other === rule) sum += strike.falsePositive;
    else if (state === 'acknowledged') sum += strike.confirmed;
  }
  return Math.max(-20, Math.min(20, sum));
}

function added(before: Finding['evidence'] | undefined, now: Finding['evidence']): Finding['evidence'] {
  if (before === undefined) return now;
  return {
    records: [...new Set([...before.records, ...now.records])].slice(-mostRecords),
    requests: before.requests + now.requests,
    ...(now.places === undefined && before.places === undefined ? {} : { places: [...new Map([...(before.places ?? []), ...(now.places ?? [])].map((place) => [place.network, place])).values()].slice(-mostRecords) }),
    devices: Math.max(before.devices, now.devices), networks: Math.max(before.networks, now.networks), sessions: Math.max(before.sessions, now.sessions),
  };
}
