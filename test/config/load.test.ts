import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { loadConfig, loadSettings, printable, resolveConfig, warningsOf } from '../../lib/config/load.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { directory, file, load, refusals } from './tools.ts';

describe('a configuration', () => {
  it('is complete without any source', () => {
    const config = loadConfig(undefined, {});
    assert.equal(config.newapi.baseUrl, 'http://localhost:3000');
    assert.deepEqual([config.server.host, config.server.port, config.server.tls], ['0.0.0.0', 8000, null]);
    assert.deepEqual([config.server.bufferBodyBytes, config.server.maxBodyBytes], [32 * 1024 ** 2, 128 * 1024 ** 2]);
    assert.deepEqual(config.rateLimit, {
      address: { limit: 60, window: 60_000, count: 'failed' },
      key: { requests: null, tokens: null, concurrency: null, budget: null, mode: 'enforce' },
      policies: [],
      exempt: [],
      store: 'memory',
      redisUrl: null,
      redisBlocks: false,
      redisCaPath: null,
      instances: 1,
      onStoreError: 'local',
    });
    assert.deepEqual([config.middleware, config.cors, config.secret, config.metrics.series], [null, null, null, null]);
    assert.deepEqual(config.auth, { mode: 'passthrough', verifiedTtl: 3_600_000, keys: [], jwt: null, upstreamCredential: null });
    assert.deepEqual(warningsOf(config), []);
  });

  it('is frozen to its leaves', () => {
    const config = load('llm: { backup_providers: [{ provider: openai, models: { a: b } }] }');
    assert.throws(() => Object.assign(config, { mode: 'observe' }), TypeError);
    assert.throws(() => Object.assign(config.llm.backupProviders[0]?.models ?? {}, { a: 'c' }), TypeError);
  });

  it('takes defaults < file < environment < code', () => {
    const path = file('server: { port: 1, host: file, idle_timeout: 5s }\nnewapi: { base_url: http://file }');
    const config = loadSettings({ code: { newapi: { baseUrl: 'http://code/' } }, env: { HEIMDALL_CONFIG: path, HEIMDALL_HOST: 'environment', HEIMDALL_PORT: '', NEWAPI_BASE_URL: 'http://environment' } });
    assert.deepEqual(
      [config.server.port, config.server.host, config.server.idleTimeout, config.server.readTimeout],
      [1, 'environment', 5_000, 30_000],
    );
    assert.equal(config.newapi.baseUrl, 'http://code');
  });

  it('merges sections and replaces lists', () => {
    const path = file('trust_proxy: [private, loopback]\nllm: { models: { a: b } }\nrate_limit: { address: { limit: 5 } }');
    const config = loadSettings({ code: { trustProxy: ['10.0.0.1'], llm: { models: { c: 'd' } }, rateLimit: { address: { window: '5s' } } }, env: { HEIMDALL_CONFIG: path } });
    assert.deepEqual(config.trustProxy, ['10.0.0.1']);
    assert.deepEqual(config.llm.models, { a: 'b', c: 'd' });
    assert.deepEqual([config.rateLimit.address.limit, config.rateLimit.address.window], [5, 5_000]);
  });

  it('passes through as it is when it was made here, and reads back when it is spread', () => {
    const made = load(
      'cors: {}\nsecret: "${S}"\nserver: { max_body_bytes: 1MB }\nauth: { keys: [{ name: a, sha256: ' +
        'A'.repeat(64) +
        ', expires: 2030-01-01 }] }',
      { S: 'pa$$word-${A}-0123456' },
    );
    assert.equal(resolveConfig(made), made);
    const again = resolveConfig({ ...made, server: { ...made.server, port: 9 } });
    assert.deepEqual(again, { ...made, server: { ...made.server, port: 9 } });
    assert.deepEqual(
      [made.secret, made.server.bufferBodyBytes, made.auth.keys[0]?.expires],
      ['pa$$word-${A}-0123456', 1024 ** 2, Date.UTC(2030, 0, 1)],
    );
    assert.equal(made.auth.keys[0]?.sha256, 'a'.repeat(64));
  });

  it('keeps a section of null or nothing at its defaults, and cors apart', () => {
    assert.equal(load('server:\nllm:\n  # nothing yet\n').server.port, 8000);
    assert.equal(load('cors:').cors, null);
    assert.deepEqual(load('cors: {}').cors?.allowOrigins, []);
    assert.equal(loadSettings({ code: { cors: null }, env: { HEIMDALL_CONFIG: file('cors: {}') } }).cors, null);
    assert.deepEqual(loadConfig(file(''), {}), loadConfig(undefined, {}));
  });

  it('prints as a file that loads to the same, without its secrets', () => {
    const env = { K: 'the-key', S: 'the-install-secret' };
    const made = load(
      'secret: "${S}"\nllm: { provider: mine, endpoint: https://h/v1/, api_key: "${K}", models: { aB: cD } }\ncors: { max_age: 600 }\nlogging: { file: false }\naudit: { path: d/h.db }',
      env,
    );
    const text = stringify(printable(made));
    assert.ok(!/the-key|the-install/.test(text), text);
    const { secret, llm, ...rest } = parse(text) as Record<string, Record<string, unknown>>;
    assert.deepEqual([secret, llm?.['api_key'], llm?.['models'], rest['metrics']?.['token']], ['***', '***', { aB: 'cD' }, null]);
    const printed = load(stringify({ ...rest, secret: '${S}', llm: { ...llm, api_key: '${K}' } }), env);
    assert.deepEqual(printed, made);
    assert.equal(made.cors?.maxAge, 600);
  });
});

describe('environment', () => {
  it('sets what the seeds name and ignores what is empty', { skip: noOpenssl }, (t) => {
    const { certPath, keyPath } = authority(t).issue('DNS:localhost');
    const config = loadConfig(undefined, {
      TLS_CERT_PATH: certPath,
      TLS_KEY_PATH: keyPath,
      HEIMDALL_SECRET: '0123456789abcdef',
      HEIMDALL_CONFIG: '',
      HEIMDALL_ADMIN_TOKEN: 'x'.repeat(32),
      REDIS_URL: 'redis://127.0.0.1:6379',
    });
    assert.deepEqual(config.server.tls, { certPath, keyPath, minVersion: '1.2', serverName: null, others: [] });
    assert.equal(config.secret, '0123456789abcdef');
    assert.equal(config.admin.token, 'x'.repeat(32));
    assert.deepEqual([config.rateLimit.redisUrl, config.rateLimit.store], ['redis://127.0.0.1:6379', 'redis']);
    const neither = file('c', 'c.pem');
    assert.deepEqual(refusals(() => loadConfig(undefined, { TLS_CERT_PATH: neither, TLS_KEY_PATH: neither })).map((line) => line.split(':')[0]), ['TLS_CERT_PATH', 'TLS_KEY_PATH'], 'which is no certificate');
    assert.equal(loadConfig(undefined, { TLS_CERT_PATH: '', TLS_KEY_PATH: '' }).server.tls, null);
  });

  it('reads .env below the real variables and writes none', () => {
    const home = process.cwd();
    after(() => process.chdir(home));
    process.chdir(directory());
    writeFileSync(
      '.env',
      'BASE_OF_TEST=http://h\nNEWAPI_BASE_URL=${BASE_OF_TEST}:3000\nHEIMDALL_PORT=1\nHEIMDALL_CONFIG=mine.yaml\n',
    );
    writeFileSync('mine.yaml', 'server: { host: "${BASE_OF_TEST}" }');
    process.env['HEIMDALL_PORT'] = '2';
    after(() => delete process.env['HEIMDALL_PORT']);
    const before = { ...process.env };
    const { newapi, server } = loadConfig();
    assert.deepEqual([newapi.baseUrl, server.port, server.host], ['http://h:3000', 2, 'http://h']);
    assert.deepEqual({ ...process.env }, before);
    assert.equal(loadConfig(undefined, {}).server.port, 8000);
  });
});

describe('variables in a file', () => {
  it('become numbers, switches and parts of texts', () => {
    const env = { PORT: '81', OFF: 'false', HOST: 'h', LIMIT: '0', SIZE: '2MB', TLS: '1.3', WAIT: '500' };
    const config = load(
      'server: { port: "${PORT}", max_header_bytes: "${SIZE}", idle_timeout: "${WAIT}" }\nmetrics: { enabled: "${OFF}" }\nlogging: { file: "${OFF}" }\nrate_limit: { address: { limit: "${LIMIT}" } }\nnewapi: { base_url: "http://${HOST}:3${NONE:-000}" }',
      env,
    );
    assert.deepEqual([config.server.port, config.server.maxHeaderBytes, config.server.idleTimeout], [81, 2 * 1024 ** 2, 500]);
    assert.deepEqual([config.metrics.enabled, config.logging.file, config.rateLimit.address.limit], [false, false, 0]);
    assert.equal(config.newapi.baseUrl, 'http://h:3000');
  });

  it('cannot add keys', () => {
    assert.equal(load('llm: { model: "${M}" }', { M: 'x\nsecret: injected-injected' }).secret, null);
  });

  it('leave what code says as it is', () => {
    assert.equal(resolveConfig({ secret: '${NOT_EXPANDED_HERE}' }).secret, '${NOT_EXPANDED_HERE}');
  });
});

describe('secrets', () => {
  it('come from files without their last line break', () => {
    const secret = file('0123456789abcdef\n', 'secret');
    const config = load(
      `secret_file: ${secret}\nmetrics: { token_file: "\${AT}" }\nllm: { backup_providers: [{ provider: openai, api_key_file: ${secret} }] }`,
      { AT: secret },
    );
    assert.deepEqual(
      [config.secret, config.metrics.token, config.llm.backupProviders[0]?.apiKey],
      Array(3).fill('0123456789abcdef'),
    );
    assert.equal(Object.hasOwn(config, 'secretFile'), false);
    assert.deepEqual(warningsOf(config), []);
    assert.equal(resolveConfig({ llm: { apiKey: null, apiKeyFile: secret } }).llm.apiKey, '0123456789abcdef');
    assert.equal(load('secret_file: "${NONE:-}"').secret, null);
  });

  it('cannot be given twice or from where nothing can be read', () => {
    const lines = refusals(() =>
      load('secret: 0123456789abcdef\nsecret_file: /x\nmetrics: { token_file: /no/such }\nllm: { api_key_file: "${AT}" }', {
        AT: '/no/secret/here',
      }),
    );
    assert.deepEqual(
      lines,
      [
        'secret_file: expected either this or secret, got both.',
        'llm.api_key_file: expected a readable file with a secret, got "${AT}" (no such file). Example: /run/secrets/heimdall',
        'metrics.token_file: expected a readable file with a secret, got "/no/such" (no such file). Example: /run/secrets/heimdall',
      ].sort((one, other) => lines.indexOf(one) - lines.indexOf(other)),
    );
  });

  it('written into a file are warned about, more so when everyone may read it', () => {
    const yaml = 'llm: { provider: openai, api_key: sk-literal }\nauth: { keys: [{ name: a, sha256: ' + 'f'.repeat(64) + ' }] }';
    const path = file(yaml);
    const literal = `llm.api_key: a secret is written into ${path}; use a variable like \${NAME}, or api_key_file`;
    assert.deepEqual(warningsOf(loadConfig(path, {})), [literal]);
    chmodSync(path, 0o644);
    assert.deepEqual(warningsOf(loadConfig(path, {})), [
      literal,
      `${path}: holds secrets and every user of this machine may read it; run chmod 600 ${path}`,
    ]);
    assert.deepEqual(
      warningsOf(resolveConfig({ llm: { provider: 'openai', apiKey: 'in-code' } })).filter((line) => line.includes('secret')),
      [],
    );
  });
});

describe('a file', () => {
  it('may be JSON', () => {
    assert.equal(loadConfig(file('{"server": {"port": 5}}', 'heimdall.json'), {}).server.port, 5);
  });

  it('is refused when it is missing, by what named it', () => {
    assert.deepEqual(
      refusals(() => loadConfig('/no/such.yaml', {})),
      ['/no/such.yaml: expected a readable configuration file, got "/no/such.yaml" (no such file). Example: heimdall.yaml'],
    );
    assert.deepEqual(
      refusals(() => loadConfig(undefined, { HEIMDALL_CONFIG: '/no/such.yaml' })),
      ['HEIMDALL_CONFIG: expected a readable configuration file, got "/no/such.yaml" (no such file). Example: heimdall.yaml'],
    );
    const folder = join(directory(), 'folder');
    mkdirSync(folder);
    assert.match(refusals(() => loadConfig(folder, {}))[0] ?? '', /\(a directory\)/);
  });

  it('is refused with the lines that are not YAML, and without their text', () => {
    const lines = (yaml: string): string[] => {
      const path = file(yaml);
      return refusals(() => loadConfig(path, {})).map((line) => line.replace(path, 'F'));
    };
    assert.deepEqual(lines('mode: observe\nmode: enforce\nserver:\n  port: 1\n  port: 2'), [
      'F:2: Map keys must be unique',
      'F:5: Map keys must be unique',
    ]);
    assert.deepEqual(lines('llm: { api_key: ${KEY} }'), [
      'F:1: Unexpected flow-map-start at node end; inside { } and [ ] a text with ${NAME} needs quotes',
    ]);
    assert.ok(!lines('secret: [x\nllm: "sk-very-secret').join().includes('sk-very'));
    assert.deepEqual(lines('- a'), ['F: expected sections of keys, got a list. Example: server:']);
    assert.deepEqual(lines('a: *b').length, 1);
  });

  it('cannot exhaust memory by aliases', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `l${level + 1}: &l${level + 1} [${Array(9).fill(`*l${level}`).join(', ')}]`,
    );
    assert.match(refusals(() => load(`l0: &l0 [x]\n${levels.join('\n')}`)).join(), /alias/i);
  });
});
