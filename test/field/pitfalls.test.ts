import '../support/node.ts';
import assert from 'node:assert/strict';
import dns from 'node:dns/promises';
import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { loadConfig, resolveConfig, warningsOf } from '../../lib/config/config.ts';
import { Report } from '../../lib/config/report.ts';
import { checkPackages } from '../../lib/config/pitfalls.ts';
import { Sources } from '../../lib/config/sources.ts';
import { directory, file, refusals } from '../config/tools.ts';
import { authority, noOpenssl, type Certificate } from '../support/authority.ts';
import type { Ran } from '../support/processes.ts';

async function check(args: readonly string[]): Promise<Ran> {
  const said = { stdout: '', stderr: '' };
  const code = await main(['check', ...args], { out: (text) => void (said.stdout += text), err: (text) => void (said.stderr += text) });
  return { code: code ?? 0, ...said };
}

type Row = readonly [yaml: string, said: RegExp | null];

/** What `check` has to say of a file, as a warning or as a problem; null: nothing. */
async function expectSaid(rows: readonly Row[], kind: 'warning' | 'problem'): Promise<void> {
  for (const [yaml, said] of rows) {
    const { code, stderr } = await check([file(`${yaml}\naudit: {path: ${join(directory(), 'data/h.db')}}\nlogging: {file: false}\n`)]);
    const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('The configuration is valid') && !line.startsWith('warning: auth.keys: there are none'));
    assert.equal(code, said !== null && kind === 'problem' ? 1 : 0, `${yaml}: ${stderr}`);
    if (said === null) assert.deepEqual(lines, [], yaml);
    else assert.match(lines.join('\n'), said, yaml);
  }
}

const keys = "auth: {mode: keys}\nllm: {api_key: '${K:-a-key-of-newapi}', ";

test('base URLs that hold what the requests bring themselves, or lack a version', async () => {
  await expectSaid([
    ['newapi: {base_url: "http://h:3000/v1"}', /^warning: newapi\.base_url: ends in \/v1,.*http:\/\/h:3000\/v1\/v1\/…; write http:\/\/h:3000$/m],
    ['newapi: {base_url: "http://h:3000/v1/"}', /write http:\/\/h:3000$/m], ['newapi: {base_url: "http://h/sub/v1beta"}', /ends in \/v1beta.*write http:\/\/h\/sub$/m],
    ['newapi: {base_url: "http://h/V1"}', /ends in \/V1,.*write http:\/\/h$/m], ['newapi: {base_url: "http://h/sub"}', null], ['newapi: {base_url: "http://h/v10"}', null],
    [`${keys}provider: groq, endpoint: "https://api.groq.com"}`, /^warning: llm\.endpoint: has no version.*write https:\/\/api\.groq\.com\/v1$/m],
    [`${keys}provider: groq, endpoint: "https://api.groq.com/openai/v1"}`, null], [`${keys}endpoint: "http://second:3000"}`, /llm\.endpoint: has no version/],
  ], 'warning');
  await expectSaid([
    ['newapi: {base_url: "http://h:3000/v1/chat/completions"}', /^newapi\.base_url: expected a base URL without the route \/chat\/completions, .*Example: http:\/\/h:3000$/m],
    ['newapi: {base_url: "http://h:3000/v1/messages"}', /without the route \/messages.*Example: http:\/\/h:3000$/m], ['newapi: {base_url: "https://h/v1/models/"}', /without the route \/models/], ['newapi: {base_url: "http://h/V1/Embeddings"}', /without the route \/Embeddings.*Example: http:\/\/h$/m], ['newapi: {base_url: "http://h/v1/images/edits"}', /without the route \/images\/edits/],
    [`${keys}provider: groq, endpoint: "https://api.groq.com/openai/v1/chat/completions"}`, /^llm\.endpoint: .*Example: https:\/\/api\.groq\.com\/openai\/v1$/m],
    [`${keys}provider: x, endpoint: "https://h/v1/responses"}`, /without the route \/responses/], [`${keys}provider: x, endpoint: "https://h/v1/images/generations"}`, /without the route \/images\/generations/],
    [`${keys}provider: x, endpoint: "https://h/v1/audio/speech"}`, /without the route \/audio\/speech/],
  ], 'problem');
});

test('an upstream that is the gate itself', async () => {
  const self = /is the address of the gate itself, so every request would come back to it/;
  await expectSaid([
    ['newapi: {base_url: "http://localhost:8000"}', self], ['newapi: {base_url: "http://127.0.0.1:8000/sub"}', self], ['newapi: {base_url: "http://[::1]:8000"}', self], ['newapi: {base_url: "http://0.0.0.0:8000"}', self],
    [`newapi: {base_url: "http://${hostname()}:8000"}`, self], ['newapi: {base_url: "http://localhost"}\nserver: {port: 80}', self], ['newapi: {base_url: "http://127.1.2.3:9"}\nserver: {port: 9, host: 127.0.0.1}', self],
    ['newapi: {base_url: "http://gate.example:9"}\nserver: {port: 9, host: gate.example}', self], [`${keys}endpoint: "http://localhost:8000/v1"}`, self],
    ['newapi: {base_url: "http://127.0.0.1:8001"}\nadmin: {token_file: TOKEN}'.replace('TOKEN', file('a'.repeat(40), 'token')), self],
    ['newapi: {base_url: "http://localhost:8001"}', null], ['newapi: {base_url: "http://newapi:8000"}', null], ['newapi: {base_url: "http://127.0.0.1:8000"}\nserver: {host: 192.0.2.1}', null],
  ], 'warning');
  assert.deepEqual(warningsOf(resolveConfig({ newapi: { baseUrl: 'http://localhost:8000' } })), [], 'within a program the port is another');
});

test('targets of our own without a key', async () => {
  await expectSaid([
    ['llm: {provider: openai}', /^warning: llm\.provider: openai is asked without a key, and never gets the caller's; set api_key\. Example: api_key: \$\{OPENAI_API_KEY\}/m], ['llm: {provider: anthropic}', /ANTHROPIC_API_KEY/],
    ['llm: {backup_providers: [{provider: openai}]}', /llm\.backup_providers\[0\]\.provider: openai/], ['llm: {provider: groq, endpoint: "https://api.groq.com/openai/v1"}', /GROQ_API_KEY/],
    ['llm: {provider: my-own.api, endpoint: "https://llm.example.com/v1"}', /MY_OWN_API_API_KEY/], ['llm: {provider: openai, api_key: "${NONE:-}"}', /set api_key/],
    ['llm: {provider: ollama}', null], ['llm: {provider: vllm, endpoint: "http://127.0.0.1:9/v1"}', null], ['llm: {provider: vllm, endpoint: "http://vllm:8080/v1"}', null], ['llm: {provider: vllm, endpoint: "http://10.0.0.4/v1"}', null],
    ['llm: {provider: newapi}', null],
  ], 'warning');
});

test('durations below a second without a unit', async () => {
  await expectSaid([
    ['newapi: {timeout: 30}', /^warning: newapi\.timeout: 30 without a unit is 30 milliseconds; write 30s for seconds, or 30ms$/m], ['server: {shutdown_timeout: 30}', /server\.shutdown_timeout: 30 without/],
    ['server: {read_timeout: "45"}', /server\.read_timeout: 45 without/], ['queue: {max_wait: 999}', /queue\.max_wait: 999/], ['llm: {timeouts: {total: 600, idle: 300}}', /llm\.timeouts\.idle: 300[^]*llm\.timeouts\.total: 600/],
    ['retry: {initial_delay: 100}', /retry\.initial_delay: 100/], ['circuit_breaker: {timeout: 10}', /circuit_breaker\.timeout: 10/], ['llm: {stream_prelude_after: 15}', /stream_prelude_after: 15/],
    ['newapi: {timeout: 1000}', null], ['newapi: {timeout: 30ms}', null], ['circuit_breaker: {interval: 0}', null], ['cors: {max_age: 600}', null], ['rate_limit: {address: {limit: 60}}', null],
  ], 'warning');
  assert.deepEqual(warningsOf(resolveConfig({ newapi: { timeout: 30 } })), [], 'in code numbers are milliseconds');
});

test('lists that name nearly everybody, and headers of nobody', async () => {
  await expectSaid([
    ['trust_proxy: [0.0.0.0/0]', /^warning: trust_proxy\[0\]: 0\.0\.0\.0\/0 is a great part of the Internet: any client there can claim any address.*Example: \[loopback, /m], ['trust_proxy: [loopback, "::/0"]', /trust_proxy\[1\]: ::\/0/],
    ['trust_proxy: ["::ffff:0:0/96"]', /::ffff:0:0\/96 is a great part/], ['trust_proxy: ["::ffff:64.0.0.0/98"]', /\/98 is a great part/], ['trust_proxy: ["::ffff:10.0.0.0/104"]', null],
    ['trust_proxy: [0.0.0.0/1, 128.0.0.0/1]', /\[0\][^]*\[1\]/], ['trust_proxy: ["2000::/3"]', /2000::\/3/], ['trust_proxy: [64.0.0.0/2]', /64/], ['rate_limit: {exempt: [0.0.0.0/0]}', /rate_limit\.exempt\[0\].*no limit applies/],
    ['guard: {deny: ["::/0"]}', /guard\.deny\[0\].*nobody there may call/], ['trust_proxy: []\nclient_ip_header: cf-connecting-ip', /client_ip_header: cf-connecting-ip is never read/],
    ['trust_proxy: [private, cloudflare, 10.0.0.0/8, "2001:db8::/32"]', null], ['guard: {allow: [0.0.0.0/0]}', null],
  ], 'warning');
});

test('patterns, names and origins that match nothing', async () => {
  const sha256 = 'a'.repeat(64);
  const known = `auth: {mode: keys, keys: [{name: team-a, sha256: ${sha256}, models: ['gpt-*']}]}`;
  await expectSaid([
    ['cors: {allow_origins: ["https://App.Example.com"]}', /^warning: cors\.allow_origins\[0\]: matches nothing, because browsers send this origin as https:\/\/app\.example\.com$/m], ['cors: {allow_origins: ["https://a.example:443"]}', /as https:\/\/a\.example$/m],
    ['cors: {allow_origins: ["https://a.example", "http://localhost:5173", "*"]}', null], [known, /auth\.keys\[0\]\.models\[0\]: matches nothing.*Example: gpt-4o-mini/],
    ['llm: {models: {"gpt-*": other}}', /llm\.models\["gpt-\*"\]: matches nothing/], ['guard: {allow: [10.0.0.0/8], deny: [10.0.0.0/8]}', /guard\.allow\[0\]: 10\.0\.0\.0\/8 is denied by guard\.deny/],
    ['rate_limit: {policies: [{match: {route: /v2/chat}, concurrency: 1}]}', /rate_limit\.policies\[0\]\.match\.route: \/v2\/chat matches no route/], ['rate_limit: {policies: [{match: {route: /chat/completions}, concurrency: 1}]}', /Did you mean \/v1\/chat\/completions\?/],
    ['rate_limit: {policies: [{match: {route: /v1/images/*}, concurrency: 1}, {match: {route: /v1*}, concurrency: 1}, {match: {route: /v1/chat/completions}, concurrency: 1}, {match: {route: /fast/mj/submit}, concurrency: 1}, {match: {route: "*"}, concurrency: 1}]}', null],
    ['rate_limit: {policies: [{match: {token: team-a}, concurrency: 1}]}', /match\.token: "team-a" matches nothing, because no request has a key of the gate/], ['auth: {mode: keys}\nrate_limit: {exempt: [team-b]}', /rate_limit\.exempt\[0\]: there is no key named "team-b"/],
    [`${known.replace(', models: [\'gpt-*\']', '')}\nrate_limit: {exempt: [taem-a]}`, /Did you mean team-a\?/], [`${known.replace(', models: [\'gpt-*\']', '')}\nrate_limit: {exempt: [team-a, 10.0.0.1, 0123456789abcdef, "2001:db8::/56"]}`, null],
  ], 'warning');
});

test('rules for users that no program names', async () => {
  await expectSaid([
    ['rate_limit: {policies: [{match: {user: bob}, requests: {limit: 1}}]}', /^warning: rate_limit\.policies\[0\]\.match: has no effect unless a program passes identify/m],
    ['rate_limit: {policies: [{match: {group: gold}, requests: {limit: 1}}]}', /policies\[0\]\.match: has no effect/], ["auth: {upstream_credential: '${K:-sk-a-token-of-newapi}'}", /^warning: auth\.upstream_credential: has no effect/m],
    ['rate_limit: {policies: [{match: {model: gpt-4o}, requests: {limit: 1}}]}', null],
  ], 'warning');
});

test('budgets for models that have no price', async () => {
  const key = (models: string): string => `auth: {mode: keys, keys: [{name: a, sha256: ${'a'.repeat(64)}, models: [${models}], budget: {day: 1}}]}`;
  await expectSaid([
    [`${key('nobody-knows-1')}\nllm: {provider: ollama}`, /^warning: auth\.keys\[0\]\.budget: there is no price for nobody-knows-1, so the budget does not limit it; set llm\.prices\. Example: nobody-knows-1: \{ input/m],
    [`${key('priced, nobody-knows-2')}\nllm: {provider: ollama, prices: {priced: {input: 1, output: 1}}}`, /no price for nobody-knows-2,/], [`${key('priced')}\nllm: {provider: ollama, prices: {priced: {input: 1, output: 1}}}`, null],
    [`${key('nobody-knows-1')}\nllm: {provider: ollama, prices: {"nobody-*": {input: 1, output: 1}}}`, null], [`${key('mine')}\nllm: {provider: ollama, models: {mine: priced}, prices: {priced: {input: 1, output: 1}}}`, null],
    ['auth: {mode: keys}\nllm: {provider: ollama, model: nobody-knows-4}\nrate_limit: {key: {budget: {day: 1}}}', /rate_limit\.key\.budget: there is no price for nobody-knows-4/],
    [`${key('gpt-4o')}\nllm: {provider: openai, api_key: "\${K:-k}", price_source: none, prices: {a: {input: 1, output: 1}}}`, /no price for gpt-4o/],
    ['auth: {mode: keys}\nllm: {provider: ollama}\nrate_limit: {policies: [{match: {model: nobody-knows-3}, budget: {month: 5}}]}', /rate_limit\.policies\[0\]\.budget: there is no price for nobody-knows-3/],
  ], 'warning');
});

test('packages that are not installed', () => {
  const secret = { secret: 'a-secret-of-all-instances' };
  const rows = [
    [{ ...secret, rateLimit: { redisUrl: 'redis://h' } }, ['redis', 'rate-limit-redis']], [{ ...secret, rateLimit: { redisUrl: 'redis://h', address: { limit: 0 } } }, ['redis']], [{ ...secret, audit: { postgres: { url: 'postgres://h' } } }, ['pg']],
    [{ auth: { mode: 'jwt' as const, jwt: { issuer: 'a', audience: 'b', jwksUri: 'https://h/jwks' } } }, ['jose']], [{}, []],
  ] as const;
  for (const [code, needed] of rows) {
    const report = new Report();
    checkPackages(resolveConfig(code) as unknown as Parameters<typeof checkPackages>[0], new Sources([], report, true), () => false);
    assert.deepEqual(report.warnings.map((line) => /npm install (\S+)$/.exec(line)?.[1]), needed);
    assert.deepEqual(warningsOf(resolveConfig(code)).filter((line) => line.includes('npm install')), [], 'they are installed here');
  }
});

const pair: { made?: readonly Certificate[] } = {};
before((t) => {
  if (noOpenssl) return;
  const ours = authority(t as never);
  pair.made = [ours.issue('DNS:gate.example'), ours.issue('DNS:other.example')];
});

test('a certificate and a key that cannot serve together', { skip: noOpenssl }, async () => {
  const [first, second] = pair.made as [Certificate, Certificate];
  const tls = (cert: string, key: string, more = ''): string => `server: {tls: {cert_path: ${cert}, key_path: ${key}${more}}}`;
  const locked = file('-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n', 'locked.key');
  await expectSaid([
    [tls(first.certPath, second.keyPath), /^server\.tls\.key_path: expected the private key of the certificate in cert_path, got ".*", which belongs to another certificate\.$/m],
    [tls(first.keyPath, first.certPath), /server\.tls\.cert_path: .*which holds a private key: are cert_path and key_path swapped\?[^]*server\.tls\.key_path: .*which holds a certificate: are cert_path and key_path swapped\?/],
    [tls(first.certPath, locked), /key_path: .*which holds a key with a passphrase/],
    [tls(file('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'x.crt'), first.keyPath), /cert_path: expected a PEM file of certificates/],
    [tls(first.certPath, file('', 'empty.key')), /key_path: expected a PEM file of a private key.*which holds none/], [tls(file('no PEM', 'x.crt'), first.keyPath), /cert_path: expected a PEM file of certificates, got ".*", which holds none\./],
    [tls(file('-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n', 'x.csr'), first.keyPath), /cert_path: .*which holds none that can be read/],
    [tls('/nowhere.crt', first.keyPath), /cert_path: expected a readable file, got "\/nowhere\.crt" \(no such file\)/], [tls(file(second.cert + first.cert, 'chain.crt'), first.keyPath), /cert_path: expected the certificate of the key first, .*where it is number 2/],
    [`server: {tls: {cert_path: ${first.certPath}}}`, /expected key_path \(or TLS_KEY_PATH\) as well/],
  ], 'problem');
  await expectSaid([
    [tls(first.certPath, first.keyPath, ', server_name: elsewhere.example'), /server_name: elsewhere\.example is no name of the certificate \(DNS:gate\.example\)/], [tls(first.certPath, first.keyPath, ', server_name: gate.example'), null],
    [tls(file(first.cert + second.cert, 'chain.crt'), first.keyPath), null],
  ], 'warning');
});

test('an upstream that is the gate itself by a name of its certificate, or by one that leads to its address', { skip: noOpenssl }, async (t) => {
  const [first] = pair.made as [Certificate];
  const at = (url: string, port: number): string => `newapi: {base_url: "${url}"}\nserver: {port: ${port}, tls: {cert_path: ${first.certPath}, key_path: ${first.keyPath}}}`;
  const self = /^warning: newapi\.base_url: .*is the address of the gate itself/m;
  t.mock.method(dns, 'lookup', (async (name: string) => (name === 'other.here.example' ? [{ address: '127.0.0.1', family: 4 }] : name === 'far.example' ? [{ address: '192.0.2.1', family: 4 }] : Promise.reject(new Error('ENOTFOUND')))) as never);
  await expectSaid([
    [at('https://gate.example:8443', 8443), self], [at('https://GATE.example', 443), self], [at('http://gate.example:8443/sub', 8443), self], [at('http://gate.example', 8443), null], [at('http://newapi.example:8443', 8443), null],
    ['newapi: {base_url: "http://other.here.example:8000"}', self], ['newapi: {base_url: "http://other.here.example:3000"}', null], ['newapi: {base_url: "http://far.example:8000"}', null], ['newapi: {base_url: "http://nobody.example:8000"}', null],
    ['newapi: {base_url: "http://other.here.example:8000"}\nserver: {host: 192.0.2.7}', null],
  ], 'warning');
});

test('expired and early certificates are told with their time', { skip: noOpenssl }, (t) => {
  const [first] = pair.made as [Certificate];
  const config = file(`server: {tls: {cert_path: ${first.certPath}, key_path: ${first.keyPath}}}`);
  for (const [now, said] of [['2099-01-01', /expired at 20\d\d-/], ['2001-01-01', /is not valid before 20\d\d-/]] as const) {
    t.mock.timers.enable({ apis: ['Date'], now: new Date(now) });
    assert.match(warningsOf(loadConfig(config, {})).join('\n'), said);
    t.mock.timers.reset();
  }
});

test('files that cannot be written', async () => {
  const cwd = directory();
  writeFileSync(join(cwd, 'plain'), '');
  mkdirSync(join(cwd, 'folder'));
  const inPlain = join(cwd, 'plain/h.db');
  const rows: readonly (readonly [yaml: string, said: RegExp | null, code: number])[] = [
    ['audit: {path: /proc/heimdall.db}', /^warning: audit\.path: expected a file that can be written, got "\/proc\/heimdall\.db" \(.*\); records would be lost/m, 0], ['audit: {path: /sys/kernel/h.db, durability: strict}', /^audit\.path: expected/m, 1],
    [`audit: {path: ${inPlain}}`, /^warning: audit\.path: expected a file that can be written, got ".*" \(.*plain is a file\); records would be lost/m, 0], [`audit: {path: ${join(cwd, 'folder')}}`, /\(a directory\)/, 0],
    [`audit: {path: ${inPlain}, durability: strict}`, /^audit\.path: expected a file that can be written.*Example: data\/heimdall\.db/m, 1], [`audit: {path: ${inPlain}, on_full: refuse}`, /^audit\.path/m, 1],
    [`logging: {file: ${join(cwd, 'folder')}}`, /logging\.file: .*\(a directory\); the access log would go to the console alone/, 0], [`logging: {file: ${join(cwd, 'plain/x/y.log')}}`, /plain is a file/, 0],
    [`queue: {state_path: ${join(cwd, 'plain/q.json')}}`, /queue\.state_path/, 0], [`queue: {state_path: ${join(cwd, 'folder')}}`, null, 0],
    [`audit: {path: ${join(cwd, 'new/below/h.db')}}\nlogging: {file: ${join(cwd, 'l/h.log')}}`, null, 0],
  ];
  for (const [yaml, said, code] of rows) {
    const base = yaml.includes('audit:') ? '' : `\naudit: {path: ${join(cwd, 'h.db')}}`;
    const log = yaml.includes('logging:') ? '' : '\nlogging: {file: false}';
    const ran = await check([file(`${yaml}${base}${log}`)]);
    if (said === null) assert.equal(ran.stderr, 'The configuration is valid.\n', yaml);
    else assert.match(ran.stderr, said, yaml);
    assert.equal(ran.code, code, `${yaml}: ${ran.stderr}`);
  }
});

test('values of server.workers and server.http3', () => {
  const rows: readonly (readonly [yaml: string, said: RegExp | null])[] = [
    ['server: {workers: banana}', /^server\.workers: expected auto or a whole number from 1 to 1024, got "banana"\. Example: 4$/m], ['server: {workers: 0}', /workers/], ['server: {http3: {port: 70000}}', /server\.http3\.port: expected a whole number from 1 to 65535, got 70000/],
    ['server: {http3: {enabled: perhaps}}', /http3\.enabled: expected true or false/], ['server: {http3: {idle_timeout: soon}}', /idle_timeout: expected a duration/], ['server: {http3: {max_0rtt_size: 16XB}}', /max_0rtt_size: expected a size/],
    ['server: {http3: true}', /server\.http3: expected a section of keys, got true/], ['anomaly: {mode: loud}', /anomaly\.mode: expected one of off, shadow, enforce/], ['anomaly: {modus: off}', /Did you mean mode/],
    ['server: {workers: auto, http3: {enabled: false, port: 443, idle_timeout: 30s}}\nanomaly: {mode: off}', null], ['server: {workers: "${W:-2}"}', null], ['server: {http3: }', null],
  ];
  for (const [yaml, said] of rows) {
    const lines = refusals(() => loadConfig(file(yaml), {}));
    if (said === null) assert.deepEqual(lines, [], yaml);
    else assert.match(lines.join('\n'), said, yaml);
  }
});

test('passwords in URLs that no client can decode', () => {
  const secret = 'secret: a-secret-of-all-instances\n';
  const rows: readonly (readonly [yaml: string, ok: boolean])[] = [
    ['rate_limit: {redis_url: "redis://:pa%ss@h"}', false], ['rate_limit: {redis_url: "redis://user:100%@h"}', false], ['rate_limit: {redis_url: "rediss://us%er:x@h"}', false], ['rate_limit: {redis_url: "redis://:%zz@h:1/2"}', false],
    ['rate_limit: {redis_url: "redis://:%E0%A4%A@h"}', false], ['audit: {postgres: {url: "postgres://u:5%@h/x"}}', false], ['audit: {alerts: {webhook: "https://u:%@h/x"}}', false],
    ['rate_limit: {redis_url: "redis://:pa%25ss@h"}', true], ['rate_limit: {redis_url: "redis://u:a%40b@h:6379/1"}', true], ['audit: {postgres: {url: "postgres://u:p@h/x"}}', true],
  ];
  for (const [yaml, ok] of rows) {
    const lines = refusals(() => loadConfig(file(secret + yaml), {}));
    assert.equal(lines.length, ok ? 0 : 1, `${yaml}: ${lines.join()}`);
    if (!ok) assert.match(lines[0] ?? '', /have special characters escaped: % as %25, @ as %40, got a value of \d+ characters/);
  }
});

test('a check takes its file as an argument or an option, answers in JSON, and says by its exit code whether it would start', async () => {
  const good = file('newapi: {timeout: 30}\nlogging: {file: false}\nadmin: {token: a-very-secret-token-of-32-characters}');
  const bad = file('server: {port: many}\nbogus: 1');
  for (const args of [[good], ['-c', good], ['--config', good]]) assert.equal((await check(args)).code, 0, args.join(' '));
  const json = await check([good, '--json']);
  const document = JSON.parse(json.stdout) as { valid: boolean; problems: unknown[]; warnings: string[]; config: { server: { port: number } } };
  assert.deepEqual([json.code, json.stderr, document.valid, document.problems, document.config.server.port], [0, '', true, [], 8000]);
  assert.match(document.warnings.join('\n'), /newapi\.timeout: 30 without a unit/);
  assert.ok(!json.stdout.includes('very-secret'));
  const refused = await check(['--json', '-c', bad]);
  assert.deepEqual([refused.code, refused.stderr], [1, '']);
  const { valid, problems } = JSON.parse(refused.stdout) as { valid: boolean; problems: { path: string; message: string }[] };
  assert.deepEqual([valid, problems.map(({ path }) => path).sort()], [false, ['bogus', 'server.port']]);
  assert.deepEqual([(await check([bad])).code, (await check(['/nowhere.yaml'])).code], [1, 1]);
  assert.deepEqual([(await check([good, '-c', good])).code, (await check([good, bad])).code, (await check([good, '--jsno'])).code], [2, 2, 2]);
});

test('a file of places that is of no use', async () => {
  await expectSaid([
    ['anomaly: {mmdb: /nowhere/places.mmdb}', /^warning: anomaly\.mmdb: expected a file in MaxMind's format, got "\/nowhere\/places\.mmdb" \(there is no such file\); the watch goes on without places$/m],
    [`anomaly: {mmdb: ${file('network,country\n192.0.2.0/24,DE\n', 'places.mmdb')}}`, /\(it is no file in MaxMind's format: /], [`anomaly: {mmdb: ${directory()}}`, /\(it cannot be read, EISDIR\)/],
    ['anomaly: {mode: off, mmdb: /nowhere/places.mmdb}', null],
  ], 'warning');
});
