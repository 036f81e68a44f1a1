import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { search } from '../../lib/journal/grep.ts';
import { PlaceKeeper, Places } from '../../lib/journal/places.ts';
import { journalReader } from '../../lib/journal/reader.ts';
import { pageOf, wantsOf, type Wanted } from '../../lib/journal/search.ts';
import { attachSums } from '../../lib/journal/sums.ts';
import { recordColumns } from '../../lib/record/columns.ts';
import type { SqlRow } from '../../types/journal.d.ts';
import { request, until } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { journalOf, noon, rowsOf } from '../support/rows.ts';

const token = 'the-token-of-the-admin-in-32-characters-or-more';
const block = 16_384;
const records = 2 * block + 1000;
const now = (noon + 86_400) * 1000;
const rare = [9, block + 5, block + 6, 2 * block + 900];

/** Records in whole blocks and a part of another one; few have the rare values. */
function filled(count: number, path: string | null = null): DatabaseSync {
  const db = journalOf(path ?? ':memory:', []);
  attachSums(db, path);
  const hex = (of: string, length: number): string => `iif(rare, '${'feedface'.repeat(length / 8)}', printf('%0${length}x', ${of}))`;
  db.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}), r AS (SELECT i, i IN (${rare.join()}) AS rare FROM n)
    INSERT INTO heimdall_logs (id, request_id, timestamp, response_status, route, client, model, target, outcome, source, user_id, token_id, key_id, session, real_ip, upstream_request_id, content_fingerprint, device_fingerprint, device_id, session_id, home_id, request_body, digest)
    SELECT i, 'r-' || i, ${noon} + i, CASE WHEN rare THEN 418 WHEN i % 50 = 0 THEN 503 ELSE 200 END, iif(rare, '/v1/rare', '/v1/chat/completions'), iif(rare, 'rare-client/1.0', 'openai-python/2.' || (i % 5)), iif(rare, 'räre', 'gpt-' || (i % 7)), iif(rare, 'rare', 'newapi'),
      iif(rare, 'refused:rare', 'served'), iif(rare, 'rare', 'gate'), iif(rare, 4242, i % 300), ${hex('i % 500', 16)}, iif(rare, 'rare-key', NULL), ${hex('i % 900', 32)}, iif(rare, '203.0.113.9', '10.1.' || (i % 250) || '.' || (i % 7)), 'up-' || i || '-of-the-very-same-beginning-' || i,
      ${hex('i', 32)}, ${hex('i % 500', 64)}, ${hex('i % 500', 32)}, ${hex('i / 300', 32)}, ${hex('i % 100', 32)}, 'said ' || i, '' FROM r`);
  return db;
}

const db = filled(records);
const keeper = new PlaceKeeper(db);
while (keeper.step());

const found = (wanted: Wanted, order: 'newest' | 'oldest', of = db): number[] => {
  const ids: number[] = [];
  for (let cursor: number | null = null, first = true; first || cursor !== null; first = false) {
    const page = search(of, { wanted, grep: null, order, cursor, limit: 20_000, now, time: 60_000 });
    ids.push(...page.records.map(({ id }) => id));
    cursor = page.next;
  }
  return ids;
};

describe('places of values', () => {
  it('lead to the same records as looking through all of them', () => {
    const rares: Wanted[] = [
      { key: 'rare-key' }, { key: 'feedface'.repeat(2) }, { user: '4242' }, { address: '203.0.113.9' }, { address: '203.0.113.0/24' }, { device: 'feedface' }, { session: 'feedf' }, { device_id: 'feedface'.repeat(4) }, { session_id: 'FEEDFACE' }, { home_id: 'feed' }, { client: 'rare-client' },
      { client: 'rare-client/1.0' }, { content: 'feedface' }, { status: '418' }, { status: '4xx' }, { outcome: 'refused' }, { outcome: 'refused:rare' }, { model: 'räre' }, { model: 'rä*' }, { route: '/v1/rare' }, { target: 'rare' }, { source: 'rare' },
      { model: 'räre', status: '4xx', key: 'rare-key' },
    ];
    for (const wanted of rares) assert.deepEqual([found(wanted, 'newest'), found(wanted, 'oldest')], [rare.toReversed(), rare], JSON.stringify(wanted));
    const others: Wanted[] = [{ model: 'rore' }, { model: 'no-such' }, { status: '5xx', model: 'gpt-3' }, { model: 'räre', status: '200' }, { upstream_request_id: `up-77-of-the-very-same-beginning-77` }, { session_id: '0000000000000000000000000000006e' }, { client: 'openai-python', user: '12', address: '10.1.0.0/16' }, { from: new Date((noon + block + 2000) * 1000).toISOString(), to: new Date((noon + block + 2100) * 1000).toISOString() }];
    for (const wanted of others) {
      const whole = rowsOf(db, pageOf({ wanted, limit: records, cursor: null, order: 'oldest', now }, recordColumns)).map(({ id }) => Number(id));
      assert.deepEqual([found(wanted, 'newest'), found(wanted, 'oldest')], [whole.toReversed(), whole], JSON.stringify(wanted));
    }
  });

  it('leave nothing else to be read', () => {
    const places = (wanted: Wanted): Places => new Places(db, wantsOf(wanted, null), null, null);
    assert.deepEqual(places({ model: 'räre' }).next(block + 100, 0), { first: block, last: block + 100, ids: [block + 5, block + 6] });
    assert.deepEqual(places({ model: 'none' }).next(block, records), { first: block, last: 2 * block - 1, ids: [] });
    assert.deepEqual(places({ model: 'none' }).next(records, 0), { first: 2 * block, last: records, ids: null }, 'a part of a block is looked through');
    assert.deepEqual(places({ model: 'gpt-3' }).next(block + 100, 0), { first: block, last: block + 100, ids: null }, 'common values are met anyway');
    assert.deepEqual(places({ model: 'gpt-3', key: 'rare-key' }).next(block + 100, 0).ids, [block + 5, block + 6]);
    assert.deepEqual(new Places(db, [], noon + 2 * block, null).next(block, 0).ids, [], 'a time before');
    const named = new Places(db, wantsOf({}, ['rare-key']), null, null);
    assert.deepEqual(named.next(1, block).ids, [9]);
  });

  it('lead to the requests of a caller, however far back they are', async () => {
    const reader = journalReader({ query: async (sql, values = []) => db.prepare(sql).all(...values) as SqlRow[], grep: async (asked) => search(db, asked), request: async () => null, sum: async () => undefined });
    const ids = async (kind: string, id: string, limit: number): Promise<unknown[]> => (await reader.requestsOf({ kind, id }, limit)).map((row) => row['request_id']);
    assert.deepEqual(await ids('key', 'rare-key', 3), rare.slice(1).toReversed().map((id) => `r-${id}`));
    assert.deepEqual([await ids('token', 'feedface'.repeat(2), 3), await ids('key', 'none', 3)], [[], []], 'requests with a key are those of the key');
  });

  it('are noted by a gate when few records come, and serve its pages', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    filled(block + 100, path).close();
    const { gate, url } = await startGate(t, { admin: { token }, audit: { path } });
    await gate.ready;
    interface Page { readonly logs: readonly { readonly request_id: string }[]; readonly next: string | null }
    /** Of all pages: on a busy machine one may end before everything is looked through. */
    const ask = async (query: string): Promise<readonly { readonly request_id: string }[]> => {
      const all: { readonly request_id: string }[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: Page = (await request(`${url}/heimdall/api/logs?${query}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`, { headers: { Authorization: `Bearer ${token}` } })).json() as Page;
        all.push(...page.logs);
        cursor = page.next;
      }
      return all;
    };
    const known = new DatabaseSync(path.replace(/db$/, 'sums.db'), { readOnly: true });
    t.after(() => known.close());
    await until(() => known.prepare('SELECT block FROM heimdall_blocks').get() !== undefined);
    assert.deepEqual((await ask('status=418')).map(({ request_id: id }) => id), [`r-${block + 6}`, `r-${block + 5}`, 'r-9']);
  });

  it('are not believed, and noted again, for another journal; and go with what was erased and removed', () => {
    const other = filled(block + 1000);
    const again = new PlaceKeeper(other);
    while (again.step());
    const blocks = (): unknown[] => other.prepare('SELECT block FROM sums.heimdall_blocks').all().map((row) => row['block']);
    assert.deepEqual(blocks(), [0]);
    other.exec(`UPDATE heimdall_logs SET request_id = 'another' WHERE id = ${block - 1}; UPDATE heimdall_logs SET model = 'räre' WHERE id = 77`);
    const changed = [9, 77, block + 5, block + 6];
    assert.deepEqual(found({ model: 'räre' }, 'oldest', other), changed);
    while (again.step());
    assert.deepEqual([new Places(other, wantsOf({ model: 'räre' }, null), null, null).next(100, 0).ids, found({ model: 'räre' }, 'oldest', other)], [[9, 77], changed]);
    other.exec(`UPDATE heimdall_logs SET real_ip = '' WHERE id = 9; INSERT INTO heimdall_erasures (erasure, time, kind, subject, records, ids, signature) VALUES (1, 0, 'address', '', 1, '9', '')`);
    const holds = (): boolean => other.prepare("SELECT 1 FROM sums.heimdall_places WHERE block = 0 AND what = 'real_ip' AND instr(entries, '203.0.113.9')").get() !== undefined;
    assert.equal(holds(), true);
    while (again.step());
    assert.deepEqual([holds(), blocks()], [false, [0]]);
    const idsOf = (places: Places): readonly number[] | null => places.next(100, 0).ids;
    const places = (): Places => new Places(other, wantsOf({ model: 'räre' }, null), null, null);
    const begun = places();
    assert.deepEqual([idsOf(begun), idsOf(new Places(other, wantsOf({ model: '*' }, null), null, null))], [[9, 77], null]);
    // A journal that was put back from before the erasure has the erased record again.
    other.exec('DELETE FROM heimdall_erasures');
    assert.equal(idsOf(places()), null);
    while (again.step());
    assert.deepEqual([blocks(), idsOf(places())], [[0], [9, 77]]);
    // What another process removes while a search is at it says nothing.
    const between = places();
    other.exec('DELETE FROM sums.heimdall_places; DELETE FROM sums.heimdall_blocks');
    assert.equal(idsOf(between), null);
    while (again.step());
    other.exec(`DELETE FROM heimdall_logs WHERE id < ${block + 3}`);
    while (again.step());
    assert.deepEqual([blocks(), found({ status: '418' }, 'newest', other)], [[], [block + 6, block + 5]]);
  });

  it('are written in small parts, count when all are there, and hold nothing that was erased meanwhile', () => {
    const other = filled(block + 10);
    const keeper = new PlaceKeeper(other);
    const rows = (where = ''): number => Number(other.prepare(`SELECT count(*) AS n FROM sums.heimdall_places ${where}`).get()?.['n']);
    const ids = (): readonly number[] | null => new Places(other, wantsOf({ status: '418' }, null), null, null).next(100, 0).ids;
    const address = "WHERE what = 'real_ip' AND instr(entries, '203.0.113.9')";
    const parts: number[] = [];
    for (let before = 0; rows(address) === 0; before = rows()) {
      keeper.step();
      parts.push(rows() - before);
    }
    assert.ok(Math.max(...parts) <= 64);
    assert.equal(ids(), null, 'a part of the places says nothing');
    other.exec("UPDATE heimdall_logs SET real_ip = '' WHERE id = 9; INSERT INTO heimdall_erasures (erasure, time, kind, subject, records, ids, signature) VALUES (1, 0, 'address', '', 1, '9', '')");
    while (keeper.step());
    assert.deepEqual([rows(address), ids()?.includes(9)], [0, true]);
    // One that ended in the middle leaves nothing behind.
    other.exec("DELETE FROM sums.heimdall_blocks; INSERT INTO sums.heimdall_places VALUES ('model', 0, '!', '!')");
    const next = new PlaceKeeper(other);
    while (next.step());
    assert.equal(rows("WHERE first = '!'"), 0);
  });
});
