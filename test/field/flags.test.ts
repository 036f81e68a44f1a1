import '../support/node.ts';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { settingsOf } from '../../lib/cli/start.ts';
import { request } from '../support/client.ts';
import { startGateProcess } from '../support/processes.ts';
import { bare } from '../support/programs.ts';
import { scratch } from '../support/scratch.ts';

const commands = [
  'start', 'check', 'keys create NAME', 'keys list', 'keys rotate NAME', 'keys disable NAME', 'keys enable NAME', 'keys expire NAME never', 'keys revoke NAME',
  'ban 203.0.113.7', 'unban 203.0.113.7', 'bans', 'logs', 'verify', 'forget', 'backup FILE', 'restore FILE', 'help', 'version',
].map((text) => text.split(' '));

/** What is no option of any command, or not of this one, and the name that the error has to say. */
const wrong: readonly (readonly [args: readonly string[], named: RegExp])[] = [
  [['--bogus'], /'?--bogus'?/], [['--bogus=1'], /--bogus/], [['-z'], /-z/], [['--confg', 'x.yaml'], /--confg/], [['--config'], /--config/], [['-c'], /-c/],
  [['--help=yes'], /--help/], [['-c', 'a.yaml', '-c', 'b.yaml'], /--config' is given twice/],
];

async function run(args: readonly string[]): Promise<{ code: number | null; text: string }> {
  let text = '';
  const code = await main(args, { out: (more) => void (text += more), err: (more) => void (text += more) });
  return { code, text };
}

test('every command refuses what is no option of it, by name and with exit code 2', async () => {
  for (const command of commands) {
    for (const [args, named] of wrong) {
      for (const line of [[...command, ...args], [...args, ...command]]) {
        // In front of a command the next word is the value.
        if (['--config', '-c'].includes(args.at(-1) ?? '') && line[0] === args[0]) continue;
        const { code, text } = await run(line);
        assert.equal(code, 2, `${line.join(' ')}: ${text}`);
        assert.match(text, named, line.join(' '));
      }
    }
    const { code, text } = await run([...command, '--demo-of-nothing', '--port', '1']);
    assert.deepEqual([code, /--demo-of-nothing/.test(text)], [2, true], text);
    if (command[0] !== 'start') assert.match((await run([...command, '--port', '1'])).text, /--port is not an option of this command/);
  }
});

test('a start takes a port and an address, and refuses what is none by the name of the option', async () => {
  const good: readonly (readonly [Record<string, string>, object])[] = [
    [{}, {}], [{ port: '0' }, { port: 0 }], [{ port: '65535' }, { port: 65_535 }], [{ host: '::1' }, { host: '::1' }], [{ port: '8080', host: '127.0.0.1' }, { port: 8080, host: '127.0.0.1' }],
  ];
  for (const [values, server] of good) assert.deepEqual(settingsOf({ values, names: [], output: { out: () => undefined, err: () => undefined, progress: () => undefined } }).code, { server });
  for (const port of ['65536', '-1', '1.5', 'http', '', '80a', '0x50', ' 80']) {
    const { code, text } = await run(['start', `--port=${port}`]);
    assert.equal(code, 2, text);
    assert.match(text, /--port: expected a whole number from 0 to 65535, got ".*"\. Example: 8000/);
  }
  assert.match((await run(['start', 'heimdall.yaml'])).text, /heimdall start: expected no argument, got heimdall\.yaml/);
});

test('the standalone has the options of heimdall start, and its options take precedence over the environment', async (t) => {
  const cwd = scratch();
  writeFileSync(join(cwd, 'other.yaml'), 'server: {port: 1}\nendpoints: {health: /well}\n', { mode: 0o600 });
  const standalone = join(import.meta.dirname, '../../examples/standalone/server.ts');
  const refused = spawnSync(process.execPath, [standalone, '--bogus'], { cwd, env: bare, encoding: 'utf8' });
  assert.deepEqual([refused.status, /--bogus/.test(refused.stderr)], [2, true]);
  const { url } = await startGateProcess(t, cwd, { HEIMDALL_PORT: '2', HEIMDALL_CONFIG: 'missing.yaml' }, [standalone, '-c', 'other.yaml', '--port', '0']);
  assert.equal((await request(`${url}/well`)).status, 200);
});
