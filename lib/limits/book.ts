import { hash } from 'node:crypto';
import type { GatewayKey, KeyLimits, Policy, RateLimitConfig } from '../../types/config.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { OwnLimits } from '../../types/registry.d.ts';
import { hasLimits, isNetwork } from '../config/config.ts';
import type { Context } from '../request/request.ts';
import { AddressSet, familyOf } from '../identity/identity.ts';
import { Notice } from './notice.ts';
import type { Kind, Period, Rule } from './rule.ts';

/** What holds for a request. */
export class RuleSet {
  readonly rules: readonly Rule[];
  /** Some count tokens or money, so that the answer's usage has to be known. */
  readonly measured: boolean;
  /** Those that hold where neither is used. */
  readonly unmeasured: RuleSet;
  /** What is said of them. */
  readonly notice: Notice;

  constructor(rules: readonly Rule[]) {
    const unmeasured = rules.filter(({ kind }) => kind !== 'tokens' && kind !== 'budget');
    this.rules = rules;
    this.measured = unmeasured.length < rules.length;
    this.unmeasured = this.measured ? new RuleSet(unmeasured) : this;
    this.notice = new Notice(rules);
  }
}

/** A policy made ready. */
interface Chapter {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly from: AddressSet | null;
  readonly observe: boolean;
  readonly model: Test | null;
  /** Everything but the model. */
  readonly others: readonly ((context: Context) => boolean)[];
}

/** Where requests of a kind may not come from. */
export interface Closed {
  readonly rule: string;
  readonly observe: boolean;
}

type Test = (value: string) => boolean;

const billion = 1_000_000_000;
/** Sets that policies make together; more are made anew for each request. */
const mostSets = 1000;

/** Every rule there is, and which of them hold for a request. */
export class RuleBook {
  readonly #observe: boolean;
  readonly #instances: number;
  readonly #defaults: KeyLimits;
  readonly #chapters: readonly Chapter[];
  readonly #exemptNames: ReadonlySet<string>;
  readonly #exemptNetworks: AddressSet | null;
  readonly #everybody: RuleSet;
  readonly #ofKeys = new WeakMap<GatewayKey, RuleSet>();
  readonly #together = new Map<RuleSet, Map<string, RuleSet>>();

  /**
   * @param identify makes the identity of a token that a policy names in full.
   * @param observe the whole gate only observes.
   */
  constructor(config: RateLimitConfig, identify: (credential: string) => TokenIdentity, observe: boolean) {
    this.#observe = observe;
    this.#instances = config.instances;
    this.#defaults = config.key;
    this.#chapters = chaptersOf(config, identify, observe);
    const networks = config.exempt.filter(isNetwork);
    this.#exemptNetworks = networks.length === 0 ? null : new AddressSet(networks);
    this.#exemptNames = new Set(config.exempt.filter((entry) => !isNetwork(entry)));
    this.#everybody = new RuleSet(rulesOf(config.key, { name: 'key_limit', counter: 'key', observe: observe || config.key.mode === 'observe', instances: config.instances }));
  }

  /** @returns null when nothing does. */
  find(context: Context): RuleSet | null {
    if (this.#exempt(context)) return null;
    const own = this.#own(context.grant);
    if (this.#chapters.length === 0) return own.rules.length === 0 ? null : own;
    let chosen = '';
    for (let at = 0; at < this.#chapters.length; at++) if (fits(this.#chapters[at] as Chapter, context)) chosen += `${at} `;
    const set = chosen === '' ? own : this.#combined(own, chosen);
    return set.rules.length === 0 ? null : set;
  }

  /** The policy whose requests may not come from this address, or null. */
  closedTo(context: Context): Closed | null {
    if (this.#chapters.length === 0 || this.#exempt(context)) return null;
    for (const chapter of this.#chapters) {
      if (chapter.from !== null && fits(chapter, context) && !chapter.from.has(context.ip)) return { rule: `${chapter.name}.cidrs`, observe: chapter.observe };
    }
    return null;
  }

  /** Whether it depends on the model what holds for a request. */
  asksForModel(context: Context): boolean {
    return this.#chapters.some(({ model, others }) => model !== null && others.every((test) => test(context)));
  }

  #exempt({ ip, key, verified, token }: Context): boolean {
    if (this.#exemptNetworks?.has(ip)) return true;
    if (this.#exemptNames.size === 0) return false;
    if (key !== null) return verified && this.#exemptNames.has(key);
    return token !== null && (this.#exemptNames.has(token.id) || token.former.some((id) => this.#exemptNames.has(id)));
  }

  #own(grant: GatewayKey | null): RuleSet {
    if (grant === null || !hasLimits(grant)) return this.#everybody;
    let own = this.#ofKeys.get(grant);
    if (own === undefined) this.#ofKeys.set(grant, (own = this.#read(grant)));
    return own;
  }

  /** What a key has no limit of its own for, the default holds. */
  #read(grant: OwnLimits): RuleSet {
    const { requests, tokens, concurrency, budget, mode } = this.#defaults;
    const maker = { name: 'key_limit', counter: 'key', instances: this.#instances };
    const own = rulesOf(grant, { ...maker, observe: this.#observe });
    const rest = { requests: grant.requests ? null : requests, tokens: grant.tokens ? null : tokens, concurrency: grant.concurrency === null ? concurrency : null, budget: grant.budget ? null : budget };
    return new RuleSet([...own, ...rulesOf(rest, { ...maker, observe: this.#observe || mode === 'observe' })]);
  }

  #combined(own: RuleSet, chosen: string): RuleSet {
    let sets = this.#together.get(own);
    if (sets === undefined) {
      if (this.#together.size >= mostSets) this.#together.clear();
      this.#together.set(own, (sets = new Map()));
    }
    let set = sets.get(chosen);
    if (set === undefined) {
      const rules = chosen.trim().split(' ').flatMap((at) => (this.#chapters[Number(at)] as Chapter).rules);
      set = new RuleSet([...own.rules, ...rules]);
      if (sets.size < mostSets) sets.set(chosen, set);
    }
    return set;
  }
}

interface Maker {
  readonly name: string;
  readonly counter: string;
  readonly observe: boolean;
  readonly instances: number;
}

function rulesOf({ requests, tokens, concurrency, budget }: OwnLimits, maker: Maker): Rule[] {
  const rules: Rule[] = [];
  const add = (kind: Kind, limit: number, window: number, period: Period | null): void => {
    const what = period === null ? kind : `${kind}.${period}`;
    const share = limit === 0 ? 0 : Math.max(1, Math.floor(limit / maker.instances));
    rules.push({ name: `${maker.name}.${what}`, kind, limit, share, window, period, counter: `${maker.counter}.${what}`, observe: maker.observe });
  };
  if (requests !== null) add('requests', requests.limit, requests.window, null);
  if (tokens !== null) add('tokens', tokens.limit, tokens.window, null);
  if (concurrency !== null) add('concurrency', concurrency, 0, null);
  for (const period of ['day', 'month'] as const) {
    const dollars = budget?.[period] ?? null;
    if (dollars !== null) add('budget', Math.round(dollars * billion), 0, period);
  }
  return rules;
}

function chaptersOf({ policies, instances }: RateLimitConfig, identify: (credential: string) => TokenIdentity, observing: boolean): Chapter[] {
  const alike = new Map<string, number>();
  return policies.map((policy, at) => {
    const { match, cidrs } = policy;
    // SECURITY: the name of a counter reaches Redis and files; a token stands there as its identity.
    const token = match.token !== null && isRaw(match.token) ? identify(match.token).id : match.token;
    const counter = hash('sha256', JSON.stringify([token, match.model, match.client, match.route])).slice(0, 12);
    const nth = alike.get(counter) ?? 0;
    alike.set(counter, nth + 1);
    const observe = observing || policy.mode === 'observe';
    const name = `key_limit.policies[${at}]`;
    const maker = { name, counter: nth === 0 ? counter : `${counter}-${nth}`, observe, instances };
    const from = cidrs.length === 0 ? null : new AddressSet(cidrs);
    return { name, rules: rulesOf(policy, maker), from, observe, model: match.model === null ? null : pattern(match.model), others: othersOf(match, identify) };
  });
}

const isRaw = (token: string): boolean => token.startsWith('sk-') && !token.endsWith('*');

function othersOf({ token, client, route }: Policy['match'], identify: (credential: string) => TokenIdentity): ((context: Context) => boolean)[] {
  const tests: ((context: Context) => boolean)[] = [];
  if (token !== null) tests.push(tokenTest(token, isRaw(token) ? identify(token).id : null));
  if (client !== null) tests.push(clientTest(pattern(client)));
  if (route !== null) tests.push(routeTest(pattern(route)));
  return tests;
}

function tokenTest(text: string, id: string | null): (context: Context) => boolean {
  const test = pattern(text);
  return ({ key, token }) => {
    if (key !== null && test(key)) return true;
    if (token === null) return false;
    return id === null ? test(token.id) || token.former.some(test) : token.id === id;
  };
}

const clientTest = (test: Test) => ({ client }: Context): boolean => client !== null && (test(client) || test(familyOf(client)));

const routeTest = (test: Test) => ({ route, path }: Context): boolean => test(route.api) || test(route.template) || test(path);

function fits({ model, others }: Chapter, context: Context): boolean {
  if (model !== null && !(context.model === null ? isClosedBook(context) : model(context.model))) return false;
  for (let at = 0; at < others.length; at++) if (!(others[at] as (context: Context) => boolean)(context)) return false;
  return true;
}

/** Too large to be looked into, or a form that others may read another way: such a body may ask for any model. */
const isClosedBook = ({ bodyStream, route }: Context): boolean => bodyStream !== null || (route.class === 'model' && route.body === 'form');

function pattern(text: string): Test {
  if (!text.endsWith('*')) return (value) => value === text;
  const start = text.slice(0, -1);
  return (value) => value.startsWith(start);
}
