import type { BreakerView, TargetStatus } from '../../types/target.d.ts';
import type { Breaker } from './breaker.ts';
import type { Target } from './targets.ts';

/** Longest name of a model that is shown, characters: a caller's model can have any length. */
const maxName = 256;

/** The targets as an operator may see them, in order of preference. */
export function targetStatuses(targets: readonly Target[], now: number): TargetStatus[] {
  return targets.map(({ name, provider, credential, host, weight, inHand, state, lastProbe }) => {
    const models = [...state.models()].map(([model, breaker]) => ({ model: model.slice(0, maxName), ...viewOf(breaker, now) }));
    return { name, provider: provider.name, credential, host, weight, inHand, ...viewOf(state.base, now), lastProbe, models: models.filter(({ state: kind }) => kind !== 'up') };
  });
}

/** The state as the next request will find it: a rest or an open state whose time is over has not changed yet. */
function viewOf(breaker: Breaker, now: number): BreakerView {
  const { state } = breaker;
  switch (state.kind) {
    case 'up':
    case 'probing':
      return { state: state.kind, until: null, by: null };
    case 'resting':
      return state.until > now ? { state: 'resting', until: state.until, by: null } : { state: 'up', until: null, by: null };
    case 'open':
      if (state.until <= now) return { state: 'probing', until: null, by: null };
      return { state: 'open', until: Number.isFinite(state.until) ? state.until : null, by: state.by };
  }
}
