import '../support/node.ts';
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openFile, transaction } from '../../lib/journal/database.ts';
import { exportRecords } from '../../lib/journal/export.ts';
import { forget } from '../../lib/journal/forget.ts';
import { grep } from '../../lib/journal/grep.ts';
import { signerOf } from '../../lib/journal/hash-chain.ts';
import { answerer } from '../../lib/journal/query.ts';
import { applyRetention } from '../../lib/journal/retention.ts';
import { migrate } from '../../lib/journal/schema.ts';
import { headerReader, textLookup, textsOf } from '../../lib/journal/texts.ts';
import { verifyJournal } from '../../lib/journal/verify.ts';
import type { RecordBuilderOptions } from '../../lib/record/builder.ts';
import { names, type RecordRow } from '../../lib/record/columns.ts';
import type { FromWorker } from '../../lib/record/messages.ts';
import { bodyJournal, type BodyJournal } from '../record/kept.ts';
import { secret, start, trust } from '../record/written.ts';
import { closing, type TestLike } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { bytesOf } from '../support/journal.ts';

const signer = signerOf(secret);
const day = 86_400_000;
const body = '{"messages":[{"role":"user","content":"hello"}]}';
/** As Claude Code sends them. */
const agent = [
  'Accept', 'application/json', 'Content-Type', 'application/json', 'User-Agent', 'claude-cli/2.1.197 (external, sdk-cli)', 'X-Stainless-Arch', 'x64', 'X-Stainless-Lang', 'js', 'X-Stainless-OS', 'Linux',
  'X-Stainless-Runtime', 'node', 'X-Stainless-Runtime-Version', 'v26.3.0', 'anthropic-beta', 'claude-code-20250219,interleaved-thinking-2025-05-14', 'anthropic-version', '2023-06-01', 'Accept-Encoding', 'gzip, deflate, br, zstd',
];
const whole = JSON.stringify(Object.fromEntries(Array.from({ length: agent.length / 2 }, (_, at) => [String(agent[2 * at]).toLowerCase(), agent[2 * at + 1]])));

interface Scene extends BodyJournal {
  readonly db: DatabaseSync;
  broken(): string;
  /** What the table of records has. */
  kept(): (string | null)[];
  texts(): number;
}

function scene(t: TestLike, options: Partial<RecordBuilderOptions> = {}, db: DatabaseSync = closing(t, new DatabaseSync(':memory:'))): Scene {
  migrate(db, signer, start);
  return {
    ...bodyJournal(db, options), db, broken: () => verifyJournal(db, trust, { head: null }).broken?.what ?? 'whole',
    kept: () => (db.prepare('SELECT request_headers AS kept FROM heimdall_logs ORDER BY id').all() as { kept: string | null }[]).map(({ kept }) => kept),
    texts: () => (db.prepare('SELECT count(*) AS texts FROM heimdall_texts').get() as { texts: number }).texts,
  };
}

/** Two callers, one after the other, each twice. */
function twoCallers(t: TestLike, db?: DatabaseSync): Scene {
  const made = scene(t, {}, db);
  for (const ip of ['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.2']) made.write(body, { ip, headers: [...agent, 'Authorization', `Bearer key-of-${ip}`] });
  return made;
}

describe('request headers that come again', () => {
  it('are kept once for all callers, and are there for every reader', async (t) => {
    const { db, kept, texts, read, broken } = twoCallers(t);
    const [first, ...named] = kept();
    assert.deepEqual([first, new Set(named).size, texts(), broken()], [whole, 1, 1, 'whole']);
    assert.match(String(named[0]), /^[\w-]{22}$/);
    for (const nth of [1, 2, 3, 4]) assert.equal(read(`0198aaaa-0000-7000-8000-${String(nth).padStart(12, '0')}`).request_headers, whole);
    const delivered = await new Promise<FromWorker>((resolve) => answerer(() => db)({ call: 1, name: 'read', request: { after: 0, limit: 10 } }, resolve)) as unknown as { value: { request_headers: string }[] };
    assert.deepEqual(delivered.value.map(({ request_headers: headers }) => headers), Array.from({ length: 4 }, () => whole));
    for (const format of ['jsonl', 'csv'] as const) {
      let out = '';
      exportRecords(db, { wanted: {}, format, now: start }, (text) => void (out += text), () => undefined);
      assert.equal(out.split('claude-code-20250219').length - 1, 4);
    }
    const headersOf = headerReader(textLookup(db));
    assert.deepEqual([...kept(), null].map(headersOf), [whole, whole, whole, whole, null]);
  });

  it('have the trace of each request in front', (t) => {
    const { kept, read, write } = scene(t, { traced: true });
    const traces = ['a', 'b', 'c'].map((sign) => `00-${sign.repeat(32)}-${sign.repeat(16)}-01`);
    const ids = traces.map((traceparent) => write(body, { headers: [...agent, 'traceparent', traceparent] }));
    assert.deepEqual(ids.map((id) => read(id).request_headers), traces.map((traceparent) => `{"traceparent":"${traceparent}",${whole.slice(1)}`));
    assert.match(String(kept()[2]), /^[\w-]{22}\{"traceparent":"00-c+-c+-01"\}$/);
  });

  it('stay in their record where they are short, come once, or only digests are kept, and before a request has ended', (t) => {
    const short = scene(t);
    for (let nth = 0; nth < 3; nth++) short.write(body);
    const each = scene(t);
    for (let nth = 0; nth < 3; nth++) each.write(body, { headers: [...agent, 'X-Title', `title ${nth}`] });
    const digests = scene(t, { capture: { headers: 'safe', body: 10_240, text: 0, response: 0 } });
    for (let nth = 0; nth < 3; nth++) digests.write(body, { headers: agent });
    const intents = scene(t);
    for (let nth = 0; nth < 3; nth++) intents.write(body, { headers: agent, intent: true });
    for (const { kept, texts } of [short, each, digests, intents]) assert.deepEqual([kept().every((headers) => headers?.startsWith('{"')), texts()], [true, 0]);
  });

  it('hold no secret in the file, however often it comes', (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const opened = openFile(path, false, signer, start);
    t.after(() => opened.close());
    const own = 'one-of-two-credentials';
    const made = scene(t, {}, opened.db);
    // The second caller's credential is an ordinary word in the headers of the first.
    for (const key of ['another-credential', 'another-credential', own, own, own]) made.write(body, { headers: [...agent, 'X-Title', `with ${own}`, 'Authorization', `Bearer ${key}`], ip: key === own ? '192.0.2.2' : '192.0.2.1' });
    for (let nth = 0; nth < 3; nth++) made.write(body, { headers: [...agent, 'X-Title', 'the-configured-secret', 'Authorization', 'Bearer x-of-some-length'] });
    const readAll = made.kept().map((_, at) => String(made.read(`0198aaaa-0000-7000-8000-${String(at + 1).padStart(12, '0')}`).request_headers));
    assert.deepEqual(readAll.map((headers) => headers.includes(own)), [true, true, false, false, false, false, false, false]);
    assert.equal(made.texts(), 3);
    forget(opened.db, { kind: 'address', value: '192.0.2.1' }, { signer, secrets: [secret], ledger: made.store.ledger, now: start + day });
    const bytes = bytesOf(path);
    for (const hidden of [own, 'the-configured-secret']) assert.ok(!bytes.includes(hidden), hidden);
    const contents = opened.db.prepare('SELECT digest FROM heimdall_texts').all().map(({ digest }) => String(textLookup(opened.db)(String(digest))?.content));
    assert.ok(contents.length === 1 && !/one-of-two|configured/.test(contents.join()), contents.join());
    assert.equal(made.broken(), 'whole');
  });

  it('go with the last caller who is forgotten', (t) => {
    const { db, store, broken, texts, read } = twoCallers(t);
    const forgetting = (value: string): number => forget(db, { kind: 'address', value }, { signer, secrets: [secret], ledger: store.ledger, now: start + day });
    assert.deepEqual([forgetting('192.0.2.1'), texts(), broken(), read('0198aaaa-0000-7000-8000-000000000004').request_headers], [2, 1, 'whole', whole]);
    assert.deepEqual([forgetting('192.0.2.2'), texts(), broken(), read('0198aaaa-0000-7000-8000-000000000004').request_headers], [2, 0, 'whole', null]);
  });

  it('outlive the bodies, and go with the records', async (t) => {
    const { db, store, broken, texts, read, write } = twoCallers(t);
    const retention = { path: null, keepRecords: 30 * day, keepBodies: 7 * day, maxSize: 1e9, signer, lost: () => undefined };
    await applyRetention(db, retention, start + 8 * day);
    assert.deepEqual([texts(), broken(), read('0198aaaa-0000-7000-8000-000000000004').request_headers], [1, 'whole', whole]);
    await applyRetention(db, retention, start + 31 * day);
    assert.deepEqual([texts(), broken()], [0, 'whole']);
    store.textsRemoved();
    assert.deepEqual([read(write(body, { headers: agent })).request_headers, texts(), broken()], [whole, 1, 'whole']);
  });

  it('go along when records move from memory into a file', (t) => {
    const { db } = twoCallers(t);
    const rows = db.prepare(`SELECT ${names.join(', ')} FROM heimdall_logs ORDER BY id`).all() as unknown as RecordRow[];
    const into = scene(t);
    into.store.write({ records: rows, texts: textsOf(db, rows), intents: [], cursors: [], seq: 1, now: start });
    assert.deepEqual([into.texts(), into.read('0198aaaa-0000-7000-8000-000000000004').request_headers, into.broken()], [1, whole, 'whole']);
  });

  it('are not what a search for words finds', (t) => {
    const { db } = twoCallers(t);
    const asked = { wanted: {}, order: 'oldest', limit: 10, cursor: null, now: start, time: 1000 } as const;
    assert.equal(grep(db, { ...asked, grep: 'claude-code-2025' }).records.length, 0);
    assert.equal(grep(db, { ...asked, grep: 'hello' }).records.length, 4);
  });

  const changes: Readonly<Record<string, readonly [sql: string, what: RegExp]>> = {
    'that were changed': ["UPDATE heimdall_texts SET content = x'00ff'", /text .* was changed/],
    'that are gone': ['DELETE FROM heimdall_texts', /names, is missing/],
    'that a record names no more': ['UPDATE heimdall_logs SET request_headers = NULL WHERE id = 3', /identify the caller were changed/],
    'that a record names in place of its own': ['UPDATE heimdall_logs SET request_headers = (SELECT request_headers FROM heimdall_logs WHERE id = 3) WHERE id = 1', /identify the caller were changed/],
    'that count too many records': ['UPDATE heimdall_texts SET uses = uses + 1', /text .* was changed/],
  };
  for (const [what, [sql, expected]] of Object.entries(changes)) {
    it(`${what} are found`, (t) => {
      const { db, broken } = twoCallers(t);
      transaction(db, () => db.exec(sql));
      assert.match(broken(), expected);
    });
  }
});
