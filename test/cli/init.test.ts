import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { loadConfig } from '../../lib/config/config.ts';
import { temporary } from '../support/gate.ts';

async function run(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await main(args, { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  return { code, ...said };
}

function enter(t: TestContext): string {
  const before = process.cwd();
  const at = temporary(t);
  process.chdir(at);
  t.after(() => process.chdir(before));
  return at;
}

test('init writes a file that loads and fresh tokens, and overwrites only when told to', async (t) => {
  const at = enter(t);
  const first = await run('init', '--newapi', 'http://newapi:3000');
  assert.equal(first.code, 0, first.err);
  const env = readFileSync(join(at, '.env'), 'utf8');
  const tokens = /ADMIN_TOKEN=(\S{32,})\nHEIMDALL_METRICS_TOKEN=(\S{32,})\n/.exec(env);
  assert.ok(tokens !== null && tokens[1] !== tokens[2]);
  assert.equal(statSync(join(at, '.env')).mode & 0o777, 0o600);
  const config = loadConfig();
  assert.deepEqual([config.newapi.baseUrl, config.admin.token, config.metrics.token, config.audit.path], ['http://newapi:3000', tokens[1], tokens[2], 'data/heimdall.db']);
  const again = await run('init');
  assert.equal(again.code, 1);
  assert.match(again.err, /heimdall\.yaml, \.env: expected no such file/);
  assert.equal(readFileSync(join(at, '.env'), 'utf8'), env);
  assert.deepEqual(JSON.parse((await run('init', '--force', '--json')).out), { files: ['heimdall.yaml', '.env'] });
  assert.notEqual(readFileSync(join(at, '.env'), 'utf8'), env);
  assert.equal(loadConfig().newapi.baseUrl, 'http://localhost:3000');
  const wrong = await run('init', '--force', '--newapi', 'newapi');
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /newapi\.base_url: expected/);
});

test('check --production prints nine lines, and fails where one does', async (t) => {
  const at = enter(t);
  const path = join(at, 'x.yaml');
  const rows: readonly [yaml: string, code: number, states: readonly string[]][] = [
    ['server: { host: 127.0.0.1 }\n', 0, ['not applicable', 'pass', 'pass', 'pass', 'pass', 'pass', 'not applicable', 'not applicable', 'pass']],
    ['mode: observe\nqueue: { enabled: false }\ncors: { allow_origins: ["*"] }\nmetrics: { token: short-token }\nlogging: { level: error }\nendpoints: { health: false }\ncircuit_breaker: { failure_threshold: 500 }\n', 1, Array<string>(9).fill('fail')],
  ];
  for (const [yaml, code, states] of rows) {
    writeFileSync(path, yaml, { mode: 0o600 });
    const answer = await run('check', '--production', path);
    assert.equal(answer.code, code, answer.err);
    const lines = answer.out.trimEnd().split('\n');
    assert.deepEqual(lines.map((line) => /^(pass|fail|not applicable) /.exec(line)?.[1]), states, answer.out);
    const { checks } = JSON.parse((await run('check', '--production', '--json', path)).out) as { checks: { state: string }[] };
    assert.deepEqual(checks.map(({ state }) => state), states);
  }
  writeFileSync(path, 'queue: { max_wait: soon }\n');
  assert.equal((await run('check', '--production', path)).code, 1);
});
