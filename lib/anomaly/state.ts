import type { Signal, Subject } from '../../types/detector.d.ts';
import { thresholds } from './thresholds.ts';

/** Times inside the watch are seconds since 2020, which V8 keeps as small integers. */
const epoch = 1_577_836_800;

/** Seconds since 2020 of Unix milliseconds. */
export const secondsOf = (time: number): number => Math.floor(time / 1000) - epoch;
const day = 86_400;

/** A short hash of a text: FNV-1a, 31 bits, never 0. Two texts of one caller collide once in a billion. */
export function shortHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash & 0x7fffffff) || 1;
}

/** A count that fades by half in a given time. */
export class Fading {
  value = 0;
  at = 0;

  add(now: number, amount: number, halfLife: number): void {
    this.value = this.read(now, halfLife) + amount;
    if (now > this.at) this.at = now;
  }

  read(now: number, halfLife: number): number {
    return this.value === 0 || now <= this.at ? this.value : this.value * 2 ** ((this.at - now) / halfLife);
  }
}

/** Bits of one half of a window. */
const distinctBits = 256;
const distinctWords = distinctBits / 32;

/** An estimate of the number of different values within a window, by linear counting in two halves (Whang et al., 1990). */
export class Distinct {
  /** Made with the first value. A plain array: a typed one takes 200 bytes more, and there are several for each caller. */
  #bits: number[] | null = null;
  #half = 0;

  /** @param window seconds. */
  add(now: number, value: number, window: number): void {
    this.#bits ??= new Array<number>(distinctWords * 2).fill(0);
    this.#turn(now, window);
    const bit = Math.imul(value, 0x9e3779b1) >>> (32 - 8);
    const at = (this.#half & 1) * distinctWords + (bit >>> 5);
    this.#bits[at] = (this.#bits[at] as number) | (1 << (bit & 31));
  }

  count(now: number, window: number): number {
    if (this.#bits === null) return 0;
    this.#turn(now, window);
    let empty = 0;
    for (let at = 0; at < distinctWords; at++) empty += 32 - ones((this.#bits[at] as number) | (this.#bits[at + distinctWords] as number));
    return empty === 0 ? distinctBits * 6 : -distinctBits * Math.log(empty / distinctBits);
  }

  #turn(now: number, window: number): void {
    const half = Math.floor(now / (window / 2));
    if (half <= this.#half || this.#bits === null) return;
    if (half > this.#half + 1) this.#bits.fill(0);
    else this.#bits.fill(0, (half & 1) * distinctWords, ((half & 1) + 1) * distinctWords);
    this.#half = half;
  }
}

function ones(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** A person, or a job, behind a key: a device that names itself, else a home, else a platform in a network. */
export interface Persona {
  readonly id: number;
  readonly family: number;
  readonly device: boolean;
  automated: boolean;
  home: number;
  /** The wide networks it was last seen in, by version of IP. 0: none. */
  near4: number;
  near6: number;
  /** The narrow network it was last seen in. */
  network: number;
  /** Days on which it was active while another home worked in a network apart; a day on which both came in turn counts twice. */
  apart: Fading | null;
  apartDay: number;
  apartAgain: number;
  /** A home that was seen in the same network at another time: probably of the same person. 0: none. */
  met: number;
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
  /** Returns in another network, where nothing else tells personas apart. */
  networkReturns: Fading | null;
  /** Points of its first sight, and of a model that it brought while on probation: how unlike the key's past it is. */
  novelty: number;
  /** Its first sight was in a network new to the key. */
  cameFromElsewhere: boolean;
  broughtModel: boolean;
  /** US dollars spent, fading within an hour, and within weeks. */
  spent: Fading | null;
  spentLong: Fading | null;
}

/** An account name behind a key, with its days of activity. */
interface Home {
  readonly id: number;
  readonly first: number;
  last: number;
  days: number;
}

/** The personas that are remembered of a caller; the one that has been silent for longest is forgotten first. */
const mostPersonas = 24;

/** Values seen of a caller, with the time of the last sight: the latest few. */
class Seen {
  /** As long as it needs to be: `push` makes room for 17. */
  #ids: readonly number[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#ids.length;
  }

  has(id: number): boolean {
    return this.#ids.includes(id);
  }

  /** @returns whether it is new. */
  add(id: number): boolean {
    const at = this.#ids.indexOf(id);
    if (at === this.#ids.length - 1 && at >= 0) return false;
    const others = at >= 0 ? this.#ids.filter((each) => each !== id) : this.#ids.length === this.#most ? this.#ids.slice(1) : this.#ids;
    this.#ids = others.concat(id);
    return at < 0;
  }
}

/** What the latest request of a caller was, compared with everything before it. */
export interface Latest {
  readonly persona: Persona;
  readonly isNew: { readonly network: boolean; readonly client: boolean; readonly platform: boolean; readonly home: boolean; readonly model: boolean; readonly hour: boolean; readonly country: boolean };
  readonly tiny: boolean;
  /** The key has a past long enough to judge by. */
  readonly hasPast: boolean;
}

/** The bounded state of one caller: at most some 2 KB, mostly less. */
export class CallerState {
  readonly subject: Subject;
  #personas: readonly Persona[] = [];
  #turns = 0;
  first = 0;
  last = 0;
  #days = 0;
  #lastDay = -1;
  readonly #networks = new Seen(24);
  #newNetworks = 0;
  readonly #clients = new Seen(8);
  readonly #platforms = new Seen(8);
  readonly #models = new Seen(24);
  readonly #countries = new Seen(4);
  /** Hours of the week with requests, a bit each. */
  readonly #hours: number[] = new Array<number>(6).fill(0);
  readonly devicesADay = new Distinct();
  readonly automatedADay = new Distinct();
  readonly networksADay = new Distinct();
  readonly sessions = new Distinct();
  /** Spend and requests within the short and the long window, and the peaks of both. */
  readonly spend = new Rate();
  readonly rate = new Rate();
  homeReturns: Fading | null = null;
  #home = 0;
  #homeBefore = 0;
  /** At most 8, the oldest first. */
  #homes: readonly Home[] = [];
  failures: Fading | null = null;
  readonly answers = new Fading();
  travels: Fading | null = null;
  /** Requests of clients that are not what they say. */
  forgeries: Fading | null = null;
  #country = 0;
  #countryBefore = { id: 0, at: 0 };
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

  /** Takes a request into the state. */
  take(signal: Signal): void {
    const now = secondsOf(signal.time);
    this.#turns++;
    if (this.first === 0) this.first = now;
    const today = Math.floor(now / day);
    const hasPast = this.#days >= thresholds.history.days && this.#turns > thresholds.history.requests;
    if (today > this.#lastDay) {
      this.#days++;
      this.#lastDay = today;
    }
    const near = shortHash(signal.near);
    const isNew = {
      network: this.#networks.add(near),
      client: signal.client !== null && this.#clients.add(shortHash(signal.client)),
      platform: this.#platforms.add(shortHash(signal.platform)),
      home: signal.home !== null && this.#homes.length > 0 && this.#homeOf(shortHash(signal.home)) === undefined,
      model: signal.model !== null && this.#models.add(shortHash(signal.model)),
      hour: this.#isNewHour(now),
      country: signal.country !== null && this.#countries.add(shortHash(signal.country)),
    };
    const persona = this.#personaOf(signal, near, now, today);
    if (isNew.network && this.#days > 1) this.#newNetworks++;
    if (hasPast) judgeNovelty(persona, isNew, signal, this.#newNetworks / this.#days);
    this.#countReturns(persona, now);
    this.#countDaysApart(persona, now, today);
    this.#takeHome(signal, now, today);
    this.#takeCountry(signal, now);
    this.#takeCounts(signal, near, now);
    persona.last = now;
    persona.turn = this.#turns;
    persona.count++;
    this.last = Math.max(this.last, now);
    this.latest = { persona, isNew, tiny: isTiny(signal), hasPast };
  }

  #isNewHour(now: number): boolean {
    // Neighbouring hours count as known: people come earlier and later.
    const hour = Math.floor(now / 3600) % 168;
    let known = false;
    for (const at of [hour - 1, hour, hour + 1, hour - 25, hour - 24, hour - 23, hour + 23, hour + 24, hour + 25]) {
      const bit = (at + 336) % 168;
      if (((this.#hours[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) known = true;
    }
    this.#hours[hour >>> 5] = (this.#hours[hour >>> 5] as number) | (1 << (hour & 31));
    return !known;
  }

  #personaOf(signal: Signal, near: number, now: number, today: number): Persona {
    const home = signal.home === null ? 0 : shortHash(signal.home);
    const id = shortHash(personaText(signal));
    let persona = this.#personas.find((each) => each.id === id);
    if (persona === undefined) {
      if (this.#personas.length === mostPersonas) this.#forgetOldest();
      persona = {
        id, family: shortHash(signal.client ?? ''), device: signal.device !== null, automated: signal.automated,
        home, near4: 0, near6: 0, network: 0, apart: null, apartDay: 0, apartAgain: 0, met: 0, first: now, last: 0, turn: 0, count: 0, days: 1, lastDay: today, returns: null, networkReturns: null, novelty: 0, cameFromElsewhere: false, broughtModel: false, spent: null, spentLong: null,
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
    persona.network = shortHash(signal.network);
    (persona.spent ??= new Fading()).add(now, signal.cost, thresholds.longWindow);
    (persona.spentLong ??= new Fading()).add(now, signal.cost, thresholds.shareHalfLife);
    return persona;
  }

  #forgetOldest(): void {
    let oldest = 0;
    for (let at = 1; at < this.#personas.length; at++) if ((this.#personas[at] as Persona).last < (this.#personas[oldest] as Persona).last) oldest = at;
    this.#personas = this.#personas.toSpliced(oldest, 1);
  }

  /** A return: this persona was here, another one of the same client family came after it, and it is back within one sitting. */
  #countReturns(persona: Persona, now: number): void {
    if (persona.turn === 0 || now - persona.last > thresholds.returnWithin) return;
    let weight = 0;
    let inNetwork = false;
    for (const other of this.#personas) {
      if (other === persona || other.turn <= persona.turn || other.family !== persona.family) continue;
      weight = Math.max(weight, weightOf(persona, other));
      if (!persona.device && !other.device && areApart(persona, other) && now - persona.last <= thresholds.networkReturnWithin) inNetwork = true;
    }
    if (weight > 0) (persona.returns ??= new Fading()).add(now, weight, thresholds.returnsHalfLife);
    if (inNetwork) (persona.networkReturns ??= new Fading()).add(now, persona.days >= thresholds.establishedDays ? thresholds.weights.automated : 1, thresholds.returnsHalfLife);
  }

  #countDaysApart(persona: Persona, now: number, today: number): void {
    if (persona.automated || persona.home === 0) return;
    for (const other of this.#personas) {
      if (other === persona || other.turn === 0 || other.automated || other.home === 0 || other.home === persona.home) continue;
      if (persona.network === other.network) [persona.met, other.met] = [other.home, persona.home];
      if (persona.met === other.home || other.met === persona.home || !areApart(persona, other)) continue;
      // Over several days only a return tells two people from one who moved.
      const isBack = persona.turn > 0 && other.turn > persona.turn;
      const isToday = other.lastDay === today;
      if (persona.apartDay !== today && (isToday || (isBack && today - other.lastDay <= thresholds.apartWithinDays))) persona.apartDay = today;
      else if (persona.apartAgain !== today && isToday && isBack) persona.apartAgain = today;
      else continue;
      (persona.apart ??= new Fading()).add(now, 1, thresholds.daysApartHalfLife);
      return;
    }
  }

  #takeHome(signal: Signal, now: number, today: number): void {
    if (signal.home === null) return;
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
      const both = home.days >= thresholds.establishedDays && (before?.days ?? 0) >= thresholds.establishedDays;
      const isReturn = home.first !== today || home.days > 1 || id === this.#homeBefore;
      if (isReturn) (this.homeReturns ??= new Fading()).add(now, both ? thresholds.weights.established : 1, thresholds.homesHalfLife);
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
    const isReturn = id === this.#countryBefore.id && now - this.#countryBefore.at <= thresholds.travelWithin;
    if (isReturn && now - (this.travels?.at ?? 0) > thresholds.togetherWithin) (this.travels ??= new Fading()).add(now, 1, thresholds.travelHalfLife);
    this.#countryBefore = { id: this.#country, at: now };
    this.#country = id;
  }

  #takeCounts(signal: Signal, near: number, now: number): void {
    if (signal.device !== null) (signal.automated ? this.automatedADay : this.devicesADay).add(now, shortHash(signal.device), day);
    this.networksADay.add(now, near, day);
    if (signal.session !== null) this.sessions.add(now, shortHash(signal.session), thresholds.sessionsWithin);
    this.spend.add(now, signal.cost);
    this.rate.add(now, 1);
    this.answers.add(now, 1, thresholds.failuresHalfLife);
    if (signal.forged) (this.forgeries ??= new Fading()).add(now, 1, thresholds.forgeryHalfLife);
    if (signal.failed) (this.failures ??= new Fading()).add(now, 1, thresholds.failuresHalfLife);
  }
}

/** Places in the numbers of a {@link Rate}: a fading amount with its time in the next place, or an amount. */
const places = { short: 0, long: 2, shortPeak: 4, longPeak: 6, candidateShort: 8, candidateLong: 9, candidateSince: 10 } as const;

/** An amount over a short and a long window, with the highest of each so far. */
export class Rate {
  /** In one array of doubles, which V8 keeps without a box for each: 400 bytes less than objects, twice for each caller. */
  readonly #numbers: number[] = new Array<number>(11).fill(0.5).fill(0);

  add(now: number, amount: number): void {
    const { shortWindow, longWindow, peakHalfLife } = thresholds;
    this.#put(places.short, now, this.#read(places.short, now, shortWindow) + amount);
    this.#put(places.long, now, this.#read(places.long, now, longWindow) + amount);
    // The highest of the last hours does not justify itself: a peak becomes a baseline a day after it was reached.
    if (now - this.#at(places.candidateSince) >= day) {
      this.#raise(places.shortPeak, now, this.#at(places.candidateShort), peakHalfLife);
      this.#raise(places.longPeak, now, this.#at(places.candidateLong), peakHalfLife);
      this.#numbers[places.candidateShort] = this.#numbers[places.candidateLong] = 0;
      this.#numbers[places.candidateSince] = now;
    }
    this.#numbers[places.candidateShort] = Math.max(this.#at(places.candidateShort), this.#at(places.short));
    this.#numbers[places.candidateLong] = Math.max(this.#at(places.candidateLong), this.#at(places.long));
  }

  short(now: number): number {
    return this.#read(places.short, now, thresholds.shortWindow);
  }

  long(now: number): number {
    return this.#read(places.long, now, thresholds.longWindow);
  }

  shortPeak(now: number): number {
    return this.#read(places.shortPeak, now, thresholds.peakHalfLife);
  }

  longPeak(now: number): number {
    return this.#read(places.longPeak, now, thresholds.peakHalfLife);
  }

  #at(place: number): number {
    return this.#numbers[place] as number;
  }

  #read(place: number, now: number, halfLife: number): number {
    const [value, since] = [this.#at(place), this.#at(place + 1)];
    return value === 0 || now <= since ? value : value * 2 ** ((since - now) / halfLife);
  }

  /** Times only go on. */
  #put(place: number, now: number, value: number): void {
    this.#numbers[place] = value;
    if (now > this.#at(place + 1)) this.#numbers[place + 1] = now;
  }

  #raise(place: number, now: number, value: number, halfLife: number): void {
    if (value <= this.#read(place, now, halfLife)) return;
    this.#numbers[place] = value;
    this.#numbers[place + 1] = now;
  }
}

/** Adds the points of a first sight, and those of a model that is new to the key. @param networksADay how often the key sees a new network. */
function judgeNovelty(persona: Persona, isNew: Latest['isNew'], signal: Signal, networksADay: number): void {
  const { novelty: points, probation, networkHabit } = thresholds;
  if (persona.count === 0) persona.cameFromElsewhere = isNew.network;
  const elsewhere = persona.cameFromElsewhere ? 1 : points.knownNetwork;
  if (persona.count === 0) {
    persona.novelty = (isNew.network ? points.network / (1 + networkHabit * networksADay) : 0) + elsewhere * ((isNew.client ? points.client : 0) + (isNew.platform ? points.platform : 0)
      + (isNew.home ? points.home : 0) + (isNew.hour ? points.hour : 0) + (isNew.country ? points.country : 0) + (persona.device ? points.device : 0) + (isTiny(signal) ? points.tiny : 0));
  }
  if (!isNew.model || persona.broughtModel || secondsOf(signal.time) - persona.first > probation) return;
  persona.broughtModel = true;
  persona.novelty += elsewhere * points.model;
}

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
  } else if (!one.device && !other.device && one.home !== 0 && other.home !== 0 && one.home !== other.home && areApart(one, other)) {
    weight = weights.homesApart;
  }
  return one.days >= establishedDays && other.days >= establishedDays ? weight * weights.established : weight;
}

function personaText({ device, home, platform, client, near }: Signal): string {
  if (device !== null) return `device ${device}`;
  if (home !== null) return `home ${home} ${client} ${platform}`;
  return `platform ${client} ${platform} ${near}`;
}

/** A request that asks for next to nothing: a test whether a key works. */
export function isTiny({ tokens, size }: Signal): boolean {
  return tokens <= thresholds.tinyTokens && size <= thresholds.tinySize;
}

/** A caller's first sight in a network. */
interface FirstSight {
  readonly at: number;
  readonly weight: number;
}

/** The bounded state of one client network. */
export class NetworkState {
  readonly subject: Subject;
  readonly refused = new Distinct();
  readonly paths = new Distinct();
  /** Callers whose only trace here is a first, tiny request. */
  readonly #strangers = new Map<number, FirstSight>();
  readonly #known = new Set<number>();
  last = 0;

  constructor(subject: Subject) {
    this.subject = subject;
  }

  /** @param caller its state after the request was taken; null without an accepted credential. */
  take(signal: Signal, caller: CallerState | null): void {
    const now = secondsOf(signal.time);
    this.last = now;
    if (signal.refusedToken !== null) this.refused.add(now, shortHash(signal.refusedToken), thresholds.stuffingWithin);
    if (signal.route === null && signal.failed) this.paths.add(now, shortHash(signal.path), thresholds.scanningWithin);
    if (caller !== null && signal.caller !== null) this.#takeCaller(shortHash(`${signal.caller.kind} ${signal.caller.id}`), caller, now);
  }

  #takeCaller(id: number, { latest }: CallerState, now: number): void {
    if (latest === null || this.#known.has(id)) return;
    const before = this.#strangers.get(id);
    if (before === undefined && latest.tiny && (!latest.hasPast || latest.isNew.client || latest.isNew.platform)) {
      if (this.#strangers.size === 256) this.#strangers.delete(this.#strangers.keys().next().value as number);
      this.#strangers.set(id, { at: now, weight: latest.hasPast ? 1 : thresholds.sprayingUnknown });
      return;
    }
    if (before !== undefined && latest.tiny) return;
    // A caller that works here is no stranger any more.
    this.#strangers.delete(id);
    if (this.#known.size === 1024) this.#known.clear();
    this.#known.add(id);
  }

  strangers(now: number): number {
    let sum = 0;
    for (const { at, weight } of this.#strangers.values()) sum += weight * 2 ** ((at - now) / thresholds.sprayingHalfLife);
    return sum;
  }
}

/** The bounded state of one body that was sent more than once. */
export class ContentState {
  readonly subject: Subject;
  readonly callers = new Distinct();
  readonly times = new Fading();
  last = 0;

  constructor(subject: Subject) {
    this.subject = subject;
  }

  take({ time, caller }: Signal): void {
    const now = secondsOf(time);
    this.last = now;
    if (caller !== null) this.callers.add(now, shortHash(`${caller.kind} ${caller.id}`), thresholds.repetitionHalfLife);
    this.times.add(now, 1, thresholds.repetitionHalfLife);
  }
}
