import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';
import type { Config } from '../../types/config.d.ts';
import { AddressSet } from '../identity/identity.ts';
import { json, printJson, textOf, type Action } from './command.ts';
import { dial, reachable } from './health.ts';

/** How long an answer may take, milliseconds. */
const patience = 10_000;

/** The command `reload`: has the running gate read its configuration again. The file only tells where to ask, and with which token. */
export const reload: Action = {
  options: { json },
  examples: ['heimdall reload -c /etc/heimdall/heimdall.yaml'],
  run: async (invocation) => {
    const { loadConfig } = await import('../config/config.ts');
    const config = loadConfig(textOf(invocation, 'config'));
    const { changed, restart } = await asked(config);
    if (invocation.values['json']) printJson(invocation, { changed, restart });
    else {
      const inForce = changed.filter((key) => !restart.includes(key));
      if (changed.length === 0 || inForce.length > 0) invocation.output.out(`in force: ${inForce.join(', ') || 'nothing has changed'}\n`, 'green');
      if (restart.length > 0) invocation.output.out(`needs a restart: ${restart.join(', ')}\n`, 'yellow');
    }
    return 0;
  },
};

interface Reloaded {
  readonly changed: readonly string[];
  readonly restart: readonly string[];
}

const otherwise = 'A changed admin.token or admin.listen takes effect by SIGHUP or server.watch';

/** @throws an error that says why the gate has not taken the configuration over. */
async function asked(config: Config): Promise<Reloaded> {
  const { admin: { token, path, clientCaPath } } = config;
  if (token === null) throw new Error('admin.token: expected a token, by which the gate is asked, got nothing. Send SIGHUP to the gate instead');
  if (clientCaPath !== null) throw new Error('admin.client_ca_path: the gate demands a client certificate, which this command has not. Send SIGHUP to the gate instead');
  const place = placeOf(config);
  const url = `${place.host.startsWith('/') ? `unix:${place.host}` : `${place.isSecure ? 'https' : 'http'}://${authorityOf(place)}`}${path}/api/reload`;
  const { status, text } = await answerOf(config, place, `${path}/api/reload`, token).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${url}: no gate answers (${error.code ?? error.message}). ${otherwise}`);
  });
  if (status === 401) throw new Error(`${url}: the gate refuses admin.token. ${otherwise}`);
  const { error, ...done } = parsed(text);
  if (status !== 200) throw new Error(error?.message ?? `${url}: answered ${status}, which no gate does. ${otherwise}`);
  return { changed: done.changed ?? [], restart: done.restart ?? [] };
}

function parsed(text: string): Partial<Reloaded> & { readonly error?: { readonly message?: string } } {
  try {
    return JSON.parse(text) as Partial<Reloaded>;
  } catch {
    return {};
  }
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
  /** Whether it is the gate's own port. */
  readonly isMain: boolean;
}

const authorityOf = ({ host, port }: Place): string => (host.startsWith('/') ? 'localhost' : `${host.includes(':') ? `[${host}]` : host}:${port}`);

/** Where the admin API of a gate with this configuration is; see `admin.listen`. */
function placeOf({ admin: { listen }, server }: Config): Place {
  if (listen === false) return { host: reachable(server.host), port: server.port, isSecure: server.tls !== null, isMain: true };
  if (listen === null) return { host: '127.0.0.1', port: server.port + 1, isSecure: false, isMain: false };
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const isLocal = host === 'localhost' || new AddressSet(['loopback']).has(host);
  return { host: reachable(host), port: Number(listen.slice(colon + 1)), isSecure: server.tls !== null && !isLocal, isMain: false };
}

async function answerOf(config: Config, place: Place, path: string, token: string): Promise<{ status: number; text: string }> {
  const { host, port, isSecure, isMain } = place;
  const plain = isMain ? dial(config, host, port) : connect({ host, port });
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  plain.once('error', reject).setTimeout(patience, () => reject(new Error('no answer in time')));
  const ask = (socket: Socket): void => {
    const asking = request({ method: 'POST', path, createConnection: () => socket, headers: { Host: authorityOf(place), Authorization: `Bearer ${token}`, 'Content-Length': '0', Connection: 'close' } });
    asking.once('error', reject).once('response', (answer) => {
      answer.toArray().then((chunks) => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks as Buffer[]).toString() }), reject);
    });
    asking.end();
  };
  if (isSecure) secured(config, plain, ask, reject);
  else plain.once('connect', () => ask(plain));
  return promise.finally(() => plain.destroy());
}

/** SECURITY: the token goes only to a peer that shows the configured certificate, whatever names stand in it. */
function secured({ server: { tls } }: Config, plain: Socket, ask: (socket: Socket) => void, refuse: (error: Error) => void): void {
  const { fingerprint256 } = new X509Certificate(readFileSync(tls?.certPath ?? ''));
  const socket = secure({ socket: plain, rejectUnauthorized: false });
  socket.once('error', refuse).once('secureConnect', () => {
    if (socket.getPeerX509Certificate()?.fingerprint256 === fingerprint256) ask(socket);
    else refuse(new Error('it shows another certificate than server.tls'));
  });
}
