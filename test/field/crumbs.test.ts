import '../support/node.ts';
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { ConfigInput } from '../../lib/index.ts';
import type { Context } from '../../lib/request/context.ts';
import { Crumbs } from '../../lib/upstream/crumbs.ts';
import { startGate } from '../support/gate.ts';
import { startRawUpstream } from '../support/raw-upstream.ts';
import { shared } from '../support/shared.ts';

/** An answer of which each chunk holds a few bytes, all sent at once. */
interface Crumbled {
  readonly path: string;
  readonly type: string;
  readonly body: Buffer;
  readonly coding?: string;
  readonly status?: number;
  /** Bytes of a chunk. */
  readonly size?: number;
  /** The connection breaks behind so many chunks. */
  readonly breaks?: number;
  /** `stream` of the request. */
  readonly stream?: boolean;
}

const events = Buffer.from('data: {"choices":[{"delta":{"content":"w"}}]}\n\n'.repeat(60) + 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":60,"total_tokens":63}}\n\ndata: [DONE]\n\n');
const json = Buffer.from(JSON.stringify({ id: 'c', choices: [{ message: { role: 'assistant', content: 'w '.repeat(1500) } }], usage: { prompt_tokens: 3, completion_tokens: 60, total_tokens: 63 } }));
const noise = Buffer.from(Array.from({ length: 3000 }, (_, nth) => (nth * 7919) % 251));
const chat = '/v1/chat/completions';
const table: Readonly<Record<string, Crumbled>> = {
  'events of one byte': { path: chat, type: 'text/event-stream', body: events, stream: true },
  'events of seven bytes': { path: chat, type: 'text/event-stream', body: events, stream: true, size: 7 },
  'events of 63 bytes': { path: chat, type: 'text/event-stream', body: events, stream: true, size: 63 },
  'events of one byte that break off': { path: chat, type: 'text/event-stream', body: events, stream: true, breaks: 2000 },
  'a JSON document of one byte': { path: chat, type: 'application/json', body: json },
  'an error of one byte': { path: chat, type: 'application/json', body: json, status: 400 },
  'sound of two bytes': { path: '/v1/audio/speech', type: 'audio/mpeg', body: noise, size: 2 },
  'a download of one byte': { path: '/api/file', type: 'application/octet-stream', body: noise },
  'a download of one byte that breaks off': { path: '/api/file', type: 'application/octet-stream', body: noise, breaks: 1500 },
  'a page of 60 bytes': { path: '/page', type: 'text/html', body: Buffer.concat([noise, noise]), size: 60 },
  'a gzipped stream of one byte': { path: chat, type: 'text/event-stream', body: gzipSync(Buffer.concat([noise, events])), coding: 'gzip', stream: true },
  'a document of one byte in br': { path: chat, type: 'application/json', body: brotliCompressSync(Buffer.concat([noise, json])), coding: 'br' },
  'a gzipped page of one byte': { path: '/page', type: 'text/html', body: gzipSync(noise), coding: 'gzip' },
  'a task of one byte in zstd': { path: '/suno/fetch', type: 'application/json', body: zstdCompressSync(Buffer.concat([noise, json])), coding: 'zstd' },
};

const key = `sk-${'k'.repeat(48)}`;
const gates: Readonly<Record<string, ConfigInput>> = {
  "with the caller's credential": {},
  'with a credential of ours, which is masked in answers': { auth: { mode: 'keys', keys: [{ name: 'a', sha256: hash('sha256', key), upstreamCredential: `sk-${'u'.repeat(48)}` }] } },
};

function bytesOf({ type, body, coding, status = 200, size = 1, breaks = Infinity }: Crumbled): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length && chunks.length < breaks; at += size) {
    const piece = body.subarray(at, at + size);
    chunks.push(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]));
  }
  const head = `HTTP/1.1 ${status} x\r\nContent-Type: ${type}\r\n${coding === undefined ? '' : `Content-Encoding: ${coding}\r\n`}Transfer-Encoding: chunked\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), ...chunks, Buffer.from(breaks === Infinity ? '0\r\n\r\n' : '')]);
}

/** The chunks of an answer, or its one body; and whether it ended as it should. */
async function ask(port: number, { path, stream = false }: Crumbled, name: string): Promise<{ readonly pieces: readonly Buffer[]; readonly whole: boolean }> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  const body = path.startsWith('/v1/') ? JSON.stringify({ model: 'm', stream }) : '';
  socket.write(`${body === '' ? 'GET' : 'POST'} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\nX-Name: ${name}\r\n${body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`}\r\n${body}`);
  const heard: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => heard.push(bytes));
  await once(socket, 'close');
  const bytes = Buffer.concat(heard);
  const end = bytes.indexOf('\r\n\r\n') + 4;
  if (!/transfer-encoding: chunked/i.test(bytes.toString('latin1', 0, end))) return { pieces: [bytes.subarray(end)], whole: true };
  const pieces: Buffer[] = [];
  for (let at = end; ;) {
    const line = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (line === -1 || size === 0) return { pieces, whole: size === 0 };
    pieces.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + size + 4;
  }
}

const unpack: Readonly<Record<string, (bytes: Buffer) => Buffer>> = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };

for (const [how, config] of Object.entries(gates)) {
  describe(`an answer in crumbs, asked for ${how}`, { concurrency: 4 }, () => {
    const scene = shared(async (scope) => {
      const upstream = await startRawUpstream(scope, (socket, { head }) => {
        const odd = table[/x-name: (.*)/i.exec(head)?.[1] ?? ''] as Crumbled;
        socket.write(bytesOf(odd), () => (odd.breaks === undefined ? null : socket.destroy()));
      });
      return startGate(scope, { newapi: { baseUrl: upstream.url }, audit: false, ...config, llm: { retry: { maxRetries: 0 } } });
    });
    for (const [name, odd] of Object.entries(table)) {
      it(`arrives as it is, in few pieces: ${name}`, async () => {
        const { pieces, whole } = await ask((await scene()).port, odd, name);
        const got = Buffer.concat(pieces);
        const { body, size = 1, breaks, coding = '' } = odd;
        if (breaks !== undefined) assert.equal(got.toString('latin1', 0, breaks), body.toString('latin1', 0, breaks));
        else if (!got.equals(body)) assert.ok(got.equals((unpack[coding] ?? ((bytes: Buffer) => bytes))(body)), `${got.length} bytes of ${body.length}`);
        assert.equal(whole, breaks === undefined || odd.stream === true);
        assert.ok(pieces.length <= 90, `${pieces.length} pieces of ${Math.ceil(body.length / size)}`);
      });
    }
  });
}

it('crumbs that arrive one at a time leave one at a time, and what holds them is not larger by orders', async () => {
  const pieces: Buffer[] = [];
  const crumbs = new Crumbs({} as Context, (bytes) => void pieces.push(bytes));
  for (let nth = 0; nth < 200; nth++) {
    crumbs.push(Buffer.of(nth));
    await turn();
    assert.equal(pieces.length, nth + 1);
  }
  assert.deepEqual([...Buffer.concat(pieces)], Array.from({ length: 200 }, (_, nth) => nth));
  const held = [...new Set(pieces.map(({ buffer }) => buffer))].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(held < 300_000, `${held} bytes`);
});
