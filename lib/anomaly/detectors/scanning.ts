import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { NetworkState } from '../surroundings.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Many paths that belong to no route. */
export const scanning: Detector<NetworkState> = {
  name: 'scanning',
  evidence: (state, { time, route, failed }) => (route !== null || !failed ? null : { paths: state.paths(secondsOf(time)) }),
  score: (evidence) => highest({ unknown_paths: scoreOn(thresholds.scanning, evidence.paths as number) }),
  baseline: () => ({ paths: 10 }),
};
