import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ConfigInput } from '../../lib/index.ts';
import { request, until } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { recorded, type JournalRow } from '../support/journal.ts';
import { startUpstream } from '../support/upstream.ts';
import { dial, handshake, refused, vanish, type Peer } from '../support/websocket.ts';
import { bearer, chat, keyed, listed } from '../middlewares/behind.ts';

const path = '/v1/realtime?model=m';
const prices = { m: { input: 100, output: 200 } };
/** Dollars a day. */
const budget = (day: number): ConfigInput => ({ rateLimit: { key: { budget: { day } } } });
const tokens = (limit: number): ConfigInput => ({ rateLimit: { key: { tokens: { limit } } } });

/** A session begins with an event of its own. */
const first = 1;

interface Scene {
  readonly gate: RunningGate;
  /** The upstream's sides. */
  readonly served: WebSocket[];
  open(at?: string, headers?: Readonly<Record<string, string>>): Promise<Peer>;
}

/** An upstream whose realtime API uses 100 tokens to read and 50 to write for each response, $0.02. */
async function scene(t: TestContext, config: ConfigInput = {}): Promise<Scene> {
  const upstream = await startUpstream(t, (_req, res) => res.writeHead(200, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"choices":[]}'));
  const served: WebSocket[] = [];
  new WebSocketServer({ server: upstream.server, perMessageDeflate: { threshold: 0 } }).on('connection', (socket) => {
    served.push(socket);
    // In the packet of the handshake.
    socket.send('{"type":"session.created","response":{"usage":{"input_tokens":0,"output_tokens":0}}}');
    socket.on('message', (data: Buffer) => {
      socket.send('{"type":"response.created","response":{"usage":null}}');
      socket.send('{"type":"response.output_text.delta","delta":"four words are here."}');
      if (String(data) !== 'half') socket.send(`{"type":"response.${String(data)}","response":{"usage":{"input_tokens":100,"output_tokens":50,"total_tokens":150}}}`);
    });
  });
  const gate = await startGate(t, { ...config, newapi: { baseUrl: upstream.url }, llm: { prices } });
  return { gate, served, open: (at = path, headers = bearer) => dial(gate.url + at, { headers, perMessageDeflate: { threshold: 0 } }) };
}

/** Asks for answers one after another. */
async function ask(peer: Peer, ...kinds: readonly string[]): Promise<void> {
  await peer.message(0);
  for (const kind of kinds) {
    const before = peer.messages.length;
    peer.socket.send(kind);
    await until(() => peer.messages.length >= before + (kind === 'half' ? 2 : 3));
  }
}

async function rowOf(gate: RunningGate, { answer }: Peer): Promise<JournalRow> {
  return until(async () => (await recorded(gate.gate)).find(({ request_id: id }) => id === answer.headers['x-request-id']));
}

const usageIn = (row: JournalRow): unknown[] => [row['prompt_tokens'], row['completion_tokens'], row['cost'], row['outcome']];

describe('a WebSocket on which a model answers', () => {
  const ends: Record<string, [kinds: string[], end: (peer: Peer, scene: Scene) => void, used: unknown[]]> = {
    'its client closes it': [['done', 'done', 'done'], (peer) => peer.socket.close(), [300, 150, 0.06, 'served']],
    'its client is gone': [['done'], vanish, [100, 50, 0.02, 'served']],
    'its client is gone in mid-answer': [['done', 'half'], vanish, [200, 55, 0.031, 'served']],
    'its upstream cuts it': [['completed', 'done'], (_peer, { served }) => served.at(-1)?.terminate(), [200, 100, 0.04, 'served']],
    'without an answer': [[], (peer) => peer.socket.close(), [null, null, null, 'served']],
  };
  it('leaves a record of what all its answers used, however it ends', async (t) => {
    const all = await scene(t);
    for (const [what, [kinds, end, used]] of Object.entries(ends)) {
      const peer = await all.open();
      assert.equal(peer.answer.headers['sec-websocket-extensions'], undefined, 'compressed messages could not be read');
      await ask(peer, ...kinds);
      end(peer, all);
      assert.deepEqual(usageIn(await rowOf(all.gate, peer)), used, what);
    }
  });

  it('of the Responses API is measured too, and passes every byte as it comes', async (t) => {
    const { gate, open } = await scene(t, tokens(200));
    const peer = await open('/v1/responses');
    await ask(peer, 'completed');
    assert.equal(peer.messages[first + 2], '{"type":"response.completed","response":{"usage":{"input_tokens":100,"output_tokens":50,"total_tokens":150}}}');
    peer.socket.close();
    assert.deepEqual((await rowOf(gate, peer))['tokens_settled'], 150);
  });

  for (const [what, config, code] of [['budget', budget(0.05), 'budget_exceeded'], ['limit of tokens', tokens(400), 'rate_limit_tokens']] as const) {
    it(`is told and ended by the answer that uses up a ${what}; then its caller is refused as on any route`, async (t) => {
      const { gate, open, served } = await scene(t, config);
      const peer = await open();
      await ask(peer, 'done', 'done');
      peer.socket.send('done');
      const closed = await peer.closed;
      assert.deepEqual(closed, { code: 1008, reason: code });
      const event = JSON.parse(String(peer.messages.at(-1))) as { type: string; error: { code: string } };
      assert.deepEqual([event.type, event.error.code], ['error', code]);
      await until(() => served[0]?.readyState === 3);
      assert.deepEqual(usageIn(await rowOf(gate, peer)), [300, 150, 0.06, `refused:${code}`]);
      const again = await refused(gate.port, handshake(path, `Authorization: ${bearer.Authorization}`));
      assert.equal(again.status, 429);
      assert.ok(Number(again.headers['retry-after']) > 0);
      assert.equal((await request(`${gate.url}/v1/chat/completions`, { headers: bearer, body: { ...chat, model: 'm' } })).status, 429);
      assert.equal((await refused(gate.port, handshake('/v1/responses', `Authorization: ${bearer.Authorization}`))).status, 429);
      const other = await open(path, { Authorization: `Bearer sk-${'an0ther'.repeat(7)}` });
      other.socket.close();
    });
  }

  it('charges each answer when it is given, so that requests beside it are refused', async (t) => {
    const { gate, open } = await scene(t, { ...tokens(400), auth: { mode: 'keys', keys: [{ ...listed, upstreamCredential: 'sk-granted-by-newapi-0123456789' }] } });
    const peer = await open(path, keyed);
    const chatting = () => request(`${gate.url}/v1/chat/completions`, { headers: keyed, body: { ...chat, model: 'm', max_tokens: 100 } });
    assert.equal((await chatting()).status, 200);
    await ask(peer, 'done', 'done');
    await until(async () => (await chatting()).status === 429);
    peer.socket.close();
    await peer.closed;
  });

  it('goes on where limits only observe', async (t) => {
    const { open } = await scene(t, { rateLimit: { key: { tokens: { limit: 100 }, mode: 'observe' } } });
    const peer = await open();
    await ask(peer, 'done', 'done', 'done');
    peer.socket.close();
    assert.equal((await peer.closed).code, 1005);
  });
});
