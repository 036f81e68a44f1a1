import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { loadConfig, warningsOf } from '../../lib/config/load.ts';
import { temporary } from '../support/gate.ts';

function warnings(t: TestContext, yaml: string): readonly string[] {
  const path = join(temporary(t), 'heimdall.yaml');
  writeFileSync(path, yaml, { mode: 0o600 });
  return warningsOf(loadConfig(path, {}));
}

const limited = 'rate_limit: { key: { concurrency: 3 } }';
const without = 'middleware: [rate_limit, auth, queue, logging]';

it('limits that no part checks are warned about', (t) => {
  const said = ['middleware: key_limit is left out, so the limits of keys and policies have no effect'];
  assert.deepEqual(warnings(t, `${without}\n${limited}`), said);
  assert.deepEqual(warnings(t, `${without}\nrate_limit: { policies: [{ match: { model: a }, concurrency: 1 }] }`), said);
  assert.deepEqual(warnings(t, without), []);
  assert.deepEqual(warnings(t, limited), []);
  assert.deepEqual(warnings(t, `middleware: [rate_limit, auth, key_limit, queue, logging]\n${limited}`), []);
});

it('a policy that does nothing is warned about', (t) => {
  const policies = 'rate_limit: { policies: [{ match: { model: a }, cidrs: [10.0.0.0/8] }, { match: { model: b } }, { match: { model: c }, budget: {} }] }';
  assert.deepEqual(warnings(t, policies), [1, 2].map((at) => `rate_limit.policies[${at}]: has neither a limit nor cidrs, so it has no effect`));
});
