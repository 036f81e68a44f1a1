import type { Action as Measure } from '../../types/detector.d.ts';
import type { Finding } from '../../types/finding.d.ts';
import { findingActions, findingJson, findingStates } from '../admin/admin.ts';
import { type Findings, ruleNames } from '../anomaly/anomaly.ts';
import { systemClock } from '../platform/platform.ts';
import { expectation } from '../errors.ts';
import { show } from '../values/values.ts';
import { json, printJson, textOf, UsageError, type Action, type Invocation, type Option } from './command.ts';
import { moment, table } from './table.ts';
import { durationOf, oneOf } from './values.ts';
import { withFindings } from './with-findings.ts';

const reason: Option = { type: 'string', value: 'TEXT', summary: 'why, shown to operators only' };

/** `heimdall findings list`. */
export const list: Action = {
  options: { state: { type: 'string', value: findingStates.join('|'), summary: 'only findings in this state' }, rule: { type: 'string', value: 'RULE', summary: 'only findings of this rule' }, json },
  run: (invocation) =>
    withFindings(invocation, async (findings) => {
      const [state, rule] = [oneOf(invocation, 'state', findingStates), oneOf(invocation, 'rule', ruleNames)];
      const all = findings.list().filter((finding) => (state === undefined || finding.state === state) && (rule === undefined || finding.rule === rule));
      if (invocation.values['json']) return printJson(invocation, all.map(findingJson));
      if (all.length === 0) return invocation.output.err('There are no findings.\n');
      invocation.output.out(table(['ID', 'RULE', 'CALLER', 'SCORE', 'STATE', 'ACTION', 'UNTIL', 'LAST'], all.map(row)));
    }),
};

const row = ({ id, rule, caller, score, state, action, would, expires, last }: Finding): string[] => [
  id, rule, `${caller.kind} ${caller.id}`, String(score), state, would === null ? action : `${action} (would ${would})`, moment(expires, ''), moment(last, ''),
];

/** `heimdall findings show`. */
export const showOne: Action = {
  options: { json },
  run: (invocation) => withFindings(invocation, async (findings) => print(invocation, findings.get(invocation.names[0] ?? ''))),
};

const change = (edit: (findings: Findings, id: string, why: string) => Promise<Finding>): Action => ({
  options: { reason, json },
  run: (invocation) => withFindings(invocation, async (findings) => print(invocation, await edit(findings, invocation.names[0] ?? '', textOf(invocation, 'reason') ?? ''))),
});

/** `heimdall findings acknowledge`. */
export const acknowledge = change((findings, id, why) => findings.acknowledge(id, why));

/** `heimdall findings undo`. */
export const undo = change((findings, id, why) => findings.undo(id, why));

/** `heimdall findings false-positive`. */
export const falsePositive = change((findings, id, why) => findings.falsePositive(id, why));

/** `heimdall findings act`. */
export const act: Action = {
  options: { for: { type: 'string', value: '2h', summary: 'length of the action, at most 24h' }, reason, json },
  run: (invocation) =>
    withFindings(invocation, async (findings) => {
      const [id = '', word] = invocation.names;
      const action = findingActions.find((each) => each === word);
      if (action === undefined) throw new UsageError(expectation(`one of ${findingActions.join(', ')}`, show(word)));
      const length = durationOf(invocation, 'for');
      print(invocation, await findings.act(id, action as Measure, length === undefined ? null : systemClock.now() + length, textOf(invocation, 'reason') ?? ''));
    }),
};

function print(invocation: Invocation, finding: Finding): void {
  const { values, output } = invocation;
  const shown = findingJson(finding);
  if (values['json']) return printJson(invocation, shown);
  for (const [name, value] of Object.entries(shown)) output.out(`${name.padEnd(12)} ${typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '-')}\n`);
}
