import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import type { CallerState } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** A client that says it is a coding agent and lacks what that agent always sends. Names are copied for many reasons, so it never acts alone. */
export const clientForgery: Detector<CallerState> = {
  name: 'client_forgery',
  evidence: (state, { time, forged }) => (forged ? { requests: state.forgeries?.read(secondsOf(time), thresholds.forgeryHalfLife) ?? 0 } : null),
  score: (evidence) => highest({ lacks_what_it_sends: scoreOn(thresholds.forgery, evidence.requests as number) }),
  baseline: () => ({ requests: 0 }),
  most: () => 'flag',
};
