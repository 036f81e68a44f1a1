import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endsEvent, isWhole } from '../../lib/upstream/attempt.ts';

describe('isWhole', () => {
  const document = '{"choices":[{"message":{"content":"a \\"quoted}\\" ] word","tool_calls":[{}]}}],"usage":{"total_tokens":3}}';

  it('knows a document, with space around it', () => {
    for (const text of [document, ` \n${document}\r\n`, '[]', '{}', `[${document},${document}]`]) assert.ok(isWhole(Buffer.from(text), []), text);
  });

  it('knows one cut anywhere, behind a bracket or within a string, too', () => {
    for (const text of [document, `[${document}]`]) {
      for (let cut = 0; cut < text.length; cut++) assert.ok(!isWhole(Buffer.from(text.slice(0, cut)), []), text.slice(0, cut));
    }
  });

  it('leaves a compressed one to its framing, but for nothing at all', () => {
    const gzip = ['Content-Encoding', 'gzip'];
    assert.deepEqual([isWhole(Buffer.from('?'), gzip), isWhole(Buffer.alloc(0), gzip)], [true, false]);
  });
});

describe('endsEvent', () => {
  const tail = (text: string): number => [...Buffer.from(text)].reduce((all, byte) => (all << 8) | byte, 0);

  it('is a blank line of LF, CRLF or CR, by the last four bytes', () => {
    for (const text of ['a\n\n', 'a\r\n\r\n', 'a\r\r', 'a\n\r\n', 'a\r\n\n', 'a\n\r', 'a\r\n\r', '\n\n\n']) assert.equal(endsEvent(tail(text)), true, JSON.stringify(text));
    for (const text of ['', 'a', 'a\n', 'a\r\n', 'a\r', '\n\na', 'id: 7\r\n', 'id: 7\n', '\na\n', '\ra\r\n', '\n']) assert.equal(endsEvent(tail(text)), false, JSON.stringify(text));
  });
});
