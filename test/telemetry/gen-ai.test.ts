import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/request/context.ts';
import { GenAiSeries, knownModels } from '../../lib/telemetry/request-series.ts';
import type { Sample } from '../../lib/telemetry/request-series.ts';
import { routeOf } from '../../lib/upstream/routes.ts';
import type { Usage } from '../../types/usage.d.ts';

const usage: Usage = { prompt: 40, completion: 11, cached: 30, reasoning: 2, estimated: false };

/** A stream that was served. */
function finished({ path = '/v1/chat/completions', method = 'POST', ...over }: Partial<Context> & { readonly path?: string; readonly method?: string } = {}): Context {
  return { route: routeOf(method, path), target: 'newapi', model: 'gpt-5-mini', usage, status: 200, outcome: 'served', errorCode: null, eventStream: true, answeredAt: 500, duration: 2500, ...over } as unknown as Context;
}

function counting(...contexts: readonly Context[]): GenAiSeries {
  const series = new GenAiSeries(new Set(['gpt-5-mini', 'claude-5']));
  series.provides('newapi', 'newapi');
  series.provides('mine', 'openai');
  series.provides('mine-2', 'openai');
  for (const context of contexts) series.add(context);
  return series;
}

const ends = (samples: readonly Sample[], part: 'sum' | 'count'): readonly Sample[] => samples.filter(({ metricName, value }) => metricName === `m_${part}` && value > 0);
const counts = (samples: readonly Sample[]): unknown[] => ends(samples, 'count').map(({ labels, value }) => [...Object.values(labels), value]);

describe('model requests in OpenTelemetry\'s names', () => {
  it('are told apart by operation, provider and model', () => {
    const paths = ['/v1/chat/completions', '/v1/responses', '/v1/messages', '/v1/completions', '/v1/embeddings', '/v1/rerank', '/v1/images/edits', '/v1/audio/speech'];
    const series = counting(...paths.map((path) => finished({ path })), finished({ target: 'mine' }), finished({ target: 'mine-2' }), finished({ model: 'claude-5' }));
    assert.deepEqual(counts(series.durations('m')), [
      ['chat', 'newapi', 'gpt-5-mini', 3],
      ['text_completion', 'newapi', 'gpt-5-mini', 1],
      ['embeddings', 'newapi', 'gpt-5-mini', 1],
      ['rerank', 'newapi', 'gpt-5-mini', 1],
      ['images', 'newapi', 'gpt-5-mini', 1],
      ['audio', 'newapi', 'gpt-5-mini', 1],
      ['chat', 'openai', 'gpt-5-mini', 2],
      ['chat', 'newapi', 'claude-5', 1],
    ]);
    assert.deepEqual(Object.keys(series.durations('m')[0]?.labels ?? {}), ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model', 'le']);
  });

  it('know no model but those of the configuration', () => {
    const series = counting(...['gpt-5', 'GPT-5-mini', 'gpt-5-mini ', '__proto__', '', null].map((model) => finished({ model })));
    assert.deepEqual(counts(series.durations('m')), [['chat', 'newapi', 'other', 6]]);
    const models = knownModels(resolveConfig({
      llm: { model: 'a', models: { b: 'c' }, backupProviders: [{ provider: 'openai', apiKey: 'k', models: { d: 'e' } }], prices: { f: { input: 1, output: 1 }, 'g*': { input: 1, output: 1 } } },
      auth: { mode: 'keys', keys: [{ name: 'k', sha256: 'a'.repeat(64), models: ['h'] }] },
      rateLimit: { policies: [{ match: { model: 'i' }, requests: { limit: 1, window: '1s' } }, { match: { model: 'j*' }, requests: { limit: 1, window: '1s' } }] },
    }));
    assert.deepEqual([...models].sort(), ['a', 'b', 'c', 'd', 'e', 'f', 'h', 'i']);
  });

  it('are those a target has worked on: no list of models, no task, nothing refused before', () => {
    const series = counting(finished({ path: '/v1/models', method: 'GET' }), finished({ path: '/mj/submit/imagine' }), finished({ path: '/v1/realtime', method: 'GET' }), finished({ target: null }));
    assert.deepEqual(series.durations('m'), []);
  });

  it('are told apart by how they failed', () => {
    const failures = [{ errorCode: 'upstream_timeout' as const, status: 504 }, { status: 503 }, { status: 404 }, { status: 499, outcome: 'aborted' as const }, { errorCode: 'upstream_interrupted' as const, outcome: 'upstream_error' as const }];
    const series = counting(finished(), ...failures.map((over) => finished({ ...over, usage: null })));
    assert.deepEqual(ends(series.durations('m'), 'count').map(({ labels }) => labels['error_type']), [undefined, 'upstream_timeout', '5xx', '4xx', 'aborted', 'upstream_interrupted']);
    // Only what was served whole says how fast it was.
    assert.deepEqual([counts(series.firstTokens('m')).length, counts(series.perToken('m')).length], [1, 1]);
    assert.equal(ends(series.firstTokens('m'), 'count')[0]?.value, 1);
  });

  it('count tokens as they were told, in the buckets of the conventions', () => {
    const series = counting(finished(), finished({ usage: { ...usage, estimated: true } }), finished({ usage: null }));
    assert.deepEqual(ends(series.tokens('m'), 'sum').map(({ labels, value }) => [labels['gen_ai_token_type'], value]), [['input', 40], ['output', 11]]);
    const bounds = series.tokens('m').filter(({ metricName, labels }) => metricName === 'm_bucket' && labels['gen_ai_token_type'] === 'input').map(({ labels }) => labels['le']);
    assert.deepEqual(bounds, [...Array.from({ length: 14 }, (_, power) => 4 ** power), '+Inf']);
  });

  it('time the first token of a stream and each after it', () => {
    const series = counting(finished(), finished({ eventStream: false }), finished({ usage: { ...usage, completion: 1 } }));
    assert.deepEqual([ends(series.firstTokens('m'), 'sum')[0]?.value, ends(series.firstTokens('m'), 'count')[0]?.value], [1, 2]);
    assert.deepEqual([ends(series.perToken('m'), 'sum')[0]?.value, ends(series.perToken('m'), 'count')[0]?.value], [0.2, 1]);
  });
});
