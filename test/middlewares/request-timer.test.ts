import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bearer, behind, chat } from './behind.ts';

describe('request_timer', () => {
  it('says on every answer how long its head took, in milliseconds', async (t) => {
    const gate = await behind(t, {}, (_req, res) => void setTimeout(() => res.writeHead(200, { 'X-Response-Time': 'theirs' }).end('{}'), 20));
    const times: number[] = [];
    for (const [path, options] of [['/health', {}], ['/', {}], ['/v1/chat/completions', { body: chat }], ['/v1/chat/completions', { body: chat, headers: bearer }]] as const) {
      const { rawHeaders, headers } = await gate.ask(path, options);
      assert.equal(rawHeaders.filter((name) => name.toLowerCase() === 'x-response-time').length, 1, path);
      assert.match(String(headers['x-response-time']), /^\d+\.\d$/, path);
      times.push(Number(headers['x-response-time']));
    }
    assert.ok((times[1] ?? 0) >= 19 && (times[3] ?? 0) >= 19, times.join());
  });

  it('says nothing when it is left out', async (t) => {
    const { ask } = await behind(t, { middleware: ['rate_limit', 'auth'] });
    assert.equal((await ask('/health')).headers['x-response-time'], undefined);
  });
});
