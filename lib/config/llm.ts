import { key, list, map, required, section, sectionMap, sections } from './fields.ts';
import { choice, credential, duration, flag, integer, number, orNull, orOff, text, url } from './value-types.ts';
import { targetConnection } from './peer.ts';
import { provider } from './provider.ts';

/** Failures that may be retried. A retry after `timeout` may bill a request twice, so it must be named. */
export const RETRYABLE = ['rate_limit', 'timeout', 'server_error'] as const;

/** The name of a model, as clients and providers write it. */
export const modelName = text('the name of a model', 'gpt-5-mini');

const target = {
  provider: key(
    provider,
    'newapi',
    'API of the target: newapi, openai, anthropic, ollama, or any name for an OpenAI-compatible API at endpoint. In code also a Provider',
  ),
  endpoint: key(
    orNull(url('https://api.openai.com/v1')),
    null,
    "Base URL including the version. The default is the provider's own URL, for newapi newapi.base_url + /v1",
    'by provider',
  ),
  apiKey: key(orNull(credential()), null, "Credential sent to the target. Without a credential, newapi gets the caller's"),
  model: key(orNull(modelName), null, 'Model that replaces the requested model in every request to the target'),
  models: map(modelName, 'Models to rename for the target, as requested: sent'),
  weight: key(integer(3, 1, 1000), 1, 'Weight of the target with strategy weighted'),
  ...targetConnection,
};

/** Where prices come from that the configuration leaves out. */
const PRICE_SOURCES = ['newapi', 'package', 'none'] as const;

const perMillion = number(2.5, 0);

const prices = sectionMap(
  'ModelPrice',
  'Price of a model in US dollars per million tokens',
  'Prices by model name, or by a prefix followed by *. The longest match applies',
  {
    input: required(perMillion, 'US dollars per million prompt tokens'),
    output: required(perMillion, 'US dollars per million completion tokens'),
    cached: key(orNull(perMillion), null, 'US dollars per million cached prompt tokens', 'input'),
  },
);

const retry = section('RetryConfig', 'Retries of failed requests. Also as the top-level retry', {
  maxRetries: key(integer(5, 0, 100), 5, 'Highest number of retries after every target was tried once. 0 turns retries off'),
  initialDelay: key(duration('100ms'), '100ms', 'Longest delay before the first retry. The actual delay is random between 0 and this value'),
  maxDelay: key(duration('5s'), '5s', 'Longest delay before any retry'),
  multiplier: key(number(1.5, 1, 10), 1.5, 'Factor by which the longest delay grows with every retry'),
  retryableErrors: list(
    choice(RETRYABLE),
    ['rate_limit', 'server_error'],
    'Failures that are retried. A retry after timeout may bill a request twice',
  ),
});

const healthCheck = section('HealthCheckConfig', 'Probes of the targets, which cost no tokens. Also as the top-level health_check', {
  enabled: key(flag(), true, 'Probes the targets'),
  interval: key(duration('15s', 1_000), '15s', 'Time between two probes of a target'),
  timeout: key(duration('5s'), '5s', 'Longest time of a probe'),
  failureThreshold: key(integer(2, 1, 100), 2, 'Consecutive failed probes after which a target counts as down. Also as threshold'),
});

/** The section `llm`: the targets of model routes, how a target is chosen, retried and probed. */
export const llm = section('LlmConfig', 'Targets of model routes', {
  ...target,
  backupProviders: sections(
    'LlmTarget',
    'A target of model routes',
    'Backup targets, tried in this order when the targets before them fail. Same keys as llm',
    target,
  ),
  strategy: key(
    choice(['failover', 'weighted', 'least_busy']),
    'failover',
    'Choice of the first target: failover takes the first in the list, weighted chooses by weight, least_busy takes the one with the fewest concurrent requests',
  ),
  prices,
  priceSource: key(
    { ...orNull(choice(PRICE_SOURCES)), output: PRICE_SOURCES.map((name) => `'${name}'`).join(' | ') },
    null,
    "Prices of models that prices leaves out: newapi asks each NewAPI for its own (/api/pricing, with the ratio of the caller's group where it is known, else of default), package takes those of @pydantic/genai-prices, which also count for other targets and unknown models with newapi. none takes none",
    'newapi in front of a NewAPI, else package',
  ),
  retry,
  healthCheck,
  timeouts: section('LlmTimeouts', 'Timeouts of requests to targets', {
    connect: key(duration('5s'), '5s', 'Longest time to connect to a target'),
    firstByte: key(duration('300s'), '300s', 'Longest time until a target begins its answer; comments and white space after a status of 200 restart it'),
    idle: key(duration('300s'), '300s', 'Longest silence within an answer'),
    total: key(duration('10m'), '10m', 'Longest time of all attempts together, until the first part of an answer is sent to the client'),
  }),
  onClientAbort: key(
    choice(['cancel', 'finish']),
    'cancel',
    'Answer of a client that has left: cancel ends it at once, finish reads it on without the client and counts the usage that the provider bills. Such an answer keeps its slot, is read for at most 5m and 32MB, and they have at most a quarter of queue.concurrency, one caller an eighth of that',
  ),
  decodeRequestBodies: key(
    choice(['auto', 'off']),
    'auto',
    'Request bodies with a Content-Encoding: auto sends them decoded to targets that cannot read the coding, at most server.buffer_body_bytes large. NewAPI reads gzip and br, other targets none. off sends every body as received',
  ),
  streamPreludeAfter: key(
    orOff(duration('15s')),
    null,
    'Wait after which a stream without an answer starts with its head and SSE comments, so that a CDN does not close the connection',
    'off',
  ),
  keepAliveComments: key(
    orOff(duration('15s')),
    null,
    'Silence after which an SSE comment is sent within a stream, repeatedly, so that no proxy closes the connection',
    'off',
  ),
});

/** The section `circuit_breaker`: when a failing target gets no requests. */
export const circuitBreaker = section('CircuitBreakerConfig', 'Circuit breaker of each target', {
  maxRequests: key(integer(1, 1, 1000), 1, 'Highest number of concurrent requests while the breaker is half-open'),
  interval: key(duration('30s', 0), '30s', 'Time after which the failure count of a closed breaker is reset. 0 never resets it'),
  timeout: key(duration('10s'), '10s', 'Time after which an open breaker becomes half-open'),
  failureThreshold: key(integer(5, 1, 1000), 5, 'Consecutive failures that open the breaker'),
});
