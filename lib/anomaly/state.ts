import type { Signal, Subject } from '../../types/detector.d.ts';
import { boxless, day, different, type Distinct, faded, Fading, ones, Rate, rateSize, secondsOf, shortHash, withValue } from './counting.ts';
import { thresholds } from './thresholds.ts';

/** A person, or a job, behind a key: a device that names itself, else a home, else a platform in a network. */
export interface Persona {
  readonly id: number;
  readonly family: number;
  readonly platform: number;
  readonly device: boolean;
  automated: boolean;
  /** An account name, or an end user that a program names. 0: none. */
  home: number;
  endUser: boolean;
  /** The wide networks it was last seen in, by version of IP. 0: none. */
  near4: number;
  near6: number;
  /** The narrow network it was last seen in. */
  network: number;
  /** A home that was seen in the same network at another time: probably of the same person. 0: none. */
  met: number;
  /** The first day on which it was in the network of another device or home. -1: none. */
  metOn: number;
  first: number;
  last: number;
  /** Number of the caller's request that was the persona's last. */
  turn: number;
  count: number;
  /** Days on which it was active, and the last of them. */
  days: number;
  lastDay: number;
  /** Weighted returns after another persona. */
  returns: Fading | null;
  /** Those after a device that is not of the same person or household. */
  strangeReturns: Fading | null;
  /** Returns in another network, where nothing else tells personas apart. */
  networkReturns: Fading | null;
  /** Points of its first sight, and of a model that it brought while on probation: how unlike the key's past it is. */
  novelty: number;
  /** Its first sight was in a network new to the key. */
  cameFromElsewhere: boolean;
  broughtModel: boolean;
  /** Its first sight was with an account name, or with a system, that the key never had. */
  broughtHome: boolean;
  broughtPlatform: boolean;
  /** The model that it uses most, and by how many requests (the vote of Boyer and Moore). 0: none. */
  model: number;
  lead: number;
  /** US dollars spent, fading within an hour, and within weeks, as of `spentAt`. */
  spent: number;
  spentLong: number;
  spentAt: number;
}

/** What a persona spent within an hour, and within weeks, US dollars. */
export const spentOf = ({ spent, spentAt }: Persona, now: number): number => faded(spent, spentAt, now, thresholds.longWindow);
export const spentLongOf = ({ spentLong, spentAt }: Persona, now: number): number => faded(spentLong, spentAt, now, thresholds.shareHalfLife);

/** Requests by which a model leads at most: a new habit takes over soon. */
const mostLead = 6;

/** Two personas mostly use different models. */
export const differInModel = (one: Persona, other: Persona): boolean => one.lead >= thresholds.modelLead && other.lead >= thresholds.modelLead && one.model !== other.model;

/** An account name behind a key, with its days of activity. */
interface Home {
  readonly id: number;
  readonly first: number;
  last: number;
  days: number;
}

/** Days on which two homes behind a key worked in networks apart. */
interface DaysApart {
  /** A day on which they came in turn counts twice. */
  readonly days: Fading;
  /** The last such day, and the returns on it. */
  today: number;
  returns: number;
  /** How unlike the key's past the stranger of them was at first sight, in points. */
  novelty: number;
}

/** The personas that are remembered of a caller; the one that has been silent for longest is forgotten first. */
const mostPersonas = 24;
/** More jobs than these among them make room for others. */
const mostJobs = 8;

/** What is remembered of a caller's requests, with the most values of each: the latest few. The places are bits of {@link Seen}. */
const kinds = ['network', 'client', 'platform', 'model', 'country'] as const;
const mostSeen = [24, 8, 8, 24, 4] as const;
const kindBits = 3;

/** Values seen of a caller, all kinds in one array, the latest last: hashes of 28 bits above the number of the kind. */
type Seen = readonly number[];

function seenWith(seen: Seen, kind: number, hash: number): Seen {
  const value = (hash << kindBits) | kind;
  const at = seen.lastIndexOf(value);
  if (at === seen.length - 1 && at >= 0) return seen;
  if (at >= 0) return seen.filter((each) => each !== value).concat(value);
  let count = 0;
  let oldest = -1;
  for (let each = seen.length - 1; each >= 0; each--) {
    if (((seen[each] as number) & ((1 << kindBits) - 1)) !== kind) continue;
    count++;
    oldest = each;
  }
  return (count === mostSeen[kind] ? seen.toSpliced(oldest, 1) : seen).concat(value);
}

/** What the latest request of a caller was, compared with everything before it. */
export interface Latest {
  readonly persona: Persona;
  readonly isNew: { readonly network: boolean; readonly client: boolean; readonly platform: boolean; readonly home: boolean; readonly model: boolean; readonly hour: boolean; readonly country: boolean };
  readonly tiny: boolean;
  /** The key has a past long enough to judge by. */
  readonly hasPast: boolean;
}

/** Places in the numbers of a caller: two rates, requests within minutes, a bit for each hour of the week with requests. */
const places = { spend: 0, rate: rateSize, answers: rateSize * 2, answersSince: rateSize * 2 + 1, hours: rateSize * 2 + 2 } as const;
const hourWords = 6;

/**
 * The bounded state of one caller: some 1.6 KB for a person with two machines. What few callers have is made when it is needed, and
 * numbers that are no small integers share an array, since V8 boxes each one elsewhere.
 */
export class CallerState {
  readonly subject: Subject;
  #personas: readonly Persona[] = [];
  #turns = 0;
  first = 0;
  last = 0;
  #days = 0;
  #lastDay = -1;
  #seen: Seen = [];
  #newNetworks = 0;
  readonly #numbers = boxless(places.hours + hourWords);
  #devicesADay: Distinct = null;
  #automatedADay: Distinct = null;
  #networksADay: Distinct = null;
  #sessions: Distinct = null;
  apart: DaysApart | null = null;
  /** Likewise two personas without a name that use different models. */
  habits: DaysApart | null = null;
  homeReturns: Fading | null = null;
  #home = 0;
  #homeBefore = 0;
  /** Its requests name end users, several of one network: they do not share a key, a service has it. */
  #servesUsers = false;
  /** At most 8, the oldest first. */
  #homes: readonly Home[] = [];
  failures: Fading | null = null;
  travels: Fading | null = null;
  /** Requests of clients that are not what they say. */
  forgeries: Fading | null = null;
  #country = 0;
  #countryBefore = 0;
  #countryAt = 0;
  /** Between `take` and `judged`. */
  latest: Latest | null = null;

  constructor(subject: Subject) {
    this.subject = subject;
  }

  get requests(): number {
    return this.#turns;
  }

  get personas(): readonly Persona[] {
    return this.#personas;
  }

  /** Spend within the short and the long window, and the peaks of both. */
  get spend(): Rate {
    return new Rate(this.#numbers, places.spend);
  }

  /** Requests likewise. */
  get rate(): Rate {
    return new Rate(this.#numbers, places.rate);
  }

  answers(now: number): number {
    return faded(this.#number(places.answers), this.#number(places.answersSince), now, thresholds.failuresHalfLife);
  }

  devicesADay(now: number): number {
    return different(this.#devicesADay, now, day);
  }

  automatedADay(now: number): number {
    return different(this.#automatedADay, now, day);
  }

  networksADay(now: number): number {
    return different(this.#networksADay, now, day);
  }

  /** Within some minutes. */
  sessions(now: number): number {
    return different(this.#sessions, now, thresholds.sessionsWithin);
  }

  /** The latest request has been judged. */
  judged(): void {
    this.latest = null;
  }

  /** Takes a request into the state. */
  take(signal: Signal): void {
    const now = secondsOf(signal.time);
    this.#turns++;
    if (this.first === 0) this.first = now;
    const today = Math.floor(now / day);
    const hasPast = this.#hasPast(today);
    if (today > this.#lastDay) {
      this.#days++;
      this.#lastDay = today;
    }
    const near = shortHash(signal.near);
    const isNew = {
      network: this.#isFirst('network', near),
      client: signal.client !== null && this.#isFirst('client', shortHash(signal.client)),
      platform: this.#isFirst('platform', shortHash(signal.platform)),
      home: signal.home !== null && !signal.endUser && this.#homes.length > 0 && this.#homeOf(shortHash(signal.home)) === undefined,
      model: signal.model !== null && this.#isFirst('model', shortHash(signal.model)),
      hour: this.#isNewHour(now),
      country: signal.country !== null && this.#isFirst('country', shortHash(signal.country)),
    };
    const persona = this.#personaOf(signal, near, now, today);
    if (isNew.network && this.#days > 1) this.#newNetworks++;
    if (hasPast) judgeNovelty(persona, isNew, signal, this.#newNetworks / this.#days);
    this.#countReturns(persona, now, today);
    vote(persona, signal);
    this.#countDaysApart(persona, now, today);
    this.#countHabits(persona, signal, now, today);
    this.#takeHome(signal, persona, now, today);
    this.#takeCountry(signal, now);
    this.#takeCounts(signal, near, now);
    persona.last = now;
    persona.turn = this.#turns;
    persona.count++;
    this.last = Math.max(this.last, now);
    this.latest = { persona, isNew, tiny: isTiny(signal), hasPast };
  }

  #hasPast(today: number): boolean {
    const { days, requests, onOneDay } = thresholds.history;
    if (this.#days >= days) return this.#turns > requests;
    return this.#turns > onOneDay && today - Math.floor(this.first / day) >= days;
  }

  #number(place: number): number {
    return this.#numbers[place] as number;
  }

  #isFirst(kind: (typeof kinds)[number], hash: number): boolean {
    const before = this.#seen;
    this.#seen = seenWith(before, kinds.indexOf(kind), hash);
    return this.#seen.length > before.length || (this.#seen !== before && !before.includes(this.#seen.at(-1) as number));
  }

  #isNewHour(now: number): boolean {
    // Neighbouring hours count as known: people come earlier and later.
    const hour = Math.floor(now / 3600) % 168;
    let known = false;
    for (const at of [hour - 1, hour, hour + 1, hour - 25, hour - 24, hour - 23, hour + 23, hour + 24, hour + 25]) {
      const bit = (at + 336) % 168;
      if ((this.#number(places.hours + (bit >>> 5)) & (1 << (bit & 31))) !== 0) known = true;
    }
    this.#numbers[places.hours + (hour >>> 5)] = this.#number(places.hours + (hour >>> 5)) | (1 << (hour & 31));
    return !known;
  }

  #personaOf(signal: Signal, near: number, now: number, today: number): Persona {
    const home = signal.home === null || (signal.endUser && this.#servesUsers) ? 0 : shortHash(signal.home);
    const id = shortHash(personaText(signal, home === 0));
    let persona = this.#personas.find((each) => each.id === id);
    if (persona === undefined) {
      if (this.#personas.length === mostPersonas) this.#forgetOldest();
      persona = {
        id, family: shortHash(signal.client ?? ''), platform: shortHash(signal.platform), device: signal.device !== null, automated: signal.automated,
        home, endUser: signal.endUser, near4: 0, near6: 0, network: 0, met: 0, metOn: -1, first: now, last: 0, turn: 0, count: 0, days: 1, lastDay: today, returns: null, strangeReturns: null, networkReturns: null, novelty: 0, cameFromElsewhere: false, broughtModel: false, broughtHome: false, broughtPlatform: false, model: 0, lead: 0, spent: 0, spentLong: 0, spentAt: 0,
      };
      this.#personas = this.#personas.concat(persona);
    }
    if (today > persona.lastDay) {
      persona.days++;
      persona.lastDay = today;
    }
    if (home !== 0) persona.home = home;
    persona.automated &&= signal.automated;
    if (signal.network.includes(':')) persona.near6 = near;
    else persona.near4 = near;
    const network = shortHash(signal.network);
    if (persona.count === 0 || persona.network !== network) this.#noteMeeting(persona, network, today);
    persona.network = network;
    persona.spent = spentOf(persona, now) + signal.cost;
    persona.spentLong = spentLongOf(persona, now) + signal.cost;
    persona.spentAt = Math.max(persona.spentAt, now);
    return persona;
  }

  /** Notes that devices or homes were in one network. */
  #noteMeeting(persona: Persona, network: number, today: number): void {
    if (!isOfPerson(persona)) return;
    for (const other of this.#personas) {
      if (other === persona || other.network !== network || !isOfPerson(other)) continue;
      if (persona.metOn < 0) persona.metOn = today;
      if (other.metOn < 0) other.metOn = today;
    }
  }

  /** Two devices or homes are known as those of one person or household. */
  #areOfOne(one: Persona, other: Persona, today: number): boolean {
    if (!isOfPerson(one) || !isOfPerson(other)) return false;
    if (one.home !== 0 && one.home === other.home) return true;
    const { household } = thresholds;
    if (Math.min(one.days, other.days) < household.days || Math.min(one.metOn, other.metOn) < 0 || Math.max(one.metOn, other.metOn) >= today) return false;
    let devices = 0;
    for (const each of this.#personas) if (each.device && !each.automated) devices++;
    return devices <= household.devices && this.#homes.length <= household.homes;
  }

  /** Jobs go first while they are many: a fresh container never comes back, and would take the place of its owner's machine. */
  #forgetOldest(): void {
    let jobs = 0;
    for (const { automated } of this.#personas) if (automated) jobs++;
    const jobsOnly = jobs > mostJobs;
    let oldest = -1;
    for (const [at, { automated, last }] of this.#personas.entries()) {
      if (jobsOnly && !automated) continue;
      if (oldest < 0 || last < (this.#personas[oldest] as Persona).last) oldest = at;
    }
    this.#personas = this.#personas.toSpliced(oldest, 1);
  }

  /** A return: this persona was here, another one of the same client family came after it, and it is back within one sitting. */
  #countReturns(persona: Persona, now: number, today: number): void {
    if (persona.turn === 0 || now - persona.last > thresholds.returnWithin) return;
    let weight = 0;
    let strange = 0;
    let inNetwork = false;
    for (const other of this.#personas) {
      if (other === persona || other.turn <= persona.turn || other.family !== persona.family) continue;
      const each = weightOf(persona, other);
      weight = Math.max(weight, each);
      if (each > strange && !this.#areOfOne(persona, other, today)) strange = each;
      if (!persona.device && !other.device && areApart(persona, other) && now - persona.last <= thresholds.networkReturnWithin) inNetwork = true;
    }
    if (weight > 0) (persona.returns ??= new Fading()).add(now, weight, thresholds.returnsHalfLife);
    if (strange > 0) (persona.strangeReturns ??= new Fading()).add(now, strange, thresholds.returnsHalfLife);
    if (inNetwork) (persona.networkReturns ??= new Fading()).add(now, persona.days >= thresholds.establishedDays ? thresholds.weights.automated : 1, thresholds.returnsHalfLife);
  }

  #countDaysApart(persona: Persona, now: number, today: number): void {
    if (persona.automated || persona.home === 0) return;
    for (const other of this.#personas) {
      if (other === persona || other.turn === 0 || other.automated || other.home === 0 || other.home === persona.home) continue;
      if (persona.network === other.network) this.#meet(persona, other);
      if (persona.met === other.home || other.met === persona.home || !areApart(persona, other)) continue;
      // Over several days only a return tells two people from one who moved.
      const isToday = other.lastDay === today;
      const isBack = persona.turn > 0 && other.turn > persona.turn && today - other.lastDay <= thresholds.apartWithinDays;
      if (isToday || isBack) {
        const model = !persona.broughtModel && !other.broughtModel && differInModel(persona, other) ? thresholds.stays.model : 0;
        this.apart = withDayApart(this.apart, now, today, isToday && isBack, Math.max(persona.novelty, other.novelty) + model);
        return;
      }
    }
  }

  /** Programs that send no id and no name: two people come back after each other from networks apart, each with a model of their own. */
  #countHabits(persona: Persona, signal: Signal, now: number, today: number): void {
    if (!isNameless(persona) || persona.turn === 0 || persona.lead < thresholds.modelLead || signal.model === null || shortHash(signal.model) !== persona.model) return;
    for (const other of this.#personas) {
      if (other === persona || other.turn <= persona.turn || today - other.lastDay > thresholds.apartWithinDays || !isNameless(other) || other.family !== persona.family) continue;
      if (!differInModel(persona, other) || !areApart(persona, other) || this.#isProgram(now)) continue;
      const weight = persona.platform === other.platform ? thresholds.sameSystem : 1;
      this.habits = withDayApart(this.habits, now, today, other.lastDay === today, 0, weight);
      return;
    }
  }

  /** Used in more hours of the week than people work. */
  #isProgram(now: number): boolean {
    let hours = 0;
    for (let word = 0; word < hourWords; word++) hours += ones(this.#number(places.hours + word));
    return hours > thresholds.hoursOfPeople * Math.min(168, 1 + (now - this.first) / 3600);
  }

  /** Two homes in one network are mostly of one person, and what was held against them is void; two end users are those of a service. */
  #meet(persona: Persona, other: Persona): void {
    if (persona.met !== other.home && this.#homes.length <= 2) this.apart = null;
    [persona.met, other.met] = [other.home, persona.home];
    if (!persona.endUser || !other.endUser) return;
    this.#servesUsers = true;
    for (const each of this.#personas) if (each.endUser) each.home = 0;
  }

  #takeHome(signal: Signal, persona: Persona, now: number, today: number): void {
    if (signal.home === null || signal.endUser) return;
    const id = shortHash(signal.home);
    let home = this.#homeOf(id);
    if (home === undefined) {
      home = { id, first: today, last: today, days: 1 };
      this.#homes = (this.#homes.length === 8 ? this.#homes.slice(1) : this.#homes).concat(home);
    }
    if (home.last !== today) {
      home.days++;
      home.last = today;
    }
    if (id === this.#home) return;
    if (id === this.#homeBefore || this.#homes.length > 2) {
      const before = this.#homeOf(this.#home);
      const areKnown = (home.days >= thresholds.establishedDays && (before?.days ?? 0) >= thresholds.establishedDays)
        || this.#personas.some((other) => other !== persona && other.home === this.#home && this.#areOfOne(persona, other, today));
      const isReturn = home.first !== today || home.days > 1 || id === this.#homeBefore;
      if (isReturn) (this.homeReturns ??= new Fading()).add(now, areKnown ? thresholds.weights.established : 1, thresholds.homesHalfLife);
    }
    this.#homeBefore = this.#home;
    this.#home = id;
  }

  #homeOf(id: number): Home | undefined {
    return this.#homes.find((each) => each.id === id);
  }

  #takeCountry(signal: Signal, now: number): void {
    if (signal.country === null) return;
    const id = shortHash(signal.country);
    if (id === this.#country) return;
    // Several changes within some minutes are one: a tunnel that is not steady.
    const isReturn = id === this.#countryBefore && now - this.#countryAt <= thresholds.travelWithin;
    if (isReturn && now - (this.travels?.at ?? 0) > thresholds.togetherWithin) (this.travels ??= new Fading()).add(now, 1, thresholds.travelHalfLife);
    this.#countryBefore = this.#country;
    this.#countryAt = now;
    this.#country = id;
  }

  #takeCounts(signal: Signal, near: number, now: number): void {
    if (signal.device !== null && signal.automated) this.#automatedADay = withValue(this.#automatedADay, now, shortHash(signal.device), day);
    else if (signal.device !== null) this.#devicesADay = withValue(this.#devicesADay, now, shortHash(signal.device), day);
    this.#networksADay = withValue(this.#networksADay, now, near, day);
    if (signal.session !== null) this.#sessions = withValue(this.#sessions, now, shortHash(signal.session), thresholds.sessionsWithin);
    this.spend.add(now, signal.cost);
    this.rate.add(now, 1);
    this.#numbers[places.answers] = this.answers(now) + 1;
    this.#numbers[places.answersSince] = Math.max(this.#number(places.answersSince), now);
    if (signal.forged) (this.forgeries ??= new Fading()).add(now, 1, thresholds.forgeryHalfLife);
    if (signal.failed) (this.failures ??= new Fading()).add(now, 1, thresholds.failuresHalfLife);
  }
}

/** Adds the points of a first sight, and those of a model that is new to the key. @param networksADay how often the key sees a new network. */
function judgeNovelty(persona: Persona, isNew: Latest['isNew'], signal: Signal, networksADay: number): void {
  const { novelty: points, probation, networkHabit } = thresholds;
  if (persona.count === 0) [persona.cameFromElsewhere, persona.broughtHome, persona.broughtPlatform] = [isNew.network, isNew.home, isNew.platform];
  const elsewhere = persona.cameFromElsewhere ? 1 : points.knownNetwork;
  if (persona.count === 0) {
    persona.novelty = (isNew.network ? points.network / (1 + networkHabit * networksADay) : 0) + elsewhere * ((isNew.client ? points.client : 0) + (isNew.platform ? points.platform : 0)
      + (isNew.home ? points.home : 0) + (isNew.hour ? points.hour : 0) + (isNew.country ? points.country : 0) + (persona.device ? points.device : 0) + (isTiny(signal) ? points.tiny : 0));
  }
  if (!isNew.model || persona.broughtModel || secondsOf(signal.time) - persona.first > probation) return;
  persona.broughtModel = true;
  persona.novelty += elsewhere * points.model;
}

/** Counts a day, and once more where they came in turn on it. @param inTurn a return on this day. @param weight of a day. */
function withDayApart(known: DaysApart | null, now: number, today: number, inTurn: boolean, novelty: number, weight = 1): DaysApart {
  const apart = known ?? { days: new Fading(), today: -1, returns: 0, novelty: 0 };
  apart.novelty = Math.max(apart.novelty, Math.round(novelty));
  if (apart.today !== today) {
    apart.today = today;
    apart.returns = 0;
    apart.days.add(now, weight, thresholds.daysApartHalfLife);
  }
  if (inTurn && ++apart.returns === 2) apart.days.add(now, weight, thresholds.daysApartHalfLife);
  return apart;
}

function vote(persona: Persona, { model }: Signal): void {
  if (model === null) return;
  const hash = shortHash(model);
  if (persona.lead === 0) persona.model = hash;
  persona.lead = persona.model === hash ? Math.min(mostLead, persona.lead + 1) : persona.lead - 1;
}

/** It says nothing of who it is. */
const isNameless = ({ device, home, automated }: Persona): boolean => !device && home === 0 && !automated;

/** It names a device or an account, and a person works there. */
const isOfPerson = ({ device, home, endUser, automated }: Persona): boolean => !automated && (device || (home !== 0 && !endUser));

/** Two personas are in networks apart: addresses of IPv4 and IPv6 cannot be compared. */
function areApart(one: Persona, other: Persona): boolean {
  if (one.near4 !== 0 && other.near4 !== 0) return one.near4 !== other.near4;
  return one.near6 !== 0 && other.near6 !== 0 && one.near6 !== other.near6;
}

function weightOf(one: Persona, other: Persona): number {
  const { weights, establishedDays } = thresholds;
  let weight = 0;
  if (one.device && other.device) {
    weight = one.home !== 0 && one.home === other.home ? weights.sameHome : 1;
    if (one.automated || other.automated) weight = one.automated && other.automated ? weights.bothAutomated : weights.automated;
  } else if (!one.device && !other.device && !one.endUser && !other.endUser && one.home !== 0 && other.home !== 0 && one.home !== other.home && areApart(one, other)) {
    weight = weights.homesApart;
  }
  return one.days >= establishedDays && other.days >= establishedDays ? weight * weights.established : weight;
}

/** @param homeless its home says nothing. */
function personaText({ device, home, platform, client, near }: Signal, homeless: boolean): string {
  if (device !== null) return `device ${device}`;
  if (!homeless) return `home ${home} ${client} ${platform}`;
  return `platform ${client} ${platform} ${near}`;
}

/** A request that asks for next to nothing: a test whether a key works. */
export function isTiny({ tokens, size }: Signal): boolean {
  return tokens <= thresholds.tinyTokens && size <= thresholds.tinySize;
}
