import type { Journal, SearchFound, SqlRow } from '../../types/journal.d.ts';
import type { Question, RecordReader } from '../../types/reader.d.ts';
import { requestsOfCaller } from './callers.ts';
import { lastOf, sqlite } from './search.ts';

/** What a reader asks of a journal. */
export interface ReadJournal extends Pick<Journal, 'query' | 'request'> {
  readonly grep: (...asked: Parameters<Journal['grep']>) => Promise<SearchFound>;
  readonly sum: () => Promise<void>;
}

/** Reads the records of one journal. */
export function journalReader({ query, request, grep, sum }: ReadJournal): RecordReader<number> {
  const ask = async (question: Question): Promise<readonly SqlRow[]> => {
    const { sql, values } = question(sqlite);
    return query(sql, values);
  };
  return {
    instances: 'this',
    position: (text) => (/^\d{1,16}$/.test(text) ? Number(text) : null),
    positionOf: ({ id }) => id,
    latest: async () => Number((await ask(lastOf))[0]?.['last'] ?? 0),
    search: grep, request, ask, sum,
    findings: async () => [],
    async requestsOf({ kind, id }, limit) {
      const { sql, values } = requestsOfCaller(kind, id, limit);
      return query(sql, values);
    },
  };
}
