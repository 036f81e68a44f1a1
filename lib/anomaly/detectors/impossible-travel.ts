import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { CallerState } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Countries in turn within an hour. Tunnels do that too, so it never acts alone. */
export const impossibleTravel: Detector<CallerState> = {
  name: 'impossible_travel',
  evidence: (state, { time, country }) => (country === null ? null : { returns: state.travels?.read(secondsOf(time), thresholds.travelHalfLife) ?? 0 }),
  score: (evidence) => highest({ countries_in_turn: scoreOn(thresholds.travel, evidence.returns as number) }),
  baseline: () => ({ returns: 0 }),
  most: () => 'flag',
};
