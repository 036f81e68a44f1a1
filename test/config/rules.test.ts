import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { warningsOf } from '../../lib/config/load.ts';
import { load, problems } from './tools.ts';
import { authority, noOpenssl } from '../support/authority.ts';

describe('the list of parts', () => {
  it('is taken with hyphens, under server too, and without what always runs', () => {
    assert.deepEqual(load('middleware: [panic-recovery, request-timer, rate-limit, auth]').middleware, [
      'request_timer',
      'rate_limit',
      'auth',
    ]);
    assert.deepEqual(load('server: { middleware: [rate_limit, auth] }').middleware, ['rate_limit', 'auth']);
    assert.deepEqual(problems('middleware: [auth]\nserver: { middleware: [rate_limit, auth] }'), [
      'server.middleware: expected either this or middleware, got both with different values.',
    ]);
    assert.deepEqual(problems('middleware: [rate_limit, auth, rate-limit]'), [
      'middleware[2]: expected each part once, got "rate_limit" again.',
    ]);
  });

  it('is warned about where its order or a gap does harm', () => {
    const samples: Record<string, string[]> = {
      '[rate_limit, auth]': [],
      '[auth, rate_limit]': ['middleware: auth stands before rate_limit, so guessing keys is not limited; put rate_limit first'],
      '[rate_limit, auth, cors]': [
        'middleware: cors stands after auth, so preflights, which carry no key, are refused; put cors first',
      ],
      '[auth]': ['middleware: rate_limit is left out, so guessing keys is not limited'],
      '[]': ['middleware: auth is left out, so only NewAPI checks keys, and requests with a wrong key reach it'],
      '[key_limit, rate_limit, auth, queue]': [],
      // The queue has its place behind auth whatever the list says.
      '[queue, rate_limit, auth]': [],
    };
    for (const [list, warnings] of Object.entries(samples))
      assert.deepEqual(warningsOf(load(`middleware: ${list}`)), warnings, list);
  });

  it("cannot leave auth out where the gateway's own credential can be reached", () => {
    const line = /^middleware: expected auth among the parts, because llm\S* is reached with the gateway's own credential/;
    for (const llm of ['{ provider: openai }', '{ api_key: "${K}" }', '{ backup_providers: [{ provider: ollama }] }']) {
      assert.match(problems(`middleware: [rate_limit]\nllm: ${llm}`, { K: 'k' }).join(), line, llm);
    }
  });
});

describe('auth', () => {
  it('passes callers through to NewAPI alone and asks for keys elsewhere', () => {
    const mode = (yaml: string): string => load(yaml, { K: 'k' }).auth.mode;
    assert.equal(mode('llm: { endpoint: http://other/v1 }'), 'passthrough');
    assert.equal(mode('llm: { backup_providers: [{ provider: openai }] }'), 'passthrough');
    assert.equal(mode('llm: { provider: OpenAI }'), 'keys');
    assert.equal(mode('llm: { api_key: "${K}" }'), 'keys');
  });

  it("refuses passthrough to a target with the gateway's own credential", () => {
    assert.deepEqual(problems('auth: { mode: passthrough }\nllm: { provider: ollama }'), [
      'auth.mode: expected keys, because llm.provider is ollama and every caller could use that credential, got "passthrough". Example: keys',
    ]);
    assert.match(
      problems('auth: { mode: passthrough }\nllm: { api_key: "${K}" }', { K: 'k' }).join(),
      /because llm\.api_key is set/,
    );
  });

  it('has one key a name and a hash', () => {
    const key = (name: string, digit: string): string => `{ name: ${name}, sha256: "${digit.repeat(64)}" }`;
    assert.deepEqual(problems(`auth: { keys: [${key('a', '1')}, ${key('a', '2')}, ${key('b', '1')}] }`), [
      'auth.keys[1].name: expected another name than key 0, got the same one.',
      'auth.keys[2].sha256: expected another sha256 than key 0, got the same one.',
    ]);
    assert.deepEqual(warningsOf(load(`auth: { mode: keys, keys: [${key('a', '1')}] }`)), []);
  });

  it('reads dates that exist, and no others', () => {
    const expires = (text: string): string => `auth: { keys: [{ name: a, sha256: "${'0'.repeat(64)}", expires: ${text} }] }`;
    const samples = {
      '2030-02-28': Date.UTC(2030, 1, 28),
      '2030-01-01T12:00Z': Date.UTC(2030, 0, 1, 12),
      '2030-01-01T12:00:00.5+02:00': Date.UTC(2030, 0, 1, 10, 0, 0, 500),
      null: null,
    };
    for (const [text, time] of Object.entries(samples)) assert.equal(load(expires(text)).auth.keys[0]?.expires, time, text);
    for (const text of ['2030-02-30', '2030-13-01', '2030-01-01T12:00', '2030', 'tomorrow', '01.02.2030', '2030-01-01T25:00Z'])
      assert.equal(problems(expires(text)).length, 1, text);
  });
});

describe('targets', () => {
  it('of an unknown provider need an endpoint', () => {
    assert.equal(load('llm: { provider: mine, endpoint: http://h/v1/ }').llm.endpoint, 'http://h/v1');
    assert.deepEqual(problems('llm: { provider: opnai, backup_providers: [{ provider: mine }] }'), [
      'llm.provider: expected newapi, openai, anthropic, ollama, or any name together with an endpoint, got "opnai". Did you mean openai?',
      'llm.backup_providers[0].provider: expected newapi, openai, anthropic, ollama, or any name together with an endpoint, got "mine". Example: openai',
    ]);
  });

  it('are reached by plain URLs', () => {
    assert.equal(load('newapi: { base_url: "HTTP://Host:80/sub//" }').newapi.baseUrl, 'http://host/sub');
    for (const url of ['localhost:3000', 'http://', 'http://h?x', 'http://h#x', 'http://u:p@h', '//h', 'http://h h'])
      assert.equal(problems(`newapi: { base_url: "${url}" }`).length, 1, url);
  });
});

describe('tls', () => {
  it('needs both files, readable', { skip: noOpenssl }, (t) => {
    const { certPath, keyPath } = authority(t).issue('DNS:localhost');
    const pem = keyPath;
    assert.equal(
      load(`server: { tls: { cert_path: ${certPath}, key_path: ${pem}, min_version: 1.3 } }`).server.tls?.minVersion,
      '1.3',
    );
    assert.equal(load('server: { tls: { min_version: "1.3" } }').server.tls, null);
    assert.deepEqual(problems(`server: { tls: { cert_path: ${certPath} } }`), [
      'server.tls.cert_path: expected key_path (or TLS_KEY_PATH) as well, got nothing. Example: /certs/server.key',
    ]);
    assert.deepEqual(problems('', { TLS_KEY_PATH: pem }), [
      'TLS_KEY_PATH: expected cert_path (or TLS_CERT_PATH) as well, got nothing. Example: /certs/server.crt',
    ]);
    assert.deepEqual(problems('', { TLS_KEY_PATH: pem, TLS_CERT_PATH: '/no/such.pem' }), [
      'TLS_CERT_PATH: expected a readable file, got "/no/such.pem" (no such file).',
    ]);
  });
});

describe('a key given where its path belongs', () => {
  it('is not quoted', () => {
    const pem = '-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----';
    const tls = 'server: { tls: { cert_path: "${C}", key_path: "${K}" } }';
    assert.ok(!problems(tls, { C: 'hush', K: pem }).join().includes('hush'));
    assert.ok(!problems('', { TLS_CERT_PATH: pem, TLS_KEY_PATH: pem }).join().includes('hush'));
  });
});

describe('bounds', () => {
  it('of bodies hold together', () => {
    assert.equal(load('server: { max_body_bytes: 1MB }').server.bufferBodyBytes, 1024 ** 2);
    assert.deepEqual(problems('server: { max_body_bytes: 1MB, buffer_body_bytes: 2MB }'), [
      'server.buffer_body_bytes: expected at most max_body_bytes (1MB), got "2MB".',
    ]);
  });

  it('of bodies in hand leave a caller room for one', () => {
    assert.deepEqual(warningsOf(load('server: { max_inflight_bytes: 256MB }')), []);
    assert.deepEqual(warningsOf(load('server: { max_inflight_bytes: 128MB }')), [
      "server.max_inflight_bytes: a body above 16MB, the share of one caller, is refused, although buffer_body_bytes allows 32MB",
    ]);
    assert.deepEqual(warningsOf(load('server: { max_inflight_bytes: 128MB, max_body_bytes: 16MB }')), []);
  });

  it('of endpoints keep them apart', () => {
    assert.deepEqual(load('endpoints: { health: false, metrics: "false" }').endpoints, { health: false, metrics: false, log: '/api/log' });
    assert.deepEqual(problems('endpoints: { log: /metrics }'), ['endpoints.log: expected another path than metrics, got "/metrics". Example: /api/log']);
    assert.deepEqual(problems('endpoints: { metrics: /health }'), [
      'endpoints.metrics: expected another path than health, got "/health". Example: /metrics',
    ]);
  });
});

describe('networks', () => {
  it('are addresses, CIDRs or presets', () => {
    const good = ['127.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32', '0.0.0.0/0', 'private', 'cloudflare', '::ffff:10.0.0.1'];
    assert.deepEqual(load(`trust_proxy: ${JSON.stringify(good)}`).trustProxy, good);
    for (const bad of [
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0',
      '::/129',
      'fe80::1%eth0',
      'host.example',
      '10.0.0.0/-1',
      '10.0.0.0/1e1',
    ])
      assert.equal(problems(`trust_proxy: ["${bad}"]`).length, 1, bad);
    assert.match(problems('trust_proxy: [cloudfare]').join(), /Did you mean cloudflare\?$/);
  });

  it('may be names of keys where limits are lifted', () => {
    assert.deepEqual(load('rate_limit: { exempt: [10.0.0.0/8, team a] }').rateLimit.exempt, ['10.0.0.0/8', 'team a']);
    assert.equal(problems('rate_limit: { exempt: [10.0.0.0/99] }').length, 1);
    assert.equal(load('client_ip_header: CF-Connecting-IP').clientIpHeader, 'cf-connecting-ip');
  });
});

describe('cors', () => {
  it('refuses credentials for everyone', () => {
    assert.equal(problems('cors: { allow_origins: ["*"], credentials: true }').length, 1);
    assert.equal(load('cors: { allow_origins: ["https://a.example"], credentials: true, max_age: 10m }').cors?.maxAge, 600);
    for (const origin of ['a.example', 'https://a.example/', 'https://a.example/x'])
      assert.equal(problems(`cors: { allow_origins: ["${origin}"] }`).length, 1, origin);
  });
});

describe('what several instances share', () => {
  it('asks for one secret and a place for the counters', () => {
    assert.deepEqual(problems('rate_limit: { redis_url: "redis://h:6379" }'), [
      'secret: expected the same text on every instance while rate_limit.redis_url is set, got nothing. Example: ${HEIMDALL_SECRET}',
    ]);
    assert.deepEqual(problems('rate_limit: { store: redis }'), [
      'rate_limit.redis_url: expected a URL while rate_limit.store is redis, got nothing. Example: redis://127.0.0.1:6379',
    ]);
    const shared = (more: string) => load(`secret: "\${S}"\nrate_limit: { redis_url: "\${R}"${more} }`, { S: 's'.repeat(16), R: 'redis://u:p@h' }).rateLimit.store;
    assert.deepEqual([shared(''), shared(', store: memory')], ['redis', 'memory']);
  });
});

describe('tokens of an issuer', () => {
  it('need the issuer, the audience and its keys', () => {
    assert.deepEqual(problems('auth: { mode: jwt, jwt: { issuer: "https://i.example", audience: a } }'), [
      'auth.jwt.jwks_uri: expected a value while auth.mode is jwt, got nothing. Example: https://login.example.com/.well-known/jwks.json',
    ]);
    assert.equal(problems('auth: { mode: jwt }').length, 3);
    assert.equal(problems('auth: { jwt: { jwks_uri: "http://far.example/keys" } }').length, 1);
    assert.equal(load('auth: { jwt: { jwks_uri: "http://127.0.0.1:1/keys" } }').auth.jwt?.jwksUri, 'http://127.0.0.1:1/keys');
  });
});

describe('the admin path', () => {
  it('holds none of the other endpoints', () => {
    assert.deepEqual(problems('admin: { path: /metrics }'), ['admin.path: expected a path that does not hold /metrics, got "/metrics". Example: /heimdall']);
    assert.deepEqual(problems('admin: { path: /ops }\nendpoints: { health: /ops/health }').length, 1);
    assert.equal(problems('admin: { token: "short" }').length, 1);
  });

  it('has an address of its own that is one, or false', () => {
    for (const listen of ['127.0.0.1:0', '0.0.0.0:65535', '"[::1]:8001"', 'localhost:9', 'ops.example.com:443', 'false', 'null']) assert.deepEqual(problems(`admin: { listen: ${listen} }`), [], listen);
    for (const listen of ['8001', '127.0.0.1', '127.0.0.1:65536', '127.0.0.1:', '"::1:80"', '"[::1]"', 'true', '"http://a:1"']) assert.equal(problems(`admin: { listen: ${listen} }`).length, 1, listen);
  });

  it('is warned about an address that does nothing, or that others can listen to', () => {
    const said = (yaml: string): readonly string[] => warningsOf(load(yaml)).filter((line) => line.startsWith('admin.listen'));
    const token = `token: ${'t'.repeat(32)}`;
    assert.deepEqual(said('admin: { listen: "127.0.0.1:1" }'), ['admin.listen: has no effect without admin.token']);
    assert.deepEqual(said(`admin: { ${token}, listen: "0.0.0.0:1" }`), ['admin.listen: the admin token crosses the network in clear text; set server.tls, or listen on 127.0.0.1']);
    for (const listen of ['127.0.0.1:1', '[::1]:1', 'localhost:1']) assert.deepEqual(said(`admin: { ${token}, listen: "${listen}" }`), []);
  });
});

it('a token that can be guessed is warned about, by its field and not by its text', () => {
  const said = (yaml: string): readonly string[] => warningsOf(load(yaml)).filter((line) => line.includes('guessed'));
  const short = 'has 5 characters and can be guessed; take 16 or more. Example: openssl rand -hex 24';
  assert.deepEqual(said('metrics: { token: abcde }'), [`metrics.token: ${short}`]);
  assert.deepEqual(said(`audit: { ingest: { tokens: [${'t'.repeat(16)}, abcde] } }`), [`audit.ingest.tokens[1]: ${short}`]);
  assert.deepEqual(said(`metrics: { token: ${'t'.repeat(16)} }`), []);
  assert.equal(problems('admin: { token: abcde, read_token: fghij }').length, 2);
});

it('a record that is asked for and not made is warned about', () => {
  const list = 'middleware: [rate_limit, auth]';
  assert.deepEqual(warningsOf(load(`${list}\naudit: { durability: strict }`)), ['middleware: logging is left out, so no request is recorded and audit.durability has no effect']);
  assert.deepEqual(warningsOf(load(`${list}\naudit: { on_full: refuse }`)), ['middleware: logging is left out, so no request is recorded and audit.on_full has no effect']);
  assert.deepEqual(warningsOf(load(list)), []);
});
