import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import { deviceFingerprint } from '../../lib/identity/caller.ts';

const expected = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('deviceFingerprint', () => {
  it('is the SHA-256 of four headers, as the original makes it', () => {
    const headers = { 'user-agent': 'curl/8.5.0', accept: '*/*', 'accept-language': 'de', 'accept-encoding': 'gzip' };
    assert.equal(deviceFingerprint(headers), expected('curl/8.5.0|*/*|de|gzip'));
    assert.equal(deviceFingerprint({}), expected('|||'));
    assert.equal(deviceFingerprint({ accept: '*/*' }), expected('|*/*||'));
  });

  it('depends on nothing else', () => {
    const headers: IncomingHttpHeaders = { 'user-agent': 'curl/8.5.0', authorization: 'Bearer a', cookie: 'a=b', host: 'x' };
    assert.equal(deviceFingerprint(headers), deviceFingerprint({ 'user-agent': 'curl/8.5.0', 'x-forwarded-for': '203.0.113.9' }));
  });

  it('stays itself when more devices call than are remembered, and for headers of any length', () => {
    const of = (name: string): string => deviceFingerprint({ 'user-agent': name });
    for (let n = 0; n < 6000; n++) assert.equal(of(`agent ${n}`).length, 64);
    for (const name of ['agent 1', 'x'.repeat(2048), 'x'.repeat(100_000), 'é', '鍵']) {
      assert.equal(of(name), expected(`${name}|||`));
      assert.equal(of(name), expected(`${name}|||`));
    }
  });
});
