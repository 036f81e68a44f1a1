import type { DatabaseSync } from 'node:sqlite';
import type { Checkpoint } from '../../types/sink.d.ts';
import { bodyDigest, BatchDigest, origin, privateDigest, signedText, type BatchFacts, type Verifier } from './hash-chain.ts';
import { erasedValue, names, parts, valuesOf, type ColumnName, type Values } from '../record/record.ts';

/** Where the journal is not what was written. */
export interface Break {
  /** Number of the batch; null where it is about none. */
  readonly batch: number | null;
  /** Position of the record, where one can be named. */
  readonly record: number | null;
  readonly what: string;
}

/** What a look at a journal found. */
export interface Verdict {
  readonly records: number;
  readonly batches: number;
  /** Signed states it was compared with. */
  readonly checkpoints: number;
  /** Records somebody asked to forget. */
  readonly erased: number;
  /** The last batch, whose signature covers all before it. */
  readonly last: { readonly batch: number; readonly record: number; readonly time: number } | null;
  /** The first break, or null. */
  readonly broken: Break | null;
}

interface BatchRow extends BatchFacts {
  readonly hash: string;
  readonly signature: string;
}

type Row = Readonly<Record<ColumnName, unknown>> & { readonly id: number; readonly request_id: string; readonly salt: string | null; readonly digest: string; readonly body_digest: string | null; readonly erasure: number | null };

interface Mark {
  readonly name: string;
  readonly batch: number;
  readonly record: number;
  readonly hash: string;
  readonly signature: string;
}

class Broken extends Error {
  readonly at: Break;

  constructor(batch: number | null, record: number | null, what: string) {
    super(what);
    this.at = { batch, record, what };
  }
}

/**
 * Reads a journal from its beginning and compares every record with the chain, the chain with its signatures, and both with
 * what was signed at other times. Changes nothing.
 * @param trust the keys of the install secret and of those before it.
 * @param anchors checkpoints kept elsewhere: what lies beside the file, or in the event log.
 */
export function verifyJournal(db: DatabaseSync, trust: Verifier, anchors: readonly Checkpoint[]): Verdict {
  const check = new Check(db, trust);
  let broken: Break | null = null;
  db.exec('BEGIN');
  try {
    check.run(anchors);
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    broken = error.at;
  } finally {
    db.exec('COMMIT');
  }
  return { records: check.records, batches: check.batches, checkpoints: check.checkpoints, erased: check.erased.size, last: check.last, broken };
}

class Check {
  readonly #db: DatabaseSync;
  readonly #trust: Verifier;
  readonly #marks = new Map<string, Mark>();
  records = 0;
  batches = 0;
  checkpoints = 0;
  /** Erased records and the entry each names. */
  readonly erased = new Map<number, number>();
  last: { batch: number; record: number; time: number } | null = null;

  constructor(db: DatabaseSync, trust: Verifier) {
    this.#db = db;
    this.#trust = trust;
  }

  run(anchors: readonly Checkpoint[]): void {
    this.#readMarks();
    this.#readBatches();
    this.#checkSignatures();
    this.#checkErasures();
    const kept = this.#db.prepare('SELECT batch, record, time, hash, key, signature FROM heimdall_checkpoints ORDER BY batch').all() as unknown as Checkpoint[];
    const others = anchors.filter((anchor) => !kept.some(({ batch, hash }) => batch === anchor.batch && hash === anchor.hash));
    for (const checkpoint of [...kept, ...others].sort((a, b) => a.batch - b.batch)) this.#compare(checkpoint);
  }

  #readMarks(): void {
    for (const mark of this.#db.prepare('SELECT name, batch, record, hash, signature FROM heimdall_marks').all() as unknown as Mark[]) {
      const { name, batch, record, hash, signature } = mark;
      if (!this.#trust(signedText.mark(name, batch, record, hash), signature)) throw new Broken(null, record, `what says that ${name} up to ${record} were removed is not signed by this gate's secret`);
      this.#marks.set(name, mark);
    }
  }

  #readBatches(): void {
    const beginning = this.#marks.get('records');
    let before = beginning?.hash ?? origin;
    let batch = beginning?.batch ?? 0;
    let record = beginning?.record ?? 0;
    const rows = this.#db.prepare(`SELECT ${names.join(', ')}, salt, digest, body_digest, erasure FROM heimdall_logs ORDER BY id`).iterate() as unknown as Iterator<Row>;
    for (const each of this.#db.prepare('SELECT batch, first, last, time, hash, signature FROM heimdall_batches ORDER BY batch').iterate() as unknown as Iterable<BatchRow>) {
      if (each.batch !== batch + 1) throw new Broken(batch + 1, null, `batch ${batch + 1} is missing`);
      if (each.first !== record + 1) throw new Broken(each.batch, record + 1, `batch ${each.batch} begins with record ${each.first} instead of ${record + 1}`);
      if (this.#leaves(each, rows).hash(before, each) !== each.hash) throw new Broken(each.batch, each.first, `batch ${each.batch} (records ${each.first} to ${each.last}, ${iso(each.time)}) is not what was written: one of its records was changed, or it was`);
      ({ hash: before, batch, last: record } = each);
      this.batches++;
      this.last = { batch, record, time: each.time };
    }
    const more = rows.next();
    if (!more.done) throw new Broken(null, more.value.id, `record ${more.value.id} (${more.value.request_id}) belongs to no batch: it was added`);
  }

  #leaves({ batch, first, last }: BatchRow, rows: Iterator<Row>): BatchDigest {
    const leaves = new BatchDigest();
    for (let id = first; id <= last; id++) {
      const { value: row, done } = rows.next();
      if (done || row.id > id) throw new Broken(batch, id, `record ${id} is missing`);
      if (row.id < id) throw new Broken(batch, row.id, `record ${row.id} (${row.request_id}) was added`);
      const values = valuesOf<unknown>(row);
      const wrong = this.#wrongIn(row, values);
      if (wrong !== null) throw new Broken(batch, id, `record ${id} (${row.request_id}): ${wrong}`);
      leaves.add(values, row.digest, row.body_digest);
      this.records++;
    }
    return leaves;
  }

  /** @returns what is wrong with a record's own digests. */
  #wrongIn(row: Row, values: Values): string | null {
    if (row.erasure !== null) {
      this.erased.set(row.id, row.erasure);
      const rest = parts.private.some((name) => row[name] !== erasedValue(name)) || parts.body.some((name) => row[name] !== null);
      return rest || row.salt !== null ? 'it was changed after it had been erased' : null;
    }
    if (row.salt === null || privateDigest(values, row.salt) !== row.digest) return 'what tells who it was has been changed or erased by somebody else';
    const ofBody = bodyDigest(values, row.salt);
    if (ofBody === row.body_digest) return null;
    const removed = ofBody === null && row.id <= (this.#marks.get('bodies')?.record ?? 0);
    return removed ? null : 'its body was changed or erased by somebody else';
  }

  /** The last signature covers all batches before it; only where it is wrong they are looked at one by one. */
  #checkSignatures(): void {
    const isSigned = ({ batch, hash, signature }: BatchRow): boolean => this.#trust(signedText.batch(batch, hash), signature);
    const last = this.#db.prepare('SELECT batch, hash, signature FROM heimdall_batches ORDER BY batch DESC LIMIT 1').get() as unknown as BatchRow | undefined;
    if (last === undefined || isSigned(last)) return;
    for (const each of this.#db.prepare('SELECT batch, first, hash, signature FROM heimdall_batches ORDER BY batch').iterate() as unknown as Iterable<BatchRow>) {
      if (!isSigned(each)) throw new Broken(each.batch, each.first, `batch ${each.batch} is not signed by this gate's secret: from here on the journal was rewritten, or the secret was changed without previous_secrets`);
    }
  }

  #checkErasures(): void {
    const known = new Set<number>();
    for (const each of this.#db.prepare('SELECT erasure, time, kind, subject, records, ids, signature FROM heimdall_erasures').all() as unknown as { erasure: number; time: number; kind: string; subject: string; records: number; ids: string; signature: string }[]) {
      const { erasure, time, kind, subject, records, ids, signature } = each;
      if (!this.#trust(signedText.erasure(erasure, time, kind, subject, records, ids), signature)) throw new Broken(null, null, `erasure ${erasure} (${iso(time)}) is not signed by this gate's secret`);
      for (const id of ids.split(' ')) if (this.erased.get(Number(id)) === erasure) known.add(Number(id));
    }
    for (const id of this.erased.keys()) if (!known.has(id)) throw new Broken(null, id, `record ${id} was erased, and nothing signed says so`);
  }

  #compare(checkpoint: Checkpoint): void {
    const { batch, record, time, hash, key, signature } = checkpoint;
    if (!this.#trust(signedText.checkpoint(checkpoint), signature, key)) throw new Broken(batch, record, `the checkpoint of batch ${batch} is not signed by this gate's secret`);
    this.checkpoints++;
    if (batch <= (this.#marks.get('records')?.batch ?? 0)) return;
    const found = this.#db.prepare('SELECT hash FROM heimdall_batches WHERE batch = ?').get(batch) as { hash: string } | undefined;
    if (found === undefined) throw new Broken(batch, record, `the journal was cut: batch ${batch} with record ${record}, signed at ${iso(time)}, is not there`);
    if (found.hash !== hash) throw new Broken(batch, record, `the journal was rewritten, or cut and gone on with: batch ${batch} is not the one that was signed at ${iso(time)}`);
  }
}

const iso = (time: number): string => new Date(time).toISOString();
