import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { NetworkState } from '../surroundings.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** One network that tries many good keys: each for the first time, with a tiny request, and with a client that its owner does not use. */
export const keySpraying: Detector<NetworkState> = {
  name: 'key_spraying',
  evidence: (state, { time, caller }) => (caller === null ? null : { strangers: state.strangers(secondsOf(time)) }),
  score: (evidence) => highest({ strange_keys: scoreOn(thresholds.spraying, evidence.strangers as number) }),
  baseline: () => ({ strangers: 3 }),
};
