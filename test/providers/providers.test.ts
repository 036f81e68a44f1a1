import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { PROVIDERS } from '../../lib/config/provider.ts';
import { errorStatus } from '../../lib/providers/common.ts';
import { providerOf, providers } from '../../lib/providers/providers.ts';
import { routes } from '../../lib/upstream/routes.ts';

describe('the providers', () => {
  it('are those the configuration names, one file each', () => {
    const names = providers.map(({ name }) => name);
    assert.deepEqual(names, [...PROVIDERS]);
    const files = readdirSync(new URL('../../lib/providers', import.meta.url)).map((file) => file.replace('.ts', ''));
    assert.deepEqual(files.filter((file) => file !== 'providers' && file !== 'common').sort(), [...names].sort());
  });

  it('speak only model routes that the gate knows', () => {
    const known = routes.filter(({ class: kind }) => kind === 'model').map(({ api }) => api);
    for (const { name } of [...providers, { name: 'another' }]) {
      const { speaks } = providerOf(name);
      for (const template of speaks === 'all' ? [] : speaks) assert.ok(known.includes(template), `${name}: ${template}`);
    }
  });

  it('live where their makers say, ask for something free, and take their key where they look for it', () => {
    const table = providers.map(({ name }) => {
      const { endpoint, probe, credential } = providerOf(name);
      return [name, endpoint, probe('/v1'), credential('k', '/v1/chat/completions'), credential('k', '/v1/messages')];
    });
    const bearer = ['Authorization', 'Bearer k'];
    assert.deepEqual(table, [
      ['newapi', null, '/api/status', bearer, bearer],
      ['openai', 'https://api.openai.com/v1', '/v1/models', bearer, bearer],
      ['anthropic', 'https://api.anthropic.com/v1', '/v1/models', bearer, ['x-api-key', 'k']],
      ['ollama', 'http://127.0.0.1:11434/v1', '/v1/models', bearer, bearer],
    ]);
    assert.equal(providerOf('newapi').probe('/deep/v1'), '/deep/api/status');
  });
});

describe('providerOf', () => {
  it('takes any other name for an OpenAI-compatible API', () => {
    assert.deepEqual({ ...providerOf('mine'), name: 'openai', endpoint: providerOf('openai').endpoint }, providerOf('openai'));
    assert.deepEqual([providerOf('mine').name, providerOf('mine').endpoint], ['mine', null]);
  });

  it('fills in what an object leaves out', () => {
    const probe = (base: string): string => `${base}/free`;
    assert.deepEqual(providerOf({ name: 'mine', probe }), { ...providerOf('mine'), probe });
    assert.deepEqual(providerOf({ name: 'openai' }).endpoint, null);
  });
});

describe('errorStatus', () => {
  for (const [error, status] of [
    [{ status: 503, code: 'x' }, 503], [{ code: '429' }, 429], [{ code: 200 }, 502], [{ type: 'too_many_requests' }, 429],
    [{ type: 'authentication_error' }, 401], [{ type: 'invalid_request_error', code: 'invalid_api_key' }, 401], [{ code: 'overloaded' }, 529],
    [null, 502], ['text', 502], [{}, 502], [{ type: 'api_error' }, 502],
  ] as const) it(`takes ${JSON.stringify(error)} inside a stream for ${status}`, () => assert.equal(errorStatus(error, 200), status));

  it('goes by the status of an answer that has one, whatever it says', () => {
    for (const status of [400, 401, 429, 500, 529]) assert.equal(errorStatus({ status: 503, type: 'invalid_request_error' }, status), status);
  });
});
