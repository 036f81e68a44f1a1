import '../support/node.ts';
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Ban } from '../../types/registry.d.ts';
import { emptyContents, type Change, type Contents, type Store } from '../../lib/registry/contents.ts';
import { Replica, type ReplicaCore } from '../../lib/registry/replica.ts';
import { fakeClock } from '../support/clock.ts';
import { recorder } from '../support/gate.ts';

const banOf = (value: string): Ban => ({ id: `address:${value}`, kind: 'address', value, reason: '', created: 0, expires: null });

it('a worker keeps what it is told while its first reading is under way, and what that reading brings', async () => {
  const reading = Promise.withResolvers<Contents | null>();
  const store: Partial<Store> = { connects: false, read: () => reading.promise, close: () => undefined };
  let hear: (change: unknown) => void = () => assert.fail('nothing was subscribed to');
  const crew = { isWorker: true, subscribe: (_topic: string, by: { hear: (change: unknown) => void }) => void (hear = by.hear), publish: () => undefined };
  const core = { clock: fakeClock(), log: recorder(), crew } as unknown as ReplicaCore;
  const replica = new Replica(core, store as Store, { changed: () => undefined, readDone: () => undefined });
  const ready = replica.ready();
  const change: Change = { bans: [['address:192.0.2.1', banOf('192.0.2.1')]] };
  hear(change);
  reading.resolve({ ...emptyContents, bans: new Map([['address:192.0.2.2', banOf('192.0.2.2')]]) });
  await ready;
  await replica.close();
  assert.deepEqual([...replica.contents.bans.keys()].sort(), ['address:192.0.2.1', 'address:192.0.2.2']);
});
