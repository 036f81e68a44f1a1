import { readFileSync } from 'node:fs';
import { freezeLeaked } from '../anomaly/anomaly.ts';
import { show, whyUnreadable } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { json, printJson, UsageError, type Action } from './command.ts';
import { withFindings } from './with-findings.ts';

/** `heimdall leaked FILE`: compares a report of leaked keys with those of this gateway, and freezes what it finds. */
export const leaked: Action = {
  options: { json },
  run: (invocation) => {
    const lines = linesOf(invocation.names[0] ?? '');
    return withFindings(invocation, async (findings, { registry, config }) => {
      const answer = await freezeLeaked(lines, registry, findings);
      if (invocation.values['json']) return printJson(invocation, answer);
      for (const { kind, id } of answer.keys) invocation.output.out(`${kind} ${id}\n`);
      invocation.output.err(`${answer.read} keys read, ${answer.keys.length} known here.${effectOf(answer.keys.length, config.mode === 'observe')}\n`);
    });
  },
};

function effectOf(count: number, observes: boolean): string {
  if (count === 0) return '';
  return observes ? ' With mode: observe nothing is frozen.' : ' They are frozen on every instance within two seconds; `heimdall findings list --rule leaked_key` lists them, `heimdall keys rotate NAME` or `heimdall findings undo ID` ends it.';
}

/** SECURITY: the file's content is not quoted. */
function linesOf(path: string): readonly string[] {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8').replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  } catch (error) {
    throw new UsageError(`FILE: ${expectation('a readable file, or - for standard input', `${show(path)} (${whyUnreadable(error)})`)}`);
  }
}
