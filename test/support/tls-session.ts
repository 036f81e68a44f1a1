import { connect, type ConnectionOptions } from 'node:tls';

const get = 'GET /health HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n';

/** Begins a TLS session. @returns whether a new connection that offers it resumes it. */
export async function startSession(port: number, options: ConnectionOptions): Promise<() => Promise<boolean>> {
  const ask = (session?: Buffer): Promise<{ readonly isReused: boolean; readonly session: Buffer | null }> => new Promise((resolve, reject) => {
    // Tickets of TLS 1.3 come after the handshake, before the answer.
    let last: Buffer | null = null;
    let isReused = false;
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options, ...(session !== undefined && { session }) }, () => {
      isReused = socket.isSessionReused();
      socket.write(get);
    });
    socket.on('session', (one: Buffer) => (last = one));
    socket.resume().once('error', reject).once('close', () => resolve({ isReused, session: last }));
  });
  const { session } = await ask();
  if (session === null) throw new Error('the server gives no session');
  return async () => (await ask(session)).isReused;
}
