import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { bearer, behind, chat } from './behind.ts';

const theirs: RequestListener = (req, res) => {
  req.resume().on('end', () => res.writeHead(req.method === 'OPTIONS' ? 204 : 200, { 'Content-Type': 'application/json', 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Credentials': 'true', Vary: 'Accept-Encoding' }).end(req.method === 'OPTIONS' ? undefined : '{}'));
};
const preflight = (origin: string) => ({ method: 'OPTIONS', headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,x-custom' } });
const origin = 'https://app.test';

const said = (headers: IncomingHttpHeaders): Record<string, unknown> => Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')));
const varies = (headers: IncomingHttpHeaders): string[] => (headers.vary ?? '').split(',').map((name) => name.trim().toLowerCase()).sort();

describe('cors', () => {
  it('leaves everything to NewAPI without a section', async (t) => {
    const { ask, seen } = await behind(t, {}, theirs);
    const asked = await ask('/v1/chat/completions', preflight(origin));
    assert.deepEqual([asked.status, said(asked.headers)], [204, { 'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true' }]);
    assert.equal(seen[0]?.method, 'OPTIONS');
    const own = await ask('/health', { headers: { Origin: origin } });
    assert.deepEqual(said(own.headers), {});
  });

  it('ends preflights itself: no credential, no upstream', async (t) => {
    const { ask, seen } = await behind(t, { cors: { allowOrigins: [origin], maxAge: '10m', credentials: true, allowMethods: ['GET', 'POST'] } }, theirs);
    const { status, headers, text } = await ask('/v1/chat/completions', preflight(origin));
    assert.deepEqual([status, text, seen.length], [204, '', 0]);
    assert.deepEqual(said(headers), {
      'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', 'access-control-allow-methods': 'GET,POST', 'access-control-allow-headers': 'authorization,x-custom', 'access-control-max-age': '600',
    });
    assert.ok(varies(headers).includes('origin') && headers['x-request-id']);
  });

  it('marks every answer, refusals too, and takes the upstream\'s marks away', async (t) => {
    const { ask } = await behind(t, { cors: { allowOrigins: [origin], exposeHeaders: ['X-Request-Id'] } }, theirs);
    for (const [path, options] of [['/api/status', {}], ['/v1/chat/completions', { body: chat }], ['/v1/chat/completions', { body: chat, headers: bearer }]] as const) {
      const { headers } = await ask(path, { ...options, headers: { ...(options as { headers?: object }).headers, Origin: origin } });
      assert.deepEqual(said(headers), { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'X-Request-Id' }, path);
      assert.ok(varies(headers).includes('origin'), path);
    }
    assert.deepEqual(varies((await ask('/api/status', { headers: { Origin: origin } })).headers), ['accept-encoding', 'origin']);
  });

  it('leaves the upstream\'s marks where it is left out of the parts', async (t) => {
    const { ask } = await behind(t, { middleware: ['auth'], cors: { allowOrigins: [origin] }, routes: [{ path: '/v1/completions', middleware: ['cors'] }] }, theirs);
    const options = { body: chat, headers: { ...bearer, Origin: origin } };
    assert.deepEqual(said((await ask('/v1/chat/completions', options)).headers), { 'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true' });
    assert.deepEqual(said((await ask('/v1/completions', options)).headers), { 'access-control-allow-origin': origin });
  });

  it('names no origin to those it does not know', async (t) => {
    const { ask } = await behind(t, { cors: { allowOrigins: [origin] } }, theirs);
    for (const stranger of ['https://evil.test', `${origin}.evil.test`, 'null', origin.toUpperCase(), 'http://app.test']) {
      for (const options of [preflight(stranger), { headers: { Origin: stranger } }]) {
        const { headers } = await ask('/v1/models', options);
        assert.equal(headers['access-control-allow-origin'], undefined, stranger);
        assert.ok(varies(headers).includes('origin'), stranger);
      }
    }
  });

  it('allows any origin when told so', async (t) => {
    const { ask } = await behind(t, { cors: { allowOrigins: ['*'] } }, theirs);
    assert.equal((await ask('/v1/models', { headers: { Origin: 'https://any.test' } })).headers['access-control-allow-origin'], '*');
  });
});
