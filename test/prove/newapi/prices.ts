import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { heimdall, type Sink } from '../../../lib/index.ts';
import type { Scene } from './scene.ts';
import { consumption, recorded, send, until } from './carriers.ts';

type Row = Readonly<Record<string, string | number | null>>;

const messages = [{ role: 'user', content: 'Hello' }];

const calls: readonly (readonly [name: string, path: string, body: object])[] = [
  ['chat', '/v1/chat/completions', { model: 'gpt-4o-mini', messages }],
  ['chat, stream', '/v1/chat/completions', { model: 'gpt-4o-mini', messages, stream: true, stream_options: { include_usage: true } }],
  ['chat, dearer model', '/v1/chat/completions', { model: 'gpt-4o', messages }],
  ['messages', '/v1/messages', { model: 'gpt-4o-mini', max_tokens: 9, messages }],
  ['responses', '/v1/responses', { model: 'gpt-4o', input: 'Hello' }],
  ['embeddings', '/v1/embeddings', { model: 'text-embedding-3-small', input: 'Hello' }],
  ['image', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate' }],
  ['two images', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate', n: 2 }],
  ['a wide one in HD', '/v1/images/generations', { model: 'dall-e-3', prompt: 'a gate', size: '1792x1024', quality: 'hd' }],
  ['a model by the call', '/v1/chat/completions', { model: 'gpt-4o-realtime-preview', messages }],
];

const quotaPerDollar = 500_000;

/**
 * A user of a host application whose own NewAPI token is in a group of another ratio: what NewAPI charged is what the gate counted.
 * @param group of the token, with a ratio of its own.
 */
export async function groupProof({ newapi }: Scene, group: string): Promise<readonly Row[]> {
  const token = await tokenIn(newapi, group);
  const directory = mkdtempSync(join(tmpdir(), 'heimdall-prove-'));
  const costs = new Map<string, number | null>();
  const sink: Sink = {
    name: 'costs', batch: 100,
    async deliver(records) {
      for (const { request_id: id, cost } of records) costs.set(id, cost);
      return { kind: 'delivered' };
    },
  };
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const gate = heimdall({ newapi: { baseUrl: newapi.base_url }, audit: { path: join(directory, 'heimdall.db') } }, { log: quiet, sinks: [sink], identify: () => ({ id: 'ada', group, upstreamCredential: token }) });
  const server = createServer((req, res) => gate(req, res, () => res.end())).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await gate.ready;
  const rows: Row[] = [];
  for (const [name, path, body] of calls) {
    const answer = await send(url, path, [['Content-Type', 'application/json']], JSON.stringify(body));
    const row = await until(() => consumption(newapi, String(answer.headers['x-oneapi-request-id'] ?? '')));
    const id = String(answer.headers['x-request-id'] ?? '');
    const cost = await until(async () => costs.get(id) ?? null);
    const charged = (row?.quota ?? Number.NaN) / quotaPerDollar;
    rows.push({ call: `${name}, as ${group}`, status: answer.status, 'NewAPI charged': charged, 'the gate counted': cost, differs: Math.abs(charged - (cost ?? Number.NaN)) < 1e-9 ? 0 : 1 });
  }
  server.close();
  await gate.close({ timeout: 1000 });
  rmSync(directory, { recursive: true });
  return rows;
}

/** Makes a token of a group, and lets the channel serve that group. */
async function tokenIn({ base_url: base, access_token: access, user_id: user }: Scene['newapi'], group: string): Promise<string> {
  const ask = async (method: string, path: string, body?: object): Promise<Readonly<Record<string, unknown>>> => {
    const answer = await fetch(`${base}${path}`, { method, headers: { Authorization: access, 'New-Api-User': String(user), 'Content-Type': 'application/json' }, ...(body !== undefined && { body: JSON.stringify(body) }) });
    return (await answer.json()) as Readonly<Record<string, unknown>>;
  };
  const { data: channel } = await ask('GET', '/api/channel/1') as { data: object };
  await ask('PUT', '/api/channel/', { ...channel, group: `default,${group}`, groups: ['default', group] });
  await ask('POST', '/api/token/', { name: `in ${group}`, remain_quota: 5_000_000, expired_time: -1, unlimited_quota: true, group });
  const { data: { items } } = await ask('GET', '/api/token/?p=0&size=100') as { data: { items: readonly { readonly id: number; readonly name: string }[] } };
  const id = items.find(({ name }) => name === `in ${group}`)?.id;
  const { data: { key } } = await ask('POST', `/api/token/${id}/key`) as { data: { key: string } };
  return `sk-${key}`;
}

/** What the gate recorded as cost is what NewAPI's own log says was charged, call by call. */
export async function pricesProof({ newapi, gate }: Scene): Promise<readonly Row[]> {
  const key = Object.values(newapi.tokens)[0] as string;
  const rows: Row[] = [];
  for (const [name, path, body] of calls) {
    const answer = await send(gate.url, path, [['Authorization', `Bearer ${key}`], ['Content-Type', 'application/json']], JSON.stringify(body));
    const row = await until(() => consumption(newapi, String(answer.headers['x-oneapi-request-id'] ?? '')));
    const record = await until(() => recorded(gate.url, String(answer.headers['x-request-id'] ?? '')));
    const [charged, cost] = [(row?.quota ?? Number.NaN) / quotaPerDollar, record?.cost ?? Number.NaN];
    rows.push({ call: name, status: answer.status, 'NewAPI charged': charged, 'the gate counted': cost, differs: Math.abs(charged - cost) < 1e-9 ? 0 : 1 });
  }
  return rows;
}

