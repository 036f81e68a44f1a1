import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/request/context.ts';
import type { Core } from '../../lib/request/context.ts';
import { encodePath, RequestBody } from '../../lib/http/http.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import { eligible, requestFor, targetModel, targetsOf, type Target } from '../../lib/upstream/targets.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { realClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

function targetsFor(t: TestContext, config: ConfigInput): readonly Target[] {
  const core = { config: resolveConfig(config), clock: realClock, log: recorder() } as unknown as Core;
  const targets = targetsOf(core);
  t.after(() => Promise.all(targets.map(({ pool }) => pool.destroy())));
  return targets;
}

function only(t: TestContext, llm: ConfigInput['llm']): Target {
  return targetsFor(t, { auth: { mode: 'keys' }, llm })[0] as Target;
}

interface Asked extends Partial<Pick<Context, 'verified' | 'key' | 'upstreamCredential' | 'model' | 'query'>> {
  readonly method?: string;
  readonly path?: string;
  /** As sent, when it is not the canonical path and the query. */
  readonly url?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A context as the parts above the upstream leave it. */
function contextOf({ method = 'POST', path = '/v1/chat/completions', query = '', url, body, headers = {}, ...rest }: Asked): Context {
  const rawHeaders = Object.entries(headers).flat();
  const bytes = body === undefined ? null : Buffer.from(body);
  const at = body?.indexOf(':"') ?? -1;
  const modelSpan = at === -1 ? null : [at + 1, (body as string).indexOf('"', at + 2) + 1];
  const core = { config: { auth: { mode: 'keys' }, clientIpHeader: null, ja4Header: null, audit: { otlp: { endpoint: null } } } };
  const fixed = { core, withheld: false, ip: '203.0.113.9', host: 'gate.test', proto: 'http', id: 'id', bodyStream: null, verified: true, key: null, upstreamCredential: null, model: null, decodedBody: null };
  return { ...fixed, req: { method, url: url ?? path + query, headers, rawHeaders }, path, wirePath: encodePath(path), withheldHeaders: null, withheldQuery: null, credential: null, contentType: null, query, body: bytes === null ? null : RequestBody.of(bytes), modelSpan, route: routeOf(method, path), ...rest } as unknown as Context;
}

describe('targetsOf', () => {
  it('asks NewAPI with the caller\'s credential unless it has one of ours', (t) => {
    const [newapi, own, custom] = targetsFor(t, {
      newapi: { baseUrl: 'http://127.0.0.1:3000' },
      llm: { backupProviders: [{ provider: 'newapi', apiKey: 'sk-ours' }, { provider: 'mine', endpoint: 'https://api.test:8443/deep/v1/' }] },
    });
    assert.deepEqual([newapi?.name, newapi?.credential, newapi?.base, newapi?.host], ['newapi', 'caller', '/v1', '127.0.0.1:3000']);
    assert.deepEqual([own?.name, own?.credential], ['newapi-2', 'own']);
    assert.deepEqual([custom?.name, custom?.credential, custom?.base, custom?.host], ['mine', 'own', '/deep/v1', 'api.test:8443']);
  });

  it('numbers names that stand twice, even where the number is taken', (t) => {
    const twin = { endpoint: 'http://127.0.0.1:1/v1' };
    const targets = targetsFor(t, { llm: { backupProviders: ['a', 'a-2', 'a', 'a'].map((provider) => ({ provider, ...twin })) } });
    const names = targets.map(({ name }) => name);
    assert.equal(new Set(names).size, 5, names.join());
    assert.deepEqual(names.slice(0, 3), ['newapi', 'a', 'a-2']);
  });

  it('knows where the providers of its list live', (t) => {
    const targets = targetsFor(t, { llm: { backupProviders: [{ provider: 'openai' }, { provider: 'anthropic' }, { provider: 'ollama' }] } });
    assert.deepEqual(targets.slice(1).map(({ host, base }) => host + base), ['api.openai.com/v1', 'api.anthropic.com/v1', '127.0.0.1:11434/v1']);
  });
});

describe('eligible', () => {
  it('lets unverified callers to no target that costs our money', (t) => {
    for (const llm of [{ provider: 'openai' }, { provider: 'ollama' }, { provider: 'newapi', apiKey: 'sk-ours' }, { provider: 'mine', endpoint: 'http://127.0.0.1:1/v1' }]) {
      const target = only(t, llm);
      assert.equal(eligible(target, contextOf({ verified: false })), false, llm.provider);
      assert.equal(eligible(target, contextOf({ verified: true })), true, llm.provider);
    }
  });

  it('shows a gateway key to no NewAPI', (t) => {
    const [newapi] = targetsFor(t, {});
    assert.equal(eligible(newapi as Target, contextOf({ key: null })), true);
    assert.equal(eligible(newapi as Target, contextOf({ key: 'team' })), false);
    assert.equal(eligible(newapi as Target, contextOf({ key: 'team', upstreamCredential: 'sk-up' })), true);
  });

  it('asks a provider only what it speaks', (t) => {
    const speaks = (provider: string, method: string, path: string): boolean => eligible(only(t, { provider, endpoint: 'http://127.0.0.1:1/v1', apiKey: 'k' }), contextOf({ method, path }));
    const table: Record<string, string> = {
      'POST /v1/chat/completions': 'newapi openai anthropic ollama mine',
      'POST /v1/messages': 'newapi anthropic',
      'POST /v1/responses': 'newapi openai mine',
      'POST /v1/embeddings': 'newapi openai ollama mine',
      'POST /v1/rerank': 'newapi',
      'GET /v1/models': 'newapi openai anthropic ollama mine',
    };
    for (const [asked, expected] of Object.entries(table)) {
      const [method = '', path = ''] = asked.split(' ');
      assert.equal(['newapi', 'openai', 'anthropic', 'ollama', 'mine'].filter((name) => speaks(name, method, path)).join(' '), expected, asked);
    }
  });

  it('skips a target that knows the model by another name where the name cannot be changed', (t) => {
    const target = only(t, { provider: 'openai', apiKey: 'k', models: { a: 'b' } });
    assert.equal(eligible(target, contextOf({ model: 'a', body: '{"model":"a"}' })), true);
    assert.equal(eligible(target, contextOf({ model: 'a', body: 'a form' })), false);
    assert.equal(eligible(target, contextOf({ model: 'c', body: 'a form' })), true);
  });
});

describe('targetModel', () => {
  it('prefers the mapping, then the one model, then what was asked for', (t) => {
    const target = only(t, { provider: 'openai', model: 'one', models: { a: 'b' } });
    assert.deepEqual(['a', 'c', null].map((model) => targetModel(target, contextOf({ model }))), ['b', 'one', null]);
    assert.equal(targetModel(only(t, { provider: 'openai' }), contextOf({ model: 'c' })), 'c');
  });

  it('is not fooled by names that every object has', (t) => {
    const target = only(t, { provider: 'openai', models: { a: 'b' } });
    for (const model of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) assert.equal(targetModel(target, contextOf({ model })), model);
  });
});

describe('requestFor', () => {
  it('gives NewAPI the judged path, and the query as it came', (t) => {
    const [target] = targetsFor(t, {}) as [Target];
    const path = (asked: Asked): string => requestFor(target, contextOf(asked)).path;
    assert.equal(path({ path: '/v1/models/a:b', url: '/v1/models/a%3Ab?key=x&b=%2f', query: '?key=x&b=%2f', method: 'GET' }), '/v1/models/a:b?b=%2f');
    assert.equal(path({ url: '/x/../v1/chat/completions?a=1', query: '?a=1' }), '/v1/chat/completions?a=1');
    assert.equal(path({ key: 'team', upstreamCredential: 'sk-up', query: '?key=gate&a=1' }), '/v1/chat/completions?a=1');
  });

  it('gives other targets the decoded path, encoded anew, and no credential in the query', (t) => {
    const target = only(t, { provider: 'openai', endpoint: 'http://127.0.0.1:1/base/v1', apiKey: 'k' });
    assert.equal(requestFor(target, contextOf({ query: '?key=caller&a=1&beta=true' })).path, '/base/v1/chat/completions?beta=true');
    assert.equal(requestFor(target, contextOf({ method: 'GET', path: '/v1/models/a?b#c d%' })).path, '/base/v1/models/a%3Fb%23c%20d%25');
  });

  it('carries our key as the provider wants it, and nothing of the caller\'s', (t) => {
    const headers = { Authorization: 'Bearer caller', 'x-api-key': 'caller', Cookie: 'caller', 'Content-Type': 'application/json' };
    const sent = (provider: string, path: string): unknown => requestFor(only(t, { provider, apiKey: 'ours' }), contextOf({ path, headers, body: '{}' })).headers;
    assert.deepEqual(sent('openai', '/v1/chat/completions'), ['Host', 'api.openai.com', 'Authorization', 'Bearer ours', 'Content-Type', 'application/json', 'Accept-Encoding', 'identity']);
    assert.deepEqual(sent('anthropic', '/v1/messages'), ['Host', 'api.anthropic.com', 'x-api-key', 'ours', 'Content-Type', 'application/json', 'Accept-Encoding', 'identity']);
    assert.deepEqual(sent('anthropic', '/v1/chat/completions'), ['Host', 'api.anthropic.com', 'Authorization', 'Bearer ours', 'Content-Type', 'application/json', 'Accept-Encoding', 'identity']);
  });

  it('changes the bytes of the model\'s name, and no other byte', (t) => {
    const target = only(t, { provider: 'openai', models: { a: 'größer "b"' } });
    const body = '{ "model" :"a", "n": 1.0e2, "x":"\\u00e9" }';
    assert.equal(String(requestFor(target, contextOf({ body, model: 'a' })).body), '{ "model" :"größer \\"b\\"", "n": 1.0e2, "x":"\\u00e9" }');
    const context = contextOf({ body, model: 'other' });
    assert.equal(requestFor(target, context).body, context.body?.pieces[0]);
  });
});
