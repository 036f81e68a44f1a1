import type { IssuedKey, KeyView, NewKey, OwnLimits } from '../../types/registry.d.ts';
import { writeDuration } from '../config/config.ts';
import { keyJson } from '../registry/registry.ts';
import { type Command, type Given, type Option, UsageError } from './command.ts';
import { withRegistry, type Opened } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf, fileOf, limitOf, listOf, momentOf, numberOf } from './values.ts';

const json: Option = { type: 'boolean', what: 'JSON on standard output' };
/** How long a rotated key stays good unless somebody says so, milliseconds. */
const overlap = 86_400_000;

const create: Command = {
  name: 'keys create',
  wants: ['NAME'],
  what: 'make a key; it is printed once, alone, on standard output',
  options: {
    expires: { type: 'string', value: '30d|DATE', what: 'when it ends; never unless given' },
    models: { type: 'string', value: 'A,B', what: 'models it may use; all unless given' },
    cidrs: { type: 'string', value: 'A,B', what: 'addresses and networks it may come from; all unless given' },
    'upstream-credential-file': { type: 'string', value: 'FILE', what: 'NewAPI token sent in its place to routes only NewAPI answers; - reads standard input' },
    requests: { type: 'string', value: '60/1m', what: 'requests in a sliding window' },
    tokens: { type: 'string', value: '100000/1m', what: 'tokens in a sliding window' },
    concurrency: { type: 'string', value: 'N', what: 'requests in hand at a time' },
    'budget-day': { type: 'string', value: 'USD', what: 'US dollars a day in UTC' },
    'budget-month': { type: 'string', value: 'USD', what: 'US dollars a calendar month in UTC' },
    json,
  },
  run: (given) =>
    withRegistry(given, async (opened) => {
      const { registry, config } = opened;
      print(given, opened, await registry.createKey(newKey(given)), 'made');
      if (config.auth.mode === 'passthrough') given.say.err('Note: auth.mode is passthrough, so NewAPI alone judges who calls. The key counts once auth.mode is keys or jwt.\n');
    }),
};

const rotate: Command = {
  name: 'keys rotate',
  wants: ['NAME'],
  what: 'make a new key of the same name and limits; the old one stays good for a while',
  options: { overlap: { type: 'string', value: '24h', what: 'how long the old key stays good; 0 ends it at once; 24h unless given' }, json },
  run: (given) => withRegistry(given, async (opened) => print(given, opened, await opened.registry.rotateKey(nameOf(given), durationOf(given, 'overlap') ?? overlap), 'replaced')),
};

const list: Command = {
  name: 'keys list',
  wants: [],
  what: 'all keys, those of the configuration too',
  options: { json },
  run: (given) =>
    withRegistry(given, async ({ registry }) => {
      const views = registry.keys();
      if (given.values['json']) return given.say.out(`${JSON.stringify(views.map(keyJson), null, 2)}\n`);
      if (views.length === 0) return given.say.err('There are no keys. Make one: heimdall keys create NAME\n');
      given.say.out(table(['NAME', 'STATE', 'EXPIRES', 'MODELS', 'ADDRESSES', 'LIMITS', 'DIGEST', 'SOURCE'], views.map(row)));
    }),
};

const expire: Command = {
  name: 'keys expire',
  wants: ['NAME', '30d|DATE|never'],
  what: 'let a key end at another time',
  options: { json },
  run: (given) => {
    const [, when = ''] = given.names;
    const expires = when === 'never' ? null : (momentOf({ ...given, values: { when } }, 'when') ?? null);
    return change(given, (opened) => opened.registry.changeKey(nameOf(given), { expires }), expires === null ? 'never ends' : `ends ${moment(expires, '')}`);
  },
};

const switched = (name: 'enable' | 'disable', what: string): Command => ({
  name: `keys ${name}`,
  wants: ['NAME'],
  what,
  options: { json },
  run: (given) => change(given, (opened) => opened.registry.changeKey(nameOf(given), { disabled: name === 'disable' }), `is ${name}d`),
});

const revoke: Command = {
  name: 'keys revoke',
  wants: ['NAME'],
  what: 'take a key away for good, and cut what it has under way',
  options: {},
  run: (given) =>
    withRegistry(given, async ({ registry }) => {
      await registry.removeKey(nameOf(given));
      given.say.err(`The key ${nameOf(given)} is revoked, on every instance within two seconds.\n`);
    }),
};

/** What can be done with gateway keys. */
export const keyCommands: readonly Command[] = [
  create,
  list,
  rotate,
  switched('disable', 'refuse a key without forgetting it, and cut what it has under way'),
  switched('enable', 'accept a disabled key again'),
  expire,
  revoke,
];

const nameOf = ({ names }: Given): string => names[0] ?? '';

function newKey(given: Given): NewKey {
  const [day, month] = [numberOf(given, 'budget-day', '5'), numberOf(given, 'budget-month', '100')];
  return {
    name: nameOf(given),
    expires: momentOf(given, 'expires') ?? null,
    models: listOf(given, 'models') ?? [],
    cidrs: listOf(given, 'cidrs') ?? [],
    upstreamCredential: credentialOf(given),
    requests: limitOf(given, 'requests', '60/1m') ?? null,
    tokens: limitOf(given, 'tokens', '100000/1m') ?? null,
    concurrency: numberOf(given, 'concurrency', '10') ?? null,
    budget: day === undefined && month === undefined ? null : { day: day ?? null, month: month ?? null },
  };
}

function credentialOf(given: Given): string | null {
  const credential = fileOf(given, 'upstream-credential-file');
  if (credential === '') throw new UsageError('--upstream-credential-file: expected a NewAPI token in the file, got nothing.');
  return credential ?? null;
}

/** SECURITY: the key goes to standard output alone, where a variable catches it; a terminal's scrollback need not hold the rest. */
function print(given: Given, { place }: Opened, { key, view }: IssuedKey, what: string): void {
  if (given.values['json']) return given.say.out(`${JSON.stringify({ key, ...keyJson(view) }, null, 2)}\n`);
  given.say.err(`The key ${view.name} is ${what}, in ${place}, and good on every instance within two seconds. It can be read this once:\n`);
  given.say.out(`${key}\n`);
  if (view.previousUntil !== null) given.say.err(`The one before it stays good until ${moment(view.previousUntil, '')}.\n`);
}

function change(given: Given, apply: (opened: Opened) => Promise<KeyView>, what: string): Promise<number> {
  return withRegistry(given, async (opened) => {
    const view = await apply(opened);
    if (given.values['json']) given.say.out(`${JSON.stringify(keyJson(view), null, 2)}\n`);
    else given.say.err(`The key ${view.name} ${what}, on every instance within two seconds.\n`);
  });
}

function row(view: KeyView): string[] {
  const { name, expires, models, cidrs, digest, source } = view;
  return [name, stateOf(view), moment(expires, 'never'), models.join(',') || 'all', cidrs.join(',') || 'all', limits(view), digest, source];
}

function stateOf({ disabled, expires, previousUntil }: KeyView): string {
  if (disabled) return 'disabled';
  if (expires !== null && expires <= Date.now()) return 'expired';
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
