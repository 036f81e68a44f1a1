import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import { type CallerState, spentLongOf, spentOf } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** How unlike the key's past the latest persona is. */
interface StolenKeyEvidence extends Record<string, number> {
  /** Points for a network, client, platform, device, hour, country and model that the key never had. */
  readonly novelty: number;
  /** What the persona spent within an hour, as a multiple of the key's own peak hour. */
  readonly spend: number;
  /** What it spent within weeks, as a multiple of what all others spent. */
  readonly share: number;
}

/** A stranger with the key: a new network, a new client, a model never used. A tiny probe counts, before the spending begins. */
export const stolenKey: Detector<CallerState, StolenKeyEvidence> = {
  name: 'stolen_key',
  evidence(state, { time }) {
    const persona = state.latest?.persona;
    if (persona === undefined || persona.novelty === 0) return null;
    const now = secondsOf(time);
    if (now - persona.first > thresholds.probation) return null;
    const { least } = thresholds;
    let others = 0;
    for (const each of state.personas) if (each !== persona) others += spentLongOf(each, now);
    const own = spentLongOf(persona, now);
    return {
      novelty: persona.novelty,
      spend: spentOf(persona, now) / Math.max(state.spend.longPeak(now), least.peak),
      share: !persona.cameFromElsewhere ? 0 : own / Math.max(others, least.peak),
    };
  },
  score: ({ novelty, spend, share }) => highest({ unlike_the_past: scoreOn(thresholds.stolen, novelty + scoreOn(thresholds.noveltySpend, spend) + scoreOn(thresholds.noveltyShare, share)) }),
  baseline: (state, { time }) => ({ spend_an_hour: state.spend.longPeak(secondsOf(time)) }),
};
