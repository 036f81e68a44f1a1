import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig, warningsOf } from '../../lib/config/load.ts';
import type { Config } from '../../types/config.d.ts';
import { scratch } from '../support/scratch.ts';
import { refusals } from './tools.ts';

const KEYS = {
  LLM_API_KEY: 'key-of-llm',
  OPENAI_API_KEY: 'key-of-openai',
  ANTHROPIC_API_KEY: 'key-of-anthropic',
  OLLAMA_API_KEY: 'key-of-ollama',
};

const PROBES = { enabled: true, interval: 15_000, timeout: 5_000, failureThreshold: 2 };

const ROUTE_CHECKS = { enabled: true, interval: 30_000, timeout: 5_000, threshold: 3, checks: {}, latencyThreshold: 500 };

interface Snippet {
  /** What is refused by name on a machine without its files. */
  readonly refused?: readonly string[];
  readonly warnings?: readonly string[];
  /** Variables it cannot do without. */
  readonly unset?: readonly string[];
  readonly takesEffect: (config: Config) => void;
}

const SNIPPETS: Readonly<Record<string, Snippet>> = {
  overview: {
    warnings: [],
    unset: ['llm.api_key: variable LLM_API_KEY is not set'],
    takesEffect: ({ server, llm, auth }) => {
      assert.deepEqual([server.readTimeout, server.writeTimeout, server.maxHeaderBytes], [30_000, 45_000, 2_097_152]);
      assert.deepEqual([llm.provider, llm.apiKey, auth.mode], ['newapi', 'key-of-llm', 'keys']);
    },
  },
  queue: {
    takesEffect: ({ queue }) =>
      assert.deepEqual([queue.enabled, queue.initialSize, queue.statePath, queue.saveInterval], [true, 1000, '/var/queue', 30_000]),
  },
  providers: {
    warnings: [],
    unset: [
      'llm.api_key: variable ANTHROPIC_API_KEY is not set',
      'llm.backup_providers[0].api_key: variable OPENAI_API_KEY is not set',
      'llm.backup_providers[1].api_key: variable OLLAMA_API_KEY is not set',
    ],
    takesEffect: ({ llm }) => {
      assert.deepEqual(
        [llm.provider, llm.apiKey, llm.endpoint],
        ['anthropic', 'key-of-anthropic', 'https://api.anthropic.com/v1'],
      );
      const connection = { host: 'target', caPath: null, certPath: null, keyPath: null, serverName: null };
      assert.deepEqual(llm.backupProviders, [
        { provider: 'openai', endpoint: null, apiKey: 'key-of-openai', model: 'gpt-3.5-turbo', models: {}, weight: 1, ...connection },
        { provider: 'ollama', endpoint: null, apiKey: 'key-of-ollama', model: 'llama2', models: {}, weight: 1, ...connection },
      ]);
    },
  },
  'provider-health': { takesEffect: ({ llm }) => assert.deepEqual(llm.healthCheck, PROBES) },
  retry: {
    takesEffect: ({ llm }) =>
      assert.deepEqual(llm.retry, {
        maxRetries: 5,
        initialDelay: 100,
        maxDelay: 5_000,
        multiplier: 1.5,
        retryableErrors: ['rate_limit', 'timeout', 'server_error'],
      }),
  },
  http3: {
    refused: [
      `server.http3.udp_receive_buffer_size: expected at most 2MB: Caddy asks for 2MB, or keeps net.core.rmem_default (sysctl) where that is larger, got "8MB". Example: 2MB`,
      'server.http3.enable_0rtt: expected false: Caddy does not tell which requests came as early data, so that a replayed one could not be refused (RFC 8470), got true. Example: false',
      'server.http3.tls_cert_file: expected a readable file, got "/certs/server.crt" (no such file).',
      'server.http3.tls_key_file: expected a readable file, got "/certs/server.key" (no such file).',
    ],
    takesEffect: ({ server: { http3 } }) => assert.deepEqual([http3.port, http3.idleTimeout, http3.maxBiStreamsConcurrent, http3.maxStreamReceiveWindow, http3.max0rttSize], [443, 30_000, 100, 6_291_456, 16_384]),
  },
  middleware: {
    takesEffect: ({ middleware }) =>
      assert.deepEqual(middleware, ['request_timer', 'cors', 'queue', 'rate_limit', 'auth', 'logging']),
  },
  cors: {
    takesEffect: ({ cors }) => {
      assert.deepEqual(cors?.allowOrigins, ['*']);
      assert.deepEqual(cors?.allowMethods, ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS']);
      assert.deepEqual(cors?.allowHeaders, ['Accept', 'Authorization', 'Content-Type', 'X-CSRF-Token']);
    },
  },
  server: {
    takesEffect: ({ server }) =>
      assert.deepEqual(
        [server.port, server.writeTimeout, server.maxHeaderBytes, server.shutdownTimeout],
        [8080, 30_000, 1_048_576, 30_000],
      ),
  },
  thresholds: {
    takesEffect: ({ llm, server: { healthCheck } }) => {
      assert.deepEqual(llm.healthCheck, PROBES);
      assert.deepEqual(
        [healthCheck?.memoryThreshold, healthCheck?.cpuThreshold, healthCheck?.diskThreshold, healthCheck?.latencyThreshold],
        [0.9, 0.8, 0.95, 500],
      );
    },
  },
  routes: {
    takesEffect: ({ logging, routes }) => {
      assert.deepEqual([logging.level, logging.format], ['info', 'json']);
      const none = { methods: null, middleware: [], headers: {}, healthCheck: null };
      assert.deepEqual(routes, [
        { ...none, path: '/metrics', handler: 'metrics', version: 'v1', methods: ['GET'], middleware: ['auth'] },
        { ...none, path: '/health', handler: 'health', version: 'v1', methods: ['GET'] },
        { ...none, path: '/v1/completions', handler: 'completion', version: null, healthCheck: { ...ROUTE_CHECKS, checks: { api: 'http', latency: 'threshold' } } },
      ]);
    },
  },
  'health-check': { takesEffect: ({ llm }) => assert.deepEqual(llm.healthCheck, PROBES) },
  metrics: {
    takesEffect: ({ metrics }) => {
      assert.equal(metrics.enabled, true);
      assert.deepEqual(metrics.series, [
        'request_duration_seconds',
        'request_size_bytes',
        'response_size_bytes',
        'active_requests',
        'error_total',
        'circuit_breaker_state',
      ]);
    },
  },
  production: {
    refused: [
      'server.http3.tls_cert_file: expected a readable file, got "/path/to/cert" (no such file).',
      'server.http3.tls_key_file: expected a readable file, got "/path/to/key" (no such file).',
    ],
    warnings: [],
    unset: [
      'llm.api_key: variable OLLAMA_API_KEY is not set',
      'llm.backup_providers[0].api_key: variable ANTHROPIC_API_KEY is not set',
      'llm.backup_providers[1].api_key: variable OPENAI_API_KEY is not set',
    ],
    takesEffect: ({ server, llm, auth, circuitBreaker, routes }) => {
      assert.deepEqual(routes, [
        {
          path: '/v1/completions',
          handler: 'proxy',
          version: null,
          methods: null,
          middleware: ['auth', 'rate_limit', 'cors', 'logging'],
          headers: {},
          healthCheck: ROUTE_CHECKS,
        },
      ]);
      assert.equal(server.shutdownTimeout, 30_000);
      assert.deepEqual(llm.healthCheck, PROBES);
      assert.deepEqual(circuitBreaker, { maxRequests: 100, interval: 30_000, timeout: 10_000, failureThreshold: 5 });
      assert.deepEqual(
        llm.backupProviders.map(({ provider, model, apiKey }) => [provider, model, apiKey]),
        [
          ['anthropic', 'claude-3-haiku', 'key-of-anthropic'],
          ['openai', 'gpt-3.5-turbo', 'key-of-openai'],
        ],
      );
      assert.equal(auth.mode, 'keys');
    },
  },
};

/** A copy of a file with HTTP/3 off, which needs no certificate then. */
function withoutHttp3(path: string): string {
  const copy = join(scratch(), 'heimdall.yaml');
  writeFileSync(copy, readFileSync(path, 'utf8').replace(/(http3:\s+enabled: )true/, '$1false'), { mode: 0o600 });
  return copy;
}

describe("the security guide's snippets", () => {
  for (const [name, { refused = [], warnings = [], unset = [], takesEffect }] of Object.entries(SNIPPETS)) {
    const path = new URL(`fixtures/${name}.yaml`, import.meta.url).pathname;

    it(`${name} loads as printed`, () => {
      if (refused.length > 0) assert.deepEqual(refusals(() => loadConfig(path, KEYS)), refused);
      const config = loadConfig(refused.length > 0 ? withoutHttp3(path) : path, KEYS);
      assert.deepEqual(warningsOf(config), warnings);
      takesEffect(config);
    });

    it(`${name} lists exactly the variables it lacks`, () => {
      assert.deepEqual(
        refusals(() => loadConfig(path, {})).filter((line) => !refused.includes(line)),
        unset,
      );
    });
  }
});
