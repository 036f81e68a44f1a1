import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { request } from './support/client.ts';
import { freePort } from './support/ports.ts';
import { startProgram } from './support/program.ts';
import { bare } from './support/programs.ts';
import { scratch } from './support/scratch.ts';
import manifest from '../package.json' with { type: 'json' };

const cli = join(import.meta.dirname, '../lib/cli.ts');

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function heimdall(args: readonly string[], env: Record<string, string> = {}, yaml?: string): Promise<Ran> {
  const cwd = scratch();
  if (yaml !== undefined) writeFileSync(join(cwd, 'heimdall.yaml'), yaml, { mode: 0o600 });
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { cwd, env: { ...bare, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

describe('heimdall check', () => {
  it('prints what is in force with secrets masked', async () => {
    const { code, stdout, stderr } = await heimdall(['check', '--config', 'heimdall.yaml'], { KEY: 'sk-very-secret-provider-key' }, 'llm:\n  backup_providers:\n    - provider: openai\n      api_key: ${KEY}\n');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /provider: openai/);
    assert.match(stdout, /api_key: "?\*\*\*/);
    assert.ok(!`${stdout}${stderr}`.includes('very-secret'));
    assert.match(stderr, /configuration is valid/);
  });

  it('lists every problem at once and exits with 1', async () => {
    const { code, stderr } = await heimdall(['check', '-c', 'heimdall.yaml'], {}, 'rate_limits: {}\nserver:\n  read_timeout: 5x\nllm:\n  api_key: ${MISSING}\n');
    assert.equal(code, 1);
    assert.match(stderr, /rate_limits.*rate_limit/);
    assert.match(stderr, /server\.read_timeout: expected .*5x.*Example: /);
    assert.match(stderr, /llm\.api_key.*MISSING/);
  });

  it('says which file is missing', async () => {
    const { code, stderr } = await heimdall(['check'], { HEIMDALL_CONFIG: 'nowhere.yaml' });
    assert.equal(code, 1);
    assert.match(stderr, /nowhere\.yaml/);
  });
});

describe('heimdall', () => {
  it('explains itself', async () => {
    const { code, stdout } = await heimdall(['help']);
    assert.equal(code, 0);
    assert.match(stdout, /start .*\n.*check /s);
  });

  it('tells its version', async () => {
    assert.equal((await heimdall(['version'])).stdout.trim(), manifest.version);
  });

  it('refuses a command it does not know', async () => {
    const { code, stderr } = await heimdall(['strat']);
    assert.equal(code, 2);
    assert.match(stderr, /expected a command, got "strat"/);
  });

  it('says why it cannot listen', async () => {
    const { code, stderr } = await heimdall(['start'], { HEIMDALL_HOST: '203.0.113.1', HEIMDALL_PORT: '0' });
    assert.equal(code, 1);
    assert.match(stderr, /server\.host: expected an address of this machine, got "203\.0\.113\.1"/);
  });
});

it('goes on serving when nobody reads its output any more', async (t) => {
  const port = await freePort();
  const env = { ...bare, HEIMDALL_HOST: '127.0.0.1', HEIMDALL_PORT: String(port), NEWAPI_BASE_URL: 'http://127.0.0.1:9' };
  const { child, ended, does } = startProgram(t, process.execPath, [cli, 'start'], { cwd: scratch(), env });
  child.stdout?.destroy();
  child.stderr?.destroy();
  const health = (): Promise<number> => request(`http://127.0.0.1:${port}/health`).then(({ status }) => status, () => 0);
  await does(async () => (await health()) === 200, 'the gate answers');
  // Refused requests write events and access lines, each to a closed pipe.
  for (let n = 0; n < 3; n++) await request(`http://127.0.0.1:${port}/v1/chat/completions`, { method: 'POST', headers: { Authorization: 'Bearer sk-x' }, body: { model: 'm', messages: [] } });
  assert.equal(await health(), 200);
  assert.equal(child.exitCode, null);
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
});
