import type { Ban } from '../../types/registry.d.ts';
import { show } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { banJson } from '../registry/registry.ts';
import { json, printJson, textOf, UsageError, type Action, type Invocation } from './command.ts';
import { withRegistry } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf } from './values.ts';
import { systemClock } from '../platform/platform.ts';

const kinds = ['address', 'key', 'token'] as const;

/** `heimdall ban`. */
export const ban: Action = {
  options: {
    for: { type: 'string', value: '2h', summary: 'length of the ban (default: no end)' },
    reason: { type: 'string', value: 'TEXT', summary: 'reason, shown to operators only' },
    kind: { type: 'string', value: 'address|key|token', summary: 'kind of value, where its form is ambiguous' },
    force: { type: 'boolean', summary: 'allow a ban of loopback, or of a network wider than /8 (IPv6: /16)' },
    json,
  },
  examples: ['heimdall ban 203.0.113.7 --for 2h --reason scans', 'heimdall ban 2001:db8::/32'],
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
      if (invocation.values['json']) printJson(invocation, banJson(made));
      else invocation.output.err(`The ${made.kind} ${made.value} is banned ${made.expires === null ? 'without an end' : `until ${moment(made.expires, '')}`}, on every instance within two seconds. To lift the ban: heimdall unban ${made.id}\n`);
    }),
};

/** `heimdall unban`. */
export const unban: Action = {
  options: { json },
  run: async (invocation) => {
    let taken = 0;
    await withRegistry(invocation, async ({ registry }) => {
      taken = await registry.unban(invocation.names[0] ?? '');
    });
    if (invocation.values['json']) printJson(invocation, { value: invocation.names[0], lifted: taken });
    else invocation.output.err(taken === 0 ? `There is no ban of ${show(invocation.names[0])}. To list all bans: heimdall bans\n` : `The ban of ${show(invocation.names[0])} is lifted, on every instance within two seconds.\n`);
    return taken === 0 ? 1 : 0;
  },
};

/** `heimdall bans`. */
export const bans: Action = {
  options: { json },
  run: (invocation) =>
    withRegistry(invocation, async ({ registry }) => {
      const all = registry.bans();
      if (invocation.values['json']) return printJson(invocation, all.map(banJson));
      if (all.length === 0) return invocation.output.err('There are no bans.\n');
      invocation.output.out(table(['ID', 'KIND', 'VALUE', 'SINCE', 'UNTIL', 'REASON'], all.map(row)));
    }),
};

const row = ({ id, kind, value, created, expires, reason }: Ban): string[] => [id, kind, value, moment(created, ''), moment(expires, 'no end'), reason];

function kindOf(invocation: Invocation): Ban['kind'] | undefined {
  const kind = textOf(invocation, 'kind');
  const found = kinds.find((each) => each === kind);
  if (kind !== undefined && found === undefined) throw new UsageError(`--kind: ${expectation('address, key or token', show(kind))}`);
  return found;
}
