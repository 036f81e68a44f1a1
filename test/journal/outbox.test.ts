import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { decode, wipe, type RawRecord } from '../../lib/record/decode.ts';
import { Outbox } from '../../lib/journal/outbox.ts';
import { Segment } from '../../lib/record/segment.ts';
import { textOfStream } from '../../lib/redaction/stream-text.ts';
import type { Batch, RecordMemory } from '../../lib/record/messages.ts';
import { put, putNonsense, type Put } from '../support/segments.ts';

const decoded = (segment: Segment): (RawRecord | null)[] => [...decode(segment.content)];

/** An outbox of such records. @param scarceBody bytes of a body that are kept while room is scarce. */
const open = (scarceBody = Infinity): Outbox<Put> => new Outbox((segment, record, kind, maxBody) => put(segment, { ...record, kind, body: record.body?.subarray(0, maxBody) ?? null }), scarceBody);

describe('a segment', () => {
  it('gives back what was put in, in its order', () => {
    const segment = new Segment();
    const large = Buffer.alloc(100_000, 'L');
    put(segment, { id: 'one', model: '模型', tokenId: 't', tokenEnd: 'abcd', headers: ['Host', 'x', 'X-Latin', '\u00e9'], body: Buffer.from('body one'), answer: Buffer.from('answer'), numbers: { answerTotal: 60 } });
    put(segment, { kind: 'intent', id: 'two' });
    put(segment, { id: 'three', body: large, numbers: { cost: 0.5, duration: 12 } });
    putNonsense(segment);
    put(segment, { id: 'four', body: Buffer.from('four'), answer: Buffer.from('4') });
    const [one, two, three, none, four] = decoded(segment);
    assert.deepEqual([one?.id, one?.model, one?.tokenMask, one?.headers, String(one?.body), String(one?.answer), one?.answerTotal, one?.intent], ['one', '模型', 'sk-…abcd', ['Host', 'x', 'X-Latin', 'é'], 'body one', 'answer', 60, false]);
    assert.deepEqual([two?.intent, two?.body, two?.tokenMask, two?.cost], [true, null, null, null]);
    assert.deepEqual([three?.cost, three?.duration, three?.body?.[0]?.length], [0.5, 12, 100_000]);
    assert.deepEqual([none, four?.id, String(four?.body), String(four?.answer)], [null, 'four', 'four', '4']);
  });

  it('holds nothing of them once it is wiped', () => {
    const segment = new Segment();
    put(segment, { id: 'one', headers: ['Authorization', 'secret'], body: Buffer.from('secret body'), answer: Buffer.from('secret answer') });
    put(segment, { id: 'two', body: Buffer.alloc(100_000, 'secret'), answer: Buffer.from('secret answer') });
    const batch = segment.message(1, 0, []);
    assert.ok(Buffer.from(batch.memory).includes('secret'));
    wipe(batch);
    for (const memory of [new Uint8Array(batch.memory), ...batch.large.flatMap(({ pieces }) => pieces)]) assert.ok(memory.every((byte) => byte === 0));
  });

  it('is the same whatever a header or a body holds, and whichever records are alike', () => {
    const header = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('\x1e', '\x1f', '0', '7', 'a') }));
    const few = fc.constantFrom('a', 'b');
    fc.assert(fc.property(fc.array(fc.tuple(few, fc.oneof(few, header), fc.oneof(few, header), fc.uint8Array({ maxLength: 200 }), fc.nat(2)), { maxLength: 12 }), (records) => {
      const segment = new Segment();
      const headersOf = (name: string, value: string, times: number): string[] => Array<string[]>(times).fill([name, value]).flat();
      for (const [agent, name, value, body, times] of records) put(segment, { agent, url: value, headers: headersOf(name, value, times), body: body.length === 0 ? null : Buffer.from(body) });
      const back = decoded(segment);
      const wellFormed = (text: string): string => text.toWellFormed().replaceAll('\x1e', ' ').replaceAll('\x1f', ' ');
      assert.deepEqual(
        back.map((raw) => [raw?.headers, raw?.url, [...(raw?.body?.[0] ?? [])]]),
        records.map(([, name, value, body, times]) => [headersOf(name, value, times).map(wellFormed), wellFormed(value), [...body]]),
      );
    }));
  });

  it('makes no record of another’s, nor of what points elsewhere', () => {
    const of = (segment: Segment): unknown[] => decoded(segment).map((raw) => raw?.id ?? null);
    for (const place of ['4000000004', '-1', '0.5', 'x', '17']) {
      const segment = new Segment();
      const memory = Buffer.from(segment.memory);
      put(segment, { agent: 'a', id: 'one' });
      const from = segment.content.used;
      put(segment, { agent: 'a', id: 'two', ip: '1'.repeat(30) });
      memory.write(['two', '', '', '', place, ''].join('\x1f').padEnd(segment.content.used - 1 - from, '!'), from);
      assert.deepEqual(of(segment), ['one', null], place);
      memory[from - 1] = 0x20;
      assert.deepEqual(of(segment), [null, null]);
    }
  });

  it('holds a large answer apart', () => {
    const segment = new Segment();
    const answer = Buffer.alloc(700_000, 'answer ');
    assert.ok(put(segment, { id: 'a', answer, body: Buffer.from('body') }));
    assert.deepEqual(decoded(segment).map((raw) => [raw?.id, String(raw?.body), Buffer.from(raw?.answer ?? []).equals(answer)]), [['a', 'body', true]]);
  });

  it('holds of a record that is like an earlier one only what differs', () => {
    const segment = new Segment();
    const headers = (secret: string): string[] => ['User-Agent', 'a'.repeat(500), 'Authorization', secret];
    const sizes = ['one', 'two', 'three'].map((secret) => {
      const before = segment.content.used;
      put(segment, { agent: 'a', headers: headers(secret) });
      return segment.content.used - before;
    });
    assert.deepEqual(sizes.map((size) => size < 500), [false, true, true]);
    assert.deepEqual(decoded(segment).map((raw) => raw?.headers.at(-1)), ['one', 'two', 'three']);
    assert.deepEqual(decoded(segment).map((raw) => raw?.headers.slice(0, 3)), Array(3).fill(headers('').slice(0, 3)));
  });

  it('takes no more than it has room for, and forgets all when it is cleared', () => {
    const segment = new Segment();
    const record = (nth: number): Put => ({ agent: `agent ${nth % 200}`, id: `${nth}`, url: `/${nth % 7}`, body: Buffer.alloc(nth % 999, `${nth % 10}`) });
    for (let round = 0; round < 3; round++) {
      let records = 0;
      while (put(segment, record(records))) records++;
      assert.ok(records > 500, `${records}`);
      assert.ok(segment.content.used < segment.content.top && segment.content.top - segment.content.used < 3000, JSON.stringify(segment.content));
      assert.deepEqual(decoded(segment).map((raw) => [raw?.id, raw?.url, String(raw?.body ?? '')]), Array.from({ length: records }, (_, nth) => [`${nth}`, `/${nth % 7}`, String(record(nth).body)]));
      segment.release(true);
      assert.deepEqual([segment.records, segment.size, decoded(segment)], [0, 0, []]);
    }
  });
});

/** The batches that wait to be posted. */
const batches = (outbox: Outbox<Put>, now: number): Batch[] => outbox.take(now, false).filter((message) => message.kind === 'batch');
/** The unplaced records that may be posted now. */
const unplaced = (outbox: Outbox<Put>): readonly RecordMemory[] => outbox.take(0, true).flatMap((message) => (message.kind === 'lines' ? message.unplaced : []));

describe('an outbox', () => {
  const big = Buffer.alloc(60_000);

  it('hands out unplaced records in bounded number, one part at a time', () => {
    const outbox = open();
    const ids = (): (string | undefined)[] => unplaced(outbox).flatMap((memory) => [...decode(memory)].map((raw) => raw?.id));
    assert.deepEqual(ids(), []);
    for (const id of ['a', 'b']) outbox.addUnplaced({ id });
    assert.deepEqual(ids(), ['a', 'b']);
    assert.ok(outbox.isEmpty);
    outbox.addUnplaced({ id: 'c' });
    assert.equal(outbox.isEmpty, false);
    assert.deepEqual(ids(), []);
    for (let n = 0; n < 5000; n++) outbox.addUnplaced({ id: `${n}`.repeat(1000) });
    outbox.lined(null);
    const memories = unplaced(outbox);
    const size = memories.reduce((sum, { used }) => sum + used, 0);
    assert.ok(size > 3_500_000 && size < 4_800_000, `${size}`);
    assert.equal([...decode(memories[0] as (typeof memories)[number])][0]?.id, 'c');
  });

  it('knows whose access lines are made, for the worker that comes next', () => {
    const outbox = open();
    for (const id of ['a', 'b']) {
      outbox.add({ id }, 'record');
      assert.equal(batches(outbox, 1).length, 1);
    }
    outbox.lined(1);
    outbox.lined(null);
    assert.deepEqual(outbox.unwritten.map(({ seq, isLined }) => [seq, isLined]), [[1, true], [2, false]]);
  });

  it('tells who waits that a batch is refused, and how many were in it', () => {
    const outbox = open();
    const settled: boolean[] = [];
    for (const id of ['a', 'b']) outbox.add({ id }, 'record', (written) => settled.push(written));
    assert.equal(batches(outbox, 1).length, 1);
    assert.deepEqual([outbox.written(1, false), settled, outbox.records, outbox.isIdle], [2, [false, false], 0, true]);
  });

  it('keeps what is posted until it is committed, to be posted again', () => {
    const outbox = open();
    const settled: string[] = [];
    outbox.add({ id: 'a' }, 'record', (written) => settled.push(`a ${written}`));
    const [first] = batches(outbox, 1);
    outbox.add({ id: 'b' }, 'record', (written) => settled.push(`b ${written}`));
    outbox.move('sink', 7);
    const [second] = batches(outbox, 2);
    assert.deepEqual(outbox.unwritten, [first, second]);
    assert.deepEqual([first?.seq, second?.seq, second?.cursors, outbox.records], [1, 2, [['sink', 7]], 2]);
    outbox.written(1);
    assert.deepEqual([settled, outbox.unwritten, outbox.isIdle], [['a true'], [second], false]);
    outbox.giveWay();
    outbox.written(2);
    assert.deepEqual([settled, outbox.records, outbox.bytes, outbox.isEmpty], [['a true', 'b false'], 0, 0, true]);
  });

  it('posts parts that the next one commits, within a bound, and tells when none follows', () => {
    const outbox = open();
    const take = (isPart: boolean): unknown[] => outbox.take(0, false, isPart).map((message) => (message.kind === 'batch' ? message.isPart : message.kind));
    outbox.add({ id: 'a' }, 'record');
    assert.deepEqual(take(true), [true]);
    // Another worker gets all that there is.
    assert.deepEqual(outbox.unwritten.map(({ isPart }) => isPart), [false]);
    outbox.add({ id: 'b' }, 'record');
    assert.deepEqual([take(false), take(false)], [[false], []]);
    outbox.add({ id: 'c' }, 'record');
    assert.deepEqual([take(true), take(false), take(false)], [[true], ['commit'], []]);
    const parts: unknown[] = [];
    for (let n = 0; n < 200; n++) {
      outbox.add({ body: big }, 'record');
      if (outbox.isPressing) parts.push(...take(true));
    }
    assert.deepEqual([parts[0], parts.at(-1)], [true, false]);
    assert.equal(outbox.drop(), 203);
  });

  it('takes no more than its bounds, and recovers', () => {
    const outbox = open();
    let taken = 0;
    while (outbox.add({ body: big }, 'record')) taken++;
    assert.ok(taken * big.length > 60_000_000 && taken * big.length < 75_000_000, `${taken}`);
    assert.ok(outbox.isScarce);
    const posted = batches(outbox, 0);
    assert.equal(outbox.add({}, 'record'), false);
    outbox.written(posted.length);
    assert.deepEqual([outbox.records, outbox.isScarce, outbox.add({ body: big }, 'record')], [0, false, true]);
    let records = 1;
    while (outbox.add({}, 'record')) records++;
    assert.ok(records >= 100_000 && records < 110_000, `${records}`);
    assert.equal(outbox.drop(), records);
  });

  it('tells when what was posted is committed, whatever came after it', async () => {
    const outbox = open();
    await outbox.settled();
    outbox.add({}, 'record');
    const [batch] = batches(outbox, 0);
    let done = false;
    const settled = outbox.settled().then(() => (done = true));
    outbox.add({}, 'record');
    assert.equal(batches(outbox, 0).length, 1);
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
