import '../support/node.ts';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { main } from '../../lib/cli/cli.ts';
import { cleanFields, printableJson, secretScrubber } from '../../lib/redaction/redaction.ts';
import { rawRequest, request, type TestLike, until } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { bytesOf, journalOf, recorded } from '../support/journal.ts';
import { bearer, chat, startScene } from '../support/scene.ts';

const admin = 'an-admin-token-of-this-test-0123456789';
const configured = 'no-form-that-a-pattern-knows-of';
/** The caller's own credential has no form that a pattern knows. */
const caller = 'caller_credential_0123456789';
const planted = 'sk-planted0123456789abcdefghijkl';
/** Characters that a terminal or a log viewer could take for more than text: escape, C1, bidi, separators of lines. */
const unsafeText = 'a\u001b[31m\u009b2J\u0085b\u202ec\u2066d\u200fe\u2028f\u2029g';
const unsafe = /(?![\n\r\t])\p{Cc}|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

const encoded = (text: string): string => [...text].map((character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`).join('');

interface Carried {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly model?: string;
  /** The id of the request at the upstream. */
  readonly upstreamId?: string;
}

/** The places in which text of a caller or an upstream arrives. */
const carriers: Readonly<Record<string, (secret: string) => Carried>> = {
  'a path': (secret) => ({ path: `/v1/x/${secret}` }),
  'a percent-encoded path': (secret) => ({ path: `/v1/x/${encoded(secret)}` }),
  'a path of which one letter is encoded': (secret) => ({ path: `/v1/x/${secret.slice(0, 3)}${encoded(secret.slice(3, 4))}${secret.slice(4)}` }),
  'a query value': (secret) => ({ path: `/v1/chat/completions?note=${secret}` }),
  'an allowed query value': (secret) => ({ path: `/v1/chat/completions?page=${secret}` }),
  'an allowed query value, encoded': (secret) => ({ path: `/v1/chat/completions?page=${encoded(secret)}` }),
  'a query name': (secret) => ({ path: `/v1/chat/completions?${secret}=1` }),
  'a query without a value': (secret) => ({ path: `/v1/chat/completions?${encoded(secret)}` }),
  'a referer': (secret) => ({ headers: { Referer: `https://a.test/x/${secret}` } }),
  'a referer, encoded': (secret) => ({ headers: { Referer: `https://a.test/x/${encoded(secret)}` } }),
  'a referer of a dashboard page': (secret) => ({ path: '/some/page', headers: { Referer: `https://a.test/x/${encoded(secret)}` } }),
  'the path of a dashboard page': (secret) => ({ path: `/some/${secret}/page` }),
  'the path of a dashboard call, encoded': (secret) => ({ path: `/api/${encoded(secret)}` }),
  'an agent on a dashboard page': (secret) => ({ path: '/some/page', headers: { 'User-Agent': `me/1 (${secret})` } }),
  'an agent': (secret) => ({ headers: { 'User-Agent': `me/1 (${secret})` } }),
  'a forwarded chain': (secret) => ({ headers: { 'X-Forwarded-For': `${secret}, 192.0.2.1` } }),
  'a header that is kept': (secret) => ({ headers: { 'X-Title': secret } }),
  'a model': (secret) => ({ model: secret }),
  'an upstream’s request id': (secret) => ({ upstreamId: secret }),
};

/** Sends requests with these texts in every place, and returns everything the gate put out about them. */
async function outputs(t: TestLike, format: 'json' | 'combined', texts: readonly string[], of: readonly ((text: string) => Carried)[]): Promise<Readonly<Record<string, string>>> {
  const dir = temporary(t);
  const [path, file, exported] = ['heimdall.db', 'access.log', 'export.csv'].map((name) => join(dir, name)) as [string, string, string];
  const { gate, primary } = await startScene(t, { audit: { path }, logging: { format, file, level: 'silent', queryAllow: ['page'] }, admin: { token: admin }, target: { apiKey: configured } });
  let sent = 0;
  for (const text of texts) {
    for (const carried of of.map((carrier) => carrier(text))) {
      await primary.script([{ kind: 'status', status: 200, headers: { 'x-oneapi-request-id': carried.upstreamId ?? 'plain' }, body: { choices: [] } }]);
      await request(gate.url + (carried.path ?? '/v1/chat/completions'), { method: 'POST', headers: { ...bearer(caller), ...carried.headers }, body: { ...chat, model: carried.model ?? 'm' } });
      primary.clear();
      sent++;
    }
  }
  await journalOf(gate.gate).flush();
  await until(() => existsSync(file) && readFileSync(file, 'utf8').split('\n').length > sent);
  const config = join(dir, 'heimdall.yaml');
  writeFileSync(config, `audit: { path: ${path} }\n`, { mode: 0o600 });
  const heimdall = async (...args: readonly string[]): Promise<string> => {
    let text = '';
    await main([...args, '--config', config], { out: (part) => void (text += part), err: (part) => void (text += part) });
    return text;
  };
  const api = async (from: string): Promise<string> => (await request(`${gate.url}/heimdall/api/${from}`, { headers: bearer(admin) })).text;
  const all = ['--limit', '1000'];
  const one = String((await recorded(gate.gate))[0]?.['request_id']);
  const found = {
    'the access log': readFileSync(file, 'utf8'),
    'the journal': bytesOf(path).toString('latin1'),
    'the events': gate.log.events.map((event) => JSON.stringify(event)).join('\n'),
    'heimdall logs': await heimdall('logs', ...all),
    'heimdall logs as JSON': await heimdall('logs', '--format', 'json', ...all),
    'heimdall logs as JSON lines': await heimdall('logs', '--format', 'jsonl', ...all),
    'heimdall logs as CSV': await heimdall('logs', '--format', 'csv', ...all),
    'an export': (await heimdall('logs', '--export', exported)) + readFileSync(exported, 'utf8'),
    'the admin API': `${await api('logs?limit=1000')}${await api(`logs/${one}`)}${await api('logs/aggregate?by=model')}${await api('config')}`,
  };
  assert.ok(found['the admin API'].includes('"logs"') && found['heimdall logs as JSON lines'].split('\n').length > sent);
  return found;
}

describe('a secret', () => {
  for (const format of ['json', 'combined'] as const) {
    it(`is in no output, whatever carries it (access log in ${format})`, async (t) => {
      const found = await outputs(t, format, [planted, configured, caller], Object.values(carriers));
      const leaks = Object.entries(found).flatMap(([name, text]) => [planted, planted.slice(3), configured, caller].flatMap((secret) => (text.includes(secret) || text.toLowerCase().includes(encoded(secret)) ? [`${secret} in ${name}: ${text.slice(Math.max(0, text.indexOf(secret) - 60), text.indexOf(secret) + 60)}`] : [])));
      assert.deepEqual(leaks, []);
    });
  }
});

describe('an unsafe character', () => {
  for (const format of ['json', 'combined'] as const) {
    it(`reaches no log and no terminal (access log in ${format})`, async (t) => {
      const found = await outputs(t, format, [unsafeText], [(text) => ({ model: text }), (text) => ({ path: `/v1/x/${encodeURIComponent(text)}` })]);
      const leaks = Object.entries(found).filter(([name]) => name !== 'the journal').filter(([, text]) => unsafe.test(text)).map(([name, text]) => `${name}: ${JSON.stringify(unsafe.exec(text)?.[0])}`);
      assert.deepEqual(leaks, []);
    });
  }

  it('of a header’s bytes reaches no access line', async (t) => {
    const file = join(temporary(t), 'access.log');
    const { gate } = await startScene(t, { audit: {}, logging: { file, level: 'silent' } });
    await rawRequest(gate.port, Buffer.from('GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: a\x9b31mb\x85c\r\nConnection: close\r\n\r\n', 'latin1'));
    await until(() => existsSync(file) && readFileSync(file, 'utf8').includes('"path":"/x"'));
    assert.equal(unsafe.test(readFileSync(file, 'utf8')), false);
  });

  it('of an argument reaches no terminal', async () => {
    let text = '';
    await main([`${unsafeText} ${planted}`], { out: (part) => void (text += part), err: (part) => void (text += part) });
    assert.equal(unsafe.test(text), false, JSON.stringify(text));
    assert.equal(text.includes(planted), false, text);
  });
});

it('every field of an event is masked and printable, however deep it lies', () => {
  const fields = cleanFields({ reason: `${unsafeText} ${planted}`, list: [`Bearer ${planted}`, 1, null], nested: { [unsafeText]: { url: 'https://user:password@host/', note: configured } }, fix: 'secret: expected 32 characters' }, secretScrubber([configured]));
  const text = printableJson(fields);
  assert.equal(unsafe.test(text), false);
  for (const secret of [planted, 'user:password', configured]) assert.equal(text.includes(secret), false, secret);
  assert.ok(text.includes('secret: expected 32 characters'));
});
