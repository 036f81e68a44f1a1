import type { DatabaseSync } from 'node:sqlite';
import type { AuditRecord } from '../../types/record.d.ts';
import { signerOf } from '../../lib/journal/hash-chain.ts';
import { readRequest } from '../../lib/journal/query.ts';
import { Store } from '../../lib/journal/store.ts';
import { MemberScan } from '../../lib/http/json-scan.ts';
import type { RawRecord } from '../../lib/record/decode.ts';

import { RecordBuilder, type RecordBuilderOptions } from '../../lib/record/builder.ts';
import { secret, start } from './written.ts';

const caller = 'sk-callersecretcallersecretcallersecretcallersecret';

const usual: RawRecord = {
  intent: false, isRecorded: true, isLined: true, id: '', time: start, method: 'POST', url: '/v1/messages', httpVersion: '1.1', ip: '192.0.2.1', forwardedFor: '',
  status: 200, duration: 12, outcome: 'served', device: 'd'.repeat(64), tokenId: 'a'.repeat(16), tokenMask: 'sk-…abcd', token: null, key: null, userId: null, ja4: null, country: null, model: 'm', stream: true, target: 'newapi', attempts: 1,
  upstreamRequestId: null, queueWait: 0, firstByte: null, overhead: null, prompt: null, completion: null, cached: null, reasoning: null, estimated: false, reserved: null, settled: null, cost: null, bytesIn: 1, bytesOut: 1, rules: null,
  route: '/v1/messages', class: 'model', answerType: null, answerEncoding: null, source: 'gate', headers: ['User-Agent', 'claude-cli/2.1.197 (external, sdk-cli)', 'Content-Type', 'application/json', 'Authorization', `Bearer ${caller}`],
  cookies: null, body: null, outline: null, bodyTotal: 0, answer: null, answerTotal: 0, fingerprint: null,
};

/** A journal into which bodies are written as the worker does it. */
export interface BodyJournal {
  /** @returns the id of the request. */
  write(body: string, more?: Partial<RawRecord>): string;
  /** The record with its request put together again. */
  read(id: string): AuditRecord;
  readonly builder: RecordBuilder;
  readonly store: Store;
}

/** What the scan on the main thread finds. */
function outlineOf(body: Buffer): Int32Array | null {
  const scan = new MemberScan({ bytes: (from, to) => body.subarray(from, to) });
  scan.push(body);
  return scan.end() === null ? null : scan.outline();
}

/** Of the bodies every other one comes with what a scan has found in it. @param options laid over the defaults of the configuration. */
export function bodyJournal(db: DatabaseSync, options: Partial<RecordBuilderOptions> = {}): BodyJournal {
  const store = new Store(db, 'session', signerOf(secret));
  const builder = new RecordBuilder({ secret, hidden: ['the-configured-secret'], capture: { headers: 'safe', body: 10_240, text: 32_768, response: 0 }, fingerprint: 'md5', queryAllow: [], ...options });
  let count = 0;
  return {
    store,
    builder,
    write(text, more = {}) {
      const body = Buffer.from(text);
      const id = `0198aaaa-0000-7000-8000-${String(++count).padStart(12, '0')}`;
      const texts = new Map();
      const row = builder.build({ ...usual, id, body: [body], outline: count % 2 === 0 ? outlineOf(body) : null, bodyTotal: body.length, bytesIn: body.length, ...more }, texts);
      store.write({ records: [row], texts, intents: [], cursors: [], seq: count, now: start + count * 1000 });
      return id;
    },
    read: (id) => readRequest(db, id) as AuditRecord,
  };
}
