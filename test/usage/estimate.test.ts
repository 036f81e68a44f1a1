import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { estimateTokens } from '../../lib/usage/tokens.ts';

const prose = 'It was a bright cold day in April, and the clocks were striking thirteen. ';

function near(found: number, expected: number, factor: number): void {
  assert.ok(found >= expected / factor && found <= expected * factor, `${found} for ${expected}`);
}

describe('estimateTokens', () => {
  it('takes four bytes of ASCII or two others for a token', () => {
    for (const [text, tokens] of [['', 0], ['a', 1], ['abcd', 1], ['abcde', 2], ['世界', 3], ['é', 1]] as const) assert.equal(estimateTokens(Buffer.from(text)), tokens, text);
  });

  it('takes as much of a long text as of its parts', () => {
    for (const text of [prose, '今天天气很好，我们去公园散步吧。', JSON.stringify({ role: 'user', content: prose })]) {
      const one = estimateTokens(Buffer.from(text.repeat(10))) / 10;
      for (const times of [60, 100, 1000, 20_000]) near(estimateTokens(Buffer.from(text.repeat(times))), one * times, 1.15);
    }
  });

  it('takes an image for thousands of tokens, not for millions', () => {
    const image = (bytes: number): Buffer => Buffer.from(JSON.stringify({ messages: [{ content: [{ text: prose }, { image_url: { url: `data:image/png;base64,${randomBytes(bytes).toString('base64')}` } }] }] }));
    near(estimateTokens(image(300_000)), 1_600, 2);
    assert.ok(estimateTokens(image(6_000_000)) < 50_000);
  });

  it('still counts the text around an image', () => {
    const body = Buffer.from(`${prose.repeat(2_000)}${randomBytes(300_000).toString('base64')}`);
    near(estimateTokens(body), (prose.length * 2_000) / 4, 1.3);
  });
});
