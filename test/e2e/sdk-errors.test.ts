import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { closing } from '../support/client.ts';
import { startGate } from '../support/gate.ts';
import { startProvider, type Provider } from '../support/provider.ts';

const key = `sk-${'s'.repeat(48)}`;
const messages = [{ role: 'user' as const, content: 'hello' }];

interface Scene {
  readonly provider: Provider;
  readonly openai: OpenAI;
  readonly anthropic: Anthropic;
}

/** Both SDKs with their own default of two retries, before a gate that makes one of its own. */
async function start(t: TestContext, provider: 'openai' | 'anthropic'): Promise<Scene> {
  const upstream = closing(t, await startProvider({ name: 'upstream', key: 'our-key' }));
  const gate = await startGate(t, {
    audit: false,
    llm: { provider, endpoint: upstream.endpoint, apiKey: 'our-key', retry: { maxRetries: 1, initialDelay: '1ms', maxDelay: '2ms' } },
    auth: { mode: 'keys', keys: [{ name: 'sdk', sha256: hash('sha256', key) }] },
  });
  return {
    provider: upstream,
    openai: new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: key }),
    anthropic: new Anthropic({ baseURL: gate.url, apiKey: key }),
  };
}

test('openai: an upstream that stays down is its InternalServerError, and its retries do not multiply ours', async (t) => {
  const { provider, openai } = await start(t, 'openai');
  await provider.script({ kind: 'status', status: 500 });
  await assert.rejects(openai.chat.completions.create({ model: 'gpt-4o-mini', messages }), OpenAI.InternalServerError);
  assert.equal(provider.calls.length, 2);
});

test('openai: a limit is its RateLimitError with the upstream\'s Retry-After, asked once when that is long', async (t) => {
  const { provider, openai } = await start(t, 'openai');
  await provider.script({ kind: 'status', status: 429, headers: { 'Retry-After': '30' } });
  await assert.rejects(openai.chat.completions.create({ model: 'gpt-4o-mini', messages }, { maxRetries: 0 }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.headers?.get('retry-after'), '30');
    return true;
  });
  assert.equal(provider.calls.length, 1);
});

test('openai: an error inside a stream is thrown as the error it is, not read as an answer', async (t) => {
  const { provider, openai } = await start(t, 'openai');
  await provider.script({ kind: 'error_event', shape: 'openai' });
  await assert.rejects(openai.chat.completions.create({ model: 'gpt-4o-mini', messages, stream: true }), OpenAI.APIError);
  assert.equal(provider.calls.length, 2);
});

test('anthropic: a message comes through, and overload is its InternalServerError, our retries alone', async (t) => {
  const { provider, anthropic } = await start(t, 'anthropic');
  const message = await anthropic.messages.create({ model: 'claude-sonnet-4', max_tokens: 9, messages });
  assert.equal(message.type, 'message');
  assert.equal(provider.calls[0]?.headers['x-api-key'], 'our-key');
  provider.clear();
  await provider.script({ kind: 'status', status: 529, headers: { 'retry-after-ms': '1' } });
  await assert.rejects(anthropic.messages.create({ model: 'claude-sonnet-4', max_tokens: 9, messages }), Anthropic.InternalServerError);
  assert.equal(provider.calls.length, 2);
});

test('anthropic: a wrong key is its AuthenticationError, in its own shape', async (t) => {
  const { anthropic } = await start(t, 'anthropic');
  const stranger = new Anthropic({ baseURL: anthropic.baseURL, apiKey: 'sk-wrong' });
  await assert.rejects(stranger.messages.create({ model: 'claude-sonnet-4', max_tokens: 9, messages }), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError);
    assert.partialDeepStrictEqual(error.error, { type: 'error', error: { type: 'authentication_error' } });
    return true;
  });
});
