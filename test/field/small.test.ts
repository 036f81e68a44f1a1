import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import express from 'express';
import { heimdall, type ConfigInput } from '../../lib/index.ts';
import { request, type TestLike } from '../support/client.ts';
import { startGate, temporary } from '../support/gate.ts';
import { shared } from '../support/shared.ts';
import { startUpstream, type Upstream } from '../support/upstream.ts';
import { refused } from '../support/websocket.ts';

const plain = Buffer.from(JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello '.repeat(50) }] }));
const chat = '{"id":"1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}';
const key = 'sk-of-the-caller';
const keys = { mode: 'keys' as const, keys: [{ name: 'a', sha256: createHash('sha256').update(key).digest('hex'), upstreamCredential: 'sk-granted' }] };

interface Got {
  readonly url: string;
  readonly body: Buffer;
  readonly encoding: string | undefined;
  readonly length: string | undefined;
  readonly authorization: string | undefined;
}

/** An upstream that keeps what it got. */
async function keeper(t: TestLike): Promise<Upstream & { readonly got: Got[] }> {
  const got: Got[] = [];
  const upstream = await startUpstream(t, (req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const { headers } = req;
      got.push({ url: req.url ?? '', body: Buffer.concat(chunks), encoding: headers['content-encoding'], length: headers['content-length'], authorization: headers.authorization });
      res.setHeader('content-type', 'application/json').end(chat);
    });
  });
  return { ...upstream, got };
}

const half = plain.length >> 1;

/** Bodies by their coding, and whether NewAPI gets them as received. */
const bodies: readonly (readonly [coding: string, body: Buffer, kept: boolean])[] = [
  ['gzip', gzipSync(plain), true],
  ['br', brotliCompressSync(plain), true],
  ['zstd', zstdCompressSync(plain), false],
  ['ZSTD', zstdCompressSync(plain), false],
  ['deflate', deflateSync(plain), false],
  ['deflate', deflateRawSync(plain), false],
  ['x-gzip', gzipSync(plain), false],
  ['GZIP', gzipSync(plain), false],
  ['gzip, zstd', zstdCompressSync(gzipSync(plain)), false],
  ['zstd,br , gzip', gzipSync(brotliCompressSync(zstdCompressSync(plain))), false],
  ['identity, gzip', gzipSync(plain), false],
  ['zstd', Buffer.concat([zstdCompressSync(plain.subarray(0, half)), zstdCompressSync(plain.subarray(half))]), false],
];

const send = (url: string, coding: string, body: Buffer) => request(`${url}/v1/chat/completions`, { body, headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Content-Encoding': coding } });

describe('a request body with a coding', () => {
  const own: ConfigInput = { auth: keys, llm: { provider: 'mine', apiKey: 'sk-ours', models: { m: 'renamed' } } };
  for (const [what, config] of [['NewAPI as received or decoded', {}], ['a target of ours decoded', own]] as const) {
    it(`reaches ${what}, and leaves the fingerprint of its bytes`, async (t) => {
      const upstream = await keeper(t);
      const gate = await startGate(t, config === own ? { ...own, llm: { ...own.llm, endpoint: `${upstream.url}/v1` } } : { newapi: { baseUrl: upstream.url } });
      for (const [at, [coding, body, kept]] of bodies.entries()) {
        const name = `${coding} (${at})`;
        assert.equal((await send(gate.url, coding, body)).status, 200, name);
        assert.equal(upstream.got.length, at + 1, name);
        const got = upstream.got[at] as Got;
        if (config !== own && kept) assert.deepEqual([got.body.equals(body), got.encoding, got.length], [true, coding, String(body.length)], name);
        else assert.deepEqual([got.body.toString(), got.encoding, got.length], [plain.toString().replace('"m"', config === own ? '"renamed"' : '"m"'), undefined, String(got.body.length)], name);
      }
      await gate.gate.close();
      const journal = new DatabaseSync(gate.gate.config.audit.path, { readOnly: true });
      assert.deepEqual(journal.prepare('SELECT content_fingerprint AS md5, bytes_in FROM heimdall_logs ORDER BY id').all().map((row) => ({ ...row })), bodies.map(([, body]) => ({ md5: createHash('md5').update(body).digest('hex'), bytes_in: body.length })));
      journal.close();
    });
  }

  it('of a task reaches NewAPI as received or decoded', async (t) => {
    const newapi = await keeper(t);
    const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, server: { bufferBodyBytes: 200_000 } });
    const post = (path: string, coding: string, body: Buffer, more = {}) => request(gate.url + path, { body, method: 'POST', headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Content-Encoding': coding, ...more } });
    for (const path of ['/v1/messages/count_tokens', '/v1/responses/compact', '/v1/videos', '/v1/messages/batches?beta=true', '/mj/submit/imagine', '/suno/submit/music', '/kling/v1/videos', '/v1beta/files', '/v1/fine-tunes', '/v1/files']) {
      for (const [at, [coding, body, kept]] of bodies.entries()) {
        const from = newapi.got.length;
        assert.equal((await post(path, coding, body)).status, 200, `${path} ${coding}`);
        const got = newapi.got[from] as Got;
        assert.deepEqual([got.url, got.body.equals(kept ? body : plain), got.encoding, got.length], [path, true, kept ? coding : undefined, String((kept ? body : plain).length)], `${path} ${coding} (${at})`);
      }
    }
    assert.equal((await post('/v1/messages/count_tokens', 'zstd', Buffer.from('{"model":"m"}'))).status, 200, 'what is none goes on as it came');
    assert.deepEqual([newapi.got.at(-1)?.body.toString(), newapi.got.at(-1)?.encoding], ['{"model":"m"}', 'zstd']);
    assert.equal((await post('/v1/files', 'zstd', zstdCompressSync(Buffer.alloc(300_000, 32)))).status, 413);
  });

  it('is sent as received with decode_request_bodies: off', async (t) => {
    const newapi = await keeper(t);
    const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, llm: { decodeRequestBodies: 'off' } });
    const body = zstdCompressSync(plain);
    assert.equal((await send(gate.url, 'zstd', body)).status, 200);
    assert.deepEqual([newapi.got[0]?.body.equals(body), newapi.got[0]?.encoding], [true, 'zstd']);
  });

  it('is refused beyond the bounds, in one frame or in many', async (t) => {
    const newapi = await keeper(t);
    const gate = await startGate(t, { newapi: { baseUrl: newapi.url }, server: { bufferBodyBytes: 200_000 } });
    const frame = zstdCompressSync(Buffer.alloc(150_000, 32));
    for (const [coding, body] of [['zstd', zstdCompressSync(Buffer.alloc(300_000, 32))], ['zstd', Buffer.concat([frame, frame])], ['gzip, zstd', zstdCompressSync(gzipSync(Buffer.alloc(300_000, 32)))], ['deflate', deflateSync(Buffer.alloc(300_000, 32))]] as const) {
      assert.equal((await send(gate.url, coding, body)).status, 413, coding);
    }
    assert.deepEqual(newapi.got, []);
  });
});

describe('errors below /v1/messages', () => {
  const running = shared((scope) => startGate(scope, { newapi: { baseUrl: 'http://127.0.0.1:1' } }));
  for (const [method, path] of [['POST', '/v1/messages'], ['POST', '/v1/messages/count_tokens'], ['POST', '/v1/messages/batches'], ['GET', '/v1/messages/batches'], ['GET', '/v1/messages/batches/b'], ['POST', '/v1/messages/batches/b/cancel'], ['DELETE', '/v1/messages/batches/b'], ['GET', '/v1/messages/batches/b/results'], ['POST', '/v1/messages/count_tokens?beta=true'], ['PUT', '/v1/messages/other']] as const) {
    it(`have Claude's shape: ${method} ${path}`, async () => {
      const gate = await running();
      const answer = await request(gate.url + path, { method, ...(method === 'GET' ? {} : { body: { model: 'm' } }) });
      const { type, error } = answer.json<{ type: string; error: { type: string } }>();
      assert.deepEqual([answer.status, type, error.type], [401, 'error', 'authentication_error']);
    });
  }
});

describe('x-goog-api-key', () => {
  const running = shared(async (scope) => {
    const newapi = await keeper(scope);
    return { newapi, gate: await startGate(scope, { newapi: { baseUrl: newapi.url }, auth: keys }) };
  });
  for (const path of ['/v1beta/models', '/v1beta/models/gemini-x:generateContent', '/v1beta/openai/models', '/v1beta/openai/chat/completions', '/v1beta/files', '/v1beta/files/f', '/v1beta/cachedContents', '/v1beta/tunedModels/x', '/v1beta/corpora', '/v1beta/models/x:countTokens', '/v1/models/gemini-x:generateContent']) {
    it(`counts on ${path}`, async () => {
      const { newapi, gate } = await running();
      const before = newapi.got.length;
      assert.equal((await request(gate.url + path, { body: { contents: [] }, headers: { 'x-goog-api-key': key } })).status, 200);
      assert.deepEqual(newapi.got.slice(before).map(({ authorization }) => authorization), ['Bearer sk-granted']);
    });
  }
});

describe('a token bound of -1', () => {
  const running = shared(async (scope) => {
    const own = await keeper(scope);
    const ours = await startGate(scope, { auth: keys, llm: { provider: 'mine', endpoint: `${own.url}/v1`, apiKey: 'sk-ours' } });
    return { own, ours, newapi: await startGate(scope, { newapi: { baseUrl: own.url } }) };
  });
  for (const [path, field] of [['/v1/chat/completions', 'max_tokens'], ['/v1/chat/completions', 'max_completion_tokens'], ['/v1/completions', 'max_tokens'], ['/v1/responses', 'max_output_tokens'], ['/v1/messages', 'max_tokens']] as const) {
    it(`passes to a target of ours, and is refused where only NewAPI answers: ${field} of ${path}`, async () => {
      const { own, ours, newapi } = await running();
      const before = own.got.length;
      const body = { model: 'm', [field]: -1, messages: [], input: 'x', prompt: 'x' };
      const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
      const answer = await request(ours.url + path, { body: JSON.stringify(body), headers });
      if (path !== '/v1/messages') assert.deepEqual([answer.status, own.got[before]?.body.toString()], [200, JSON.stringify(body)], answer.text);
      const refusal = await request(newapi.url + path, { body: JSON.stringify(body), headers });
      assert.equal(refusal.status, 400);
      assert.match(refusal.text, new RegExp(`${field}: expected a positive whole number, got -1`));
    });
  }
});

describe('an upgrade beside other listeners of a host', () => {
  const running = shared(async (scope) => {
    const gate = heimdall({ newapi: { baseUrl: 'http://127.0.0.1:1' }, logging: { file: false, level: 'silent' }, audit: { path: join(temporary(scope), 'heimdall.db') }, llm: { healthCheck: { enabled: false } } });
    const server = createServer(express().use('/llm', gate));
    server.on('upgrade', () => undefined);
    gate.attach(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    scope.after(async () => {
      await gate.close({ timeout: 0 });
      server.close();
    });
    return (server.address() as AddressInfo).port;
  });
  for (const path of ['/llm/v1/realtime?model=m', '/llm/v1/realtime/', '/llm/v1/responses', '/llm/v1/responses?model=m', '/llm/v1/responses/']) {
    it(`is answered by the gate: ${path}`, async () => {
      const port = await running();
      const refusal = await refused(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
      assert.equal(refusal.status, 401);
    });
  }
});
