import { randomBytes } from 'node:crypto';
import type { Action } from '../../types/detector.d.ts';
import type { Finding, FindingState, Sighting } from '../../types/finding.d.ts';
import type { Core } from '../request/request.ts';
import { toSnake } from '../config/config.ts';
import { HeimdallError } from '../errors.ts';
import { type Calendar, calendarOf } from '../platform/platform.ts';
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
/** Findings kept; the oldest that are over are dropped first. */
const most = 5000;
const mostRecords = 20;
/** A confirmed finding lowers the scores at which the next of the subject acts, a false positive raises them. */
const strike = { confirmed: 4, falsePositive: -8 };

const isLive = (state: FindingState): boolean => state === 'open' || state === 'acknowledged';

type Edit = readonly (readonly [id: string, finding: Finding | null])[];

/** The findings of all instances. Each change is one atomic step of the registry, so that an exemption and an action cannot cross. */
export class Findings {
  readonly #core: Core;
  /** Actions end by it: a clock that jumps ends none early, and none late. */
  readonly #calendar: Calendar;
  readonly #registry: KeyRegistry;
  /** The highest action of each rule. */
  readonly #allowed: ReadonlyMap<string, Action>;

  constructor(core: Core, registry: KeyRegistry) {
    this.#core = core;
    this.#calendar = calendarOf(core.clock);
    this.#allowed = new Map(Object.entries(core.config.anomaly.rules).map(([rule, { action }]) => [toSnake(rule), action]));
    this.#registry = registry;
  }

  /** The newest first. */
  list(): readonly Finding[] {
    const now = this.#calendar.now();
    return [...this.#registry.findings().values()].map((finding) => asOf(finding, now)).sort((one, other) => other.last - one.last || (one.id < other.id ? 1 : -1));
  }

  get(id: string): Finding {
    const finding = this.#registry.findings().get(id);
    if (finding === undefined) throw new HeimdallError('not_found', { message: 'There is no finding of that id.' });
    return asOf(finding, this.#calendar.now());
  }

  /** Raises a finding, or adds to the one that is open. */
  async report(sighting: Sighting): Promise<void> {
    const now = this.#calendar.now();
    let raised: { readonly finding: Finding; readonly isNew: boolean; readonly before: Action } | null = null;
    await this.#registry.changeFindings((all) => {
      raised = null;
      const same = [...all.values()].filter(({ rule, caller }) => rule === sighting.rule && caller.kind === sighting.subject.kind && caller.id === sighting.subject.id);
      if (same.some(({ restsUntil }) => restsUntil !== null && restsUntil > now)) return [];
      const known = same.find(({ state, last }) => isLive(state) && now - last < overAfter);
      const finding = this.#merged(known, sighting, strikesOf(all.values(), sighting), now);
      if (finding === null) return [];
      raised = { finding, isNew: known === undefined, before: known?.action ?? 'none' };
      return [[finding.id, finding], ...this.#old(all, now)];
    });
    if (raised !== null) this.#tell(raised);
  }

  #merged(known: Finding | undefined, { rule, subject, score, reason, most: mostOfKind, baseline, evidence, since, last }: Sighting, strikes: number, now: number): Finding | null {
    const acts = this.#core.config.anomaly.mode === 'enforce';
    const allowed = this.#allowed.get(rule) ?? 'none';
    if (allowed === 'none') return null;
    const highest = Math.max(known?.score ?? 0, score);
    const step = subject.kind === 'content' ? 'flag' : milder(milder(actionOf(Math.min(100, highest + strikes)), allowed), mostOfKind);
    const action = acts ? step : 'none';
    const began = known?.since ?? Math.min(since, now);
    const ends = lasts[action] === 0 ? null : Math.min(now + lasts[action], began + longest > now ? began + longest : now + longest);
    return {
      id: known?.id ?? randomBytes(6).toString('hex'), rule, caller: subject, score: highest, reason: score >= (known?.score ?? 0) ? reason : (known?.reason ?? reason),
      since: began, last: Math.max(known?.last ?? 0, last), state: known?.state ?? 'open', action, would: acts ? null : step, expires: ends,
      baseline, evidence: added(known?.evidence, evidence), restsUntil: null, note: known?.note ?? '',
    };
  }

  /** Findings that are to be dropped. */
  #old(all: ReadonlyMap<string, Finding>, now: number): Edit {
    const old = [...all.values()].filter(({ last, restsUntil }) => now - last > forgottenAfter && (restsUntil ?? 0) < now);
    const surplus = all.size - old.length - most;
    const more = surplus <= 0 ? [] : [...all.values()].filter(({ state, action, restsUntil }) => (!isLive(state) || action === 'none') && restsUntil === null).slice(0, surplus);
    return [...old, ...more].map(({ id }) => [id, null] as const);
  }

  #tell({ finding, isNew, before }: { readonly finding: Finding; readonly isNew: boolean; readonly before: Action }): void {
    const { id, rule, caller, score, action, would, expires } = finding;
    const fields = { finding: id, rule, kind: caller.kind, caller: caller.id, score, action, would, expires: expires === null ? null : new Date(expires).toISOString() };
    if (isNew) this.#core.log.warn(fields, 'finding.raised');
    else if (action !== before) this.#core.log.warn(fields, 'finding.action');
  }

  acknowledge(id: string, reason: string): Promise<Finding> {
    return this.#change(id, (finding) => ({ ...finding, state: 'acknowledged', note: reason || finding.note }), 'finding.acknowledged');
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
      const ends = lasts[action] === 0 ? null : (expires ?? now + lasts[action]);
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
  const over = isLive(finding.state) && now - finding.last > overAfter;
  if (!ended && !over) return finding;
  return { ...finding, state: over ? 'over' : finding.state, ...(ended || over ? { action: 'none' as const, expires: null } : {}) };
}

function strikesOf(all: Iterable<Finding>, { rule, subject }: Sighting): number {
  let sum = 0;
  for (const { caller, state, rule: other } of all) {
    if (caller.kind !== subject.kind || caller.id !== subject.id) continue;
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
    devices: Math.max(before.devices, now.devices), networks: Math.max(before.networks, now.networks), sessions: Math.max(before.sessions, now.sessions),
  };
}
