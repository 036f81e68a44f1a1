import type { Journal, SearchFound, SqlRow, SqlValue } from '../../types/journal.d.ts';
import type { Between, Question, RecordReader } from '../../types/reader.d.ts';
import { HeimdallError } from '../errors.ts';
import { requestsOfCaller } from './callers.ts';
import { lastOf, momentOf, reach, SearchError, sqlite, type Wanted } from './search.ts';

/** How long the requests of a caller are looked for, milliseconds. */
const requestsTime = 40;

/** What a reader asks of a journal. */
export interface ReadJournal extends Pick<Journal, 'query' | 'request'> {
  readonly grep: (...asked: Parameters<Journal['grep']>) => Promise<SearchFound>;
  readonly sum: () => Promise<void>;
}

/** Reads the records of one journal. */
export function journalReader(journal: ReadJournal): RecordReader<number> {
  const query = (sql: string, values?: readonly SqlValue[]): Promise<readonly SqlRow[]> => reading(journal.query(sql, values));
  const ask = async (question: Question): Promise<readonly SqlRow[]> => {
    const { sql, values } = question(sqlite);
    return query(sql, values);
  };
  const at = async (seconds: number): Promise<number | null> => {
    const [row] = await query('SELECT id FROM heimdall_logs WHERE timestamp >= ? ORDER BY timestamp LIMIT 1', [seconds]);
    return row === undefined ? null : Number(row['id']);
  };
  const bounded = async ({ from, to }: Wanted, now: number): Promise<Between | null> => {
    const [row] = await query('SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last FROM heimdall_logs');
    const [first, newest] = [Number(row?.['first']), Number(row?.['last'])];
    if (newest - first < reach) return null;
    const [begin, end] = [from, to].map((text) => (text === undefined ? null : momentOf(text, now)));
    const [low, last] = [typeof begin === 'number' ? ((await at(Math.floor(begin / 1000))) ?? newest) : first, typeof end === 'number' ? ((await at(Math.floor(end / 1000))) ?? newest) : newest];
    return last - low < reach ? null : { after: last - reach, last };
  };
  return {
    instances: 'this',
    position: (text) => (/^\d{1,16}$/.test(text) ? Number(text) : null),
    positionOf: ({ id }) => id,
    latest: async () => Number((await ask(lastOf))[0]?.['last'] ?? 0),
    search: (asked) => reading(journal.grep(asked)), request: (id) => reading(journal.request(id)), ask, sum: () => reading(journal.sum()),
    bounded,
    findings: async () => [],
    finding: async () => null,
    async requestsOf({ kind, id }, limit) {
      const rows: SqlRow[] = [];
      for (let cursor: number | null = null, isMore = true; isMore && rows.length < limit; ) {
        const { records, next, stopped }: SearchFound = await reading(journal.grep({ wanted: {}, callers: [id], grep: null, order: 'newest', limit, cursor, now: 0, time: requestsTime }));
        const { sql, values } = requestsOfCaller(kind, id, records.map((record) => record.id), limit - rows.length);
        rows.push(...(await query(sql, values)));
        cursor = next;
        isMore = next !== null && !stopped;
      }
      return rows;
    },
  };
}

/** A journal that is damaged, or starts again, says so to the reader. */
async function reading<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof HeimdallError || error instanceof SearchError) throw error;
    throw new HeimdallError('records_unavailable', { message: `The records cannot be read from the journal: ${error instanceof Error ? error.message : String(error)}.`, cause: error });
  }
}
