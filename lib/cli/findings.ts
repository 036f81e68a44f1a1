import type { Action } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import { findingJson } from '../admin/admin.ts';
import { Findings } from '../anomaly/anomaly.ts';
import { systemClock } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { expectation } from '../errors.ts';
import { show } from '../values/values.ts';
import { textOf, UsageError, type Command, type Invocation, type Option } from './command.ts';
import { withRegistry, type Opened } from './registry.ts';
import { moment, table } from './table.ts';
import { durationOf } from './values.ts';

const json: Option = { type: 'boolean', summary: 'print JSON' };
const reason: Option = { type: 'string', value: 'TEXT', summary: 'why, shown to operators only' };
const actions = ['none', 'flag', 'slow', 'limit', 'freeze'] as const;

/** Runs a command on the findings of the gates with the same configuration. */
export const withFindings = (invocation: Invocation, use: (findings: Findings, opened: Opened) => Promise<void>): Promise<number> =>
  withRegistry(invocation, (opened) => {
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    return use(new Findings({ config: opened.config, clock: systemClock, log } as unknown as Core, opened.registry), opened);
  });

const list: Command = {
  name: 'findings list',
  args: [],
  summary: 'list what the watch found, the newest first',
  options: { state: { type: 'string', value: 'STATE', summary: 'open, acknowledged, undone, false_positive or over' }, rule: { type: 'string', value: 'RULE', summary: 'only findings of this rule' }, json },
  run: (invocation) =>
    withFindings(invocation, async (findings) => {
      const [state, rule] = [textOf(invocation, 'state'), textOf(invocation, 'rule')];
      const all = findings.list().filter((finding) => (state === undefined || finding.state === state) && (rule === undefined || finding.rule === rule));
      if (invocation.values['json']) return invocation.output.out(`${JSON.stringify(all.map(findingJson), null, 2)}\n`);
      if (all.length === 0) return invocation.output.err('There are no findings.\n');
      invocation.output.out(table(['ID', 'RULE', 'CALLER', 'SCORE', 'STATE', 'ACTION', 'UNTIL', 'LAST'], all.map(row)));
    }),
};

const row = ({ id, rule, caller, score, state, action, would, expires, last }: Finding): string[] => [
  id, rule, `${caller.kind} ${caller.id}`, String(score), state, would === null ? action : `${action} (would ${would})`, moment(expires, ''), moment(last, ''),
];

const show1: Command = {
  name: 'findings show',
  args: ['FINDING-ID'],
  summary: 'show one finding with its evidence',
  options: { json },
  run: (invocation) => withFindings(invocation, async (findings) => print(invocation, findings.get(invocation.names[0] ?? ''))),
};

const change = (name: string, summary: string, edit: (findings: Findings, id: string, why: string) => Promise<Finding>): Command => ({
  name: `findings ${name}`,
  args: ['FINDING-ID'],
  summary,
  options: { reason, json },
  run: (invocation) => withFindings(invocation, async (findings) => print(invocation, await edit(findings, invocation.names[0] ?? '', textOf(invocation, 'reason') ?? ''))),
});

const act: Command = {
  name: 'findings act',
  args: ['FINDING-ID', 'none|flag|slow|limit|freeze'],
  summary: 'set what is done about the caller',
  options: { for: { type: 'string', value: '2h', summary: 'length of the action, at most 24h' }, reason, json },
  run: (invocation) =>
    withFindings(invocation, async (findings) => {
      const [id = '', word] = invocation.names;
      const action = actions.find((each) => each === word);
      if (action === undefined) throw new UsageError(expectation(`one of ${actions.join(', ')}`, show(word)));
      const length = durationOf(invocation, 'for');
      print(invocation, await findings.act(id, action as Action, length === undefined ? null : systemClock.now() + length, textOf(invocation, 'reason') ?? ''));
    }),
};

function print({ values, output }: Invocation, finding: Finding): void {
  const shown = findingJson(finding);
  if (values['json']) return output.out(`${JSON.stringify(shown, null, 2)}\n`);
  for (const [name, value] of Object.entries(shown)) output.out(`${name.padEnd(12)} ${typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '-')}\n`);
}

/** The commands about findings of the watch. */
export const findingCommands: readonly Command[] = [
  list, show1,
  change('acknowledge', 'mark a finding as seen and right', (findings, id, why) => findings.acknowledge(id, why)),
  change('undo', 'end the action; the pattern rests for 30 days', (findings, id, why) => findings.undo(id, why)),
  change('false-positive', 'end the action, and act later on this caller', (findings, id, why) => findings.falsePositive(id, why)),
  act,
];
