import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Lines } from '../../lib/record/lines.ts';
import { Segment } from '../../lib/record/segment.ts';
import { fieldEnd, fields, recordEnd, type FromWorker } from '../../lib/record/wire.ts';

const text = (kind: string, id: string): string => fields.map((name) => ({ kind, id, url: '/x' })[name as string] ?? '').join(fieldEnd) + recordEnd;
const idOf = (n: number): string => `01890a5d-ac96-774b-bcce-00000000000${n}`;

/** What a worker's lines say, by batch. */
function lines(format: 'json' | null): { readonly lines: Lines; said(): unknown[] } {
  const told: FromWorker[] = [];
  const ids = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString().split('\n').slice(0, -1).map((line) => (JSON.parse(line) as { id: string }).id.slice(-1));
  return { lines: new Lines(format, [], (message) => told.push(message)), said: () => told.map((message) => (message.kind === 'lines' ? [message.seq, ids(message.bytes)] : message)) };
}

describe('the access lines of a batch', () => {
  it('are those of requests that are over, recorded or not', () => {
    const segment = new Segment();
    for (const [n, kind] of ['r', 'i', 'l', 'r'].entries()) segment.add(text(kind, idOf(n)), null, 0, null, 0);
    segment.append({ record: { time: 0, source: 'test', request_method: 'GET', request_path: '/', real_ip: '', response_status: 200, response_time: 1 }, id: idOf(9), route: '/', class: 'ui' });
    const { lines: made, said } = lines('json');
    const marked = made.early(segment.message(7, 0, []));
    assert.deepEqual(said(), [[7, ['0', '2', '3']]]);
    assert.equal(made.early(marked).isLined, true);
    assert.equal(said().length, 1);
  });

  it('are made of records that are nothing but text', () => {
    const { lines: made, said } = lines('json');
    made.ofTexts(text('r', idOf(1)) + text('r', idOf(2)));
    assert.deepEqual(said(), [[null, ['1', '2']]]);
  });

  it('that cannot be made are left out', () => {
    const { lines: made, said } = lines('json');
    made.ofTexts(`no record${recordEnd}${text('r', 'no id')}${text('r', idOf(3))}`);
    assert.deepEqual(said(), [[null, ['3']]]);
  });

  it('are not made when nobody reads them, and the next part is asked for', () => {
    const { lines: made, said } = lines(null);
    made.ofTexts(text('r', idOf(1)));
    assert.deepEqual(said(), []);
  });
});
