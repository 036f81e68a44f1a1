import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { brotliDecompressSync, gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';

import { parseJson, type Json } from '../content/json.ts';
import { admit, type Asked, type Exchange, type Limit, type State } from './state.ts';

/** Header lines, flat. */
export type Lines = readonly string[];

const JSON_TYPE = ['Content-Type', 'application/json; charset=utf-8'] as const;
const KEPT_UPLOAD = 1 << 20;
const WORTH_COMPRESSING = 256;

/** Writes the head; every answer of NewAPI names its request and its version. */
export function head(x: Exchange, status: number, lines: Lines): void {
  if (x.seen) x.seen.status = status;
  const { id, state } = x;
  const flat = ['X-New-Api-Version', state.settings.version, 'X-Oneapi-Request-Id', id, ...cors(x), ...lines];
  x.res.writeHead(status, flat);
}

/** A whole answer. */
export function send(x: Exchange, status: number, body: string | Buffer, lines: Lines = JSON_TYPE): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  head(x, status, [...lines, 'Content-Length', String(bytes.length)]);
  x.res.end(bytes);
}

/** A JSON answer of a relay route: never compressed. */
export function sendJson(x: Exchange, status: number, value: unknown): void {
  send(x, status, JSON.stringify(value));
}

/** An answer of the dashboard or the web UI: gzip when the client takes it. */
export function sendPacked(x: Exchange, status: number, body: string, lines: Lines = JSON_TYPE): void {
  const accepts = /\bgzip\b/.test(x.req.headers['accept-encoding'] ?? '');
  if (!accepts || body.length < WORTH_COMPRESSING) return send(x, status, body, lines);
  send(x, status, gzipSync(body), [...lines, 'Content-Encoding', 'gzip', 'Vary', 'Accept-Encoding']);
}

/** What the dashboard answers: HTTP 200 unless it is about the session. */
export function sendData(x: Exchange, data: unknown, status = 200): void {
  sendPacked(x, status, JSON.stringify({ success: true, message: '', data }));
}

/** The dashboard's refusal: usually HTTP 200, too. */
export function sendFailure(x: Exchange, message: string, status = 200): void {
  sendPacked(x, status, JSON.stringify({ success: false, message }));
}

/** A refusal of the relay's gate (authentication, limits, choice of a channel): OpenAI's shape on every route. */
export function refuse(x: Exchange, status: number, message: string, code = ''): void {
  const text = `${message} (request id: ${x.id})`;
  sendJson(x, status, { error: { message: text, type: 'new_api_error', code } });
}

/** The whole body; the record gets it, too. */
export function readBody(x: Exchange): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    x.req.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (x.seen) x.seen.bytes += chunk.length;
    });
    x.req.on('end', () => {
      const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
      x.body = body;
      if (x.seen) x.seen.body = body;
      resolve(body);
    });
    x.req.on('error', reject);
  });
}

/** An upload of any size: its hash, its length and its first megabyte. */
export async function hashBody(x: Exchange): Promise<{ sha256: string; bytes: number; start: Buffer }> {
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of x.req as AsyncIterable<Buffer>) {
    hash.update(chunk);
    if (bytes < KEPT_UPLOAD) kept.push(chunk.subarray(0, KEPT_UPLOAD - bytes));
    bytes += chunk.length;
    if (x.seen) x.seen.bytes = bytes;
  }
  const start = Buffer.concat(kept);
  if (x.seen) x.seen.body = start;
  return { sha256: hash.digest('hex'), bytes, start };
}

/** The body of a relay route, decompressed; undefined when the answer (400, 413) has been given. */
export async function readRelayBody(x: Exchange): Promise<Buffer | undefined> {
  const sent = await readBody(x);
  const max = x.state.settings.maxBody;
  try {
    const body = decompress(sent, x.req.headers['content-encoding'], max);
    if (max === undefined || body.length <= max) return body;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') {
      refuse(x, 400, 'The body cannot be decompressed', 'read_request_body_failed');
      return undefined;
    }
  }
  refuse(x, 413, 'The request body is too large', 'read_request_body_failed');
  return undefined;
}

/** The same as JSON; undefined when the answer has been given. */
export async function readRelayJson(x: Exchange): Promise<Json | undefined> {
  const body = await readRelayBody(x);
  if (body === undefined) return undefined;
  const value = parseJson(body.toString());
  if (value === undefined) refuse(x, 400, 'Invalid request: the body is not JSON', 'invalid_request');
  return value;
}

/** Waits (0: the next turn of the loop); ends early when the client leaves. */
export function pause(x: Exchange, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (ms <= 0) return void setImmediate(resolve);
    const done = (): void => {
      clearTimeout(timer);
      x.res.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    x.res.once('close', done);
  });
}

/** The caller's address as gin's `ClientIP` with its defaults: every peer is believed, the first entry wins. */
export function clientIp(x: Asked): string {
  const { rawHeaders, headers } = x.req;
  if (headers['x-forwarded-for'] !== undefined || headers['x-real-ip'] !== undefined) {
    for (const name of ['x-forwarded-for', 'x-real-ip']) {
      // Of several lines Go reads the first; one entry that is no address spoils the whole line.
      const at = rawHeaders.findIndex((entry, i) => i % 2 === 0 && entry.toLowerCase() === name);
      const entries = at < 0 ? [] : (rawHeaders[at + 1] ?? '').split(',').map((entry) => entry.trim());
      if (entries[0] !== undefined && entries.every((entry) => isIP(entry) > 0)) return entries[0];
    }
  }
  return (x.req.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}

/** One value of the query, decoded. */
export function queryValue(x: Asked, name: string): string | undefined {
  return x.query === '' ? undefined : (new URLSearchParams(x.query).get(name) ?? undefined);
}

const MS = 1000;
let second = -1;
let prefix = '';
let serial = 0;

/** NewAPI's request id: time, nanoseconds, eight characters. */
export function requestId(state: State): string {
  const now = state.settings.now();
  const current = Math.floor(now / MS);
  if (current !== second) {
    second = current;
    prefix = new Date(now).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '');
  }
  serial = (serial + 7_919) % 1e9;
  const tail = Math.floor(Math.random() * 36 ** 8).toString(36).padStart(8, '0');
  return `${prefix}${String(serial).padStart(9, '0')}${tail}`;
}

/** Turns away with NewAPI's bare 429 when the address has used up its window; true when the request may go on. */
export function withinLimit(x: Exchange, name: string, limit: Limit | undefined): boolean {
  if (!limit || admit(x.state, `${name} ${clientIp(x)}`, limit)) return true;
  head(x, 429, ['Content-Length', '0']);
  x.res.end();
  return false;
}

const NO_LINES: Lines = [];
const CORS: Lines = ['Access-Control-Allow-Credentials', 'true', 'Access-Control-Allow-Origin', '*'];
const PREFLIGHT: Lines = [
  'Access-Control-Allow-Headers',
  '*',
  'Access-Control-Allow-Methods',
  'GET,POST,PUT,DELETE,OPTIONS',
  'Access-Control-Max-Age',
  '43200',
];

/** Answers a preflight as NewAPI does on everything but `/api`; false when it is none. */
export function preflight(x: Exchange): boolean {
  if (x.method !== 'OPTIONS' || cors(x).length === 0) return false;
  head(x, 204, PREFLIGHT);
  x.res.end();
  return true;
}

/** NewAPI's CORS: every origin is allowed, with credentials; `/api` says nothing, nor does a request from the same host. */
function cors(x: Exchange): Lines {
  const { origin, host } = x.req.headers;
  if (origin === undefined || x.path === '/api' || x.path.startsWith('/api/')) return NO_LINES;
  return origin === `http://${host}` || origin === `https://${host}` ? NO_LINES : CORS;
}

function decompress(body: Buffer, encoding: string | undefined, max: number | undefined): Buffer {
  const bound = max === undefined ? {} : { maxOutputLength: max };
  switch (encoding) {
    case 'gzip':
      return gunzipSync(body, bound);
    case 'br':
      return brotliDecompressSync(body, bound);
    case 'zstd':
      return zstdDecompressSync(body, bound);
    default:
      return body;
  }
}
