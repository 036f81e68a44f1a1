import type { Detector } from '../../../types/detector.d.ts';
import { secondsOf } from '../counting.ts';
import { type CallerState, differInModel, type Persona, spentLongOf, spentOf } from '../state.ts';
import { highest, scoreOn, thresholds } from '../thresholds.ts';

/** How unlike the key's past the latest persona is. */
interface StolenKeyEvidence extends Record<string, number> {
  /** Points for a network, client, platform, device, hour, country and model that the key never had. */
  readonly novelty: number;
  /** What the persona spent within an hour, as a multiple of the key's own peak hour. */
  readonly spend: number;
  /** What it spent within weeks, as a multiple of what all others spent. */
  readonly share: number;
  /** Points of a stranger who stays, 0 for one who does not. */
  readonly stays: number;
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
      stays: stayOf(persona, state.personas),
      share: !persona.cameFromElsewhere ? 0 : own / Math.max(others, least.peak),
    };
  },
  score: ({ novelty, spend, share, stays }) =>
    highest({
      unlike_the_past: scoreOn(thresholds.stolen, novelty + scoreOn(thresholds.noveltySpend, spend) + scoreOn(thresholds.noveltyShare, share)),
      stranger_stays: scoreOn(thresholds.stranger, stays),
    }),
  most: (reason) => (reason === 'stranger_stays' ? 'flag' : 'freeze'),
  baseline: (state, { time }) => ({ spend_an_hour: state.spend.longPeak(secondsOf(time)) }),
};

/** Points of a persona from elsewhere with another account name, or with another system and model, that works on. */
function stayOf(persona: Persona, all: readonly Persona[]): number {
  const { requests, after, model, anotherDay } = thresholds.stays;
  const isAnother = persona.broughtHome || (persona.home === 0 && persona.broughtPlatform && persona.broughtModel && persona.days > 1);
  if (!persona.cameFromElsewhere || !isAnother || persona.automated || persona.count < requests) return 0;
  if (persona.days === 1 && persona.last - persona.first < after) return 0;
  const differs = !persona.broughtModel && all.every((other) => other === persona || other.lead < thresholds.modelLead || differInModel(persona, other));
  return persona.novelty + (differs ? model : 0) + (persona.days > 1 ? anotherDay : 0);
}
