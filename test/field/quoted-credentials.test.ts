import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as send, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { WebSocketServer } from 'ws';
import type { ConfigInput } from '../../lib/index.ts';
import { SecretFilter } from '../../lib/redaction/redaction.ts';
import { keyed, listed } from '../middlewares/behind.ts';
import { openStream, request, until, type Answer } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { recorded } from '../support/journal.ts';
import { startUpstream } from '../support/upstream.ts';
import { dial } from '../support/websocket.ts';

const bare = 'Proj-9/Q+uoted_C=redential-Of-Ours-0123456789abcdefghij';
const ours = `sk-${bare}`;
const stars = '*'.repeat(bare.length);

interface Way {
  readonly path: string;
  readonly body: object;
  /** Where a gate has the credential. @param upstream where it is sent. */
  config(upstream: string): ConfigInput;
  /** What a request that carries it looks like. */
  isSent(req: IncomingMessage): boolean;
}

const chat = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };
const auth = { mode: 'keys' as const, keys: [listed] };
const granted = { mode: 'keys' as const, keys: [{ ...listed, upstreamCredential: ours }] };
const byBearer = ({ headers }: IncomingMessage): boolean => headers.authorization === `Bearer ${ours}`;

/** The engines and targets that send a credential of ours. */
const ways: Readonly<Record<string, Way>> = {
  'an own openai': { path: '/v1/chat/completions', body: chat, isSent: byBearer, config: (url) => ({ auth, llm: { provider: 'openai', endpoint: `${url}/v1`, apiKey: ours } }) },
  'an own anthropic': { path: '/v1/messages', body: { ...chat, max_tokens: 5 }, isSent: ({ headers }) => headers['x-api-key'] === ours, config: (url) => ({ auth, llm: { provider: 'anthropic', endpoint: `${url}/v1`, apiKey: ours } }) },
  'NewAPI, dispatched': { path: '/v1/chat/completions', body: chat, isSent: byBearer, config: (url) => ({ newapi: { baseUrl: url }, auth: granted }) },
  'NewAPI, carried': { path: '/suno/submit/music', body: { prompt: 'Hello' }, isSent: byBearer, config: (url) => ({ newapi: { baseUrl: url }, auth: granted }) },
};

interface Scene extends RunningGate {
  ask(): Promise<Answer>;
}

async function scene(t: TestContext, way: Way, answer: RequestListener): Promise<Scene> {
  const upstream = await startUpstream(t, (req, res) => {
    assert.ok(way.isSent(req));
    assert.equal(req.headers['accept-encoding'], 'identity');
    req.resume().on('end', () => answer(req, res));
  });
  const gate = await startGate(t, { ...way.config(upstream.url), circuitBreaker: { failureThreshold: 1000 } });
  return { ...gate, ask: () => request(gate.url + way.path, { headers: { ...keyed, 'Accept-Encoding': 'gzip, br, zstd' }, body: way.body }) };
}

async function isNowhere(answer: Answer, gate: Scene): Promise<void> {
  const all = `${answer.rawHeaders.join('\n')}\n${answer.body.toString('latin1')}\n${JSON.stringify(await recorded(gate.gate))}`;
  for (const form of forms(bare)) assert.ok(!all.includes(form), form);
}

/** How a text is spelled in JSON of several writers and in URLs. */
const forms = (text: string): readonly string[] => [
  text, text.replaceAll('/', '\\/'), text.replaceAll('/', '\\\\/'), text.replace(/[+=]/g, (each) => `\\u00${each.charCodeAt(0).toString(16).toUpperCase()}`),
  encodeURIComponent(text), encodeURIComponent(text).replace(/%../g, (each) => each.toLowerCase()),
  [...text].map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
];

const json = (res: ServerResponse, status: number, text: string, head: Record<string, string> = {}): unknown => res.writeHead(status, { 'Content-Type': 'application/json', ...head }).end(text);
const document = (quoted: string): string => `{"object":"chat.completion","text":"Incorrect API key: ${quoted}. See ünïcode \\n docs","error_key":"${quoted}"}`;
const failure = (quoted: string): string => `{"error":{"message":"Incorrect API key: ${quoted}","code":"model_not_found"}}`;

/** Places of an answer that quote it, each with the status, 0 for any, and the body with which it should arrive. */
const places: Readonly<Record<string, { readonly answer: (res: ServerResponse) => void; readonly status: number; readonly body?: string }>> = {
  'JSON 200': { status: 200, answer: (res) => json(res, 200, document(ours)), body: document(`sk-${stars}`) },
  'JSON 200 without its prefix': { status: 200, answer: (res) => json(res, 200, document(bare)), body: document(stars) },
  'JSON 400': { status: 400, answer: (res) => json(res, 400, failure(bare)), body: failure(stars) },
  'JSON 404': { status: 404, answer: (res) => json(res, 404, failure(`Bearer ${ours}`)), body: failure(`Bearer sk-${stars}`) },
  'JSON 401': { status: 401, answer: (res) => json(res, 401, failure(ours)) },
  'JSON 500': { status: 500, answer: (res) => json(res, 500, failure(ours)), body: failure(`sk-${stars}`) },
  'trailers': { status: 200, answer: (res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Key' }).write('x');
    res.addTrailers({ 'X-Key': ours });
    res.end();
  }, body: 'x' },
  'an event that is an error': { status: 0, answer: (res) => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`event: error\ndata: {"type":"error","error":{"type":"x","message":"${ours}"}}\n\n`) },
  'a page of text, 422': { status: 422, answer: (res) => res.writeHead(422, { 'Content-Type': 'text/html' }).end(`<p>${ours}</p> ${bare.slice(0, 6)}`), body: `<p>sk-${stars}</p> ${bare.slice(0, 6)}` },
  'text 200': { status: 200, answer: (res) => res.writeHead(200, { 'Content-Type': 'text/plain' }).end(`${bare}${bare} and ${bare.slice(0, 12)}`), body: `${stars}${stars} and ${'*'.repeat(12)}` },
  'header values': { status: 200, answer: (res) => json(res, 200, '{"ok":true}', { 'X-Key': ours, 'X-Url': `https://x.test/?key=${encodeURIComponent(ours)}`, 'X-Oneapi-Request-Id': bare }), body: '{"ok":true}' },
  'an event': { status: 200, answer: (res) => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`data: {"a":"${ours}"}\n\ndata: [DONE]\n\n`), body: `data: {"a":"sk-${stars}"}\n\ndata: [DONE]\n\n` },
  'gzip unasked': { status: 200, answer: (res) => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }).end(gzipSync(document(ours))), body: document(`sk-${stars}`) },
  'br unasked, an error': { status: 422, answer: (res) => res.writeHead(422, { 'Content-Type': 'application/json', 'Content-Encoding': 'br' }).end(brotliCompressSync(failure(ours))), body: failure(`sk-${stars}`) },
  'zstd and gzip unasked, events': { status: 200, answer: (res) => res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'zstd, gzip' }).end(gzipSync(zstdCompressSync(`data: ${ours}\n\n`))), body: `data: sk-${stars}\n\n` },
  ...Object.fromEntries(forms(bare).map((form, nth) => [`JSON 200 in spelling ${nth}`, { status: 200, answer: (res: ServerResponse) => void json(res, 200, document(form)), body: document('*'.repeat(form.length)) }])),
};

describe('an answer that quotes a credential of ours', () => {
  for (const [who, way] of Object.entries(ways)) {
    it(`arrives without it, otherwise as it was: ${who}`, async (t) => {
      let place = Object.values(places)[0] as (typeof places)[string];
      const gate = await scene(t, way, (_req, res) => place.answer(res));
      for (const [what, each] of Object.entries(places)) {
        place = each;
        const answer = await gate.ask();
        await isNowhere(answer, gate);
        const status = each.status === 401 && who.includes('own') ? 502 : each.status;
        if (status !== 0) assert.equal(answer.status, status, what);
        assert.equal(answer.headers['content-encoding'], undefined, what);
        if (each.body !== undefined) assert.equal(answer.body.toString(), each.body, what);
      }
    });

    it(`arrives without it wherever a chunk ends: ${who}`, async (t) => {
      let at = 0;
      const events = Buffer.from(`data: {"a":"${ours}"}\n\ndata: {"b":"${bare.slice(0, 9)}"}\n\n`);
      const gate = await scene(t, way, (_req, res) => {
        res.writeHead(200, { 'Content-Type': at % 2 === 0 ? 'text/event-stream' : 'text/plain' });
        res.write(events.subarray(0, at));
        setImmediate(() => setImmediate(() => res.end(events.subarray(at))));
      });
      for (at = 1; at < ours.length + 16; at++) {
        const answer = await gate.ask();
        assert.equal(answer.body.toString(), `data: {"a":"sk-${stars}"}\n\ndata: {"b":"${bare.slice(0, 9)}"}\n\n`, `${at}`);
      }
      assert.ok(!JSON.stringify(await recorded(gate.gate)).includes(bare));
    });

    it(`is passed on event by event: ${who}`, async (t) => {
      let stream: ServerResponse | null = null;
      const gate = await scene(t, way, (_req, res) => {
        stream = res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        stream.write('data: 0\n\n');
      });
      const live = await openStream(gate.url + way.path, { headers: keyed, body: { ...way.body, stream: true } });
      for (let nth = 1; nth < 6; nth++) {
        await until(() => live.events.length === nth);
        (stream as ServerResponse | null)?.write(`data: ${nth} ${ours}\n\n`);
      }
      await until(() => live.events.length === 6);
      (stream as ServerResponse | null)?.end('data: [DONE]\n\n');
      await live.done;
      assert.equal(live.text, `data: 0\n\n${[1, 2, 3, 4, 5].map((nth) => `data: ${nth} sk-${stars}\n\n`).join('')}data: [DONE]\n\n`);
    });

    it(`goes nowhere in a coding that cannot be read: ${who}`, async (t) => {
      const gate = await scene(t, way, (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'rot13' }).end(document(ours)));
      const answer = await gate.ask().catch(() => null);
      assert.ok(answer === null || (answer.status >= 500 && !answer.text.includes(bare)));
    });
  }

  it('of several megabytes arrives decoded', async (t) => {
    const text = `${'0123456789abcdef'.repeat(400_000)}${ours}`;
    for (const way of Object.values(ways)) {
      const gate = await scene(t, way, (_req, res) => res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Encoding': 'gzip' }).end(gzipSync(text)));
      const answer = await gate.ask();
      assert.equal(answer.text, text.replace(bare, stars));
    }
  });

  it('that breaks off is interrupted, not completed', async (t) => {
    for (const way of Object.values(ways)) {
      const gate = await scene(t, way, (_req, res) => {
        res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': '1000' }).write(ours, () => res.destroy());
      });
      await assert.rejects(gate.ask());
    }
  });
});

describe('an answer to the caller\'s own credential', () => {
  it('arrives to the byte, coding and all', async (t) => {
    const zipped = gzipSync(document(ours));
    const upstream = await startUpstream(t, (req, res) => {
      req.resume().on('end', () => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip', 'X-Asked': req.headers['accept-encoding'] ?? '' }).end(zipped));
    });
    const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
    for (const path of ['/v1/chat/completions', '/suno/submit/music']) {
      const answer = await request(gate.url + path, { headers: { Authorization: `Bearer ${ours}`, 'Accept-Encoding': 'gzip' }, body: chat });
      assert.deepEqual([answer.headers['content-encoding'], answer.headers['x-asked'], answer.body], ['gzip', 'gzip', zipped]);
    }
  });
});

describe('a refused upgrade', () => {
  it('that quotes a credential of ours arrives without it', async (t) => {
    const upstream = await startUpstream(t);
    upstream.server.on('upgrade', (_req, socket) => socket.end(`HTTP/1.1 403 Forbidden\r\nX-Key: ${ours}\r\nContent-Length: ${ours.length}\r\n\r\n${ours}`));
    const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, auth: granted });
    const asked = send(`${gate.url}/v1/realtime?model=m`, { headers: { ...keyed, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    const body = Buffer.concat(await answer.toArray()).toString();
    assert.deepEqual([answer.statusCode, answer.headers['x-key'], body], [403, `sk-${stars}`, `sk-${stars}`]);
    await until(async () => (await recorded(gate.gate)).length === 1);
  });
});

describe('the filter of a credential', () => {
  it('holds back only what may begin it', () => {
    const filter = new SecretFilter(ours);
    assert.equal(filter.push(Buffer.from('data: hello\n\n')).toString(), 'data: hello\n\n');
    assert.equal(filter.push(Buffer.from(`key ${bare.slice(0, 5)}`)).toString(), 'key ');
    assert.equal(filter.push(Buffer.from('?')).toString(), `${bare.slice(0, 5)}?`);
    assert.equal(filter.push(Buffer.from(bare.slice(0, 5))).toString(), '');
    assert.equal(filter.push(Buffer.from(`${bare.slice(5)}.`)).toString(), `${stars}.`);
    assert.equal(filter.end().toString(), '');
  });

  it('finds it wherever long chunks are cut', () => {
    const long = 'P lorem '.repeat(400);
    for (const quoted of [bare, bare.replace('/', '\\/')]) {
      const text = `${long}${quoted}${long}`;
      for (let cut = long.length - 2; cut <= long.length + quoted.length + 2; cut++) {
        const filter = new SecretFilter(ours);
        const got = [text.slice(0, cut), text.slice(cut)].map((piece) => filter.push(Buffer.from(piece)).toString()).join('') + filter.end().toString();
        assert.equal(got, `${long}${'*'.repeat(quoted.length)}${long}`, String(cut));
      }
    }
  });

  it('finds no word that stands in place of a credential', () => {
    for (const word of ['k', 'ollama', 'EMPTY', 'sk-up', '%', '\\']) assert.equal(new SecretFilter(word).whole(Buffer.from(`a ${word} %\\`)).toString(), `a ${word} %\\`);
    assert.equal(new SecretFilter('sk-12345').whole(Buffer.from('12345 sk-12345')).toString(), '12345 ********');
  });

  it('finds a token of NewAPI without the channel behind it', () => {
    const token = 'aB3'.repeat(16);
    assert.equal(new SecretFilter(`sk-${token}-17`).whole(Buffer.from(`Invalid token ${token}.`)).toString(), `Invalid token ${'*'.repeat(48)}.`);
  });

  it('leaves everything else as it is, escapes included', () => {
    for (const text of ['', '\\', '%', '100%', '\\u00', `${bare.slice(0, 7)}`, '\\\\\\n\\"\\/ %20%2F', 'P\\u0072oj-8']) assert.equal(new SecretFilter(ours).whole(Buffer.from(text)).toString(), text);
  });
});

describe('a WebSocket', () => {
  const messages: Readonly<Record<string, (quoted: string) => string | Buffer>> = {
    'a text': (quoted) => `no such key: ${quoted}`, 'the credential alone': (quoted) => quoted, 'a document': failure, 'a document with escapes': (quoted) => failure(quoted.replaceAll('/', '\\/')),
    'bytes': (quoted) => Buffer.from(`\0\xff${quoted}\0`, 'latin1'), 'a long text': (quoted) => `${'x'.repeat(70_000)}${quoted}`, 'a text of several': (quoted) => `${quoted} ${quoted},${quoted}`,
    'a text that ends like it begins': () => 'Proj', 'a text of a backslash': () => '\\', 'a text of a percent sign': () => '100%', 'one letter': () => 'P', 'without its prefix': (quoted) => quoted.replace('sk-', ''),
  };

  it('quotes no credential of ours, compressed or not, and every message arrives at once', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => res.end());
    const sockets = new WebSocketServer({ server: upstream.server, perMessageDeflate: { threshold: 0 } });
    t.after(() => sockets.close());
    // Each message waits for an echo, so that none pushes the one before it on.
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(messages[String(data)]?.(ours) ?? data)));
    const gate = await startGate(t, { newapi: { baseUrl: upstream.url }, auth: granted });
    const peer = await dial(`${gate.url}/v1/realtime?model=m`, { headers: keyed, perMessageDeflate: { threshold: 0 } });
    assert.equal(peer.answer.headers['sec-websocket-extensions'], undefined);
    for (const [at, [what, message]] of Object.entries(messages).entries()) {
      peer.socket.send(what);
      const expected = message(ours);
      const masked = Buffer.from(expected).toString('latin1').replaceAll(bare.replaceAll('/', '\\/'), `${stars}*`).replaceAll(bare, stars);
      assert.equal(Buffer.from(await peer.message(at)).toString('latin1'), masked, what);
    }
    peer.socket.close();
    await peer.closed;
  });

  it('of a caller\'s own credential passes as it comes', async (t) => {
    const upstream = await startUpstream(t, (_req, res) => res.end());
    const sockets = new WebSocketServer({ server: upstream.server, perMessageDeflate: true });
    t.after(() => sockets.close());
    sockets.on('connection', (socket) => socket.send(`you are ${ours}`));
    const gate = await startGate(t, { newapi: { baseUrl: upstream.url } });
    for (const [path, extensions] of [['/v1/realtime?model=m', /^$/], ['/api/socket', /permessage-deflate/]] as const) {
      const peer = await dial(gate.url + path, { headers: { Authorization: `Bearer ${ours}` }, perMessageDeflate: true });
      assert.equal(await peer.message(0), `you are ${ours}`);
      assert.match(peer.answer.headers['sec-websocket-extensions'] ?? '', extensions);
      peer.socket.close();
    }
  });
});
