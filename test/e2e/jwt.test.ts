import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateKeyPair } from 'jose';
import { request, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { startGate } from '../support/gate.ts';
import { startIssuer, type Issuer } from '../support/issuer.ts';
import { gatewayKey, startJwtScene, type JwtScene } from '../support/jwt-scene.ts';
import { DEMO_KEY } from '../support/newapi.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, chat } from '../support/scene.ts';

const failures = ({ gate }: JwtScene): unknown[] => gate.log.named('auth.failed').map(({ reason }) => reason);
const hour = 3600;

test('a token of the issuer lets in, by the name in it, and goes to nobody', async (t) => {
  const records = accessRecords(t);
  const scene = await startJwtScene(t, { logging: records.logging });
  const token = await scene.issuer.sign();
  const answer = await scene.ask(token);
  assert.equal(answer.status, 200, answer.text);
  scene.clock.tick(1000);
  const [line] = (await records.atLeast(1)) as unknown as { key: string }[];
  assert.equal(line?.key, 'jwt:alice');
  assert.equal(scene.newapi.connections, 0);
  assert.ok(!JSON.stringify(scene.backup.calls).includes(token.slice(0, 20)));
});

test('routes that only NewAPI answers are closed to a token, unless there is a credential for it', async (t) => {
  const closed = await startJwtScene(t);
  const token = await closed.issuer.sign();
  for (const path of ['/v1/files', '/v1beta/models', '/mj/task/1/fetch', '/v1/realtime']) assert.equal((await closed.ask(token, path)).status, 403, path);
  assert.equal(closed.newapi.connections, 0);
  const open = await startJwtScene(t, { jwt: { upstreamCredential: DEMO_KEY } });
  assert.equal((await open.ask(await open.issuer.sign(), '/v1beta/models')).status, 200);
  const [seen] = open.newapi.requests;
  assert.equal(seen?.headers.authorization, `Bearer ${DEMO_KEY}`);
  assert.ok(!seen?.rawHeaders.join().includes('eyJ'));
});

test('a gateway key lets in beside it', async (t) => {
  const scene = await startJwtScene(t);
  assert.equal((await scene.ask(gatewayKey)).status, 200);
  assert.equal(scene.issuer.asked, 0);
  assert.equal((await scene.ask('sk-unknown')).status, 401);
  assert.deepEqual(failures(scene), ['unknown']);
});

test('every carrier is read, a token in a query included', async (t) => {
  const scene = await startJwtScene(t, { jwt: { upstreamCredential: DEMO_KEY } });
  const token = await scene.issuer.sign();
  const answer = await request(`${scene.gate.url}/v1beta/models?key=${token}`);
  assert.equal(answer.status, 200);
  assert.ok(!String(scene.newapi.requests[0]?.url).includes('eyJ'));
});

test('a good token still lets in beside every forgery, within the few seconds clocks may differ', async (t) => {
  const scene = await startJwtScene(t);
  const second = Math.floor(scene.clock.now() / 1000);
  for (const made of [{}, { exp: second - 3 }, { nbf: second + 3 }, { aud: ['other', 'heimdall'] }, { sub: 'auth0|5f7c8ec7c33c6c004bbafe82' }, { sub: 'CN=Ann Example, O=Example' }]) {
    assert.equal((await scene.ask(await scene.issuer.sign(made))).status, 200, JSON.stringify(made));
  }
});

test('the issuer is asked once for its keys, however many come at once', async (t) => {
  const scene = await startJwtScene(t);
  const tokens = await Promise.all(Array.from({ length: 20 }, (_, at) => scene.issuer.sign({ sub: `user-${at}` })));
  const answers = await Promise.all([...tokens, ...tokens].map((token) => scene.ask(token)));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(scene.issuer.asked, 1);
});

test('a token ends at its moment, known or not', async (t) => {
  const scene = await startJwtScene(t);
  const token = await scene.issuer.sign();
  assert.equal((await scene.ask(token)).status, 200);
  scene.clock.tick(hour * 1000);
  assert.equal((await scene.ask(token)).status, 200);
  scene.clock.tick(6000);
  assert.equal((await scene.ask(token)).status, 401);
  assert.deepEqual(failures(scene), ['jwt_expired:exp']);
});

test('a new key is fetched when a token names it, and made-up names ask the issuer once in half a minute', async (t) => {
  const scene = await startJwtScene(t);
  assert.equal((await scene.ask(await scene.issuer.sign())).status, 200);
  const stranger = { alg: 'ES256', ...(await generateKeyPair('ES256')) };
  for (let at = 0; at < 5; at++) assert.equal((await scene.ask(await scene.issuer.sign({}, { kid: `made-up-${at}`, ...stranger }))).status, 401);
  assert.equal(scene.issuer.asked, 1);
  scene.clock.tick(30_000);
  const second = await scene.issuer.add('second');
  assert.equal((await scene.ask(await scene.issuer.sign({}, second))).status, 200);
  assert.equal(scene.issuer.asked, 2);
  assert.deepEqual(scene.gate.log.named('auth.jwks_rotated').map(({ keys }) => keys), [['first', 'second']]);
});

test('a key the issuer takes back ends the tokens it signed, also those known', async (t) => {
  const scene = await startJwtScene(t);
  const old = await scene.issuer.sign();
  assert.equal((await scene.ask(old)).status, 200);
  const second = await scene.issuer.add('second');
  scene.issuer.remove('first');
  scene.clock.tick(600_000);
  assert.equal((await scene.ask(old)).status, 200);
  await until(() => scene.gate.log.named('auth.jwks_rotated').length === 1);
  assert.equal((await scene.ask(old)).status, 401);
  assert.equal((await scene.ask(await scene.issuer.sign({}, second))).status, 200);
});

test('while the issuer is away keys that are known go on and others are refused, with an event', async (t) => {
  const scene = await startJwtScene(t);
  const known = await scene.issuer.sign();
  assert.equal((await scene.ask(known)).status, 200);
  const second = await scene.issuer.add('second');
  await scene.issuer.stop();
  scene.clock.tick(601_000);
  assert.equal((await scene.ask(known)).status, 200);
  assert.equal((await scene.ask(await scene.issuer.sign({ sub: 'bob' }, undefined, { kid: 'second' }))).status, 503);
  const answer = await scene.ask(await scene.issuer.sign({ sub: 'carol' }, second));
  assert.deepEqual([answer.status, answer.json<{ error: { code: string } }>().error.code], [503, 'auth_unavailable']);
  assert.equal(scene.gate.log.named('auth.jwks_unavailable').length, 1);
  await scene.issuer.restart();
  scene.clock.tick(5000);
  assert.equal((await scene.ask(await scene.issuer.sign({ sub: 'carol' }, second))).status, 200);
  assert.equal(scene.gate.log.named('auth.jwks_back').length, 1);
});

test('an issuer that was never there lets nobody in, and everybody once it is', async (t) => {
  const scene = await startJwtScene(t);
  await scene.issuer.stop();
  assert.equal((await scene.ask(await scene.issuer.sign())).status, 503);
  assert.equal((await scene.ask(gatewayKey)).status, 200);
  await scene.issuer.restart();
  scene.clock.tick(5000);
  assert.equal((await scene.ask(await scene.issuer.sign())).status, 200);
});

test('an answer that is no key set is none, wherever it points and however long it is', async (t) => {
  const scene = await startJwtScene(t);
  const elsewhere = await startIssuer(t, scene.clock.now);
  const answers: Parameters<Issuer['answerWith']>[0][] = [
    (_req, res) => res.writeHead(302, { Location: elsewhere.jwksUri }).end(),
    (_req, res) => res.writeHead(500).end('{"keys":[]}'),
    (_req, res) => res.writeHead(200).end('<html>'),
    (_req, res) => res.writeHead(200).end('{"keys":"none"}'),
    (_req, res) => res.writeHead(200).end(`{"keys":[],"x":"${'x'.repeat(1_100_000)}"}`),
  ];
  for (const answer of answers) {
    scene.issuer.answerWith(answer);
    assert.equal((await scene.ask(await elsewhere.sign())).status, 503);
    scene.clock.tick(5000);
  }
  assert.equal(elsewhere.asked, 0);
  scene.issuer.answerWith(null);
  assert.equal((await scene.ask(await scene.issuer.sign())).status, 200);
});

test('a token that names no key is tried with each that could fit', async (t) => {
  const scene = await startJwtScene(t);
  const second = await scene.issuer.add('second');
  for (const key of [undefined, second]) assert.equal((await scene.ask(await scene.issuer.sign({ sub: 'dave' }, key, { kid: undefined }))).status, 200);
  assert.equal((await scene.ask(await scene.issuer.sign({}, { kid: 'x', alg: 'ES256', ...(await generateKeyPair('ES256')) }, { kid: undefined }))).status, 401);
});

test('a subject has a lane of its own beside a key of that name, and no key can be named like one', async (t) => {
  const clock = fakeClock();
  await assert.rejects(async () => startGate(t, { auth: { keys: [{ name: 'jwt:alice', sha256: 'a'.repeat(64) }] } }, { clock }), /auth\.keys\[0\]\.name: expected a name that does not begin with jwt:/);
});

test('a gate that observes lets a bad token on without it, and lends nobody a credential of ours', async (t) => {
  const scene = await startJwtScene(t, { mode: 'observe', jwt: { upstreamCredential: DEMO_KEY } });
  const token = await scene.issuer.sign({ aud: 'another' });
  assert.equal((await scene.ask(token)).status, 401);
  const answer = await scene.ask(token, '/v1beta/models');
  assert.equal(answer.status, 401);
  assert.ok(answer.headers['x-oneapi-request-id'], answer.text);
  assert.ok(!scene.newapi.requests.some(({ rawHeaders }) => rawHeaders.join().includes('eyJ')));
  assert.equal(scene.backup.connections, 0);
});

test('who leaves while the issuer is asked costs nothing more', async (t) => {
  const scene = await startJwtScene(t);
  let release = (): void => undefined;
  const waiting = new Promise<void>((resolve) => {
    scene.issuer.answerWith((_req, res) => {
      release = () => res.writeHead(200).end('{"keys":[]}');
      resolve();
    });
  });
  const controller = new AbortController();
  const asked = request(`${scene.gate.url}/v1/chat/completions`, { headers: bearer(await scene.issuer.sign()), body: chat, signal: controller.signal }).catch(() => null);
  await waiting;
  controller.abort();
  assert.equal(await asked, null);
  release();
  assert.equal((await scene.ask(gatewayKey)).status, 200);
  assert.equal(scene.backup.calls.length, 1);
});
