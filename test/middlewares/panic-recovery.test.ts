import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { recorder } from '../support/gate.ts';
import { accessRecords } from '../support/records.ts';
import { behind, chat, codeOf, listed } from './behind.ts';

/** A gate one of whose parts throws: its event log does, when a key is refused. */
const throwing = () => {
  const log = recorder();
  const warn = (fields: object, event: string): void => {
    if (event === 'auth.failed') throw Object.assign(new TypeError('the secret of the house'), { code: 'EHOUSE' });
    log.warn(fields, event);
  };
  return { log: { ...log, warn }, recorded: log };
};

describe('panic_recovery', () => {
  it('answers what a part throws with an id and no word of it, and goes on', async (t) => {
    const { log, recorded } = throwing();
    const records = accessRecords(t);
    const { ask } = await behind(t, { auth: { mode: 'keys', keys: [listed] }, logging: records.logging }, undefined, { log });
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
    const { ask } = await behind(t, { auth: { mode: 'keys', keys: [listed] } }, undefined, { log: throwing().log });
    const answer = await ask('/v1/messages', { body: chat, headers: { 'x-api-key': 'wrong' } });
    assert.deepEqual([answer.status, answer.json<{ type: string }>().type], [500, 'error']);
  });
});
