import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bodyKind, contentStart, headerOf, withoutField } from '../../lib/http/head.ts';

describe('a flat head', () => {
  const head = (): string[] => ['Content-Type', 'text/plain', 'X-Content-Type', 'a', 'content-TYPE', 'b', 'Vary', ''];

  it('finds the first value of a field, in any letters', () => {
    assert.deepEqual(['content-type', 'x-content-type', 'vary', 'text/plain', 'etag'].map((name) => headerOf(head(), name)), ['text/plain', 'a', '', null, null]);
  });

  it('loses all fields of a name and no other', () => {
    const left = head();
    withoutField(left, 'content-type');
    assert.deepEqual(left, ['X-Content-Type', 'a', 'Vary', '']);
  });
});

it('a body is told by its own first bytes, behind white space and the byte order mark', () => {
  const kindOf = (text: string | Buffer): string | null => {
    const bytes = Buffer.from(text as string);
    const at = contentStart(bytes);
    return at === bytes.length ? null : bodyKind(bytes[at]);
  };
  for (const text of ['data: {}', ': ping', 'event: x', 'id: 1', 'retry: 5', '\r\n\n data:', '\uFEFFdata: 1']) assert.equal(kindOf(text), 'events', text);
  for (const text of ['{"a":1}', ' {', '\uFEFF\n{}']) assert.equal(kindOf(text), 'json', text);
  for (const text of ['[{}]', '\t[']) assert.equal(kindOf(text), 'list', text);
  for (const bytes of ['<html>', 'ID3', '"text"', '0', Buffer.from([0xff, 0xfb])]) assert.equal(kindOf(bytes as string), 'bytes', String(bytes));
  for (const bytes of ['', ' \n', Buffer.from([0xef]), Buffer.from([0xef, 0xbb, 0xbf])]) assert.equal(kindOf(bytes as string), null, String(bytes));
});
