import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { closing, rawRequest, request, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { DEMO_KEY, startNewapi, type Newapi } from '../support/newapi.ts';
import { accessRecords, type Records } from '../support/records.ts';
import { shared } from '../support/shared.ts';

/** Stands in every request, so that whatever repeats it is found out. */
const SECRET = 'topsecrettopsecrettopsecret';

const shapes = {
  openai: (body: Record<string, { code?: string; type?: string; message?: string }>) => body['error']?.type && body['error']?.code,
  claude: (body: { type?: string; error?: { type?: string } }) => body.type === 'error' && body.error?.type,
  gemini: (body: { error?: { status?: string } }) => body.error?.status,
  task: (body: { code?: string; data?: unknown }) => body.data === null && body.code,
  midjourney: (body: { description?: string; type?: string }) => body.description && body.type,
  newapi: (body: { success?: boolean; message?: string }) => body.success === false && body.message && 'none',
} as const;

interface Case {
  /** The request line. */
  readonly line: string;
  /** `Host`, the secret and `Connection: close` stand there unless `bare`. */
  readonly headers?: readonly string[];
  readonly bare?: boolean;
  /** `Authorization` with a key that NewAPI accepts. */
  readonly key?: boolean;
  readonly body?: string;
  readonly status: number;
  /** The error's code, in its shape; without it the answer is NewAPI's. */
  readonly code?: string;
  readonly shape?: keyof typeof shapes;
  /** A 100 goes before the answer. */
  readonly goAhead?: boolean;
}

interface Scene {
  readonly newapi: Newapi;
  readonly gate: RunningGate;
  readonly records: Records;
}

async function start(t: TestLike): Promise<Scene> {
  const newapi = closing(t, await startNewapi());
  const records = accessRecords(t);
  const gate = await startGate(t, {
    audit: false,
    newapi: { baseUrl: newapi.url },
    logging: records.logging,
    server: { maxBodyBytes: '2KB', maxHeaderBytes: '64KB' },
    rateLimit: { address: { limit: 0 } },
  });
  return { newapi, gate, records };
}

function wire({ line, headers = [], bare, key, body = '' }: Case, port: number): Buffer {
  const usual = bare ? [] : [`Host: 127.0.0.1:${port}`, `Cookie: session=${SECRET}`, `X-Custom: ${SECRET}`, 'Connection: close'];
  const credential = key ? [`Authorization: Bearer ${DEMO_KEY}`] : [];
  const head = [line.replace('PORT', String(port)), ...usual, ...credential, ...headers].join('\r\n');
  return Buffer.from(`${head}\r\n\r\n${body}`, 'latin1');
}

const chat = 'POST /v1/chat/completions HTTP/1.1';
const hello = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}';
const sized = (body: string): string[] => ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`];
const posted = (body: string): Pick<Case, 'line' | 'key' | 'headers' | 'body'> => ({ line: chat, key: true, headers: sized(body), body });
const chunked = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

const cases: Readonly<Record<string, Case>> = {
  'JSON that breaks off': { ...posted('{"model":'), status: 400, code: 'invalid_json' },
  'an empty body': { ...posted(''), status: 400, code: 'invalid_json' },
  'no body at all': { line: chat, key: true, headers: ['Content-Type: application/json'], status: 400, code: 'invalid_json' },
  'an array': { ...posted('[{"model":"gpt-4o-mini"}]'), status: 400, code: 'invalid_json' },
  'text': { ...posted('"gpt-4o-mini"'), status: 400, code: 'invalid_json' },
  'a form where JSON belongs, by its bytes': { ...posted('model=gpt-4o-mini'), status: 400, code: 'invalid_json' },
  'two documents': { ...posted('{}{}'), status: 400, code: 'invalid_json' },
  'brackets without end': { ...posted(`{"a":${'['.repeat(1500)}`), status: 400, code: 'invalid_json' },
  'a member without a value': { ...posted('{"model"}'), status: 400, code: 'invalid_json' },
  'broken JSON on Claude\'s route': { line: 'POST /v1/messages HTTP/1.1', key: true, headers: sized('{'), body: '{', status: 400, code: 'invalid_request_error', shape: 'claude' },
  'another content type': { line: chat, key: true, headers: ['Content-Type: text/plain', 'Content-Length: 2'], body: '{}', status: 415, code: 'invalid_content_type' },
  'a content type of odd bytes': { line: chat, key: true, headers: ['Content-Type: \xff<script>"\\', 'Content-Length: 2'], body: '{}', status: 415, code: 'invalid_content_type' },
  'a body beyond the limit': { ...posted(`{"a":"${'x'.repeat(3000)}"}`), status: 413, code: 'body_too_large' },
  'a body said to be beyond the limit': { line: chat, key: true, headers: ['Content-Length: 99999999999'], status: 413, code: 'body_too_large' },
  'a chunked body beyond the limit': { line: chat, key: true, headers: ['Transfer-Encoding: chunked'], body: chunked('x'.repeat(3000)), status: 413, code: 'body_too_large' },
  'a body beyond the limit and no key': { line: chat, headers: ['Content-Length: 3000'], body: 'x'.repeat(3000), status: 401, code: 'missing_credential' },
  'headers beyond the limit': { line: 'GET /v1/models HTTP/1.1', headers: [`X-Long: ${SECRET.repeat(3000)}`], status: 431, code: 'headers_too_large' },
  'a request line beyond the limit': { line: `GET /v1/models?key=${SECRET.repeat(3000)} HTTP/1.1`, status: 431, code: 'headers_too_large' },
  'a great many headers': { line: 'GET /v1/models HTTP/1.1', key: true, headers: Array.from({ length: 3000 }, () => 'a:b'), status: 431, code: 'headers_too_large' },

  'an unknown path': { line: 'GET /v1/nothing HTTP/1.1', key: true, status: 404 },
  'an unknown path and no key': { line: 'GET /v1/nothing HTTP/1.1', status: 401, code: 'missing_credential' },
  'an unknown method': { line: 'BREW /v1/models HTTP/1.1', status: 400, code: 'malformed_request' },
  'a method in small letters': { line: 'get /v1/models HTTP/1.1', status: 400, code: 'malformed_request' },
  'absolute-form for this host': { line: 'GET http://127.0.0.1:PORT/v1/models HTTP/1.1', key: true, status: 200 },
  'absolute-form for this host without a path': { line: 'GET HTTP://127.0.0.1:PORT?x HTTP/1.1', status: 200 },
  'absolute-form for another host': { line: 'GET http://evil.test/v1/models HTTP/1.1', key: true, status: 400, code: 'invalid_host' },
  'absolute-form with a password': { line: `GET http://user:${SECRET}@127.0.0.1:PORT/v1/models HTTP/1.1`, key: true, status: 400, code: 'invalid_host' },
  'absolute-form of another scheme': { line: `GET ftp://${SECRET}@127.0.0.1:PORT/v1/models HTTP/1.1`, status: 400, code: 'none', shape: 'newapi' },
  'asterisk-form': { line: 'OPTIONS * HTTP/1.1', status: 400, code: 'invalid_target' },
  'a target without its slash': { line: 'GET v1/models HTTP/1.1', status: 400, code: 'malformed_request' },
  'a target that is a password': { line: `GET ${SECRET}@x HTTP/1.1`, status: 400, code: 'malformed_request' },
  'CONNECT': { line: `CONNECT ${SECRET}.test:443 HTTP/1.1`, status: 400, code: 'invalid_target' },
  'a target of an unknown scheme without a path': { line: `GET odd://${SECRET} HTTP/1.1`, status: 400, code: 'invalid_target' },

  'two hosts': { line: 'GET /v1/models HTTP/1.1', key: true, headers: ['Host: evil.test'], status: 400, code: 'invalid_host' },
  'the same host twice': { line: 'GET /v1/messages HTTP/1.1', key: true, headers: ['host: 127.0.0.1'], status: 400, code: 'invalid_request_error', shape: 'claude' },
  'no host': { line: 'GET /v1/models HTTP/1.1', bare: true, key: true, headers: ['Connection: close'], status: 400, code: 'invalid_host' },
  'no host, as HTTP/1.0 allows': { line: 'GET /v1/models HTTP/1.0', bare: true, key: true, status: 200 },
  'a chat by HTTP/1.0': { ...posted(hello), line: 'POST /v1/chat/completions HTTP/1.0', bare: true, status: 200 },
  'HTTP/2 without asking': { line: 'PRI * HTTP/2.0', bare: true, body: 'SM\r\n\r\n', status: 400, code: 'malformed_request' },
  'another version': { line: 'GET /v1/models HTTP/3.7', status: 400, code: 'malformed_request' },
  'no version': { line: 'GET /v1/models', bare: true, status: 400, code: 'malformed_request' },
  'a TLS handshake': { line: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', bare: true, status: 400, code: 'malformed_request' },

  'a length and chunks': { line: chat, key: true, headers: ['Content-Length: 5', 'Transfer-Encoding: chunked'], body: '0\r\n\r\n', status: 400, code: 'malformed_request' },
  'two lengths': { line: chat, key: true, headers: ['Content-Length: 2', 'Content-Length: 3'], body: '{}', status: 400, code: 'malformed_request' },
  'a length that is none': { line: chat, key: true, headers: ['Content-Length: 0x2'], body: '{}', status: 400, code: 'malformed_request' },
  'an encoding that is not chunked': { line: chat, key: true, headers: ['Transfer-Encoding: chunked, identity'], body: '{}', status: 501, code: 'unsupported_transfer_coding' },
  'a space before a colon': { line: chat, key: true, headers: ['Transfer-Encoding : chunked'], body: '0\r\n\r\n', status: 400, code: 'malformed_request' },
  'a folded header': { line: 'GET /v1/models HTTP/1.1', headers: ['X-Fold: a', ' b'], key: true, status: 400, code: 'malformed_request' },
  'a NUL in a header': { line: 'GET /v1/models HTTP/1.1', headers: ['X-Nul: a\0b'], key: true, status: 400, code: 'malformed_request' },
  'chunks that are none': { line: chat, key: true, headers: ['Transfer-Encoding: chunked'], body: 'zz\r\n{}\r\n', status: 400, code: 'malformed_request' },

  'an upgrade to h2c on a chat': { ...posted(hello), headers: [...sized(hello), 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA'], status: 200 },
  'a body announced, with a key': { ...posted(hello), headers: [...sized(hello), 'Expect: 100-continue'], goAhead: true, status: 200 },
  'a body announced to the passthrough': { line: 'POST /v1/nothing HTTP/1.1', key: true, headers: ['Content-Length: 2', 'Expect: 100-continue'], body: '{}', goAhead: true, status: 404 },
  'a body announced, without a key': { line: chat, headers: ['Content-Length: 2', 'Expect: 100-continue'], status: 401, code: 'missing_credential' },
  'a body announced that is too large': { line: chat, key: true, headers: ['Content-Length: 3000', 'Expect: 100-continue'], status: 413, code: 'body_too_large' },
  'an expectation nobody knows': { ...posted(hello), headers: [...sized(hello), 'Expect: miracles'], status: 417, code: 'expectation_failed' },

  'escapes that are no UTF-8': { line: 'GET /v1/models/%ff%fe HTTP/1.1', key: true, status: 400, code: 'invalid_path' },
  'a broken escape': { line: 'GET /v1/models/%zz HTTP/1.1', key: true, status: 400, code: 'invalid_path' },
  'a NUL in the path': { line: 'GET /v1/models/a%00b HTTP/1.1', key: true, status: 400, code: 'invalid_path' },
  'a NUL in the path, in Claude\'s shape': { line: 'POST /v1/messages/%00 HTTP/1.1', key: true, headers: ['Content-Length: 0'], status: 400, code: 'invalid_request_error', shape: 'claude' },
  'a NUL in a page\'s path': { line: 'GET /a%00 HTTP/1.1', status: 400, code: 'none', shape: 'newapi' },
  'a NUL in a Gemini path': { line: 'GET /v1beta/models/%00 HTTP/1.1', key: true, status: 400, code: 'INVALID_ARGUMENT', shape: 'gemini' },
  'a line break in the path': { line: 'GET /suno/fetch/%0d%0aX:%20y HTTP/1.1', key: true, status: 400, code: 'invalid_path', shape: 'task' },
  'a NUL in a Midjourney path': { line: 'GET /mj/task/%00/fetch HTTP/1.1', key: true, status: 400, code: 'invalid_request_error', shape: 'midjourney' },
  'a raw NUL in the path': { line: 'GET /v1/models/\0 HTTP/1.1', key: true, status: 400, code: 'malformed_request' },
  'a NUL in the query': { line: 'GET /v1/models?q=%00%ff%zz HTTP/1.1', key: true, status: 200 },
  'raw UTF-8 in the path': { line: `GET /${Buffer.from('文é').toString('latin1')} HTTP/1.1`, status: 400, code: 'malformed_request' },
};

/** The answers on a connection, in order. */
function answersIn(bytes: Buffer): { status: number; head: string; body: string }[] {
  return bytes.toString('latin1').split(/(?=HTTP\/1\.[01] \d{3} )/).filter((text) => text !== '').map((text) => {
    const end = text.indexOf('\r\n\r\n');
    return { status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) };
  });
}

describe('a bad request', () => {
  const scene = shared(start);
  /** Id and status of every answer so far. */
  const answered: [id: unknown, status: number][] = [];

  for (const [name, asked] of Object.entries(cases)) {
    const { status, code, shape = 'openai' } = asked;
    it(`${name}: one ${status}${code === undefined ? '' : ` ${code}`}`, async () => {
      const { newapi, gate } = await scene();
      newapi.clear();
      const answers = answersIn(await rawRequest(gate.port, wire(asked, gate.port)));
      const statuses = answers.map((each) => each.status);
      assert.deepEqual(statuses, asked.goAhead ? [100, status] : [status]);
      const { head, body } = answers.at(-1) as (typeof answers)[number];
      const id = /^x-request-id: (\S+)$/im.exec(head)?.[1];
      assert.match(String(id), /^[0-9a-f-]{36}$/);
      if (code !== undefined) assert.equal(shapes[shape](JSON.parse(body) as never), code, body);

      const good = await request(`${gate.url}/v1/models`, { headers: { Authorization: `Bearer ${DEMO_KEY}` } });
      assert.equal(good.status, 200);
      assert.equal(newapi.requests.length, code === undefined ? 2 : 1, 'a refused request reached NewAPI');
      answered.push([id, status], [good.headers['x-request-id'], 200]);
      const written = JSON.stringify(answers);
      assert.ok(!written.includes(SECRET.slice(0, 12)) && !written.includes(DEMO_KEY), written);
    });
  }

  it('has one record and no more, in its turn, and leaves its secret nowhere', async () => {
    const { gate, records } = await scene();
    await gate.gate.close();
    assert.deepEqual(records.all().map((line) => [line.id, line.status]), answered);
    const written = JSON.stringify([records.all(), gate.log.events]);
    assert.ok(!written.includes(SECRET.slice(0, 12)) && !written.includes(DEMO_KEY), written);
  });
});
