import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig, printable, loadSettings, resolveConfig, warningsOf } from '../../lib/config/load.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { file, load, problems, refusals } from './tools.ts';

describe('the care for targets', () => {
  it('has defaults', () => {
    const { llm, circuitBreaker } = loadConfig(undefined, {});
    const { maxRetries, initialDelay, maxDelay, multiplier, retryableErrors } = llm.retry;
    assert.deepEqual([maxRetries, initialDelay, maxDelay, multiplier], [5, 100, 5_000, 1.5]);
    assert.deepEqual(retryableErrors, ['rate_limit', 'server_error']);
    assert.deepEqual(llm.healthCheck, { enabled: true, interval: 15_000, timeout: 5_000, failureThreshold: 2 });
    assert.deepEqual([llm.weight, llm.prices, llm.strategy], [1, {}, 'failover']);
    assert.deepEqual([llm.streamPreludeAfter, llm.keepAliveComments], [null, null]);
    assert.deepEqual(circuitBreaker, { maxRequests: 1, interval: 30_000, timeout: 10_000, failureThreshold: 5 });
  });

  it('takes every key, from a file as from code', () => {
    const fromFile = load(
      'llm: { weight: 1000, strategy: least_busy, retry: { max_retries: 0, initial_delay: 1ms, max_delay: 1ms, multiplier: 10, retryable_errors: [timeout] }, health_check: { enabled: false, interval: 1s, timeout: 2s, failure_threshold: 100 }, stream_prelude_after: 15s, keep_alive_comments: 20s, prices: { gpt-5*: { input: 1.25, output: "${OUT}" } }, backup_providers: [{ provider: ollama, weight: "${W}" }] }\ncircuit_breaker: { max_requests: 1000, interval: 0, timeout: 1ms, failure_threshold: 1000 }',
      { OUT: '10', W: '7' },
    );
    const fromCode = resolveConfig({
      llm: {
        weight: 1000,
        strategy: 'least_busy',
        retry: { maxRetries: 0, initialDelay: 1, maxDelay: '1ms', multiplier: 10, retryableErrors: ['timeout'] },
        healthCheck: { enabled: false, interval: 1_000, timeout: '2s', failureThreshold: 100 },
        streamPreludeAfter: 15_000,
        keepAliveComments: '20s',
        prices: { 'gpt-5*': { input: 1.25, output: 10, cached: null } },
        backupProviders: [{ provider: 'ollama', weight: 7 }],
      },
      circuitBreaker: { maxRequests: 1000, interval: 0, timeout: 1, failureThreshold: 1000 },
    });
    assert.deepEqual(fromFile, fromCode);
    assert.deepEqual(warningsOf(fromFile), []);
    assert.deepEqual([fromFile.llm.weight, fromFile.llm.backupProviders[0]?.weight], [1000, 7]);
    assert.deepEqual([fromFile.circuitBreaker.interval, fromFile.llm.retry.maxRetries], [0, 0]);
  });

  it('is refused out of bounds', () => {
    const samples: Record<string, string> = {
      'llm: { weight: 0 }': 'llm.weight: expected a whole number from 1 to 1000, got 0. Example: 3',
      'llm: { backup_providers: [{ provider: openai, weight: 1001 }] }':
        'llm.backup_providers[0].weight: expected a whole number from 1 to 1000, got 1001. Example: 3',
      'llm: { strategy: wieghted }':
        'llm.strategy: expected one of failover, weighted, least_busy, got "wieghted". Did you mean weighted?',
      'llm: { retry: { max_retries: 101 } }':
        'llm.retry.max_retries: expected a whole number from 0 to 100, got 101. Example: 5',
      'llm: { retry: { multiplier: 0.9 } }': 'llm.retry.multiplier: expected a number from 1 to 10, got 0.9. Example: 1.5',
      'llm: { retry: { initial_delay: 0 } }':
        'llm.retry.initial_delay: expected a duration above 0, got 0. Example: 100ms',
      'llm: { retry: { retryable_errors: [timeouts] } }':
        'llm.retry.retryable_errors[0]: expected one of rate_limit, timeout, server_error, got "timeouts". Did you mean timeout?',
      'llm: { retry: { retryable_errors: [timeout, rate_limit, timeout] } }':
        'llm.retry.retryable_errors[2]: expected each error once, got "timeout" again.',
      'llm: { health_check: { interval: 999 } }':
        'llm.health_check.interval: expected a duration of at least 1s, got 999. Example: 15s',
      'llm: { health_check: { interval: 25d } }':
        'llm.health_check.interval: expected a duration of at most 24d, got "25d". Example: 15s',
      'llm: { health_check: { failure_threshold: 0 } }':
        'llm.health_check.failure_threshold: expected a whole number from 1 to 100, got 0. Example: 2',
      'circuit_breaker: { max_requests: 0 }':
        'circuit_breaker.max_requests: expected a whole number from 1 to 1000, got 0. Example: 1',
      'circuit_breaker: { interval: -1s }': 'circuit_breaker.interval: expected a duration, got "-1s". Example: 30s',
      'circuit_breaker: { timeout: 0s }': 'circuit_breaker.timeout: expected a duration above 0, got "0s". Example: 10s',
      'llm: { stream_prelude_after: 0 }':
        'llm.stream_prelude_after: expected a duration above 0, or off, got 0. Example: 15s',
      'llm: { keep_alive_comments: true }':
        'llm.keep_alive_comments: expected a duration above 0, or off, got true. Example: 15s',
    };
    for (const [yaml, line] of Object.entries(samples)) assert.deepEqual(problems(yaml), [line]);
  });

  it('warns of a first delay that is cut to the longest', () => {
    assert.deepEqual(warningsOf(load('llm: { retry: { initial_delay: 10s } }')), [
      'llm.retry.initial_delay: is limited by max_delay (5s)',
    ]);
    assert.deepEqual(warningsOf(load('llm: { retry: { max_delay: 10ms } }')), []);
  });

  it('sends no comments where they are switched off', () => {
    for (const off of ['off', 'false', '"off"', '"false"', '""', 'null', '']) {
      const { llm } = load(`llm:\n  stream_prelude_after: ${off}\n  keep_alive_comments: ${off}\n`);
      assert.deepEqual([llm.streamPreludeAfter, llm.keepAliveComments], [null, null], off);
    }
    const { llm } = resolveConfig({ llm: { streamPreludeAfter: false, keepAliveComments: 'off' } });
    assert.deepEqual([llm.streamPreludeAfter, llm.keepAliveComments], [null, null]);
  });
});

describe('prices', () => {
  it('keep the names of models as they are written', () => {
    const yaml = 'llm: { prices: { gpt_5_mini: { input: 0, output: 2, cached: 0.025 }, "Org/Model:free": { input: 1, output: 1 }, "*": { input: 3, output: 4 } } }';
    const prices = {
      gpt_5_mini: { input: 0, output: 2, cached: 0.025 },
      'Org/Model:free': { input: 1, output: 1, cached: null },
      '*': { input: 3, output: 4, cached: null },
    };
    const config = load(yaml);
    assert.deepEqual(config.llm.prices, prices);
    assert.deepEqual(load(stringify(printable(config))), config);
    assert.throws(() => Object.assign(config.llm.prices['*'] ?? {}, { input: 0 }), TypeError);
  });

  it('of a file and of code are taken together', () => {
    const path = file('llm: { prices: { a: { input: 1, output: 2, cached: 0.5 }, b: { input: 3, output: 4 } } }');
    const { prices } = loadSettings({ code: { llm: { prices: { a: { input: 9, output: 9 } } } }, env: { HEIMDALL_CONFIG: path } }).llm;
    assert.deepEqual(prices, { a: { input: 9, output: 9, cached: 0.5 }, b: { input: 3, output: 4, cached: null } });
    const code = { llm: { prices: { a: undefined } } } as unknown as ConfigInput;
    assert.deepEqual(resolveConfig(code).llm.prices, {});
  });

  it('are refused when they are none', () => {
    const samples: Record<string, string> = {
      '{ a: { input: 1 } }': 'llm.prices.a.output: expected a number of at least 0, got nothing. Example: 2.5',
      '{ a: { input: -1, output: 1 } }': 'llm.prices.a.input: expected a number of at least 0, got -1. Example: 2.5',
      '{ a: { input: .inf, output: 1 } }': 'llm.prices.a.input: expected a number of at least 0, got Infinity. Example: 2.5',
      '{ "a.b": { input: 1e3x, output: 1 } }':
        'llm.prices["a.b"].input: expected a number of at least 0, got "1e3x". Example: 2.5',
      '{ a: 5 }': 'llm.prices.a: expected a section of keys, got 5.',
      '{ "a.b": }': 'llm.prices["a.b"]: expected a section of keys, got nothing.',
      '{ "a.b": { inputs: 5, input: 1, output: 1 } }': 'llm.prices["a.b"].inputs: unknown key. Did you mean input?',
      '{ "g*t": { input: 1, output: 1 } }':
        'llm.prices["g*t"]: expected the name of a model, or a prefix with one * at the end, got "g*t". Example: gpt-5*',
      '{ "a**": { input: 1, output: 1 } }':
        'llm.prices["a**"]: expected the name of a model, or a prefix with one * at the end, got "a**". Example: gpt-5*',
    };
    for (const [prices, line] of Object.entries(samples)) assert.deepEqual(problems(`llm: { prices: ${prices} }`), [line]);
    assert.equal(problems('llm: { prices: { "": { input: 1, output: 1 } } }').length, 1);
    assert.deepEqual(
      refusals(() => resolveConfig({ llm: { prices: { 'a.b': { input: NaN, output: 1 } } } })),
      ['llm.prices["a.b"].input: expected a number of at least 0, got NaN. Example: 2.5'],
    );
  });

  it('that are refused hide no other problem', () => {
    const yaml = 'llm: { prices: { a: { input: x }, b: { input: 1, output: y } }, provider: mine }\nserver: { tls: { cert_path: /c } }';
    assert.deepEqual(
      problems(yaml).map((line) => line.split(':')[0]),
      ['llm.prices.a.input', 'llm.prices.a.output', 'llm.prices.b.output', 'server.tls.cert_path', 'llm.provider'],
    );
  });
});
