import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StreamPeek, type Beginning } from '../../lib/upstream/sse.ts';

/** What a stream amounts to after its last byte, fed in one piece, or cut after every byte. */
function beginning(text: string | Buffer, size = Number.POSITIVE_INFINITY): Beginning {
  const peek = new StreamPeek();
  const bytes = Buffer.from(text);
  let found: Beginning = { kind: 'nothing' };
  for (let at = 0; at < bytes.length; at += size) found = peek.push(bytes.subarray(at, at + size));
  return found;
}

const samples: Record<string, Beginning> = {
  '': { kind: 'nothing' },
  ': PING\n\n': { kind: 'nothing' },
  ':\n\n: keep-alive\r\n\r\n': { kind: 'nothing' },
  'id: 7\nretry: 100\n\n': { kind: 'nothing' },
  'event: error\n\n': { kind: 'nothing' },
  'data: {"id":1}': { kind: 'nothing' },
  'data: {"id":1}\n': { kind: 'nothing' },
  'data: {"id":1}\n\n': { kind: 'event' },
  'data:{"id":1}\r\n\r\n': { kind: 'event' },
  'data\n\n': { kind: 'event' },
  ': PING\n\ndata: {"id":1}\n\n': { kind: 'event' },
  'data: [DONE]\n\n': { kind: 'event' },
  '\ufeffdata: {"id":1}\n\n': { kind: 'event' },
  'event: message_start\ndata: {"type":"message_start"}\n\n': { kind: 'event' },
  'data: {"error":null,"id":1}\n\n': { kind: 'event' },
  'data: {"error":"","id":1}\n\n': { kind: 'event' },
  'data: {"error":"  ","id":1}\n\n': { kind: 'event' },
  'data: {"error":false,"id":1}\n\n': { kind: 'event' },
  'data: {"error":0,"id":1}\n\n': { kind: 'event' },
  'data: {"error":{},"id":1}\n\n': { kind: 'event' },
  'data: {"error":[],"id":1}\n\n': { kind: 'event' },
  'data: {"error":{"message":"","code":null,"details":[]},"id":1}\n\n': { kind: 'event' },
  'data: {"error":true}\n\n': { kind: 'error', error: true },
  'data: {"error":{"message":"","code":500}}\n\n': { kind: 'error', error: { message: '', code: 500 } },
  'data: {"id":1}\r\r': { kind: 'event' },
  'data: {"id":1}\r\n\r': { kind: 'event' },
  'data: {"id":1}\n\r': { kind: 'event' },
  'data: {"id":1}\r\n\n': { kind: 'event' },
  ': PING\r\rdata: {"error":{"code":"c"}}\r\r': { kind: 'error', error: { code: 'c' } },
  'event: error\rdata: no JSON\r\r': { kind: 'error', error: 'no JSON' },
  'data: {"id":1}\r\n': { kind: 'nothing' },
  'data: {"id":1}\r': { kind: 'nothing' },
  'data: {"choices":[{"delta":{"content":"the word \\"error\\" in an answer"}}]}\n\n': { kind: 'event' },
  'data: an "error" that is no JSON\n\n': { kind: 'event' },
  'data: {"id":1}\n\ndata: {"error":{"code":"late"}}\n\n': { kind: 'event' },
  'data: {"error":{"message":"m","code":"c"}}\n\n': { kind: 'error', error: { message: 'm', code: 'c' } },
  'data: {"error":"said in words"}\n\n': { kind: 'error', error: 'said in words' },
  'data: {"error":\ndata: {"code":"in two lines"}}\n\n': { kind: 'error', error: { code: 'in two lines' } },
  ': PING\n\ndata: {"error":{"code":"c"}}\n\n': { kind: 'error', error: { code: 'c' } },
  'data: {"error":{"code":"c"}}\n\ndata: {"id":1}\n\n': { kind: 'error', error: { code: 'c' } },
  'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n': { kind: 'error', error: { type: 'overloaded_error', message: 'm' } },
  'event: error\ndata: {"type":"error","code":"server_error","message":"m"}\n\n': { kind: 'error', error: { type: 'error', code: 'server_error', message: 'm' } },
  'event: error\ndata: no JSON\n\n': { kind: 'error', error: 'no JSON' },
  'data: {"type":"error","error":{"type":"api_error"}}\n\n': { kind: 'error', error: { type: 'api_error' } },
  'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}\n\n': { kind: 'error', error: { code: 'server_error', message: 'm' } },
  'data: {"error":{"message":"größe 鍵 \u{1f511}"}}\n\n': { kind: 'error', error: { message: 'größe 鍵 \u{1f511}' } },
};

describe('StreamPeek', () => {
  for (const [text, expected] of Object.entries(samples)) {
    it(`takes ${JSON.stringify(text.slice(0, 70))} for ${expected.kind}, however it is cut`, () => {
      for (const size of [Number.POSITIVE_INFINITY, 1, 2, 3, 7]) assert.deepEqual(beginning(text, size), expected, `in pieces of ${size}`);
    });
  }

  it('says so with the byte that completes the first event, and never before', () => {
    const text = ': PING\n\nevent: error\ndata: {"error":{"code":"c"}}\n\n';
    for (let cut = 0; cut < text.length; cut++) assert.equal(beginning(text.slice(0, cut)).kind, 'nothing', `${cut}`);
    assert.equal(beginning(text).kind, 'error');
  });

  it('survives bytes that are no UTF-8', () => {
    assert.equal(beginning(Buffer.from([0xff, 0xfe, 0x0a, 0x0a])).kind, 'nothing');
    assert.equal(beginning(Buffer.concat([Buffer.from('data: '), Buffer.from([0xc3, 0x28, 0xff]), Buffer.from('\n\n')])).kind, 'event');
  });

  it('keeps its first finding', () => {
    const peek = new StreamPeek();
    assert.equal(peek.push(Buffer.from('data: 1\n\n')).kind, 'event');
    assert.equal(peek.push(Buffer.from('event: error\ndata: 2\n\n')).kind, 'event');
  });
});
