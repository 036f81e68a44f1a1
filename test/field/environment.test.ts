import '../support/node.ts';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { loadConfig, resolveConfig, warningsOf } from '../../lib/config/config.ts';
import { heimdall } from '../../lib/index.ts';
import { file, refusals } from '../config/tools.ts';
import { recorder } from '../support/gate.ts';
import { scratch } from '../support/scratch.ts';

const secret = 'a-secret-of-more-than-sixteen-characters';

/** Puts variables, and a `.env` file in the working directory, around the host's process for one test. */
function host(t: TestContext, variables: Readonly<Record<string, string>>, dotEnv = ''): string {
  const before = { ...process.env };
  const directory = process.cwd();
  const cwd = scratch();
  writeFileSync(join(cwd, '.env'), dotEnv, { mode: 0o600 });
  process.chdir(cwd);
  Object.assign(process.env, variables);
  t.after(() => {
    process.chdir(directory);
    process.env = before;
  });
  return cwd;
}

/** Variables of a host that mean something to its own program, each wrong or harmful for a gate. */
const ambient: Readonly<Record<string, string>> = {
  DATABASE_URL: 'postgres://shop@db/shop', REDIS_URL: 'redis://cache', NEWAPI_BASE_URL: 'http://elsewhere.example', TLS_CERT_PATH: '/none.crt', TLS_KEY_PATH: '/none.key',
  HEIMDALL_PORT: 'tcp://10.0.0.1:3000', HEIMDALL_HOST: '10.9.9.9', HEIMDALL_SECRET: 'short', HEIMDALL_ADMIN_TOKEN: '', HEIMDALL_CONFIG: '/nowhere/heimdall.yaml', HEIMDALL_BOGUS: '1', HTTPS_PROXY: 'not a proxy',
};

for (const [name, value] of Object.entries(ambient)) {
  test(`a gate within a program does not read the host's ${name}, not in a .env file either`, (t) => {
    host(t, { [name]: value }, `${name}=${value}\n`);
    const config = resolveConfig({ server: { port: 1 } });
    assert.deepEqual([config, warningsOf(config)], [resolveConfig({ server: { port: 1 } }), []]);
    assert.deepEqual([config.newapi.baseUrl, config.rateLimit.redisUrl, config.audit.postgres.url, config.secret, config.admin.token, config.server.tls], ['http://localhost:3000', null, null, null, null, null]);
    const log = recorder();
    void heimdall({ audit: { path: join(scratch(), 'h.db') } }, { log }).close({ timeout: 0 });
    assert.deepEqual(log.events, []);
    if (name !== 'HEIMDALL_CONFIG') assert.deepEqual(resolveConfig(), resolveConfig({}));
  });
}

test('a program asks for the environment by passing nothing (the file), by loadConfig, or by an option (file and variables)', (t) => {
  const path = file('server: {port: 5}\nnewapi: {base_url: "${NEWAPI_BASE_URL}"}\n');
  host(t, { HEIMDALL_CONFIG: path, HEIMDALL_HOST: '::1', NEWAPI_BASE_URL: 'http://named.example' });
  const asked = [resolveConfig(), loadConfig(), heimdall({ mode: 'observe' }, { environment: true, log: recorder() }).config, heimdall({ mode: 'observe' }, { log: recorder() }).config];
  assert.deepEqual(asked.map(({ server, newapi, mode }) => [server.port, server.host, newapi.baseUrl, mode]), [
    [5, '0.0.0.0', 'http://named.example', 'enforce'], [5, '::1', 'http://named.example', 'enforce'], [5, '::1', 'http://named.example', 'observe'], [8000, '0.0.0.0', 'http://localhost:3000', 'observe'],
  ]);
});

const warned = (env: NodeJS.ProcessEnv, path?: string): readonly string[] => warningsOf(loadConfig(path, env));

test('what Kubernetes and Docker set for a service of that name is recognised, ignored and told once', () => {
  const rows: readonly (readonly [name: string, value: string])[] = [
    ['HEIMDALL_PORT', 'tcp://10.0.0.1:3000'], ['HEIMDALL_PORT', 'udp://10.0.0.1:53'], ['HEIMDALL_SERVICE_HOST', '10.0.0.1'], ['HEIMDALL_SERVICE_PORT', '3000'], ['HEIMDALL_SERVICE_PORT_HTTP', '3000'],
    ['HEIMDALL_PORT_3000_TCP', 'tcp://10.0.0.1:3000'], ['HEIMDALL_PORT_3000_TCP_ADDR', '10.0.0.1'], ['HEIMDALL_PORT_3000_TCP_PROTO', 'tcp'], ['HEIMDALL_ADMIN_PORT', 'tcp://10.0.0.2:1'], ['HEIMDALL_NAME', '/app/heimdall'],
  ];
  for (const [name, value] of rows) {
    const [line = '', ...more] = warned({ [name]: value });
    assert.match(line, new RegExp(`^${name}: is set by Kubernetes or Docker .*${value.replace('/', '.')}.*ignored.*server\\.port`), name);
    assert.deepEqual(more, []);
    assert.equal(loadConfig(undefined, { [name]: value }).server.port, 8000);
  }
  assert.match(warned(Object.fromEntries(rows)).join('\n'), /^HEIMDALL_PORT: .*as 8 more of its kind[^\n]*$/);
});

test('an unknown HEIMDALL_ variable is told by name, with the nearest known one', () => {
  const rows: readonly (readonly [name: string, guess: string | null])[] = [
    ['HEIMDALL_PROT', 'HEIMDALL_PORT'], ['HEIMDALL_HOSTS', 'HEIMDALL_HOST'], ['HEIMDALL_ADMIN_TOKN', 'HEIMDALL_ADMIN_TOKEN'], ['HEIMDALL_CONFIG_', 'HEIMDALL_CONFIG'], ['HEIMDALL_SECRETS', 'HEIMDALL_SECRET'],
    ['HEIMDALL_REDIS_URL', 'REDIS_URL'], ['HEIMDALL_DATABASE_URL', 'DATABASE_URL'], ['HEIMDALL_NEWAPI_BASE_URL', 'NEWAPI_BASE_URL'], ['HEIMDALL_SECRET_FIL', 'HEIMDALL_SECRET_FILE'], ['heimdall_port', 'HEIMDALL_PORT'],
    ['HEIMDALL_QUICHE', null], ['HEIMDALL_METRICS_TOKEN_FILES', 'HEIMDALL_METRICS_TOKEN_FILE'],
  ];
  for (const [name, guess] of rows) {
    const [line = '', ...more] = warned({ [name]: 'x' });
    assert.ok(line.startsWith(`${name}: unknown variable; ignored.${guess === null ? ' The settings' : ` Did you mean ${guess}?`}`), line);
    assert.deepEqual(more, []);
  }
  assert.deepEqual(warned({ HEIMDALL_MINE: 'a-token-of-visible-characters' }, file('metrics: {token: "${HEIMDALL_MINE}"}')), []);
});

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const secrets: readonly (readonly [name: string, value: string])[] = [
  ['HEIMDALL_SECRET', secret], ['HEIMDALL_ADMIN_TOKEN', token], ['HEIMDALL_METRICS_TOKEN', token], ['REDIS_URL', 'redis://127.0.0.1:1'], ['DATABASE_URL', 'postgres://127.0.0.1/x'],
];
const beside = { HEIMDALL_SECRET: secret };

test('every variable of a secret is read from the file of NAME_FILE as well, and never both', () => {
  for (const [name, value] of secrets) {
    const { [name]: _own, ...rest } = { ...beside } as Record<string, string>;
    const path = file(`${value}\r\n`, 'secret');
    assert.deepEqual(loadConfig(undefined, { ...rest, [`${name}_FILE`]: path }), loadConfig(undefined, { ...rest, [name]: value }), name);
    const wrong: readonly (readonly [env: Record<string, string>, line: RegExp])[] = [
      [{ [name]: '' }, new RegExp(`^${name}: expected a secret, got an empty value; unset .*Example: ${name}_FILE=/run/secrets/`)],
      [{ [`${name}_FILE`]: '' }, new RegExp(`^${name}_FILE: expected the path of a file with the secret, got an empty value`)],
      [{ [name]: value, [`${name}_FILE`]: path }, new RegExp(`^${name}_FILE: expected either this or ${name}, got both`)],
      [{ [`${name}_FILE`]: '/nowhere' }, new RegExp(`^${name}_FILE: expected a readable file with a secret, got "/nowhere" \\(no such file\\)`)],
      [{ [`${name}_FILE`]: file('\n', 'empty') }, new RegExp(`^${name}_FILE: expected a readable file with a secret, got ".*", which is empty`)],
      [{ [`${name}_FILE`]: file('no', 'short') }, new RegExp(`^${name}(_FILE)?: expected|^$`)],
    ];
    for (const [env, line] of wrong) assert.match(refusals(() => loadConfig(undefined, { ...rest, ...env })).join('\n'), line, JSON.stringify(env));
  }
});

test('an empty variable in the text of a secret is an error, unless the text allows it', () => {
  const rows: readonly (readonly [yaml: string, ok: boolean])[] = [
    ['admin: {token: "${EMPTY}"}', false], ['llm: {provider: openai, api_key: "${EMPTY}"}', false], ['metrics: {token: "${EMPTY-x}"}', false], ['secret: "${EMPTY?needed}"', false],
    [`secret: ${secret}\nrate_limit: {redis_url: "redis://:\${EMPTY}@127.0.0.1"}`, false], ['audit: {alerts: {webhook: "${EMPTY}"}}', false], ['audit: {ingest: {tokens: ["${EMPTY}"]}}', false],
    ['admin: {token: "${EMPTY:-}"}', true], ['metrics: {token: "${EMPTY:-a-token}"}', true], ['llm: {provider: ollama, api_key: "${EMPTY:-}"}', true], ['server: {host: "${EMPTY}0.0.0.0"}', true],
  ];
  for (const [yaml, ok] of rows) {
    const lines = refusals(() => loadConfig(file(yaml), { EMPTY: '' }));
    assert.equal(lines.length, ok ? 0 : 1, `${yaml}: ${lines.join()}`);
    if (!ok) assert.match(lines[0] ?? '', /expected a value in the variable EMPTY, got an empty one; write \$\{EMPTY:-\}/);
  }
  const path = file(`${token}\n`, 'token');
  assert.equal(loadConfig(file('admin: {token: "${MINE}"}'), { MINE_FILE: path }).admin.token, token);
  assert.match(refusals(() => loadConfig(file('admin: {token: "${MINE}"}'), { MINE_FILE: '/nowhere' })).join(), /^admin\.token \(MINE_FILE\): expected a readable file with a secret, got "\/nowhere"/);
  assert.match(refusals(() => loadConfig(file('newapi: {base_url: "${MINE}"}'), { MINE_FILE: path })).join(), /variable MINE is not set/);
});
