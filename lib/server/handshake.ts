import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { helloIn, ja4Of, rememberHandshake } from '../identity/identity.ts';

/** A real one comes in two or three; who sends it byte by byte only makes work. */
const mostPieces = 50;

type Listener = (this: Server, socket: Socket) => void;

/**
 * Looks at the ClientHello of every connection before TLS does, and remembers its JA4 for the requests that follow. Node
 * shows it to nobody: the first bytes are read from the plain socket and put back, which TLS takes for received.
 * @param server just made: nobody else listens for its connections yet.
 * @param patience milliseconds within which the ClientHello must be there.
 */
export function watchHandshakes(server: Server, patience: number): void {
  const [secure] = server.listeners('connection') as [Listener];
  /** Until the handshake is done, by the client's end of the connection. */
  const pending = new Map<string, string>();
  server.removeListener('connection', secure);
  server.on('connection', (socket: Socket) => {
    readHello(socket, patience, (bytes) => {
      const hello = helloIn(bytes);
      if (hello !== null && hello !== 'more') {
        const end = endOf(socket);
        pending.set(end, ja4Of(hello));
        socket.once('close', () => pending.delete(end));
      }
      socket.unshift(bytes);
      secure.call(server, socket);
    });
  });
  // Ahead of HTTP's own listener: a request may come with the handshake's last bytes.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const ja4 = pending.get(endOf(socket));
    if (ja4 !== undefined) rememberHandshake(socket, ja4);
    pending.delete(endOf(socket));
  });
}

const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${remotePort ?? 0}`;

/** Collects bytes until they are a ClientHello, or certainly none. */
function readHello(socket: Socket, patience: number, done: (bytes: Buffer) => void): void {
  const chunks: Buffer[] = [];
  const leave = (): void => void socket.destroy();
  const timer = setTimeout(leave, patience).unref();
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    chunks.push(chunk);
    const bytes = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    if (helloIn(bytes) === 'more' && chunks.length < mostPieces) return;
    stop();
    done(bytes);
  };
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', onReadable).off('end', leave).off('error', leave).off('close', stop);
  };
  socket.on('readable', onReadable).on('end', leave).on('error', leave).on('close', stop);
}
