import type { DatabaseSync } from 'node:sqlite';
import type { Checkpoint } from '../../types/sink.d.ts';
import { BatchDigest, bodyDigest, factDigest, historyHash, noCheckpoint, origin, privateDigest, signedText, type BatchFacts, type HistoryFacts, type Verifier } from './hash-chain.ts';
import type { HeadFile } from './head.ts';
import { schemaProblem, versionOf } from './schema.ts';
import { digestsOf } from './texts.ts';
import { addedColumns, erasedValue, names, parts, textOfContent, valuesOf, type ColumnName, type Values } from '../record/record.ts';

/** A place at which a journal differs from what was written. */
export interface Break {
  /** Number of the batch; null when it concerns none. */
  readonly batch: number | null;
  /** Position of the record, where it concerns one. */
  readonly record: number | null;
  readonly what: string;
}

/** The result of a verification. */
export interface Verdict {
  readonly records: number;
  readonly batches: number;
  /** Checkpoints the chain was compared with. */
  readonly checkpoints: number;
  /** Records whose personal data was erased on demand. */
  readonly erased: number;
  /** The last batch, whose hash covers all before it. */
  readonly last: { readonly batch: number; readonly record: number; readonly time: number } | null;
  /** When a backup became the journal, Unix milliseconds; null when none did. */
  readonly restored: number | null;
  /** The first break, or null. */
  readonly broken: Break | null;
  /** The reason why a cut at the end cannot be excluded, or null. */
  readonly uncertain: string | null;
}

/** Signed states that are kept outside the database. */
export interface Anchors {
  /** The head file beside the journal; null for a journal that has none, such as one in memory. */
  readonly head: HeadFile | null;
  /** Checkpoints of an event log or of a sink. */
  readonly checkpoints?: readonly Checkpoint[];
  /** Differences that the gate found at earlier starts are no break. */
  readonly acceptsFindings?: boolean;
  /** Called with how many records are checked, and how many there are. */
  readonly told?: (done: number, total: number) => void;
}

interface BatchRow extends BatchFacts {
  readonly hash: string;
  readonly signature: string;
}

type Row = Readonly<Record<ColumnName, unknown>> & {
  readonly id: number;
  readonly request_id: string;
  readonly salt: string | null;
  readonly digest: string;
  readonly body_digest: string | null;
  readonly erasure: number | null;
  readonly deleted_at: unknown;
};

interface Mark {
  readonly name: string;
  readonly batch: number;
  readonly record: number;
  readonly hash: string;
  readonly signature: string;
}

interface Fact {
  readonly fact: number;
  readonly batch: number;
  readonly record: number;
  readonly name: string;
  readonly value: string | null;
  readonly salt: string | null;
  readonly digest: string;
}

interface TextRow {
  readonly id: number;
  readonly digest: string;
  readonly before: number | null;
  readonly uses: number;
  readonly record: number;
  readonly label: string | null;
  readonly size: number;
  readonly content: Uint8Array | null;
}

type HistoryRow = HistoryFacts & { readonly hash: string; readonly signature: string };

class Broken extends Error {
  readonly at: Break;

  constructor(batch: number | null, record: number | null, what: string) {
    super(what);
    this.at = { batch, record, what };
  }
}

/**
 * Checks a journal without changing it: the schema to the letter, every index against its table, every record against the chain,
 * every signature, and the chain against the states that were signed at other times. Journals of older schemas are checked by the
 * rules of their time.
 */
export function verifyJournal(db: DatabaseSync, verifier: Verifier, anchors: Anchors): Verdict {
  const check = new Check(db, verifier, anchors);
  let broken: Break | null = null;
  try {
    db.exec('BEGIN');
    check.run();
  } catch (error) {
    broken = error instanceof Broken ? error.at : { batch: null, record: null, what: `the database cannot be read: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (db.isTransaction) db.exec('COMMIT');
  const { records, batches, checkpoints, last, restored } = check;
  return { records, batches, checkpoints, erased: check.erased.size, last, restored: restored?.time ?? null, broken, uncertain: broken === null ? check.uncertainty() : null };
}

class Check {
  readonly #db: DatabaseSync;
  readonly #verifier: Verifier;
  readonly #anchors: Anchors;
  readonly #marks = new Map<string, Mark>();
  readonly #checkpoints = new Map<number, Checkpoint[]>();
  #history: readonly HistoryRow[] = [];
  #schema = 0;
  /** Batches up to this one were written under schema 1. */
  #schema1Until = 0;
  /** The entry of the last restore. */
  restored: HistoryRow | null = null;
  records = 0;
  batches = 0;
  checkpoints = 0;
  /** Erased records, and the erasure each belongs to. */
  readonly erased = new Map<number, number>();
  last: { batch: number; record: number; time: number } | null = null;
  /** How many records name each long text, and one of them. */
  readonly #named = new Map<string, { uses: number; record: number }>();

  constructor(db: DatabaseSync, verifier: Verifier, anchors: Anchors) {
    this.#db = db;
    this.#verifier = verifier;
    this.#anchors = anchors;
  }

  run(): void {
    this.#checkDatabase();
    this.#readMarks();
    if (this.#schema > 1) this.#readHistory();
    else this.#schema1Until = Infinity;
    for (const checkpoint of this.#db.prepare('SELECT batch, record, time, hash, key, signature FROM heimdall_checkpoints').all() as unknown as Checkpoint[]) {
      this.#checkpoints.set(checkpoint.batch, [...(this.#checkpoints.get(checkpoint.batch) ?? []), checkpoint]);
    }
    this.#readBatches();
    this.#checkErasures();
    if (this.#schema > 1) this.#checkRows();
    if (this.#schema > 1) this.#checkTexts();
    this.#checkAnchors();
    if (this.#anchors.acceptsFindings !== true) this.#checkHistory();
  }

  #checkDatabase(): void {
    const problem = schemaProblem(this.#db);
    if (problem !== null) throw new Broken(null, null, problem);
    this.#schema = versionOf(this.#db);
    const { encoding } = this.#db.prepare('PRAGMA encoding').get() as { encoding: string };
    if (encoding !== 'UTF-8') throw new Broken(null, null, `its texts are encoded in ${encoding} instead of UTF-8`);
    const [first] = this.#db.prepare('PRAGMA integrity_check(1)').all() as { integrity_check: string }[];
    if (first?.integrity_check !== 'ok') throw new Broken(null, null, `the database is damaged, or an index differs from its table: ${first?.integrity_check ?? 'no result'}`);
  }

  #readMarks(): void {
    for (const mark of this.#db.prepare('SELECT name, batch, record, hash, signature FROM heimdall_marks').all() as unknown as Mark[]) {
      const { name, batch, record, hash, signature } = mark;
      if (!this.#verifier.isSigned(signedText.mark(name, batch, record, hash), signature)) throw new Broken(null, record, `the mark that ${name} up to ${record} were removed is not signed by this gate's secret`);
      this.#marks.set(name, mark);
    }
  }

  #readHistory(): void {
    this.#history = this.#db.prepare('SELECT entry, time, kind, batch, detail, hash, signature FROM heimdall_history ORDER BY entry').all() as unknown as HistoryRow[];
    let before = origin;
    for (const [at, row] of this.#history.entries()) {
      if (row.entry !== at + 1) throw new Broken(row.batch, null, `entry ${at + 1} of the history is missing`);
      if (historyHash(before, row) !== row.hash) throw new Broken(row.batch, null, `entry ${row.entry} of the history (${row.kind}, ${iso(row.time)}) was changed`);
      if (!this.#verifier.isSigned(signedText.history(row.entry, row.hash), row.signature)) throw new Broken(row.batch, null, `entry ${row.entry} of the history is not signed by this gate's secret`);
      before = row.hash;
      if (row.kind === 'restored') this.restored = row;
      if (row.kind === 'migrated' && row.detail === '1') this.#schema1Until = row.batch - 1;
    }
  }

  #readBatches(): void {
    const beginning = this.#marks.get('records');
    let before = beginning?.hash ?? origin;
    let batch = beginning?.batch ?? 0;
    let record = beginning?.record ?? 0;
    const rows = this.#db.prepare(`SELECT ${this.#columns()}, salt, digest, body_digest, erasure, deleted_at FROM heimdall_logs ORDER BY id`).iterate() as unknown as Iterator<Row>;
    const facts = this.#schema > 1 ? (this.#db.prepare('SELECT fact, batch, record, name, value, salt, digest FROM heimdall_learnt ORDER BY fact').all() as unknown as Fact[]) : [];
    let learnt = 0;
    let entries = 0;
    const total = this.#anchors.told === undefined ? 0 : Number((this.#db.prepare('SELECT count(*) AS records FROM heimdall_logs').get() as { records: number }).records);
    for (const each of this.#db.prepare('SELECT batch, first, last, time, hash, signature FROM heimdall_batches ORDER BY batch').iterate() as unknown as Iterable<BatchRow>) {
      if (each.batch !== batch + 1) throw new Broken(batch + 1, null, `batch ${batch + 1} is missing`);
      if (each.first !== record + 1) throw new Broken(each.batch, record + 1, `batch ${each.batch} begins with record ${each.first} instead of ${record + 1}`);
      const digest = this.#digestOf(each, rows);
      for (; facts[learnt]?.batch === each.batch; learnt++) this.#addFact(digest, facts[learnt] as Fact);
      while ((this.#history[entries]?.batch ?? Infinity) <= each.batch) entries++;
      if (this.#hashOf(digest, before, entries, each) !== each.hash) {
        throw new Broken(each.batch, each.first, `batch ${each.batch} (records ${each.first} to ${each.last}, ${iso(each.time)}) is not what was written: it was changed, or one of its records or facts, the history or the checkpoint before it`);
      }
      if (!this.#verifier.isSigned(signedText.batch(each.batch, each.hash), each.signature)) {
        throw new Broken(each.batch, each.first, `batch ${each.batch} is not signed by this gate's secret: the journal was rewritten from there on, or the secret was changed without previous_secrets`);
      }
      ({ hash: before, batch, last: record } = each);
      this.batches++;
      this.#anchors.told?.(this.records, total);
      this.last = { batch, record, time: each.time };
    }
    const more = rows.next();
    if (!more.done) throw new Broken(null, more.value.id, `record ${more.value.id} (${more.value.request_id}) belongs to no batch: it was added`);
    const fact = facts[learnt];
    if (fact !== undefined) throw new Broken(fact.batch, fact.record, `fact ${fact.fact} about record ${fact.record} belongs to no batch: it was added`);
    if (this.#history.length > entries && batch < (this.#history.at(-1)?.batch ?? 0)) throw new Broken(batch + 1, null, `the journal was cut: the batch of entry ${entries + 1} of the history is missing`);
  }

  /** A journal of schema 1 lacks some columns. */
  #columns(): string {
    return names.map((name) => (this.#schema === 1 && addedColumns.has(name) ? `NULL AS ${name}` : name)).join(', ');
  }

  #hashOf(digest: BatchDigest, before: string, entries: number, facts: BatchRow): string {
    if (facts.batch <= this.#schema1Until) return digest.hashOfSchema1(before, facts);
    const checkpoint = this.#checkpoints.get(facts.batch - 1)?.find(({ hash }) => hash === before)?.signature ?? noCheckpoint;
    return digest.hash({ before, history: this.#history[entries - 1]?.hash ?? origin, checkpoint }, facts);
  }

  #digestOf({ batch, first, last }: BatchRow, rows: Iterator<Row>): BatchDigest {
    const digest = new BatchDigest();
    for (let id = first; id <= last; id++) {
      const { value: row, done } = rows.next();
      if (done || row.id > id) throw new Broken(batch, id, `record ${id} is missing`);
      if (row.id < id) throw new Broken(batch, row.id, `record ${row.id} (${row.request_id}) was added`);
      const values = valuesOf<unknown>(row);
      const problem = this.#problemOf(row, values);
      if (problem !== null) throw new Broken(batch, id, `record ${id} (${row.request_id}): ${problem}`);
      digest.add(values, row.digest, row.body_digest);
      this.#countTexts(row);
      this.records++;
    }
    return digest;
  }

  /** @returns the first problem of a record's columns outside the batch's hash, or of its digests. */
  #problemOf(row: Row, values: Values): string | null {
    if (row.deleted_at !== null) return 'it is hidden from readers by deleted_at, which the gate never sets';
    if (row.erasure !== null) {
      this.erased.set(row.id, row.erasure);
      const rest = parts.private.some((name) => row[name] !== erasedValue(name)) || parts.body.some((name) => row[name] !== null);
      return rest || row.salt !== null ? 'it was changed after it had been erased' : null;
    }
    if (row.salt === null || privateDigest(values, row.salt) !== row.digest) return 'the columns that identify the caller were changed or erased outside the gate';
    const ofBody = bodyDigest(values, row.salt);
    const isRemoved = row.id <= (this.#marks.get('bodies')?.record ?? 0);
    if (isRemoved && ofBody !== null) return 'its body is there although it was removed by age';
    return ofBody === row.body_digest || isRemoved ? null : 'its body was changed or erased outside the gate';
  }

  /** The value of a fact is erased with its record. */
  #addFact(digest: BatchDigest, { fact, record, name, value, salt, digest: digested }: Fact): void {
    const isErased = this.erased.has(record) || record <= (this.#marks.get('records')?.record ?? 0);
    const isValid = isErased ? value === null && salt === null : value !== null && salt !== null && factDigest(name, value, salt) === digested;
    if (!isValid) throw new Broken(null, record, `fact ${fact} (${name}) about record ${record} was changed or erased outside the gate`);
    digest.addFact(fact, record, digested);
  }

  #checkErasures(): void {
    const signatures = new Map<number, string>();
    const known = new Set<number>();
    for (const each of this.#db.prepare('SELECT erasure, time, kind, subject, records, ids, signature FROM heimdall_erasures').all() as unknown as { erasure: number; time: number; kind: string; subject: string; records: number; ids: string; signature: string }[]) {
      const { erasure, time, kind, subject, records, ids, signature } = each;
      if (!this.#verifier.isSigned(signedText.erasure(erasure, time, kind, subject, records, ids), signature)) throw new Broken(null, null, `erasure ${erasure} (${iso(time)}) is not signed by this gate's secret`);
      signatures.set(erasure, signature);
      const removed = this.#marks.get('records')?.record ?? 0;
      for (const id of ids.split(' ').map(Number)) {
        if (id > removed && this.erased.get(id) !== erasure) throw new Broken(null, id, `record ${id} was erased at ${iso(time)}, and is there again`);
        known.add(id);
      }
    }
    for (const id of this.erased.keys()) if (!known.has(id)) throw new Broken(null, id, `record ${id} was erased without a signed erasure`);
    for (const { kind, detail, time } of this.#history) {
      const [erasure = '', signature] = detail.split(' ');
      if (kind === 'erased' && signatures.get(Number(erasure)) !== signature) throw new Broken(null, null, `erasure ${erasure} (${iso(time)}) is missing or was replaced`);
    }
  }

  #countTexts(row: Row): void {
    for (const digest of digestsOf(row)) {
      const known = this.#named.get(digest);
      if (known === undefined) this.#named.set(digest, { uses: 1, record: row.id });
      else known.uses++;
    }
  }

  /** Every long text that a record names is there and is what was written, and there is no other. */
  #checkTexts(): void {
    const followers = new Map((this.#db.prepare('SELECT before, count(*) AS uses FROM heimdall_texts WHERE before IS NOT NULL GROUP BY before').all() as { before: number; uses: number }[]).map(({ before, uses }) => [before, uses]));
    const digestOf = this.#db.prepare('SELECT digest FROM heimdall_texts WHERE id = ?');
    let found = 0;
    for (const row of this.#db.prepare('SELECT id, digest, before, uses, record, label, size, content FROM heimdall_texts').iterate() as unknown as Iterable<TextRow>) {
      const named = this.#named.get(row.digest);
      const uses = (named?.uses ?? 0) + (followers.get(row.id) ?? 0);
      if (uses === 0) throw new Broken(null, row.record, `the text ${row.digest} belongs to no record: it was added, or left behind`);
      const before = row.before === null ? null : ((digestOf.get(row.before) as { digest: string } | undefined)?.digest ?? '');
      if (uses !== row.uses || !this.#isText(row, before)) throw new Broken(null, named?.record ?? row.record, `the text ${row.digest} was changed`);
      if (named !== undefined) found++;
    }
    if (found === this.#named.size) return;
    const isThere = this.#db.prepare('SELECT 1 FROM heimdall_texts WHERE digest = ?');
    for (const [digest, { record }] of this.#named) if (isThere.get(digest) === undefined) throw new Broken(null, record, `the text ${digest}, which record ${record} names, is missing`);
  }

  /** Of a text of which the digest alone is kept there is nothing to compare. */
  #isText({ digest, label, size, content }: TextRow, before: string | null): boolean {
    if (content === null) return digest.startsWith('~');
    try {
      return this.#verifier.isDigest(digest, { before, label, size, text: textOfContent(content) });
    } catch {
      return false;
    }
  }

  /** Rows that change in place. */
  #checkRows(): void {
    const last = this.last?.record ?? this.#marks.get('records')?.record ?? 0;
    for (const { sink, record, mac } of this.#db.prepare('SELECT sink, record, mac FROM heimdall_cursors').all() as { sink: string; record: number; mac: string }[]) {
      if (!this.#verifier.isAuthentic(signedText.cursor(sink, record), mac) || record > last) throw new Broken(null, record, `the cursor of the sink ${sink} was changed`);
    }
    for (const { session, seq, mac } of this.#db.prepare('SELECT session, seq, mac FROM heimdall_sessions').all() as { session: string; seq: number; mac: string }[]) {
      if (!this.#verifier.isAuthentic(signedText.session(session, seq), mac)) throw new Broken(null, null, `the session ${session} was changed`);
    }
    for (const { request_id: id, session, draft, mac } of this.#db.prepare('SELECT request_id, session, draft, mac FROM heimdall_intents').all() as { request_id: string; session: string; draft: string; mac: string }[]) {
      if (!this.#verifier.isAuthentic(signedText.intent(id, session, draft), mac)) throw new Broken(null, null, `the request in hand ${id} was changed or added`);
    }
  }

  #checkAnchors(): void {
    const { head, checkpoints = [] } = this.#anchors;
    for (const checkpoint of [...this.#checkpoints.values()].flat().sort(byBatch)) this.#compare(checkpoint);
    if (head?.kind === 'damaged') throw new Broken(null, null, 'the head file beside the journal is damaged');
    for (const checkpoint of [...checkpoints, ...(head?.kind === 'read' ? [head.checkpoint] : [])].sort(byBatch)) {
      const isKept = this.#checkpoints.get(checkpoint.batch)?.some(({ signature }) => signature === checkpoint.signature) === true;
      this.#compare(checkpoint);
      if (isKept) this.checkpoints--;
      else if (head?.kind === 'read' && checkpoint === head.checkpoint) this.#checkKept(checkpoint);
    }
  }

  /** The gate writes a checkpoint into the database before it writes the head file. Retention removes old ones. */
  #checkKept({ batch }: Checkpoint): void {
    if (batch > (this.#marks.get('records')?.batch ?? 0)) throw new Broken(batch, null, `the checkpoint of batch ${batch} was removed from the journal`);
  }

  #compare(checkpoint: Checkpoint): void {
    const { batch, record, time, hash, key, signature } = checkpoint;
    if (!this.#verifier.isSigned(signedText.checkpoint(checkpoint), signature, key)) throw new Broken(batch, record, `the checkpoint of batch ${batch} is not signed by this gate's secret`);
    // After a backup was restored, the states between it and the restore are not part of the journal.
    if (this.restored !== null && time < this.restored.time && batch >= this.restored.batch) return;
    this.checkpoints++;
    const mark = this.#marks.get('records');
    if (batch < (mark?.batch ?? 0)) return;
    const found = batch === mark?.batch ? { hash: mark.hash, last: mark.record } : batch === 0 ? { hash: origin, last: 0 } : (this.#db.prepare('SELECT hash, last FROM heimdall_batches WHERE batch = ?').get(batch) as { hash: string; last: number } | undefined);
    if (found === undefined) throw new Broken(batch, record, `the journal was cut: batch ${batch} with record ${record}, signed at ${iso(time)}, is missing`);
    if (found.hash !== hash || found.last !== record) throw new Broken(batch, record, `the journal was rewritten, or cut and continued: batch ${batch} is not the one that was signed at ${iso(time)}`);
  }

  /** Differences that the gate found when it started, since the last restore. */
  #checkHistory(): void {
    for (const { kind, time, detail, batch, entry } of this.#history) {
      if (kind === 'tampered' && entry > (this.restored?.entry ?? 0)) throw new Broken(batch, null, `the gate found at ${iso(time)}: ${detail}`);
    }
  }

  /** @returns why a cut at the end cannot be excluded, or null. */
  uncertainty(): string | null {
    const { head, checkpoints = [] } = this.#anchors;
    if (checkpoints.length > 0) return null;
    if (head?.kind === 'missing') return 'the head file beside the journal is missing, so that a cut at its end would not be noticed';
    const entry = this.#history.findLast(({ kind }) => kind === 'unattested');
    if (entry === undefined || entry.entry < (this.restored?.entry ?? 0)) return null;
    return `the head file beside the journal was missing at ${iso(entry.time)}, so that a cut before batch ${entry.batch} would not be noticed`;
  }
}

const byBatch = (a: Checkpoint, b: Checkpoint): number => a.batch - b.batch;
const iso = (time: number): string => new Date(time).toISOString();
