import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery } from '../../types/sink.d.ts';
import { until } from '../support/client.ts';
import { fakeJournal } from '../support/fake-journal.ts';
import { bench, delivered, held, idle, resting } from './following.ts';

describe('a follower', () => {
  it('gives a sink everything in order, in calls of its size, as it is written', async (t) => {
    const made = bench(t);
    made.journal.write(25);
    await idle(made);
    made.journal.write(1);
    await idle(made);
    assert.deepEqual(made.calls.map((ids) => [ids.length, ids[0]]), [[10, 1], [10, 11], [5, 21], [1, 26]]);
    assert.deepEqual([made.journal.cursors.get('mine'), made.follower.view().delivered], [26, 26]);
  });

  it('goes on where it was left, without a word from the journal', async (t) => {
    const journal = fakeJournal();
    journal.write(8);
    journal.advance('mine', 5);
    const made = bench(t, {}, journal);
    made.follower.wake();
    await idle(made);
    await until(() => made.calls.length === 1);
    assert.deepEqual(made.calls, [[6, 7, 8]]);
  });

  it('begins a new sink with the oldest record, and retention waits for it from then on', async (t) => {
    const journal = fakeJournal();
    journal.write(3);
    const made = bench(t, {}, journal);
    made.answers.push(held);
    made.follower.wake();
    await resting(made);
    assert.deepEqual([made.calls, journal.cursors.get('mine')], [[[1, 2, 3]], 0]);
  });

  it('has a cursor on the disk before the next call, so that a crash repeats one call at most', async (t) => {
    const journal = fakeJournal();
    const kept: (number | undefined)[] = [];
    const made = bench(t, { batch: 1, deliver: async () => (kept.push(journal.kept.get('mine')), delivered) }, journal);
    journal.write(4);
    await idle(made);
    assert.deepEqual(kept, [undefined, 1, 2, 3]);
  });

  it('repeats what is held after 1, 2, 4, 8, 10 and 10 seconds, and begins anew after a success', async (t) => {
    const made = bench(t);
    made.answers.push(...Array<Delivery>(6).fill(held), delivered, held);
    made.journal.write(2);
    const waits: number[] = [];
    for (let nth = 0; nth < 6; nth++) {
      await resting(made);
      const before = made.calls.length;
      let waited = 0;
      while (made.calls.length === before && waited < 60_000) {
        made.clock.tick(500);
        waited += 500;
        for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
      }
      waits.push(waited);
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
    assert.deepEqual(made.calls, Array(7).fill([1, 2]));
    made.journal.write(1);
    await resting(made);
    made.clock.tick(1000);
    await idle(made);
    assert.deepEqual(made.calls.slice(7), [[3], [3]]);
    assert.equal(made.follower.view().errors, 7);
  });

  it('waits as long as it is told, after a success and a failure', async (t) => {
    const made = bench(t, { batch: 1 });
    made.answers.push({ kind: 'delivered', wait: 1250 }, { ...held, wait: 180_000 } as Delivery);
    made.journal.write(2);
    await resting(made);
    made.clock.tick(1249);
    await new Promise(setImmediate);
    assert.equal(made.calls.length, 1);
    made.clock.tick(1);
    await until(() => made.calls.length === 2);
    await resting(made);
    made.clock.tick(179_999);
    await new Promise(setImmediate);
    assert.equal(made.calls.length, 2);
    made.clock.tick(1);
    await idle(made);
    assert.deepEqual(made.calls, [[1], [2], [2]]);
  });

  it('finds the records that can never be taken by halves, sets them aside, and counts', async (t) => {
    const taken: number[] = [];
    const poison = new Set([3, 4, 17]);
    const made = bench(t, {
      async deliver(records) {
        if (records.some(({ id }) => poison.has(id))) return { kind: 'refused', reason: 'no' };
        taken.push(...records.map(({ id }) => id));
        return delivered;
      },
    });
    made.journal.write(25);
    await idle(made);
    assert.deepEqual(taken, Array.from({ length: 25 }, (_, at) => at + 1).filter((id) => !poison.has(id)));
    const { delivered: count, refused, lag } = made.follower.view();
    assert.deepEqual([count, refused, lag], [22, 3, 0]);
    assert.deepEqual(made.log.named('sink.refused'), [{ sink: 'mine', record: made.journal.records[2]?.request_id, reason: 'no', records: 1 }]);
    made.clock.tick(60_000);
    poison.add(26);
    made.journal.write(1);
    await idle(made);
    assert.equal(made.log.named('sink.refused')[1]?.['records'], 3);
  });

  it('passes over what a sink does not want, without a call', async (t) => {
    const made = bench(t, { batch: 2, wants: (record: AuditRecord) => record.id % 100 === 0 });
    made.journal.write(1050);
    await idle(made);
    assert.deepEqual(made.calls.flat(), [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
    assert.deepEqual([made.follower.view().delivered, made.journal.cursors.get('mine')], [10, 1050]);
    assert.ok(made.journal.reads < 40, `${made.journal.reads} reads`);
  });

  it('gives a sink what it cannot say of whether it wants it', async (t) => {
    const made = bench(t, { wants: ({ id }) => {
      if (id === 2) throw new Error('what is this');
      return id > 2;
    } });
    made.journal.write(3);
    await idle(made);
    assert.deepEqual(made.calls, [[2, 3]]);
  });

  it('takes an error and a nonsense answer for held, and says nothing of what it holds', async (t) => {
    const made = bench(t);
    made.answers.push(Object.assign(new Error('postgres://user:secret@host'), { code: 'EWHAT' }), undefined, { kind: 'fine' } as unknown as Delivery);
    made.journal.write(1);
    const reasons: unknown[] = [];
    for (const wait of [1000, 2000, 4000]) {
      await resting(made);
      const { state } = made.follower.view();
      reasons.push(state.kind === 'held' && state.reason);
      made.clock.tick(wait);
    }
    await idle(made);
    assert.deepEqual(reasons, ['the sink failed (EWHAT)', 'the sink did not say what became of the records', 'the sink did not say what became of the records']);
    assert.doesNotMatch(JSON.stringify(made.log.events), /secret/);
  });

  it('asks no more where nobody is, says so once, and holds nothing back', async (t) => {
    const made = bench(t);
    made.answers.push({ kind: 'off', reason: 'nobody' });
    made.journal.write(3);
    await until(() => made.log.named('sink.off').length === 1);
    made.journal.write(3);
    made.journal.sign(6);
    assert.deepEqual([made.calls.length, made.follower.view().state, made.follower.view().lag, made.journal.cursors.get('mine')], [1, { kind: 'off', reason: 'nobody' }, 0, 6]);
  });

  it('goes on past records that retention has removed', async (t) => {
    const made = bench(t);
    made.answers.push(held);
    made.journal.write(5);
    await resting(made);
    made.journal.records = [];
    made.clock.tick(1000);
    await idle(made);
    made.journal.write(1);
    await until(() => made.calls.length === 2);
    assert.deepEqual(made.calls, [[1, 2, 3, 4, 5], [6]]);
    assert.equal(made.follower.view().state.kind, 'working');
  });

  it('tries again when the journal cannot be read', async (t) => {
    const made = bench(t);
    made.journal.broken = true;
    made.journal.write(1);
    await resting(made);
    assert.deepEqual(made.log.named('sink.held').map(({ reason, error }) => [reason, (error as Error).message]), [['the journal could not be read', 'the disk is gone']]);
    made.journal.broken = false;
    made.clock.tick(1000);
    await idle(made);
    assert.deepEqual(made.calls, [[1]]);
  });
});
