import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { csvLine, jsonLine, textOfCell } from '../../lib/record/record-format.ts';
import { printable } from '../../lib/redaction/redaction.ts';

describe('what is shown', () => {
  it('holds nothing a terminal would obey', () => {
    assert.equal(printable('a\u001b[31mred\u0007\u009b2J\r\n\u202e'), 'a\\u001b[31mred\\u0007\\u009b2J\\u000d\\u000a\\u202e');
    assert.equal(printable('Grüße 世界 🎉'), 'Grüße 世界 🎉');
    assert.equal(textOfCell(['a', 'b']), 'a b');
    assert.deepEqual([null, undefined, 0, false].map((cell) => textOfCell(cell)), ['', '', '0', 'false']);
  });

  it('is no formula in a spreadsheet', () => {
    assert.equal(csvLine(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '|x', '%x', 'a=1']), "'=1+1,'+1,'-1,'@SUM(A1),\\u0009=1,'|x,'%x,a=1\r\n");
    assert.equal(csvLine([-5, 1.5, null, true]), '-5,1.5,,true\r\n');
  });

  it('is CSV as RFC 4180 has it', () => {
    assert.equal(csvLine(['a,b', 'say "x"', ' lead', 'two\nlines']), '"a,b","say ""x"""," lead",two\\u000alines\r\n');
  });

  it('is a line of JSON that reads back', () => {
    const row = { a: '\u001b]0;x\u0007', b: '\u009b', c: '\u202e世', d: 1 };
    const line = jsonLine(row);
    assert.deepEqual(JSON.parse(line), row);
    assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\u202e]/u);
  });
});
