import { request as open } from 'node:http';
import type { Socket } from 'node:net';

/** An answer that no ordinary server would send. */
export interface OddAnswer {
  readonly name: string;
  readonly bytes: Buffer;
  readonly end: 'keep' | 'fin' | 'rst';
}

/** What a client got. */
export interface Received {
  readonly status: number;
  readonly complete: boolean;
  readonly body: string;
  /** The media type. */
  readonly type: string;
  /** Bytes of the file name, as latin1; null without the field. */
  readonly disposition: string | null;
}

type Random = (bound: number) => number;

const statuses = [
  '000', '001', '099', '100', '101', '102', '103', '150', '199', '200', '200', '200', '200', '201', '204', '206', '226', '299', '304', '307', '400', '404', '418', '451', '499', '500', '503', '599', '600', '777', '999', '20', '2000', 'abc', '-1',
];
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');
const fields = [
  `Content-Disposition: attachment; filename="${utf8('größe 鍵.png')}"`, 'Content-Disposition: attachment; filename="gr\xf6\xdfe.png"', 'Content-Disposition: inline', `content-disposition: attachment; filename="${utf8('\u{1f511}')}"`,
  `X-Name: ${utf8('名前')}`, 'X-Latin: \xe9\xff\x80', 'X-Empty:', 'X-Tab: a\tb', 'X-Control: a\x01b', 'X-Null: a\0b', 'X-Delete: a\x7fb', 'X Name: space', 'No colon at all', ': no name', 'X-Fold: a\r\n b', 'X-Return: a\rb',
  'Connection: close', 'Connection: X-Latin', 'Keep-Alive: timeout=abc', 'Keep-Alive: timeout=-1', 'Trailer: X-End', 'Expect: 100-continue', 'Upgrade: websocket', 'Upgrade: h2c\r\nConnection: Upgrade', 'Date: never', 'Server: \xff',
  `X-Long: ${'x'.repeat(20_000)}`, `X-Long: ${'y'.repeat(100_000)}`, `X-Long: ${'z'.repeat(200_000)}`, ...Array.from({ length: 4 }, (_, n) => `Set-Cookie: c${n}=${n}`), 'X-Oneapi-Request-Id: r', 'Retry-After: soon', 'Content-Length: 5', 'Content-Length: -1', 'Content-Length: abc', 'Transfer-Encoding: gzip', 'Transfer-Encoding: identity',
];
const types = ['application/json', 'text/plain', 'image/png', 'audio/mpeg', 'text/event-stream', '', 'application/JSON; charset=utf-8'];
const document = '{"id":"c","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}';
const stream = 'data: {"choices":[{"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n';
const lengths = ['right', 'right', 'right', 'short', 'long', 'none', 'chunked', 'chunked', 'bad chunks', 'both'] as const;

/** Makes up one: status, header bytes, their order, the framing and the moment of its end. */
export function oddAnswer(random: Random): OddAnswer {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const status = pick(statuses);
  const type = pick(types);
  const body = type === 'text/event-stream' ? stream : document;
  const length = pick(lengths);
  const lines = Array.from({ length: random(4) }, () => pick(fields));
  if (type !== '') lines.push(`Content-Type: ${type}`);
  if (length === 'right' || length === 'both') lines.push(`Content-Length: ${body.length}`);
  if (length === 'short' || length === 'long') lines.push(`Content-Length: ${body.length + (length === 'short' ? 40 : -20)}`);
  if (length === 'chunked' || length === 'bad chunks' || length === 'both') lines.push('Transfer-Encoding: chunked');
  lines.sort(() => random(3) - 1);
  const framed = length === 'chunked' || length === 'both' ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : length === 'bad chunks' ? `${body.length.toString(16)}\r\n${body}\r\nzz\r\n` : body;
  const bodiless = status === '204' || status === '304';
  const whole = Buffer.from(`HTTP/1.1 ${status} Odd\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${bodiless ? '' : framed}`, 'latin1');
  const dies = random(4) === 0;
  const bytes = dies ? whole.subarray(0, 1 + random(whole.length)) : whole;
  const end = dies || length !== 'right' || bodiless ? pick(['fin', 'rst'] as const) : pick(['keep', 'fin'] as const);
  return { name: `${status} ${type} ${length} ${dies ? `dies at ${bytes.length} ` : ''}${end} ${lines.map((line) => line.slice(0, 24)).join(' | ')}`, bytes, end: status < '200' ? 'fin' : end };
}

/** Sends one, and ends its connection once the bytes have gone out. */
export function sendOdd(socket: Socket, { bytes, end }: OddAnswer): void {
  socket.write(bytes, () => {
    if (end === 'keep') return;
    setTimeout(() => (end === 'fin' ? socket.end() : socket.resetAndDestroy()), 5);
  });
}

/** Asks as a client does that takes heads up to 128 KB (of the gate: whatever it sends). Null when there was no answer. */
export function receive(url: string, method: string, body: string | null, maxHeaderSize: number): Promise<Received | null> {
  return new Promise((resolve) => {
    let begun = false;
    const headers = { Authorization: 'Bearer sk-oddoddoddoddoddoddoddoddoddoddoddoddoddoddodd0', ...(body !== null && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }) };
    const asked = open(url, { method, headers, agent: false, maxHeaderSize, timeout: 20_000 }, (answer) => {
      begun = true;
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => undefined);
      answer.on('close', () => {
        const at = answer.rawHeaders.findIndex((name, nth) => nth % 2 === 0 && name.toLowerCase() === 'content-disposition');
        resolve({ status: answer.statusCode ?? 0, complete: answer.complete, body: Buffer.concat(chunks).toString('latin1'), type: answer.headers['content-type'] ?? '', disposition: at === -1 ? null : (answer.rawHeaders[at + 1] as string) });
      });
    });
    // An answer that has begun says itself whether it is complete.
    asked.on('error', () => (begun ? undefined : resolve(null))).on('upgrade', (_answer, socket) => {
      socket.destroy();
      resolve(null);
    });
    asked.on('timeout', () => resolve({ status: -1, complete: false, body: 'no answer within 20 s', type: '', disposition: null }));
    asked.end(body);
  });
}

/** Compares one call through the gate with a direct one; three times, since a connection that is just closing fails any request. */
export async function compareOdd(direct: string, gate: string, [method, path, body]: OddCall, query: string): Promise<string | null> {
  const expected = await receive(direct + path + query, method, body, 131_072);
  let wrong: string | null = null;
  for (let tries = 0; tries < 3; tries++) {
    const received = await receive(gate + path + query, method, body, 262_144);
    wrong = received?.status === 502 && isHalf(expected) && path.startsWith('/v1/') && method === 'POST' ? null : wrongWith(expected, received);
    if (wrong === null || wrong === 'no answer') return wrong;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return wrong;
}

/** A call on which odd answers are tried. */
export type OddCall = readonly [method: string, path: string, body: string | null];

/** On a model route a document or a stream without its end is no answer, however its framing ends it. */
function isHalf(direct: Received | null): boolean {
  if (direct === null || direct.status < 200 || direct.status >= 400) return false;
  if (direct.type === 'text/event-stream') return direct.body !== stream;
  if (!/json/i.test(direct.type)) return false;
  try {
    JSON.parse(direct.body);
    return false;
  } catch {
    return true;
  }
}

/** The calls on which odd answers are tried: two that are dispatched, two that are passed through. */
export const oddCalls: readonly OddCall[] = [
  ['POST', '/v1/chat/completions', '{"model":"m"}'], ['POST', '/v1/audio/speech', '{"model":"m","input":"x"}'], ['GET', '/v1/files/f/content', null], ['GET', '/console/file', null],
];

/**
 * What is wrong with an answer through the gate, compared with a direct one; null when nothing is. An answer that a direct client
 * gets arrives; any other is an error of the gate's or a broken connection.
 */
export function wrongWith(direct: Received | null, received: Received | null): string | null {
  if (received !== null && received.status === -1) return 'no answer';
  if (direct === null || direct.status < 200 || !direct.complete) {
    const isTold = received === null || !received.complete || received.status >= 500 || received.status === direct?.status || received.body.includes('"error"');
    return isTold || received.body === direct?.body ? null : `told as ${received.status}`;
  }
  if (received === null) return `a direct client gets ${direct.status}, the gate's none`;
  if (received.status !== direct.status) return `${received.status} for ${direct.status}`;
  if (received.body !== direct.body || !received.complete) return 'another body';
  return received.disposition === direct.disposition ? null : 'another file name';
}
