import type { Journal, JournalState } from '../../types/journal.d.ts';
import type { Exposed } from '../telemetry/telemetry.ts';

/** Upper bounds of the buckets of commit times, seconds. */
export const writeBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

const isWritable: Readonly<Record<JournalState['kind'], boolean>> = { off: true, idle: true, open: true, memory: false, full: false, failed: false };

/** The journal's metrics, read at each scrape. */
export function journalSeries(journal: Pick<Journal, 'stats'>): Exposed[] {
  return [
    {
      name: 'audit_records_total',
      values: () => {
        const { written, dropped } = journal.stats();
        return [{ labels: { result: 'written' }, value: written }, { labels: { result: 'lost' }, value: dropped.queue + dropped.full + dropped.invalid }];
      },
    },
    { name: 'audit_journal_writable', values: () => [{ labels: {}, value: isWritable[journal.stats().state.kind] ? 1 : 0 }] },
    { name: 'audit_queue_records', values: () => [{ labels: {}, value: journal.stats().waiting }] },
    { name: 'audit_journal_bytes', values: () => [{ labels: {}, value: journal.stats().bytes }] },
    {
      name: 'audit_dropped_total',
      values: () => Object.entries(journal.stats().dropped).map(([reason, value]) => ({ labels: { reason }, value })),
    },
    { name: 'audit_write_seconds', values: () => histogram(journal) },
  ];
}

function histogram(journal: Pick<Journal, 'stats'>): ReturnType<Exposed['values']> {
  const { writeCounts, writeSum } = journal.stats();
  let total = 0;
  const buckets = [...writeCounts].map((count, at) => ({ metricName: 'audit_write_seconds_bucket', labels: { le: writeBounds[at] ?? '+Inf' }, value: (total += count) }));
  return [...buckets, { metricName: 'audit_write_seconds_sum', labels: {}, value: writeSum }, { metricName: 'audit_write_seconds_count', labels: {}, value: total }];
}
