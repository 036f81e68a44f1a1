import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AccessLineWriter } from '../../lib/access-log/lines.ts';
import { Segment } from '../../lib/record/segment.ts';
import type { FromWorker, Kind, RecordMemory } from '../../lib/record/messages.ts';
import { put, putNonsense } from '../support/segments.ts';

const add = (segment: Segment, kind: Kind, id: string): boolean => put(segment, { kind, id, url: '/x', numbers: { status: 200, duration: 1 } });
const idOf = (n: number): string => `01890a5d-ac96-774b-bcce-00000000000${n}`;

/** Requests that leave lines alone. */
function unplaced(...ids: readonly string[]): RecordMemory {
  const segment = new Segment();
  for (const id of ids) add(segment, 'line', id);
  return segment.content;
}

/** What a worker's lines say, by batch. @param isShown whether the console wants them. */
function lines(format: 'json' | null, isShown = true): { readonly lines: AccessLineWriter; said(): unknown[] } {
  const told: FromWorker[] = [];
  const ids = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString().split('\n').slice(0, -1).map((line) => (JSON.parse(line) as { id: string }).id.slice(-1));
  return { lines: new AccessLineWriter(format === null ? null : { format, file: false, maxSize: 1024, maxFiles: 1, isShown }, { queryAllow: [], hidden: [] }, (message) => told.push(message)), said: () => told.map((message) => (message.kind === 'lines' ? [message.seq, message.bytes && ids(message.bytes)] : message)) };
}

describe('the access lines of a batch', () => {
  it('are those of requests that are over, recorded or not', () => {
    const segment = new Segment();
    for (const [n, kind] of (['record', 'intent', 'line', 'record'] as const).entries()) add(segment, kind, idOf(n));
    segment.append({ record: { time: 0, source: 'test', request_method: 'GET', request_path: '/', real_ip: '', response_status: 200, response_time: 1 }, id: idOf(9), route: '/', class: 'ui' });
    const { lines: made, said } = lines('json');
    const marked = made.writeEarly(segment.message(7, 0, []));
    assert.deepEqual(said(), [[7, ['0', '2', '3']]]);
    assert.equal(made.writeEarly(marked).isLined, true);
    assert.equal(said().length, 1);
  });

  it('are made of records that leave nothing else, of which nothing stays', () => {
    const { lines: made, said } = lines('json');
    const spared = [unplaced(idOf(1)), unplaced(idOf(2), idOf(3))];
    made.writeUnplaced(spared);
    assert.deepEqual(said(), [[null, ['1', '2', '3']]]);
    for (const { memory } of spared) assert.ok(Buffer.from(memory).every((byte) => byte === 0));
  });

  it('that cannot be made are left out', () => {
    const { lines: made, said } = lines('json');
    const segment = new Segment();
    putNonsense(segment);
    add(segment, 'line', 'no id');
    add(segment, 'line', idOf(3));
    made.writeUnplaced([segment.content]);
    assert.deepEqual(said(), [[null, ['3']]]);
  });

  it('are not handed back where nobody wants to see them', () => {
    const { lines: made, said } = lines('json', false);
    made.writeUnplaced([unplaced(idOf(1))]);
    assert.deepEqual(said(), [[null, null]]);
  });

  it('are not made when nobody reads them, and the next part is asked for', () => {
    const { lines: made, said } = lines(null);
    made.writeUnplaced([unplaced(idOf(1))]);
    assert.deepEqual(said(), []);
  });
});
