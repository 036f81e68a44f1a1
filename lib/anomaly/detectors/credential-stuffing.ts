import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { NetworkState } from '../surroundings.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Many credentials from one network that nothing accepts. */
export const credentialStuffing: Detector<NetworkState> = {
  name: 'credential_stuffing',
  evidence: (state, { time, refusedToken }) => (refusedToken === null ? null : { tokens: state.refused(secondsOf(time)) }),
  score: (evidence) => highest({ refused_tokens: scoreOn(thresholds.stuffing, evidence.tokens as number) }),
  baseline: () => ({ tokens: 5 }),
};
