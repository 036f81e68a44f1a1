import type { Action } from '../../types/detector.d.ts';

/** Points of a curve from evidence to score: both ascend. Between two points the score is interpolated. */
export type Curve = readonly (readonly [evidence: number, score: number])[];

/** The score from which a finding is raised, and those from which an action follows. */
export const ladder: readonly (readonly [score: number, action: Action])[] = [[70, 'flag'], [80, 'slow'], [90, 'limit'], [96, 'freeze']];

/** Seconds. */
const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/**
 * Windows, weights and curves of all detectors, each with its reason. Times in seconds. Change a number here, then run
 * `npm run simulate`: it prints what the change costs.
 */
export const thresholds = {
  /** Half-lives of counted returns: two people who share a key meet several times a day; homes are a weaker sign and fade sooner. */
  returnsHalfLife: 3 * hour,
  homesHalfLife: hour,
  /** A device that comes back later than this started a new sitting: one person who changed the desk. */
  returnWithin: 15 * minute,
  /** Networks are compared within a shorter time: a commuter stays for minutes in each. */
  networkReturnWithin: 2 * minute,
  /** Devices seen on so many days belong to the key; they need more evidence, since owners of two machines sometimes use both at once. */
  establishedDays: 4,
  /**
   * Two devices or account names that were in one network on an earlier day, each active on so many days, are those of one person or one
   * household, as long as a key has no more of them.
   */
  household: { days: 2, devices: 3, homes: 2 },
  weights: {
    /** Two devices that name the same home: probably one person. */
    sameHome: 0.25,
    /** A person and a job (CI, container): a job runs while its owner works. */
    automated: 0.05,
    /** Two jobs at once. */
    bothAutomated: 0.1,
    /** Two homes in two networks, where the clients send no device id. */
    homesApart: 0.8,
    established: 0.2,
  },
  /** Five returns of the second device take some ten of its requests when two people work at random; one person who looks at the other machine causes one or two. From slow to freeze, since a limited caller shows nothing more. */
  returns: [[0, 0], [2, 35], [4, 62], [5, 72], [8, 84], [11, 89], [12, 96], [20, 100]],
  /** Likewise of devices that share an account name or have long been used in one place: who sits between two machines is flagged, and never slowed. */
  returnsOfOwn: [[0, 0], [4, 50], [9, 72], [20, 79]],
  /** Devices in use within ten minutes: a person has a laptop, a desktop and a job. */
  together: [[3, 0], [4, 60], [5, 74], [8, 88], [12, 97], [20, 100]],
  togetherWithin: 10 * minute,
  /** Devices within a day, above those of one person who reinstalls. A job that runs in a fresh container each time counts for a tenth. */
  devicesADay: [[4, 0], [6, 50], [8, 72], [12, 86], [20, 96], [40, 100]],
  automatedShare: 0.1,
  /** Wide networks within a day: commuters were seen in some ten. */
  networksADay: [[14, 0], [22, 50], [30, 72], [45, 86], [60, 97], [100, 100]],
  /** Sessions within ten minutes: subagents and split terminals reach ten. */
  sessionsTogether: [[12, 0], [18, 50], [24, 72], [40, 90], [60, 97], [100, 100]],
  sessionsWithin: 10 * minute,
  /** Homes in turn: a sign, never enough for an action, since a third of the people with several machines have two account names. */
  homes: [[0, 0], [2, 50], [3, 71], [10, 76]],
  /**
   * Days on which two people, by home, worked in networks apart or came back after the other within some days (a weekend and a day off), twice where they came in turn on one day. Two homes
   * that were ever seen in one network do not count: that is one person with two account names on a journey. Still a flag, since work and home may never meet.
   */
  daysApart: [[0, 0], [1, 55], [1.85, 72], [8, 78]],
  daysApartHalfLife: 10 * day,
  apartWithinDays: 4,
  /**
   * Days on which two people without a name, in networks apart, came back after each other with models of their own, counted likewise.
   * Programs that send no id are mostly chats. A flag: one person may have a program with other settings in a second place.
   */
  habits: [[0, 0], [1, 50], [1.75, 72], [8, 78]],
  /** Weight of such a day where both name the same system: a carrier moves one person between its networks. */
  sameSystem: 0.65,
  /** A model is a habit when it leads by so many requests. */
  modelLead: 3,
  /** Share of the hours of a week in which people use a key: a program asks day and night, from several servers with models of their own. */
  hoursOfPeople: 0.75,
  /** Points of a first sight that stand for another day: another network, system and account name, or more. */
  strangerApart: 72,
  /** Networks in turn where nothing else tells people apart: servers of one owner do the same, so five of them at least. */
  networksInTurn: [[0, 0], [10, 40], [25, 72], [60, 84], [120, 90]],
  networksInTurnAtLeast: 5,

  /** A key is judged by its past from so many days and requests on; where all were on one day, long ago, it takes more of them. */
  history: { days: 2, requests: 5, onOneDay: 20 },
  /** Points of a first sight that is unlike everything the key did. */
  novelty: {
    network: 30, client: 22, platform: 14, device: 8, home: 17, model: 22, hour: 8, country: 8, tiny: 4,
    /** Share of the other points in a network that the key knows: who tries another program at the usual place is mostly its owner. */
    knownNetwork: 0.6,
  },
  /** What a newcomer spends within an hour against the key's own peak hour, and within weeks against all others together. */
  noveltySpend: [[0, 0], [1, 4], [3, 14], [10, 26], [30, 34]],
  noveltyShare: [[0, 0], [1, 10], [3, 28], [10, 36], [100, 42]],
  shareHalfLife: 14 * day,
  /**
   * Owners reach 90 points when they try a new program and a new model on a journey, and 112 on a line that is renumbered or while they
   * commute: that is a flag, and an action begins beyond 116, which a stranger passes by what he spends.
   */
  stolen: [[0, 0], [60, 50], [80, 70], [86, 73], [116, 79], [120, 90], [126, 98], [132, 100]],
  /**
   * A stranger with another account name, or with another system and model, who stays: points of the first sight, of a model that the
   * others do not use most, and of another day. A flag: the owner's new machine at a new place looks so, once.
   */
  stays: { requests: 6, after: 40 * minute, model: 12, anotherDay: 10 },
  stranger: [[0, 0], [40, 40], [57, 72], [100, 78]],
  /** Keys that see new networks often (renumbered lines, travellers) get fewer points for another one: points are divided by 1 and so many times the new networks a day. */
  networkHabit: 2,
  /** How long what a new persona does is held against its first sight. */
  probation: 30 * day,
  tinyTokens: 200,
  tinySize: 4096,

  /** Ratio to the larger of the key's own peak and of the cohort's: launches reach eight times. */
  velocity: [[3, 0], [6, 45], [10, 72], [20, 85], [40, 95], [80, 100]],
  /**
   * Hourly spend below this many US dollars, or rates below so many requests an hour, are no burst. What a newcomer spends is compared
   * with a dollar at least: an owner who chatted for cents and tries an agent spends that in an hour.
   */
  least: { spend: 5, requests: 600, peak: 1 },
  shortWindow: 2 * minute,
  longWindow: hour,
  /** Peaks fade by half in so many days. */
  peakHalfLife: 30 * day,
  /** Share of active key-hours of the cohort that lies below the baseline. */
  cohortShare: 0.95,
  /** Key-hours that the cohort needs before it is a baseline, US dollars and requests an hour that stand for it until then. */
  cohort: { needs: 200, spend: 4, requests: 400 },

  /** Different refused tokens of a network within ten minutes. People mistype one or two. */
  stuffing: [[5, 0], [10, 45], [20, 74], [40, 88], [80, 97], [150, 100]],
  stuffingWithin: 10 * minute,
  /** Keys that a network used for the first time, with a tiny request, and a client that is new to the key. */
  spraying: [[3, 0], [5, 50], [7, 74], [12, 90], [20, 98], [40, 100]],
  sprayingHalfLife: 5 * minute,
  /** A key without a past counts for less: offices and carriers begin so. */
  sprayingUnknown: 0.5,
  /** Failures, where nearly every request fails. */
  failures: [[40, 0], [120, 50], [200, 72], [500, 88], [2000, 96]],
  failureShare: 0.9,
  failuresHalfLife: 10 * minute,
  /** Callers that send the same body within an hour, and repetitions by one caller in an hour. */
  sameBodyCallers: [[5, 0], [8, 50], [12, 74], [30, 92], [60, 98]],
  sameBodyTimes: [[200, 0], [400, 50], [700, 72], [3000, 90], [10_000, 98]],
  /** Shorter bodies repeat by chance: examples of documentation, health checks. */
  repeatedSize: 256,
  repetitionHalfLife: hour,
  /** Different unknown paths of a network within ten minutes. */
  scanning: [[10, 0], [20, 50], [30, 72], [60, 86], [120, 97]],
  scanningWithin: 10 * minute,
  /** Returns to a country that was left within the hour. Tunnels do that, so it is a flag. */
  travel: [[0, 0], [2, 50], [4, 72], [8, 78]],
  travelWithin: hour,
  travelHalfLife: 6 * hour,
  /** Requests of a forged client: one may be the test of a script that copied a user agent. */
  forgery: [[0, 0], [1, 60], [1.9, 72], [20, 78]],
  forgeryHalfLife: day,
} as const;

/** The score of a value on a curve. */
export function scoreOn(curve: Curve, value: number): number {
  const [first, ...rest] = curve as readonly [Curve[number], ...Curve];
  let [x, y] = first;
  if (value <= x) return y;
  for (const [nextX, nextY] of rest) {
    if (value < nextX) return y + ((nextY - y) * (value - x)) / (nextX - x);
    [x, y] = [nextX, nextY];
  }
  return y;
}

/** The highest score of several curves, with the name of the one that gave it. */
export function highest(scores: Readonly<Record<string, number>>): { readonly score: number; readonly reason: string } {
  let best = { score: 0, reason: 'none' };
  for (const [reason, score] of Object.entries(scores)) if (score > best.score) best = { score, reason };
  return { score: Math.round(best.score), reason: best.reason };
}

/** The action that a score stands for. */
export function actionOf(score: number): Action {
  let found: Action = 'none';
  for (const [from, action] of ladder) if (score >= from) found = action;
  return found;
}

const order: readonly Action[] = ['none', 'flag', 'slow', 'limit', 'freeze'];

/** The milder of two actions. */
export const milder = (a: Action, b: Action): Action => (order.indexOf(a) <= order.indexOf(b) ? a : b);
