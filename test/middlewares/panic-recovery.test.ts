import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { accessRecords } from '../support/records.ts';
import { behind, type Behind, chat, codeOf, listed } from './behind.ts';

/** Makes the part that reads the caller's key throw, once, where the key is `wrong`. */
function breakIn({ server }: Pick<Behind, 'server'>): void {
  server.prependListener('request', (req) => {
    for (const name of ['authorization', 'x-api-key']) {
      const value = req.headers[name];
      let isFirst = /wrong/.test(String(value));
      if (isFirst) Object.defineProperty(req.headers, name, { get() {
        if (!isFirst) return value;
        isFirst = false;
        throw Object.assign(new TypeError('the secret of the house'), { code: 'EHOUSE' });
      } });
    }
  });
}

describe('panic_recovery', () => {
  it('answers what a part throws with an id and no word of it, and goes on', async (t) => {
    const records = accessRecords(t);
    const { ask, server, log: recorded } = await behind(t, { auth: { mode: 'keys', keys: [listed] }, logging: records.logging });
    breakIn({ server });
    const answer = await ask('/v1/chat/completions', { body: chat, headers: { Authorization: 'Bearer wrong' } });
    assert.deepEqual([answer.status, codeOf(answer)], [500, 'internal_error']);
    assert.ok(!/secret|EHOUSE|TypeError|\.ts/.test(answer.text), answer.text);
    const [panic] = recorded.named('request.panic');
    assert.equal(panic?.['requestId'], answer.headers['x-request-id']);
    assert.deepEqual(panic?.['error'], { name: 'TypeError', message: 'the secret of the house', code: 'EHOUSE' });
    assert.match(String(panic?.['stack']), /panic-recovery\.test\.ts/);
    const [line] = await records.atLeast(1);
    assert.deepEqual([line?.status, line?.outcome, line?.id], [500, 'refused:internal_error', answer.headers['x-request-id']]);
    assert.equal((await ask('/health')).status, 200);
    assert.equal((await ask('/api/status')).status, 200);
  });

  it('speaks the dialect of the route', async (t) => {
    const { ask, server } = await behind(t, { auth: { mode: 'keys', keys: [listed] } });
    breakIn({ server });
    const answer = await ask('/v1/messages', { body: chat, headers: { 'x-api-key': 'wrong' } });
    assert.deepEqual([answer.status, answer.json<{ type: string }>().type], [500, 'error']);
  });
});
