import { lstatSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Config, ConfigInput } from '../../types/config.d.ts';
import { gateOf, internalsOf, type Gate } from '../gateway.ts';
import { openBeside, openConfigured } from './admin.ts';
import { filesOf, loadSettings } from '../config/config.ts';
import { guard, written } from '../platform/platform.ts';
import { createServer } from './create.ts';
import { startHttp3 } from './http3.ts';
import { listening } from './listening.ts';
import { crewOf, Workforce, workersOf } from './workers.ts';
import { lookEvery, WatchedFiles } from './watched-files.ts';

/** A running standalone gate. */
export interface Serving {
  readonly gate: Gate;
  /** With several workers the server of what they hand on to the main thread; it listens nowhere. */
  readonly server: Server;
  /** Its address, for example `http://127.0.0.1:8000`. */
  readonly url: string;
  /** The admin API's own URL, for example `http://127.0.0.1:8001/heimdall/api`; null when it has none. */
  readonly adminUrl: string | null;
  /** Where the page opens in a browser; null without the admin API. */
  readonly page: string | null;
}

/**
 * Runs a gate as a process of its own: listens, prints its address, and drains on SIGTERM and SIGINT. A second signal ends it at
 * once. NewAPI need not be up.
 * @throws ConfigError, or an error that says why the address could not be opened.
 */
export async function serve(config?: ConfigInput | Config): Promise<Serving> {
  // A closed output pipe must not end the process.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  outliveSignals();
  const settings = loadSettings({ code: config });
  const gate = gateOf(settings, { standalone: true }, crewOf(workersOf(settings)));
  running.add(gate);
  const { server, adminUrl, address } = await open(gate);
  const url = addressOf(address, gate.config);
  process.stderr.write(`Heimdall listens on ${url} and guards ${gate.config.newapi.baseUrl}\n`);
  if (gate.config.server.tls === null) process.stderr.write('TLS is off: put a TLS proxy in front, or set TLS_CERT_PATH and TLS_KEY_PATH.\n');
  const { http3 } = gate.config.server;
  if (http3.enabled) process.stderr.write(`HTTP/3 is on the UDP port ${http3.port}, by ${http3.engine}\n`);
  const page = pageOf(gate.config, url, adminUrl);
  if (page !== null) process.stderr.write(`Page: ${page}\n`);
  if (adminUrl !== null) process.stderr.write(`The admin API is at ${adminUrl}\n`);
  else if (gate.config.admin.token !== null) process.stderr.write(`The admin API has no address of its own: it is at ${url}${gate.config.admin.path}/api${gate.config.admin.listen === false ? '' : ', for callers on this machine alone'}\n`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(gate));
  watchFile(gate, server);
  void reportUpstream(gate);
  return { gate, server, url, adminUrl, page };
}

/** Where the page opens in a browser; null without the admin API. */
function pageOf({ admin: { token, auth, path } }: Config, url: string, adminUrl: string | null): string | null {
  if (adminUrl !== null) return adminUrl.replace(/api$/, '');
  return token === null && auth !== 'newapi' ? null : `${url}${path}/`;
}

/** Opens a configured admin address first: without it the gate should not serve. */
async function open(gate: Gate): Promise<{ server: Server; adminUrl: string | null; address: string | number }> {
  try {
    await openJournal(gate);
    const configured = await openConfigured(gate);
    const { server, address } = await served(gate);
    await startHttp3(gate);
    return { server, address, adminUrl: configured ?? (await openBeside(gate, typeof address === 'string' ? gate.config.server.port : address)) };
  } catch (error) {
    running.delete(gate);
    await gate.close({ timeout: 0 });
    throw error;
  }
}

/** @returns the path of the socket, or the port. */
async function served(gate: Gate): Promise<{ server: Server; address: string | number }> {
  const { crew } = internalsOf(gate).core;
  if (crew === null) {
    const server = createServer(gate);
    await listen(server, gate);
    const address = server.address() as AddressInfo | string;
    return { server, address: typeof address === 'string' ? address : address.port };
  }
  const workforce = new Workforce(gate, crew);
  const { server: { host, port } } = gate.config;
  const address = await workforce.start().catch((error: NodeJS.ErrnoException) => {
    throw error.code === undefined || error.syscall !== 'listen' ? error : new Error(reasonOf(error, host, port), { cause: error });
  });
  return { server: workforce.relay, address };
}

/** Where every request must be recorded, the gate does not listen without the journal. */
async function openJournal(gate: Gate): Promise<void> {
  const { durability, onFull } = gate.config.audit;
  const { core: { crew }, journal } = internalsOf(gate);
  if (durability === 'strict' || onFull === 'refuse') await journal.open();
  // The main thread has the upkeep of the journal, so it comes first.
  else if (crew !== null) await journal.open().catch(() => undefined);
}

/** Reads the configuration again when its file or one of a secret changes, while `server.watch` is on, until the server closes. */
export function watchFile(gate: Gate, server: Server): void {
  const { core, readings, reload } = internalsOf(gate);
  if (filesOf(gate.config).length === 0) return;
  const file = new WatchedFiles(() => filesOf(core.config));
  // Whatever asks for it, the file is read then.
  readings.add(() => file.taken());
  const timer = setInterval(guard(core.log, 'config.watch', () => {
    if (!gate.config.server.watch || !file.haveChanged()) return;
    file.taken();
    reload('server.watch').catch(() => undefined);
  }), lookEvery).unref();
  server.once('close', () => clearInterval(timer));
}

/** Prints when NewAPI is down; it may start later. */
async function reportUpstream(gate: Gate): Promise<void> {
  if (await internalsOf(gate).hasTarget()) return;
  process.stderr.write(`Nothing answers at ${gate.config.newapi.baseUrl}: until it does, requests fail with 502. The gate itself is up and looks again at every request.\n`);
}

async function listen(server: Server, gate: Gate): Promise<void> {
  const { host, port } = gate.config.server;
  const isSocket = host.startsWith('/');
  if (isSocket) await removeStale(host);
  await listening(server, internalsOf(gate).core, isSocket ? { path: host } : { port, host }).catch((error: NodeJS.ErrnoException) => {
    throw new Error(isSocket ? socketReasonOf(error, host) : reasonOf(error, host, port), { cause: error });
  });
}

/** Removes the socket that a killed process has left behind: it refuses connections, since no process listens on it. */
async function removeStale(path: string): Promise<void> {
  const socket = connect(path);
  const code = await new Promise<string | undefined>((resolve) => {
    socket.once('connect', () => resolve(undefined)).once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  socket.destroy();
  if (code === 'ECONNREFUSED' && lstatSync(path).isSocket()) rmSync(path);
}

function socketReasonOf({ code, message }: NodeJS.ErrnoException, path: string): string {
  const why = code === 'EADDRINUSE' ? 'which another process uses' : (code ?? message);
  return `server.host: expected the path of a new Unix socket in a directory that can be written, got ${JSON.stringify(path)} (${why}). Example: /run/heimdall/heimdall.sock`;
}

function reasonOf(error: NodeJS.ErrnoException, host: string, port: number): string {
  // The next port is that of the other gate's admin API, where it is one.
  if (error.code === 'EADDRINUSE') return `server.port: expected a free port, got ${port}, which another process uses. Example: HEIMDALL_PORT=${port + 2} npm start`;
  if (error.code === 'EACCES') return `server.port: expected a port this user may open, got ${port}. Example: HEIMDALL_PORT=8000 npm start`;
  return `server.host: expected an address of this machine, got ${JSON.stringify(host)} (${error.code ?? error.message}). Example: HEIMDALL_HOST=0.0.0.0 npm start`;
}

function addressOf(address: string | number, { server: { host, tls } }: Config): string {
  if (typeof address === 'string') return `unix:${address}`;
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `${tls === null ? 'http' : 'https'}://${shown.includes(':') ? `[${shown}]` : shown}:${address}`;
}

async function stop(gate: Gate): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
  running.delete(gate);
  try {
    await internalsOf(gate).end(quiet);
    // A reader that has stopped reading does not hold the end up.
    await Promise.all([process.stdout, process.stderr].map((stream) => written(stream, lastWords)));
    process.exit(0);
  } catch {
    process.exit(1);
  }
}

/**
 * A process that is told to end listens until nothing has come for so long, milliseconds: a balancer that has just moved on has
 * requests on their way.
 */
const quiet = 1000;
/** How long the end of the process waits for its last lines to be read, milliseconds. */
const lastWords = 1000;
/** The gates of this process that serve. */
const running = new Set<Gate>();
let isOutliving = false;

/** Signals by which shells, supervisors and log rotation reach a process, and which would end it, with their effect on a gate. */
const outlived: Readonly<Partial<Record<NodeJS.Signals, string>>> = {
  SIGHUP: 'configuration and certificates are read again; log files are opened for every write',
  SIGUSR1: 'none',
  SIGUSR2: 'none',
  SIGQUIT: 'none',
};

function outliveSignals(): void {
  if (isOutliving) return;
  isOutliving = true;
  for (const [signal, effect] of Object.entries(outlived)) {
    process.on(signal as NodeJS.Signals, () => {
      for (const gate of running) {
        const { core, certificates, reload } = internalsOf(gate);
        core.log.info({ signal, effect }, 'process.signal');
        if (signal !== 'SIGHUP') continue;
        // What is wrong with it is in the event log. Certificates are read with it; without it they are read all the same.
        reload('SIGHUP').catch(() => {
          for (const { all } of certificates) for (const certificate of all) certificate.renew();
          for (const link of core.crew?.links ?? []) link.tell('renew', null);
        });
      }
    });
  }
}
