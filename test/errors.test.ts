import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HeimdallError, errors, render, renderEvent, type ErrorCode } from '../lib/errors.ts';
import type { ErrorShape } from '../types/route.d.ts';

const codes = Object.keys(errors) as ErrorCode[];
const id = '01890a5d-ac96-774b-bcce-b302099a8057';
const cause = Object.assign(new Error('the secret sk-leak of http://10.0.0.1:3000'), { code: 'ECONNREFUSED' });

/** Each dialect's error, as its clients read it. */
const readers: Record<ErrorShape, (body: never, error: HeimdallError) => void> = {
  openai: ({ error, ...rest }: { error: Record<string, unknown> }, { message, type, code }) => {
    assert.deepEqual([error, rest], [{ message, type, param: null, code }, {}]);
  },
  claude: (body: { type: string; error: { type: string; message: string }; request_id: string }, { message, status }) => {
    assert.deepEqual([body.type, body.error.message, body.request_id], ['error', message, id]);
    const types: Record<number, string> = { 400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 408: 'timeout_error', 413: 'request_too_large', 429: 'rate_limit_error', 503: 'overloaded_error', 504: 'timeout_error' };
    assert.equal(body.error.type, types[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error'));
  },
  gemini: ({ error }: { error: { code: number; message: string; status: string } }, { message, status }) => {
    assert.deepEqual([error.code, error.message], [status, message]);
    assert.match(error.status, /^[A-Z_]+$/);
  },
  midjourney: (body: Record<string, unknown>, { message, status, type }) => assert.deepEqual(body, { description: message, type, code: status }),
  task: (body: Record<string, unknown>, { message, code }) => assert.deepEqual(body, { code, message, data: null }),
  newapi: (body: Record<string, unknown>, { message }) => assert.deepEqual(body, { success: false, message }),
};
const shapes = Object.keys(readers) as ErrorShape[];

describe('every error', () => {
  for (const code of codes) {
    it(`${code} reads well in every dialect`, () => {
      const error = new HeimdallError(code, { cause });
      for (const shape of shapes) {
        const text = render(error, shape, id);
        readers[shape](JSON.parse(text) as never, error);
        assert.ok(!/sk-leak|10\.0\.0\.1|ECONN|\bat \S+ \(|:\d+:\d+|\.ts\b/.test(text), text);
      }
    });

    it(`${code} has a status that fits, and says what is wrong in a sentence`, () => {
      const { status, message, type, retryable } = new HeimdallError(code);
      assert.ok(status >= 400 && status < 600);
      assert.match(message, /^[A-Z].*\.$/);
      assert.equal(type === 'server_error', status >= 500);
      assert.equal(type === 'authentication_error', status === 401);
      // A client's mistake does not go away by repetition; only time mends the others.
      if (status < 500 && status !== 408 && status !== 425 && status !== 429) assert.equal(retryable, false);
    });
  }
});

describe('HeimdallError', () => {
  it('takes an upstream\'s status, a message that names the field, and a time to wait', () => {
    const error = new HeimdallError('upstream_error', { status: 529, message: 'x: expected a, got b.', retryAfter: 3, cause });
    assert.deepEqual([error.status, error.message, error.retryAfter, error.cause, error.name], [529, 'x: expected a, got b.', 3, cause, 'HeimdallError']);
    assert.equal(new HeimdallError('invalid_path', { message: 'Own words.' }).message, `Own words. ${errors.invalid_path.hint}`);
    assert.equal(new HeimdallError('invalid_path').retryAfter, null);
    assert.ok(error instanceof Error);
  });

  it('stays valid JSON whatever its message holds', () => {
    const message = 'body: expected JSON, got "\u0000\n\u2028</script>\ud800".';
    for (const shape of shapes) assert.ok(JSON.stringify(JSON.parse(render(new HeimdallError('invalid_json', { message }), shape, id))).includes('expected JSON'), shape);
  });
});

describe('renderEvent', () => {
  it('is one event of one line, named where the dialect names it', () => {
    for (const code of codes) for (const shape of shapes) {
      const error = new HeimdallError(code, { message: 'a\nb\r\n\r\ndata: c' });
      const text = renderEvent(error, shape, id);
      const expected = shape === 'claude' ? /^event: error\ndata: (\{[^\r\n]*\})\n\n$/ : /^data: (\{[^\r\n]*\})\n\n$/;
      const [, data = ''] = expected.exec(text) ?? assert.fail(text);
      assert.deepEqual(JSON.parse(data), JSON.parse(render(error, shape, id)));
    }
  });
});
