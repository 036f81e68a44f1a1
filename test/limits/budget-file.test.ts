import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { BudgetFile } from '../../lib/limits/budget-file.ts';
import type { Core } from '../../lib/request/request.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder, temporary } from '../support/gate.ts';

it('what is spent when the file has closed is written at once, and no timer is left', (t) => {
  const clock = fakeClock();
  const path = join(temporary(t), 'limits.json');
  const open = (): BudgetFile => new BudgetFile({ clock, log: recorder() } as unknown as Core, path);
  const until = clock.now() + 86_400_000;
  const file = open();
  const spend = (spent: number): void => {
    file.budgets.set('a', { spent, until } as never);
    file.touch();
  };
  spend(5);
  file.close();
  spend(7);
  assert.equal(open().budgets.get('a')?.spent, 7);
  assert.equal(clock.pending, 0);
});
