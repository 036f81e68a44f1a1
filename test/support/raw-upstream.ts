import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestLike } from './client.ts';

/** One request as it came over the wire. */
export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly head: string;
  readonly body: string;
  /** How many requests came before it, on any connection. */
  readonly nth: number;
  /** How many requests came before it on its connection. */
  readonly nthOnConnection: number;
}

/** Writes whatever bytes a test wants as an answer. */
export type RawAnswer = (socket: Socket, request: RawRequest) => void;

/** An upstream that speaks bytes, for answers that no HTTP server would send. */
export interface RawUpstream {
  readonly url: string;
  readonly port: number;
  readonly requests: readonly RawRequest[];
  /** Answers the requests that come from now on. */
  answer: RawAnswer;
}

/** Starts it on a free port of 127.0.0.1; ends with the test, connections included. */
export async function startRawUpstream(t: TestLike, answer: RawAnswer): Promise<RawUpstream> {
  const requests: RawRequest[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true).on('error', () => undefined).on('close', () => sockets.delete(socket));
    let received = '';
    let nthOnConnection = 0;
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      for (let found = split(received); found !== null; found = split(received)) {
        received = received.slice(found.length);
        const request = { ...found.request, nth: requests.length, nthOnConnection: nthOnConnection++ };
        requests.push(request);
        upstream.answer(socket, request);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  const upstream: RawUpstream = { url: `http://127.0.0.1:${port}`, port, requests, answer };
  return upstream;
}

/** The first request of the bytes received, framed by its length alone. */
function split(received: string): { request: Omit<RawRequest, 'nth' | 'nthOnConnection'>; length: number } | null {
  const end = received.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const head = received.slice(0, end);
  const size = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  const length = end + 4 + size;
  if (received.length < length) return null;
  const [method = '', path = ''] = head.split(' ');
  return { request: { method, path, head, body: received.slice(end + 4, length) }, length };
}
