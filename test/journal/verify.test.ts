import '../support/node.ts';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import type { Checkpoint } from '../../types/sink.d.ts';
import { signerOf, verifierOf } from '../../lib/journal/hash-chain.ts';
import { openFile } from '../../lib/journal/database.ts';
import { migrate, schemaVersion } from '../../lib/journal/schema.ts';
import { forget } from '../../lib/journal/forget.ts';
import { applyRetention } from '../../lib/journal/retention.ts';
import { Store } from '../../lib/journal/store.ts';
import { verifyJournal } from '../../lib/journal/verify.ts';
import { closing } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { day, draft, journal, secret, start, trust } from '../record/written.ts';

describe('a journal', () => {
  it('that is as it was written is whole', (t) => {
    const { verify, store } = journal(t);
    const checkpoint = store.checkpoint(start, null) as Checkpoint;
    const { last, ...verdict } = verify([checkpoint]);
    assert.deepEqual(verdict, { records: 40, batches: 10, checkpoints: 1, erased: 0, restored: null, broken: null, uncertain: null });
    assert.deepEqual(last, { batch: 10, record: 40, time: start + 9 * day });
    assert.equal(store.checkpoint(start, null), null);
  });

  it('that is empty is whole', (t) => {
    assert.deepEqual(journal(t, 0).verify(), { records: 0, batches: 0, checkpoints: 0, erased: 0, last: null, restored: null, broken: null, uncertain: null });
  });

  const tampering: Readonly<Record<string, readonly [sql: string, what: RegExp]>> = {
    'whose record tells of somebody else': ["UPDATE heimdall_logs SET real_ip = '198.51.100.1' WHERE id = 18", /^record 18 \(request-0017\): the columns that identify the caller/],
    'whose record has another outcome': ["UPDATE heimdall_logs SET response_status = 403 WHERE id = 18", /^batch 5 \(records 17 to 20, 2026-01-09T/],
    'whose record cost something else': ['UPDATE heimdall_logs SET cost = cost * 1.0000001 WHERE id = 18', /^batch 5 /],
    'whose body says something else': ["UPDATE heimdall_logs SET request_body = '{}' WHERE id = 17", /^record 17 .*body/],
    'whose body is gone': ['UPDATE heimdall_logs SET request_body = NULL WHERE id = 17', /^record 17 .*body/],
    'that lost a record': ['DELETE FROM heimdall_logs WHERE id = 18', /^record 18 is missing/],
    'that lost its last records': ['DELETE FROM heimdall_logs WHERE id > 38', /^record 39 is missing/],
    'that lost its first records': ['DELETE FROM heimdall_logs WHERE id < 5', /^record 1 is missing/],
    'that lost a batch': ['DELETE FROM heimdall_batches WHERE batch = 5', /^batch 5 is missing/],
    'whose two records changed places': ['UPDATE heimdall_logs SET id = CASE id WHEN 17 THEN -18 WHEN 18 THEN -17 END WHERE id IN (17, 18); UPDATE heimdall_logs SET id = -id WHERE id < 0', /^batch 5 /],
    'that has a record more': ["INSERT INTO heimdall_logs (id, request_id, timestamp, digest) VALUES (41, 'x', 0, '')", /^record 41 \(x\) belongs to no batch/],
    'whose batch has another hash': ["UPDATE heimdall_batches SET hash = CASE substr(hash, 1, 1) WHEN 'a' THEN 'b' ELSE 'a' END || substr(hash, 2) WHERE batch = 5", /^batch 5 /],
    'whose record was erased by hand': ["UPDATE heimdall_logs SET real_ip = '', forwarded_for = '', session = '', request_path = '', device_fingerprint = '', token_id = NULL, request_body = NULL, salt = NULL, erasure = 1 WHERE id = 18", /^record 18 was erased without a signed erasure/],
    'whose beginning was cut': ["DELETE FROM heimdall_logs WHERE id < 5; DELETE FROM heimdall_batches WHERE batch < 2", /^batch 1 is missing/],
  };
  for (const [name, [sql, what]] of Object.entries(tampering)) {
    it(`${name} is broken there`, (t) => {
      const { db, broken } = journal(t);
      db.exec(sql);
      assert.match(broken(), what);
    });
  }

  it('that was cut is told by what was signed', (t) => {
    const { db, store, broken } = journal(t);
    const checkpoint = store.checkpoint(start, null) as Checkpoint;
    db.exec('DELETE FROM heimdall_logs WHERE id > 36; DELETE FROM heimdall_batches WHERE batch > 9');
    assert.match(broken(), /^the journal was cut: batch 10 with record 40, signed at 2026-01-05/);
    db.exec('DELETE FROM heimdall_checkpoints');
    assert.equal(broken(), 'whole');
    assert.match(broken([checkpoint]), /^the journal was cut: batch 10/);
  });

  it('that was rewritten without the secret is broken from the first batch of it on', (t) => {
    const { db, store, broken } = journal(t, 4);
    const checkpoint = store.checkpoint(start, null) as Checkpoint;
    db.exec('DELETE FROM heimdall_logs WHERE id > 8; DELETE FROM heimdall_batches WHERE batch > 2');
    const forger = new Store(db, 'other', signerOf('a secret the forger has made up'));
    for (const batch of [2, 3, 4]) forger.write({ records: [0, 1, 2, 3].map((at) => draft(batch * 4 + at, { outcome: 'forged' })), intents: [], cursors: [], seq: batch, now: start });
    assert.match(broken(), /^batch 3 is not signed by this gate's secret/);
    assert.match(broken([checkpoint]), /^batch 3 is not signed/);
  });

  it('that was rewritten with the secret is told by what was signed before', (t) => {
    const { db, store, broken } = journal(t, 4);
    const checkpoint = store.checkpoint(start, null) as Checkpoint;
    db.exec('DELETE FROM heimdall_logs WHERE id > 8; DELETE FROM heimdall_batches WHERE batch > 2; DELETE FROM heimdall_checkpoints');
    const again = new Store(db, 'other', signerOf(secret));
    for (const batch of [2, 3, 4]) again.write({ records: [draft(batch * 4)], intents: [], cursors: [], seq: batch, now: start });
    assert.equal(broken(), 'whole');
    assert.match(broken([checkpoint]), /^the journal was rewritten, or cut and continued: batch 4 /);
  });

  it('keeps what was signed beside it before it goes on, so that a cut shows later too', (t) => {
    const path = join(temporary(t), 'head');
    const { db, store, broken } = journal(t, 4);
    const checkpoint = store.checkpoint(start, null) as Checkpoint;
    writeFileSync(path, JSON.stringify(checkpoint));
    db.exec('DELETE FROM heimdall_logs WHERE id > 8; DELETE FROM heimdall_batches WHERE batch > 2; DELETE FROM heimdall_checkpoints');
    const next = new Store(db, 'next', signerOf(secret));
    assert.match(next.attest(path, trust, start) ?? '', /^batch 4, signed at .* is missing/);
    for (const batch of [2, 3, 4]) next.write({ records: [draft(batch * 4 + 1)], intents: [], cursors: [], seq: batch, now: start });
    rmSync(path);
    assert.match(broken(), /^the gate found at .*: batch 4, signed at .* is missing/);
  });

  it('is not taken for whole with another secret, and is with a previous one', (t) => {
    const { db } = journal(t, 2);
    assert.match(verifyJournal(db, verifierOf(['another']), { head: null }).broken?.what ?? '', /^batch 1 is not signed/);
    assert.equal(verifyJournal(db, verifierOf(['another', secret]), { head: null }).broken, null);
  });
});

describe('what may be removed', () => {
  const retention = (more: object = {}) => ({ path: '/nowhere/heimdall.db', keepRecords: 4 * day, keepBodies: 2 * day, maxSize: 1e9, signer: signerOf(secret), lost: () => undefined, ...more });

  it('goes by age, bodies before records, and the rest is whole', async (t) => {
    const { db, verify } = journal(t);
    await applyRetention(db, retention(), start + 9 * day + 1);
    const { records, batches, broken } = verify();
    assert.deepEqual({ records, batches, broken }, { records: 16, batches: 4, broken: null });
    const bodies = db.prepare('SELECT id FROM heimdall_logs WHERE request_body IS NOT NULL').all().map((row) => row['id']);
    assert.deepEqual(bodies, [33, 35, 37, 39]);
  });

  it('keeps the chain going when everything is gone', async (t) => {
    const { db, store, verify } = journal(t);
    await applyRetention(db, retention(), start + 100 * day);
    assert.equal(verify().records, 0);
    store.write({ records: [draft(100)], intents: [], cursors: [], seq: 11, now: start + 100 * day });
    const again = new Store(db, 'next', signerOf(secret));
    assert.equal(again.lastId, 41);
    assert.deepEqual([verify().records, verify().broken], [1, null]);
  });

  it('waits for a sink for as long again, then is counted', async (t) => {
    const lost: [string, number][] = [];
    const { db, store, verify } = journal(t);
    store.write({ records: [], intents: [], cursors: [['slow', 6]], seq: 11, now: start });
    await applyRetention(db, retention({ lost: (reason: string, count: number) => lost.push([reason, count]) }), start + 7 * day + 1);
    assert.equal(verify().records, 36);
    await applyRetention(db, retention({ lost: (reason: string, count: number) => lost.push([reason, count]) }), start + 9 * day + 1);
    assert.deepEqual([verify().records, verify().broken], [32, null]);
    assert.deepEqual(lost, [['undelivered', 2]]);
  });

  it('does not wait for a sink that is configured no longer', async (t) => {
    const lost: [string, number][] = [];
    const { db, store, verify } = journal(t);
    store.write({ records: [], intents: [], cursors: [['gone', 6], ['quick', 40]], seq: 11, now: start });
    await applyRetention(db, retention({ sinks: ['quick'], lost: (reason: string, count: number) => lost.push([reason, count]) }), start + 9 * day + 1);
    assert.deepEqual([verify().records, verify().broken, lost], [16, null, []]);
  });

  it('is not taken back by moving the mark', async (t) => {
    const { db, broken } = journal(t);
    await applyRetention(db, retention(), start + 9 * day + 1);
    db.exec("UPDATE heimdall_marks SET record = record + 4, batch = batch + 1 WHERE name = 'records'");
    assert.match(broken(), /^the mark that records up to 28 were removed is not signed/);
  });
});

describe('what is forgotten', () => {
  it('leaves the chain whole, and nothing of who it was', (t) => {
    const { db, verify } = journal(t);
    assert.equal(forget(db, { kind: 'address', value: '192.0.2.3' }, { signer: signerOf(secret), secrets: [secret], now: start }), 8);
    assert.equal(forget(db, { kind: 'address', value: '192.0.2.3' }, { signer: signerOf(secret), secrets: [secret], now: start }), 0);
    assert.equal(forget(db, { kind: 'key', value: 'token-1' }, { signer: signerOf(secret), secrets: [secret], now: start }), 11);
    const { erased, broken, records } = verify();
    assert.deepEqual({ erased, broken, records }, { erased: 19, broken: null, records: 40 });
    const [row] = db.prepare('SELECT * FROM heimdall_logs WHERE id = 4').all() as Record<string, unknown>[];
    assert.deepEqual([row?.['real_ip'], row?.['token_id'], row?.['salt'], row?.['request_path'], row?.['response_status']], ['', null, null, '', 200]);
    assert.ok(!JSON.stringify(db.prepare('SELECT * FROM heimdall_erasures').all()).includes('192.0.2'));
  });

  it('is found in a forwarded chain, whole addresses alone', (t) => {
    const { db, store } = journal(t, 0);
    const chains = ['192.0.2.7, 10.0.0.1', '10.0.0.1,192.0.2.7:5678', '192.0.2.77, 10.0.0.1', '1.192.0.2.7', '[2001:db8::1], 10.0.0.1'];
    store.write({ records: chains.map((chain, at) => draft(at, { forwarded_for: chain, real_ip: '10.0.0.1' })), intents: [], cursors: [], seq: 1, now: start });
    assert.equal(forget(db, { kind: 'address', value: '192.0.2.7' }, { signer: signerOf(secret), secrets: [secret], now: start }), 2);
    assert.equal(forget(db, { kind: 'address', value: '2001:db8::1' }, { signer: signerOf(secret), secrets: [secret], now: start }), 1);
  });

  it('cannot be spread over other records by hand, nor be written over', (t) => {
    const { db, broken } = journal(t);
    forget(db, { kind: 'address', value: '192.0.2.3' }, { signer: signerOf(secret), secrets: [secret], now: start });
    db.exec("UPDATE heimdall_logs SET real_ip = '198.51.100.1' WHERE id = 4");
    assert.match(broken(), /^record 4 .*changed after it had been erased/);
    db.exec("UPDATE heimdall_logs SET real_ip = '' WHERE id = 4; UPDATE heimdall_erasures SET ids = ids || ' 6'");
    assert.match(broken(), /^erasure 1 .*is not signed/);
  });

  it('is found once, however much there is of it', (t) => {
    const { db, store, verify } = journal(t, 0);
    store.write({ records: Array.from({ length: 1300 }, (_, at) => draft(at, { real_ip: at % 13 === 0 ? '198.51.100.1' : '198.51.100.2', key_id: at < 2 ? 'team' : null })), intents: [], cursors: [], seq: 1, now: start });
    assert.equal(forget(db, { kind: 'address', value: '198.51.100.2' }, { signer: signerOf(secret), secrets: [secret], now: start }), 1200);
    assert.equal(forget(db, { kind: 'address', value: '198.51.100.1' }, { signer: signerOf(secret), secrets: [secret], now: start }), 100);
    assert.equal(forget(db, { kind: 'key', value: 'team' }, { signer: signerOf(secret), secrets: [secret], now: start }), 0);
    assert.deepEqual([verify().erased, verify().broken], [1300, null]);
  });

  it('is in no page of the file, nor in its log', (t) => {
    const path = join(temporary(t), 'journal.db');
    const opened = openFile(path, false, signerOf(secret), start);
    const store = new Store(opened.db, 'session', signerOf(secret));
    const who = { real_ip: '203.0.113.77', forwarded_for: '203.0.113.77', device_fingerprint: 'f0e1'.repeat(16), token_id: 'abad1deaabad1dea', request_body: 'what was said here'.repeat(600), user_agent: 'an agent of theirs' };
    for (let batch = 0; batch < 20; batch++) store.write({ records: Array.from({ length: 50 }, (_, at) => draft(batch * 50 + at, at % 7 === 0 ? who : {})), intents: [], cursors: [], seq: batch + 1, now: start });
    assert.equal(forget(opened.db, { kind: 'address', value: '203.0.113.77' }, { signer: signerOf(secret), secrets: [secret], now: start }), 160);
    opened.close();
    const bytes = Buffer.concat(readdirSync(dirname(path)).map((name) => readFileSync(join(dirname(path), name))));
    for (const value of Object.values(who)) assert.equal(bytes.includes(value.slice(0, 18)), false, value.slice(0, 18));
    assert.equal(bytes.includes('192.0.2.3'), true);
  });

  it('may be removed by age later', async (t) => {
    const { db, verify } = journal(t);
    forget(db, { kind: 'address', value: '192.0.2.3' }, { signer: signerOf(secret), secrets: [secret], now: start });
    await applyRetention(db, { path: '/nowhere', keepRecords: 4 * day, keepBodies: day, maxSize: 1e9, signer: signerOf(secret), lost: () => undefined }, start + 9 * day + 1);
    assert.equal(verify().broken, null);
  });
});

describe('a schema', () => {
  it('of a newer release, or of something else, is not touched', (t) => {
    const newer = closing(t, new DatabaseSync(':memory:'));
    newer.exec(`PRAGMA user_version = ${schemaVersion + 1}`);
    assert.throws(() => migrate(newer, signerOf(secret), start), /newer release/);
    const other = closing(t, new DatabaseSync(':memory:'));
    other.exec('CREATE TABLE heimdall_logs (id INTEGER)');
    assert.throws(() => migrate(other, signerOf(secret), start), /something else/);
    assert.equal(other.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'], 1);
  });

  it('is made once', (t) => {
    const { db, verify } = journal(t, 1);
    migrate(db, signerOf(secret), start);
    assert.equal(verify().records, 4);
  });
});
