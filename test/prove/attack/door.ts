import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TestLike } from '../../support/client.ts';

/** Fields that HTTP/2 does not know. */
const ofConnections = new Set(['host', 'connection', 'upgrade', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'http2-settings', 'te']);

/**
 * Takes requests of HTTP/1.1 as bytes and sends each as a stream of HTTP/2: an attack on the one is tried on the other.
 * @returns its port. A connection from an address of this machine goes on from there.
 */
export async function openDoor(t: TestLike, gate: number): Promise<number> {
  const server = createServer((socket) => void carry(socket, gate));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function carry(client: Socket, gate: number): void {
  const session = connectHttp2('https://gate.example', {
    createConnection: () => connectTls({ port: gate, host: '127.0.0.1', ...(client.remoteAddress !== undefined && { localAddress: client.remoteAddress }), ALPNProtocols: ['h2'], rejectUnauthorized: false }),
  });
  session.on('error', () => client.destroy()).on('close', () => client.destroy());
  client.on('error', () => undefined).on('close', () => session.destroy());
  let bytes: Buffer = Buffer.alloc(0);
  client.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      const end = bytes.indexOf('\r\n\r\n');
      const head = bytes.toString('latin1', 0, Math.max(end, 0));
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (end === -1 || bytes.length < end + 4 + length) return;
      send(session, client, head, bytes.subarray(end + 4, end + 4 + length));
      bytes = bytes.subarray(end + 4 + length);
    }
  });
}

function send(session: ClientHttp2Session, client: Socket, head: string, body: Buffer): void {
  const [line = '', ...fields] = head.split('\r\n');
  const [method = '', target = ''] = line.split(' ');
  const headers: Record<string, string | string[]> = { ':method': method, ':path': target, ':scheme': 'https', ':authority': /^host: *(.*)/im.exec(head)?.[1] ?? 'gate.example' };
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    if (!ofConnections.has(name)) headers[name] = [...(headers[name] ?? []), field.slice(colon + 1).trim()];
  }
  try {
    answer(session.request(headers, { endStream: body.length === 0 }), client, body);
  } catch {
    // What Node's own client cannot say is not tried.
    client.destroy();
  }
}

function answer(stream: ClientHttp2Stream, client: Socket, body: Buffer): void {
  const pieces: Buffer[] = [];
  let status = 0;
  stream.on('response', (headers) => void (status = Number(headers[':status']))).on('data', (chunk: Buffer) => pieces.push(chunk)).on('error', () => undefined);
  stream.on('close', () => {
    if (status === 0 || stream.rstCode !== 0) return void client.destroy();
    const whole = Buffer.concat(pieces);
    client.write(Buffer.concat([Buffer.from(`HTTP/1.1 ${status} x\r\nContent-Length: ${whole.length}\r\n\r\n`, 'latin1'), whole]));
  });
  if (body.length > 0) stream.end(body);
}
