import type { Ban } from '../../types/registry.d.ts';
import { show } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { banJson } from '../registry/registry.ts';
import { textOf, UsageError, type Command, type Invocation, type Option } from './command.ts';
import { withRegistry } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf } from './values.ts';
import { systemClock } from '../platform/platform.ts';

const json: Option = { type: 'boolean', summary: 'print JSON' };
const kinds = ['address', 'key', 'token'] as const;

const ban: Command = {
  name: 'ban',
  args: ['ADDRESS|CIDR|KEY|TOKEN-ID'],
  summary: 'refuse a caller; ends its running requests',
  options: {
    for: { type: 'string', value: '2h', summary: 'length of the ban (default: no end)' },
    reason: { type: 'string', value: 'TEXT', summary: 'reason, shown to operators only' },
    kind: { type: 'string', value: 'address|key|token', summary: 'kind of value, where its form is ambiguous' },
    force: { type: 'boolean', summary: 'allow a ban of loopback, or of a network wider than /8 (IPv6: /16)' },
    json,
  },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      const length = durationOf(invocation, 'for');
      const kind = kindOf(invocation);
      const made = await registry.ban({
        value: invocation.names[0] ?? '',
        reason: textOf(invocation, 'reason') ?? '',
        expires: length === undefined ? null : systemClock.now() + length,
        force: invocation.values['force'] === true,
        ...(kind === undefined ? {} : { kind }),
      });
      if (invocation.values['json']) invocation.output.out(`${JSON.stringify(banJson(made), null, 2)}\n`);
      else invocation.output.err(`The ${made.kind} ${made.value} is banned ${made.expires === null ? 'without an end' : `until ${moment(made.expires, '')}`}, on every instance within two seconds. To lift the ban: heimdall unban ${made.id}\n`);
    }),
};

const unban: Command = {
  name: 'unban',
  args: ['ADDRESS|CIDR|KEY|TOKEN-ID|BAN-ID'],
  summary: 'lift a ban',
  options: {},
  run: async (invocation) => {
    let taken = 0;
    await withRegistry(invocation, async ({ registry }) => {
      taken = await registry.unban(invocation.names[0] ?? '');
    });
    invocation.output.err(taken === 0 ? `There is no ban of ${show(invocation.names[0])}. To list all bans: heimdall bans\n` : `The ban of ${show(invocation.names[0])} is lifted, on every instance within two seconds.\n`);
    return taken === 0 ? 1 : 0;
  },
};

const bans: Command = {
  name: 'bans',
  args: [],
  summary: 'list all active bans',
  options: { json },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      const all = registry.bans();
      if (invocation.values['json']) return invocation.output.out(`${JSON.stringify(all.map(banJson), null, 2)}\n`);
      if (all.length === 0) return invocation.output.err('There are no bans.\n');
      invocation.output.out(table(['ID', 'KIND', 'VALUE', 'SINCE', 'UNTIL', 'REASON'], all.map(row)));
    }),
};

/** The commands about bans. */
export const banCommands: readonly Command[] = [ban, unban, bans];

const row = ({ id, kind, value, created, expires, reason }: Ban): string[] => [id, kind, value, moment(created, ''), moment(expires, 'no end'), reason];

function kindOf(invocation: Invocation): Ban['kind'] | undefined {
  const kind = textOf(invocation, 'kind');
  const found = kinds.find((each) => each === kind);
  if (kind !== undefined && found === undefined) throw new UsageError(`--kind: ${expectation('address, key or token', show(kind))}`);
  return found;
}
