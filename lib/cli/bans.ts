import type { Ban } from '../../types/registry.d.ts';
import { show } from '../config/config.ts';
import { expectation } from '../errors.ts';
import { banJson } from '../registry/registry.ts';
import { textOf, UsageError, type Command, type Given, type Option } from './command.ts';
import { withRegistry } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf } from './values.ts';

const json: Option = { type: 'boolean', what: 'JSON on standard output' };
const kinds = ['address', 'key', 'token'] as const;

const ban: Command = {
  name: 'ban',
  wants: ['ADDRESS|CIDR|KEY|TOKEN-ID'],
  what: 'refuse somebody, and cut what is under way',
  options: {
    for: { type: 'string', value: '2h', what: 'how long; until it is taken back unless given' },
    reason: { type: 'string', value: 'TEXT', what: 'why, for people; the banned do not see it' },
    kind: { type: 'string', value: 'address|key|token', what: 'what it is, where its form does not say' },
    force: { type: 'boolean', what: 'ban loopback, or a network shorter than /8 (IPv6: /16), all the same' },
    json,
  },
  run: (given) =>
    withRegistry(given, async ({ registry }) => {
      const length = durationOf(given, 'for');
      const kind = kindOf(given);
      const made = await registry.ban({
        value: given.names[0] ?? '',
        reason: textOf(given, 'reason') ?? '',
        expires: length === undefined ? null : Date.now() + length,
        force: given.values['force'] === true,
        ...(kind === undefined ? {} : { kind }),
      });
      if (given.values['json']) given.say.out(`${JSON.stringify(banJson(made), null, 2)}\n`);
      else given.say.err(`The ${made.kind} ${made.value} is banned ${made.expires === null ? 'until it is taken back' : `until ${moment(made.expires, '')}`}, on every instance within two seconds. Take it back: heimdall unban ${made.id}\n`);
    }),
};

const unban: Command = {
  name: 'unban',
  wants: ['ADDRESS|CIDR|KEY|TOKEN-ID|BAN-ID'],
  what: 'take a ban back',
  options: {},
  run: async (given) => {
    let taken = 0;
    await withRegistry(given, async ({ registry }) => {
      taken = await registry.unban(given.names[0] ?? '');
    });
    given.say.err(taken === 0 ? `Nothing is banned by the name of ${show(given.names[0])}. All bans: heimdall bans\n` : `${show(given.names[0])} is banned no longer, on every instance within two seconds.\n`);
    return taken === 0 ? 1 : 0;
  },
};

const bans: Command = {
  name: 'bans',
  wants: [],
  what: 'all bans in force',
  options: { json },
  run: (given) =>
    withRegistry(given, async ({ registry }) => {
      const all = registry.bans();
      if (given.values['json']) return given.say.out(`${JSON.stringify(all.map(banJson), null, 2)}\n`);
      if (all.length === 0) return given.say.err('Nobody is banned.\n');
      given.say.out(table(['ID', 'KIND', 'WHO', 'SINCE', 'UNTIL', 'REASON'], all.map(row)));
    }),
};

/** What can be done with bans. */
export const banCommands: readonly Command[] = [ban, unban, bans];

const row = ({ id, kind, value, created, expires, reason }: Ban): string[] => [id, kind, value, moment(created, ''), moment(expires, 'taken back'), reason];

function kindOf(given: Given): Ban['kind'] | undefined {
  const kind = textOf(given, 'kind');
  const found = kinds.find((each) => each === kind);
  if (kind !== undefined && found === undefined) throw new UsageError(`--kind: ${expectation('address, key or token', show(kind))}`);
  return found;
}
