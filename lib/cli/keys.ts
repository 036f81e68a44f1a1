import type { IssuedKey, KeyView, NewKey, OwnLimits } from '../../types/registry.d.ts';
import { writeDuration } from '../values/values.ts';
import { keyJson } from '../registry/registry.ts';
import { moment as momentKind } from '../admin/admin.ts';
import { json, printJson, type Action, type Invocation, UsageError } from './command.ts';
import { withRegistry, type Opened } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf, fileOf, limitOf, listOf, numberOf, optionOf } from './values.ts';
import { systemClock } from '../platform/platform.ts';

/** Default time for which the old key of a rotation stays valid, in milliseconds. */
const defaultOverlap = 86_400_000;

/** `heimdall keys create`. */
export const create: Action = {
  options: {
    expires: { type: 'string', value: '30d|DATE', summary: 'time of expiry (default: never)' },
    models: { type: 'string', value: 'A,B', summary: 'allowed models (default: all)' },
    cidrs: { type: 'string', value: 'A,B', summary: 'allowed client addresses and networks (default: all)' },
    'upstream-credential-file': { type: 'string', value: 'FILE', summary: 'file of the NewAPI token sent in place of the key; - for standard input' },
    requests: { type: 'string', value: '60/1m', summary: 'limit of requests in a sliding window' },
    tokens: { type: 'string', value: '100000/1m', summary: 'limit of tokens in a sliding window' },
    concurrency: { type: 'string', value: 'N', summary: 'limit of concurrent requests' },
    'budget-day': { type: 'string', value: 'USD', summary: 'limit of cost in US dollars per day (UTC)' },
    'budget-month': { type: 'string', value: 'USD', summary: 'limit of cost in US dollars per calendar month (UTC)' },
    honey: { type: 'boolean', summary: 'a trap: a caller that uses it is answered as with an unknown key, and a finding says so' },
    json,
  },
  examples: ['heimdall keys create team-a', 'heimdall keys create ci --expires 30d --models gpt-4o --budget-month 50'],
  run: (invocation) =>
    withRegistry(invocation, async (opened) => {
      const { registry, config } = opened;
      const key = newKey(invocation);
      print(invocation, opened, await registry.createKey(key), 'created');
      const { unpricedBudgets } = await import('../usage/usage.ts');
      for (const warning of await unpricedBudgets(config, key.budget ? [{ name: `The key ${key.name}`, models: key.models ?? [] }] : [])) invocation.output.err(`Note: ${warning}\n`);
      if (config.auth.mode === 'passthrough' && !key.honey) invocation.output.err('Note: auth.mode is passthrough, so only NewAPI checks credentials. The key is accepted once auth.mode is keys or jwt.\n');
    }),
};

/** `heimdall keys rotate`. */
export const rotate: Action = {
  options: { overlap: { type: 'string', value: '24h', summary: 'time for which the old key stays valid; 0 ends it now (default: 24h)' }, json },
  run: (invocation) => withRegistry(invocation, async (opened) => print(invocation, opened, await opened.registry.rotateKey(nameOf(invocation), durationOf(invocation, 'overlap') ?? defaultOverlap), 'replaced')),
};

/** `heimdall keys list`. */
export const list: Action = {
  options: { json },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      const views = registry.keys();
      if (invocation.values['json']) return printJson(invocation, views.map(keyJson));
      if (views.length === 0) return invocation.output.err('There are no keys. To create one: heimdall keys create NAME\n');
      invocation.output.out(table(['NAME', 'STATE', 'EXPIRES', 'MODELS', 'ADDRESSES', 'LIMITS', 'DIGEST', 'SOURCE'], views.map(row)));
    }),
};

/** `heimdall keys expire`. */
export const expire: Action = {
  options: { json },
  run: (invocation) => {
    const [, when = ''] = invocation.names;
    const expires = when === 'never' ? null : (momentOf({ ...invocation, values: { when } }, 'when') ?? null);
    return change(invocation, (opened) => opened.registry.changeKey(nameOf(invocation), { expires }), expires === null ? 'never expires' : `expires ${moment(expires, '')}`);
  },
};

const switched = (disabled: boolean): Action => ({
  options: { json },
  run: (invocation) => change(invocation, (opened) => opened.registry.changeKey(nameOf(invocation), { disabled }), disabled ? 'is disabled' : 'is enabled'),
});

/** `heimdall keys disable`. */
export const disable = switched(true);

/** `heimdall keys enable`. */
export const enable = switched(false);

/** `heimdall keys revoke`. */
export const revoke: Action = {
  options: { json },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      await registry.removeKey(nameOf(invocation));
      if (invocation.values['json']) return printJson(invocation, { name: nameOf(invocation), revoked: true });
      invocation.output.err(`The key ${nameOf(invocation)} is revoked, on every instance within two seconds.\n`);
    }),
};

/** The time of an option in Unix milliseconds. @throws UsageError when it is neither a date nor a duration from now. */
const momentOf = (invocation: Invocation, name: string): number | undefined =>
  optionOf(invocation, name, (text) => momentKind(systemClock.now).read(text), 'a date, a date and time, or a duration from now', '30d');

const nameOf = ({ names }: Invocation): string => names[0] ?? '';

function newKey(invocation: Invocation): NewKey {
  const [day, month] = [numberOf(invocation, 'budget-day', '5'), numberOf(invocation, 'budget-month', '100')];
  return {
    name: nameOf(invocation),
    expires: momentOf(invocation, 'expires') ?? null,
    models: listOf(invocation, 'models') ?? [],
    cidrs: listOf(invocation, 'cidrs') ?? [],
    upstreamCredential: credentialOf(invocation),
    requests: limitOf(invocation, 'requests', '60/1m') ?? null,
    tokens: limitOf(invocation, 'tokens', '100000/1m') ?? null,
    concurrency: numberOf(invocation, 'concurrency', '10') ?? null,
    honey: invocation.values['honey'] === true,
    budget: day === undefined && month === undefined ? null : { day: day ?? null, month: month ?? null },
  };
}

function credentialOf(invocation: Invocation): string | null {
  const credential = fileOf(invocation, 'upstream-credential-file');
  if (credential === '') throw new UsageError('--upstream-credential-file: expected a NewAPI token in the file, got nothing.');
  return credential ?? null;
}

/** SECURITY: the key is printed on standard output only, so that a shell variable can capture it. Messages go to standard error. */
function print(invocation: Invocation, { place }: Opened, { key, view }: IssuedKey, done: string): void {
  if (invocation.values['json']) return printJson(invocation, { key, ...keyJson(view) });
  const effect = view.honey ? 'watched' : 'valid';
  invocation.output.err(`The key ${view.name} is ${done} in ${place}, and ${effect} on every instance within two seconds. It is shown only once:\n`);
  invocation.output.out(`${key}\n`);
  if (view.previousUntil !== null) invocation.output.err(`The old key stays valid until ${moment(view.previousUntil, '')}.\n`);
}

function change(invocation: Invocation, apply: (opened: Opened) => Promise<KeyView>, done: string): Promise<number> {
  return withRegistry(invocation, async (opened) => {
    const view = await apply(opened);
    if (invocation.values['json']) printJson(invocation, keyJson(view));
    else invocation.output.err(`The key ${view.name} ${done}, on every instance within two seconds.\n`);
  });
}

function row(view: KeyView): string[] {
  const { name, expires, models, cidrs, digest, source } = view;
  return [name, stateOf(view), moment(expires, 'never'), models.join(',') || 'all', cidrs.join(',') || 'all', limits(view), digest, source];
}

function stateOf({ disabled, expires, previousUntil, honey }: KeyView): string {
  if (honey) return 'honey';
  if (disabled) return 'disabled';
  if (expires !== null && expires <= systemClock.now()) return 'expired';
  return previousUntil === null ? 'good' : `good, old one until ${moment(previousUntil, '')}`;
}

function limits({ requests, tokens, concurrency, budget }: OwnLimits): string {
  const parts = [
    requests && `${requests.limit} requests/${writeDuration(requests.window)}`,
    tokens && `${tokens.limit} tokens/${writeDuration(tokens.window)}`,
    concurrency !== null && `${concurrency} at a time`,
    budget?.day != null && `$${budget.day}/day`,
    budget?.month != null && `$${budget.month}/month`,
  ].filter((part) => typeof part === 'string');
  return parts.join(', ') || 'none';
}
