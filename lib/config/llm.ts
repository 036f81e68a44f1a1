import { key, list, map, required, section, sectionMap, sections } from './fields.ts';
import { choice, credential, duration, flag, integer, number, orNull, orOff, text, url } from './value-types.ts';
import { provider } from './provider.ts';

/** What a retry may follow. A `timeout` may bill twice, so it is asked for by name. */
export const RETRYABLE = ['rate_limit', 'timeout', 'server_error'] as const;

/** The name of a model as clients and providers write it. */
export const modelName = text('the name of a model', 'gpt-5-mini');

const target = {
  provider: key(
    provider,
    'newapi',
    'Whose API the target speaks: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint; in code also a Provider',
  ),
  endpoint: key(
    orNull(url('https://api.openai.com/v1')),
    null,
    "Base URL up to and with the version; none means the provider's own, for newapi newapi.base_url + /v1",
    'by provider',
  ),
  apiKey: key(orNull(credential()), null, "Credential sent to the target; without one newapi gets the caller's"),
  model: key(orNull(modelName), null, 'Model every request to the target uses instead of the one it names'),
  models: map(modelName, 'Models renamed on the way to the target, from: to'),
  weight: key(integer(3, 1, 1000), 1, 'Share of the requests the target gets beside the others when strategy is weighted'),
};

const perMillion = number(2.5, 0);

const prices = sectionMap(
  'ModelPrice',
  'What a model costs, in USD per million tokens',
  'Prices by the name of a model, or by what names begin with and a * after it; the longest that fits counts',
  {
    input: required(perMillion, 'USD per million prompt tokens'),
    output: required(perMillion, 'USD per million completion tokens'),
    cached: key(orNull(perMillion), null, 'USD per million prompt tokens read from a cache; none means the price of input'),
  },
);

const retry = section('RetryConfig', 'When and how often the targets are asked again; also as retry at the top', {
  maxRetries: key(integer(5, 0, 100), 5, 'How often the targets are asked again after every one was asked once; 0 for never'),
  initialDelay: key(duration('100ms'), '100ms', 'Longest wait before the first retry; the real one is random below it'),
  maxDelay: key(duration('5s'), '5s', 'Longest wait before any retry'),
  multiplier: key(number(1.5, 1, 10), 1.5, 'What the wait grows by with every retry'),
  retryableErrors: list(
    choice(RETRYABLE),
    ['rate_limit', 'server_error'],
    'Failures that are tried again; timeout may bill a request twice',
  ),
});

const healthCheck = section('HealthCheckConfig', 'Free probes of the targets; also as health_check at the top', {
  enabled: key(flag(), true, 'Whether targets are probed'),
  interval: key(duration('15s', 1_000), '15s', 'Time between two probes of a target'),
  timeout: key(duration('5s'), '5s', 'How long a probe may take'),
  failureThreshold: key(integer(2, 1, 100), 2, 'Failed probes in a row after which a target counts as down; also as threshold'),
});

/** Who answers model routes, and how they are chosen, asked again and watched. */
export const llm = section('LlmConfig', 'Who answers model routes', {
  ...target,
  backupProviders: sections(
    'LlmTarget',
    'A place that can answer model routes',
    'Targets asked in this order when those before cannot answer; keys as in llm',
    target,
  ),
  strategy: key(
    choice(['failover', 'weighted', 'least_busy']),
    'failover',
    'Which target is asked first: the first in the list, one by weight, or the one with the fewest requests in hand',
  ),
  prices,
  retry,
  healthCheck,
  timeouts: section('LlmTimeouts', 'Patience with targets', {
    connect: key(duration('5s'), '5s', 'How long a target may take to accept a connection'),
    firstByte: key(duration('300s'), '300s', 'How long it may take to begin its answer'),
    idle: key(duration('300s'), '300s', 'How long it may be silent within an answer'),
    total: key(duration('10m'), '10m', 'How long all attempts together may take until an answer is committed to'),
  }),
  streamPreludeAfter: key(
    orOff(duration('15s')),
    null,
    'Silence after which a stream that has no answer yet begins with comments, so that a CDN does not cut it',
    'off',
  ),
  keepAliveComments: key(
    orOff(duration('15s')),
    null,
    'Silence after which a comment is sent within a stream, again and again, so that nothing on the way cuts it',
    'off',
  ),
});

/** When a target that fails is left alone. */
export const circuitBreaker = section('CircuitBreakerConfig', 'When a target that fails is left alone for a while', {
  maxRequests: key(integer(1, 1, 1000), 1, 'Requests at a time that test whether a target is back'),
  interval: key(duration('30s', 0), '30s', 'Time after which the failures counted so far are forgotten; 0 for never'),
  timeout: key(duration('10s'), '10s', 'How long a target is left alone before it is tested'),
  failureThreshold: key(integer(5, 1, 1000), 5, 'Failures in a row after which a target is left alone'),
});
