import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { CallerState } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Personas in turn, many at once, many a day. */
interface SharedKeyEvidence extends Record<string, number> {
  /** Weighted returns of all devices but the busiest: A-B-A-B counts, A-B-B does not. */
  readonly returns: number;
  /** Those after devices that are not of the same person or household. */
  readonly strangeReturns: number;
  readonly together: number;
  readonly devices: number;
  readonly networks: number;
  readonly sessions: number;
  readonly homes: number;
  /** Days on which two homes worked in networks apart, and the points of the stranger of them. */
  readonly daysApart: number;
  readonly stranger: number;
  /** Days on which two people without a name came back after each other, with models of their own. */
  readonly habits: number;
  readonly networksInTurn: number;
}

/** One key behind which several people work. */
export const sharedKey: Detector<CallerState, SharedKeyEvidence> = {
  name: 'shared_key',
  evidence(state, { time }) {
    const now = secondsOf(time);
    const { returnsHalfLife, togetherWithin, automatedShare, networksInTurnAtLeast, daysApartHalfLife } = thresholds;
    let sum = 0;
    let most = 0;
    let strange = 0;
    let strangeMost = 0;
    let together = 0;
    let inTurn = 0;
    let inTurnMost = 0;
    let networks = 0;
    for (const persona of state.personas) {
      const returns = persona.returns?.read(now, returnsHalfLife) ?? 0;
      sum += returns;
      most = Math.max(most, returns);
      const strangeReturns = persona.strangeReturns?.read(now, returnsHalfLife) ?? 0;
      strange += strangeReturns;
      strangeMost = Math.max(strangeMost, strangeReturns);
      if (persona.device && now - persona.last <= togetherWithin) together += persona.automated ? automatedShare : 1;
      const turns = persona.networkReturns?.read(now, returnsHalfLife) ?? 0;
      inTurn += turns;
      inTurnMost = Math.max(inTurnMost, turns);
      if (turns > 1) networks++;
    }
    return {
      returns: sum - most,
      strangeReturns: strange - strangeMost,
      together,
      devices: state.devicesADay(now) + automatedShare * state.automatedADay(now),
      networks: state.networksADay(now),
      sessions: state.sessions(now),
      homes: state.homeReturns?.read(now, thresholds.homesHalfLife) ?? 0,
      daysApart: state.apart?.days.read(now, daysApartHalfLife) ?? 0,
      stranger: state.apart?.novelty ?? 0,
      habits: state.habits?.days.read(now, daysApartHalfLife) ?? 0,
      networksInTurn: networks >= networksInTurnAtLeast ? inTurn - inTurnMost : 0,
    };
  },
  score: ({ returns, strangeReturns, together, devices, networks, sessions, homes, daysApart, stranger, habits, networksInTurn }) =>
    highest({
      devices_in_turn: Math.max(scoreOn(thresholds.returns, strangeReturns), scoreOn(thresholds.returnsOfOwn, returns)),
      devices_at_once: scoreOn(thresholds.together, together),
      devices_a_day: scoreOn(thresholds.devicesADay, devices),
      networks_a_day: scoreOn(thresholds.networksADay, networks),
      sessions_at_once: scoreOn(thresholds.sessionsTogether, sessions),
      homes_in_turn: scoreOn(thresholds.homes, homes),
      homes_apart: scoreOn(thresholds.daysApart, daysApart + (Math.min(1, daysApart) * stranger) / thresholds.strangerApart),
      habits_apart: scoreOn(thresholds.habits, habits),
      networks_in_turn: scoreOn(thresholds.networksInTurn, networksInTurn),
    }),
  // A name in a path is soft: one person may have two. So are addresses and models alone: a service may have servers in several networks.
  most: (reason) => (reason.startsWith('homes_') || reason === 'habits_apart' || reason === 'networks_in_turn' ? 'flag' : 'freeze'),
  baseline: () => ({ devices_at_once: 3, devices_a_day: 4, networks_a_day: 14, sessions_at_once: 12 }),
};
