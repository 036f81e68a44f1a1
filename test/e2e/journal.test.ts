import '../support/node.ts';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { main } from '../../lib/cli/cli.ts';
import { closing, openStream, request, sse, until } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { bytesOf, journalOf, recorded, verified } from '../support/journal.ts';
import { CHAT_REQUEST, DEMO_KEY, startNewapi } from '../support/newapi.ts';
import { bearer, CALLER, chat, startScene } from '../support/scene.ts';

const metricsToken = 'a-token-for-the-metrics-of-this-test';

describe('one record for every request', () => {
  it('is kept however it ended, and none for the polls of monitoring', async (t) => {
    const newapi = closing(t, await startNewapi({ chunks: 200, pace: 5 }));
    const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url }, metrics: { token: metricsToken } });
    const key = bearer(DEMO_KEY);
    const served = await request(`${url}/v1/chat/completions?trace=1`, { headers: { ...key, 'User-Agent': 'OpenAI/Python 1.2.3', Cookie: 'session=abc' }, body: CHAT_REQUEST, method: 'POST' });
    await request(`${url}/v1/chat/completions`, { body: chat });
    await request(`${url}/v1/chat/completions`, { headers: { ...key, 'Content-Type': 'application/json' }, body: 'no json' });
    await request(`${url}/no/such/page`);
    await request(`${url}/v1/models`, { headers: key });
    const stream = await openStream(`${url}/v1/chat/completions`, { headers: key, body: { ...chat, stream: true } });
    await until(() => stream.chunks.length > 0);
    stream.abort();
    for (const path of ['/health', '/health/live', '/health/ready']) await request(url + path);
    await request(`${url}/metrics`, { headers: bearer(metricsToken) });
    await request(`${url}/metrics`, { headers: bearer('guessed') });
    await until(async () => (await recorded(gate)).length === 7);
    const rows = await recorded(gate);
    const found = rows.map(({ route, outcome, response_status: status }) => `${String(route)} ${String(outcome)} ${String(status)}`).sort();
    assert.deepEqual(found, [
      '/metrics refused:unauthorized 401', '/v1/chat/completions aborted 499', '/v1/chat/completions refused:invalid_json 400', '/v1/chat/completions refused:missing_credential 401',
      '/v1/chat/completions served 200', '/v1/models served 200', 'other served 200',
    ]);
    const row = rows.find(({ outcome, route }) => outcome === 'served' && route === '/v1/chat/completions');
    assert.equal(row?.['request_id'], served.headers['x-request-id']);
    const body = Buffer.from(CHAT_REQUEST);
    const { token_id: token, session, first_byte: firstByte, overhead, response_time: time, timestamp, cookies, ...rest } = row ?? {};
    assert.match(`${String(token)} ${String(session)}`, /^[0-9a-f]{16} [0-9a-f]{16}$/);
    assert.match(String(cookies), /^\{"session":"[0-9a-f]{16}"\}$/);
    assert.ok(Number(firstByte) > 0 && Number(overhead) > 0 && Number(time) >= Math.round(Number(firstByte)) - 1 && Math.abs(Number(timestamp) - Date.now() / 1000) < 60);
    assert.deepEqual(
      [rest['request_path'], rest['query'], rest['request_method'], rest['real_ip'], rest['client'], rest['content_fingerprint'], rest['bytes_in'], rest['bytes_out'], rest['target'], rest['attempts'], rest['upstream_request_id'], rest['source']],
      ['/v1/chat/completions', 'trace', 'POST', '127.0.0.1', 'openai-python/1', createHash('md5').update(body).digest('hex'), body.length, served.body.length, 'newapi', 1, served.headers['x-oneapi-request-id'], 'gate'],
    );
  });

  it('is there once for each of many that come together', async (t) => {
    const newapi = closing(t, await startNewapi());
    const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url } });
    const ids = await Promise.all(Array.from({ length: 300 }, async (_, at) => (await request(`${url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, user: `u${at}` } })).headers['x-request-id']));
    const rows = await recorded(gate);
    assert.deepEqual(rows.map((row) => row['request_id']).sort(), ids.sort());
    assert.deepEqual(rows.map((row) => row['id']), rows.map((_, at) => at + 1));
    assert.equal(verified(gate.config.audit.path).broken, null);
  });
});

describe('what is sent to NewAPI’s own pages', () => {
  it('leaves no body, no value of a query and no fingerprint anywhere', async (t) => {
    const newapi = closing(t, await startNewapi());
    const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url }, audit: { capture: { headers: 'all', response: '10KB' } } });
    const bodies = [
      ['POST', '/api/user/login?turnstile=turnstile-answer-1', '{"username":"alice","password":"correct horse battery"}'],
      ['PUT', '/api/channel/', '{"id":3,"key":"upstream-channel-credential","base_url":"https://provider.example"}'],
      ['POST', '/api/stripe/webhook', '{"id":"evt_payment_1","amount":4200,"customer":"cus_who_paid"}'],
      ['POST', '/api/user/epay/notify?trade_no=trade-2026&money=42.00&sign=epay-sign-value', 'trade_no=trade-2026'],
    ] as const;
    for (const [method, path, body] of bodies) await request(url + path, { method, body, headers: { 'Content-Type': 'application/json', Authorization: 'dashboard-access-token', 'Stripe-Signature': 't=1,v1=stripe-signature-value' } });
    await request(`${url}/api/oauth/linuxdo?code=oauth-code-value&state=oauth-state-value`, { headers: { Cookie: 'session=raw-session-cookie', Referer: 'https://connect.linux.do/oauth2/authorize?client_id=referer-client' } });
    const rows = await recorded(gate);
    assert.equal(rows.length, 5);
    assert.deepEqual(rows.map(({ request_body: body, response_body: answer, content_fingerprint: print, request_headers: headers }) => [body, answer, print, headers]), Array.from({ length: 5 }, () => [null, null, null, null]));
    assert.deepEqual(rows.map((row) => row['query']), ['turnstile', null, null, 'trade_no&money&sign', 'code&state']);
    const bytes = bytesOf(gate.config.audit.path);
    const hunted = [
      'turnstile-answer-1', 'alice', 'correct horse', 'upstream-channel-credential', 'evt_payment_1', 'cus_who_paid', 'trade-2026', '42.00', 'epay-sign-value', 'oauth-code-value', 'oauth-state-value',
      'dashboard-access-token', 'stripe-signature-value', 'raw-session-cookie', 'referer-client', ...bodies.flatMap(([, , body]) => ['md5', 'sha1', 'sha256'].map((name) => createHash(name).update(body).digest('hex'))),
    ];
    for (const secret of hunted) assert.ok(!bytes.includes(secret), secret);
  });
});

describe('secrets', () => {
  it('are nowhere in the journal, whatever a caller sends on a model route and an upstream says', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const own = 'no-form-that-any-pattern-knows';
    const { gate, ask, primary } = await startScene(t, { audit: { path, capture: { headers: 'all', body: '64KB', response: '64KB' } }, metrics: { token: metricsToken }, logging: { queryAllow: ['page'] }, target: { apiKey: own } });
    const planted = ['AKIA1234567890ABCDEF', 'sk-proj-planted0123456789abcdef', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ', 'planted-password-1', 'planted-password-2'];
    const content = `${CALLER} ${CALLER.slice(3)} ${own} ${metricsToken} ${planted[0]} ${planted[1]}\n${planted[2]} password: ${planted[3]}`;
    await primary.script([{ kind: 'ok' }, { kind: 'ok' }, { kind: 'ok' }]);
    const headers = { ...bearer(CALLER), 'X-Api-Key': CALLER, Cookie: `session=${planted[3]}`, 'X-Note': `see ${planted[1]}`, 'User-Agent': `me/1 ${planted[0]}`, Referer: `https://u:${planted[3]}@h/x?y=${planted[4]}`, 'X-Forwarded-For': `${planted[1]}, 192.0.2.1` };
    await ask({ headers, body: { ...chat, messages: [{ role: 'user', content }], metadata: { nested: JSON.stringify({ password: planted[4] }) }, model: planted[1] } });
    await ask({ headers, path: `/v1/chat/completions?key=${CALLER}&page=${planted[1]}&${CALLER}`, body: { ...chat, stream: true, messages: [{ role: 'user', content }] } });
    await ask({ headers, path: `/v1/${planted[1]}` });
    const rows = await recorded(gate.gate);
    assert.equal(rows.length, 3);
    assert.match(String(rows[0]?.['request_body']), /\[masked\]/);
    assert.match(String(rows[0]?.['response_body']), /chatcmpl/);
    const bytes = bytesOf(path);
    for (const secret of [CALLER.slice(3), own, metricsToken, ...planted]) assert.ok(!bytes.includes(secret), secret);
    assert.equal(verified(path).broken, null);
  });
});

describe('a body', () => {
  it('of bytes is described, of a form by its parts, JSON with a coding is decoded, and all have their fingerprint', async (t) => {
    const newapi = closing(t, await startNewapi());
    const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url }, server: { bufferBodyBytes: '1MB' } });
    const md5 = (bytes: string | Buffer): string => createHash('md5').update(bytes).digest('hex');
    const form = Buffer.from(['--b', 'Content-Disposition: form-data; name="file"; filename="private.mp3"', 'Content-Type: audio/mpeg', '', 'ID3 sound', '--b', 'Content-Disposition: form-data; name="model"', '', 'whisper-1', '--b--', ''].join('\r\n'));
    const zipped = gzipSync(CHAT_REQUEST);
    const opaque = gzipSync('no JSON');
    const vision = JSON.stringify({ ...chat, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'iVBORw0KGgo'.repeat(20_000)}` } }] }] });
    const streamed = Buffer.concat([Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="long.wav"\r\nContent-Type: audio/wav\r\n\r\n'), Buffer.alloc(3_000_000, 7), Buffer.from('\r\n--b--\r\n')]);
    const send = (path: string, body: Buffer | string, headers: Record<string, string>) => request(url + path, { method: 'POST', body: Buffer.from(body as string), headers: { ...bearer(DEMO_KEY), ...headers } });
    const multipart = { 'Content-Type': 'multipart/form-data; boundary=b' };
    await send('/v1/audio/transcriptions', form, multipart);
    await send('/v1/chat/completions', zipped, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
    await send('/v1/chat/completions', vision, { 'Content-Type': 'application/json' });
    await send('/v1/audio/transcriptions', streamed, multipart);
    await send('/v1/chat/completions', opaque, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
    const rows = await recorded(gate);
    const sent = [form, zipped, vision, streamed, opaque];
    assert.deepEqual(rows.map((row) => row['content_fingerprint']), sent.map(md5));
    assert.deepEqual(rows.map((row) => row['bytes_in']), sent.map((body) => body.length));
    const [first, second, third, fourth, fifth] = rows.map((row) => String(row['request_body']));
    assert.match(first ?? '', /^\[multipart\/form-data, \d+ bytes: file \.mp3 audio\/mpeg 9 bytes; model 9 bytes\]$/);
    assert.equal(second, String(CHAT_REQUEST));
    assert.equal(fifth, `[gzip, ${opaque.length} bytes]`);
    assert.match(third ?? '', /base64,\[220000 characters of base64\]"\}\}\]\}\]\}$/);
    assert.match(fourth ?? '', /^\[multipart\/form-data, \d+ bytes: file \.wav audio\/wav …\]$/);
    assert.ok(!bytesOf(gate.config.audit.path).includes('private.mp3'));
  });

  it('is not kept with a limit of 0, nor headers when they are off', async (t) => {
    const { gate, ask } = await startScene(t, { audit: { capture: { body: 0, headers: 'off' } } });
    await ask();
    const [row] = await recorded(gate.gate);
    assert.deepEqual([row?.['request_body'], row?.['request_headers'], row?.['response_body'], String(row?.['content_fingerprint']).length], [null, null, null, 32]);
  });
});

describe('an answer', () => {
  it('is kept from its beginning where that is asked for, streams too, without a byte changed', async (t) => {
    const newapi = closing(t, await startNewapi());
    const { url, gate } = await startGate(t, { newapi: { baseUrl: newapi.url }, audit: { capture: { response: 800 } } });
    const stream = await sse(`${url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: { ...chat, stream: true } });
    assert.ok(stream.complete && stream.text.endsWith('data: [DONE]\n\n'));
    const plain = await request(`${url}/v1/chat/completions`, { headers: bearer(DEMO_KEY), body: chat });
    const rows = await recorded(gate);
    const [said = '', kept = ''] = rows.map((row) => String(row['response_body']));
    const spoken = plain.json<{ choices: { message: { content: string } }[] }>().choices[0]?.message.content ?? '';
    assert.match(said, /^\[text\/event-stream, \d+ bytes\] \S/);
    assert.ok(spoken.startsWith(said.slice(said.indexOf('] ') + 2)), said);
    assert.ok(plain.text.startsWith(kept.replace(/… \[\d+ bytes\]$/, '')), kept);
    assert.ok(kept.length > 200 && said.length < 800 && kept.length < 830);
  });
});

describe('without the part `logging`', () => {
  it('nothing is recorded', async (t) => {
    const { gate, ask } = await startScene(t, { middleware: ['request_timer', 'rate_limit', 'key_limit', 'queue', 'auth'], audit: { durability: 'strict' } });
    assert.equal((await ask()).status, 200);
    assert.deepEqual(await recorded(gate.gate), []);
  });
});

describe('the commands', () => {
  /** Runs a command in this process. */
  async function heimdall(cwd: string, ...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
    const config = join(cwd, 'heimdall.yaml');
    writeFileSync(config, `audit: {path: ${join(cwd, 'data/heimdall.db')}}\n`, { mode: 0o600 });
    const said = { out: '', err: '' };
    const code = await main([...args, '--config', config], { out: (text) => void (said.out += text), err: (text) => void (said.err += text) });
    return { code: code ?? 0, ...said };
  }

  it('verify, forget and back up a journal while its gate runs', async (t) => {
    const cwd = temporary(t);
    const copy = join(cwd, 'copy.db');
    const { gate, ask } = await startScene(t, { audit: { path: join(cwd, 'data/heimdall.db') } });
    for (let at = 0; at < 3; at++) await ask();
    await journalOf(gate.gate).flush();
    const whole = await heimdall(cwd, 'verify');
    assert.deepEqual([whole.code, whole.err], [0, '']);
    assert.match(whole.out, /heimdall\.db: 3 records in \d+ batches until .*\nWhole\.\n$/s);
    await until(() => existsSync(join(cwd, 'data/heimdall.state.db')), 'the token that was accepted is stored');
    const copied = await heimdall(cwd, 'backup', copy);
    assert.equal(copied.code, 0, copied.err);
    assert.equal(statSync(copy).mode & 0o777, 0o600);
    assert.deepEqual(copied.out.split('\n').map((line) => line.split(' ')[0]), [copy, join(cwd, 'copy.state.db'), '']);
    assert.match((await heimdall(cwd, 'backup', copy)).err, /FILE: expected the name of a file that does not exist yet/);
    const forgotten = await heimdall(cwd, 'forget', '--address', '127.0.0.1');
    assert.deepEqual([forgotten.code, forgotten.out], [0, '3 records erased.\n']);
    await ask();
    assert.deepEqual((await recorded(gate.gate)).map((row) => row['real_ip']), ['', '', '', '127.0.0.1']);
    await gate.gate.close();
    assert.match((await heimdall(cwd, 'verify')).out, /4 records in .* 3 of them erased on demand, 1 checkpoints\.\nWhole\.\n$/);
    assert.match((await heimdall(cwd, 'verify', '--path', copy)).out, /copy\.db: 3 records .*\nWhole\.\n$/s);
    const events = join(cwd, 'events.log');
    writeFileSync(events, gate.log.named('journal.checkpoint').map((heimdall) => JSON.stringify({ message: 'journal.checkpoint', heimdall })).join('\n'));
    const cut = await heimdall(cwd, 'verify', '--path', copy, '--events', events);
    assert.equal(cut.code, 1);
    assert.match(cut.out, /BROKEN: the journal was cut: batch \d+ with record 4/);
  });

  it('back up the keys and bans beside a journal, too', async (t) => {
    const cwd = temporary(t);
    const { gate, ask } = await startScene(t, { audit: { path: join(cwd, 'data/heimdall.db') } });
    await ask();
    await journalOf(gate.gate).flush();
    assert.equal((await heimdall(cwd, 'keys', 'create', 'team-a')).code, 0);
    assert.equal((await heimdall(cwd, 'ban', '192.0.2.7')).code, 0);
    const copied = await heimdall(cwd, 'backup', join(cwd, 'copy.db'));
    assert.equal(copied.code, 0, copied.err);
    const state = join(cwd, 'copy.state.db');
    assert.equal(statSync(state).mode & 0o777, 0o600);
    rmSync(join(cwd, 'copy.db'));
    assert.match((await heimdall(cwd, 'backup', join(cwd, 'copy.db'))).err, /FILE: expected the name of a file that does not exist yet, got ".*copy\.state\.db"/);
    const elsewhere = temporary(t);
    mkdirSync(join(elsewhere, 'data'));
    renameSync(state, join(elsewhere, 'data/heimdall.state.db'));
    assert.match((await heimdall(elsewhere, 'keys', 'list')).out, /team-a/);
    assert.match((await heimdall(elsewhere, 'bans')).out, /192\.0\.2\.7/);
  });

  it('say what they want', async (t) => {
    const cwd = temporary(t);
    for (const [args, said] of [
      [['verify'], /audit\.path: expected a journal, got .*\(no such file\)/],
      [['forget'], /expected one of --key, --address and --device, got none/],
      [['forget', '--address', 'here'], /--address: expected an IP address, got "here"/],
      [['forget', '--device', 'x'], /--device: expected 64 hex digits/],
      [['backup'], /expected FILE, got nothing/],
    ] as const) {
      const ran = await heimdall(cwd, ...args);
      assert.ok(ran.code > 0);
      assert.match(ran.err, said);
    }
  });
});
