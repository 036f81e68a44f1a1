import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { expand } from '../../lib/config/expand.ts';

const VARIABLES = { A: 'a', B: 'b', EMPTY: '', DOLLAR: '${A} $A $(id) \\$', BRACE: '}' };

function expanded(text: string): string {
  const { text: result, problems } = expand(text, VARIABLES);
  assert.deepEqual(problems, [], text);
  return result;
}

function problemsOf(text: string): readonly string[] {
  return expand(text, VARIABLES).problems;
}

describe('expansion', () => {
  it('replaces variables, with defaults where they are unset', () => {
    const samples = {
      'x${A}y${B}z': 'xaybz',
      '${A:-d}': 'a',
      '${NONE:-d}': 'd',
      '${NONE-d}': 'd',
      '${EMPTY:-d}': 'd',
      '${EMPTY-d}': '',
      '${EMPTY}': '',
      '${NONE:-}': '',
      '${NONE:-http://h:3000/v1?x=-1}': 'http://h:3000/v1?x=-1',
      '${A:?needed}': 'a',
    };
    for (const [text, result] of Object.entries(samples)) assert.equal(expanded(text), result, text);
  });

  it('nests defaults and asks only for those it uses', () => {
    assert.equal(expanded('${NONE:-${B:-x}}'), 'b');
    assert.equal(expanded('${NONE:-${NOPE:-x}y}z'), 'xyz');
    assert.equal(expanded('${A:-${NOPE}}'), 'a');
    assert.equal(expanded('${NONE:-${NOPE:-${NIL:-deep}}}'), 'deep');
  });

  it('leaves a dollar sign alone unless a brace follows', () => {
    for (const text of ['$', '$A', 'pa$$word', '$2b$10$abc', '$(id)', 'a}b{c', '50$', '\\n', ''])
      assert.equal(expanded(text), text);
    assert.equal(expanded('\\${A}'), '${A}');
    assert.equal(expanded('\\$A \\\\${A}'), '$A \\${A}');
    assert.equal(expanded('$${A}'), '$a');
    assert.equal(expanded('${NONE:-\\${A}}'), '${A}');
  });

  it('never looks into a value again', () => {
    assert.equal(expanded('${DOLLAR}'), VARIABLES.DOLLAR);
    assert.equal(expanded('${NONE:-${DOLLAR}}'), VARIABLES.DOLLAR);
    assert.equal(expanded('${NONE:-${BRACE}}'), '}');
    assert.equal(expand('${constructor}', VARIABLES).problems.length, 1);
  });

  it('names unset variables and tells the message they ask for', () => {
    assert.deepEqual(problemsOf('${NONE} ${NOPE}'), ['variable NONE is not set', 'variable NOPE is not set']);
    assert.deepEqual(problemsOf('${NONE:-${NOPE}}'), ['variable NOPE is not set']);
    assert.deepEqual(problemsOf('${EMPTY:?ask the operator}'), ['variable EMPTY is not set: ask the operator']);
    assert.deepEqual(problemsOf('${EMPTY?ask}'), []);
  });

  it('refuses what is not a whole variable, once', () => {
    for (const text of [
      '${',
      '${}',
      '${A',
      'x${A:-',
      '${A:-${B}',
      '${1A}',
      '${A B}',
      '${A:+x}',
      '${A:}',
      '${-x}',
      '${NONE:-${}',
    ]) {
      assert.equal(problemsOf(text).length, 1, text);
    }
  });

  it('holds for every short text: values come out whole or a problem is told', () => {
    const pieces = ['$', '{', '}', '\\', 'A', ':-', '${'];
    const longer = (texts: readonly string[]): string[] => texts.flatMap((text) => pieces.map((piece) => text + piece));
    const texts = longer(longer(longer(longer(['', '${A}', '\\${', '${N:-']))));
    for (const text of texts) {
      const { text: result, problems, names } = expand(text, { A: '${SECRET}' });
      assert.ok(problems.length <= 2 && problems.every((problem) => !problem.includes('SECRET')), text);
      if (names.length === 0 && problems.length === 0) assert.ok(!result.includes('SECRET'), text);
      if (!text.includes('${')) assert.equal(result, text.replaceAll('\\$', '$'));
    }
  });
});
