import type { Detector } from '../../../types/detector.d.ts';
import { type CallerState, secondsOf } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Requests that name a client and lack everything that this client sends. */
export const clientForgery: Detector<CallerState> = {
  name: 'client_forgery',
  evidence: (state, { time, forged }) => (forged ? { requests: state.forged.read(secondsOf(time), 86_400) } : null),
  score: (evidence) => highest({ forged_client: scoreOn(thresholds.forgery, evidence.requests as number) }),
  baseline: () => ({ requests: 0 }),
  most: () => 'flag',
};
