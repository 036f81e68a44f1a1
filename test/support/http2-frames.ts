import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { TestLike } from './client.ts';

/** Types of frames (RFC 9113 §6). */
const frames = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, ping: 6, goaway: 7, update: 8, continuation: 9 } as const;
/** Flags of frames. */
const flags = { endStream: 1, ack: 1, endHeaders: 4 } as const;

/** A frame as bytes. */
function frame(type: number, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flag;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The fields of `GET / `, from HPACK's static table, with an authority. */
const getHead: Buffer = Buffer.concat([Buffer.from([0x82, 0x87, 0x84, 0x41, 6]), Buffer.from('a.test')]);

/** What an attacker sends again and again: `nth` counts from 0. */
export const floods: Readonly<Record<string, (nth: number) => Buffer>> = {
  'rapid reset': (nth) => Buffer.concat([frame(frames.headers, flags.endHeaders | flags.endStream, 2 * nth + 1, getHead), frame(frames.reset, 0, 2 * nth + 1, Buffer.from([0, 0, 0, 8]))]),
  continuation: (nth) => frame(nth === 0 ? frames.headers : frames.continuation, 0, 1, nth === 0 ? getHead : Buffer.concat([Buffer.from([0, 1, 0x78, 1, 0x79])])),
  'empty continuation': (nth) => frame(nth === 0 ? frames.headers : frames.continuation, 0, 1, nth === 0 ? getHead : Buffer.alloc(0)),
  settings: () => frame(frames.settings, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
  ping: (nth) => frame(frames.ping, 0, 0, Buffer.alloc(8, nth)),
  'window update': () => frame(frames.update, 0, 0, Buffer.from([0, 0, 0, 1])),
  priority: () => frame(frames.priority, 0, 1, Buffer.from([0, 0, 0, 3, 1])),
  // A field of 4 000 bytes in the dynamic table, named a thousand times by one byte each.
  hpack: (nth) => frame(frames.headers, flags.endHeaders | flags.endStream, 2 * nth + 1, Buffer.concat([getHead, ...(nth === 0 ? [Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'y')] : []), Buffer.alloc(1000, 0xbe)])),
};

/** A connection of HTTP/2 whose frames a test writes by itself. */
export interface RawSession {
  readonly socket: TLSSocket;
  /** Sends bytes as far as the server takes them. @returns false when the connection is closed. */
  send(bytes: Buffer): Promise<boolean>;
  /** The code of the server's last GOAWAY; null without one. */
  readonly code: number | null;
  /** Frames received, by type. */
  readonly received: ReadonlyMap<number, number>;
  readonly closed: Promise<void>;
}

/** Opens a session: preface and empty settings are sent. */
export async function openRaw(t: TestLike, port: number): Promise<RawSession> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await once(socket, 'secureConnect');
  const received = new Map<number, number>();
  let code: number | null = null;
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let size = 0; rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3)); rest = rest.subarray(size)) {
      const type = rest[3] as number;
      received.set(type, (received.get(type) ?? 0) + 1);
      if (type === frames.goaway) code = rest.readUInt32BE(13);
    }
  });
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frames.settings, 0, 0)]));
  const send = async (bytes: Buffer): Promise<boolean> => {
    if (socket.destroyed || !socket.writable) return false;
    if (!socket.write(bytes)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
    return !socket.destroyed && socket.writable;
  };
  return { socket, send, received, closed, get code() { return code; } };
}
