import { dial } from '../../support/websocket.ts';
import { send } from './carriers.ts';
import type { Scene } from './scene.ts';

type Row = Readonly<Record<string, string | number>>;
type Call = readonly [name: string, method: string, path: string, body?: object | undefined, headers?: Readonly<Record<string, string>>];

const messages = [{ role: 'user', content: 'Hello' }];
const chat = { model: 'gpt-4o-mini', messages };

/** Kinds of calls that clients of NewAPI make. `KEY` is the caller's token. */
const calls: readonly Call[] = [
  ['chat', 'POST', '/v1/chat/completions', chat],
  ['chat, stream', 'POST', '/v1/chat/completions', { ...chat, stream: true }],
  ['chat, stream with usage', 'POST', '/v1/chat/completions', { ...chat, stream: true, stream_options: { include_usage: true } }],
  ['chat, model without channel', 'POST', '/v1/chat/completions', { ...chat, model: 'no-such-model' }],
  ['chat, wrong token', 'POST', '/v1/chat/completions', chat, { Authorization: `Bearer sk-${'x'.repeat(48)}` }],
  ['completions', 'POST', '/v1/completions', { model: 'gpt-4o-mini', prompt: 'Hello' }],
  ['messages', 'POST', '/v1/messages', { model: 'gpt-4o-mini', max_tokens: 9, messages }, { 'x-api-key': 'KEY', 'anthropic-version': '2023-06-01' }],
  ['messages, stream', 'POST', '/v1/messages', { model: 'gpt-4o-mini', max_tokens: 9, messages, stream: true }, { 'x-api-key': 'KEY', 'anthropic-version': '2023-06-01' }],
  ['responses', 'POST', '/v1/responses', { model: 'gpt-4o', input: 'Hello' }],
  ['embeddings', 'POST', '/v1/embeddings', { model: 'text-embedding-3-small', input: 'Hello' }],
  ['Gemini by query', 'POST', '/v1beta/models/gpt-4o-mini:generateContent?key=KEY', { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] }, { Authorization: '' }],
  ['Gemini by header', 'POST', '/v1beta/models/gpt-4o-mini:generateContent', { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] }, { Authorization: '', 'x-goog-api-key': 'KEY' }],
  ['Gemini, stream', 'POST', '/v1beta/models/gpt-4o-mini:streamGenerateContent?alt=sse', { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] }, { Authorization: '', 'x-goog-api-key': 'KEY' }],
  ['models', 'GET', '/v1/models'],
  ['one model', 'GET', '/v1/models/gpt-4o-mini'],
  ['models of Claude', 'GET', '/v1/models', undefined, { Authorization: '', 'x-api-key': 'KEY', 'anthropic-version': '2023-06-01' }],
  ['models of Gemini', 'GET', '/v1beta/models', undefined, { Authorization: '', 'x-goog-api-key': 'KEY' }],
  ['images', 'POST', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate' }],
  ['moderations', 'POST', '/v1/moderations', { model: 'gpt-4o-mini', input: 'Hello' }],
  ['subscription', 'GET', '/v1/dashboard/billing/subscription'],
  ['usage', 'GET', '/dashboard/billing/usage'],
  ['usage of the token', 'GET', '/api/usage/token/'],
  ['status', 'GET', '/api/status'],
  ['pricing', 'GET', '/api/pricing'],
  ['self, no session', 'GET', '/api/user/self'],
  ['login, wrong', 'POST', '/api/user/login', { username: 'root', password: 'wrong-password' }],
  ['OAuth, not set up', 'GET', '/api/oauth/github?code=x&state=y'],
  ['Midjourney task', 'GET', '/mj/task/1/fetch'],
  ['Suno task', 'GET', '/suno/fetch/1'],
  ['page', 'GET', '/'],
  ['page of the router', 'GET', '/console/token'],
  ['asset that is not there', 'GET', '/assets/nothing.js'],
  ['unknown API', 'GET', '/api/nothing'],
  ['unknown model route', 'POST', '/v1/nothing', {}],
  ['preflight', 'OPTIONS', '/v1/chat/completions', undefined, { Origin: 'https://app.example.com', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' }],
  ['gzip asked for', 'GET', '/api/status', undefined, { 'Accept-Encoding': 'gzip' }],
];

/** Fields that differ from one call to the next, or that the gate adds by design. */
const varying = new Set(['date', 'x-oneapi-request-id', 'x-request-id', 'x-response-time', 'x-queue-wait', 'x-queue-position', 'connection', 'keep-alive', 'transfer-encoding', 'content-length', 'etag', 'x-content-type-options', 'x-accel-buffering', 'set-cookie', 'x-should-retry', 'retry-after']);
const isLimit = (name: string): boolean => name.startsWith('x-ratelimit-') || name.startsWith('ratelimit');

/** Every kind of call directly and through the gate: status, headers and body are the same. */
export async function callsProof({ newapi, gate }: Scene): Promise<readonly Row[]> {
  const key = Object.values(newapi.tokens)[0] as string;
  const rows: Row[] = [];
  for (const [name, method, path, body, headers = {}] of calls) {
    const fields = Object.entries({ Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers }).filter(([, value]) => value !== '').map(([field, value]): [string, string] => [field, value.replace('KEY', key)]);
    const text = body === undefined ? '' : JSON.stringify(body);
    const [direct, through] = [await send(newapi.base_url, path.replace('KEY', key), fields, text, method), await send(gate.url, path.replace('KEY', key), fields, text, method)];
    const differs = difference(direct, through);
    rows.push({ call: name, direct: direct.status, through: through.status, differs });
  }
  return [...rows, ...(await realtime(newapi.base_url, gate.url, key))];
}

type Answer = Awaited<ReturnType<typeof send>>;

function difference(direct: Answer, through: Answer): string {
  if (direct.status !== through.status) return `status: ${through.text.slice(0, 160)}`;
  const names = new Set([...Object.keys(direct.headers), ...Object.keys(through.headers)]);
  const headers = [...names].filter((name) => !varying.has(name) && !isLimit(name) && String(direct.headers[name]) !== String(through.headers[name]));
  if (headers.length > 0) return `headers ${headers.join(', ')}`;
  return steady(direct.text) === steady(through.text) ? '' : `body: ${through.text.slice(0, 120)} instead of ${direct.text.slice(0, 120)}`;
}

/** A body without the ids and times that NewAPI makes anew for every answer. */
const steady = (text: string): string => text.replace(/"(?:id|created|created_at|request_id|responseId)":\s*(?:"[^"]*"|\d+)/g, '"…":0').replace(/request id: \w+/g, '').replace(/\b\d{13,}\w*\b/g, '0');

async function realtime(direct: string, through: string, key: string): Promise<Row[]> {
  const ways: readonly (readonly [string, () => Parameters<typeof dial>[1]])[] = [
    ['realtime by header', () => ({ headers: { Authorization: `Bearer ${key}` } })],
    ['realtime by subprotocol', () => ({ protocols: ['realtime', `openai-insecure-api-key.${key}`] })],
  ];
  const rows: Row[] = [];
  for (const [name, options] of ways) {
    const said: string[] = [];
    for (const base of [direct, through]) {
      const peer = await dial(`${base}/v1/realtime?model=gpt-4o-realtime-preview`, options());
      peer.socket.send(JSON.stringify({ type: 'session.update', session: {} }));
      said.push(String(await peer.message(0)).slice(0, 80));
      peer.socket.terminate();
    }
    rows.push({ call: name, direct: 101, through: 101, differs: said[0] === said[1] ? '' : said.join(' instead of ') });
  }
  return rows;
}
