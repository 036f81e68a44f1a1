import type { Charge, ChargeSet, Counter, Holder, Rule } from '../../lib/limits/charge.ts';

export const window = 6000;
/** The end of the period that budgets of these tests count in, in Redis's own future. */
export const periodEnd = Date.UTC(2100, 0, 2);

/** A rule that two instances share. */
export function ruleOf(rule: Partial<Rule> & Pick<Rule, 'kind' | 'limit'>): Rule {
  const { kind, limit } = rule;
  const slides = kind === 'requests' || kind === 'tokens';
  return { name: `key_limit.${kind}`, share: limit, window: slides ? window : 0, period: kind === 'budget' ? 'day' : null, counter: `key.${kind}`, observe: false, perUser: false, blocks: null, ...rule };
}

let nth = 0;

/** The counter of a rule by its whole name. */
export const counterOf = (rule: Rule, key: string, until = 0): Counter => ({ rule, key, until, state: null });

/** A charge that no store has looked at. */
export function chargeOf(counter: Counter, amount: number): Charge {
  return { counter, amount, provisional: false, actual: amount, limit: 0, used: 0, fits: true, wait: 0, reset: 0, place: 0 };
}

/** The charges of one request, an amount for each rule. */
export function chargesOf(fairnessKey: string, amounts: readonly (readonly [Rule, number])[]): ChargeSet {
  const charges = amounts.map(([rule, amount]) => chargeOf(counterOf(rule, `${rule.counter}:${fairnessKey}`, rule.period === null ? 0 : periodEnd), amount));
  return { id: `request-${nth++}`, charges, holder: null };
}

/** A store as these tests drive it. */
export interface Driven extends Holder {
  take(set: ChargeSet): Promise<boolean>;
}

/** What a store found for each rule. */
export function found({ charges }: ChargeSet): object[] {
  return charges.map(({ used, fits, wait, reset }) => ({ used, fits, wait, reset }));
}
