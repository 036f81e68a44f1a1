import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Memo, ownText, InternedTexts } from '../../lib/platform/memo.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const heap = (): number => {
  collect();
  return process.memoryUsage().heapUsed;
};

/** A name as it comes: cut out of much else. */
const cut = (at: number): string => `${'x'.repeat(1_000_000)}a name of some length ${at}`.slice(1_000_000);

describe('a memo', () => {
  it('gives what was remembered of a text, and of no other', () => {
    const memo = new Memo<number | null>(10_000, 20);
    memo.set('one', 1);
    memo.set('none', null);
    assert.deepEqual([memo.get('one'), memo.get('none'), memo.get('two'), memo.get('')], [1, null, undefined, undefined]);
    memo.set('one', 2);
    assert.equal(memo.get(['o', 'n', 'e'].join('')), 2);
  });

  it('forgets what nobody asks for, and keeps what somebody does', () => {
    const memo = new Memo<number>(1000, 20);
    for (let at = 0; at < 1000; at++) {
      memo.set(`text ${at}`, at);
      memo.set('asked for', memo.get('asked for') ?? 0);
    }
    assert.equal(memo.get('asked for'), 0);
    const left = Array.from({ length: 1000 }, (_, at) => memo.get(`text ${at}`)).filter((value) => value !== undefined);
    assert.ok(left.length > 2 && left.length < 40, String(left.length));
  });

  it('counts what a value takes when it is asked for again, too', () => {
    const memo = new Memo<number>(1000, 20);
    for (const name of ['a', 'b']) {
      memo.set(name, 1, 600);
      memo.set(`${name} large`, 1, 900);
      assert.equal(memo.get(name), 1);
      memo.set(`${name} next`, 1, 300);
      assert.deepEqual([memo.get(`${name} large`)], [undefined], 'the second part was begun anew');
    }
  });

  it('counts what it is told a value takes, and leaves out texts that are too long', () => {
    const memo = new Memo<number>(1000, 20);
    memo.set('a', 1, 900);
    memo.set('b', 2, 900);
    memo.set('c', 3, 900);
    memo.set('x'.repeat(21), 4);
    assert.deepEqual([memo.get('a'), memo.get('c'), memo.get('x'.repeat(21))], [undefined, 3, undefined]);
  });

  it('holds nothing of what its texts were cut from', () => {
    const memo = new Memo<string>(1_000_000, 100);
    const texts = new InternedTexts(1_000_000, 100);
    const before = heap();
    for (let at = 0; at < 50; at++) {
      memo.set(cut(at), texts.own(cut(at)));
      memo.get(cut(at));
    }
    assert.ok(heap() - before < 10_000_000, String(heap() - before));
    assert.equal(memo.get('a name of some length 7'), 'a name of some length 7');
    assert.equal(texts.own(cut(8)), 'a name of some length 8');
  });

  it('copies every text as it is', () => {
    for (const text of ['', 'plain', '\ud800 alone', '密码 "\\\n\0', '😀']) assert.equal(ownText(text), text);
  });
});
