import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Memo } from '../platform/platform.ts';
import { digestsIn, headerDigestsIn, type Lookup, type LongText, type RecordRow, type RowTexts, type StoredText, textOfContent, wholeHeaders } from '../record/record.ts';

/** Rows of texts that are remembered by their digest. */
const maxIds = 50_000;
/** Characters of headers that a reader remembers in each of two generations. */
const readerRoom = 500_000;

interface Row {
  readonly id: number;
  readonly digest: string;
  readonly before: number | null;
  readonly uses: number;
  readonly label: string | null;
  readonly size: number;
  readonly content: Uint8Array | null;
}

/**
 * The long texts of requests, which are parts of bodies, and headers: rows that records name by a digest, each counted by the records that name it and by the text that
 * follows it in a list. Every method has to be called in a transaction.
 */
export class TextTable {
  readonly #find: StatementSync;
  readonly #insert: StatementSync;
  readonly #count: StatementSync;
  readonly #ids = new Map<string, number>();
  /** Uses that were added in this transaction, and its texts. */
  readonly #added = new Map<number, number>();
  #texts: LongText[] = [];

  constructor(db: DatabaseSync) {
    this.#find = db.prepare('SELECT id FROM heimdall_texts WHERE digest = ?');
    this.#insert = db.prepare('INSERT INTO heimdall_texts (digest, before, uses, record, label, size, content) VALUES (?, ?, 0, ?, ?, ?, ?)');
    this.#count = db.prepare('UPDATE heimdall_texts SET uses = uses + ? WHERE id = ?');
  }

  /** Whether the texts are there or can be added: one may be gone, and nothing left to add it from. */
  has(texts: readonly LongText[]): boolean {
    return texts.every((text) => this.#missing(text).every(({ content, digest }) => content !== null || digest[0] === '~'));
  }

  /** Adds the texts of a body that are not there. Once they are committed they are kept nowhere else. @param record position of the record. */
  add(texts: readonly LongText[], record: number): void {
    for (const text of texts) this.name(text, record);
    this.#texts.push(...texts);
  }

  /** Adds a text that is not there, with those before it, and counts a record that names it. @param record the one that has brought it. */
  name(text: LongText, record: number): void {
    const missing = this.#missing(text);
    const before = missing.length === 0 ? text : (missing.at(-1) as LongText).before;
    let id = before === null ? null : this.#known(before.digest);
    for (const each of missing.reverse()) id = this.#addOne(each, id, record);
    this.#use(id as number);
  }

  /** Writes the counts. Called at the end of a transaction. */
  settle(): void {
    for (const [id, uses] of this.#added) this.#count.run(uses, id);
    this.#added.clear();
  }

  /** The transaction is committed: the texts need not be kept anywhere else. */
  committed(): void {
    for (const text of this.#texts) for (let next: LongText | null = text; next !== null && next.content !== null; next = next.before) next.content = null;
    this.#texts = [];
  }

  /** Forgets what it knows of the table: the transaction failed, or others have changed it. */
  reset(): void {
    this.#ids.clear();
    this.#added.clear();
    this.#texts = [];
  }

  /** A text and those before it that are not there, the last one first. */
  #missing(text: LongText): LongText[] {
    const missing: LongText[] = [];
    for (let next: LongText | null = text; next !== null && this.#known(next.digest) === null; next = next.before) missing.push(next);
    return missing;
  }

  #known(digest: string): number | null {
    const id = this.#ids.get(digest) ?? (this.#find.get(digest) as { id: number } | undefined)?.id;
    if (id !== undefined) this.#remember(digest, id);
    return id ?? null;
  }

  #addOne({ digest, label, size, content }: LongText, before: number | null, record: number): number {
    const id = Number(this.#insert.run(digest, before, record, label, size, content).lastInsertRowid);
    if (before !== null) this.#use(before);
    this.#remember(digest, id);
    return id;
  }

  #use(id: number): void {
    this.#added.set(id, (this.#added.get(id) ?? 0) + 1);
  }

  #remember(digest: string, id: number): void {
    if (this.#ids.size >= maxIds) this.#ids.clear();
    this.#ids.set(digest, id);
  }
}

/** What of a record names texts. */
type Naming = Readonly<Record<'request_headers' | 'request_texts', unknown>>;

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** The digests of all texts that a record names. */
export const digestsOf = ({ request_headers: headers, request_texts: places }: Naming): string[] => [...headerDigestsIn(textOrNull(headers)), ...digestsIn(textOrNull(places))];

/**
 * Lets go of the texts that records name, before the records or their bodies are erased, and removes those that nothing names any more.
 * @param of the records with all that is in them, or their bodies alone. @param condition which records.
 * @returns the digests of the removed texts.
 */
export function releaseTexts(db: DatabaseSync, of: 'records' | 'bodies', condition: string, ...values: readonly (number | string)[]): string[] {
  const named = db.prepare(`SELECT ${of === 'bodies' ? 'NULL AS ' : ''}request_headers, request_texts FROM heimdall_logs WHERE ${condition}`).all(...values) as Naming[];
  const counts = new Map<string, number>();
  for (const digest of named.flatMap(digestsOf)) counts.set(digest, (counts.get(digest) ?? 0) + 1);
  const removed: string[] = [];
  const take = db.prepare('UPDATE heimdall_texts SET uses = uses - ? WHERE digest = ? RETURNING id, digest, before, uses');
  const takeOne = db.prepare('UPDATE heimdall_texts SET uses = uses - 1 WHERE id = ? RETURNING id, digest, before, uses');
  const remove = db.prepare('DELETE FROM heimdall_texts WHERE id = ?');
  for (const [digest, count] of counts) {
    let row = take.get(count, digest) as Pick<Row, 'id' | 'digest' | 'before' | 'uses'> | undefined;
    while (row !== undefined && row.uses <= 0) {
      remove.run(row.id);
      removed.push(row.digest);
      row = row.before === null ? undefined : (takeOne.get(row.before) as typeof row);
    }
  }
  return removed;
}

/** Finds the texts of a journal, one after the other. A journal of schema 1 has none. */
export function textLookup(db: DatabaseSync): Lookup {
  const find = db.prepare('SELECT texts.label, texts.size, texts.content, earlier.digest AS before FROM heimdall_texts AS texts LEFT JOIN heimdall_texts AS earlier ON earlier.id = texts.before WHERE texts.digest = ?');
  return (digest) => {
    const row = find.get(digest) as (Omit<Row, 'before'> & { before: string | null }) | undefined;
    return row === undefined ? null : stored(row);
  };
}

/** Puts the headers of records together again, and remembers those that many have in common. A journal of schema 1 has none. */
export function headerReader(lookup: Lookup): (kept: unknown) => string | null {
  const known = new Memo<StoredText>(readerRoom, 64);
  const remembering: Lookup = (digest) => {
    const found = known.get(digest);
    if (found !== undefined) return found;
    const text = lookup(digest);
    if (text !== null) known.set(digest, text, text.content?.length);
    return text;
  };
  return (kept) => wholeHeaders(textOrNull(kept), remembering);
}

function stored({ label, size, before, content }: Omit<Row, 'before'> & { before: string | null }): StoredText {
  return { before, label, size, content: content === null ? null : contentOf(content) };
}

/** The text of a content; a description of one that is damaged. */
function contentOf(content: Uint8Array): string {
  try {
    return textOfContent(content);
  } catch {
    return '[damaged]';
  }
}

/** The texts that rows name, with their contents: for another journal that gets the rows. */
export function textsOf(db: DatabaseSync, rows: readonly RecordRow[]): RowTexts {
  const find = db.prepare('SELECT digest, before, label, size, content FROM heimdall_texts WHERE digest = ?');
  const findOne = db.prepare('SELECT digest, before, label, size, content FROM heimdall_texts WHERE id = ?');
  const made = new Map<string, LongText>();
  const textOf = (digest: string): LongText | null => {
    const chain: Omit<Row, 'id' | 'uses'>[] = [];
    let row = find.get(digest) as Omit<Row, 'id' | 'uses'> | undefined;
    for (; row !== undefined && !made.has(row.digest); row = row.before === null ? undefined : (findOne.get(row.before) as typeof row)) chain.push(row);
    let before = row === undefined ? null : (made.get(row.digest) ?? null);
    for (const { digest: of, label, size, content } of chain.reverse()) {
      before = { digest: of, before, label, size, count: 0, content: content === null ? null : Buffer.from(content), opens: false };
      made.set(of, before);
    }
    return before;
  };
  const found: RowTexts = new Map();
  for (const row of rows) {
    const [headers = null] = headerDigestsIn(textOrNull(row.request_headers)).map(textOf);
    const body = digestsIn(textOrNull(row.request_texts)).map(textOf).filter((text) => text !== null);
    if (headers !== null || body.length > 0) found.set(row, { headers, body });
  }
  return found;
}
