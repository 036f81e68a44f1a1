import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SocketMeter } from '../../lib/usage/socket-meter.ts';
import type { Usage } from '../../types/usage.d.ts';
import fc from '../support/property.ts';

const [more, text, binary, ping, last, packed, masked] = [0x00, 0x01, 0x02, 0x09, 0x80, 0x40, 0x80];

/** A frame of a server. @param first its opcode and flags. @param mask 0x80 for a masked one, which no server sends. */
function frame(first: number, payload: string | Buffer, mask = 0): Buffer {
  const bytes = Buffer.from(payload as string);
  const { length } = bytes;
  const size = length < 126 ? [mask | length] : length < 65_536 ? [mask | 126, length >> 8, length & 0xff] : [mask | 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from([first, ...size, ...(mask === 0 ? [] : [0, 0, 0, 0])]), bytes]);
}

/** A message in frames cut at these places, with pings between them. */
function message(payload: string, cuts: readonly number[] = [], kind = text): Buffer {
  const at = [0, ...cuts.map((cut) => cut % (payload.length + 1)).sort((a, b) => a - b), payload.length];
  const parts = at.slice(1).map((end, nth) => payload.slice(at[nth], end));
  return Buffer.concat(parts.flatMap((part, nth) => [frame((nth === 0 ? kind : more) | (nth === parts.length - 1 ? last : 0), part), frame(last | ping, 'p')]));
}

const done = (prompt: number, completion: number, rest = ''): string =>
  `{"type":"response.done","event_id":"e","response":{"object":"realtime.response","status":"completed","output":[{"content":[{"transcript":"said \\"usage\\":{\\"input_tokens\\":9}"}]}],"usage":{"total_tokens":${prompt + completion},"input_tokens":${prompt},"output_tokens":${completion},"input_token_details":{"text_tokens":1,"audio_tokens":2,"cached_tokens":3},"output_token_details":{"text_tokens":1,"audio_tokens":2}}${rest}}}`;
const transcript = (prompt: number, completion: number): string => `{"type":"conversation.item.input_audio_transcription.completed","transcript":"hello","usage":{"type":"tokens","total_tokens":${prompt + completion},"input_tokens":${prompt},"output_tokens":${completion}}}`;
const created = '{"type":"response.created","response":{"object":"realtime.response","status":"in_progress","usage":null}}';
const spoken = (words: string): string => `{"type":"response.output_text.delta","event_id":"e","delta":"${words}"}`;
const sound = (bytes: number): string => `{"event_id":"e","type":"response.output_audio.delta","delta":"${'A'.repeat(bytes)}"}`;

/** Prompt and completion of each report, then what the rest is estimated to be. */
function heard(pieces: readonly Buffer[], sent = 0): { reports: number[][]; rest: Usage | null; isBetween: boolean } {
  const reports: number[][] = [];
  const meter = new SocketMeter(({ prompt, completion }) => void reports.push([prompt, completion]));
  for (const piece of pieces) meter.push(piece);
  return { reports, isBetween: meter.isBetween, rest: meter.rest(sent) };
}

describe('the usage of a WebSocket', () => {
  it('is what each response reports, and each transcript', () => {
    const all = [done(10, 5), done(20, 7, ',"metadata":{"a":[1,{"b":null}]}'), transcript(4, 3), '{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":8,"output_tokens":2,"total_tokens":10}}}'];
    assert.deepEqual(heard(all.map((each) => message(each))), { reports: [[10, 5], [20, 7], [4, 3], [8, 2]], rest: null, isBetween: true });
    const usages: Usage[] = [];
    new SocketMeter((usage) => void usages.push(usage)).push(message(done(10, 5)));
    assert.deepEqual(usages, [{ prompt: 10, completion: 5, cached: 3, reasoning: 0, estimated: false }]);
  });

  it('is found wherever frames and packets are cut', () => {
    const bytes = Buffer.concat([message(created), message(done(11, 6), [40, 41, 200]), message(''), message(transcript(1, 2), [5])]);
    for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(heard([bytes.subarray(0, cut), bytes.subarray(cut)]).reports, [[11, 6], [1, 2]], String(cut));
    fc.assert(fc.property(fc.array(fc.nat(500), { maxLength: 4 }), fc.array(fc.nat(bytes.length), { maxLength: 6 }), (frames, packets) => {
      const sent = Buffer.concat([message(spoken('a'), frames), message(done(11, 6), frames), message(sound(300), frames), message(transcript(1, 2), frames)]);
      const at = [0, ...packets.map((place) => place % sent.length).sort((a, b) => a - b), sent.length];
      assert.deepEqual(heard(at.slice(1).map((end, nth) => sent.subarray(at[nth], end))).reports, [[11, 6], [1, 2]]);
    }), { numRuns: 100 });
  });

  it('is found in messages of any length, which are not kept', () => {
    const long = done(12, 8).replace('"said', `"${'x'.repeat(3_000_000)}`);
    const behind = done(13, 9, `,"instructions":"${'y'.repeat(200_000)}"`);
    const bytes = Buffer.concat([message(long), message(behind, [100, 150_000]), message(done(1, 1))]);
    for (const size of [1000, 65_536, bytes.length]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, nth) => bytes.subarray(nth * size, (nth + 1) * size));
      assert.deepEqual(heard(pieces).reports, [[12, 8], [13, 9], [1, 1]], String(size));
    }
  });

  const elsewhere: Record<string, Buffer> = {
    'in the schema of a tool': message('{"type":"session.updated","session":{"tools":[{"parameters":{"properties":{"usage":{"input_tokens":5}}}}]}}'),
    'in a string': message(JSON.stringify({ type: 'x', delta: done(5, 5) })), 'in bytes': message(done(5, 5), [], binary), 'of zeros': message(done(0, 0)), 'below zero': message(done(-5, 5)),
    'of more than any model reads': message(done(1e12, 5)), 'compressed': message(done(5, 5), [], text | packed), 'masked': frame(last | text, done(5, 5), masked),
    'in a ping': frame(last | ping, '{"usage":{"input_tokens":5}}'), 'cut off': message('{"response":{"usage":{"input_tokens":5,"output_tokens":5}'), 'behind bytes': message(done(5, 5), [3], binary),
  };
  for (const [where, bytes] of Object.entries(elsewhere)) it(`is not what looks like one ${where}`, () => assert.deepEqual(heard([bytes, message(done(2, 3))]).reports, [[2, 3]]));

  it('is estimated of a response that is cut off', () => {
    const words = 'twelve bytes';
    assert.deepEqual(heard([message(created)], 25_600).rest, { prompt: 100, completion: 0, cached: 0, reasoning: 0, estimated: true });
    assert.deepEqual(heard([message(done(50, 5)), message(created), message(spoken(words)), message(spoken(words))], 25_600).rest, { prompt: 50, completion: 6, cached: 0, reasoning: 0, estimated: true });
    assert.equal(heard([message(created), message(spoken(words)), message(done(50, 5))]).rest, null);
    assert.equal(heard([message(created), message(spoken(words)), message(transcript(1, 1))], 256).rest?.completion, 3);
    const second = heard([message(created), ...Array.from({ length: 10 }, () => message(sound(6400)))], 1).rest?.completion as number;
    assert.ok(second >= 20 && second <= 22, String(second));
  });

  it('tells when a message of another can be put in', () => {
    assert.equal(heard([message('{}')]).isBetween, true);
    for (const bytes of [frame(text, 'a'), frame(binary, 'a'), frame(last | text, 'abc').subarray(0, 3), frame(last | text, 'abc').subarray(0, 1), Buffer.concat([frame(text, 'a'), frame(last | ping, '')])]) assert.equal(heard([bytes]).isBetween, false);
    assert.equal(heard([Buffer.concat([frame(text, 'a'), frame(last | ping, ''), frame(last | more, '')])]).isBetween, true);
  });

  it('throws on no bytes', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }), (pieces) => void heard(pieces.map((piece) => Buffer.from(piece)))));
  });
});
