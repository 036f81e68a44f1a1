import { STATUS_CODES } from 'node:http';
import { brotliCompressSync, gzipSync } from 'node:zlib';

import { errorFrame } from '../content/frames.ts';
import { events, failure, json, reply, type Asked, type Manner, type Reply } from './answer.ts';
import type { Cut, Fault } from './fault.ts';
import { chunk, LAST_CHUNK } from './wire.ts';

/** What is written to a connection, and how it goes on. */
export interface Plan {
  /** Milliseconds before the first part. */
  readonly delay: number;
  readonly parts: readonly Buffer[];
  /** Milliseconds between parts; 0: the next turn of the loop. */
  readonly gap: number;
  /** The last part is repeated for as long as the client stays. */
  readonly endless?: boolean;
  readonly end: 'keep' | 'hang' | Cut;
}

/** An answer as bytes: the head, then what follows, the last part being the end of the body where there is one. */
interface Framed {
  readonly head: Buffer;
  readonly body: readonly Buffer[];
}

/** Turns a fault into bytes; everything it needs is in its arguments. */
export function plan(fault: Fault, asked: Asked, manner: Manner): Plan {
  const right = (): Reply => reply(asked, manner);
  switch (fault.kind) {
    case 'ok':
      return fault.close
        ? { ...all(frame(right(), { extra: [['Connection', 'close']] })), end: 'fin' }
        : all(frame(right()));
    case 'refuse':
      return nothing('rst');
    case 'hang':
      return { ...upTo(fault.at, frame(right(), { chunked: true })), end: 'hang' };
    case 'reset':
      return fault.at === 'headers' ? cutBody(frame(right()), fault.after ?? 0, fault.by) : nothing(fault.by);
    case 'kill_at':
      return cutAt(framed(fault, right), fault.byte, fault.by);
    case 'status':
      return all(frame(statusReply(fault)));
    case 'redirect':
      return all(frame({ ...json({}), status: fault.status ?? 307 }, { extra: [['Location', fault.location]] }));
    case 'slow':
      return fault.at === 'events'
        ? { ...all(frame(right())), gap: fault.delay }
        : { ...all(frame(right())), delay: fault.delay };
    default:
      return odd(fault, right);
  }
}

type Odd = Exclude<Fault, { kind: 'ok' | 'refuse' | 'hang' | 'reset' | 'kill_at' | 'status' | 'redirect' | 'slow' }>;

/** Answers that are wrong in themselves, or right in an unusual form. */
function odd(fault: Odd, right: () => Reply): Plan {
  switch (fault.kind) {
    case 'error_event':
      return all(frame(events([...sent(right()).slice(0, fault.after ?? 0), errorFrame(fault.shape, 'Overloaded')])));
    case 'truncated':
      return fault.of === 'json' ? all(frame(shortened(right(), fault.bytes))) : unended(frame(right(), { chunked: true }));
    case 'short_length':
      return { ...all(frame(right(), { lengthBy: fault.by ?? 10 })), end: 'fin' };
    case 'early_hints':
      return prefixed(HINTS, all(frame(right())));
    case 'duplicate_headers':
      return all(frame(right(), { extra: DUPLICATES }));
    case 'not_http':
      return { ...nothing('fin'), parts: [Buffer.from('SSH-2.0-OpenSSH_9.9\r\n')] };
    case 'empty_stream':
      return all(frame(events([])));
    case 'comments_only':
      return comments(fault.count, fault.every ?? 10);
    case 'encoded':
      return all(frame(compressed(right(), fault.encoding), { extra: [['Content-Encoding', fault.encoding]] }));
    case 'http10':
      return { ...all(frame(right(), { http10: true })), end: 'fin' };
    case 'big_head':
      return all(frame(right(), { extra: [['X-Padding', 'p'.repeat(fault.bytes)]] }));
  }
}

const HINTS = Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n');

const DUPLICATES = [
  ['Set-Cookie', 'first=1; Path=/'],
  ['Set-Cookie', 'second=2; Path=/'],
  ['X-Twice', 'one'],
  ['X-Twice', 'two'],
] as const;

interface Framing {
  readonly extra?: readonly (readonly [string, string])[];
  /** Chunked even when the length is known. */
  readonly chunked?: boolean;
  readonly lengthBy?: number;
  readonly http10?: boolean;
}

function frame(answer: Reply, framing: Framing = {}): Framed {
  const pieces = answer.body.kind === 'events' ? answer.body.frames.map((text) => Buffer.from(text)) : [answer.body.bytes];
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const measured = answer.body.kind === 'bytes' && !framing.chunked;
  const lines = [...answer.headers, ...(framing.extra ?? [])];
  if (framing.http10) return { head: head('HTTP/1.0', answer.status, lines), body: pieces };
  if (measured || framing.lengthBy !== undefined) {
    const length = ['Content-Length', String(total + (framing.lengthBy ?? 0))] as const;
    return { head: head('HTTP/1.1', answer.status, [...lines, length]), body: pieces };
  }
  const body = [...pieces.filter((piece) => piece.length > 0).map(chunk), LAST_CHUNK];
  return { head: head('HTTP/1.1', answer.status, [...lines, ['Transfer-Encoding', 'chunked']]), body };
}

function head(version: string, status: number, lines: readonly (readonly [string, string])[]): Buffer {
  const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.from(`${version} ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n${text}\r\n`);
}

function all({ head: first, body }: Framed): Plan {
  return { delay: 0, parts: [first, ...body], gap: 0, end: 'keep' };
}

function nothing(end: Plan['end']): Plan {
  return { delay: 0, parts: [], gap: 0, end };
}

function prefixed(before: Buffer, rest: Plan): Plan {
  return { ...rest, parts: [before, ...rest.parts] };
}

function unended({ head: first, body }: Framed): Plan {
  return { delay: 0, parts: [first, ...body.slice(0, -1)], gap: 0, end: 'fin' };
}

function upTo(at: Extract<Fault, { kind: 'hang' }>['at'], { head: first, body }: Framed): Plan {
  const whole = body.slice(0, -1);
  switch (at) {
    case 'accept':
    case 'headers':
      return nothing('hang');
    case 'first_event':
      return { ...nothing('hang'), parts: [first] };
    case 'middle':
      return { ...nothing('hang'), parts: [first, ...firstHalf(whole)] };
    case 'after_done':
      return { ...nothing('hang'), parts: [first, ...whole] };
  }
}

function firstHalf(parts: readonly Buffer[]): Buffer[] {
  const only = parts[0];
  if (only && parts.length === 1) return [only.subarray(0, only.length >> 1)];
  return parts.slice(0, parts.length >> 1);
}

function cutBody({ head: first, body }: Framed, after: number, by: Cut): Plan {
  return { ...nothing(by), parts: [first, Buffer.concat(body).subarray(0, after)] };
}

function framed({ status, encoding, chunked = false }: Extract<Fault, { kind: 'kill_at' }>, right: () => Reply): Framed {
  if (status !== undefined) return frame(statusReply({ status }), { chunked });
  return encoding === undefined ? frame(right(), { chunked }) : frame(compressed(right(), encoding), { chunked, extra: [['Content-Encoding', encoding]] });
}

function cutAt({ head: first, body }: Framed, byte: number, by: Cut): Plan {
  return { ...nothing(by), parts: [Buffer.concat([first, ...body]).subarray(0, byte)] };
}

function comments(count: number | undefined, every: number): Plan {
  const comment = ': waiting\n\n';
  if (count !== undefined) return all(frame(events(Array.from({ length: count }, () => comment))));
  const { head: first } = frame(events([]));
  return { delay: 0, parts: [first, chunk(comment)], gap: every, endless: true, end: 'hang' };
}

function statusReply(fault: Omit<Extract<Fault, { kind: 'status' }>, 'kind'>): Reply {
  const { status, body } = fault;
  const base = body === undefined ? failure(status, `The provider answers ${status}.`) : raw(status, body);
  return { ...base, headers: [...base.headers, ...Object.entries(fault.headers ?? {})] };
}

function raw(status: number, body: unknown): Reply {
  if (typeof body !== 'string') return json(JSON.parse(JSON.stringify(body)), status);
  return { status, headers: [['Content-Type', 'text/plain']], body: { kind: 'bytes', bytes: Buffer.from(body) } };
}

function sent(answer: Reply): readonly string[] {
  return answer.body.kind === 'events' ? answer.body.frames : [];
}

function shortened(answer: Reply, length?: number): Reply {
  if (answer.body.kind === 'events') return answer;
  const { bytes } = answer.body;
  return { ...answer, body: { kind: 'bytes', bytes: bytes.subarray(0, length ?? bytes.length >> 1) } };
}

function compressed(answer: Reply, encoding: 'gzip' | 'br'): Reply {
  const plain = answer.body.kind === 'events' ? Buffer.from(answer.body.frames.join('')) : answer.body.bytes;
  return { ...answer, body: { kind: 'bytes', bytes: encoding === 'gzip' ? gzipSync(plain) : brotliCompressSync(plain) } };
}
