import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { outgoingCredentials, type OutgoingCredential } from '../../lib/upstream/headers.ts';
import { request, type Answer } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { startIssuer } from '../support/issuer.ts';
import { bearer } from '../support/scene.ts';
import { startUpstream } from '../support/upstream.ts';

type Class = keyof typeof outgoingCredentials;
type Mode = keyof (typeof outgoingCredentials)['model'];

const modes: readonly Mode[] = ['passthrough', 'keys', 'jwt'];
const callers = `sk-${'CallersOwnToken0'.repeat(3)}`;
const granted = `sk-${'GrantedByNewapi0'.repeat(3)}`;
const ours = 'our-own-key-at-the-provider';
const gatewayKey = 'sk-a-key-of-the-gate-that-is-long-enough';

const routes: Readonly<Record<Class, readonly [method: string, path: string]>> = {
  model: ['POST', '/v1/chat/completions'],
  realtime: ['GET', '/v1/realtime'],
  task: ['POST', '/suno/submit/music'],
  webhook: ['POST', '/api/stripe/webhook'],
  api: ['GET', '/api/user/self'],
  ui: ['GET', '/console'],
};

/** The table as DESIGN has it: class, then what NewAPI gets by mode, then what a target of ours gets. */
const expected: Readonly<Record<Class, readonly [newapi: readonly [OutgoingCredential, OutgoingCredential, OutgoingCredential], own: OutgoingCredential]>> = {
  model: [['caller', 'granted', 'granted'], 'ours'],
  realtime: [['caller', 'granted', 'granted'], 'never'],
  task: [['caller', 'granted', 'granted'], 'never'],
  webhook: [['caller', 'caller', 'caller'], 'never'],
  api: [['caller', 'caller', 'caller'], 'never'],
  ui: [['caller', 'caller', 'caller'], 'never'],
};

interface Scene {
  /** What NewAPI, and what our own target was sent. */
  readonly newapi: IncomingHttpHeaders[];
  readonly own: IncomingHttpHeaders[];
  /** What lets a caller in. */
  readonly credential: string;
  /** NewAPI answers 503 from now on, unsigned. */
  fail(): void;
  ask(kind: Class, headers: Readonly<Record<string, string>>): Promise<Answer>;
}

async function start(t: TestContext, mode: Mode, credentialed: boolean, config: ConfigInput = {}): Promise<Scene> {
  let status = 200;
  const into = (headers: IncomingHttpHeaders[], answered: () => number): RequestListener => (req, res) => {
    headers.push(req.headers);
    req.resume().on('end', () => res.writeHead(answered(), { 'Content-Type': 'application/json', ...(status === 200 && { 'X-Oneapi-Request-Id': 'r' }) }).end('{"ok":true}'));
  };
  const newapi: IncomingHttpHeaders[] = [];
  const own: IncomingHttpHeaders[] = [];
  const first = await startUpstream(t, into(newapi, () => status));
  const second = await startUpstream(t, into(own, () => 200));
  const issuer = await startIssuer(t);
  const upstreamCredential = credentialed ? granted : null;
  const gate = await startGate(t, {
    audit: false,
    newapi: { baseUrl: first.url },
    llm: { backupProviders: [{ provider: 'openai', endpoint: `${second.url}/v1`, apiKey: ours }] },
    auth: { mode, keys: [{ name: 'team', sha256: hash('sha256', gatewayKey), upstreamCredential }], jwt: { ...issuer.jwt, upstreamCredential } },
    ...config,
  });
  const ask: Scene['ask'] = (kind, headers) => {
    const [method, path] = routes[kind];
    return request(gate.url + path, { method, headers: { ...headers, Cookie: 'session=s' }, ...(method === 'POST' && { body: { model: 'm' } }) });
  };
  const credential = mode === 'passthrough' ? callers : mode === 'keys' ? gatewayKey : await issuer.sign();
  return { newapi, own, credential, fail: () => void (status = 503), ask };
}

/** The credential in what was sent, by the names this table has for it: a route that asks for none passes on every carrier, the others the one that was read. */
function seen(headers: IncomingHttpHeaders | undefined, credential: string, carriers: 'all' | 'one' = 'one'): OutgoingCredential {
  const all = JSON.stringify(headers ?? {});
  if (headers === undefined) return 'never';
  if (headers.authorization === `Bearer ${granted}` && headers['x-api-key'] === undefined && !all.includes(credential)) return 'granted';
  if (headers.authorization === `Bearer ${ours}` && headers.cookie === undefined && !all.includes(credential)) return 'ours';
  if (headers.authorization === `Bearer ${credential}` && headers['x-api-key'] === (carriers === 'all' ? credential : undefined)) return 'caller';
  return 'none';
}

const twice = (credential: string): Record<string, string> => ({ ...bearer(credential), 'x-api-key': credential });
const classes = Object.keys(routes) as Class[];

describe('the outgoing credential', () => {
  it('is written down as DESIGN has it', () => {
    for (const kind of classes) {
      const [newapi, own] = expected[kind];
      assert.deepEqual(modes.map((mode) => outgoingCredentials[kind][mode].newapi), newapi, kind);
      assert.deepEqual(modes.map((mode) => outgoingCredentials[kind][mode].own), [own, own, own], kind);
    }
    assert.deepEqual(Object.keys(outgoingCredentials), classes);
  });

  for (const [at, mode] of modes.entries()) {
    it(`to NewAPI in mode ${mode} is what the table says`, async (t) => {
      const scene = await start(t, mode, true);
      for (const kind of classes) {
        // Where no credential is asked for, one NewAPI gave out comes along.
        const isOpen = ['webhook', 'api', 'ui'].includes(kind);
        const credential = isOpen ? callers : scene.credential;
        const answer = await scene.ask(kind, twice(credential));
        assert.equal(answer.status, 200, `${kind} ${answer.text}`);
        assert.equal(seen(scene.newapi.at(-1), credential, isOpen ? 'all' : 'one'), expected[kind][0][at], kind);
        assert.equal(scene.newapi.at(-1)?.cookie, 'session=s');
      }
      assert.equal(scene.newapi.length, classes.length);
      assert.equal(scene.own.length, 0);
    });

    it(`to a target of ours in mode ${mode} is what the table says`, async (t) => {
      const scene = await start(t, mode, true);
      assert.equal((await scene.ask('model', twice(scene.credential))).status, 200);
      scene.fail();
      for (const kind of classes) {
        const before = scene.own.length;
        await scene.ask(kind, twice(scene.credential));
        assert.equal(scene.own.length - before, expected[kind][1] === 'ours' ? 1 : 0, kind);
        assert.equal(seen(scene.own[before], scene.credential), expected[kind][1], kind);
      }
    });
  }

  for (const mode of ['keys', 'jwt'] as const) {
    it(`in mode ${mode} is nothing where the caller has no credential for NewAPI: 403`, async (t) => {
      const scene = await start(t, mode, false, { llm: {} });
      for (const kind of ['model', 'realtime', 'task'] as const) assert.equal((await scene.ask(kind, twice(scene.credential))).status, 403, kind);
      assert.equal(scene.newapi.length, 0);
    });

    it(`in mode ${mode} is no credential of the gate's own, wherever it is put`, async (t) => {
      const scene = await start(t, mode, true);
      const carriers: Readonly<Record<string, string>>[] = [
        twice(gatewayKey), bearer(gatewayKey), { Authorization: gatewayKey }, { 'x-api-key': gatewayKey }, { 'x-goog-api-key': gatewayKey }, { 'mj-api-secret': gatewayKey },
        { ...bearer(callers), 'x-api-key': gatewayKey }, { 'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${gatewayKey}` },
      ];
      for (const kind of ['webhook', 'api', 'ui'] as const) {
        for (const headers of carriers) {
          assert.equal((await scene.ask(kind, headers)).status, 200, kind);
          assert.ok(!JSON.stringify(scene.newapi.at(-1)).includes(gatewayKey), `${kind} ${JSON.stringify(headers)}`);
          assert.equal(scene.newapi.at(-1)?.cookie, 'session=s');
        }
      }
    });

    it(`in mode ${mode} that only observes is a stranger's own credential, and none of the gate's beside it`, async (t) => {
      const scene = await start(t, mode, true, { mode: 'observe' });
      assert.equal((await scene.ask('task', twice(callers))).status, 200);
      assert.equal(seen(scene.newapi.at(-1), callers), 'caller');
      assert.equal((await scene.ask('task', { ...bearer(callers), 'x-api-key': gatewayKey })).status, 200);
      assert.ok(!JSON.stringify(scene.newapi.at(-1)).includes(gatewayKey));
      scene.fail();
      assert.equal((await scene.ask('model', twice(callers))).status, 503);
      assert.equal(scene.own.length, 0);
    });
  }
});
