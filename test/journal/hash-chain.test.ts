import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, draft, journal, start } from '../record/written.ts';

describe('a plain value', () => {
  const changes: Record<string, string> = {
    'is another number': 'UPDATE heimdall_logs SET response_status = 201 WHERE id = 6',
    'is a number that was none': 'UPDATE heimdall_logs SET cost = 0 WHERE id = 6',
    'is none and was a number': 'UPDATE heimdall_logs SET response_status = NULL WHERE id = 6',
    'is a text that was none': "UPDATE heimdall_logs SET model = '' WHERE id = 6",
    'is none and was a text': 'UPDATE heimdall_logs SET outcome = NULL WHERE id = 6',
    'is a text that was a number': "UPDATE heimdall_logs SET response_time = 'x' WHERE id = 6",
    'is bytes that were a text': "UPDATE heimdall_logs SET outcome = CAST('served' AS BLOB) WHERE id = 6",
    'has moved to the next column': "UPDATE heimdall_logs SET tokens_reserved = completion_tokens, completion_tokens = NULL WHERE id = 6",
    'has moved to the next record': 'UPDATE heimdall_logs SET attempts = CASE id WHEN 6 THEN NULL ELSE 3 END WHERE id IN (6, 7)',
    'takes from its neighbour': "UPDATE heimdall_logs SET route = route || client, client = '' WHERE id = 6",
  };
  for (const [what, sql] of Object.entries(changes)) {
    it(`that ${what} breaks its batch`, (t) => {
      const { db, store, broken } = journal(t, 1);
      const more = { cost: null, response_time: 12, model: null, completion_tokens: 7, tokens_reserved: null, route: '/v1', client: 'curl/8' };
      store.write({ records: [draft(4, more), draft(5, { ...more, attempts: 3 }), draft(6, { ...more, attempts: null })], intents: [], cursors: [], seq: 2, now: start + day });
      assert.equal(broken(), 'whole');
      assert.equal(db.prepare(sql).run().changes > 0, true);
      assert.match(broken(), /^batch 2 .*is not what was written/);
    });
  }

  it('reads as it was written, whatever number or text it is', (t) => {
    const { store, broken } = journal(t, 0);
    const values = [0, -0, 1.5, -1, Number.NaN, Number.MAX_SAFE_INTEGER, 1e300, 5e-324, Number.POSITIVE_INFINITY, 1 / 3];
    const texts = ['', '0', 'sk-…abcd', 'sk-…', '*4:abcd', 'é', '密码', '😀', '\ud800 alone', "it's", '5:hello', 'a\nb', '#1;', '-'];
    const records = [...values.map((value, at) => draft(at, { cost: value, queue_wait: value })), ...texts.map((text, at) => draft(100 + at, { model: text, token_key: text, user_agent: text, request_body: text, response_body: text }))];
    store.write({ records, intents: [], cursors: [], seq: 1, now: start });
    assert.equal(broken(), 'whole');
  });

  it('is read by the thousand', (t) => {
    const { store, broken } = journal(t, 0);
    store.write({ records: Array.from({ length: 1000 }, (_, at) => draft(at)), intents: [], cursors: [], seq: 1, now: start });
    assert.equal(broken(), 'whole');
  });
});
