import type { Detector } from '../../../types/detector.d.ts';
import { type CallerState, secondsOf } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Nearly every request fails, and they go on. */
export const failureBurst: Detector<CallerState> = {
  name: 'failure_burst',
  evidence(state, { time, failed }) {
    if (!failed) return null;
    const now = secondsOf(time);
    const failures = state.failures?.read(now, thresholds.failuresHalfLife) ?? 0;
    return failures < thresholds.failureShare * state.answers.read(now, thresholds.failuresHalfLife) ? null : { failures };
  },
  score: (evidence) => highest({ failures: scoreOn(thresholds.failures, evidence.failures as number) }),
  baseline: () => ({ failures: 40 }),
};
