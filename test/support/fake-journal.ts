import type { Journal, JournalStats } from '../../types/journal.d.ts';
import type { AuditRecord } from '../../types/record.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';

/** A journal that lives in an array, for what follows one. */
export interface FakeJournal extends Journal {
  /** Adds so many records and tells that they are committed. */
  write(count: number, more?: (nth: number) => Partial<AuditRecord>): void;
  sign(record: number): void;
  /** Where a cursor is; what a crash would leave of it is `kept`. */
  readonly cursors: Map<string, number>;
  readonly kept: ReadonlyMap<string, number>;
  records: AuditRecord[];
  /** Makes every read fail. */
  broken: boolean;
  /** Reads so far. */
  readonly reads: number;
}

/** A record with nothing unusual in it. */
export function aRecord(id: number, more: Partial<AuditRecord> = {}): AuditRecord {
  return {
    id, user_id: null, token_key: 'sk-…last', request_path: `/v1/chat/completions`, request_method: 'POST', real_ip: '192.0.2.7', forwarded_for: '192.0.2.7, 127.0.0.1',
    user_agent: 'openai-python/1.2', request_headers: '{"accept":"*/*"}', request_body: '{"model":"gpt-4o"}', content_fingerprint: 'd41d8cd98f00b204e9800998ecf8427e',
    device_fingerprint: 'a'.repeat(64), cookies: null, response_status: 200, response_time: 12, timestamp: 1_767_571_200,
    request_id: `01980000-0000-7000-8000-${id.toString(16).padStart(12, '0')}`, upstream_request_id: null, token_id: '0123456789abcdef', key_id: null, session: 'fedcba9876543210',
    client: 'openai-python/1', route: '/v1/chat/completions', query: null, model: 'gpt-4o', stream: true, target: 'newapi', attempts: 1, outcome: 'served', would_refuse: [],
    queue_wait: 0.25, first_byte: 10.5, overhead: 0.5, prompt_tokens: 10, completion_tokens: 20, tokens_reserved: null, tokens_settled: null, tokens_released: null, cost: 0.001,
    bytes_in: 18, bytes_out: 200, ja4: null, country: null, device_id: null, session_id: null, home_id: null, source: 'gate', response_body: null, ...more,
  };
}

const stats = (lastId: number): JournalStats => ({
  state: { kind: 'open' }, lastId, written: lastId, dropped: { queue: 0, full: 0, invalid: 0, size: 0, memory: 0, undelivered: 0 }, waiting: 0, waitingBytes: 0, bytes: 0,
  writeCounts: new Float64Array(), writeSum: 0, checkpoint: null,
});

/** Starts empty. */
export function fakeJournal(): FakeJournal {
  const written = new Set<(lastId: number) => void>();
  const signed = new Set<(checkpoint: Checkpoint) => void>();
  const kept = new Map<string, number>();
  let last = 0;
  let reads = 0;
  const unused = (): never => {
    throw new Error('nothing that follows a journal needs this');
  };
  const journal: FakeJournal = {
    records: [],
    broken: false,
    cursors: new Map(),
    kept,
    get reads() {
      return reads;
    },
    write(count, more = () => ({})) {
      for (let nth = 0; nth < count; nth++) journal.records.push(aRecord(++last, more(last)));
      for (const listener of written) listener(last);
    },
    sign: (record) => {
      for (const listener of signed) listener({ batch: 1, record, time: 1, hash: 'ab', key: 'key', signature: `signature of ${record}` });
    },
    open: async () => undefined,
    append: unused,
    pack: unused,
    query: unused,
    request: unused,
    grep: unused,
    forget: unused,
    learn: unused,
    async read(after, limit) {
      reads++;
      if (journal.broken) throw new Error('the disk is gone');
      return journal.records.filter(({ id }) => id > after).slice(0, limit);
    },
    cursor: async (sink) => journal.cursors.get(sink) ?? 0,
    claim: async () => true,
    onOpened: () => () => undefined,
    advance: (sink, id) => void journal.cursors.set(sink, id),
    abandon: (sink) => void journal.cursors.delete(sink),
    onWritten: (listener) => {
      written.add(listener);
      return () => void written.delete(listener);
    },
    onCheckpoint: (listener) => {
      signed.add(listener);
      return () => void signed.delete(listener);
    },
    async flush() {
      for (const [sink, id] of journal.cursors) kept.set(sink, id);
    },
    stats: () => stats(last),
    close: async () => undefined,
  };
  return journal;
}
