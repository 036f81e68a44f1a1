import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rawRequest } from '../support/client.ts';
import { recorded } from '../support/journal.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, behind, chat, codeOf, token } from './behind.ts';

describe('fingerprint', () => {
  it('gives every answer an id, the upstream\'s and the caller\'s own replaced, and tells the upstream', async (t) => {
    const { ask, seen } = await behind(t, {}, (_req, res) => void res.writeHead(200, { 'X-Request-Id': 'theirs' }).end());
    const ids = new Set<unknown>();
    for (const path of ['/health', '/', '/api/status', '/v1/models']) {
      const { headers, rawHeaders } = await ask(path, { headers: { 'X-Request-Id': 'mine' } });
      assert.match(String(headers['x-request-id']), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.equal(rawHeaders.filter((name) => name.toLowerCase() === 'x-request-id').length, 1);
      ids.add(headers['x-request-id']);
    }
    assert.equal(ids.size, 4);
    assert.ok(seen.length === 2 && seen.every(({ headers }) => ids.has(headers['x-request-id'])));
  });

  it('tells the upstream the client\'s address, scheme and host as far as the peer is trusted', async (t) => {
    const forged = { 'X-Forwarded-For': '198.51.100.1, 203.0.113.9', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'gate.test:8443', 'X-Real-IP': '198.51.100.2', Host: 'inside.test' };
    const told = async (trustProxy: string[]): Promise<unknown[]> => {
      const { ask, seen } = await behind(t, { trustProxy });
      await ask('/api/status', { headers: forged });
      const headers = seen[0]?.headers ?? {};
      return ['x-forwarded-for', 'x-real-ip', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'host'].map((name) => headers[name]);
    };
    assert.deepEqual(await told(['loopback']), ['203.0.113.9', '203.0.113.9', 'https', 'gate.test:8443', '8443', 'inside.test']);
    assert.deepEqual(await told(['10.0.0.0/8']), ['127.0.0.1', '127.0.0.1', 'http', 'inside.test', '80', 'inside.test']);
  });

  it('believes no scheme but http and https', async (t) => {
    const { ask, seen } = await behind(t);
    for (const proto of ['javascript', 'HTTPS', '', 'https,http']) await ask('/', { headers: { 'X-Forwarded-Proto': proto } });
    assert.deepEqual(seen.map(({ headers }) => headers['x-forwarded-proto']), ['http', 'http', 'http', 'https']);
  });

  it('records the country a trusted peer names, and no other', async (t) => {
    const countries = async (trustProxy: string[]): Promise<unknown[]> => {
      const { ask, gate } = await behind(t, { trustProxy });
      for (const code of ['DE', 'XX', 'de', 'T1', 'DE, FR']) await ask('/', { headers: { 'CF-IPCountry': code } });
      return (await recorded(gate)).map(({ country }) => country);
    };
    assert.deepEqual(await countries(['loopback']), ['DE', null, null, null, null]);
    assert.deepEqual(await countries(['10.0.0.0/8']), [null, null, null, null, null]);
  });

  it('refuses targets and hosts that the servers behind it would read differently', async (t) => {
    const { port, seen } = await behind(t);
    const host = `Host: 127.0.0.1:${port}\r\n`;
    const table: Record<string, [line: string, headers: string]> = {
      invalid_host: ['GET / HTTP/1.1', `${host}Host: other.test\r\n`],
      'invalid_host again': [`GET http://other.test/ HTTP/1.1`, host],
      'invalid_host with a user': [`GET http://user@127.0.0.1:${port}/ HTTP/1.1`, host],
      invalid_target: ['OPTIONS * HTTP/1.1', host],
      'invalid_target of another scheme': ['GET ftp://127.0.0.1/ HTTP/1.1', host],
      invalid_path: ['GET /a%00b HTTP/1.1', host],
      'invalid_path, half an escape': ['GET /a%zz HTTP/1.1', host],
      'invalid_path, no UTF-8': ['GET /%ff HTTP/1.1', host],
      'invalid_path, a line break': ['GET /a%0d%0ab HTTP/1.1', host],
    };
    for (const [what, [line, headers]] of Object.entries(table)) {
      const answer = (await rawRequest(port, `${line}\r\n${headers}Connection: close\r\n\r\n`)).toString();
      assert.match(answer, /^HTTP\/1\.1 400 [^]*x-request-id: /i, what);
    }
    assert.equal(seen.length, 0);
  });

  it('takes absolute-form to its own host for what it means, and leaves the query alone', async (t) => {
    const { port, seen } = await behind(t);
    const host = `127.0.0.1:${port}`;
    const answer = await rawRequest(port, `GET http://${host}/api/x%20y?a=%00&b=%zz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.match(answer.toString(), /^HTTP\/1\.1 200/);
    await rawRequest(port, `GET http://${host}?a=1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.deepEqual(seen.map(({ url }) => url), ['/api/x%20y?a=%00&b=%zz', '/?a=1']);
  });

  it('judges a path by its meaning, so that no spelling of a model route is free', async (t) => {
    const { ask, seen } = await behind(t);
    for (const target of ['/v1/chat%2Fcompletions', '/%761/chat/completions', '//v1/chat/completions', '/v1//chat/./completions', '/x/../v1/chat/completions', '/x/%2e%2e/v1/chat/completions', '/v1/chat/completions?x=/../', '/../../v1/chat/completions']) {
      const answer = await ask('/', { target, body: chat });
      assert.deepEqual([answer.status, codeOf(answer)], [401, 'missing_credential'], target);
    }
    assert.equal(seen.length, 0);
    await ask('/', { target: '/a//b/../c%2Fd:e?x=//' });
    assert.equal(seen[0]?.url, '/a//b/../c%2Fd:e?x=//');
  });

  it('knows a caller by the same identity everywhere, and never by the token itself', async (t) => {
    const records = accessRecords(t);
    const { ask } = await behind(t, { logging: records.logging, secret: 'a secret of this install' });
    await ask('/v1/chat/completions', { body: chat, headers: bearer });
    await ask('/v1/messages', { body: chat, headers: { 'x-api-key': token.slice(3) } });
    await ask(`/v1beta/models/g:generateContent?key=${token}`, { body: chat });
    await ask('/v1/models');
    const lines = await records.atLeast(4);
    assert.match(String(lines[0]?.token), /^[0-9a-f]{16}$/);
    assert.deepEqual(lines.map(({ token: id }) => id === lines[0]?.token), [true, true, true, false]);
    assert.ok(!JSON.stringify(lines).includes(token.slice(3)));
  });
});
