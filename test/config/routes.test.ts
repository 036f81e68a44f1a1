import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { printable, resolveConfig, warningsOf } from '../../lib/config/load.ts';
import { methodsOf, pathOf } from '../../lib/config/routes.ts';
import type { RouteConfig } from '../../types/config.d.ts';
import { load, problems } from './tools.ts';

const one = (row: string, more = ''): RouteConfig => load(`routes: [${row}]\n${more}`).routes[0] as RouteConfig;

describe('routes', () => {
  it('are none by default, and have defaults of their own', () => {
    assert.deepEqual(load('{}').routes, []);
    assert.deepEqual(one('{ path: /a }'), { path: '/a', handler: 'proxy', version: null, methods: null, middleware: [], headers: {}, healthCheck: null });
    assert.deepEqual(one('{ path: /a, health_check: null }').healthCheck, null);
    assert.deepEqual(one('{ path: /a, health_check: {} }').healthCheck, { enabled: true, interval: 30_000, timeout: 5_000, threshold: 3, checks: {}, latencyThreshold: 500 });
  });

  it('take every key, from a file as from code, and print what they read', () => {
    const yaml = `routes:
  - path: /ask
    handler: chat
    version: v2
    methods: [post, OPTIONS]
    middleware: [rate-limit, panic_recovery, auth]
    headers: { X-Api_Version: "2", content-type: application/json, Authorization: "*" }
    health_check: { enabled: "\${ON}", interval: 100ms, timeout: 1s, threshold: 100, checks: { Api_up: http, slow: threshold }, latency_threshold: 2s }`;
    const config = load(yaml, { ON: 'true' });
    const code = resolveConfig({
      routes: [
        {
          path: '/ask', handler: 'chat', version: 'v2', methods: ['POST', 'OPTIONS'], middleware: ['rate-limit', 'auth'],
          headers: { 'X-Api_Version': '2', 'content-type': 'application/json', Authorization: '*' },
          healthCheck: { interval: 100, timeout: 1000, threshold: 100, checks: { Api_up: 'http', slow: 'threshold' }, latencyThreshold: 2000 },
        },
      ],
    });
    assert.deepEqual(config, code);
    assert.deepEqual(warningsOf(config), []);
    assert.deepEqual(load(stringify(printable(config))), config);
    assert.deepEqual([config.routes[0]?.methods, config.routes[0]?.middleware], [['POST', 'OPTIONS'], ['rate_limit', 'auth']]);
  });

  it('take a number or a flag in place of a header\'s text', () => {
    assert.deepEqual(one('{ path: /a, headers: { X-Version: 2, X-Beta: true } }').headers, { 'X-Version': '2', 'X-Beta': 'true' });
  });

  it('have the version as a prefix, unless the path has it', () => {
    const paths: [string, string | null, string][] = [
      ['/health', 'v1', '/v1/health'], ['/v1/completions', 'v1', '/v1/completions'], ['/v1', 'v1', '/v1'], ['/v10/x', 'v1', '/v1/v10/x'], ['/x', null, '/x'], ['/x', '2026-01-01', '/2026-01-01/x'],
    ];
    for (const [path, version, whole] of paths) assert.equal(pathOf({ path, version }), whole);
  });

  it('have a handler by their path', () => {
    for (const [row, handler] of [['{ path: /health }', 'health'], ['{ path: /metrics, middleware: [auth] }', 'metrics'], ['{ path: /health, version: v1 }', 'proxy'], ['{ path: /v1/completions }', 'proxy']] as const) assert.equal(one(row).handler, handler, row);
    assert.equal(one('{ path: /up }', 'endpoints: { health: /up }').handler, 'health');
  });

  it('serve the methods of their handler, and HEAD wherever GET is', () => {
    const served = [['completion', null, ['POST']], ['health', null, ['GET', 'HEAD']], ['health', ['GET'], ['GET', 'HEAD']], ['health', ['HEAD'], ['HEAD']], ['proxy', null, null], ['proxy', ['GET', 'OPTIONS', 'DELETE'], ['GET', 'HEAD', 'DELETE']]] as const;
    for (const [handler, methods, expected] of served) assert.deepEqual(methodsOf({ handler, methods }), expected);
  });
});

describe('a route that cannot be', () => {
  const path = 'a path that starts with / and does not end with one, without * and :name';
  const samples: Record<string, string> = {
    '{ handler: chat }': `routes[0].path: expected ${path}, got nothing. Example: /v1/completions`,
    '{ path: /a, handler: complation }': 'routes[0].handler: expected one of completion, chat, embedding, proxy, health, metrics, got "complation". Did you mean completion?',
    '{ path: /a, handler: [] }': 'routes[0].handler: expected one of completion, chat, embedding, proxy, health, metrics, got a list of 0. Example: completion',
    '{ path: /a, version: v1/x }': 'routes[0].version: expected a version, got "v1/x". Example: v1',
    '{ path: /a, methods: [FETCH] }': 'routes[0].methods[0]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, got "FETCH". Did you mean PATCH?',
    '{ path: /a, methods: [] }': 'routes[0].methods: expected one of GET, HEAD, POST, PUT, PATCH, DELETE at least, got a list of 0. Example: ["GET"]',
    '{ path: /a, handler: chat, methods: [POST, GET] }': 'routes[0].methods[1]: expected POST, which chat serves, got "GET". Example: POST',
    '{ path: /a, middleware: [rate-limit, rate_limit] }': 'routes[0].middleware[1]: expected each part once, got "rate_limit" again.',
    '{ path: /a, middleware: [caching] }': 'routes[0].middleware[0]: expected one of request_timer, security_headers, cors, rate_limit, key_limit, queue, auth, logging, got "caching". Example: rate_limit',
    '{ path: /a, headers: { "x y": a } }': 'routes[0].headers["x y"]: expected the name of a header, got "x y". Example: x-api-version',
    '{ path: /a, headers: { X-A: a, x-a: b } }': 'routes[0].headers.x-a: expected each header once, got "x-a" again.',
    '{ path: /a, headers: { authorization: Bearer x } }': 'routes[0].headers.authorization: expected *, because auth checks credentials, got a value of 8 characters. Example: *',
    '{ path: /a, headers: { x: "" } }': 'routes[0].headers.x: expected the value it must have, or * for any, got "". Example: *',
    '{ path: /a, headers: { x: 1.5 } }': 'routes[0].headers.x: expected the value it must have, or * for any, got 1.5. Example: *',
    '{ path: /a, health_check: { interval: 99 } }': 'routes[0].health_check.interval: expected a duration of at least 100ms, got 99. Example: 30s',
    '{ path: /a, health_check: { threshold: 0 } }': 'routes[0].health_check.threshold: expected a whole number from 1 to 100, got 0. Example: 3',
    '{ path: /a, health_check: { checks: { memory: system } } }': 'routes[0].health_check.checks.memory: expected http or threshold, got "system". Example: http',
    '{ path: /a, handler: health, health_check: {} , methods: [GET] }': 'routes[0].health_check: expected no health check on a route that the gateway answers itself (health), got a section of keys.',
    '{ path: /a, handler: metrics }': 'routes[0].middleware: expected auth, or metrics.token, because otherwise every caller could read the metrics, got nothing. Example: ["auth"]',
    '{ path: /a }, { path: /b }, { path: /a, methods: [GET] }': 'routes[2].path: expected another path than route 0, /a, got "/a".',
    '{ path: /health, handler: chat }': 'routes[0].path: expected another path than those of endpoints.health, or handler health at /health, got "/health".',
    '{ path: /health/ready }': 'routes[0].path: expected another path than those of endpoints.health, or handler health at /health, got "/health/ready".',
    '{ path: /heimdall/api/keys }': 'routes[0].path: expected a path outside admin.path, /heimdall, got "/heimdall/api/keys".',
  };
  for (const [row, line] of Object.entries(samples)) it(`is refused: ${row}`, () => assert.deepEqual(problems(`routes: [${row}]`), [line]));

  it('is refused for a path that no request has', () => {
    for (const wrong of ['a', '/', '/a/', '//a', '/a//b', '/a/../b', '/./a', '/a?b', '/a#b', '/a%20', '"/a b"', '/a/*', '/:id', '/a/:id/b', '"/a\\\\b"', "'/a\"b'", '"/a\\x01b"', '', '1']) {
      assert.match(problems(`routes: [{ path: ${wrong} }]`).join('\n'), /^routes\[0\]\.path: expected a path that starts/, wrong);
    }
    for (const fine of ['/a.b', '/...', '/a:b', '/ü', '/v1beta/models/x:generate']) assert.deepEqual(problems(`routes: [{ path: "${fine}" }]`), [], fine);
  });

  it('is told of with all the others, in the words it was written in', () => {
    assert.deepEqual(
      problems('routes: [{ path: /a, handler: x }, { path: /b, health_check: { timeout: x } }]').map((line) => line.split(':')[0]),
      ['routes[0].handler', 'routes[1].health_check.timeout'],
    );
    assert.equal(problems('metrics: { enabled: false }\nroutes: [{ path: /m, handler: metrics, middleware: [auth] }]')[0], 'routes[0].handler: expected another one while metrics.enabled is false, got "metrics". Example: proxy');
    assert.deepEqual(problems('metrics: { token: abc }\nroutes: [{ path: /m, handler: metrics }]'), []);
  });
});
