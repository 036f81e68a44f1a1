import '../support/node.ts';
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openFile, transaction } from '../../lib/journal/database.ts';
import { forget } from '../../lib/journal/forget.ts';
import { signerOf } from '../../lib/journal/hash-chain.ts';
import { applyRetention } from '../../lib/journal/retention.ts';
import { migrate } from '../../lib/journal/schema.ts';
import { textsOf } from '../../lib/journal/texts.ts';
import { verifyJournal } from '../../lib/journal/verify.ts';
import { names, type RecordRow } from '../../lib/record/columns.ts';
import { bodyJournal, type BodyJournal } from '../record/kept.ts';
import { secret, start, trust } from '../record/written.ts';
import { agentSession } from '../support/agent-session.ts';
import { closing, type TestLike } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { bytesOf } from '../support/journal.ts';

const signer = signerOf(secret);
const day = 86_400_000;
const [first, second] = [agentSession('messages', 31, 3), agentSession('chat', 32, 3)];
const bodies = (session: typeof first): string[] => session.map(({ body }) => JSON.stringify(body));

/** Two callers with a session each, and a third who sends what the first has sent. */
function scene(t: TestLike, db: DatabaseSync = closing(t, new DatabaseSync(':memory:'))): BodyJournal & { readonly db: DatabaseSync; broken(): string } {
  migrate(db, signer, start);
  const journal = bodyJournal(db);
  for (const body of bodies(first)) journal.write(body, { ip: '192.0.2.1', tokenId: '1'.repeat(16) });
  for (const body of bodies(second)) journal.write(body, { ip: '192.0.2.2', tokenId: '2'.repeat(16) });
  journal.write(bodies(first)[0] as string, { ip: '192.0.2.3', tokenId: '3'.repeat(16) });
  return { ...journal, db, broken: () => verifyJournal(db, trust, { head: null }).broken?.what ?? 'whole' };
}

const textsIn = (db: DatabaseSync): number => (db.prepare('SELECT count(*) AS texts FROM heimdall_texts').get() as { texts: number }).texts;

describe('the long texts of a journal', () => {
  it('go with the last record that names them, when a caller is forgotten', (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const opened = openFile(path, false, signer, start);
    t.after(() => opened.close());
    const { db, broken, write, store } = scene(t, opened.db);
    assert.equal(broken(), 'whole');
    const before = textsIn(db);
    const removed: string[] = [];
    assert.equal(forget(db, { kind: 'address', value: '192.0.2.1' }, { signer, secrets: [secret], ledger: store.ledger, removed: (digests) => removed.push(...digests), now: start + day }), 3);
    // The third caller still names the system prompt and the tools; the turns of the first were its own.
    assert.ok(removed.length > 0 && textsIn(db) === before - removed.length);
    assert.equal(broken(), 'whole');
    assert.ok(!bytesOf(path).includes(first[1]?.question as string));
    forget(db, { kind: 'address', value: '192.0.2.2' }, { signer, secrets: [secret], ledger: store.ledger, now: start + day });
    forget(db, { kind: 'address', value: '192.0.2.3' }, { signer, secrets: [secret], ledger: store.ledger, now: start + day });
    assert.deepEqual([textsIn(db), broken()], [0, 'whole']);
    const bytes = bytesOf(path);
    for (const { question } of [...first, ...second]) assert.ok(!bytes.includes(question));
    write(bodies(second)[2] as string);
  });

  it('go with the bodies of old records, and with the records', async (t) => {
    const { db, broken } = scene(t);
    const retention = { path: null, keepRecords: 30 * day, keepBodies: 7 * day, maxSize: 1e9, signer, lost: () => undefined };
    await applyRetention(db, { ...retention, keepBodies: 4000 }, start + 8000);
    assert.ok(textsIn(db) > 0);
    assert.equal(broken(), 'whole');
    await applyRetention(db, retention, start + 8 * day);
    assert.deepEqual([textsIn(db), broken()], [0, 'whole']);
    const other = scene(t);
    await applyRetention(other.db, { ...retention, keepBodies: 90 * day }, start + 31 * day);
    assert.deepEqual([textsIn(other.db), other.broken()], [0, 'whole']);
  });

  it('are added again when they come again', (t) => {
    const { db, broken, write, read, builder, store } = scene(t);
    const removed = (digests: readonly string[]): void => {
      store.textsRemoved();
      builder.texts.drop(new Set(digests));
    };
    forget(db, { kind: 'address', value: '192.0.2.2' }, { signer, secrets: [secret], ledger: store.ledger, removed, now: start + day });
    const id = write(bodies(second)[2] as string);
    assert.deepEqual(JSON.parse(String(read(id).request_body)), second[2]?.body);
    assert.equal(broken(), 'whole');
  });

  it('that another process has removed cost the next record its texts, and no more', (t) => {
    const { db, broken, write, read, builder, store } = scene(t);
    store.onTextGone = () => builder.texts.clear();
    forget(db, { kind: 'address', value: '192.0.2.2' }, { signer, secrets: [secret], ledger: store.ledger, now: start + day });
    store.textsRemoved();
    const [lost, kept] = [write(bodies(second)[2] as string), write(bodies(second)[2] as string)];
    assert.match(String(read(lost).request_body), /^\{"role":"user","content":"Question 2/);
    assert.deepEqual(JSON.parse(String(read(kept).request_body)), second[2]?.body);
    assert.equal(broken(), 'whole');
  });

  it('go along when records move from memory into a file', (t) => {
    const { db } = scene(t);
    const rows = db.prepare(`SELECT ${names.join(', ')} FROM heimdall_logs ORDER BY id`).all() as unknown as RecordRow[];
    const into = closing(t, new DatabaseSync(':memory:'));
    migrate(into, signer, start);
    const { store, read } = bodyJournal(into);
    store.write({ records: rows, texts: textsOf(db, rows), intents: [], cursors: [], seq: 1, now: start });
    assert.equal(textsIn(into), textsIn(db));
    assert.deepEqual(JSON.parse(String(read(String(rows[5]?.request_id)).request_body)), second[2]?.body);
    assert.equal(verifyJournal(into, trust, { head: null }).broken, null);
  });

  it('are counted once when a write is tried again', (t) => {
    const { db, broken, store } = scene(t);
    const before = textsIn(db);
    const rows = db.prepare(`SELECT ${names.join(', ')} FROM heimdall_logs ORDER BY id`).all() as unknown as RecordRow[];
    store.write({ records: rows.map((row) => ({ ...row })), texts: textsOf(db, rows), intents: [], cursors: [], seq: 99, now: start });
    assert.throws(() => store.write({ records: [{ ...rows[0], request_id: 'another' } as RecordRow, { ...rows[1], request_id: 'one more' } as RecordRow], texts: textsOf(db, rows), intents: [], cursors: [['sink', Symbol('no number') as never]], seq: 100, now: start }));
    assert.deepEqual([textsIn(db), broken()], [before, 'whole']);
  });
});

describe('a long text', () => {
  const changes: Readonly<Record<string, readonly [sql: string, what: RegExp]>> = {
    'that was changed': ["UPDATE heimdall_texts SET content = (SELECT content FROM heimdall_texts WHERE id = 2) WHERE id = 1", /text .* was changed/],
    'that is damaged': ["UPDATE heimdall_texts SET content = x'00ff' WHERE id = 1", /text .* was changed/],
    'that is gone': ['DELETE FROM heimdall_texts WHERE id = (SELECT max(id) FROM heimdall_texts)', /names, is missing|was changed/],
    'whose content is gone': ['UPDATE heimdall_texts SET content = NULL WHERE id = 1', /text .* was changed/],
    'whose size was changed': ['UPDATE heimdall_texts SET size = size + 1 WHERE id = 1', /text .* was changed/],
    'whose label was changed': ["UPDATE heimdall_texts SET label = 'user 1' WHERE id = 1", /text .* was changed/],
    'that follows another one': ['UPDATE heimdall_texts SET before = 1 WHERE id = (SELECT max(id) FROM heimdall_texts WHERE before IS NOT NULL)', /text .* was changed/],
    'that no record names': ["INSERT INTO heimdall_texts (digest, before, uses, record, label, size, content) VALUES ('added', NULL, 0, 1, NULL, 1, x'00')", /belongs to no record/],
    'that counts too many records': ['UPDATE heimdall_texts SET uses = uses + 1 WHERE id = 1', /text .* was changed/],
    'that a record does not name any more': ["UPDATE heimdall_logs SET request_texts = NULL WHERE id = 2", /body was changed/],
    'that a record names in place of another': ["UPDATE heimdall_logs SET request_texts = (SELECT request_texts FROM heimdall_logs WHERE id = 5) WHERE id = 2", /body was changed/],
    'of a record that lost its body': ["UPDATE heimdall_logs SET request_body = NULL, request_texts = NULL, response_body = NULL WHERE id = 2", /body was changed/],
  };
  for (const [what, [sql, expected]] of Object.entries(changes)) {
    it(`${what} is found`, (t) => {
      const { db, broken } = scene(t);
      transaction(db, () => db.exec(sql));
      assert.match(broken(), expected);
    });
  }
});
