import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import type { RecordRow } from '../../lib/record/columns.ts';
import { journalOf } from '../support/rows.ts';
import { temporary } from '../support/gate.ts';

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const records: readonly Partial<RecordRow>[] = [
  { key_id: 'team-a', model: 'gpt-5', prompt_tokens: 5, completion_tokens: 7, tokens_reserved: 20, tokens_settled: 12, tokens_released: 8 },
  { key_id: 'team-b', model: '=cmd|calc', user_agent: '\u001b[31mred', response_status: 429, outcome: 'refused:rate_limit_requests' },
  { key_id: 'team-b', real_ip: '198.51.100.9', response_status: 499, outcome: 'aborted', request_body: 'what was said' },
];

function journal(t: TestContext, rows = records): { readonly logs: (...args: string[]) => Promise<Ran>; readonly directory: string } {
  const directory = temporary(t);
  const path = join(directory, 'heimdall.db');
  journalOf(path, rows).close();
  const logs = async (...args: string[]): Promise<Ran> => {
    const said = { out: '', err: '' };
    const code = await main(['logs', '--path', path, ...args], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
    return { code, ...said };
  };
  return { logs, directory };
}

describe('heimdall logs', () => {
  it('lists the newest first, as a table, JSON, JSON Lines or CSV', async (t) => {
    const { logs } = journal(t);
    const table = await logs();
    assert.equal(table.code, 0, table.err);
    const [head = '', ...lines] = table.out.trimEnd().split('\n');
    assert.match(head, /^TIME +STATUS +MS +ADDRESS +KEY /);
    assert.deepEqual(lines.map((line) => /team-\w/.exec(line)?.[0]), ['team-b', 'team-b', 'team-a']);
    const { out: json } = await logs('--format', 'json', '--key', 'team-a');
    assert.deepEqual((JSON.parse(json) as { model: string; stream: boolean }[]).map(({ model, stream }) => [model, stream]), [['gpt-5', false]]);
    const { out: lined } = await logs('--format', 'jsonl', '--oldest', '--limit', '2');
    assert.deepEqual(lined.trimEnd().split('\n').map((line) => (JSON.parse(line) as { id: number }).id), [1, 2]);
    const { out: csv } = await logs('--format', 'csv', '--status', '429');
    assert.match(csv, /^timestamp,response_status,[^\r]*\r\n2026-11-22T12:01:00Z,429,[^\r]*,'=cmd\|calc,[^\r]*\r\n$/);
  });

  it('shows what was said in exports alone, and nothing a terminal would obey', async (t) => {
    const { logs, directory } = journal(t);
    await logs('--export', join(directory, 'all.csv'));
    await logs('--export', join(directory, 'all.jsonl'));
    const all = [(await logs()).out, (await logs('--format', 'jsonl')).out, readFileSync(join(directory, 'all.csv'), 'utf8'), readFileSync(join(directory, 'all.jsonl'), 'utf8')];
    for (const [at, text] of all.entries()) assert.deepEqual([text.includes('what was said'), text.includes('\u001b')], [at > 1, false], text);
    assert.equal(statSync(join(directory, 'all.csv')).mode & 0o777, 0o600);
  });

  it('refuses an option that has no effect beside the others', async (t) => {
    const { logs } = journal(t);
    const rows: readonly (readonly [args: readonly string[], said: RegExp | null])[] = [
      [['--sort', 'cost'], /--sort: expected --by beside it, got none\. Example: heimdall logs --by key --sort cost/], [['--least', '2'], /--least: expected --by/], [['--export', 'x.csv', '--limit', '5'], /--limit: expected no --export beside it, got both/],
      [['--export', 'x.csv', '--oldest'], /--oldest: expected no --export/], [['--export', 'x.csv', '--follow'], /--follow/], [['--export', 'x.csv', '--sort', 'cost'], /--sort: expected no --export/], [['--reconcile', '--limit', '5'], /--limit: expected no --reconcile/],
      [['--reconcile', '--format', 'csv'], /--format/], [['--reconcile', '--by', 'key'], /--by: expected no --reconcile/], [['--by', 'key', '--export', 'x.csv'], /--export: expected no --by/], [['--by', 'key', '--cursor', '7'], /--cursor/], [['--by', 'key', '--oldest'], /--oldest/],
      [['--by', 'key', '--follow'], /--follow/], [['--by', 'key', '--grep', 'x'], /--grep: expected no --by/], [['--by', 'key', '--sort', 'cost', '--least', '1', '--limit', '5', '--key', 'a'], null], [['--grep', 'x', '--oldest', '--limit', '2', '--json'], null], [['--reconcile', '--json', '--from', '30d'], null],
    ];
    for (const [args, said] of rows) {
      const { code, err } = await logs(...args);
      assert.deepEqual([code, said?.test(err) ?? err === ''], [said === null ? 0 : 2, true], `${args.join(' ')}: ${err}`);
    }
  });

  it('exports everything that fits, and says how much', async (t) => {
    const { logs, directory } = journal(t, Array.from({ length: 2500 }, (_, at) => ({ key_id: at % 2 === 0 ? 'even' : 'odd' })));
    const { code, err } = await logs('--export', join(directory, 'even.csv'), '--key', 'even');
    assert.deepEqual([code, err], [0, `1250 records in ${join(directory, 'even.csv')}\n`]);
    const lines = readFileSync(join(directory, 'even.csv'), 'utf8').trimEnd().split('\r\n');
    assert.equal(lines.length, 1251);
    assert.deepEqual(new Set(lines.slice(1).map((line) => line.includes(',even,'))), new Set([true]));
    assert.equal((await logs('--export', join(directory, 'x'), '--format', 'table')).code, 2);
    assert.equal((await logs('--export', join(directory, 'even.csv'), '--status', 'many')).code, 2);
    assert.equal(readFileSync(join(directory, 'even.csv'), 'utf8').trimEnd().split('\r\n').length, 1251);
  });

  it('puts records together', async (t) => {
    const { logs } = journal(t);
    const { out } = await logs('--by', 'key', '--format', 'json');
    assert.deepEqual((JSON.parse(out) as { value: string; requests: number; addresses: number }[]).map(({ value, requests, addresses }) => [value, requests, addresses]), [['team-b', 2, 2], ['team-a', 1, 1]]);
    assert.match((await logs('--by', 'address', '--sort', 'keys', '--least', '2')).out, /^ADDRESS +REQUESTS +KEYS .*\n192\.0\.2\.1 +2 +2 /);
    assert.equal((await logs('--by', 'colour')).code, 2);
  });

  it('leaves out the requests of the gate itself, by the paths of its configuration', async (t) => {
    const { logs, directory } = journal(t, [{ route: '/v1/models' }, { route: '/ops/api/keys' }, { route: '/ops-elsewhere' }, { route: '/metrics' }, { route: '/health' }, { route: null }]);
    writeFileSync(join(directory, 'heimdall.yaml'), 'admin: { path: /ops }\n');
    const without = (...args: string[]): Promise<Ran> => logs('--config', join(directory, 'heimdall.yaml'), '--without-own', ...args);
    assert.deepEqual((JSON.parse((await without('--json')).out) as { id: number }[]).map(({ id }) => id), [6, 3, 1]);
    assert.deepEqual((JSON.parse((await without('--by', 'source', '--json')).out) as object[]).map((row) => 'requests' in row && row.requests), [3]);
    assert.equal((await without('--export', join(directory, 'some.jsonl'))).err, `3 records in ${join(directory, 'some.jsonl')}\n`);
    assert.match((await without('--reconcile')).err, /--without-own: expected no --reconcile/);
  });

  it('finds what the overview counts as errors', async (t) => {
    const { logs } = journal(t, [{ outcome: 'upstream_error', response_status: 503 }, { outcome: 'served', response_status: 500 }, { outcome: 'interrupted', response_status: 0 }, { outcome: 'served', response_status: 404 }, { outcome: 'refused:queue_full', response_status: 503 }, { outcome: 'aborted', response_status: 499 }]);
    assert.deepEqual((JSON.parse((await logs('--outcome', 'failed', '--json')).out) as { id: number }[]).map(({ id }) => id), [3, 2, 1]);
  });

  it('reconciles, and says when it cannot', async (t) => {
    const { logs } = journal(t);
    const whole = await logs('--reconcile');
    assert.equal(whole.code, 0, whole.out);
    assert.match(whole.out, /in +3\nserved +1\nrefused +1\nerrors +0\naborted +1\ninterrupted +0\nended +3\n[^]*reserved +20\nsettled +12\nreleased +8\nBalanced\.\n$/);
    const broken = journal(t, [{ outcome: 'lost' }, { tokens_reserved: 9, tokens_settled: 3, tokens_released: 5 }]);
    const { code, out } = await broken.logs('--reconcile');
    assert.equal(code, 1);
    assert.match(out, /NOT balanced\.\n$/);
  });

  it('says what a filter asks for, and which journal is missing', async (t) => {
    const { logs } = journal(t);
    const { code, err } = await logs('--address', 'home');
    assert.equal(code, 2);
    assert.match(err, /^--address: expected client address, got "home"\. Example: 203\.0\.113\.7/);
    for (const words of [['--limit', '1.5'], ['--by', 'key', '--limit', 'many'], ['--cursor', '1.5']]) {
      const wrong = await logs(...words);
      assert.deepEqual([wrong.code, /^--(?:limit|cursor): expected a whole number/.test(wrong.err)], [2, true], wrong.err);
    }
    const missing = await main(['logs', '--path', '/nowhere/heimdall.db'], { out: () => undefined, err: () => undefined });
    assert.equal(missing, 1);
  });
});
