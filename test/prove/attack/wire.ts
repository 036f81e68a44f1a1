import { connect, type Socket } from 'node:net';

/** What is written to a socket: bytes (text as Latin-1), or milliseconds of silence. */
export type Step = string | Buffer | number;

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  /** Status line and header lines, Latin-1. */
  readonly head: string;
  readonly body: Buffer;
  /** The body ended as its framing says. */
  readonly complete: boolean;
}

/** What came back on a connection. */
export interface Heard {
  /** Final answers; interim ones are left out. */
  readonly answers: readonly RawAnswer[];
  readonly bytes: Buffer;
  /** The peer ended the connection. */
  readonly closed: boolean;
}

export interface ExchangeOptions {
  /** Milliseconds of silence behind a complete answer after which nothing more is expected (default 50). */
  readonly quiet?: number;
  /** Milliseconds of silence without a complete answer (default 700). */
  readonly patience?: number;
  /** Answers after which there is no need to wait. */
  readonly expected?: number;
  /** Address of this machine that the connection comes from. */
  readonly from?: string;
  /** Half-close behind the last step. */
  readonly end?: boolean;
  /** Methods of the requests, for those whose answers have no body. */
  readonly methods?: readonly string[];
}

/** Writes these steps to a port of this machine and reads until the peer closes or is silent. */
export function exchange(port: number, steps: readonly Step[], options: ExchangeOptions = {}): Promise<Heard> {
  const { quiet = 50, patience = 700, expected = Infinity, from = '127.0.0.1', methods = [] } = options;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let closed = false;
    let over = false;
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    const heard = (): Heard => {
      const bytes = Buffer.concat(chunks);
      return { answers: parseAnswers(bytes, closed, methods), bytes, closed };
    };
    const finish = (): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      socket.destroy();
      resolve(heard());
    };
    let timer = setTimeout(finish, patience);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      clearTimeout(timer);
      const complete = heard().answers.filter((answer) => answer.complete).length;
      if (complete >= expected) return finish();
      timer = setTimeout(finish, complete > 0 ? quiet : patience);
    });
    socket.on('error', () => undefined);
    socket.on('end', () => void (closed = true));
    socket.on('close', () => {
      closed = true;
      finish();
    });
    socket.on('connect', () => void send(socket, steps, options.end === true, () => timer.refresh()));
  });
}

async function send(socket: Socket, steps: readonly Step[], end: boolean, moved: () => void): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return;
    if (typeof step === 'number') await new Promise((resolve) => setTimeout(resolve, step));
    else socket.write(typeof step === 'string' ? Buffer.from(step, 'latin1') : step);
    moved();
  }
  if (end) socket.end();
}

/** @param closed the connection is over, which ends a body without a length. */
export function parseAnswers(bytes: Buffer, closed: boolean, methods: readonly string[] = []): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n\r\n', at);
    if (end === -1) break;
    const head = bytes.toString('latin1', at, end);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
    at = end + 4;
    if (status >= 100 && status < 200 && status !== 101) continue;
    const bodiless = status === 101 || status === 204 || status === 304 || methods[answers.length] === 'HEAD';
    const { body, next, complete } = bodiless ? { body: Buffer.alloc(0), next: at, complete: true } : bodyAt(bytes, at, head, closed);
    answers.push({ status, head, body, complete });
    at = next;
    if (!complete || status === 0 || status === 101) break;
  }
  return answers;
}

interface Body {
  readonly body: Buffer;
  readonly next: number;
  readonly complete: boolean;
}

function bodyAt(bytes: Buffer, at: number, head: string, closed: boolean): Body {
  if (/^transfer-encoding:\s*chunked\s*$/im.test(head)) return chunkedAt(bytes, at);
  const length = /^content-length:\s*(\d+)\s*$/im.exec(head)?.[1];
  if (length === undefined) return { body: bytes.subarray(at), next: bytes.length, complete: closed };
  const next = at + Number(length);
  return { body: bytes.subarray(at, next), next: Math.min(next, bytes.length), complete: next <= bytes.length };
}

/** Reads a chunked body; trailers are passed over. */
export function chunkedAt(bytes: Buffer, start: number): Body {
  const parts: Buffer[] = [];
  let at = start;
  const so = (complete: boolean, next: number): Body => ({ body: Buffer.concat(parts), next, complete });
  for (;;) {
    const line = bytes.indexOf('\r\n', at);
    if (line === -1) return so(false, bytes.length);
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (Number.isNaN(size)) return so(false, bytes.length);
    if (size > 0) {
      parts.push(bytes.subarray(line + 2, line + 2 + size));
      at = line + 2 + size + 2;
      if (at > bytes.length) return so(false, bytes.length);
      continue;
    }
    at = line + 2;
    for (;;) {
      const trailer = bytes.indexOf('\r\n', at);
      if (trailer === -1) return so(false, bytes.length);
      if (trailer === at) return so(true, at + 2);
      at = trailer + 2;
    }
  }
}
