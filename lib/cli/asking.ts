import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';
import type { Config } from '../../types/config.d.ts';
import { AddressSet, peerIn } from '../identity/identity.ts';

/** Bytes of an answer that are read: what commands ask for is shorter. */
const longest = 65_536;

/** The address at which this machine reaches a gate that listens on `host`. */
export const reachable = (host: string): string => (host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host);

/** Host and port as they stand in a URL. */
export const authorityOf = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Where a listener of the gate of this machine is. */
export interface Place {
  /** Address, or path of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
  /** Whether it is the gate's own port, which may expect a preamble. */
  readonly isMain: boolean;
}

/** The start of the URL of a place. */
export const originOf = ({ host, port, isSecure }: Place): string => (host.startsWith('/') ? `unix:${host}` : `${isSecure ? 'https' : 'http'}://${authorityOf(host, port)}`);

/** What is asked. */
export interface Asking {
  readonly method?: 'GET' | 'POST';
  /** Null: a connection is enough. */
  readonly path: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** How long it may take, milliseconds. */
  readonly patience: number;
  /** Certificate that the gate must show, as its SHA-256 fingerprint. SECURITY: without it nothing secret may be sent. */
  readonly fingerprint?: string | null;
}

/** An answer. `status` is 0 where a connection was enough. */
export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Asks the gate of this machine. @throws Error that says why there is no answer. */
export function askGate(config: Config, place: Place, asking: Asking): Promise<Answered> {
  const plain = dial(config, place);
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const late = setTimeout(() => reject(new Error('no answer in time')), asking.patience);
  plain.on('error', reject).once('connect', () => {
    if (asking.path === null) return resolve({ status: 0, headers: {}, text: '' });
    if (!place.isSecure) return send(plain, asking, resolve, reject);
    const serverName = config.server.tls?.serverName ?? null;
    const stream = secure({ socket: plain, rejectUnauthorized: false, ...(serverName !== null && { servername: serverName }) });
    stream.on('error', reject).once('secureConnect', () => {
      if (asking.fingerprint == null || stream.getPeerX509Certificate()?.fingerprint256 === asking.fingerprint) send(stream, asking, resolve, reject);
      else reject(new Error('it shows another certificate than server.tls'));
    });
  });
  return promise.finally(() => {
    clearTimeout(late);
    plain.destroy();
  });
}

function dial({ server: { proxyProtocol }, trustProxy }: Config, { host, port, isMain }: Place): Socket {
  const socket = host.startsWith('/') ? connect(host) : connect({ host, port });
  // The gate sees this end of the connection as its peer. It expects a preamble of trusted peers alone.
  return socket.once('connect', () => {
    if (isMain && proxyProtocol && new AddressSet(trustProxy).has(peerIn(socket.localAddress ?? 'unix'))) socket.write('PROXY UNKNOWN\r\n');
  });
}

function send(stream: Socket, { method = 'GET', path, headers }: Asking, resolve: (answer: Answered) => void, reject: (error: Error) => void): void {
  const asked = request({ method, path, createConnection: () => stream, headers: { ...headers, ...(method === 'POST' && { 'Content-Length': '0' }), Connection: 'close' } });
  asked.on('error', reject).once('response', (answer) => {
    const { statusCode: status = 0 } = answer;
    let text = '';
    const over = (): void => resolve({ status, headers: answer.headers, text });
    answer.setEncoding('utf8').on('error', reject).on('data', (chunk: string) => {
      text += chunk;
      if (text.length > longest) over();
    }).once('end', over);
  });
  asked.end();
}
