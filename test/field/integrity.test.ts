import '../support/node.ts';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { main } from '../../lib/cli/cli.ts';
import { openFile } from '../../lib/journal/database.ts';
import { forget } from '../../lib/journal/forget.ts';
import { signerOf, verifierOf } from '../../lib/journal/hash-chain.ts';
import { headFileOf } from '../../lib/journal/head.ts';
import { applyRetention } from '../../lib/journal/retention.ts';
import { Store } from '../../lib/journal/store.ts';
import { request, type TestLike } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { journalOf, recorded } from '../support/journal.ts';
import { scratch } from '../support/scratch.ts';
import { day, draft, secret, start } from '../record/written.ts';

/** The output and the exit code of a command. */
interface Ran {
  readonly code: number | null;
  readonly text: string;
}

/** A journal on the disk, and `heimdall` for it. */
interface Copy {
  readonly path: string;
  readonly heimdall: (...args: readonly string[]) => Promise<Ran>;
}

/** A journal with everything it can hold: removed records and bodies, erasures, facts learnt later, cursors, sessions, intents, checkpoints. */
async function writeJournal(dir: string): Promise<void> {
  const path = join(dir, 'heimdall.db');
  const signer = signerOf(secret);
  const opened = openFile(path, false, signer, start);
  const store = new Store(opened.db, 'a session', signer);
  store.attest(headFileOf(path), verifierOf([secret]), start);
  for (let batch = 0; batch < 10; batch++) {
    const now = start + batch * day;
    store.write({ records: [0, 1, 2, 3].map((at) => draft(batch * 4 + at, { response_body: at === 2 ? 'an answer' : null })), intents: [], cursors: [['postgres', Math.max(8, batch * 4)]], seq: batch + 1, now });
    if (batch % 3 === 2) store.checkpoint(now + 1, headFileOf(path));
    if (batch === 8) store.learn([{ requestId: 'request-0034', name: 'charged', value: 0.25 }, { requestId: 'request-0035', name: 'user', value: 'alice' }], now);
  }
  await applyRetention(opened.db, { path, keepRecords: 8 * day, keepBodies: 5 * day, maxSize: 1e9, signer, lost: () => undefined }, start + 9 * day + 1);
  forget(opened.db, { kind: 'address', value: '192.0.2.3' }, { signer, secrets: [secret], ledger: store.ledger, now: start + 9 * day + 2 });
  store.write({ records: [draft(40)], intents: [draft(41, { outcome: 'interrupted' })], cursors: [['postgres', 36]], seq: 11, now: start + 10 * day });
  store.checkpoint(start + 10 * day, headFileOf(path));
  opened.close();
}

let original = '';
before(async () => {
  original = scratch();
  await writeJournal(original);
});
after(() => rmSync(original, { recursive: true, force: true }));

/** Copies the journal into a directory of the test. */
function copy(t: TestLike): Copy {
  const dir = temporary(t);
  for (const name of readdirSync(original)) copyFileSync(join(original, name), join(dir, name));
  return at(dir);
}

function at(dir: string): Copy {
  const path = join(dir, 'heimdall.db');
  const config = join(dir, 'heimdall.yaml');
  writeFileSync(config, `secret: ${secret}\naudit: { path: ${path} }\n`, { mode: 0o600 });
  return {
    path,
    async heimdall(...args) {
      let text = '';
      const code = await main([...args, '--config', config], { out: (part) => void (text += part), err: (part) => void (text += part) });
      return { code, text };
    },
  };
}

/** Runs SQL on a journal as somebody could who has its file. */
function run(path: string, ...statements: readonly string[]): void {
  const db = new DatabaseSync(path, { defensive: false });
  try {
    for (const sql of statements) db.exec(sql);
  } finally {
    db.close();
  }
}

it('a journal that nobody has touched is whole', async (t) => {
  const { heimdall } = copy(t);
  const { code, text } = await heimdall('verify');
  assert.equal(code, 0, text);
  assert.match(text, /Whole\.\n$/);
});

/** Another value for a column, whatever its type. */
const other = (column: string): string => `${column} = CASE typeof(${column}) WHEN 'integer' THEN ${column} + 1 WHEN 'real' THEN ${column} + 1 WHEN 'null' THEN 'x' ELSE ${column} || 'x' END`;

describe('every column of every table', () => {
  /** A row of each table; an ordinary record, and an erased one. */
  const rows: readonly (readonly [table: string, where: string])[] = [
    ['heimdall_logs', 'id = 35'], ['heimdall_logs', 'erasure IS NOT NULL AND id > 30'], ['heimdall_batches', 'batch = 8'], ['heimdall_batches', 'batch = (SELECT max(batch) FROM heimdall_batches)'],
    ['heimdall_checkpoints', 'batch = (SELECT min(batch) FROM heimdall_checkpoints)'], ['heimdall_checkpoints', 'batch = (SELECT max(batch) FROM heimdall_checkpoints)'], ['heimdall_erasures', 'erasure = 1'],
    ['heimdall_marks', "name = 'records'"], ['heimdall_marks', "name = 'bodies'"], ['heimdall_history', 'entry = 1'], ['heimdall_learnt', "name = 'charged'"],
    ['heimdall_cursors', '1'], ['heimdall_sessions', '1'], ['heimdall_intents', '1'],
  ];
  for (const [table, where] of rows) {
    it(`of ${table} where ${where} is checked`, async (t) => {
      const { path, heimdall } = copy(t);
      const db = new DatabaseSync(path);
      const columns = db.prepare('SELECT name FROM pragma_table_info(?)').all(table).map(({ name }) => String(name));
      db.close();
      const whole = readFileSync(path);
      const missed: string[] = [];
      for (const column of columns) {
        writeFileSync(path, whole);
        run(path, `UPDATE ${table} SET ${column === 'id' || column === 'fact' || column === 'batch' ? `${column} = ${column} + 1000` : other(column)} WHERE ${where}`);
        assert.ok(!readFileSync(path).equals(whole), `${column} was not changed`);
        const { code } = await heimdall('verify');
        if (code !== 1) missed.push(`${column}: ${code}`);
      }
      assert.deepEqual(missed, []);
    });
  }
});

/** The index is built again under a definition that leaves out a record, then gets its own definition back. */
const withoutOne = (index: string, definition: string): readonly string[] => [
  `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = '${definition} WHERE id <> 35' WHERE name = '${index}'; PRAGMA writable_schema = RESET; REINDEX ${index}`,
  `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = '${definition}' WHERE name = '${index}'; PRAGMA writable_schema = RESET`,
];
const schemaEdit = (set: string, where: string): string => `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET ${set} WHERE ${where}; PRAGMA writable_schema = RESET`;

const manipulations: Readonly<Record<string, (path: string) => void>> = {
  'a record hidden by deleted_at': (path) => run(path, "UPDATE heimdall_logs SET deleted_at = '2026-01-01' WHERE id = 35"),
  'a record in the middle deleted': (path) => run(path, 'DELETE FROM heimdall_logs WHERE id = 35'),
  'a batch deleted with its records': (path) => run(path, 'DELETE FROM heimdall_logs WHERE id IN (SELECT id FROM heimdall_logs l JOIN heimdall_batches b ON b.batch = 9 AND l.id BETWEEN b.first AND b.last); DELETE FROM heimdall_batches WHERE batch = 9'),
  'the last records deleted': (path) => run(path, 'DELETE FROM heimdall_logs WHERE id > 38'),
  'the last batches deleted with everything after them': (path) => run(path, 'DELETE FROM heimdall_logs WHERE id > 36; DELETE FROM heimdall_batches WHERE last > 36 OR first > 36; DELETE FROM heimdall_checkpoints WHERE record > 36; DELETE FROM heimdall_history WHERE batch > (SELECT max(batch) FROM heimdall_batches); DELETE FROM heimdall_cursors'),
  'everything deleted': (path) => run(path, ...['logs', 'batches', 'checkpoints', 'erasures', 'marks', 'history', 'learnt', 'cursors', 'sessions', 'intents'].map((name) => `DELETE FROM heimdall_${name}`)),
  'a record added at the end': (path) => run(path, "INSERT INTO heimdall_logs (id, request_id, timestamp, digest) VALUES (100, 'x', 0, '')"),
  'a record added before the first': (path) => run(path, "INSERT INTO heimdall_logs (id, request_id, timestamp, digest) VALUES (-1, 'x', 0, '')"),
  'two records exchanged': (path) => run(path, 'UPDATE heimdall_logs SET id = -id WHERE id IN (35, 36); UPDATE heimdall_logs SET id = CASE id WHEN -35 THEN 36 ELSE 35 END WHERE id < 0'),
  'a value stored as another type': (path) => run(path, "UPDATE heimdall_logs SET model = CAST('x' AS BLOB), outcome = CAST(outcome AS BLOB) WHERE id = 35"),
  'a text with a NUL and more behind it': (path) => run(path, "UPDATE heimdall_logs SET outcome = outcome || char(0) || 'refused' WHERE id = 35"),
  'a number beyond what a reader can hold': (path) => run(path, 'UPDATE heimdall_logs SET bytes_in = 9223372036854775807 WHERE id = 35'),
  'a body that was removed by age, put back': (path) => run(path, "UPDATE heimdall_logs SET request_body = 'back' WHERE id = 14"),
  'an erased record put back': (path) => run(path, "UPDATE heimdall_logs SET real_ip = '192.0.2.3' WHERE id = (SELECT max(id) FROM heimdall_logs WHERE erasure IS NOT NULL)"),
  'an erasure deleted': (path) => run(path, 'DELETE FROM heimdall_erasures'),
  'an erasure that was never signed': (path) => run(path, "INSERT INTO heimdall_erasures SELECT erasure + 1, time, kind, subject, records, ids, signature FROM heimdall_erasures"),
  'a fact deleted': (path) => run(path, "DELETE FROM heimdall_learnt WHERE name = 'charged'"),
  'a fact added': (path) => run(path, "INSERT INTO heimdall_learnt SELECT fact + 1, batch, record, name, value, salt, digest FROM heimdall_learnt WHERE name = 'user'"),
  'a fact moved to another record': (path) => run(path, 'UPDATE heimdall_learnt SET record = 37'),
  'an entry of the history deleted': (path) => run(path, 'DELETE FROM heimdall_history'),
  'a checkpoint in the middle deleted': (path) => run(path, 'DELETE FROM heimdall_checkpoints WHERE batch = (SELECT min(batch) FROM heimdall_checkpoints)'),
  'the last checkpoint deleted': (path) => run(path, 'DELETE FROM heimdall_checkpoints WHERE batch = (SELECT max(batch) FROM heimdall_checkpoints)'),
  'all checkpoints deleted': (path) => run(path, 'DELETE FROM heimdall_checkpoints'),
  'a mark deleted': (path) => run(path, "DELETE FROM heimdall_marks WHERE name = 'bodies'"),
  'the mark of the removed records moved on': (path) => run(path, "DELETE FROM heimdall_logs WHERE id <= 12; UPDATE heimdall_marks SET record = 12, batch = 3, hash = (SELECT hash FROM heimdall_batches WHERE batch = 3) WHERE name = 'records'; DELETE FROM heimdall_batches WHERE batch <= 3"),
  'a cursor moved on': (path) => run(path, 'UPDATE heimdall_cursors SET record = record + 1'),
  'a cursor moved back': (path) => run(path, 'UPDATE heimdall_cursors SET record = 0'),
  'a cursor added': (path) => run(path, "INSERT INTO heimdall_cursors VALUES ('newapi', 41, '')"),
  'a cursor given to another sink': (path) => run(path, "UPDATE heimdall_cursors SET sink = 'newapi'"),
  'a request in hand invented': (path) => run(path, "INSERT INTO heimdall_intents SELECT 'request-9999', 'other', replace(draft, 'request-0041', 'request-9999'), mac FROM heimdall_intents"),
  'a request in hand changed': (path) => run(path, "UPDATE heimdall_intents SET draft = replace(draft, '192.0.2.1', '192.0.2.9')"),
  'a batch signed by another key': (path) => resign(path, 'a secret somebody made up'),
  'a trigger': (path) => run(path, "CREATE TRIGGER t AFTER INSERT ON heimdall_logs WHEN new.real_ip = '192.0.2.1' BEGIN DELETE FROM heimdall_logs WHERE id = new.id; END"),
  'a trigger that ignores records': (path) => run(path, "CREATE TRIGGER t BEFORE INSERT ON heimdall_logs BEGIN SELECT RAISE(IGNORE); END"),
  'a view': (path) => run(path, 'CREATE VIEW v AS SELECT 1'),
  'a view in place of the table': (path) => run(path, 'ALTER TABLE heimdall_logs RENAME TO hidden; CREATE VIEW heimdall_logs AS SELECT * FROM hidden WHERE id <> 35'),
  'a table more': (path) => run(path, 'CREATE TABLE t (x)'),
  'an index more': (path) => run(path, 'CREATE INDEX i ON heimdall_logs (real_ip)'),
  'an index dropped': (path) => run(path, 'DROP INDEX heimdall_logs_time'),
  'an index of the same name over another column': (path) => run(path, 'DROP INDEX heimdall_logs_time; CREATE INDEX heimdall_logs_time ON heimdall_logs (id)'),
  'a partial index of the same name': (path) => run(path, 'DROP INDEX heimdall_logs_time; CREATE INDEX heimdall_logs_time ON heimdall_logs (timestamp) WHERE id <> 35'),
  'a unique index that is none': (path) => run(path, 'DROP INDEX heimdall_logs_request; CREATE INDEX heimdall_logs_request ON heimdall_logs (request_id)'),
  'an index that lacks a record': (path) => run(path, ...withoutOne('heimdall_logs_time', 'CREATE INDEX heimdall_logs_time ON heimdall_logs (timestamp)')),
  'the search index without a record': (path) => run(path, ...withoutOne('heimdall_logs_search', 'CREATE INDEX heimdall_logs_search ON heimdall_logs (id, timestamp, deleted_at, erasure, key_id, token_id, real_ip, device_fingerprint)')),
  'two indices whose pages were exchanged': (path) => run(path, schemaEdit("rootpage = (SELECT sum(rootpage) FROM sqlite_schema WHERE name IN ('heimdall_logs_time', 'heimdall_logs_request')) - rootpage", "name IN ('heimdall_logs_time', 'heimdall_logs_request')")),
  'two tables whose pages were exchanged': (path) => run(path, schemaEdit("rootpage = (SELECT sum(rootpage) FROM sqlite_schema WHERE name IN ('heimdall_cursors', 'heimdall_sessions')) - rootpage", "name IN ('heimdall_cursors', 'heimdall_sessions')")),
  'a column more': (path) => run(path, 'ALTER TABLE heimdall_logs ADD COLUMN note TEXT'),
  'a column renamed': (path) => run(path, 'ALTER TABLE heimdall_logs RENAME COLUMN client TO program'),
  'a column dropped': (path) => run(path, 'ALTER TABLE heimdall_logs DROP COLUMN country'),
  'a default added': (path) => run(path, schemaEdit("sql = replace(sql, 'route TEXT', 'route TEXT DEFAULT ''x''')", "name = 'heimdall_logs'")),
  'a collation changed': (path) => run(path, schemaEdit("sql = replace(sql, 'outcome TEXT', 'outcome TEXT COLLATE NOCASE')", "name = 'heimdall_logs'")),
  'an affinity changed': (path) => run(path, schemaEdit("sql = replace(sql, 'cost REAL', 'cost TEXT')", "name = 'heimdall_logs'")),
  'a check added': (path) => run(path, schemaEdit("sql = replace(sql, 'outcome TEXT', 'outcome TEXT CHECK (outcome <> ''refused'')')", "name = 'heimdall_logs'")),
  'a column that is computed': (path) => run(path, "ALTER TABLE heimdall_logs DROP COLUMN country; ALTER TABLE heimdall_logs ADD COLUMN country TEXT GENERATED ALWAYS AS ('DE') VIRTUAL"),
  'an older version of the schema': (path) => run(path, 'PRAGMA user_version = 1'),
  'a head file that was cut': (path) => truncateSync(headFileOf(path), 100),
  'an empty head file': (path) => writeFileSync(headFileOf(path), ''),
  'a head file with a flipped bit': (path) => flip(headFileOf(path), 120),
  'a head file with another record': (path) => editHead(path, { record: 40 }),
  'a head file with another batch': (path) => editHead(path, { batch: 9 }),
  'a head file with another time': (path) => editHead(path, { time: start }),
  'a head file with another hash': (path) => editHead(path, { hash: 'f'.repeat(64) }),
  'a head file with another key': (path) => editHead(path, { key: signerOf('another').key }),
  'a head file that somebody signed': (path) => editHead(path, { key: signerOf('another').key, signature: signerOf('another').sign('x') }),
  'a page of the database overwritten': (path) => flip(path, readFileSync(path).indexOf('/v1/chat/completions')),
};

/** Signs all batches and checkpoints again. */
function resign(path: string, by: string): void {
  const signer = signerOf(by);
  const db = new DatabaseSync(path);
  for (const { batch, hash } of db.prepare('SELECT batch, hash FROM heimdall_batches').all() as { batch: number; hash: string }[]) {
    db.prepare('UPDATE heimdall_batches SET signature = ? WHERE batch = ?').run(signer.sign(`heimdall batch ${batch} ${hash}`), batch);
  }
  db.close();
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  for (let place = at; place < at + 8 && place < bytes.length; place++) bytes[place] = (bytes[place] as number) ^ 1;
  writeFileSync(file, bytes);
}

function editHead(path: string, more: object): void {
  writeFileSync(headFileOf(path), `${JSON.stringify({ ...(JSON.parse(readFileSync(headFileOf(path), 'utf8')) as object), ...more })}\n`);
}

describe('a journal with', () => {
  for (const [name, manipulate] of Object.entries(manipulations)) {
    it(`${name} is broken`, async (t) => {
      const { path, heimdall } = copy(t);
      manipulate(path);
      const { code, text } = await heimdall('verify');
      assert.equal(code, 1, text);
      assert.match(text, /BROKEN: |audit\.path: expected /);
    });
  }
});

describe('a head file that is missing', () => {
  it('cannot be told from a cut, until a checkpoint kept elsewhere tells it', async (t) => {
    const { path, heimdall } = copy(t);
    const checkpoint = JSON.parse(readFileSync(headFileOf(path), 'utf8')) as object;
    rmSync(headFileOf(path));
    const { code, text } = await heimdall('verify');
    assert.equal(code, 3, text);
    assert.match(text, /CANNOT BE TOLD: .* head file .* is missing/);
    const events = join(path, '../events.log');
    writeFileSync(events, `${JSON.stringify({ event: { action: 'journal.checkpoint' }, heimdall: checkpoint })}\n`);
    assert.equal((await heimdall('verify', '--events', events)).code, 0);
    run(path, 'DELETE FROM heimdall_logs WHERE id > 36; DELETE FROM heimdall_batches WHERE last > 36 OR first > 36; DELETE FROM heimdall_history; DELETE FROM heimdall_checkpoints WHERE record > 36; DELETE FROM heimdall_cursors');
    assert.equal((await heimdall('verify', '--events', events)).code, 1);
  });

  it('is remembered after the gate has written a new one, and accepted by a restore', async (t) => {
    const { path, heimdall } = copy(t);
    rmSync(headFileOf(path));
    const first = await startGate(t, { secret, audit: { path } });
    await request(`${first.url}/v1/models`);
    await first.gate.close({ timeout: 0 });
    assert.deepEqual(first.log.named('journal.tampered').map(({ reason }) => reason), ['the head file beside it is missing']);
    assert.ok(existsSync(headFileOf(path)));
    const { code, text } = await heimdall('verify');
    assert.equal(code, 3, text);
    const backup = join(path, '../backup.db');
    assert.equal((await heimdall('backup', backup)).code, 0);
    assert.equal((await heimdall('restore', backup)).code, 0);
    const accepted = await heimdall('verify');
    assert.equal(accepted.code, 0, accepted.text);
    assert.match(accepted.text, /Whole since \d{4}-.*, when a backup was restored\.\n$/);
  });
});

describe('a difference that the gate finds when it starts', () => {
  const found: Readonly<Record<string, (path: string) => void>> = {
    'a cut': (path) => run(path, 'DELETE FROM heimdall_logs WHERE id > 40; DELETE FROM heimdall_batches WHERE last > 40; DELETE FROM heimdall_checkpoints WHERE record > 40'),
    'a trigger': (path) => run(path, 'CREATE TRIGGER t AFTER DELETE ON heimdall_learnt BEGIN SELECT 1; END'),
    'a damaged head file': (path) => truncateSync(headFileOf(path), 50),
    'a cursor that was moved': (path) => run(path, 'UPDATE heimdall_cursors SET record = 41'),
    'a request in hand that was invented': (path) => run(path, "INSERT INTO heimdall_intents SELECT 'request-9999', 'other', draft, mac FROM heimdall_intents"),
  };
  for (const [name, manipulate] of Object.entries(found)) {
    it(`${name}: is told, and still known after the trace is gone`, async (t) => {
      const { path, heimdall } = copy(t);
      manipulate(path);
      const { gate, log, url } = await startGate(t, { secret, audit: { path } });
      await request(`${url}/v1/models`);
      const rows = await recorded(gate);
      await gate.close({ timeout: 0 });
      assert.ok(log.named('journal.tampered').length + Number(name.startsWith('a request')) > 0);
      assert.ok(!rows.some((row) => row['request_id'] === 'request-9999'));
      run(path, 'DROP TRIGGER IF EXISTS t');
      const { code, text } = await heimdall('verify');
      assert.equal(code, 1, text);
      assert.match(text, /BROKEN: the gate found at /);
    });
  }
});

describe('a restore', () => {
  it('makes a backup the journal, which is whole since then, and keeps the journal before', async (t) => {
    const { path, heimdall } = copy(t);
    const backup = join(path, '../backup.db');
    assert.equal((await heimdall('backup', backup)).code, 0);
    assert.equal((await heimdall('verify', '--path', backup)).code, 0);
    const checkpoint = await grown(t, path);
    run(path, 'UPDATE heimdall_logs SET outcome = 1 WHERE id = 35');
    assert.equal((await heimdall('verify')).code, 1);
    const restored = await heimdall('restore', backup);
    assert.equal(restored.code, 0, restored.text);
    const { code, text } = await heimdall('verify');
    assert.equal(code, 0, text);
    assert.match(text, /Whole since /);
    const events = join(path, '../events.log');
    writeFileSync(events, `${JSON.stringify({ event: { action: 'journal.checkpoint' }, heimdall: checkpoint })}\n`);
    assert.equal((await heimdall('verify', '--events', events)).code, 0, 'states after the backup are not part of it');
    assert.ok(readdirSync(join(path, '..')).some((name) => /^heimdall\.db\.\d{4}-[\dTZ-]+$/.test(name)));
    await grown(t, path);
    assert.match((await heimdall('verify')).text, /Whole since /);
    run(path, 'DELETE FROM heimdall_history');
    assert.equal((await heimdall('verify')).code, 1);
  });

  it('refuses a backup that is not whole, and a journal in use', async (t) => {
    const { path, heimdall } = copy(t);
    const backup = join(path, '../backup.db');
    await heimdall('backup', backup);
    const { gate } = await startGate(t, { secret, audit: { path } });
    await gate.ready;
    const used = await heimdall('restore', backup);
    assert.equal(used.code, 1);
    assert.match(used.text, /another process has it open/);
    await gate.close({ timeout: 0 });
    run(backup, 'DELETE FROM heimdall_logs WHERE id = 35');
    const broken = await heimdall('restore', backup);
    assert.equal(broken.code, 1);
    assert.match(broken.text, /the backup is not whole: record 35 is missing/);
    assert.equal((await heimdall('verify')).code, 0);
  });
});

describe('a file that is none of what was asked for', () => {
  const logs: Readonly<Record<string, string>> = { 'no event': '', 'other events': '{"event":{"action":"config.loaded"},"heimdall":{}}\n', 'no JSON': 'journal.checkpoint {', 'a checkpoint without a state': '{"event":{"action":"journal.checkpoint"},"heimdall":null}\n', 'a table': 'a,b\n1,2\n' };
  for (const [name, text] of Object.entries(logs)) {
    it(`is no event log to compare with: ${name}`, async (t) => {
      const { path, heimdall } = copy(t);
      const events = join(path, '../events.log');
      writeFileSync(events, text);
      const { code, text: said } = await heimdall('verify', '--events', events);
      assert.equal(code, 2, said);
      assert.match(said, /^--events: expected an event log .*events\.log/m);
    });
  }

  const backups: Readonly<Record<string, (file: string) => void>> = {
    'a text': (file) => writeFileSync(file, 'hello'), 'nothing': (file) => writeFileSync(file, ''), 'a directory': (file) => void mkdirSync(file),
    'half of one': (file) => writeFileSync(file, readFileSync(join(original, 'heimdall.db')).subarray(0, 20_000)), 'another database': (file) => run(file, 'CREATE TABLE t (x)'),
  };
  for (const [name, make] of Object.entries(backups)) {
    it(`is no backup: ${name}`, async (t) => {
      const { path, heimdall } = copy(t);
      const file = join(path, '../backup.db');
      make(file);
      const { code, text } = await heimdall('restore', file);
      assert.equal(code, 1, text);
      assert.match(text, /^FILE: expected a journal of schema 1 to \d+, got ".*backup\.db" \(/m);
      assert.equal((await heimdall('verify')).code, 0);
    });
  }
});

/** Lets a gate add a record. @returns the last checkpoint. */
it('verify, restore and exports draw how far they are where a terminal shows it, and nothing elsewhere', async (t) => {
  const { path, heimdall } = copy(t);
  const config = join(path, '../heimdall.yaml');
  const backup = join(path, '../backup.db');
  const drawn = async (isWatched: boolean, ...args: readonly string[]): Promise<{ out: string; err: string }> => {
    const said = { out: '', err: '' };
    assert.equal(await main([...args, '--config', config], { out: (part) => void (said.out += part), err: (part) => void (said.err += part), isWatched }), 0);
    return said;
  };
  assert.equal((await heimdall('backup', backup)).code, 0);
  for (const args of [['verify'], ['verify', '--json'], ['restore', backup], ['logs', '--export', join(path, '../all.csv')]]) {
    const { out, err } = await drawn(true, ...args);
    assert.match(err, /^(?:\r\[=* *\] \d+%)+\r +\r/, args.join(' '));
    const piped = await drawn(false, ...args);
    assert.doesNotMatch(piped.err, /[\r%]/, args.join(' '));
    if (args[0] === 'verify') assert.equal(piped.out, out);
  }
});

async function grown(t: TestLike, path: string): Promise<object> {
  const { gate, url } = await startGate(t, { secret, audit: { path } });
  await request(`${url}/v1/models`);
  await journalOf(gate).flush();
  await gate.close({ timeout: 0 });
  return JSON.parse(readFileSync(headFileOf(path), 'utf8')) as object;
}

describe('a journal of schema 1', () => {
  const fixture = (t: TestLike, head = true): Copy => {
    const dir = temporary(t);
    const from = new URL('../journal/fixtures/', import.meta.url);
    writeFileSync(join(dir, 'heimdall.db'), gunzipSync(readFileSync(new URL('schema-1.db.gz', from))), { mode: 0o600 });
    if (head) copyFileSync(new URL('schema-1.head', from), join(dir, 'heimdall.db.head'));
    return at(dir);
  };

  it('is whole as it is, opens, is migrated by a signed step, and is whole after it', async (t) => {
    const { path, heimdall } = fixture(t);
    assert.equal((await heimdall('verify')).code, 0);
    assert.equal((await heimdall('logs', '--format', 'json')).code, 0);
    const { gate, log, url } = await startGate(t, { secret, audit: { path } });
    await request(`${url}/v1/models`);
    const rows = await recorded(gate);
    assert.deepEqual(log.named('journal.tampered'), []);
    assert.deepEqual(rows.slice(-3).map(({ id, outcome }) => [id, outcome]), [[41, 'served'], [42, 'interrupted'], [43, rows.at(-1)?.['outcome']]]);
    await gate.close({ timeout: 0 });
    const { code, text } = await heimdall('verify');
    assert.equal(code, 0, text);
    const db = new DatabaseSync(path, { readOnly: true });
    assert.deepEqual(db.prepare('SELECT kind, detail FROM heimdall_history').all().map((row) => ({ ...row })), [{ kind: 'migrated', detail: '1' }]);
    db.close();
    run(path, 'DELETE FROM heimdall_history');
    assert.equal((await heimdall('verify')).code, 1);
  });

  it('is migrated by forget and by restore too', async (t) => {
    const { path, heimdall } = fixture(t);
    const backup = join(path, '../backup.db');
    assert.equal((await heimdall('backup', backup)).code, 0);
    assert.match((await heimdall('forget', '--address', '192.0.2.2')).text, /^\d+ records erased/);
    assert.equal((await heimdall('verify')).code, 0);
    assert.equal((await heimdall('restore', backup)).code, 0);
    assert.equal((await heimdall('verify')).code, 0);
  });

  const manipulated: Readonly<Record<string, string>> = {
    'a hidden record': "UPDATE heimdall_logs SET deleted_at = 'x' WHERE id = 35",
    'a changed record': "UPDATE heimdall_logs SET model = 'x' WHERE id = 35",
    'a signature in the middle': "UPDATE heimdall_batches SET signature = replace(signature, 'a', 'b') WHERE batch = 9",
    'a trigger': 'CREATE TRIGGER t AFTER INSERT ON heimdall_logs BEGIN SELECT 1; END',
    'a dropped index': 'DROP INDEX heimdall_logs_time',
    'a version it does not have': 'PRAGMA user_version = 2',
  };
  for (const [name, sql] of Object.entries(manipulated)) {
    it(`with ${name} is broken`, async (t) => {
      const { path, heimdall } = fixture(t);
      run(path, sql);
      assert.equal((await heimdall('verify')).code, 1);
    });
  }

  it('without its head file cannot be told, before and after the migration', async (t) => {
    const { path, heimdall } = fixture(t, false);
    assert.equal((await heimdall('verify')).code, 3);
    await grown(t, path);
    assert.equal((await heimdall('verify')).code, 3);
  });
});

it('a new journal has a head file from its beginning', async (t) => {
  const dir = temporary(t);
  const { path, heimdall } = at(dir);
  const { gate, url } = await startGate(t, { secret, audit: { path } });
  await gate.ready;
  assert.ok(existsSync(headFileOf(path)));
  assert.equal((await heimdall('verify')).code, 0);
  await request(`${url}/v1/models`);
  await journalOf(gate).flush();
  assert.equal((await heimdall('verify')).code, 0);
});
