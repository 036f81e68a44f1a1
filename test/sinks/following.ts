import '../support/node.ts';
import type { TestContext } from 'node:test';
import type { Core } from '../../lib/request/context.ts';
import { Follower } from '../../lib/sinks/follower.ts';
import type { Checkpoint, Delivery, Sink } from '../../types/sink.d.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { fakeJournal, type FakeJournal } from '../support/fake-journal.ts';
import { recorder, type Recorder } from '../support/gate.ts';

/** What a call got, by the ids of its records. */
type Call = readonly number[];
type Answer = Delivery | Error | 'never' | undefined;

/** A sink that is led, and everything around it. */
export interface Bench {
  readonly journal: FakeJournal;
  readonly follower: Follower;
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly calls: Call[];
  /** What the sink says next; then that all is delivered. */
  readonly answers: Answer[];
  readonly checkpoints: Checkpoint[];
  readonly sink: Sink;
}

export const delivered: Delivery = { kind: 'delivered' };
export const held: Delivery = { kind: 'held', reason: 'it rains' };

/** A sink that says what a test wants, led along a journal of the test's own. */
export function bench(t: TestContext, more: Partial<Sink> = {}, journal = fakeJournal()): Bench {
  const clock = fakeClock();
  const log = recorder();
  const calls: Call[] = [];
  const answers: Answer[] = [];
  const checkpoints: Checkpoint[] = [];
  const sink: Sink = {
    name: 'mine',
    batch: 10,
    async deliver(records) {
      calls.push(records.map(({ id }) => id));
      const answer = answers.length > 0 ? answers.shift() : delivered;
      if (answer instanceof Error) throw answer;
      return answer === 'never' ? new Promise(() => undefined) : (answer as Delivery);
    },
    checkpoint: async (checkpoint) => void checkpoints.push(checkpoint),
    ...more,
  };
  const follower = new Follower({ clock, log } as unknown as Core, journal, sink);
  t.after(() => follower.close());
  return { journal, follower, clock, log, calls, answers, checkpoints, sink };
}

/** Waits until it has everything. */
export const idle = async ({ follower, journal }: Bench): Promise<void> => void (await until(() => follower.view().lag === 0 && journal.cursors.get('mine') === journal.stats().lastId, 'a sink that has everything'));
/** Waits until it is left alone for a while. */
export const resting = async ({ clock }: Bench): Promise<void> => void (await until(() => clock.pending > 0, 'a sink that is left alone'));
