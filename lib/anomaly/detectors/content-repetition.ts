import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { ContentState } from '../surroundings.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** One body over many keys, or without end. */
export const contentRepetition: Detector<ContentState> = {
  name: 'content_repetition',
  evidence: (state, { time }) => ({ callers: state.callers(secondsOf(time)), times: state.times.read(secondsOf(time), thresholds.repetitionHalfLife) }),
  score: (evidence) => highest({ same_body_callers: scoreOn(thresholds.sameBodyCallers, evidence.callers as number), same_body_times: scoreOn(thresholds.sameBodyTimes, evidence.times as number) }),
  baseline: () => ({ callers: 5, times: 200 }),
};
