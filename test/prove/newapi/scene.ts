import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { WebSocketServer } from 'ws';
import { freePort } from '../../support/ports.ts';
import { runGate, type RunningGate } from '../gate.ts';

export const ADMIN_TOKEN = 'prove-admin-token-0123456789abcdef012345';

/** A real NewAPI, a stand-in for its provider, and the gate in front, each in a process or server of its own. */
export interface Scene {
  readonly newapi: NewApi;
  readonly gate: RunningGate;
  close(): Promise<void>;
}

/** What the starting script says. */
export interface NewApi {
  readonly pid: number;
  readonly dir: string;
  readonly base_url: string;
  readonly username: string;
  readonly password: string;
  readonly user_id: number;
  readonly access_token: string;
  readonly tokens: Readonly<Record<string, string>>;
}

/** @param start path of the script that starts a NewAPI: `start PORT UPSTREAM` prints one line of JSON. */
export async function openScene(start: string): Promise<Scene> {
  const provider = await startProvider();
  const { port } = provider.address() as AddressInfo;
  const { stdout } = await promisify(execFile)(start, [String(await freePort()), `http://127.0.0.1:${port}`], { timeout: 60_000 });
  const newapi = JSON.parse(stdout) as NewApi;
  // Before the gate asks: NewAPI makes its price list anew once a minute.
  await setOption(newapi, 'GroupRatio', { default: 1.5, vip: 0.3 });
  await setOption(newapi, 'ModelPrice', { 'gpt-4o-realtime-preview': 0.0123, 'dall-e-3': 0.04 });
  const gate = await runGate(newapi.base_url, `admin: { token: ${ADMIN_TOKEN} }\nrate_limit: { address: { limit: 1000000 }, key: { requests: { limit: 1000000, window: 60s } } }\n`);
  return {
    newapi,
    gate,
    async close() {
      await gate.stop();
      process.kill(newapi.pid);
      provider.close();
      provider.closeAllConnections();
      await new Promise((resolve) => setTimeout(resolve, 500));
      rmSync(newapi.dir, { recursive: true, force: true });
    },
  };
}

async function setOption({ base_url, access_token, user_id }: NewApi, key: string, value: object): Promise<void> {
  const headers = { Authorization: access_token, 'New-Api-User': String(user_id), 'Content-Type': 'application/json' };
  await fetch(`${base_url}/api/option/`, { method: 'PUT', headers, body: JSON.stringify({ key, value: JSON.stringify(value) }) });
}

const usage = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };
const choice = { index: 0, message: { role: 'assistant', content: 'Hello!' }, finish_reason: 'stop' };

/** Answers by path. The answers never vary, so that two calls can be compared. */
const answers: Readonly<Record<string, object>> = {
  '/v1/chat/completions': { id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt-4o-mini', choices: [choice], usage },
  '/v1/completions': { id: 'cmpl-1', object: 'text_completion', created: 1, model: 'gpt-4o-mini', choices: [{ index: 0, text: 'Hello!', finish_reason: 'stop' }], usage },
  '/v1/embeddings': { object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.1, 0.2] }], model: 'text-embedding-3-small', usage },
  '/v1/responses': { id: 'resp_1', object: 'response', created_at: 1, status: 'completed', model: 'gpt-4o', output: [], usage: { input_tokens: 9, output_tokens: 2, total_tokens: 11 } },
  '/v1/audio/transcriptions': { text: 'Hello' },
  '/v1/images/generations': { created: 1, data: [{ b64_json: 'aGVsbG8=' }] },
  '/v1/moderations': { id: 'modr-1', model: 'gpt-4o-mini', results: [{ flagged: false }] },
};

async function startProvider(): Promise<Server> {
  const server = createServer(answer);
  const sockets = new WebSocketServer({ server, path: '/v1/realtime', handleProtocols: (offered) => [...offered][0] ?? false });
  sockets.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
  const path = (req.url ?? '').split('?')[0] as string;
  const found = answers[path];
  if (found === undefined) return void res.writeHead(404, { 'Content-Type': 'application/json' }).end('{"error":{"message":"no such path"}}');
  if (!/"stream":\s*true/.test(Buffer.concat(chunks).toString())) return void res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(found));
  res.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const event = (delta: object, finish: string | null, more: object = {}): string =>
    `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4o-mini', choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`;
  res.end(`${event({ role: 'assistant', content: 'Hel' }, null)}${event({ content: 'lo!' }, null)}${event({}, 'stop', { usage })}data: [DONE]\n\n`);
}
