import { hash } from 'node:crypto';
import type { KeyLimits, Policy, RateLimitConfig } from '../../types/config.d.ts';
import type { NewapiName } from '../../types/caller.d.ts';
import type { TokenIdentity } from '../../types/context.d.ts';
import type { OwnLimits } from '../../types/registry.d.ts';
import { hasLimits } from '../config/config.ts';
import { isNetwork } from '../values/values.ts';
import type { Context } from '../request/request.ts';
import { AddressSet, familyOf } from '../identity/identity.ts';
import type { BlockTerms, Counter, Kind, Period, Rule } from './charge.ts';
import { RateLimitHeaders } from './rate-limit-headers.ts';

/** The rules that apply to a request together. */
export class RuleSet {
  readonly rules: readonly Rule[];
  /** Some rules count tokens or money, so the usage of the answer has to be known. */
  readonly measured: boolean;
  /** The rules that apply where neither tokens nor money are used. */
  readonly unmeasured: RuleSet;
  readonly headers: RateLimitHeaders;
  /** Some rules count all tokens of a user of NewAPI together. */
  readonly perUser: boolean;

  constructor(rules: readonly Rule[]) {
    this.perUser = rules.some((rule) => rule.perUser);
    const unmeasured = rules.filter(({ kind }) => kind !== 'tokens' && kind !== 'budget');
    this.rules = rules;
    this.measured = unmeasured.length < rules.length;
    this.unmeasured = this.measured ? new RuleSet(unmeasured) : this;
    this.headers = new RateLimitHeaders(rules);
  }
}

/** A policy of the configuration, ready to be matched. */
interface CompiledPolicy {
  readonly name: string;
  /** Names its counters, as long as it matches the same. */
  readonly counter: string;
  readonly rules: readonly Rule[];
  /** Networks that its requests must come from; null for all. */
  readonly from: AddressSet | null;
  readonly observe: boolean;
  readonly model: Test | null;
  /** All conditions but the model. */
  readonly others: readonly ((context: Context) => boolean)[];
  /** Whether the names that NewAPI knows fit; null for a policy without them. */
  readonly named: ((name: NewapiName) => boolean) | null;
}

/** What NewAPI calls callers; handed in, since it is learnt in a higher room. */
export interface CallerNames {
  nameOf(kind: string, id: string | null): NewapiName | null;
  /** Names cannot be learnt at present. */
  readonly blind: boolean;
  /** @param listener called with a caller (`key NAME`, `token ID`) that had no name and has one now. */
  onNamed(listener: (caller: string, name: NewapiName) => void): void;
}

/** A policy's networks that a request came from outside of. */
export interface AddressRefusal {
  readonly rule: string;
  readonly observe: boolean;
}

type Test = (value: string) => boolean;

const billion = 1_000_000_000;
/** Combinations of policies kept for each set of a key's own rules; more are made anew for each request. */
const mostSets = 1000;

/** All rules of the configuration and of keys, and the search for those that apply to a request. */
export class PolicyIndex {
  /** Whether the answers of {@link refusalOf} and {@link asksForModel} depend on the request. */
  readonly hasPolicies: boolean;
  readonly #observe: boolean;
  readonly #config: RateLimitConfig;
  readonly #defaults: KeyLimits;
  readonly #policies: readonly CompiledPolicy[];
  readonly #hasExempt: boolean;
  readonly #exemptNames: ReadonlySet<string>;
  readonly #exemptNetworks: AddressSet | null;
  /** For callers without limits of their own. */
  readonly #defaultSet: RuleSet;
  readonly #ofKeys = new WeakMap<OwnLimits, RuleSet>();
  readonly #combined = new Map<RuleSet, Map<string, RuleSet>>();
  readonly #names: CallerNames | null;
  /** Whether some policies depend on names that NewAPI knows. */
  readonly hasNames: boolean;

  /**
   * @param identify makes the identity of a token that a policy names in full.
   * @param observe the whole gate only observes.
   * @param names null where no names of NewAPI are learnt.
   */
  constructor(config: RateLimitConfig, identify: (credential: string) => TokenIdentity, observe: boolean, names: CallerNames | null = null) {
    this.#names = names;
    const networks = config.exempt.filter(isNetwork);
    this.#observe = observe;
    this.#config = config;
    this.#defaults = config.key;
    this.#policies = compile(config, identify, observe);
    this.hasPolicies = this.#policies.length > 0;
    this.hasNames = names !== null && this.#policies.some(({ named }) => named !== null);
    this.#hasExempt = config.exempt.length > 0;
    this.#exemptNetworks = networks.length === 0 ? null : new AddressSet(networks);
    this.#exemptNames = new Set(config.exempt.filter((entry) => !isNetwork(entry)));
    this.#defaultSet = new RuleSet(rulesOf(config.key, { name: 'key_limit', counter: 'key', observe: observe || config.key.mode === 'observe', config }));
  }

  /** @returns null where no rule applies. */
  find(context: Context): RuleSet | null {
    if (this.#hasExempt && this.#isExempt(context)) return null;
    const grant = context.grant ?? context.user?.limits ?? null;
    const own = grant === null || !hasLimits(grant) ? this.#defaultSet : this.#ofKey(grant);
    if (!this.hasPolicies) return own.rules.length === 0 ? null : own;
    let chosen = '';
    for (let at = 0; at < this.#policies.length; at++) if (this.#applies(this.#policies[at] as CompiledPolicy, context)) chosen += `${at} `;
    const set = chosen === '' ? own : this.#combine(own, chosen);
    return set.rules.length === 0 ? null : set;
  }

  /** The policy that refuses the caller's address, or null. */
  refusalOf(context: Context): AddressRefusal | null {
    if (this.#isExempt(context)) return null;
    for (const policy of this.#policies) {
      if (policy.from !== null && this.#applies(policy, context) && !policy.from.has(context.ip)) return { rule: `${policy.name}.cidrs`, observe: policy.observe };
    }
    return null;
  }

  /** Whether the rules that apply depend on the model. */
  asksForModel(context: Context): boolean {
    return this.#policies.some(({ model, others }) => model !== null && others.every((test) => test(context)));
  }

  /** What NewAPI calls the caller of a request; null while that is unknown. */
  nameOf({ key, token }: Context): NewapiName | null {
    if (key !== null) return this.#names?.nameOf('key', key) ?? null;
    return token === null ? null : (this.#names?.nameOf('token', token.id) ?? null);
  }

  /** Counters of the policies by names that would apply to a caller without a name, if the name fits. */
  waiting(context: Context): readonly string[] {
    return this.#policies.flatMap((policy) => (policy.named !== null && fits(policy, context) ? [policy.counter] : []));
  }

  /** The rules of a policy, where its names fit; none where a reload has removed it. */
  rulesFor(counter: string, name: NewapiName): readonly Rule[] {
    const policy = this.#policies.find((each) => each.counter === counter);
    return policy?.named?.(name) === true ? policy.rules : [];
  }

  /** A caller without a name is held to every policy by names where none can be learnt. */
  #applies(policy: CompiledPolicy, context: Context): boolean {
    if (!fits(policy, context)) return false;
    if (policy.named === null) return true;
    const name = this.nameOf(context);
    return name === null ? (this.#names?.blind ?? true) : policy.named(name);
  }

  #isExempt({ ip, key, verified, token }: Context): boolean {
    if (this.#exemptNetworks?.has(ip)) return true;
    if (this.#exemptNames.size === 0) return false;
    if (key !== null) return verified && this.#exemptNames.has(key);
    return token !== null && (this.#exemptNames.has(token.id) || token.former.some((id) => this.#exemptNames.has(id)));
  }

  /** A key's own limits; for a kind without one, the default. */
  #ofKey(grant: OwnLimits): RuleSet {
    const known = this.#ofKeys.get(grant);
    if (known !== undefined) return known;
    const { requests, tokens, concurrency, budget, mode } = this.#defaults;
    const maker = { name: 'key_limit', counter: 'key', config: this.#config };
    const own = rulesOf(grant, { ...maker, observe: this.#observe });
    const rest = { requests: grant.requests ? null : requests, tokens: grant.tokens ? null : tokens, concurrency: grant.concurrency === null ? concurrency : null, budget: grant.budget ? null : budget };
    const set = new RuleSet([...own, ...rulesOf(rest, { ...maker, observe: this.#observe || mode === 'observe' })]);
    this.#ofKeys.set(grant, set);
    return set;
  }

  #combine(own: RuleSet, chosen: string): RuleSet {
    let sets = this.#combined.get(own);
    if (sets === undefined) {
      if (this.#combined.size >= mostSets) this.#combined.clear();
      this.#combined.set(own, (sets = new Map()));
    }
    let set = sets.get(chosen);
    if (set === undefined) {
      const rules = chosen.trim().split(' ').flatMap((at) => (this.#policies[Number(at)] as CompiledPolicy).rules);
      set = new RuleSet([...own.rules, ...rules]);
      if (sets.size < mostSets) sets.set(chosen, set);
    }
    return set;
  }
}

/** Callers remembered, each with each set of rules; beyond, all are looked up anew. */
const mostCallers = 10_000;

/** The counters of each caller, one for each rule of a set, kept from request to request so that a request finds its counts at once. */
export class CounterCache {
  readonly #callers = new Map<readonly Rule[], Map<string, Counter[]>>();
  #size = 0;

  /**
   * @returns one counter for each rule, in their order. @param caller a fairness key. @param time Unix milliseconds.
   * @param user the user of NewAPI whose tokens count together for some of the rules; null where none is known.
   */
  of(rules: readonly Rule[], caller: string, time: number, user: number | null = null): readonly Counter[] {
    const counters = this.#callers.get(rules)?.get(user === null ? caller : `${caller} ${user}`) ?? this.#open(rules, caller, time, user);
    for (let at = 0; at < counters.length; at++) {
      const { rule, until } = counters[at] as Counter;
      if (rule.period !== null && spanOf(rule.period, time).until !== until) counters[at] = counterOf(rule, callerOf(rule, caller, user), time);
    }
    return counters;
  }

  #open(rules: readonly Rule[], caller: string, time: number, user: number | null): Counter[] {
    if (this.#size >= mostCallers) {
      this.#callers.clear();
      this.#size = 0;
    }
    this.#size++;
    const counters = countersOf(rules, caller, time, user);
    const callers = this.#callers.get(rules);
    const whose = user === null ? caller : `${caller} ${user}`;
    if (callers === undefined) this.#callers.set(rules, new Map([[whose, counters]]));
    else callers.set(whose, counters);
    return counters;
  }
}

const callerOf = (rule: Rule, caller: string, user: number | null): string => (user !== null && rule.perUser ? `newapi:${user}` : caller);

/** One counter for each rule; see {@link CounterCache.of}. */
export const countersOf = (rules: readonly Rule[], caller: string, time: number, user: number | null): Counter[] => rules.map((rule) => counterOf(rule, callerOf(rule, caller, user), time));

/** The counter of a rule for one caller. @param time Unix milliseconds. */
export function counterOf(rule: Rule, caller: string, time: number): Counter {
  if (rule.period === null) return { rule, key: `${rule.counter}:${caller}`, until: 0, state: null };
  const { label, until } = spanOf(rule.period, time);
  return { rule, key: `${rule.counter}.${label}:${caller}`, until, state: null };
}

const day = 86_400_000;

/** A day or month in UTC: its name, and its end in Unix milliseconds. */
export interface Span {
  readonly label: string;
  readonly until: number;
}

let lastDay: Span = { label: '', until: 0 };
let lastMonth: Span = { label: '', until: 0 };

/** The day or month of a moment. @param now Unix milliseconds. */
export function spanOf(period: Period, now: number): Span {
  const known = period === 'day' ? lastDay : lastMonth;
  const length = period === 'day' ? 10 : 7;
  const label = known.until > now && now >= known.until - day ? known.label : new Date(now).toISOString().slice(0, length);
  if (label === known.label) return known;
  const date = new Date(now);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  const span = { label, until: period === 'day' ? Date.UTC(year, month, date.getUTCDate() + 1) : Date.UTC(year, month + 1, 1) };
  if (period === 'day') lastDay = span;
  else lastMonth = span;
  return span;
}

interface Maker {
  readonly name: string;
  readonly counter: string;
  readonly observe: boolean;
  readonly config: RateLimitConfig;
  readonly perUser?: boolean;
}

/** How a window is taken from Redis in blocks; null where blocks are off, or would be of one. */
function blockTerms({ store, redisBlocks, instances }: RateLimitConfig, limit: number): BlockTerms | null {
  const size = Math.floor(limit / 100);
  return redisBlocks === false || store !== 'redis' || size < 2 ? null : { rate: redisBlocks / instances, size, error: Math.min(limit, instances * size) };
}

function rulesOf({ requests, tokens, concurrency, budget }: OwnLimits, maker: Maker): Rule[] {
  const rules: Rule[] = [];
  const add = (kind: Kind, limit: number, window: number, period: Period | null): void => {
    const what = period === null ? kind : `${kind}.${period}`;
    const share = limit === 0 ? 0 : Math.max(1, Math.floor(limit / maker.config.instances));
    rules.push({ name: `${maker.name}.${what}`, kind, limit, share, window, period, counter: `${maker.counter}.${what}`, observe: maker.observe, perUser: maker.perUser ?? false, blocks: window === 0 ? null : blockTerms(maker.config, limit) });
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

function compile(config: RateLimitConfig, identify: (credential: string) => TokenIdentity, observing: boolean): CompiledPolicy[] {
  const alike = new Map<string, number>();
  return config.policies.map((policy, at) => {
    const { match, cidrs } = policy;
    // SECURITY: the name of a counter reaches Redis and files, so a token stands in it as its identity.
    const token = match.token !== null && isRaw(match.token) ? identify(match.token).id : match.token;
    const counter = hash('sha256', JSON.stringify([token, match.model, match.client, match.route, ...(match.group === null && match.user === null ? [] : [match.group, match.user]), ...(hasNames(match) ? [match.newapiUser, match.newapiToken, match.newapiGroup] : [])])).slice(0, 12);
    const nth = alike.get(counter) ?? 0;
    alike.set(counter, nth + 1);
    const observe = observing || policy.mode === 'observe';
    const name = `key_limit.policies[${at}]`;
    const maker = { name, counter: nth === 0 ? counter : `${counter}-${nth}`, observe, config, perUser: match.newapiUser !== null || match.newapiGroup !== null };
    const from = cidrs.length === 0 ? null : new AddressSet(cidrs);
    return { name, counter: maker.counter, rules: rulesOf(policy, maker), from, observe, model: match.model === null ? null : pattern(match.model), others: othersOf(match, identify), named: hasNames(match) ? namesTest(match) : null };
  });
}

const hasNames = ({ newapiUser, newapiToken, newapiGroup }: Policy['match']): boolean => newapiUser !== null || newapiToken !== null || newapiGroup !== null;

function namesTest({ newapiUser, newapiToken, newapiGroup }: Policy['match']): (name: NewapiName) => boolean {
  const [user, token, group] = [newapiUser, newapiToken, newapiGroup].map((text) => (text === null ? null : pattern(text)));
  return (name) => (user == null || user(name.username) || user(String(name.user_id))) && (token == null || token(name.token_name)) && (group == null || group(name.group));
}

const isRaw = (token: string): boolean => token.startsWith('sk-') && !token.endsWith('*');

function othersOf({ token, client, route, group, user }: Policy['match'], identify: (credential: string) => TokenIdentity): ((context: Context) => boolean)[] {
  const tests: ((context: Context) => boolean)[] = [];
  if (token !== null) tests.push(tokenTest(token, isRaw(token) ? identify(token).id : null));
  if (client !== null) tests.push(clientTest(pattern(client)));
  if (route !== null) tests.push(routeTest(pattern(route)));
  if (group !== null) tests.push(groupTest(pattern(group)));
  if (user !== null) tests.push(userTest(pattern(user)));
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

const groupTest = (test: Test) => ({ user }: Context): boolean => user !== null && user.group !== null && test(user.group);

const userTest = (test: Test) => ({ user }: Context): boolean => user !== null && test(user.id);

function fits({ model, others }: CompiledPolicy, context: Context): boolean {
  if (model !== null && !(context.model === null ? mayAskForAnyModel(context) : model(context.model))) return false;
  for (let at = 0; at < others.length; at++) if (!(others[at] as (context: Context) => boolean)(context)) return false;
  return true;
}

/** The body is too large to be read here, or a form that receivers may read in another way. */
const mayAskForAnyModel = ({ bodyStream, route }: Context): boolean => bodyStream !== null || (route.class === 'model' && route.body === 'form');

function pattern(text: string): Test {
  if (!text.endsWith('*')) return (value) => value === text;
  const start = text.slice(0, -1);
  return (value) => value.startsWith(start);
}
