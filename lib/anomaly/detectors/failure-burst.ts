import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { CallerState } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Nearly every request fails, and they go on. */
export const failureBurst: Detector<CallerState> = {
  name: 'failure_burst',
  evidence(state, { time, failed }) {
    if (!failed) return null;
    const now = secondsOf(time);
    const failures = state.failures?.read(now, thresholds.failuresHalfLife) ?? 0;
    return failures < thresholds.failureShare * state.answers(now) ? null : { failures };
  },
  score: (evidence) => highest({ failures: scoreOn(thresholds.failures, evidence.failures as number) }),
  baseline: () => ({ failures: 40 }),
};
