import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';
import type { Config } from '../../types/config.d.ts';
import { AddressSet, peerIn } from '../identity/identity.ts';
import { json, printJson, textOf, type Action } from './command.ts';

/** How long an answer may take, milliseconds. */
const patience = 4000;

/** The command `health`: asks the gate of this machine, by the configuration it was started with, how it is. */
export const health: Action = {
  options: { ready: { type: 'boolean', summary: 'also whether it would serve model requests now' }, json },
  examples: ['heimdall health --ready'],
  run: async (invocation) => {
    const { loadConfig } = await import('../config/config.ts');
    const config = loadConfig(textOf(invocation, 'config'));
    const { url, found } = await ask(config, invocation.values['ready'] === true);
    if (invocation.values['json']) printJson(invocation, { url, well: found === null, problem: found });
    else if (found === null) invocation.output.out(`${url}: well\n`, 'green');
    else invocation.output.err(`${url}: ${found}\n`, 'red');
    return found === null ? 0 : 1;
  },
};

interface Asked {
  /** What is wrong, or null. */
  readonly found: string | null;
  /** The body of the answer. */
  readonly text: string;
}

/** The address at which this machine reaches a gate that listens on `host`. */
export const reachable = (host: string): string => (host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host);

/** Connects to the main port of the gate of this machine. @param host address, or path of a Unix socket. */
export function dial({ server: { proxyProtocol }, trustProxy }: Config, host: string, port: number): Socket {
  const socket = host.startsWith('/') ? connect(host) : connect({ host, port });
  // The gate sees this end of the connection as its peer. It expects a preamble of trusted peers alone.
  return socket.once('connect', () => {
    if (proxyProtocol && new AddressSet(trustProxy).has(peerIn(socket.localAddress ?? 'unix'))) socket.write('PROXY UNKNOWN\r\n');
  });
}

/** Asks the gate of this machine. @param ready also whether it would serve model requests. */
export async function ask(config: Config, ready: boolean): Promise<Asked & { readonly url: string }> {
  const { server: { host, port, tls }, endpoints: { health: path } } = config;
  const own = reachable(host);
  const isUnix = own.startsWith('/');
  const socket = dial(config, own, port);
  const asked = path === false ? null : `${path}${ready ? '/ready' : ''}`;
  const { promise: late, resolve } = Promise.withResolvers<Asked>();
  const timer = setTimeout(() => resolve({ found: 'no answer in time', text: '' }), patience);
  const answer = await Promise.race([answerOf(config, socket, asked, ready), late]);
  clearTimeout(timer);
  socket.destroy();
  const origin = isUnix ? `unix:${own}` : `${tls === null ? 'http' : 'https'}://${own.includes(':') ? `[${own}]` : own}:${port}`;
  return { url: `${origin}${asked ?? ''}`, ...answer };
}

/** Bytes of an answer that are read: a gate's are fewer. */
const longest = 65_536;

/** @param path null where it is switched off: then an open port has to do. */
function answerOf({ server: { tls } }: Config, socket: Socket, path: string | null, ready: boolean): Promise<Asked> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve({ found: error.code ?? error.message, text: '' });
    socket.on('error', failed).once('connect', () => {
      if (path === null) return resolve({ found: null, text: '' });
      // SECURITY: nothing is sent that a stranger may not see, so that the certificate need not fit this address.
      const stream = tls === null ? socket : secure({ socket, rejectUnauthorized: false, ...(tls.serverName !== null && { servername: tls.serverName }) }).on('error', failed);
      const asked = request({ path, createConnection: () => stream, headers: { Host: 'localhost', Connection: 'close' } });
      asked.on('error', failed).once('response', (answer) => {
        const { statusCode = 0 } = answer;
        // A gate that refuses this address or asks for patience lives.
        const found = statusCode === 200 || (!ready && (statusCode === 403 || statusCode === 429)) ? null : `answered ${statusCode}`;
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (text.length > longest) resolve({ found, text });
        }).once('end', () => resolve({ found, text }));
      });
      asked.end();
    });
  });
}
