import { DatabaseSync } from 'node:sqlite';
import { signerOf, verifierOf } from '../../lib/journal/hash-chain.ts';
import { Store } from '../../lib/journal/store.ts';
import { migrate } from '../../lib/journal/schema.ts';
import { names, type RecordRow } from '../../lib/record/columns.ts';
import { verifyJournal, type Verdict } from '../../lib/journal/verify.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import type { TestLike } from '../support/client.ts';
import { closing } from '../support/client.ts';

/** The secret these journals are signed under. */
export const secret = 'a secret of this test alone';
/** When the first batch is written. */
export const start = Date.UTC(2026, 0, 5);
/** Between two batches. */
export const day = 86_400_000;
export const trust = verifierOf([secret]);

/** A record, laid over an ordinary one. */
export function draft(at: number, more: Partial<RecordRow> = {}): RecordRow {
  const values = Object.fromEntries(names.map((name) => [name, null])) as RecordRow;
  return {
    ...values, request_id: `request-${String(at).padStart(4, '0')}`, timestamp: Math.floor(start / 1000) + at, real_ip: `192.0.2.${at % 5}`, device_fingerprint: 'd'.repeat(64), token_id: `token-${at % 3}`,
    session: 's', request_path: '/v1/chat/completions', forwarded_for: '', outcome: 'served', response_status: 200, cost: 0.1 + at / 3, request_body: at % 2 === 0 ? `{"at":${at}}` : null, ...more,
  };
}

/** A journal and looks at it. */
export interface Made {
  readonly db: DatabaseSync;
  readonly store: Store;
  verify(anchors?: readonly Checkpoint[]): Verdict;
  /** What the first break is about. */
  broken(anchors?: readonly Checkpoint[]): string;
}

/** A journal in memory with ten batches of four records, a day apart. */
export function journal(t: TestLike, batches = 10): Made {
  const db = closing(t, new DatabaseSync(':memory:'));
  migrate(db, signerOf(secret), start);
  const store = new Store(db, 'session', signerOf(secret));
  for (let batch = 0; batch < batches; batch++) {
    store.write({ records: [0, 1, 2, 3].map((at) => draft(batch * 4 + at)), intents: [], cursors: [], seq: batch + 1, now: start + batch * day });
  }
  const verify = (anchors: readonly Checkpoint[] = []): Verdict => verifyJournal(db, trust, { head: null, checkpoints: anchors });
  return { db, store, verify, broken: (anchors) => verify(anchors).broken?.what ?? 'whole' };
}
