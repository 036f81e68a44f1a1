import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadSettings, resolveConfig } from '../../lib/config/load.ts';
import { SCHEMA_TREE, type SchemaNode } from '../../lib/config/schema-tree.ts';
import { ConfigError } from '../../lib/errors.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { file, load, problems, refusals } from './tools.ts';

/** What code may try although its types forbid it. */
function fromCode(code: object, env: NodeJS.ProcessEnv = {}): string[] {
  return refusals(() => loadSettings({ code: code as ConfigInput, env }));
}

/** Every key of the configuration that takes a value, with what holds it. */
function* valuesIn(shape: SchemaNode, wrap: (value: unknown) => unknown): Generator<(value: unknown) => unknown> {
  if (shape.kind === 'value') yield wrap;
  else if (shape.kind === 'list') yield* valuesIn(shape.item, (value) => wrap([value]));
  else if (shape.kind === 'map') yield* valuesIn(shape.item, (value) => wrap({ name: value }));
  else for (const { camel, shape: inner } of shape.keys) yield* valuesIn(inner, (value) => wrap({ [camel]: value }));
}

it('a value that has no text is a problem of its key and no other error', () => {
  const places = [...valuesIn(SCHEMA_TREE, (value) => value)];
  assert.ok(places.length > 100, String(places.length));
  for (const [at, place] of places.entries()) {
    for (const value of [Object.create(null), [1, Object.create(null)], { toString: 1 }, Symbol('s')].filter((_, nth) => nth === at % 4)) {
      try {
        resolveConfig(place(value) as ConfigInput);
      } catch (error) {
        assert.ok(error instanceof ConfigError, String((error as Error).stack));
      }
    }
  }
});

describe('problems', () => {
  it('say what was expected, what came and what would do', () => {
    const samples: Record<string, string> = {
      'rate_limit: { address: { window: 5x } }': 'rate_limit.address.window: expected a duration above 0, got "5x". Example: 60s',
      'rate_limit: { address: { window: 0 } }': 'rate_limit.address.window: expected a duration above 0, got 0. Example: 60s',
      'rate_limit: { address: { window: 25d } }':
        'rate_limit.address.window: expected a duration of at most 24d, got "25d". Example: 60s',
      'server: { port: 65536 }': 'server.port: expected a whole number from 0 to 65535, got 65536. Example: 8000',
      'server: { port: "0x50" }': 'server.port: expected a whole number from 0 to 65535, got "0x50". Example: 8000',
      'server: { max_header_bytes: 1 }': 'server.max_header_bytes: expected a size of at least 1KB, got 1. Example: 1MB',
      'server: { host: [a] }': 'server.host: expected an address or host name, got a list of 1. Example: 127.0.0.1',
      'server: on': 'server: expected a section of keys, got a value of 2 characters.',
      'trust_proxy: loopback': 'trust_proxy: expected a list, got a value of 8 characters. Example: ["10.0.0.0/8"]',
      'llm: { models: [a] }': 'llm.models: expected a map of names, got a list of 1.',
      'llm: { models: { "gpt-4.1": 1 } }': 'llm.models["gpt-4.1"]: expected the name of a model, got 1. Example: gpt-5-mini',
      'logging: { level: wran }':
        'logging.level: expected one of trace, debug, info, warn, error, fatal, silent, got "wran". Did you mean warn?',
      'auth: { mode: jwk }': 'auth.mode: expected one of passthrough, keys, jwt, got "jwk". Did you mean jwt?',
      'rate_limit: { redis_url: "http://h" }':
        'rate_limit.redis_url: expected a URL that begins with redis:// or rediss://, got a value of 8 characters. Example: redis://127.0.0.1:6379',
      'endpoints: { health: /health/ }':
        'endpoints.health: expected a path that starts with / and does not end with one, or false, got "/health/". Example: /health',
      'newapi: { base_url: "ftp://h" }':
        'newapi.base_url: expected an http or https URL without user, query or fragment, got "ftp://h". Example: http://localhost:3000',
    };
    for (const [yaml, line] of Object.entries(samples)) assert.deepEqual(problems(yaml), [line]);
  });

  it('come all at once, rules included', () => {
    const yaml =
      'mode: loud\nserver: { port: x, tls: { cert_path: /c } }\nllm: { provider: mine }\nrate_limits: {}\ncors: { allow_origins: ["*"], credentials: true }\nsecret: ${NONE}';
    assert.deepEqual(
      problems(yaml).map((line) => line.split(':')[0]),
      ['rate_limits', 'secret', 'mode', 'server.port', 'server.tls.cert_path', 'llm.provider', 'cors.credentials'],
    );
  });

  it('follow from nothing that is itself in doubt', () => {
    assert.deepEqual(problems('llm: { provider: openai, api_key: "${NONE}" }\nauth: { mode: passthrough }'), [
      'llm.api_key: variable NONE is not set',
    ]);
    assert.equal(problems('server: { buffer_body_bytes: 5x, max_body_bytes: 1MB }').length, 1);
    assert.equal(problems('auth: { keys: [{ name: a }] }').length, 1);
  });

  it('are a list too', () => {
    assert.throws(
      () => load('mode: loud'),
      (error: unknown) =>
        error instanceof ConfigError &&
        error.name === 'ConfigError' &&
        error.problems[0]?.path === 'mode' &&
        error.problems[0].message.startsWith('expected enforce or observe'),
    );
  });

  it('name a place as the one who set it writes it', () => {
    assert.match(fromCode({ rateLimit: { address: { window: '5x' } } })[0] ?? '', /^rateLimit\.address\.window: /);
    assert.match(fromCode({ llm: { backupProviders: [{ apiKey: 5 }] } })[0] ?? '', /^llm\.backupProviders\[0\]\.apiKey: /);
    assert.match(
      fromCode({}, { HEIMDALL_PORT: 'x' })[0] ?? '',
      /^HEIMDALL_PORT: expected a whole number from 0 to 65535, got "x"/,
    );
    assert.match(
      fromCode({ logging: { maxFiles: 0 } }, { HEIMDALL_CONFIG: file('logging: { max_files: 3 }') })[0] ?? '',
      /^logging\.maxFiles: /,
    );
    assert.match(problems('server: { middleware: [auht] }')[0] ?? '', /^server\.middleware\[0\]: .* Did you mean auth\?$/);
    assert.match(problems('metrics: [active_request]')[0] ?? '', /^metrics\[0\]: .* Did you mean active_requests\?$/);
  });

  it('never quote a secret, nor a text that came out of a variable', () => {
    const hush = 'hush-hush';
    const yaml = `secret: ${hush}\nauth: { keys: [{ name: a, sha256: ${hush} }] }\nserver: { port: "\${P}", host: "\${NONE:-}" }\nnewapi: { base_url: "\${P}" }\ntrust_proxy: ["\${P}"]\nllm: { api_key: { ${hush}: 1 } }`;
    const lines = problems(yaml, { P: hush, NEWAPI_BASE_URL: '' });
    assert.equal(lines.length, 7);
    assert.ok(!lines.join('\n').includes(hush), lines.join('\n'));
    assert.ok(
      lines.includes(
        'secret: expected a secret text of at least 16 characters, got a value of 9 characters. Example: ${NAME_OF_A_VARIABLE}',
      ),
    );
    assert.ok(
      lines.includes(
        'server.port: expected a whole number from 0 to 65535, got a value of 9 characters from "${P}". Example: 8000',
      ),
    );
    assert.match(problems('', { NEWAPI_BASE_URL: 'http://user:hush@h' })[0] ?? '', /got "http:\/\/\*\*\*@h"/);
    assert.match(problems('', { HEIMDALL_SECRET: 'hush' })[0] ?? '', /^HEIMDALL_SECRET: .* got a value of 4 characters/);
  });
});

describe('unknown keys', () => {
  it('are refused with the nearest name', () => {
    assert.deepEqual(problems('rate_limits: {}'), ['rate_limits: unknown key. Did you mean rate_limit?']);
    assert.deepEqual(problems('server: { readTimeout: 5s, zebra: 1 }'), [
      'server.readTimeout: unknown key. Did you mean read_timeout?',
      'server.zebra: unknown key.',
    ]);
    assert.deepEqual(problems('auth: { keys: [{ name: a, sha: b, sha256: ' + 'f'.repeat(64) + ' }] }'), [
      'auth.keys[0].sha: unknown key.',
    ]);
    assert.deepEqual(fromCode({ rate_limit: {} }), ['rate_limit: unknown key. Did you mean rateLimit?']);
    assert.deepEqual(problems('__proto__: { mode: observe }').length, 1);
  });

  it('are refused inside sections', () => {
    assert.deepEqual(problems('queue: { max_wiat: 1 }'), ['queue.max_wiat: unknown key. Did you mean max_wait?']);
    assert.deepEqual(problems('server: { http3: { enable_0rt: true } }'), [
      'server.http3.enable_0rt: unknown key. Did you mean enable_0rtt?',
    ]);
    assert.deepEqual(problems('health_check: { memory_threshold: 90%, inteval: 1s }'), [
      'health_check.inteval: unknown key. Did you mean interval?',
    ]);
    assert.deepEqual(problems('routes: [{ path: /a, health_check: { inteval: 1 } }]'), [
      'routes[0].health_check.inteval: unknown key. Did you mean interval?',
    ]);
  });
});
