import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decode, wipe, type Raw } from '../../lib/record/decode.ts';
import { Outbox } from '../../lib/record/outbox.ts';
import { Segment } from '../../lib/record/segment.ts';
import { textOfStream } from '../../lib/record/stream-text.ts';
import { fieldEnd, fields, recordEnd, type Batch } from '../../lib/record/wire.ts';

/** A record as the main thread writes it. */
function line(of: Partial<Record<(typeof fields)[number], string>>, headers: readonly string[] = []): string {
  return [...fields.map((name) => of[name] ?? ''), ...headers].join(fieldEnd) + recordEnd;
}

const decoded = (segment: Segment): (Raw | null)[] => [...decode(segment.message(1, 0, []))];

describe('a segment', () => {
  it('gives back what was put in, in its order', () => {
    const segment = new Segment();
    const large = Buffer.alloc(100_000, 'L');
    segment.add(line({ kind: 'r', id: 'one', model: '模型', tokenId: 't', tokenEnd: 'abcd' }, ['Host', 'x', 'X-Latin', '\u00e9']), Buffer.from('body one'), 8, Buffer.from('answer'), 60);
    segment.add(line({ kind: 'i', id: 'two' }), null, 0, null, 0);
    segment.add(line({ kind: 'r', id: 'three', cost: '0.5', duration: '12' }), large, large.length, null, 0);
    segment.add(`no record${recordEnd}`, null, 0, null, 0);
    segment.add(line({ kind: 'r', id: 'four' }), Buffer.from('four'), 4, Buffer.from('4'), 1);
    const [one, two, three, none, four] = decoded(segment);
    assert.deepEqual([one?.id, one?.model, one?.tokenMask, one?.headers, String(one?.body), String(one?.answer), one?.answerTotal, one?.intent], ['one', '模型', 'sk-…abcd', ['Host', 'x', 'X-Latin', 'é'], 'body one', 'answer', 60, false]);
    assert.deepEqual([two?.intent, two?.body, two?.tokenMask, two?.cost], [true, null, null, null]);
    assert.deepEqual([three?.cost, three?.duration, three?.body?.length], [0.5, 12, 100_000]);
    assert.deepEqual([none, four?.id, String(four?.body), String(four?.answer)], [null, 'four', 'four', '4']);
  });

  it('holds nothing of them once it is wiped', () => {
    const segment = new Segment();
    segment.add(line({ kind: 'r', id: 'one' }, ['Authorization', 'secret']), Buffer.from('secret body'), 11, Buffer.from('secret answer'), 13);
    segment.add(line({ kind: 'r', id: 'two' }), Buffer.alloc(100_000, 'secret'), 100_000, Buffer.from('secret answer'), 13);
    const batch = segment.message(1, 0, []);
    assert.ok(Buffer.from(batch.memory).includes('secret'));
    wipe(batch);
    for (const memory of [batch.memory, ...batch.large]) assert.ok(Buffer.from(memory).every((byte) => byte === 0));
  });

  it('is the same whatever a header or a body holds', () => {
    const header = fc.string().map((text) => text.replace(/\p{Cc}/gu, ''));
    fc.assert(fc.property(fc.array(fc.tuple(header, header, fc.uint8Array({ maxLength: 200 })), { maxLength: 8 }), (records) => {
      const segment = new Segment();
      for (const [name, value, body] of records) segment.add(line({ kind: 'r', url: value }, [name, value]), body.length === 0 ? null : Buffer.from(body), body.length, null, 0);
      const back = decoded(segment);
      const wellFormed = (text: string): string => text.toWellFormed();
      assert.deepEqual(back.map((raw) => [raw?.headers, raw?.url, [...(raw?.body ?? [])]]), records.map(([name, value, body]) => [[name, value].map(wellFormed), wellFormed(value), [...body]]));
    }));
  });
});

describe('an outbox', () => {
  const big = Buffer.alloc(60_000);

  it('spares what has no place, one part on its way at a time, and no more than it may', () => {
    const outbox = new Outbox();
    assert.equal(outbox.takeSpare(), '');
    outbox.spare('a');
    outbox.spare('b');
    assert.equal(outbox.takeSpare(), 'ab');
    outbox.spare('c');
    assert.equal(outbox.takeSpare(), '');
    for (let n = 0; n < 5000; n++) outbox.spare('x'.repeat(1000));
    outbox.lined(null);
    const spared = outbox.takeSpare();
    assert.ok(spared.startsWith('cx') && spared.length > 4_000_000 && spared.length < 4_200_000, `${spared.length}`);
  });

  it('knows whose access lines are made, for the worker that comes next', () => {
    const outbox = new Outbox();
    for (const id of ['a', 'b']) {
      outbox.add(line({ kind: 'r', id }), null, 0, null, 0);
      assert.equal([...outbox.take(1)].length, 1);
    }
    outbox.lined(1);
    outbox.lined(null);
    assert.deepEqual(outbox.unwritten.map(({ seq, isLined }) => [seq, isLined]), [[1, true], [2, false]]);
  });

  it('tells who waits that a batch is refused, and how many were in it', () => {
    const outbox = new Outbox();
    const settled: boolean[] = [];
    for (const id of ['a', 'b']) outbox.add(line({ kind: 'r', id }), null, 0, null, 0, (written) => settled.push(written));
    assert.equal([...outbox.take(1)].length, 1);
    assert.deepEqual([outbox.written(1, false), settled, outbox.records, outbox.isIdle], [2, [false, false], 0, true]);
  });

  it('keeps what is posted until it is committed, to be posted again', () => {
    const outbox = new Outbox();
    const settled: string[] = [];
    outbox.add(line({ id: 'a' }), null, 0, null, 0, (written) => settled.push(`a ${written}`));
    const [first] = [...outbox.take(1)];
    outbox.add(line({ id: 'b' }), null, 0, null, 0, (written) => settled.push(`b ${written}`));
    outbox.move('sink', 7);
    const [second] = [...outbox.take(2)];
    assert.deepEqual(outbox.unwritten, [first, second]);
    assert.deepEqual([first?.seq, second?.seq, second?.cursors, outbox.records], [1, 2, [['sink', 7]], 2]);
    outbox.written(1);
    assert.deepEqual([settled, outbox.unwritten, outbox.isIdle], [['a true'], [second], false]);
    outbox.giveWay();
    outbox.written(2);
    assert.deepEqual([settled, outbox.records, outbox.bytes, outbox.isEmpty], [['a true', 'b false'], 0, 0, true]);
  });

  it('takes no more than its bounds, and recovers', () => {
    const outbox = new Outbox();
    let taken = 0;
    while (outbox.add(line({}), big, big.length, null, 0)) taken++;
    assert.ok(taken * big.length > 60_000_000 && taken * big.length < 75_000_000, `${taken}`);
    assert.ok(outbox.isScarce);
    const batches: Batch[] = [...outbox.take(0)];
    assert.equal(outbox.add(line({}), null, 0, null, 0), false);
    outbox.written(batches.length);
    assert.deepEqual([outbox.records, outbox.isScarce, outbox.add(line({}), big, big.length, null, 0)], [0, false, true]);
    let records = 1;
    while (outbox.add(line({}), null, 0, null, 0)) records++;
    assert.ok(records >= 100_000 && records < 110_000, `${records}`);
    assert.equal(outbox.drop(), records);
  });

  it('tells when what was posted is committed, whatever came after it', async () => {
    const outbox = new Outbox();
    await outbox.settled();
    outbox.add(line({}), null, 0, null, 0);
    const [batch] = [...outbox.take(0)];
    let done = false;
    const settled = outbox.settled().then(() => (done = true));
    outbox.add(line({}), null, 0, null, 0);
    assert.equal([...outbox.take(0)].length, 1);
    assert.equal(done, false);
    outbox.written(batch?.seq ?? 0);
    assert.equal(await settled, true);
  });
});

it('a stream’s text is put together from its pieces, in every dialect', () => {
  const events = [
    { choices: [{ delta: { role: 'assistant', content: 'sk-' } }] }, { choices: [{ delta: { content: 'abc' } }, { delta: { reasoning_content: 'd' } }] }, { choices: [{ text: 'e' }] },
    { choices: [{ delta: { tool_calls: [{ function: { name: 'f', arguments: '{"a"' } }] } }] }, { choices: [] }, { usage: { total_tokens: 1 } },
    { type: 'content_block_delta', delta: { type: 'text_delta', text: 'f' } }, { type: 'response.output_text.delta', delta: 'g' }, { type: 'response.completed', response: { output: ['all of it'] } },
    { error: { message: 'over' } }, null, 5, { choices: 'x' },
  ];
  const stream = `: comment\n\n${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\ndata: {"choices":[{"del`;
  assert.equal(textOfStream(stream), 'sk-abcde{"a"fg{"message":"over"}');
});
