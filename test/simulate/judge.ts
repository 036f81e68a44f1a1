import type { Action, Signal, Subject, Verdict } from '../../types/detector.d.ts';
import { actionOf, milder } from '../../lib/anomaly/thresholds.ts';
import { raiseAt, Watch } from '../../lib/anomaly/watch.ts';
import { resolveConfig, toSnake } from '../../lib/config/config.ts';
import { type Attack, type AttackKind, attacksOn, kinds } from './attacks.ts';
import { parameters } from './parameters.ts';
import { type Kind, start } from './people.ts';
import { populate } from './population.ts';
import { randomOf } from './random.ts';

const day = 86_400;
/** Scores from which verdicts are looked at, for the curve. */
const lowest = 50;
/** A case with fewer requests of the attackers did not take place. */
const leastRequests = 10;
const curveAt = [50, 55, 60, 65, 70, 75, 80, 85, 90, 95];
/** A finding with nothing new for so many seconds is over; the next one counts anew. */
const over = 3 * day;

export interface Report {
  readonly seed: number;
  readonly keys: number;
  readonly days: number;
  readonly key_days: number;
  readonly false_alarms: number;
  readonly attacks: Readonly<Record<string, { readonly cases: number; readonly found: number; readonly median_requests: number | null }>>;
  readonly innocent: Readonly<Record<string, { readonly keys: number; readonly actions: number }>>;
  readonly curve: readonly { readonly threshold: number; readonly recall: number; readonly per_1000_key_days: number }[];
  readonly alarms: readonly string[];
  readonly missed: readonly string[];
}

/** What each rule may do unless it is configured otherwise. */
const allowed = new Map<string, Action>(Object.entries(resolveConfig({}).anomaly.rules).map(([rule, { action }]) => [toSnake(rule), action]));

const nameOf = ({ kind, id }: Subject): string => `${kind} ${id}`;

interface Alarm {
  readonly rule: string;
  readonly subject: string;
  readonly began: number;
  last: number;
  score: number;
  acts: boolean;
  reason: string;
}

/** What is known of an attack while it runs. */
interface Progress {
  readonly attack: Attack;
  /** Requests of the attack so far. */
  requests: number;
  /** The requests it took until a finding, and the highest score. */
  foundAfter: number | null;
  score: number;
  reason: string;
}

/** Runs one seed: a week of warming up, then the counted days. */
export function judgeSeed(seed: number, keys: number, days: number): Report {
  const world = populate(seed, keys);
  const random = randomOf(seed, 'days');
  const attacks = attacksOn(world, Math.max(2, Math.round(keys / 500)), start, days).map((attack): Progress => ({ attack, requests: 0, foundAfter: null, score: 0, reason: 'none' }));
  const touched = new Map<string, Progress[]>();
  for (const progress of attacks) for (const subject of [...progress.attack.subjects, ...progress.attack.touched]) touched.set(nameOf(subject), [...(touched.get(nameOf(subject)) ?? []), progress]);
  const ledger = new AlarmLedger();
  const watch = new Watch(lowest);
  const launch = new Set(world.owners.filter(() => random.chance(parameters.launch.keys)));
  const [launchDay, holiday] = [random.int(0, days - 1), random.int(0, days - 1)];
  // Only keys whose theft began earlier need more than a week of past.
  const early = Math.min(...attacks.filter(({ attack }) => attack.kind === 'stolen_ramped').map(({ attack }) => attack.begins)) - parameters.warmUpDays * day;
  const victims = new Set(attacks.filter(({ attack }) => attack.kind === 'stolen_ramped').flatMap(({ attack }) => attack.subjects.map(nameOf)));
  for (let from = early; from < start + days * day; from += day) {
    const at = Math.round((from - start) / day);
    const signals: Signal[] = [];
    const foreign = new Map<Signal, Progress>();
    for (const owner of world.owners) {
      if (at < -parameters.warmUpDays && !victims.has(nameOf(owner.person.caller))) continue;
      if (touched.get(nameOf(owner.person.caller))?.some(({ attack }) => attack.isQuiet?.(from))) continue;
      const factor = at === holiday ? parameters.holidayFactor : at === launchDay && launch.has(owner) ? (owner.kind === 'service' ? parameters.launch.serviceFactor : parameters.launch.factor) : 1;
      owner.day(from, factor, signals);
    }
    for (const progress of attacks) {
      const before = signals.length;
      progress.attack.day(from, signals);
      for (const signal of signals.slice(before)) foreign.set(signal, progress);
    }
    signals.sort((one, other) => one.time - other.time);
    for (const signal of signals) {
      const attacker = foreign.get(signal);
      if (attacker !== undefined) attacker.requests++;
      for (const verdict of watch.observe(signal)) {
        const isAttack = ledger.attributes(verdict, touched.get(nameOf(verdict.subject)) ?? [], signal.time / 1000);
        // One body over many keys is an attack where the keys are sprayed.
        if (!isAttack && attacker === undefined && from >= start) ledger.alarm(verdict, signal.time / 1000);
      }
    }
  }
  // A friend who was on holiday all week shared nothing.
  const took = attacks.filter(({ requests }) => requests >= leastRequests);
  return reportOf({ seed, keys, days, world: new Map(world.owners.map(({ kind, person }) => [nameOf(person.caller), kind])), attacks: took, alarms: ledger.alarms });
}

/** Tells verdicts about attacks from false alarms, and counts more of the same once. */
class AlarmLedger {
  readonly alarms: Alarm[] = [];
  readonly #open = new Map<string, Alarm>();

  /** @returns whether the verdict is about an attack that has begun. */
  attributes({ rule, subject, score, reason }: Verdict, involved: readonly Progress[], time: number): boolean {
    let isAttack = false;
    for (const progress of involved) {
      if (time < progress.attack.begins || progress.requests === 0) continue;
      isAttack = true;
      if (!progress.attack.subjects.some((each) => nameOf(each) === nameOf(subject))) continue;
      if (score > progress.score) [progress.score, progress.reason] = [score, `${rule} ${reason}`];
      if (score >= raiseAt) progress.foundAfter ??= progress.requests;
    }
    return isAttack;
  }

  alarm({ rule, subject, score, most, reason }: Verdict, time: number): void {
    const key = `${rule} ${nameOf(subject)}`;
    let alarm = this.#open.get(key);
    if (alarm === undefined || time - alarm.last > over) {
      alarm = { rule, subject: nameOf(subject), began: time, last: 0, score: 0, acts: false, reason };
      this.#open.set(key, alarm);
      this.alarms.push(alarm);
    }
    alarm.last = time;
    if (score > alarm.score) [alarm.score, alarm.reason] = [score, reason];
    const action = milder(milder(actionOf(score), (allowed.get(rule) ?? 'none')), most);
    if (action === 'slow' || action === 'limit' || action === 'freeze') alarm.acts = true;
  }
}

interface Results {
  readonly seed: number;
  readonly keys: number;
  readonly days: number;
  readonly world: ReadonlyMap<string, Kind>;
  readonly attacks: readonly Progress[];
  readonly alarms: readonly Alarm[];
}

function reportOf({ seed, keys, days, world, attacks, alarms }: Results): Report {
  const keyDays = keys * days;
  const raised = alarms.filter(({ score }) => score >= raiseAt);
  const attacked = new Set(attacks.flatMap(({ attack }) => attack.subjects.map(nameOf)));
  const byKind = (kind: AttackKind): Report['attacks'][string] => {
    const cases = attacks.filter(({ attack }) => attack.kind === kind);
    const found = cases.flatMap(({ foundAfter }) => foundAfter ?? []).sort((one, other) => one - other);
    return { cases: cases.length, found: found.length, median_requests: found[Math.floor((found.length - 1) / 2)] ?? null };
  };
  const innocents: readonly Kind[] = ['office', 'cgnat', 'commuter', 'renumbered', 'three_devices'];
  const innocent = (kind: Kind): Report['innocent'][string] => {
    const names = [...world].filter(([name, each]) => each === kind && !attacked.has(name)).map(([name]) => name);
    return { keys: names.length, actions: raised.filter(({ subject, acts }) => acts && names.includes(subject)).length };
  };
  return {
    seed, keys, days, key_days: keyDays, false_alarms: raised.length,
    attacks: Object.fromEntries(kinds.map((kind) => [kind, byKind(kind)])),
    innocent: Object.fromEntries(innocents.map((kind) => [kind, innocent(kind)])),
    curve: curveAt.map((threshold) => ({
      threshold,
      recall: attacks.filter(({ score }) => score >= threshold).length / attacks.length,
      per_1000_key_days: (alarms.filter(({ score }) => score >= threshold).length / keyDays) * 1000,
    })),
    missed: attacks.filter(({ foundAfter }) => foundAfter === null).map(({ attack, requests, score, reason }) => `${attack.kind} ${attack.about} ${requests} requests, score ${score} ${reason}`),
    alarms: raised.map(({ rule, reason, subject, score }) => `${rule} ${reason} ${score} ${subject} ${world.get(subject) ?? ''}`),
  };
}
