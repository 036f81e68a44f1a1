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
  it('is a blank line, with LF or CRLF, also when it comes in two pieces', () => {
    for (const [chunk, afterLineEnd, ends] of [['a\n\n', false, true], ['a\r\n\r\n', false, true], ['\n', true, true], ['\r\n', true, true], ['\n', false, false], ['a\n', true, false], ['a', true, false]] as const) {
      assert.equal(endsEvent(Buffer.from(chunk), afterLineEnd), ends, JSON.stringify(chunk));
    }
  });
});
