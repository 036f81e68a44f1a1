import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import { transaction } from './database.ts';

/** Records of a block, by their position. */
const blockSize = 16_384;
/** Records that are read, values that are sorted, and rows that are written in one step, so that no commit waits longer than some milliseconds. */
const stepSize = 256;
const stepValues = 2048;
const stepRows = 64;
/** A value that more records of a block have is common: they are met soon without their positions. */
const mostPositions = 256;
/** Characters of a value that are kept, fewer of a hash, and of a row: it stays on its page. */
const mostKept = 24;
const mostHash = 16;
const rowSize = 900;
/** Between a value and its positions, and between values; no kept value has them. */
const [within, between] = ['\u0002', '\u0001'];

/** The columns whose values are known by block. */
const columns = [
  'key_id', 'token_id', 'user_id', 'real_ip', 'device_fingerprint', 'session', 'device_id', 'session_id', 'home_id', 'client', 'content_fingerprint', 'response_status', 'outcome', 'model', 'route', 'target', 'source', 'upstream_request_id',
] as const;

/** What a filter looks for in a column: a value, or how values begin. */
export interface Sought {
  readonly column: (typeof columns)[number];
  readonly text: string;
  readonly begins?: boolean;
}

/** For each filter what may make it true. */
export type Wants = readonly (readonly Sought[])[];

/**
 * The tables of the places: in which records of a block a value occurs, and which blocks are known, with the id of their last record
 * and the times of all.
 */
export const placesSchema = `CREATE TABLE IF NOT EXISTS sums.heimdall_places (what TEXT NOT NULL, block INTEGER NOT NULL, first TEXT NOT NULL, entries TEXT NOT NULL, PRIMARY KEY (what, block, first)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sums.heimdall_blocks (block INTEGER PRIMARY KEY, last TEXT NOT NULL, begin INTEGER NOT NULL, until INTEGER NOT NULL);`;

/** A value as it is kept: what is left out or replaced can only make more values look alike. */
const kept = (text: string): string => (text.length > mostHash && isHash.test(text) ? text.slice(0, mostHash) : isPlain.test(text) ? text.slice(0, mostKept) : text.slice(0, mostKept).replace(/[^\x20-\x7e]/g, '?'));
const isHash = /^[0-9a-f]+$/;
const isPlain = /^[\x20-\x7e]*$/;

/** Positions, as the distance of each from the one before. */
const packed = (positions: readonly number[]): string => positions.map((position, at) => (position - (positions[at - 1] ?? 0)).toString(36)).join(' ');

/** Whether the blocks are those of this journal: one that was put back from a backup has other records, or fewer erasures. */
function areOf(db: DatabaseSync, blocks: readonly Readonly<Record<string, SQLOutputValue>>[]): boolean {
  if (forgottenUpTo(db) > lastErasure(db)) return false;
  const newest = blocks.at(-1);
  if (newest === undefined) return true;
  const last = db.prepare('SELECT request_id FROM main.heimdall_logs WHERE id < ? ORDER BY id DESC LIMIT 1').get((Number(newest['block']) + 1) * blockSize);
  return last?.['request_id'] === newest['last'];
}

const blocksSql = 'SELECT block, last, begin, until FROM sums.heimdall_blocks ORDER BY block';

/** A part of the journal to look through: from one position to another, both among them, and only these of them where they are known. */
export interface Stretch {
  readonly first: number;
  readonly last: number;
  readonly ids: readonly number[] | null;
}

/** Tells where records may be that pass filters. Without sums, nothing is known of any block. */
export class Places {
  readonly #db: DatabaseSync;
  readonly #wants: Wants;
  readonly #blocks = new Map<number, { readonly begin: number; readonly until: number }>();
  #lookup: StatementSync | null = null;
  #still: StatementSync | null = null;

  /** @param from Unix seconds, as `to`: records before, or from there on, do not count. */
  constructor(db: DatabaseSync, wants: Wants, from: number | null, to: number | null) {
    this.#db = db;
    this.#wants = wants;
    if (wants.length === 0 && from === null && to === null) return;
    try {
      const blocks = db.prepare(blocksSql).all();
      if (areOf(db, blocks)) for (const { block, begin, until } of blocks) this.#blocks.set(Number(block), { begin: Number(begin), until: Number(until) });
    } catch {
      // A journal without sums is looked through.
    }
    for (const [block, { begin, until }] of this.#blocks) if ((from !== null && until < from) || (to !== null && begin >= to)) this.#blocks.set(block, nothing);
  }

  /**
   * The next part to look through, beginning with a position.
   * @param edge the last position of a part that is looked through without more being known.
   * @returns `ids` is empty where nothing is in it.
   */
  next(position: number, edge: number): Stretch {
    const block = Math.floor(position / blockSize);
    const isDown = edge <= position;
    const end = isDown ? block * blockSize : (block + 1) * blockSize - 1;
    const known = this.#blocks.get(block);
    const part = (to: number, ids: readonly number[] | null): Stretch => ({ first: Math.min(position, to), last: Math.max(position, to), ids });
    if (known === nothing) return part(end, []);
    if (known === undefined) return part(this.#untilKnown(block, edge, isDown), null);
    const ids = this.#idsIn(block);
    return ids === null ? part(isDown ? Math.max(edge, end) : Math.min(edge, end), null) : part(end, ids);
  }

  /** The last position before a block of which more is known. */
  #untilKnown(block: number, edge: number, isDown: boolean): number {
    if (this.#blocks.size === 0) return edge;
    const step = isDown ? -1 : 1;
    let at = block;
    for (const last = Math.floor(edge / blockSize); at !== last && !this.#blocks.has(at + step); ) at += step;
    return isDown ? Math.max(edge, at * blockSize) : Math.min(edge, (at + 1) * blockSize - 1);
  }

  /** The positions in a block that may pass all filters; null: any. */
  #idsIn(block: number): readonly number[] | null {
    const all: ReadonlySet<number>[] = [];
    for (const alternatives of this.#wants) {
      const few = this.#anyOf(block, alternatives);
      if (few === null) continue;
      all.push(few);
    }
    const [first, ...others] = all;
    // Places that were removed meanwhile say nothing.
    if (first === undefined || (this.#still ??= this.#db.prepare('SELECT 1 FROM sums.heimdall_blocks WHERE block = ?')).get(block) === undefined) return null;
    return [...first].filter((at) => others.every((few) => few.has(at))).map((at) => block * blockSize + at);
  }

  #anyOf(block: number, alternatives: readonly Sought[]): ReadonlySet<number> | null {
    const found = new Set<number>();
    for (const { column, text, begins = false } of alternatives) {
      const start = kept(text);
      // An empty value is not noted.
      if (start === '') return null;
      // What is too long to be kept whole may go on in any way.
      const isStart = begins && start.length < mostKept;
      for (const { entries } of (this.#lookup ??= this.#db.prepare(lookupSql)).all({ what: column, block, low: start, high: isStart ? `${start}\x7f` : start })) {
        for (const entry of String(entries).split(between)) {
          const cut = entry.indexOf(within);
          if (isStart ? !entry.startsWith(start) : cut !== start.length || !entry.startsWith(start)) continue;
          if (cut === entry.length - 1) return null;
          let position = 0;
          for (const distance of entry.slice(cut + 1).split(' ')) found.add((position += Number.parseInt(distance, 36)));
        }
      }
    }
    return found;
  }
}

const nothing = { begin: 0, until: 0 };

const lookupSql = `SELECT entries FROM sums.heimdall_places WHERE what = $what AND block = $block AND first <= $high
  AND first >= coalesce((SELECT max(first) FROM sums.heimdall_places WHERE what = $what AND block = $block AND first <= $low), '')`;

/** The last erasure whose records have no places any more. */
const forgottenUpTo = (db: DatabaseSync): number => Number(db.prepare("SELECT record FROM sums.heimdall_summed WHERE what = 'places'").get()?.['record'] ?? 0);

const lastErasure = (db: DatabaseSync): number => Number(db.prepare('SELECT coalesce(max(erasure), 0) AS last FROM main.heimdall_erasures').get()?.['last']);

/** Removes what is known of blocks with records that were erased since the last time. @param logs the schema of the journal. */
export function forgetPlaces(db: DatabaseSync, logs: 'main' | 'journal'): void {
  const erasures = db.prepare(`SELECT erasure, ids FROM ${logs}.heimdall_erasures WHERE erasure > ? ORDER BY erasure`).all(forgottenUpTo(db));
  const last = erasures.at(-1)?.['erasure'];
  if (last === undefined) return;
  const blocks = JSON.stringify([...new Set(erasures.flatMap(({ ids }) => String(ids).split(' ').map((id) => Math.floor(Number(id) / blockSize))))]);
  for (const what of columns) db.prepare('DELETE FROM sums.heimdall_places WHERE what = ? AND block IN (SELECT value FROM json_each(?))').run(what, blocks);
  db.prepare('DELETE FROM sums.heimdall_blocks WHERE block IN (SELECT value FROM json_each(?))').run(blocks);
  db.prepare("INSERT OR REPLACE INTO sums.heimdall_summed (what, record) VALUES ('places', ?)").run(Number(last));
}

type Row = readonly (string | number | null)[];

/**
 * Notes for blocks of records where which value occurs, so that a filter that few records pass finds them without reading the others:
 * an index for each column would cost each record as much as the record itself. It works in small steps when there is time, the
 * latest block first.
 */
export class PlaceKeeper {
  readonly #db: DatabaseSync;
  /** The block that is read, up to which record of it, and where its values are. */
  #block: number | null = null;
  #read = 0;
  #values: Map<string, number[]>[] = [];
  #times = [Infinity, 0] as [number, number];
  /** The last erasure when the block was begun. */
  #erasure = 0;
  /** What is to be written of it, in steps; null while it is read. */
  #rows: Generator<PlaceRow | null, null> | null = null;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Works for some milliseconds. @returns whether there is more to do. */
  step(): boolean {
    if (this.#block === null) return this.#begin();
    if (this.#read < blockSize) this.#readSome();
    else if (!this.#write()) this.#abandon();
    return true;
  }

  /** Chooses the latest whole block that is not known. */
  #begin(): boolean {
    const { low, high } = this.#db.prepare('SELECT coalesce(min(id), 0) AS low, coalesce(max(id), 0) AS high FROM main.heimdall_logs').get() as { low: number; high: number };
    const blocks = this.#db.prepare(blocksSql).all();
    // Positions begin with 1.
    const least = Math.ceil((low - 1) / blockSize);
    if (!areOf(this.#db, blocks)) this.#remove('', "DELETE FROM sums.heimdall_summed WHERE what = 'places'");
    else if (Number(blocks[0]?.['block'] ?? least) < Math.floor(low / blockSize)) this.#remove(` WHERE block < ${Math.floor(low / blockSize)}`);
    this.#erasure = lastErasure(this.#db);
    if (this.#erasure > forgottenUpTo(this.#db)) transaction(this.#db, () => forgetPlaces(this.#db, 'main'));
    const known = new Set(this.#db.prepare(blocksSql).all().map(({ block }) => Number(block)));
    for (let block = Math.floor((high + 1) / blockSize) - 1; block >= least; block--) {
      if (known.has(block)) continue;
      this.#block = block;
      this.#read = 0;
      this.#rows = null;
      this.#values = columns.map(() => new Map());
      this.#times = [Infinity, 0];
      // One that was begun may have ended with its process.
      this.#remove(` WHERE block = ${block}`);
      return true;
    }
    return false;
  }

  #remove(where: string, further = ''): void {
    transaction(this.#db, () => {
      for (const what of columns) this.#db.prepare(`DELETE FROM sums.heimdall_places WHERE what = ?${where.replace('WHERE', 'AND')}`).run(what);
      this.#db.exec(`DELETE FROM sums.heimdall_blocks${where}; ${further}`);
    });
  }

  #readSome(): void {
    const first = (this.#block as number) * blockSize + this.#read;
    const reading = this.#db.prepare(`SELECT id, timestamp, ${columns.join(', ')} FROM main.heimdall_logs WHERE id >= ? AND id < ?`);
    reading.setReturnArrays(true);
    for (const [id, time, ...values] of reading.all(first, first + stepSize) as unknown as Row[]) {
      this.#times = [Math.min(this.#times[0], Number(time)), Math.max(this.#times[1], Number(time))];
      for (let at = 0; at < columns.length; at++) {
        const value = values[at];
        if (value !== null && value !== '') this.#note(this.#values[at] as Map<string, number[]>, kept(String(value)), Number(id) % blockSize);
      }
    }
    this.#read += stepSize;
  }

  #note(places: Map<string, number[]>, value: string, at: number): void {
    const known = places.get(value);
    if (known === undefined) places.set(value, [at]);
    else if (known.length <= mostPositions) known.push(at);
  }

  /** Writes some rows, or at last that the block is known: its places count from then on. @returns false when records were erased meanwhile: what was read of them must not come back. */
  #write(): boolean {
    const block = this.#block as number;
    const rows = (this.#rows ??= rowsOf(this.#values));
    return transaction(this.#db, () => {
      if (lastErasure(this.#db) !== this.#erasure) return false;
      const insert = this.#db.prepare('INSERT OR REPLACE INTO sums.heimdall_places (what, block, first, entries) VALUES (?, ?, ?, ?)');
      for (let written = 0; written < stepRows; written++) {
        const { value: row, done } = rows.next();
        if (done === true) return this.#known(block);
        if (row === null) return true;
        insert.run(row.what, block, row.first, row.entries);
      }
      return true;
    });
  }

  #known(block: number): true {
    const last = this.#db.prepare('SELECT request_id FROM main.heimdall_logs WHERE id < ? ORDER BY id DESC LIMIT 1').get((block + 1) * blockSize);
    this.#db.prepare('INSERT OR REPLACE INTO sums.heimdall_blocks (block, last, begin, until) VALUES (?, ?, ?, ?)').run(block, String(last?.['request_id']), Math.min(...this.#times), this.#times[1]);
    this.#block = null;
    return true;
  }

  #abandon(): void {
    this.#remove(` WHERE block = ${this.#block}`);
    this.#block = null;
  }
}

interface PlaceRow {
  readonly what: string;
  /** The first value. */
  readonly first: string;
  readonly entries: string;
}

/** The values of each column in their order, with their positions, in rows that are as long as one may be; null where a step has to end. */
function* rowsOf(values: readonly ReadonlyMap<string, readonly number[]>[]): Generator<PlaceRow | null, null> {
  for (const [nth, what] of columns.entries()) {
    const places = values[nth] as ReadonlyMap<string, readonly number[]>;
    let first = '';
    let entries = '';
    for (const value of sorted([...places.keys()])) {
      if (value === null) {
        yield null;
        continue;
      }
      const at = places.get(value) as readonly number[];
      if (entries === '') first = value;
      entries += `${entries === '' ? '' : between}${value}${within}${at.length > mostPositions ? '' : packed(at)}`;
      if (entries.length < rowSize) continue;
      yield { what, first, entries };
      entries = '';
    }
    if (entries !== '') yield { what, first, entries };
  }
  return null;
}

/** Sorts in parts, which are then merged; null behind each part. */
function* sorted(values: readonly string[]): Generator<string | null> {
  const parts: string[][] = [];
  for (let from = 0; from < values.length; from += stepValues) {
    // The least one last, where it is taken from.
    parts.push(values.slice(from, from + stepValues).sort().reverse());
    if (values.length > stepValues) yield null;
  }
  for (let left = values.length; left > 0; left--) {
    let least = parts[0] as string[];
    for (const part of parts) if (part.length > 0 && (least.length === 0 || (part.at(-1) as string) < (least.at(-1) as string))) least = part;
    yield least.pop() as string;
  }
}
