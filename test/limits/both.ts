import { Account, Ask, Taking, type Holder, type Rule } from '../../lib/limits/rule.ts';

export const window = 6000;
/** The end of the period that budgets of these tests count in, in Redis's own future. */
export const periodEnd = Date.UTC(2100, 0, 2);

/** A rule that two instances share. */
export function ruleOf(rule: Partial<Rule> & Pick<Rule, 'kind' | 'limit'>): Rule {
  const { kind, limit } = rule;
  const slides = kind === 'requests' || kind === 'tokens';
  return { name: `key_limit.${kind}`, share: limit, window: slides ? window : 0, period: kind === 'budget' ? 'day' : null, counter: `key.${kind}`, observe: false, ...rule };
}

let nth = 0;

/** What one request asks of rules, of each an amount. */
export function takingOf(fairnessKey: string, asked: readonly (readonly [Rule, number])[]): Taking {
  return new Taking(`request-${nth++}`, asked.map(([rule, amount]) => new Ask(new Account(rule, `${rule.counter}:${fairnessKey}`, rule.period === null ? 0 : periodEnd), amount)));
}

/** A store as these tests drive it. */
export interface Driven extends Holder {
  take(taking: Taking): Promise<boolean>;
}

/** What a store said of each rule. */
export function said({ asks }: Taking): object[] {
  return asks.map(({ used, fits, wait, reset }) => ({ used, fits, wait, reset }));
}
