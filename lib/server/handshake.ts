import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../../types/logger.d.ts';
import { helloIn, ja4Of, rememberHandshake } from '../identity/identity.ts';
import { guard } from '../platform/platform.ts';

/** A ClientHello comes in two or three chunks; a client that sends it byte by byte only causes work. */
const maxChunks = 50;

type Listener = (this: Server, socket: Socket) => void;

/**
 * Reads the ClientHello of every connection before TLS does, and remembers its JA4 for the requests that follow. Node has no API
 * for it: the first bytes are read from the plain socket and put back, and TLS reads them as just received.
 * @param server just made: no other listener waits for its connections yet.
 * @param patience milliseconds within which the ClientHello must be there.
 */
export function watchHandshakes(server: Server, patience: number, log: Logger): void {
  const [secure] = server.listeners('connection') as [Listener];
  /** JA4 by the client's end of the connection, until the handshake is done. */
  const pending = new Map<string, string>();
  server.removeListener('connection', secure);
  server.on('connection', guard(log, 'handshake', (socket: Socket) => {
    readHello(socket, patience, log, (bytes) => {
      const hello = helloIn(bytes);
      if (hello !== null && hello !== 'more') {
        const end = endOf(socket);
        pending.set(end, ja4Of(hello));
        socket.once('close', () => pending.delete(end));
      }
      socket.unshift(bytes);
      secure.call(server, socket);
    });
  }, (socket) => socket.destroy()));
  // Before HTTP's own listener: a request may come with the last bytes of the handshake.
  server.prependListener('secureConnection', guard(log, 'handshake', (socket: TLSSocket) => {
    const ja4 = pending.get(endOf(socket));
    if (ja4 !== undefined) rememberHandshake(socket, ja4);
    pending.delete(endOf(socket));
  }));
}

const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${remotePort ?? 0}`;

/** Collects bytes until they are a ClientHello, or cannot become one. */
function readHello(socket: Socket, patience: number, log: Logger, done: (bytes: Buffer) => void): void {
  const chunks: Buffer[] = [];
  const leave = (): void => void socket.destroy();
  const timer = setTimeout(leave, patience).unref();
  const onReadable = guard(log, 'handshake', (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    chunks.push(chunk);
    const bytes = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    if (helloIn(bytes) === 'more' && chunks.length < maxChunks) return;
    stop();
    done(bytes);
  }, leave);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', onReadable).off('end', leave).off('error', leave).off('close', stop);
  };
  socket.on('readable', onReadable).on('end', leave).on('error', leave).on('close', stop);
}
