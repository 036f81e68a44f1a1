import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { closing, openStream, request, until } from '../support/client.ts';
import { DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { heimdallCommand, startGateProcess, type GateProcess } from '../support/processes.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { dial } from '../support/websocket.ts';

interface Pair {
  readonly gates: readonly [GateProcess, GateProcess];
  /** Runs `heimdall` as an operator would, and gives what it printed on standard output. */
  operator(...args: readonly string[]): Promise<string>;
  readonly directory: string;
}

/** Two gates in processes of their own, that share what the configuration says. */
async function start(t: TestContext, limits: string): Promise<Pair> {
  const api = closing(t, await startNewapi());
  api.on('POST /v1/chat/completions', (_req, res, body) => {
    if (!body.includes('"stream":true')) return void res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[]}');
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
  });
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-test-'));
  writeFileSync(join(directory, 'heimdall.yaml'), `auth: {mode: keys}\nlogging: {file: false}\naudit: {path: state/heimdall.db}\nrate_limit: {address: {limit: 0}${limits}}\n`, { mode: 0o600 });
  const env = { HEIMDALL_CONFIG: 'heimdall.yaml', HEIMDALL_SECRET: 'a secret of more than sixteen characters', NEWAPI_BASE_URL: api.url };
  const gates = await Promise.all([startGateProcess(t, directory, env), startGateProcess(t, directory, env)]);
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const operator = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await heimdallCommand(directory, args, env, DEMO_KEY);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  return { gates, operator, directory };
}

const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };

async function answerOf({ url }: GateProcess, key: string): Promise<string> {
  const { status, text } = await request(`${url}/v1/chat/completions`, { headers: { Authorization: `Bearer ${key}` }, body: chat });
  return status === 200 ? '200' : `${status} ${/"code":"(\w+)"/.exec(text)?.[1]}`;
}

const everywhere = ({ gates }: Pair, key: string, answer: string): Promise<boolean> =>
  until(async () => (await Promise.all(gates.map((gate) => answerOf(gate, key)))).every((each) => each === answer), `${answer} on both gates`);

async function prove(t: TestContext, limits = ''): Promise<Pair & { readonly secrets: readonly string[] }> {
  const pair = await start(t, limits);
  const { gates: [here, there], operator } = pair;
  await everywhere(pair, 'sk-a-key-nobody-made-of-good-length', '401 invalid_credential');
  const key = (await operator('keys', 'create', 'team', '--upstream-credential-file', '-')).trim();
  await everywhere(pair, key, '200');

  const authorization = { Authorization: `Bearer ${key}` };
  const stream = await openStream(`${here.url}/v1/chat/completions`, { headers: authorization, body: { ...chat, stream: true } });
  const socket = await dial(`${there.url}/v1/realtime?model=gpt-realtime`, { headers: authorization });
  await until(() => stream.events.length === 1 && socket.messages.length > 0);
  await operator('ban', 'team', '--for', '1h', '--reason', 'found on a forum');
  await until(() => stream.complete && socket.socket.readyState === socket.socket.CLOSED, 'the stream and the socket are cut');
  assert.match(stream.events.at(-1)?.data ?? '', /"code":"banned"/);
  assert.ok(!stream.text.includes('forum'));
  await everywhere(pair, key, '403 banned');
  await operator('unban', 'team');
  const next = (await operator('keys', 'rotate', 'team', '--overlap', '1h')).trim();
  await everywhere(pair, next, '200');
  await everywhere(pair, key, '200');
  await operator('keys', 'revoke', 'team');
  await everywhere(pair, next, '401 invalid_credential');
  await everywhere(pair, key, '401 invalid_credential');
  for (const gate of [here, there]) {
    const told = (): string[] => gate.events().map((event) => String(event['event.action'])).filter((name) => /^(?:key|ban)\./.test(name));
    await until(() => told().includes('key.revoked'));
    const names = told();
    // Two changes within a second are seen at one look.
    assert.deepEqual(names.filter((name) => !name.endsWith('.cut')).sort(), ['ban.added', 'ban.removed', 'key.created', 'key.revoked', 'key.rotated']);
    assert.ok(names.includes('ban.cut'));
  }
  return { ...pair, secrets: [key, next, DEMO_KEY] };
}

describe('two gates and an operator, each a process', { concurrency: true }, () => {
  it('agree by a file', async (t) => {
    const { directory, secrets, gates } = await prove(t);
    const state = join(directory, 'state');
    assert.ok(readdirSync(state).includes('heimdall.state.db'));
    for (const name of readdirSync(state)) {
      assert.equal(statSync(join(state, name)).mode & 0o77, 0, name);
      const bytes = readFileSync(join(state, name)).toString('latin1');
      for (const secret of secrets) assert.ok(!bytes.includes(secret.slice(3)), name);
    }
    for (const secret of secrets) assert.ok(!JSON.stringify(gates.map((gate) => gate.events())).includes(secret.slice(3)));
  });

  it('agree by Redis', { skip: withoutRedis }, async (t) => {
    const redis = closing(t, await startRedis());
    const { directory, secrets } = await prove(t, `, redis_url: '${redis.url}'`);
    assert.ok(!existsSync(join(directory, 'state', 'heimdall.state.db')));
    const dump = await redis.command('HGETALL', 'heimdall:{registry}:keys') + await redis.command('HGETALL', 'heimdall:{registry}:bans');
    for (const secret of secrets) assert.ok(!dump.includes(secret.slice(3)));
  });
});
