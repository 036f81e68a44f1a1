import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closing, request } from '../support/client.ts';
import { startProvider } from '../support/provider.ts';
import { behind, chat, keyed, listed } from './behind.ts';

describe('openai', () => {
  it('hands model routes to whom llm names, and nothing else', async (t) => {
    const provider = closing(t, await startProvider({ key: 'sk-ours' }));
    const { ask, seen, url } = await behind(t, { auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-up' }] }, llm: { provider: 'openai', endpoint: provider.endpoint, apiKey: 'sk-ours' } });
    assert.equal((await ask('/v1/chat/completions', { body: chat, headers: keyed })).status, 200);
    assert.equal((await ask('/v1/models', { headers: keyed })).status, 200);
    assert.deepEqual(provider.calls.map(({ method, path }) => `${method} ${path}`), ['POST /v1/chat/completions', 'GET /v1/models']);
    assert.equal(seen.length, 0);
    for (const path of ['/', '/api/status', '/v1/files', '/v1beta/models', '/mj/image/1']) await request(url + path, { headers: keyed });
    assert.deepEqual([provider.calls.length, seen.length], [2, 5]);
  });
});
