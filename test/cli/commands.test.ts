import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { closing } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import type { Ran } from '../support/processes.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';

/** Runs a command in this process, with a configuration whose files lie in `directory`. */
async function heimdall(directory: string, args: readonly string[], yaml = ''): Promise<Ran> {
  const config = join(directory, 'heimdall.yaml');
  writeFileSync(config, `${yaml}\naudit: {path: ${join(directory, 'data/heimdall.db')}}\n`, { mode: 0o600 });
  const said = { out: '', err: '' };
  const code = await main([...args, '--config', config], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
  return { code: code ?? 0, stdout: said.out, stderr: said.err };
}

describe('heimdall keys', () => {
  it('prints a new key once and alone, and lists everything but the key', async (t) => {
    const cwd = temporary(t);
    writeFileSync(join(cwd, 'token'), 'sk-the-token-at-newapi\n', { mode: 0o600 });
    const limits = ['--expires', '30d', '--models', 'gpt-4o, o3', '--cidrs', '10.0.0.0/8', '--requests', '60/1m', '--tokens', '1000/1h', '--concurrency', '4', '--budget-day', '1.5', '--budget-month', '20'];
    const made = await heimdall(cwd, ['keys', 'create', 'team-a', ...limits, '--upstream-credential-file', join(cwd, 'token')]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^sk-[\w-]{43}\n$/);
    assert.ok(!made.stderr.includes(made.stdout.trim()));
    assert.match(made.stderr, /heimdall\.state\.db.*within two seconds/);
    assert.match(made.stderr, /auth\.mode is passthrough/);
    assert.equal(statSync(join(cwd, 'data/heimdall.state.db')).mode & 0o777, 0o600);
    const table = await heimdall(cwd, ['keys', 'list']);
    assert.match(table.stdout, /^NAME {4}STATE {2}EXPIRES +MODELS +ADDRESSES +LIMITS +DIGEST +SOURCE\nteam-a {2}good {3}\d{4}-\d\d-\d\d \d\d:\d\dZ {2}gpt-4o,o3 {2}10\.0\.0\.0\/8 {2}60 requests\/1m, 1000 tokens\/1h, 4 at a time, \$1\.5\/day, \$20\/month {2}[0-9a-f]{12} {2}registry\n$/);
    const { stdout } = await heimdall(cwd, ['keys', 'list', '--json']);
    const [key, ...more] = JSON.parse(stdout) as Record<string, unknown>[];
    assert.deepEqual(more, []);
    const { created, expires, digest, ...rest } = key ?? {};
    assert.equal(Math.round((Date.parse(String(expires)) - Date.parse(String(created))) / 86_400_000), 30);
    assert.match(String(digest), /^[0-9a-f]{12}$/);
    assert.deepEqual(rest, {
      name: 'team-a', source: 'registry', disabled: false, models: ['gpt-4o', 'o3'], cidrs: ['10.0.0.0/8'], has_upstream_credential: true, previous_until: null,
      requests: { limit: 60, window: '1m' }, tokens: { limit: 1000, window: '1h' }, concurrency: 4, budget: { day: 1.5, month: 20 },
    });
    assert.ok(!`${stdout}${table.stdout}${readFileSync(join(cwd, 'data/heimdall.state.db'), 'latin1')}`.includes('token-at-newapi'));
  });

  it('rotates, disables, enables, ends and revokes', async (t) => {
    const cwd = temporary(t);
    const old = (await heimdall(cwd, ['keys', 'create', 'team', '--json'])).stdout;
    assert.match((JSON.parse(old) as { key: string }).key, /^sk-/);
    const rotated = await heimdall(cwd, ['keys', 'rotate', 'team', '--overlap', '2h']);
    assert.match(rotated.stdout, /^sk-[\w-]{43}\n$/);
    const [, until = ''] = /stays valid until (\S+ \S+)\.\n/.exec(rotated.stderr) ?? [];
    assert.ok(Math.abs(Date.parse(until) - Date.now() - 7_200_000) < 600_000, rotated.stderr);
    assert.doesNotMatch((await heimdall(cwd, ['keys', 'rotate', 'team', '--overlap', '0'])).stderr, /stays valid/);
    await heimdall(cwd, ['keys', 'rotate', 'team']);
    const states: [string[], RegExp][] = [
      [['keys', 'disable', 'team'], /team {2}disabled/],
      [['keys', 'enable', 'team'], /team {2}good, old one until/],
      [['keys', 'expire', 'team', '2099-01-31'], /2099-01-31 00:00Z/],
      [['keys', 'expire', 'team', 'never'], / never /],
    ];
    for (const [args, state] of states) {
      const { code, stderr } = await heimdall(cwd, args);
      assert.equal(code, 0, stderr);
      assert.match((await heimdall(cwd, ['keys', 'list'])).stdout, state, args.join(' '));
    }
    assert.equal((await heimdall(cwd, ['keys', 'revoke', 'team'])).code, 0);
    const none = await heimdall(cwd, ['keys', 'list']);
    assert.deepEqual([none.stdout, none.code], ['', 0]);
    assert.match(none.stderr, /There are no keys/);
  });

  it('makes a honey key, which is listed as one', async (t) => {
    const cwd = temporary(t);
    assert.match((await heimdall(cwd, ['keys', 'create', 'trap', '--honey'])).stderr, /is created in .*, and watched on every instance/);
    assert.match((await heimdall(cwd, ['keys', 'list'])).stdout, /^trap +honey /m);
  });

  it('shows keys of the configuration, which it leaves alone', async (t) => {
    const cwd = temporary(t);
    const yaml = `auth: {mode: keys, keys: [{name: of-config, sha256: ${'a'.repeat(64)}}]}`;
    assert.match((await heimdall(cwd, ['keys', 'list'], yaml)).stdout, /of-config +good +never +all +all +none +a{12} +config/);
    const { code, stderr } = await heimdall(cwd, ['keys', 'revoke', 'of-config'], yaml);
    assert.equal(code, 1);
    assert.match(stderr, /changed in the configuration/);
  });

  it('says what is wrong and how it is used', async (t) => {
    const cwd = temporary(t);
    const wrong: [args: string[], code: number, message: RegExp][] = [
      [['keys'], 2, /expected a command, got "keys".*keys create NAME/s],
      [['keys', 'mint', 'x'], 2, /got "keys mint"/],
      [['keys', 'creat', 'x'], 2, /Did you mean keys create\?/],
      [['keys', 'create'], 2, /expected NAME, got nothing.*--expires/s],
      [['keys', 'create', 'a', 'b'], 2, /expected NAME, got a b/],
      [['keys', 'create', 'a', '--overlap', '1h'], 2, /--overlap is not an option of this command/],
      [['keys', 'create', 'a', '--forever'], 2, /Unknown option '--forever'\. `heimdall help/],
      [['keys', 'create', 'a', '--modls', 'm'], 2, /Unknown option '--modls'\. Did you mean --models\? `heimdall help keys create` lists the options\./],
      [['keys', 'create', 'a', '--expires', 'soon'], 2, /--expires: expected a date.* got "soon"\. Example: 30d/],
      [['keys', 'create', 'a', '--expires', '2001-01-01'], 1, /^expires: expected a moment to come/],
      [['keys', 'create', 'a', '--requests', '60'], 2, /--requests: expected a count and a duration/],
      [['keys', 'create', 'a', '--budget-day', '$5'], 2, /--budget-day: expected a number/],
      [['keys', 'create', 'a', '--upstream-credential-file', 'nowhere'], 2, /--upstream-credential-file: expected a readable file.*no such file/],
      [['keys', 'create', 'a b'], 1, /^name: expected a name/],
      [['findings', 'list', '--state', 'opne'], 2, /^--state: expected one of open, acknowledged, .*, got "opne"/],
      [['findings', 'list', '--rule', 'shared-key'], 2, /^--rule: expected one of shared_key, .*, got "shared-key"/],
      [['keys', 'rotate', 'nobody'], 1, /There is no key named "nobody"/],
    ];
    const ran = await Promise.all(wrong.map(([args]) => heimdall(cwd, args)));
    for (const [at, [args, code, message]] of wrong.entries()) {
      const result = ran[at] as Ran;
      assert.deepEqual([result.code, result.stdout], [code, ''], `${args.join(' ')}: ${result.stderr}`);
      assert.match(result.stderr, message, args.join(' '));
    }
  });

  it('made at the same moment are all kept', async (t) => {
    const cwd = temporary(t);
    const made = await Promise.all(['a', 'b', 'c', 'd', 'd'].map((name) => heimdall(cwd, ['keys', 'create', name])));
    assert.deepEqual(made.map(({ code }) => code).sort(), [0, 0, 0, 0, 1]);
    assert.equal((JSON.parse((await heimdall(cwd, ['keys', 'list', '--json'])).stdout) as unknown[]).length, 4);
  });
});

describe('heimdall ban', () => {
  it('bans, lists and takes back', async (t) => {
    const cwd = temporary(t);
    const made = await heimdall(cwd, ['ban', '203.0.113.9/24', '--for', '2h', '--reason', '扫描 scans']);
    assert.equal(made.code, 0);
    assert.match(made.stderr, /The address 203\.0\.113\.0\/24 is banned until .*heimdall unban [0-9a-f]{8}/);
    await heimdall(cwd, ['ban', '0123456789abcdef']);
    const table = (await heimdall(cwd, ['bans'])).stdout.split('\n');
    assert.match(table[0] ?? '', /^ID {8}KIND {5}VALUE {13}SINCE/);
    assert.match(table[1] ?? '', /^[0-9a-f]{8} {2}address {2}203\.0\.113\.0\/24 .*扫描 scans$/);
    assert.match(table[2] ?? '', /token {4}0123456789abcdef .*no end$/);
    const [ban] = JSON.parse((await heimdall(cwd, ['bans', '--json'])).stdout) as { id: string; expires: string; reason: string }[];
    assert.ok(Math.abs(Date.parse(ban?.expires ?? '') - Date.now() - 7_200_000) < 60_000);
    assert.equal((await heimdall(cwd, ['unban', ban?.id ?? ''])).code, 0);
    const again = await heimdall(cwd, ['unban', '203.0.113.0/24']);
    assert.deepEqual([again.code, again.stderr], [1, 'There is no ban of "203.0.113.0/24". To list all bans: heimdall bans\n']);
    assert.equal((await heimdall(cwd, ['unban', '0123456789abcdef'])).code, 0);
    assert.equal((await heimdall(cwd, ['bans'])).stderr, 'There are no bans.\n');
  });

  it('asks twice before it bans everybody, this machine or nobody', async (t) => {
    const cwd = temporary(t);
    for (const value of ['0.0.0.0/0', '::/0', '127.0.0.1', 'team-nobody-made']) {
      const { code, stderr } = await heimdall(cwd, ['ban', value]);
      assert.equal(code, 1, value);
      assert.match(stderr, /^value: expected /, value);
    }
    assert.equal((await heimdall(cwd, ['ban', '0.0.0.0/0', '--force'])).code, 0);
    assert.equal((await heimdall(cwd, ['ban', 'a-jwt-subject', '--kind', 'key'])).code, 0);
    assert.match((await heimdall(cwd, ['ban', 'x', '--kind', 'user'])).stderr, /--kind: expected address, key or token, got "user"/);
  });
});

describe('the store of a command', () => {
  it('that cannot be used is named, with the reason', async (t) => {
    const cwd = temporary(t);
    mkdirSync(join(cwd, 'data'));
    writeFileSync(join(cwd, 'data/heimdall.state.db'), 'no database at all');
    const { code, stdout, stderr } = await heimdall(cwd, ['keys', 'create', 'team']);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^The keys and bans in .*data\/heimdall\.state\.db cannot be read: file is not a database$/m);
  });

  it('may be a Redis, and a Redis that is away is said to be', { skip: withoutRedis }, async (t) => {
    const cwd = temporary(t);
    const redis = closing(t, await startRedis());
    const yaml = `secret: a secret of more than sixteen characters\nrate_limit: {redis_url: '${redis.url}'}`;
    assert.match((await heimdall(cwd, ['keys', 'create', 'team'], yaml)).stdout, /^sk-/);
    assert.match((await heimdall(cwd, ['keys', 'list'], yaml)).stdout, /^team /m);
    await redis.kill();
    const { code, stderr } = await heimdall(cwd, ['keys', 'list'], yaml);
    assert.equal(code, 1);
    assert.match(stderr, /The keys and bans in the Redis of rate_limit\.redis_url cannot be read: /);
  });
});

describe('the usage', () => {
  it('names every command, and for each its options', async (t) => {
    const cwd = temporary(t);
    const { stdout } = await heimdall(cwd, []);
    for (const command of ['start', 'check', 'keys create NAME', 'keys rotate NAME', 'ban ADDRESS', 'unban', 'bans', 'help', 'version']) assert.ok(stdout.includes(`\n  ${command}`), command);
    const asked = await Promise.all([['help', 'keys', 'create'], ['keys', 'create', '--help'], ['-h', 'keys', 'create']].map((args) => heimdall(cwd, args)));
    for (const { code, stdout: help } of asked) {
      assert.equal(code, 0);
      assert.match(help, /^Usage: heimdall keys create NAME \[options\]\n.*--upstream-credential-file FILE/s);
    }
  });

  it('of a check says whether anybody could get in', async (t) => {
    const cwd = temporary(t);
    const yaml = 'auth: {mode: keys}';
    assert.match((await heimdall(cwd, ['check'], yaml)).stderr, /warning: auth\.keys: there are none yet.*\n.*with 1 warning\./);
    await heimdall(cwd, ['keys', 'create', 'team'], yaml);
    assert.equal((await heimdall(cwd, ['check'], yaml)).stderr, 'The configuration is valid.\n');
  });
});
