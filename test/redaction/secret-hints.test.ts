import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { mask, masked } from '../../lib/redaction/mask.ts';
import { everyHint, hint, hintsIn, hintsOf } from '../../lib/redaction/secret-hints.ts';

const bytes = (text: string): number => hintsIn(Buffer.from(text));

const examples: [string, number][] = [
  ['{"password":"x"}', hint.name], ['"my_pwd" : 1', hint.name], ['{\\"token\\": \\"x\\"}', hint.name], ['API.Key_id', hint.name], ['key    = x', hint.name], ['key \t : x', hint.name], ['TOKEN：x', hint.name],
  ['口令是 x', hint.name], ['Set-COOKIE', hint.name], ['sk-', hint.shape], ['pk_', hint.shape], ['eyJ', hint.shape], ['AKIA', hint.shape], ['github_pat_', hint.shape], ['SG.', hint.shape],
  ['Bearer x', hint.scheme], ['BASIC\tx', hint.scheme], ['postgres://', hint.url], [':\\\\/\\\\/', hint.url], ['%3a%2F%2F', hint.url], ['-----BEGIN X', hint.pem], ['\\u0041', hint.hidden], ['a\\/b', hint.hidden], ['a\0b', hint.hidden],
];

describe('hints', () => {
  it('are found wherever they stand in a text of any length', () => {
    for (const [text, expected] of examples) {
      for (const size of [0, 1, 50, 126, 127, 128, 129, 600, 4001]) {
        for (const part of [0, 0.2, 0.25, 0.49, 0.5, 0.74, 0.75, 0.99, 1]) {
          const before = ' '.repeat(Math.floor(size * part));
          const whole = `${before}${text}${' '.repeat(size - before.length)}`;
          assert.equal(bytes(whole) & expected, expected, `${text} in ${size} at ${part}`);
        }
      }
      assert.equal(hintsOf(text) & expected, expected, text);
    }
  });

  it('are found where the quarters meet that are read at a time', () => {
    const text = 'authorization';
    for (let at = 0; at < 600; at++) assert.equal(bytes(`${' '.repeat(at)}${text}${' '.repeat(600 - at)}`), hint.name, String(at));
  });

  it('are none in ordinary text', () => {
    for (const text of ['', '{"model":"gpt-4o","max_tokens":500,"messages":[{"role":"user","content":"The quick brown fox, the key to it and a monkey."}]}', '请帮我写一个函数。'.repeat(40)]) assert.equal(bytes(text), 0, text);
    assert.equal(hintsOf('/v1/chat/completions'), 0);
    assert.equal(hintsOf('é'), everyHint);
  });

  /** Pieces of everything a pattern looks for: put together at random, each is met often, and so is what nearly is one. */
  const pieces = [
    'key', 'token', 'password', 'passphrase', 'pass', 'pwd', 'secret', 'api', 'master', '_', '-', '.', ' ', '    ', '\t', '"', '\\"', '\\', ':', '=', '：', '是', '密码', '口令', 'sk-', 'rk_', 'whsec_', 'eyJ', 'AKIA', 'AIza',
    'ghp_', 'github_pat_', 'gldt-', 'hf_', 'xoxb-', 'xapp-', 'SG.', 'ya29.', 'r8_', 'dapi', 'Bearer ', 'BASIC\t', 'basic ', '://', 'user', '@', 'host', '-----BEGIN ', 'PRIVATE KEY-----', '-----END ', '{', '}', ',', '\n', 'hello', 'A1b2C3d4E5f6G7h8',
    'x'.repeat(130), 'é', 'ſ', 'K', 'cookie', 'session_id', 'authorization', 'max_tokens', '12345',
  ];

  it('miss nothing that would be masked', () => {
    let changed = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join('')), (text) => {
        const thorough = mask(text, everyHint);
        if (thorough !== text) changed++;
        assert.equal(mask(text), thorough);
        assert.equal(mask(text, bytes(text)), thorough);
      }),
      { numRuns: 3000 },
    );
    assert.ok(changed > 200, String(changed));
  });

  it('miss no name and no beginning', () => {
    const kinds = ['api', 'access', 'private', 'auth', 'signing', 'encryption', 'account', 'master'].flatMap((kind) => ['', '_', '.', '-', ' '].map((by) => `${kind}${by}key`));
    const members = ['password', 'passwd', 'passphrase', 'passcode', 'pass', 'pwd', 'my_pwd', 'secret', 'key', 'token', 'authorization', 'credential', 'cookie', 'session_id', 'sessionid', ...kinds, ...kinds.map((name) => `a.${name}_1`)];
    const assigned = ['password', 'passwd', 'passphrase', 'pwd', 'secret', 'key', 'token', '密码', '口令', '密钥'].flatMap((name) => ['=', ' :', '  \t=', '    ：'].map((by) => `${name}${by}hunter2`));
    const value = 'A1b2C3d4E5f6G7h8I9j0K1l2';
    const begun = [
      'sk-', 'sk_', 'rk_', 'pk_', 'whsec_', 'eyJ', 'AKIA', 'ASIA', 'AROA', 'AIDA', 'ABIA', 'ACCA', 'AIza', 'ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_', 'glpat-', 'gldt-', 'hf_', 'gsk_', 'npm_', 'pplx-', 'r8_', 'tvly-', 'dop_v1_',
      'shpat_', 'lin_api_', 'figd_', 'dapi', 'xai-', 'pypi-', 'hvs.', 'nvapi-', 'tgp_v1_', 'sntrys_', 'dckr_pat_', 'xoxb-', 'xoxs-', 'xapp-', 'fw_', 'ya29.', 'Bearer ', 'bearer\t', 'BEARER ', 'Basic ', 'basic\t', 'BASIC ',
    ].map((beginning) => beginning + (beginning.startsWith('A') ? value.toUpperCase() : value));
    const texts = [...members.map((name) => `{"${name}":"x"}`), ...members.map((name) => `{\\"${name.toUpperCase()}\\" : \\"x\\"}`), ...assigned, ...begun, `SG.${value}.${value}`, '密码是hunter2', 'a://b:c@d', '-----BEGIN PRIVATE KEY-----'];
    for (const text of texts) {
      const thorough = mask(text, everyHint);
      assert.notEqual(thorough, text);
      assert.deepEqual([mask(text), mask(text, bytes(text)), mask(text, bytes(' '.repeat(500) + text))], [thorough, thorough, thorough], text);
    }
  });

  it('let what is masked first uncover the rest', () => {
    assert.equal(mask(`{"password":"x","a":"postgres://u:p@h"}`, hint.name), `{"password":"${masked}","a":"postgres://${masked}@h"}`);
  });
});
