import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadSettings, resolveConfig, warningsOf } from '../../lib/config/load.ts';
import { file, load, problems, refusals } from './tools.ts';


describe('retry at the top', () => {
  it('is llm.retry', () => {
    assert.deepEqual(load('retry: { max_retries: 2, multiplier: 3 }'), load('llm: { retry: { max_retries: 2, multiplier: 3 } }'));
    assert.equal(resolveConfig({ retry: { maxDelay: '9s' } }).llm.retry.maxDelay, 9_000);
    assert.equal(load('retry:\nllm: { retry: { max_retries: 1 } }').llm.retry.maxRetries, 1);
  });

  it('joins llm.retry, unless they disagree', () => {
    const { retry } = load('retry: { max_retries: 2, multiplier: 3 }\nllm: { retry: { max_retries: 2, max_delay: 9s } }').llm;
    assert.deepEqual([retry.maxRetries, retry.multiplier, retry.maxDelay], [2, 3, 9_000]);
    const yaml = 'retry: { max_retries: 2, retryable_errors: [timeout] }\nllm: { retry: { max_retries: 3, retryable_errors: [] } }';
    assert.deepEqual(problems(yaml), [
      'retry.max_retries: expected either this or llm.retry.max_retries, got both with different values.',
      'retry.retryable_errors: expected either this or llm.retry.retryable_errors, got both with different values.',
    ]);
    assert.deepEqual(
      refusals(() => resolveConfig({ retry: { maxRetries: 2 }, llm: { retry: { maxRetries: 3 } } })),
      ['retry.maxRetries: expected either this or llm.retry.maxRetries, got both with different values.'],
    );
  });

  it('gives way to code as any file does', () => {
    const path = file('retry: { max_retries: 2, multiplier: 3 }');
    const { retry } = loadSettings({ code: { llm: { retry: { maxRetries: 4 } } }, env: { HEIMDALL_CONFIG: path } }).llm;
    assert.deepEqual([retry.maxRetries, retry.multiplier], [4, 3]);
  });

  it('is what problems name when it was written', () => {
    assert.match(problems('retry: { max_delay: soon }\nllm: { retry: { multiplier: 0 } }').sort().join('\n'), /^llm\.retry\.multiplier: .*\nretry\.max_delay: /);
    assert.match(problems('retry: { max_delay: "${NONE}" }').join(), /^retry\.max_delay: variable NONE is not set$/);
    assert.match(problems('retry: { max_delay: "${D}" }', { D: 'x' }).join(), /^retry\.max_delay: .* from "\$\{D\}"/);
    assert.deepEqual(problems('retry: { max_retires: 1 }'), ['retry.max_retires: unknown key. Did you mean max_retries?']);
    assert.deepEqual(problems('retry: 5'), ['retry: expected a section of keys, got 5.']);
  });
});

describe('health_check at the top', () => {
  it('is llm.health_check', () => {
    assert.deepEqual(load('health_check: { enabled: false, interval: 1m }'), load('llm: { health_check: { enabled: false, interval: 1m } }'));
    assert.deepEqual(problems('health_check: { interval: 1s }\nllm: { health_check: { interval: 2s } }'), [
      'health_check.interval: expected either this or llm.health_check.interval, got both with different values.',
    ]);
  });

  it("is the server's with a threshold of the machine or a list of checks", () => {
    for (const key of ['memory_threshold: 90%', 'cpu_threshold: 80%', 'disk_threshold: 95%', 'latency_threshold: 500ms', 'checks: { memory: system }']) {
      const config = load(`health_check: { interval: 50s, failure_threshold: 4, ${key} }\nllm: { health_check: { timeout: 1s } }`);
      assert.deepEqual(warningsOf(config), [], key);
      assert.deepEqual([config.server.healthCheck?.interval, config.server.healthCheck?.threshold], [50_000, 4], key);
      assert.deepEqual(config.llm.healthCheck, { enabled: true, interval: 15_000, timeout: 1_000, failureThreshold: 2 });
    }
    assert.equal(load('health_check: { interval: 50s }').server.healthCheck, null);
    assert.deepEqual(load('server: { health_check: { interval: 60s } }').server.healthCheck, {
      enabled: true, interval: 60_000, timeout: 5_000, threshold: 3, checks: {}, memoryThreshold: 0.9, cpuThreshold: 0.8, diskThreshold: 0.95, latencyThreshold: 500,
    });
    assert.deepEqual(problems('health_check: { cpu_threshold: 80%, checks: { memroy: system } }'), [
      'health_check.checks.memroy: expected one of memory, cpu, disk, latency, got "memroy". Example: memory: system',
    ]);
    assert.equal(problems('server: { health_check: { cpu_threshold: 0 } }').length, 1);
    assert.equal(problems('server: { health_check: { cpu_threshold: 101% } }').length, 1);
  });

  it('may call failure_threshold threshold', () => {
    const config = load('health_check: { threshold: 4 }');
    assert.equal(config.llm.healthCheck.failureThreshold, 4);
    assert.equal(resolveConfig({ llm: { healthCheck: { threshold: 5 } } }).llm.healthCheck.failureThreshold, 5);
    assert.match(problems('health_check: { threshold: 0 }').join(), /^health_check\.threshold: expected a whole number/);
    assert.deepEqual(problems('llm: { health_check: { threshold: 4, failure_threshold: 3 } }'), [
      'llm.health_check.threshold: expected either this or llm.health_check.failure_threshold, got both with different values.',
    ]);
    assert.deepEqual(problems('health_check: { threshold: 4 }\nllm: { health_check: { failure_threshold: 3 } }'), [
      'health_check.threshold: expected either this or llm.health_check.failure_threshold, got both with different values.',
    ]);
    assert.equal(load('health_check: { threshold: 4, failure_threshold: 4 }').llm.healthCheck.failureThreshold, 4);
  });
});
