import type { IssuedKey, KeyView, NewKey, OwnLimits } from '../../types/registry.d.ts';
import { writeDuration } from '../values/values.ts';
import { keyJson } from '../registry/registry.ts';
import { type Command, type Invocation, type Option, UsageError } from './command.ts';
import { withRegistry, type Opened } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf, fileOf, limitOf, listOf, momentOf, numberOf } from './values.ts';
import { systemClock } from '../platform/platform.ts';

const json: Option = { type: 'boolean', summary: 'print JSON' };
/** Default time for which the old key of a rotation stays valid, in milliseconds. */
const defaultOverlap = 86_400_000;

const create: Command = {
  name: 'keys create',
  args: ['NAME'],
  summary: 'create a key and print it once on standard output',
  options: {
    expires: { type: 'string', value: '30d|DATE', summary: 'time of expiry (default: never)' },
    models: { type: 'string', value: 'A,B', summary: 'allowed models (default: all)' },
    cidrs: { type: 'string', value: 'A,B', summary: 'allowed client addresses and networks (default: all)' },
    'upstream-credential-file': { type: 'string', value: 'FILE', summary: 'file of the NewAPI token sent in place of the key; - for standard input' },
    requests: { type: 'string', value: '60/1m', summary: 'limit of requests in a sliding window' },
    tokens: { type: 'string', value: '100000/1m', summary: 'limit of tokens in a sliding window' },
    concurrency: { type: 'string', value: 'N', summary: 'limit of concurrent requests' },
    'budget-day': { type: 'string', value: 'USD', summary: 'limit of cost in US dollars per day (UTC)' },
    honey: { type: 'boolean', summary: 'a trap: whoever uses it is answered as with an unknown key, and a finding says so' },
    'budget-month': { type: 'string', value: 'USD', summary: 'limit of cost in US dollars per calendar month (UTC)' },
    json,
  },
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

const rotate: Command = {
  name: 'keys rotate',
  args: ['NAME'],
  summary: 'replace a key; the old one stays valid for a while',
  options: { overlap: { type: 'string', value: '24h', summary: 'time for which the old key stays valid; 0 ends it now (default: 24h)' }, json },
  run: (invocation) => withRegistry(invocation, async (opened) => print(invocation, opened, await opened.registry.rotateKey(nameOf(invocation), durationOf(invocation, 'defaultOverlap') ?? defaultOverlap), 'replaced')),
};

const list: Command = {
  name: 'keys list',
  args: [],
  summary: 'list all keys, including those of the configuration',
  options: { json },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      const views = registry.keys();
      if (invocation.values['json']) return invocation.output.out(`${JSON.stringify(views.map(keyJson), null, 2)}\n`);
      if (views.length === 0) return invocation.output.err('There are no keys. To create one: heimdall keys create NAME\n');
      invocation.output.out(table(['NAME', 'STATE', 'EXPIRES', 'MODELS', 'ADDRESSES', 'LIMITS', 'DIGEST', 'SOURCE'], views.map(row)));
    }),
};

const expire: Command = {
  name: 'keys expire',
  args: ['NAME', '30d|DATE|never'],
  summary: 'change the time of expiry of a key',
  options: { json },
  run: (invocation) => {
    const [, when = ''] = invocation.names;
    const expires = when === 'never' ? null : (momentOf({ ...invocation, values: { when } }, 'when') ?? null);
    return change(invocation, (opened) => opened.registry.changeKey(nameOf(invocation), { expires }), expires === null ? 'never expires' : `expires ${moment(expires, '')}`);
  },
};

const switched = (name: 'enable' | 'disable', summary: string): Command => ({
  name: `keys ${name}`,
  args: ['NAME'],
  summary,
  options: { json },
  run: (invocation) => change(invocation, (opened) => opened.registry.changeKey(nameOf(invocation), { disabled: name === 'disable' }), `is ${name}d`),
});

const revoke: Command = {
  name: 'keys revoke',
  args: ['NAME'],
  summary: 'delete a key; ends its running requests',
  options: {},
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      await registry.removeKey(nameOf(invocation));
      invocation.output.err(`The key ${nameOf(invocation)} is revoked, on every instance within two seconds.\n`);
    }),
};

/** The commands about gateway keys. */
export const keyCommands: readonly Command[] = [
  create,
  list,
  rotate,
  switched('disable', 'refuse a key and keep its entry; ends its running requests'),
  switched('enable', 'accept a disabled key again'),
  expire,
  revoke,
];

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
  if (invocation.values['json']) return invocation.output.out(`${JSON.stringify({ key, ...keyJson(view) }, null, 2)}\n`);
  const effect = view.honey ? 'watched' : 'valid';
  invocation.output.err(`The key ${view.name} is ${done} in ${place}, and ${effect} on every instance within two seconds. It is shown only once:\n`);
  invocation.output.out(`${key}\n`);
  if (view.previousUntil !== null) invocation.output.err(`The old key stays valid until ${moment(view.previousUntil, '')}.\n`);
}

function change(invocation: Invocation, apply: (opened: Opened) => Promise<KeyView>, done: string): Promise<number> {
  return withRegistry(invocation, async (opened) => {
    const view = await apply(opened);
    if (invocation.values['json']) invocation.output.out(`${JSON.stringify(keyJson(view), null, 2)}\n`);
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
