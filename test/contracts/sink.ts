import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Sink } from '../../types/sink.d.ts';
import { aRecord } from '../support/fake-journal.ts';

/** A sink and the place behind it, as its test makes them. */
export interface SinkBench {
  readonly sink: Sink;
  /** What the place has taken, by `id` of the record, in its order. */
  taken(): Promise<readonly number[]>;
  /** The place is not there any more, and is there again. */
  fail(): Promise<unknown>;
  heal(): Promise<unknown>;
  /** The place takes calls and answers none, until it is healed. */
  hang(): Promise<unknown>;
  /** What a record the place can never take looks like. */
  readonly poison: Partial<AuditRecord>;
  /** Must not turn up in any reason. */
  readonly secrets: readonly string[];
}

/** What a sink promises of the same records delivered twice. */
export type Twice = 'kept once' | 'kept twice';

const never = (): AbortSignal => new AbortController().signal;
const records = (...ids: number[]): AuditRecord[] => ids.map((id) => aRecord(id, { request_path: `/v1/${id}` }));

type Make = (t: TestContext) => Promise<SinkBench>;

/** What every sink owes the follower that leads it. @param make a sink with an empty place behind it. */
export function sinkContract(what: string, twice: Twice, make: Make): void {
  const bench: Make = async (t) => {
    const made = await make(t);
    t.after(() => made.sink.close?.());
    return made;
  };
  describe(`${what}, as every sink,`, () => {
    onGoodDays(twice, bench);
    onBadDays(bench);
  });
}

async function all({ sink }: SinkBench, list: AuditRecord[]): Promise<void> {
  for (let at = 0; at < list.length; at += sink.batch) assert.equal((await sink.deliver(list.slice(at, at + sink.batch), never())).kind, 'delivered');
}

function onGoodDays(twice: Twice, bench: Make): void {
  it('has a name for its cursor and a bound for its calls', async (t) => {
    const { sink } = await bench(t);
    assert.match(sink.name, /^[a-z0-9_-]{1,64}$/);
    assert.ok(Number.isInteger(sink.batch) && sink.batch >= 1 && sink.batch <= 1000, String(sink.batch));
  });

  it('takes records in their order', async (t) => {
    const made = await bench(t);
    await all(made, records(1, 2, 3));
    await all(made, records(4, 5));
    assert.deepEqual(await made.taken(), [1, 2, 3, 4, 5]);
  });

  it(`${twice === 'kept once' ? 'keeps a record once' : 'takes a record again'} that comes twice`, async (t) => {
    const made = await bench(t);
    await all(made, records(1, 2));
    await all(made, records(2, 3));
    assert.deepEqual(await made.taken(), twice === 'kept once' ? [1, 2, 3] : [1, 2, 2, 3]);
  });
}

function onBadDays(bench: Make): void {
  it('holds while nobody takes anything, and goes on by itself', async (t) => {
    const made = await bench(t);
    await all(made, records(1));
    await made.fail();
    for (let tries = 0; tries < 2; tries++) {
      const delivery = await made.sink.deliver(records(2), never());
      assert.equal(delivery.kind, 'held');
      for (const secret of made.secrets) assert.ok(!JSON.stringify(delivery).includes(secret), JSON.stringify(delivery));
    }
    await made.heal();
    await all(made, records(2));
    assert.deepEqual(await made.taken(), [1, 2]);
  });

  it('refuses what can never be taken, quotes nothing of it, and goes on', async (t) => {
    const made = await bench(t);
    await all(made, records(1));
    const [poison] = records(2);
    const delivery = await made.sink.deliver([{ ...(poison as AuditRecord), ...made.poison }], never());
    assert.equal(delivery.kind, 'refused');
    for (const value of Object.values(made.poison)) if (typeof value === 'string') assert.ok(!JSON.stringify(delivery).includes(value), JSON.stringify(delivery));
    await all(made, records(3));
    assert.deepEqual(await made.taken(), [1, 3]);
  });

  it('lets go of a call when it is told to, and works again', async (t) => {
    const made = await bench(t);
    await all(made, records(1));
    await made.hang();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const delivery = await made.sink.deliver(records(2), controller.signal).catch(() => ({ kind: 'held' }));
    assert.equal(delivery.kind, 'held');
    await made.heal();
    await all(made, records(2, 3));
    assert.deepEqual((await made.taken()).at(-1), 3);
  });

  it('ends, whatever is behind it, and more than once', async (t) => {
    const made = await bench(t);
    await all(made, records(1));
    await made.hang();
    await made.sink.close?.();
    await made.sink.close?.();
    await made.heal();
  });
}
