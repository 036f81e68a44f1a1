import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { headerOf, withoutField } from '../../lib/http/head.ts';

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
