import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Config } from '../../types/config.d.ts';
import { AddressSet } from '../identity/identity.ts';
import { json, printJson, textOf, type Action } from './command.ts';
import { askGate, authorityOf, originOf, type Place, reachable } from './asking.ts';

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
  const url = `${originOf(place)}${path}/api/reload`;
  // SECURITY: the token goes only to a peer that shows the configured certificate, whatever names stand in it.
  const fingerprint = place.isSecure ? new X509Certificate(readFileSync(config.server.tls?.certPath ?? '')).fingerprint256 : null;
  const headers = { Host: place.host.startsWith('/') ? 'localhost' : authorityOf(place.host, place.port), Authorization: `Bearer ${token}` };
  const { status, text } = await askGate(config, place, { method: 'POST', path: `${path}/api/reload`, headers, patience, fingerprint }).catch((error: NodeJS.ErrnoException) => {
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

/** Where the admin API of a gate with this configuration is; see `admin.listen`. */
function placeOf({ admin: { listen }, server }: Config): Place {
  if (listen === false) return { host: reachable(server.host), port: server.port, isSecure: server.tls !== null, isMain: true };
  if (listen === null) return { host: '127.0.0.1', port: server.port + 1, isSecure: false, isMain: false };
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const isLocal = host === 'localhost' || new AddressSet(['loopback']).has(host);
  return { host: reachable(host), port: Number(listen.slice(colon + 1)), isSecure: server.tls !== null && !isLocal, isMain: false };
}
