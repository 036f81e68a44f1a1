import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import type { Context } from '../../lib/request/context.ts';
import { contain, guarded } from '../../lib/request/context.ts';
import { recorder } from '../support/gate.ts';

function scene(over: Partial<Record<'fail' | 'abort', () => void>> = {}) {
  const log = recorder();
  const calls: string[] = [];
  const res = { writableEnded: false, destroyed: false, closed: false, destroy: () => calls.push('res.destroy') } as unknown as ServerResponse & { writableEnded: boolean };
  const context = {
    core: { log }, id: 'id', contained: false, handedOver: false, res,
    req: { socket: { destroy: () => calls.push('socket.destroy') } },
    exchange: { abort: over.abort ?? (() => calls.push('abort')), look: () => undefined },
    fail: over.fail ?? (({ code, status }: { code: string; status: number }) => {
      calls.push(`${status} ${code}`);
      (res as { writableEnded: boolean }).writableEnded = true;
    }),
    finish: () => calls.push('finish'),
  } as unknown as Context;
  return { context, calls, log };
}

const throwing = (): never => {
  throw new Error('once more');
};

describe('a callback that throws', () => {
  it('ends its exchange and tells the client, and the response finishes the request', () => {
    const { context, calls, log } = scene();
    guarded(context, throwing)();
    assert.deepEqual(calls, ['abort', '503 internal_error']);
    assert.deepEqual(log.named('request.panic').map(({ requestId, error }) => [requestId, JSON.stringify(error).includes('once more')]), [['id', true]]);
  });

  it('tells what an upstream caused', () => {
    const { context, calls } = scene();
    contain(context, new Error('x'), 'upstream_invalid');
    assert.deepEqual(calls, ['abort', '502 upstream_invalid']);
  });

  it('breaks the connection and gives everything back where nothing can be told', () => {
    const { context, calls } = scene({ fail: throwing, abort: throwing });
    contain(context, new Error('x'));
    assert.deepEqual(calls, ['res.destroy', 'socket.destroy', 'finish']);
  });

  it('is told once', () => {
    const { context, log } = scene();
    for (let n = 0; n < 3; n++) contain(context, new Error('x'));
    assert.equal(log.named('request.panic').length, 1);
  });

  it('is called with its arguments when it does not throw', () => {
    const { context, calls } = scene();
    const seen: unknown[] = [];
    guarded(context, (...args: readonly unknown[]) => void seen.push(...args))(1, 'b');
    assert.deepEqual([seen, calls], [[1, 'b'], []]);
  });
});
