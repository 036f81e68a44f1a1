import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
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

describe('an expansion, whatever is written', () => {
  const name = fc.stringMatching(/^[A-Za-z_]\w{0,8}$/);
  const variables = fc.dictionary(name, fc.string(), { noNullPrototype: true });
  /** Text without what the expansion looks for. */
  const plain = fc.string().filter((text) => !/[$\\}]/.test(text));

  it('leaves a text without a variable as it is', () => {
    fc.assert(fc.property(fc.string(), variables, (text, values) => {
      if (!text.includes('${') && !text.includes('\\$')) assert.deepEqual(expand(text, values), { text, names: [], problems: [] });
    }));
  });

  it('puts a value in as it is, whatever it holds', () => {
    fc.assert(fc.property(plain, name, fc.oneof(fc.string(), fc.constantFrom('${A}', '$(id)', '\\$', '}', '${')), plain, (before, key, value, after) => {
      const values = { [key]: value };
      assert.deepEqual(expand(`${before}\${${key}}${after}`, values), { text: before + value + after, names: [key], problems: [] });
      assert.equal(expand(`${before}\${${key}:-other}${after}`, values).text, before + (value === '' ? 'other' : value) + after);
    }));
  });

  it('takes the default of what is unset, however deep', () => {
    fc.assert(fc.property(fc.array(name, { minLength: 1, maxLength: 6 }), plain, (names, last) => {
      const text = names.reduceRight((inner, key) => `\${${key}:-${inner}}`, last);
      assert.deepEqual(expand(text, {}), { text: last, names: names.toReversed(), problems: [] });
    }));
  });

  it('undoes its own escape', () => {
    fc.assert(fc.property(fc.string().filter((text) => !text.includes('\\')), (text) => assert.equal(expand(text.replaceAll('$', '\\$'), {}).text, text)));
  });

  it('says what is wrong without any value, and never throws', () => {
    const secret = 'a-value-that-is-secret';
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', '\\', ':', '-', '?', 'A', 'B', ' ') }), (text) => {
      const { problems } = expand(text, { A: secret, AA: secret, B: secret });
      assert.ok(!problems.join().includes(secret));
    }));
  });
});
