import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { request } from '../support/client.ts';
import { journalOf, recorded } from '../support/journal.ts';
import { accessRecords } from '../support/records.ts';
import { startScene } from '../support/scene.ts';

/** What separates texts and records on their way to the journal's thread, written so that it arrives decoded. */
const suffixes = ['%1e', '%1f', '%1e%1f%1e', '%1fab%1f', '%1f3%1fX', '%1f4e9', '%1f1e8', '%1eabc', '%00%0a%0d%1b%5b2J'];

describe('a credential that is decoded', () => {
  for (const isFirst of [true, false]) {
    it(`forges no record, loses none and stops nothing, ${isFirst ? 'first' : 'last'} of its agent in a batch`, async (t) => {
      const lines = accessRecords(t);
      const { gate } = await startScene(t, { audit: {}, logging: lines.logging });
      const ask = (query: string): Promise<unknown> => request(`${gate.url}/v1beta/models${query}`, { headers: { 'user-agent': 'the same for all' } });
      for (const suffix of suffixes) {
        if (!isFirst) await ask('?key=a-plain-credential-0123');
        await ask(`?key=abcdefghijklmnopqrst${suffix}`);
        await ask('?key=a-plain-credential-0123');
        await journalOf(gate.gate).flush();
      }
      const rows = await recorded(gate.gate);
      assert.equal(rows.length, suffixes.length * (isFirst ? 2 : 3));
      for (const row of rows) {
        assert.deepEqual([row['real_ip'], row['request_path'], row['request_method'], row['user_agent']], ['127.0.0.1', '/v1beta/models', 'GET', 'the same for all']);
        assert.match(String(row['token_key']), /^sk-…[^\p{Cc}]{4}$/u);
        assert.ok(!JSON.stringify(row).includes('abcdefghijklmnop'));
      }
      assert.equal(journalOf(gate.gate).stats().dropped.invalid, 0);
      assert.equal((await lines.atLeast(rows.length)).length, rows.length);
    });
  }
});
