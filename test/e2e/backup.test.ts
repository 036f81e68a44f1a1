import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LlmTargetInput } from '../../lib/index.ts';

import { closing, request, sse, type Answer } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Override } from '../support/newapi.ts';
import { startProvider, type Fault } from '../support/provider.ts';
import { bearer, CALLER, chat, OWN, servedBy, startScene } from '../support/scene.ts';
import { shared } from '../support/shared.ts';

const code = (answer: Answer): unknown => answer.json<{ error: { code: unknown } }>().error.code;

const bodies: Readonly<Record<string, readonly [LlmTargetInput, body: string, expected: string]>> = {
  'no other name': [{}, '{"messages":[],\n "model" : "gpt-4o-mini"\t,"x":1.0}', '{"messages":[],\n "model" : "gpt-4o-mini"\t,"x":1.0}'],
  'one model for everything': [{ model: 'llama-3.1' }, ' {"model":"gpt-4o-mini","n":1e2,"s":"\\u00e9 é 😀"}\r\n', ' {"model":"llama-3.1","n":1e2,"s":"\\u00e9 é 😀"}\r\n'],
  'a renamed model': [{ models: { 'gpt-4o-mini': 'org/"x"' } }, '{"a":{"model":"inner"},"model":"gpt-4o-mini","b":["model"]}', '{"a":{"model":"inner"},"model":"org/\\"x\\"","b":["model"]}'],
  'a rename before an override': [{ models: { 'gpt-4o-mini': 'mapped' }, model: 'other' }, '{"model":"gpt-4o-mini"}', '{"model":"mapped"}'],
  'an override where no rename fits': [{ models: { 'gpt-4o': 'mapped' }, model: 'other' }, '{"model":"gpt-4o-mini"}', '{"model":"other"}'],
  'an escaped name': [{ models: { 'gpt-4o-mini': 'mapped' } }, '{"mod\\u0065l":"gpt-4o\\u002dmini"}', '{"mod\\u0065l":"mapped"}'],
  'the last of two names': [{ models: { 'gpt-4o-mini': 'mapped' } }, '{"model":"first","model":"gpt-4o-mini"}', '{"model":"first","model":"mapped"}'],
};

for (const [name, [target, body, expected]] of Object.entries(bodies)) {
  test(`the backup gets the caller's bytes, only the model's name replaced: ${name}`, async (t) => {
    const { primary, backup, ask, verify } = await startScene(t, { target });
    await verify();
    await primary.script({ kind: 'status', status: 503 });
    const headers = { ...bearer(CALLER), 'Content-Type': 'application/json' };
    assert.equal((await ask({ body, headers })).status, 200);
    assert.equal(String(primary.calls[0]?.body), body);
    assert.equal(String(backup.calls[0]?.body), expected);
    assert.equal(backup.calls[0]?.headers['content-length'], String(Buffer.byteLength(expected)));
  });
}

test('the backup learns nothing of the caller: no credential, cookie, address or account', async (t) => {
  const { primary, backup, gate, ask, verify } = await startScene(t, { target: { models: { 'gpt-4o-mini': 'm' } } });
  await verify();
  await primary.stop();
  const secret = {
    Authorization: `Bearer ${CALLER}`, 'x-api-key': 'sk-secret-a', 'X-Goog-Api-Key': 'sk-secret-b', 'mj-api-secret': 'sk-secret-c', Cookie: 'session=sk-secret-d',
    'OpenAI-Organization': 'org-secret', 'OpenAI-Project': 'proj-secret', 'New-Api-User': '1secret', 'X-Forwarded-For': '203.0.113.7', 'X-Real-IP': '203.0.113.7',
    Forwarded: 'for=203.0.113.7', 'Proxy-Authorization': 'Basic secret', Referer: 'https://secret.test/', Origin: 'https://secret.test', Via: '1.1 secret', 'X-Custom': 'secret',
    'X-Request-Id': 'secret', Host: 'secret.test',
  };
  const passing = { 'User-Agent': 'app/1', 'X-Stainless-Lang': 'js', 'Idempotency-Key': 'k1', 'Accept-Encoding': 'identity', 'Content-Type': 'application/json' };
  const answer = await ask({ path: '/v1/chat/completions?key=sk-secret-e&api-key=sk-secret-f&%6bey=sk-secret-g&x=secret&beta=true', headers: { ...secret, ...passing } });
  assert.equal(servedBy(answer), 'backup');
  const [call] = backup.calls;
  const wire = JSON.stringify([call?.path, call?.rawHeaders, String(call?.body)]);
  for (const word of ['secret', CALLER.slice(3), '203.0.113.7', '127.0.0.1:' + String(gate.port)]) {
    assert.ok(!wire.replace(OWN, '').includes(word), `${word} in ${wire}`);
  }
  assert.equal(call?.path, '/v1/chat/completions?beta=true');
  assert.deepEqual([call.headers['authorization'], call.headers['host']], [`Bearer ${OWN}`, `127.0.0.1:${backup.port}`]);
  for (const [name, value] of Object.entries(passing)) assert.equal(call.headers[name.toLowerCase()], value);
});

test('a backup without a key gets none, least of all the caller\'s', async (t) => {
  const { primary, backup, ask, verify } = await startScene(t, { target: { provider: 'ollama', apiKey: null } });
  backup.set({ key: '' });
  await verify();
  await primary.stop();
  await ask({ headers: { ...bearer(CALLER), 'x-api-key': CALLER } });
  assert.equal(backup.calls.length, 1);
  assert.ok(!backup.calls[0]?.rawHeaders.some((text) => /authorization|api-key|callersecret/i.test(text)));
});

test('what a backup says of itself stays with the gate, but its answer comes byte for byte', async (t) => {
  const { primary, backup, ask, verify } = await startScene(t);
  await verify();
  await primary.stop();
  await backup.script([{ kind: 'status', status: 200, headers: { 'Set-Cookie': 'cf=1', 'openai-organization': 'org-ours', 'Strict-Transport-Security': 'max-age=1', 'x-ratelimit-limit-requests': '9' }, body: { ok: [1] } }]);
  const { headers, text } = await ask();
  assert.deepEqual([headers['set-cookie'], headers['openai-organization'], headers['strict-transport-security']], [undefined, undefined, undefined]);
  assert.deepEqual([headers['x-ratelimit-limit-requests'], text], ['9', '{"ok":[1]}']);
});

const verdicts: Readonly<Record<string, readonly [status: number, code: string]>> = {
  'an invalid request': [400, 'invalid_request'],
  'no access': [403, 'access_denied'],
  'used-up quota': [403, 'insufficient_user_quota'],
  'a user\'s own limit': [429, ''],
  'a model without a channel': [503, 'model_not_found'],
  'refused words': [500, 'sensitive_words_detected'],
  'quota that ended under way': [500, 'pre_consume_token_quota_failed'],
};

const speaks = (status: number, error: unknown): Override => (_req, res) =>
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error }));

const besideNewapi = shared(async (scope) => {
  const newapi = closing(scope, await startNewapi());
  const backup = closing(scope, await startProvider({ name: 'backup' }));
  const gate = await startGate(scope, { newapi: { baseUrl: newapi.url }, llm: { backupProviders: [{ provider: 'openai', endpoint: backup.endpoint, apiKey: OWN }] } });
  return { newapi, backup, gate };
});

for (const [name, [status, said]] of Object.entries(verdicts)) {
  test(`NewAPI's own verdict is the answer, and no other target is asked: ${name}`, async () => {
    const { newapi, backup, gate } = await besideNewapi();
    backup.clear();
    const { connections } = backup;
    const ask = () => request(`${gate.url}/v1/chat/completions`, { body: chat, headers: bearer(DEMO_KEY) });
    assert.equal((await ask()).status, 200);
    const off = newapi.on('POST /v1/chat/completions', speaks(status, { message: 'no (request id: 1)', type: 'new_api_error', code: said }));
    const answer = await ask();
    assert.deepEqual([answer.status, code(answer), backup.calls.length, backup.connections], [status, said, 0, connections]);
    off();
    const away = newapi.on('POST /v1/chat/completions', speaks(status < 500 ? 500 : status, { message: 'no', type: 'new_api_error', code: 'do_request_failed' }));
    assert.equal(servedBy(await ask()), 'backup');
    away();
  });
}

test('media is never sent twice once bytes went out, but goes to the backup when NewAPI is down', async (t) => {
  const { primary, backup, ask, verify } = await startScene(t);
  const form = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n--b--\r\n';
  const requests = [
    { path: '/v1/images/generations', body: { model: 'gpt-image-1', prompt: 'x' } },
    { path: '/v1/audio/speech', body: { model: 'tts-1', input: 'x' } },
    { path: '/v1/audio/transcriptions', body: form, headers: { ...bearer(CALLER), 'Content-Type': 'multipart/form-data; boundary=b' } },
    { path: '/v1/images/edits', body: form, headers: { ...bearer(CALLER), 'Content-Type': 'multipart/form-data; boundary=b' } },
  ];
  const faults: readonly Fault[] = [{ kind: 'status', status: 503 }, { kind: 'reset', at: 'before', by: 'rst' }, { kind: 'hang', at: 'headers' }, { kind: 'truncated', of: 'json' }, { kind: 'not_http' }];
  for (const media of requests) {
    for (const fault of faults) {
      await verify();
      await primary.script(fault);
      const { status } = await ask(media);
      assert.deepEqual([status >= 500 || fault.kind === 'truncated', primary.calls.length, backup.calls.length], [true, 1, 0], `${media.path} ${fault.kind}`);
    }
    await verify();
    await primary.stop();
    assert.equal((await ask(media)).status, 200);
    assert.equal(backup.calls.length, 1);
  }
});

for (const status of [401, 403]) {
  test(`a backup that answers ${status} to our key is an event, not an answer`, async (t) => {
    const { primary, backup, gate, ask, verify } = await startScene(t);
    await verify();
    await primary.stop();
    const error = { error: { message: `Incorrect API key provided: ${OWN}`, type: 'invalid_request_error', code: 'invalid_api_key' } };
    await backup.script({ kind: 'status', status, body: error, headers: { 'x-provider-account': 'acct-1', 'WWW-Authenticate': 'Bearer' } });
    const answer = await ask();
    assert.deepEqual([answer.status, code(answer)], [502, 'upstream_refused']);
    assert.ok(!/Incorrect|acct-1|invalid_api_key/.test(answer.text + answer.rawHeaders.join()), answer.text);
    const [event] = gate.log.events.filter(({ level }) => level === 'error');
    assert.equal(event?.event, 'upstream.credential_refused');
    assert.equal(event.fields['target'], 'openai');
    assert.ok(!JSON.stringify(gate.log.events).includes(OWN));
  });
}

test('when every target fails the last one\'s own words are the answer, never a 200', async (t) => {
  const { primary, backup, gate, ask, verify } = await startScene(t);
  await verify();
  await primary.script({ kind: 'status', status: 503, headers: { 'Retry-After': '9' }, body: { error: { message: 'busy', type: 'x', code: 'from_primary' } } });
  await backup.script({ kind: 'status', status: 500, body: { error: { message: 'sorry', type: 'y', code: 'from_backup' } } });
  const last = await ask();
  assert.deepEqual([last.status, code(last)], [500, 'from_backup']);
  await backup.stop();
  const real = await ask();
  assert.deepEqual([real.status, code(real), real.headers['retry-after']], [503, 'from_primary', '9']);
  await primary.script({ kind: 'error_event', shape: 'openai' });
  const stream = await sse(`${gate.url}/v1/chat/completions`, { body: { ...chat, stream: true }, headers: bearer(CALLER) });
  assert.deepEqual([stream.status, stream.headers['content-type']], [503, 'application/json']);
  assert.deepEqual(JSON.parse(stream.text), { error: { message: 'Overloaded', type: 'server_error', param: null, code: 'overloaded' } });
  await primary.stop();
  const none = await ask();
  assert.deepEqual([none.status, code(none)], [502, 'upstream_unreachable']);
});

test('on Claude\'s route the backup is asked with its own header and fails in Claude\'s shape', async (t) => {
  const { primary, backup, ask, verify } = await startScene(t, { target: { provider: 'anthropic' } });
  await verify();
  await primary.stop();
  const claude = { path: '/v1/messages?beta=true', headers: { 'x-api-key': CALLER, 'anthropic-version': '2023-06-01', 'anthropic-beta': 'b1' } };
  assert.equal(servedBy(await ask(claude)), 'backup');
  const [call] = backup.calls;
  assert.deepEqual([call?.headers['x-api-key'], call?.headers['authorization'], call?.headers['anthropic-version'], call?.path], [OWN, undefined, '2023-06-01', '/v1/messages?beta=true']);
  await backup.script({ kind: 'error_event', shape: 'claude' });
  const failed = await ask({ ...claude, body: { ...chat, stream: true } });
  assert.equal(failed.status, 529);
  assert.deepEqual(failed.json(), { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' }, request_id: failed.headers['x-request-id'] });
});

test('a backup is asked only for what its provider speaks', async (t) => {
  const { primary, backup, ask, verify } = await startScene(t, { circuitBreaker: { failureThreshold: 1000 } });
  await verify();
  await primary.stop();
  for (const path of ['/v1/messages', '/v1/rerank', '/v1beta/models/gemini-2.5-flash:generateContent', '/suno/submit/music', '/api/option', '/v1/files']) {
    assert.equal((await ask({ path, headers: { ...bearer(CALLER), 'x-api-key': CALLER } })).status, 502, path);
  }
  assert.equal(backup.connections, 0);
});
