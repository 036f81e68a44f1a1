import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { WebSocket, type ClientOptions } from 'ws';
import { until } from './client.ts';

/** A WebSocket client that keeps what it hears. */
export interface Peer {
  readonly socket: WebSocket;
  /** The head of the 101. */
  readonly answer: IncomingMessage;
  /** Text frames as text, binary ones as bytes. */
  readonly messages: readonly (string | Buffer)[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** The message at this place, when it has come. */
  message(at: number): Promise<string | Buffer>;
}

export interface DialOptions extends ClientOptions {
  readonly protocols?: readonly string[];
}

/** Opens a WebSocket; rejects when it is refused, with the refusal as `.answer`. */
export async function dial(url: string, { protocols = [], ...options }: DialOptions = {}): Promise<Peer> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), [...protocols], { perMessageDeflate: false, ...options });
  const messages: (string | Buffer)[] = [];
  socket.on('message', (data: Buffer, binary) => void messages.push(binary ? data : data.toString()));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    let head: IncomingMessage | undefined;
    socket.on('upgrade', (message) => {
      head = message;
    });
    socket.on('open', () => resolve(head as IncomingMessage));
    socket.on('error', reject);
  });
  return { socket, answer, messages, closed, message: (at) => until(() => messages[at], `message ${at}`) };
}

/** What a client that is refused sees. */
export interface Refusal {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The gate ended the connection by itself. */
  readonly ended: boolean;
}

/** Asks for an upgrade that is refused and waits until the connection is over, without closing it on this side. */
export async function refused(port: number, head: string): Promise<Refusal> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(head);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => void chunks.push(chunk)).on('error', () => undefined);
  const ended = await Promise.race([once(socket, 'end').then(() => true), once(socket, 'close').then(() => false)]);
  const [top = '', text = ''] = Buffer.concat(chunks).toString().split('\r\n\r\n', 2);
  const [line = '', ...fields] = top.split('\r\n');
  const headers = Object.fromEntries(fields.map((field) => [field.split(':', 1)[0]?.toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]));
  return { status: Number(line.split(' ')[1]), headers, text, ended };
}

/** The bytes of a handshake. */
export function handshake(path: string, ...more: readonly string[]): string {
  const fields = ['Host: chat.example.com', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`, ...more];
  return `GET ${path} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`;
}

const key = Buffer.from('sixteen bytes ..').toString('base64');

/** What the other side must answer to {@link handshake}. */
export const accepted: string = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** A masked text frame of up to 125 bytes. */
export function textFrame(text: string): Buffer {
  const mask = Buffer.from([1, 2, 3, 4]);
  const payload = Buffer.from(text).map((byte, at) => byte ^ (mask[at % 4] as number));
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload]);
}

/** Resets a connection, as a peer that vanishes does. */
export function vanish(peer: Peer): void {
  (peer.socket as unknown as { _socket: Socket })._socket.resetAndDestroy();
}
