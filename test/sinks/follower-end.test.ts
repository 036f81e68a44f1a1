import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SqlRow } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Delivery, Sink } from '../../types/sink.d.ts';
import { until } from '../support/client.ts';
import { fakeJournal } from '../support/fake-journal.ts';
import { bench, delivered, held, idle, resting } from './following.ts';

describe('a sink\'s lag', () => {
  it('is told when it has been held for half a minute, and when it is over', async (t) => {
    const made = bench(t);
    made.answers.push({ ...held, wait: 90_000 } as Delivery);
    made.journal.write(2);
    await resting(made);
    assert.deepEqual(made.log.events.map(({ event }) => event), ['sink.held']);
    made.clock.tick(20_000);
    assert.deepEqual([made.follower.view().lag, made.follower.view().lagging], [2, false]);
    made.clock.tick(10_000);
    assert.deepEqual([made.follower.view().lag, made.follower.view().lagging], [2, true]);
    made.clock.tick(60_000);
    await idle(made);
    await until(() => made.log.named('sink.caught_up').length === 1);
    assert.deepEqual(made.log.events.map(({ event }) => event), ['sink.held', 'sink.lagging', 'sink.caught_up']);
    assert.equal(made.follower.view().lagging, false);
  });

  it('is told beyond ten thousand records, and over below half of that', async (t) => {
    const made = bench(t, { batch: 1000 });
    made.answers.push({ kind: 'delivered', wait: 1000 });
    made.journal.write(12_000);
    await until(() => made.calls.length === 1);
    await resting(made);
    assert.deepEqual(made.log.events.map(({ event }) => event), ['sink.lagging']);
    made.answers.push(...Array<Delivery>(6).fill(delivered), { kind: 'delivered', wait: 1000 });
    made.clock.tick(1000);
    await until(() => made.calls.length === 8);
    assert.deepEqual(made.log.events.map(({ event }) => event), ['sink.lagging', 'sink.caught_up']);
    assert.equal(made.follower.view().lag, 4000);
  });

  it('of a short hold is over with the first success', async (t) => {
    const made = bench(t);
    made.answers.push(held);
    made.journal.write(1);
    await resting(made);
    made.clock.tick(1000);
    await until(() => made.log.named('sink.caught_up').length === 1);
    assert.deepEqual(made.follower.view().state, { kind: 'working' });
  });
});

describe('checkpoints', () => {
  it('go out once what they cover has, the latest alone, and never to a sink without a place for them', async (t) => {
    const made = bench(t);
    made.answers.push(held);
    made.journal.write(3);
    await resting(made);
    made.journal.sign(2);
    made.journal.sign(3);
    assert.deepEqual(made.checkpoints, []);
    made.clock.tick(1000);
    await until(() => made.checkpoints.length > 0);
    assert.deepEqual(made.checkpoints.map(({ record }) => record), [3]);
    const without = bench(t);
    delete (without.sink as { checkpoint?: unknown }).checkpoint;
    without.journal.write(1);
    without.journal.sign(1);
    await idle(without);
    assert.equal(without.follower.view().errors, 0);
  });

  it('that nobody takes are an error and no more', async (t) => {
    const made = bench(t, { checkpoint: () => Promise.reject(new Error('no table')) });
    made.journal.write(1);
    await idle(made);
    made.journal.sign(1);
    await until(() => made.follower.view().errors === 1);
    made.journal.write(1);
    await idle(made);
    assert.deepEqual(made.calls, [[1], [2]]);
  });
});

describe('the end', () => {
  it('delivers what was written last, then closes the sink', async (t) => {
    let closed = 0;
    const made = bench(t, { close: async () => void closed++ });
    made.journal.write(1);
    await idle(made);
    made.journal.records.push({ ...(made.journal.records[0] as AuditRecord), id: 2 });
    await made.follower.close();
    assert.deepEqual([made.calls, closed], [[[1], [2]], 1]);
    made.journal.write(5);
    assert.equal(made.calls.length, 2);
  });

  it('delivers at once what a sink of packed records gathers', async (t) => {
    const journal = fakeJournal();
    journal.query = async (_sql, [after, limit] = []) => (await journal.read(Number(after), Number(limit))) as unknown as readonly SqlRow[];
    const made = bench(t, { isLight: true } as Partial<Sink>, journal);
    journal.write(2);
    await idle(made);
    await resting(made);
    journal.write(1);
    assert.deepEqual(made.calls, [[1, 2]], 'nothing before a fifth of a second is over');
    made.clock.tick(200);
    await idle(made);
    await resting(made);
    journal.write(1);
    await made.follower.close();
    assert.deepEqual(made.calls, [[1, 2], [3], [4]]);
  });

  it('does not wait for a sink that is held, or does not answer', async (t) => {
    const made = bench(t);
    made.answers.push(held);
    made.journal.write(1);
    await resting(made);
    await made.follower.close();
    assert.deepEqual([made.clock.pending, made.journal.cursors.get('mine')], [0, 0]);
    const silent = bench(t);
    silent.answers.push('never');
    silent.journal.write(1);
    await until(() => silent.calls.length === 1);
    await silent.follower.close();
    assert.equal(silent.journal.cursors.get('mine'), 0);
  });

  it('does not wait for a sink that will not end either', async (t) => {
    const made = bench(t, { close: () => new Promise(() => undefined) });
    await made.follower.close();
    made.journal.write(1);
    assert.deepEqual(made.calls, []);
  });

  it('comes before anything has begun, too', async (t) => {
    const made = bench(t);
    await made.follower.close();
    made.journal.write(1);
    assert.deepEqual(made.calls, []);
  });
});
