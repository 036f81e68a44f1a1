import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { loadSettings, type Settings } from '../../lib/config/config.ts';
import { serve, type Serving } from '../../lib/index.ts';
import { startDemo, type Demo } from '../../test/support/demo.ts';
import { OTHER_KEY } from '../../test/support/newapi.ts';
import { startProvider, type Provider } from '../../test/support/provider.ts';

/** Turns of two machines behind one key, after which the watch calls it shared. */
const sharedTurns = 10;
/** Time between two rounds of the callers, in milliseconds: their lines shall not push those to paste off the screen soon. */
const interval = 10_000;
/** How long the text waits for the finding, and how often it looks, in milliseconds. */
const findingWait = 5000;
const findingLook = 100;
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Brings up two stand-in upstreams behind the gate, with a few callers, so that everything can be tried without an account. */
export async function demonstrate(settings: Settings = {}): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-demo-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  // Ctrl-C before the gate serves, which then drains at it.
  const leave = (): void => process.exit(1);
  for (const signal of signals) process.once(signal, leave);
  const upstream = await startDemo();
  const backup = await startProvider({ name: 'backup', key: 'key-of-the-backup' });
  const token = process.env['HEIMDALL_ADMIN_TOKEN'] ?? randomBytes(24).toString('hex');
  const env = { HEIMDALL_HOST: '127.0.0.1', ...process.env, NEWAPI_BASE_URL: upstream.url };
  const code = {
    ...settings.code,
    llm: { backupProviders: [{ provider: 'backup', endpoint: backup.endpoint, apiKey: 'key-of-the-backup' }] },
    rateLimit: { policies: [{ match: { model: 'gpt-4o' }, requests: { limit: 3, window: '1m' } }] },
    audit: { path: join(directory, 'heimdall.db') },
    logging: { file: false as const },
    admin: { token },
  };
  const start = async (): Promise<Serving> => serve(loadSettings({ ...settings, env, code }));
  const serving = await start().catch(async (error: unknown) => {
    await Promise.all([upstream.close(), backup.close()]);
    throw error;
  });
  for (const signal of signals) process.off(signal, leave);
  // A gate reads its configuration again when its terminal is closed; the demo ends with it.
  process.once('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
  // First, so that the lines to paste stand below those of the access log, and the page opens with the finding.
  for (let turn = 0; turn < sharedTurns; turn++) await sharers(serving.url);
  await found(pageOf(serving), token);
  explain(serving, upstream, backup, token);
  void callers(serving.url, upstream.key);
}

const pageOf = ({ page, url }: Serving): string => page ?? `${url}/heimdall/`;

/** Waits until the watch has found the shared key. */
async function found(page: string, token: string): Promise<void> {
  for (const until = performance.now() + findingWait; performance.now() < until; await pause(findingLook)) {
    const answer = await fetch(`${page}api/findings?rule=shared_key`, { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    const { findings = [] } = (await answer?.json().catch(() => null) ?? {}) as { findings?: readonly unknown[] };
    if (findings.length > 0) return;
  }
}

/** Prints what runs where, and what to paste. */
function explain(serving: Serving, upstream: Demo, backup: Provider, token: string): void {
  const { url } = serving;
  const page = pageOf(serving);
  const ask = (model: string, text: string): string =>
    `curl ${url}/v1/chat/completions -H 'Authorization: Bearer ${upstream.key}' -H 'Content-Type: application/json' -d '${JSON.stringify({ model, messages: [{ role: 'user', content: text }] })}'`;
  process.stdout.write(`
  stand-in upstream  ${upstream.url}
  its backup         ${backup.url}
  gate               ${url}   (open it in a browser for the stand-in's page)
  health             ${url}/health
  page               ${page}   (log in with ${token})

  Try it:
  ${ask('gpt-4o-mini', 'Hello, Heimdall')}

  A limit: the fourth within a minute is refused, and told when to come back.
  for n in 1 2 3 4; do ${ask('gpt-4o', 'Again')}; echo; done

  A failover: the first upstream fails for half a minute, and the backup answers.
  curl -X POST ${upstream.url}/demo/outage; ${ask('gpt-4o-mini', 'Who answers?')}

  A shared key: two machines use one key in turn, and the watch has found it.
  curl -H 'Authorization: Bearer ${token}' '${page}api/findings?rule=shared_key'

  The log: what was refused, and by whom.
  curl -H 'Authorization: Bearer ${token}' '${page}api/logs?outcome=refused'

  Ctrl-C ends it and removes its files.

`);
}

/** A few callers: one that chats, and two machines that share a key. They end with the process. */
async function callers(url: string, key: string): Promise<void> {
  for (;;) {
    await pause(interval, undefined, { ref: false });
    await sharers(url);
    await chat(url, key).catch(() => undefined);
  }
}

async function sharers(url: string): Promise<void> {
  for (const device of ['a', 'b']) await agent(url, device).catch(() => undefined);
}

async function agent(url: string, device: string): Promise<void> {
  const user = JSON.stringify({ device_id: device.repeat(64), account_uuid: '', session_id: `0000000${device}-1111-4222-8333-444444444444` });
  const body = { model: 'gpt-4o-mini', max_tokens: 16, messages: [{ role: 'user', content: `Hello from ${device}` }], metadata: { user_id: user } };
  await post(`${url}/v1/messages`, OTHER_KEY, 'claude-cli/2.1.197 (external, cli)', body);
}

const chat = (url: string, key: string): Promise<void> => post(`${url}/v1/chat/completions`, key, 'OpenAI/Python 1.68.2', { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'What is new?' }] });

async function post(url: string, key: string, agentName: string, body: object): Promise<void> {
  const answer = await fetch(url, { method: 'POST', headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'User-Agent': agentName }, body: JSON.stringify(body) });
  await answer.arrayBuffer();
}
