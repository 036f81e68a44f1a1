import type { BreakerView, TargetStatus } from '../../types/target.d.ts';
import type { Breaker } from './breaker.ts';
import type { Target } from './targets.ts';

/** A model's name is as long as its caller likes. */
const maxName = 256;

/** What an operator may see of the targets, in order of preference. */
export function statusOf(targets: readonly Target[], now: number): TargetStatus[] {
  return targets.map(({ name, provider, credential, host, weight, inHand, state, lastProbe }) => {
    const models = [...state.models()].map(([model, breaker]) => ({ model: model.slice(0, maxName), ...viewOf(breaker, now) }));
    return { name, provider: provider.name, credential, host, weight, inHand, ...viewOf(state.base, now), lastProbe, models: models.filter(({ state: kind }) => kind !== 'up') };
  });
}

/** What the next request will find: a rest or a breaker whose time is over has not been told so yet. */
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
