import { readFileSync } from 'node:fs';
import type { Finding } from '../../types/finding.d.ts';
import type { SqlValue } from '../../types/journal.d.ts';
import type { Signal } from '../../types/detector.d.ts';
import { findingJson } from '../../lib/admin/findings.ts';
import { Findings } from '../../lib/anomaly/findings.ts';
import { signalColumns, signalOf } from '../../lib/anomaly/signals.ts';
import { Watch } from '../../lib/anomaly/watch.ts';
import { resolveConfig } from '../../lib/config/config.ts';
import type { KeyRegistry } from '../../lib/registry/registry.ts';
import type { Core } from '../../lib/request/request.ts';

/** Judges records as `heimdall logs --format jsonl` prints them, in the order of their arrival. */
export async function replay(file: string): Promise<{ readonly records: number; readonly findings: readonly object[] }> {
  const signals = signalsOf(file);
  const watch = new Watch();
  const book = bookOf();
  for (const signal of signals.judged) {
    for (const verdict of watch.observe(signal)) {
      book.now = signal.time;
      await book.findings.report({ ...verdict, since: signal.time, last: signal.time, evidence: watch.evidenceOf(verdict, signal.time, [signal.requestId], 1) });
    }
  }
  return { records: signals.records, findings: book.findings.list().map(findingJson) };
}

function signalsOf(file: string): { readonly records: number; readonly judged: readonly Signal[] } {
  const judged: Signal[] = [];
  let records = 0;
  for (const [at, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    if (line.trim() === '') continue;
    const record = recordIn(line, `${file}, line ${at + 1}`);
    records++;
    if ((record['source'] ?? 'gate') !== 'gate' || (record['real_ip'] ?? '') === '') continue;
    judged.push(signalOf(signalColumns.map((name) => valueOf(record[name]))));
  }
  return { records, judged: judged.sort((one, other) => one.time - other.time) };
}

function recordIn(line: string, place: string): Record<string, unknown> {
  let record: unknown = null;
  try {
    record = JSON.parse(line);
  } catch {
    record = null;
  }
  if (typeof record !== 'object' || record === null || typeof (record as Record<string, unknown>)['request_id'] !== 'string') throw new Error(`${place}: expected a record as \`heimdall logs --format jsonl\` prints it`);
  return record as Record<string, unknown>;
}

const valueOf = (value: unknown): SqlValue => (typeof value === 'string' || typeof value === 'number' ? value : typeof value === 'boolean' ? Number(value) : null);

/** Findings over a registry in memory, by the time of the records. */
function bookOf(): { readonly findings: Findings; now: number } {
  let all = new Map<string, Finding>();
  const registry = {
    findings: () => all,
    changeFindings: async (edit: Parameters<KeyRegistry['changeFindings']>[0]) => {
      const next = new Map(all);
      for (const [id, finding] of edit(all)) {
        if (finding === null) next.delete(id);
        else next.set(id, finding);
      }
      all = next;
    },
  } as unknown as KeyRegistry;
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const book = { now: 0, findings: null as unknown as Findings };
  const clock = { now: () => book.now, monotonic: () => book.now };
  book.findings = new Findings({ config: resolveConfig({}), clock, log } as unknown as Core, registry);
  return book;
}
