import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { printable, loadSettings } from '../../lib/config/load.ts';
import { secretsOf } from '../../lib/config/secrets.ts';
import { file, load, problems } from './tools.ts';

const url = 'postgresql://heimdall:a-password@db.example.com/heimdall';

describe('sinks of the configuration', () => {
  it('are off by default', () => {
    const { newapi, postgres, ingest, alerts } = load('').audit;
    assert.deepEqual({ newapi, postgres, ingest, alerts }, {
      newapi: { enabled: false, url: null, select: 'all', token: 'masked', maxRate: 0.8 },
      postgres: { url: null, readUrl: null },
      ingest: { tokens: [], maxRate: 100 },
      alerts: { webhook: null, secret: null, format: 'json' },
    });
  });

  it('take PostgreSQL from DATABASE_URL, below nothing but code', () => {
    const config = loadSettings({ code: { secret: 'a secret of all instances' }, env: { DATABASE_URL: url } });
    assert.equal(config.audit.postgres.url, url);
    assert.ok(!JSON.stringify(printable(config)).includes('a-password'));
    assert.equal(loadSettings({ code: { audit: { postgres: { url: null } } }, env: { DATABASE_URL: url } }).audit.postgres.url, null);
  });

  it('need one secret on all instances that share a table', () => {
    const missing = /^secret: expected the same text on every instance while (?:audit\.postgres\.url|DATABASE_URL) is set, got nothing/;
    assert.throws(() => loadSettings({ code: {}, env: { DATABASE_URL: url } }), { name: 'ConfigError', message: missing });
    assert.match(problems(`audit: { postgres: { url: "${url}" } }`).join('\n'), missing);
  });

  it('read headers of OTLP, from a file too, and mask each of them', () => {
    const path = file('Authorization=Bearer%20a-long-token,X-Scope=another-secret\n', 'headers');
    const config = load(`audit: { otlp: { endpoint: "http://collector:4318", headers_file: "${path}" } }`);
    assert.equal(config.audit.otlp.headers, 'Authorization=Bearer%20a-long-token,X-Scope=another-secret');
    assert.ok(!JSON.stringify(printable(config)).includes('a-long-token'));
    for (const secret of ['Bearer a-long-token', 'a-long-token', 'another-secret']) assert.ok(secretsOf(config).includes(secret), secret);
  });

  it('of OTLP and syslog are refused by their place', () => {
    const wrong = (yaml: string): string => problems(`audit: { ${yaml} }`).join('\n');
    for (const bad of ['a-secret', '=x', 'Host=x', 'content-length=1', 'a=%zz', 'a=%0d%0a', 'a=b,', 'a b=c']) {
      const said = wrong(`otlp: { endpoint: "http://h", headers: "${bad}" }`);
      assert.match(said, /^audit\.otlp\.headers: expected headers as name=value, with commas between, got a value of \d+ characters/, bad);
    }
    for (const bad of ['udp://h:1', 'h:514', 'tcp://u:p@h:1', 'tcp://h/path', 'tcp://h:99999', 'tls://']) assert.match(wrong(`syslog: { url: "${bad}" }`), /^audit\.syslog\.url: expected a URL of tcp:\/\/ or tls:\/\/ with a host/, bad);
    assert.match(wrong('otlp: { endpoint: "http://u:p@h" }'), /^audit\.otlp\.endpoint: expected an http or https URL/);
    assert.match(wrong('otlp: { endpoint: "http://h", traces: false }'), /^audit\.otlp\.endpoint: expected traces or logs/);
    assert.match(wrong('otlp: { endpoint: "https://h", ca_path: /no/such/file }'), /^audit\.otlp\.ca_path: expected a readable file/);
    assert.match(wrong('syslog: { url: "tls://h", ca_path: /no/such/file }'), /^audit\.syslog\.ca_path: expected a readable file/);
    for (const sink of ['otlp: { endpoint: "http://h" }', 'syslog: { url: "tcp://h" }']) assert.match(wrong(`enabled: false, ${sink}`), /^audit\.enabled: expected true/, sink);
  });

  it('are refused by their place, and addresses by their length alone', () => {
    const wrong = (yaml: string): string => problems(`secret: a secret of all instances\naudit: { ${yaml} }`).join('\n');
    for (const bad of ['mysql://u:a-password@h/d', 'postgresql://u:a-password@h:port/d', 'a-password']) {
      const said = wrong(`postgres: { url: "${bad}" }`);
      assert.match(said, /^audit\.postgres\.url: expected a URL that begins with postgres:\/\/ or postgresql:\/\/, got a value of \d+ characters\. Example: /, bad);
      assert.doesNotMatch(said, /a-password/);
    }
    assert.match(wrong('alerts: { webhook: "ftp://h" }'), /^audit\.alerts\.webhook: expected a URL that begins with http/);
    assert.match(wrong('alerts: { secret: short }'), /^audit\.alerts\.secret: expected a secret text of at least 16 characters/);
    assert.match(wrong('newapi: { select: some }'), /^audit\.newapi\.select: expected /);
    assert.match(wrong('newapi: { max_rate: 0 }'), /^audit\.newapi\.max_rate: expected a rate above 0/);
    assert.match(wrong('ingest: { tokens: ["two words"] }'), /^audit\.ingest\.tokens\[0\]: expected /);
    assert.equal(wrong('newapi: { enabled: true, url: "http://newapi:3000", select: flagged, token: raw, max_rate: 30/m }, ingest: { tokens: [one, two], max_rate: 5/s }'), '');
  });
});
