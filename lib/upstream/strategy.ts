import type { LlmConfig } from '../../types/config.d.ts';
import type { Target } from './targets.ts';

/** Puts targets in the order in which a request tries them. */
export type Strategy = (targets: readonly Target[]) => readonly Target[];

/** Every strategy by its name in `llm.strategy`. */
const strategies: Readonly<Record<LlmConfig['strategy'], (random: () => number) => Strategy>> = {
  /** As listed. */
  failover: () => (targets) => targets,
  /** At random, by weight; the rest follow in the same way. */
  weighted: (random) => (targets) => (targets.length < 2 ? targets : targets.map((target) => ({ target, at: random() ** (1 / target.weight) })).toSorted((a, b) => b.at - a.at).map(({ target }) => target)),
  /** Fewest requests in hand for its weight first; as listed among equals. */
  least_busy: () => (targets) => (targets.length < 2 ? targets : targets.toSorted((a, b) => a.inHand / a.weight - b.inHand / b.weight)),
};

/** The strategy of a name. @param random for tests. */
export function strategyOf(name: LlmConfig['strategy'], random: () => number = Math.random): Strategy {
  return strategies[name](random);
}
