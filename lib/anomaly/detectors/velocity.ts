import type { Detector, RuleName } from '../../../types/detector.d.ts';
import type { Cohort } from '../cohort.ts';
import { type Rate, secondsOf } from '../counting.ts';
import type { CallerState } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** Multiples of the normal, over two minutes and over an hour. */
interface VelocityEvidence extends Record<string, number> {
  readonly burst: number;
  readonly sustained: number;
}

/** What is measured, and what stands for the cohort. */
interface Measure {
  readonly name: RuleName;
  readonly rateOf: (state: CallerState) => Rate;
  readonly cohort: Cohort;
  /** Lower amounts within an hour are no burst. */
  readonly least: number;
}

/**
 * Makes a detector of bursts. The normal is the larger of the key's own peak and of the cohort's. A key without a past is compared
 * with the cohort alone.
 */
export function velocity({ name, rateOf, cohort, least }: Measure): Detector<CallerState, VelocityEvidence> {
  const normal = (state: CallerState, now: number): { readonly short: number; readonly long: number } => {
    const rate = rateOf(state);
    return { short: Math.max(rate.shortPeak(now), cohort.normal() / 4), long: Math.max(rate.longPeak(now), cohort.normal()) };
  };
  return {
    name,
    evidence(state, { time }) {
      const now = secondsOf(time);
      const rate = rateOf(state);
      const long = rate.long(now);
      if (long < least) return null;
      const { short: normalShort, long: normalLong } = normal(state, now);
      return { burst: rate.short(now) / normalShort, sustained: long / normalLong };
    },
    score: ({ burst, sustained }) => highest({ two_minutes: scoreOn(thresholds.velocity, burst), an_hour: scoreOn(thresholds.velocity, sustained) }),
    baseline(state, { time }) {
      const { short, long } = normal(state, secondsOf(time));
      return { two_minutes: short, an_hour: long };
    },
  };
}
