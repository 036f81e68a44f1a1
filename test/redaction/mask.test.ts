import '../support/node.ts';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { mask, masked, readable, withoutData, withoutLastWord } from '../../lib/redaction/mask.ts';

/** Made up at run time, so that no scanner takes this file for a leak. */
const long = 'aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5oQ7s';
const upper = long.toUpperCase();
const secrets = {
  'an OpenAI key': `sk-proj-${long}`,
  'a short key of that form': 'sk-12345678',
  'NewAPI’s own': `sk-${long}${long.slice(0, 8)}`,
  'an Anthropic key': `sk-ant-api03-${long}`,
  'a Stripe key': `sk_live_${long}`,
  'a webhook secret': `whsec_${long}`,
  'an AWS key id': `AKIA${upper.slice(0, 16)}`,
  'a Google key': `AIza${long}`,
  'a GitHub token': `ghp_${long}`,
  'a fine-grained GitHub token': `github_pat_${long}`,
  'a GitLab token': `glpat-${long}`,
  'a Hugging Face token': `hf_${long}`,
  'a Groq key': `gsk_${long}`,
  'an xAI key': `xai-${long}`,
  'a Slack token': `xoxb-${long}`,
  'a SendGrid key': `SG.${long}.${long}`,
  'a Google access token': `ya29.${long}`,
  'a JWT': `eyJ${long}.eyJ${long}.${long}`,
};

describe('a credential', () => {
  for (const [name, secret] of Object.entries(secrets)) {
    it(`is masked when it is ${name}, wherever it stands`, () => {
      const places = [secret, `my key: ${secret}, please`, `{"content":"use\\n${secret}\\nand go"}`, `url?x=${secret}&y=1`, `(${secret})`, `"${secret}"`, `\`${secret}\``];
      for (const text of places) assert.ok(!mask(text).includes(secret.slice(-12)), mask(text));
    });
  }

  it('is masked behind Bearer and Basic, in URLs and in key blocks', () => {
    assert.equal(mask('Authorization: Bearer 0123456789abcdef'), `Authorization: Bearer ${masked}`);
    assert.equal(mask('curl -H "authorization: basic dXNlcjpwYXNzd29yZA=="'), `curl -H "authorization: basic ${masked}"`);
    assert.equal(mask('postgres://user:hunter2@db/x'), `postgres://${masked}@db/x`);
    assert.equal(mask('{"a":"{\\"b\\":\\"postgres:\\\\/\\\\/user:hunter2@db\\"}"}'), `{"a":"{\\"b\\":\\"postgres:\\\\/\\\\/${masked}@db\\"}"}`);
    assert.equal(mask('postgres:\\/\\/user:hunter2@db'), `postgres:\\/\\/${masked}@db`);
    assert.equal(mask('?to=postgres%3A%2F%2Fuser%3Ahunter2%40db%2Fx'), `?to=postgres%3A%2F%2F${masked}%40db%2Fx`);
    const block = '-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----';
    assert.equal(mask(`a ${block} b`), `a ${masked} b`);
    assert.equal(mask(`a ${block.slice(0, 40)}`), `a ${masked}`);
    assert.equal(mask('-----BEGIN CERTIFICATE-----\\nMIIEow'), '-----BEGIN CERTIFICATE-----\\nMIIEow');
  });

  it('is masked by the name it stands beside, in JSON at any depth and in plain text', () => {
    assert.equal(mask('{"password":"pa\\"ss\\\\","next":1}'), `{"password":"${masked}","next":1}`);
    assert.equal(mask('{"db_password" : 123456, "max_tokens": 100}'), '{"db_password" : 0, "max_tokens": 100}');
    const inner = JSON.stringify({ apiKey: 'one"two\\three', note: 'kept' });
    assert.equal(JSON.parse(mask(JSON.stringify({ content: inner }))).content, JSON.stringify({ apiKey: masked, note: 'kept' }));
    const deeper = JSON.stringify({ content: inner });
    assert.equal(JSON.parse(JSON.parse(mask(JSON.stringify({ content: deeper }))).content).content, JSON.stringify({ apiKey: masked, note: 'kept' }));
    assert.equal(mask('DB_PASSWORD=hunter2 and user=me'), `DB_PASSWORD=${masked} and user=me`);
    assert.equal(mask('密码：abc123，谢谢'), `密码：${masked}`);
  });

  it('does not hide behind a word', () => {
    assert.equal(mask(`/bot${`sk-${'Ab1'.repeat(16)}`}/send`), `/bot${masked}/send`);
  });

  it('does not hide behind escapes', () => {
    assert.equal(mask(readable('{"content":"\\u6211\\u7684\\u5bc6\\u94a5sk\\u002dabcdefgh12345"}')), `{"content":"我的密钥${masked}"}`);
    assert.equal(readable('a\\u0022b\\\\u0041\\n\\u005c\\u000a\\/\\\\/\\\\\\/'), 'a\\"b\\\\u0041\\n\\\\\\u000a/\\\\/\\\\/');
    // As System.Text.Json and PHP write them.
    assert.equal(mask(readable('{"arguments":"{\\u0022password\\u0022:\\u0022one two\\u0022}"}')), `{"arguments":"{\\"password\\":\\"${masked}\\"}"}`);
    assert.equal(mask(readable('{"a":"postgres:\\/\\/user:hunter2@db, Bearer abcdefgh\\/0123456789"}')), `{"a":"postgres://${masked}@db, Bearer ${masked}"}`);
    assert.equal(readable('\\ud83d\\ude00 \\ud83d'), '😀 \ufffd');
  });
});

describe('other text', () => {
  it('stays as it is', () => {
    for (const text of ['', 'The bearer of this letter, a task-management-system, asked risk-averse people.', '{"model":"gpt-4o","max_tokens":5,"tool_choice":"auto"}', 'https://example.com/a:b@c', 'token of thanks: none']) {
      assert.equal(mask(text), text);
    }
  });

  it('loses base64 data, whose length is kept', () => {
    const data = 'iVBORw0KGgo'.repeat(100);
    assert.equal(withoutData(`{"url":"data:image/png;base64,${data}"}`), `{"url":"data:image/png;base64,[${data.length} characters of base64]"}`);
  });

  it('ends before a word that a cut may have left', () => {
    assert.equal(withoutLastWord('the key is sk-abc'), 'the key is ');
    assert.equal(withoutLastWord('ends here. '), 'ends here. ');
    assert.equal(withoutLastWord('x'.repeat(1000)).length, 1000);
  });
});

describe('masking', () => {
  it('takes time linear to the length, whatever the text: a square of it would outlast every test', () => {
    const pieces = ['sk-', '"password":"', '"a":"\\\\"', '\\"', '-----BEGIN ', '-----BEGIN PRIVATE KEY', 'eyJ.', 'SG.aaaaaaaaaa', '://a:', 'bearer ', 'password ', 'password:', ' ', 'a', '"\\', '\\', '"key\\":\\"', 'ya29.', '\\u0041', '\\/', '%3A%2F%2F', '%3A', '密码是', '"x" :', '.'];
    for (const piece of pieces) mask(withoutData(readable(piece.repeat(500_000 / piece.length))));
  });

  it('never throws, never leaves a known key and never grows a text much', () => {
    const part = fc.oneof(fc.string(), fc.constantFrom('"', '\\', '\\"', '"password":', '"key": "', 'Bearer ', '://', '@', '-----BEGIN PRIVATE KEY-----', '\\u00', '是', ...Object.values(secrets).map((secret) => ` ${secret} `)));
    fc.assert(fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const text = parts.join('');
      const out = mask(text);
      for (const secret of Object.values(secrets)) assert.ok(!out.includes(secret), text);
      assert.ok(out.length <= text.length + 40 * parts.length + 40);
    }), { numRuns: 300 });
  });
});
