import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { journalReader } from '../../lib/journal/reader.ts';
import { balanceOf, countOf, filters, frequencyOf, groupsOf, momentOf, pageOf, SearchError, type Wanted } from '../../lib/journal/search.ts';
import { search } from '../../lib/journal/grep.ts';
import { recordColumns } from '../../lib/record/columns.ts';
import { inJournal, journalOf, noon, rowsOf } from '../support/rows.ts';

const now = (noon + 3600) * 1000;

const db = journalOf(':memory:', [
  { key_id: 'team-a', token_id: 'a'.repeat(16), model: 'gpt-5', client: 'openai-python/1', user_id: 7, request_body: 'said', request_headers: '{}' },
  { token_id: 'b'.repeat(16), model: 'gpt-5-mini', client: 'curl/8', real_ip: '192.0.2.77', response_status: 429, outcome: 'refused:rate_limit_requests' },
  { token_id: 'b'.repeat(16), model: 'claude', client: 'openai-python/2', real_ip: '2001:db8::1', response_status: 502, outcome: 'upstream_error', target: 'openai', upstream_request_id: 'up-3' },
  { key_id: 'team-a', real_ip: '198.51.100.9', response_status: 499, outcome: 'aborted', device_fingerprint: 'e2'.repeat(32), session: 'abcd'.repeat(4), content_fingerprint: 'c0'.repeat(16), prompt_tokens: 5, completion_tokens: 7, cost: 0.5 },
  { source: 'ingest:1', device_id: '1de0'.repeat(4), session_id: '1de1'.repeat(4), home_id: '1de2'.repeat(4), response_status: 0, outcome: 'interrupted', route: '/v1/embeddings' },
]);

for (const [fact, name, value] of [[1, 'username', 'ada'], [2, 'token_name', 'laptop']] as const) db.prepare("INSERT INTO heimdall_learnt (fact, batch, record, name, value, digest) VALUES (?, 1, 2, ?, ?, '')").run(fact, name, JSON.stringify(value));

const found = (wanted: Wanted): number[] => rowsOf(db, pageOf({ wanted, limit: 100, cursor: null, order: 'oldest', now }, recordColumns)).map(({ id }) => Number(id));

describe('a search that may stop', () => {
  const big = journalOf(':memory:', Array.from({ length: 9000 }, (_, at) => ({ key_id: at % 3000 === 7 ? 'rare' : null, token_id: 'c'.repeat(16), route: at % 2 === 0 ? '/heimdall/api/logs' : '/v1/chat/completions', response_status: at % 10 === 0 ? 503 : 200 })));
  const ids = ({ records }: { readonly records: readonly { readonly id: number }[] }): number[] => records.map(({ id }) => id);
  const asked = { wanted: {}, grep: null, limit: 100, cursor: null, now: (noon + 86_400 * 30) * 1000, time: 60_000 } as const;

  it('finds page by page what a search without an end finds, from either end', () => {
    for (const wanted of [{}, { status: '5xx' }, { key: 'rare' }, { key: 'nobody' }, { from: new Date((noon + 60 * 4000) * 1000).toISOString() }, { to: new Date((noon + 60 * 300) * 1000).toISOString(), status: '503' }, { from: '2030-01-01' }] as Wanted[]) {
      for (const order of ['newest', 'oldest'] as const) {
        const whole = rowsOf(big, pageOf({ wanted, limit: 9000, cursor: null, order, now: asked.now, last: 8900 }, recordColumns)).map(({ id }) => Number(id));
        const walked: number[] = [];
        for (let cursor: number | null = null, first = true; first || cursor !== null; first = false) {
          const page = search(big, { ...asked, wanted, order, cursor, last: 8900, limit: 700 });
          walked.push(...ids(page));
          cursor = page.next;
        }
        assert.deepEqual(walked, whole, `${JSON.stringify(wanted)} ${order}`);
      }
    }
  });

  it('says where it goes on when its time is over, and finds the rest from there', () => {
    const walked: number[] = [];
    let stops = 0;
    for (let cursor: number | null = null, first = true; first || cursor !== null; first = false) {
      const page = search(big, { ...asked, wanted: { key: 'rare' }, order: 'newest', cursor, time: 0 });
      walked.push(...ids(page));
      stops += page.stopped ? 1 : 0;
      cursor = page.next;
    }
    assert.deepEqual([walked, stops > 1], [[6008, 3008, 8], true]);
  });

  it('leaves out what it is told to, and takes only the callers it is told', () => {
    assert.deepEqual(ids(search(big, { ...asked, order: 'newest', limit: 3, without: ['/heimdall'] })), [9000, 8998, 8996]);
    assert.deepEqual(ids(search(big, { ...asked, order: 'newest', limit: 1, without: ['/heimdal', '/heimdall/api'] })).length, 1);
    assert.deepEqual(ids(search(big, { ...asked, order: 'oldest', callers: ['rare', 'x'] })), [8, 3008, 6008]);
  });
});

describe('a search', () => {
  it('finds by every filter what it names, and nothing else', () => {
    const cases: [Wanted, number[]][] = [
      [{}, [1, 2, 3, 4, 5]],
      [{ key: 'team-a' }, [1, 4]],
      [{ key: 'b'.repeat(16) }, [2, 3]],
      [{ user: '7' }, [1]],
      [{ address: '192.0.2.1' }, [1, 5]],
      [{ address: '192.0.2.0/24' }, [1, 2, 5]],
      [{ address: '2001:DB8:0::1' }, [3]],
      [{ device: 'e2e2' }, [4]],
      [{ device: 'E2'.repeat(32) }, [4]],
      [{ session: 'abcdabcd' }, [4]],
      [{ device_id: '1de0' }, [5]],
      [{ session_id: '1de1' }, [5]],
      [{ home_id: '1de2' }, [5]],
      [{ client: 'openai-python' }, [1, 3]],
      [{ client: 'openai-python/2' }, [3]],
      [{ client: '%' }, []],
      [{ content: 'c0c0' }, [4]],
      [{ status: '429' }, [2]],
      [{ status: '5xx' }, [3]],
      [{ outcome: 'refused' }, [2]],
      [{ outcome: 'refused:rate_limit_requests' }, [2]],
      [{ outcome: 'aborted' }, [4]],
      [{ model: 'gpt-5' }, [1]],
      [{ model: 'gpt-5*' }, [1, 2]],
      [{ route: '/v1/embeddings' }, [5]],
      [{ target: 'openai' }, [3]],
      [{ source: 'ingest:1' }, [5]],
      [{ username: 'ada' }, [2, 3]],
      [{ token_name: 'laptop' }, [2, 3]],
      [{ token_name: '"laptop' }, []],
      [{ request_id: 'request-2' }, [2]],
      [{ upstream_request_id: 'up-3' }, [3]],
      [{ from: new Date((noon + 120) * 1000).toISOString() }, [3, 4, 5]],
      [{ to: '58m' }, [1, 2]],
      [{ from: '2026-11-22', to: '2026-11-23', status: '2xx' }, [1]],
      [{ key: "x' OR 1=1 --" }, []],
    ];
    for (const [wanted, ids] of cases) assert.deepEqual(found(wanted), ids, JSON.stringify(wanted));
    assert.deepEqual(new Set(cases.flatMap(([wanted]) => Object.keys(wanted))), new Set(Object.keys(filters)));
  });

  it('says what a filter asks for', () => {
    for (const [name, bad] of Object.entries({ user: 'x', address: 'home', device: 'xyz', session: 'a', status: '6xx', outcome: 'good', from: 'yesterday', to: '2026-13-99', content: "'", key: '', adress: '::1' })) {
      assert.throws(() => found({ [name]: bad }), (error: unknown) => error instanceof SearchError && error.field === name && error.message.startsWith(`${name}: expected`), name);
    }
    assert.throws(() => found({ adress: '::1' }), /Did you mean address\?/);
  });

  it('turns pages in both directions without a gap, also when records come in between', () => {
    const page = (cursor: number | null, order: 'newest' | 'oldest'): number[] => rowsOf(db, pageOf({ wanted: {}, limit: 2, cursor, order, now }, recordColumns)).map(({ id }) => Number(id));
    assert.deepEqual([page(null, 'newest'), page(4, 'newest'), page(2, 'newest'), page(1, 'newest')], [[5, 4], [3, 2], [1], []]);
    assert.deepEqual([page(null, 'oldest'), page(2, 'oldest'), page(4, 'oldest')], [[1, 2], [3, 4], [5]]);
    assert.equal(rowsOf(db, countOf({ key: 'team-a' }, now))[0]?.['records'], 2);
  });

  it('leaves out what was said', () => {
    const [first] = rowsOf(db, pageOf({ wanted: { user: '7' }, limit: 1, cursor: null, order: 'newest', now }, recordColumns));
    assert.deepEqual([first?.['request_body'], first?.['request_headers'], first?.['model']], [null, null, 'gpt-5']);
  });
});

describe('an index', () => {
  const planOf = (asked: Parameters<typeof inJournal>[0]): string => {
    const { sql, values } = inJournal(asked);
    return rowsOf(db, { sql: `EXPLAIN QUERY PLAN ${sql}`, values }).map(({ detail }) => detail).join('; ');
  };

  it('serves what is looked for most, in order and without the table', () => {
    for (const wanted of [{ key: 'team-a' }, { address: '192.0.2.1' }, { address: '192.0.2.0/24' }, { device: 'e2e2' }, { address: '192.0.2.1', from: '1h' }]) {
      for (const cursor of [null, 4]) {
        const plan = planOf(pageOf({ wanted, limit: 10, cursor, order: 'newest', now }, recordColumns));
        assert.match(plan, /(?:SCAN|SEARCH) heimdall_logs USING COVERING INDEX heimdall_logs_search(?: \(id<\?\))?(?:;|$)/, JSON.stringify(wanted));
      }
    }
    assert.match(planOf(countOf({ address: '192.0.2.1' }, now)), /COVERING INDEX heimdall_logs_search/);
  });

  it('serves a stretch of time and a request id', () => {
    assert.match(planOf(pageOf({ wanted: { from: '2h', to: '1h' }, limit: 10, cursor: null, order: 'newest', now }, recordColumns)), /INDEX heimdall_logs_time \(timestamp>\? AND timestamp<\?\)/);
    assert.match(planOf(groupsOf({ wanted: { from: '1h' }, by: 'address', sort: 'requests', least: 0, limit: 1, offset: 0, now })), /INDEX heimdall_logs_time \(timestamp>\?\)/);
    assert.match(planOf(pageOf({ wanted: { request_id: 'x' }, limit: 10, cursor: null, order: 'newest', now }, recordColumns)), /INDEX heimdall_logs_request \(request_id=\?\)/);
  });
});

describe('groups', () => {
  const group = (by: Parameters<typeof groupsOf>[0]['by'], sort: Parameters<typeof groupsOf>[0]['sort'] = 'requests', least = 0): unknown[][] =>
    rowsOf(db, groupsOf({ wanted: {}, by, sort, least, limit: 10, offset: 0, now })).map(({ value, requests, keys, addresses, errors, tokens, cost }) => [value, requests, keys, addresses, errors, tokens, cost]);

  it('tell of each key where it was used', () => {
    assert.deepEqual(group('key'), [['b'.repeat(16), 2, 1, 2, 2, 0, 0], ['team-a', 2, 1, 2, 1, 12, 0.5]]);
    assert.deepEqual(group('key', 'tokens')[0]?.[0], 'team-a');
  });

  it('show addresses with many keys', () => {
    const shared = journalOf(':memory:', ['a', 'b', 'c', 'c'].map((key) => ({ key_id: key })).concat([{ key_id: 'd', real_ip: '198.51.100.1' } as never]));
    const rows = rowsOf(shared, groupsOf({ wanted: {}, by: 'address', sort: 'keys', least: 2, limit: 10, offset: 0, now }));
    assert.deepEqual(rows.map(({ value, keys }) => [value, keys]), [['192.0.2.1', 3]]);
  });

  it('are those of the latest records where all would take too long', async () => {
    const big = journalOf(':memory:', [1, 100_000, 400_001, 700_000, 700_001].map((id, nth) => ({ id, request_id: `big-${id}`, timestamp: noon + nth * 3600, key_id: `key-${nth}` })));
    const reader = journalReader({ query: async (sql, values = []) => rowsOf(big, { sql, values }), request: async () => null, grep: async () => ({ records: [], next: null, stopped: false }), sum: async () => undefined });
    const at = (noon + 5 * 3600) * 1000;
    const asked = async (wanted: Wanted): Promise<unknown> => {
      const between = await reader.bounded(wanted, at);
      const rows = await reader.ask(groupsOf({ wanted, by: 'key', sort: 'requests', least: 0, limit: 10, offset: 0, now: at, between }));
      return [between !== null, rows.map(({ value }) => value)];
    };
    assert.deepEqual(await asked({}), [true, ['key-3', 'key-4']]);
    assert.deepEqual(await asked({ to: '2h' }), [true, ['key-2']]);
    assert.deepEqual(await asked({ from: '2h' }), [false, ['key-3', 'key-4']]);
    assert.deepEqual(await asked({ from: '6h', to: '4h' }), [false, ['key-0']]);
  });

  it('count requests by stretches of time', () => {
    const rows = rowsOf(db, frequencyOf({}, null, 120, 10, now));
    assert.deepEqual(rows.map(({ time, requests }) => [Number(time) - noon, requests]), [[240, 1], [120, 2], [0, 2]]);
    const [busiest] = rowsOf(db, frequencyOf({}, 'key', 3600, 10, now));
    assert.deepEqual([busiest?.['requests'], busiest?.['time']], [2, noon]);
  });
});

describe('the balance', () => {
  it('has every request in exactly one place', () => {
    const [row] = rowsOf(db, balanceOf({}, now));
    const { requests, served, refused, errors, aborted, interrupted } = row ?? {};
    assert.deepEqual([requests, served, refused, errors, aborted, interrupted], [5, 1, 1, 1, 1, 1]);
  });
});

describe('a moment', () => {
  it('is a date, a date and time, or a duration back from now', () => {
    assert.deepEqual(['2026-11-22', '2026-11-22T12:00:00Z', '1h', '0s'].map((text) => momentOf(text, now)), [Date.UTC(2026, 10, 22), noon * 1000, now - 3_600_000, now]);
    assert.deepEqual(['', 'now', '22.11.2026', '1 hour', '2026-02-30T99:00Z'].map((text) => momentOf(text, now)), [null, null, null, null, null]);
  });
});
