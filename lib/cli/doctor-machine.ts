import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import { systemClock } from '../platform/platform.ts';
import { whyUnreadable } from '../values/values.ts';
import { whyUnwritable } from './check.ts';
import { fail, ok, warn, type Check, type Finding } from './doctor-check.ts';
import { ask } from './health.ts';

/** Free bytes below which a disk is about to be full, and below which it is as good as full. */
const littleRoom = 1024 ** 3;
const noRoom = 64 * 1024 ** 2;
/** Descriptors that the gate has open beside connections: journal, logs, libraries. */
const otherFiles = 256;
const day = 86_400_000;

/** What can be seen on this machine alone. */
export const machineChecks = (config: Config): readonly Check[] => [
  { name: 'disk', run: () => diskOf(config) },
  { name: 'files', run: () => [fileLimit(config)] },
  { name: 'certificate', run: () => certificates(config) },
  { name: 'port', run: async () => [await portOf(config)] },
];

function diskOf({ audit, logging, middleware }: Config): readonly Finding[] {
  const log = logging.file === null ? 'heimdall.log' : logging.file;
  const files: readonly (readonly [what: string, key: string, path: string | false])[] = [
    ['journal', 'audit.path', audit.enabled && audit.path],
    ['log', 'logging.file', middleware?.includes('logging') === false ? false : log],
  ];
  return files.flatMap(([what, key, path]) => (path === false ? [] : [roomFor(`disk ${what}`, key, resolve(path))]));
}

function roomFor(name: string, key: string, path: string): Finding {
  const why = whyUnwritable(path, false);
  if (why !== null) return fail(name, `${path} cannot be written (${why})`, `run this as the user of the gate, give it the directory (chown), or set ${key}`);
  let at = path;
  while (statSync(at, { throwIfNoEntry: false }) === undefined && dirname(at) !== at) at = dirname(at);
  const { bavail, bsize, blocks } = statfsSync(at);
  const free = bavail * bsize;
  const text = `${path}: ${sizeOf(free)} free (${blocks === 0 ? 0 : Math.round((100 * bavail) / blocks)} %)`;
  if (free >= littleRoom) return ok(name, text);
  return (free < noRoom ? fail : warn)(name, text, key === 'audit.path' ? 'free some room, or shorten audit.retention and audit.max_size' : 'free some room, or lower logging.max_size and logging.max_files');
}

const sizeOf = (bytes: number): string => (bytes < littleRoom ? `${Math.floor(bytes / 1024 ** 2)} MB` : `${(bytes / littleRoom).toFixed(1)} GB`);

/** Each request has a connection of its caller and one to its upstream. */
function fileLimit({ server: { maxConnections }, queue }: Config): Finding {
  // The report would ask the resolver for the names of addresses.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  report.excludeNetwork = true;
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: number | 'unlimited' } } };
  const limit = userLimits?.open_files?.soft ?? 'unlimited';
  const needed = 2 * (maxConnections ?? queue.concurrency) + (maxConnections === null ? queue.initialSize : 0) + otherFiles;
  if (limit === 'unlimited') return ok('files', 'no limit of open files');
  if (limit >= needed) return ok('files', `${limit} may be open, ${needed} are enough`);
  return (limit < otherFiles ? fail : warn)('files', `${limit} files may be open here, fewer than the ${needed} that a full queue needs`, `LimitNOFILE=${Math.max(65_536, needed)} in the systemd unit, or ulimit -n ${Math.max(65_536, needed)}`);
}

function certificates({ server: { tls } }: Config): readonly Finding[] {
  if (tls === null) return [ok('certificate', 'none: the gate serves no TLS')];
  return [tls, ...tls.others].map((entry) => certificate(entry));
}

/** SECURITY: an error of a parser is not quoted, because it may contain a part of a private key. */
function certificate({ certPath, keyPath, serverName }: { readonly certPath: string; readonly keyPath: string; readonly serverName: string | null }): Finding {
  const name = 'certificate';
  let at = certPath;
  try {
    const shown = new X509Certificate(readFileSync(certPath));
    at = keyPath;
    if (!shown.checkPrivateKey(createPrivateKey(readFileSync(keyPath)))) return fail(name, `${keyPath} is not the key of ${certPath}`, 'name a certificate and its own key in server.tls');
    const [begins, ends] = [shown.validFromDate.getTime(), shown.validToDate.getTime()];
    const now = systemClock.now();
    const text = `${certPath}: key fits, ends ${shown.validToDate.toISOString().slice(0, 10)} (${Math.floor((ends - now) / day)} days)`;
    if (ends <= now) return fail(name, `${certPath} has expired at ${shown.validToDate.toISOString()}`, 'renew it; the gate serves the new files by itself');
    if (begins > now) return fail(name, `${certPath} is not valid before ${shown.validFromDate.toISOString()}`, 'set the clock, or take the certificate of today');
    if (serverName !== null && shown.checkHost(serverName) === undefined) return warn(name, `${certPath} does not name ${serverName} (${shown.subjectAltName ?? 'no names'})`, 'order one with this name, or correct server_name');
    return ends - now < (ends - begins) / 3 ? warn(name, `${text}: its last third has begun`, 'renew it; the gate serves the new files by itself') : ok(name, text);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).syscall === undefined ? 'it is no PEM that can be used' : whyUnreadable(error);
    return fail(name, `${at} cannot be read (${code})`, 'correct server.tls, or let the user of the gate read the file');
  }
}

async function portOf(config: Config): Promise<Finding> {
  const { server: { host, port }, endpoints } = config;
  const name = 'port';
  if (port === 0 && !host.startsWith('/')) return ok(name, '0: any free one is taken');
  const { url, found, text } = await ask(config, false);
  if (found === null && endpoints.health === false) return warn(name, `${url}: something answers; whether it is the gate cannot be told without endpoints.health`, 'set endpoints.health: /health');
  if (found === null && (text === '' || text.includes('Heimdall'))) return ok(name, `${url}: a gate answers`);
  if (found !== null && /^(?:ECONNREFUSED|ENOENT)$/.test(found)) return isFree(config, url);
  return fail(name, `${url}: something else answers there (${found ?? 'not as a gate does'})`, host.startsWith('/') ? 'end it, or set server.host' : `find it by ss -ltnp 'sport = :${port}' and end it, or set server.port`);
}

/** Whether the address can be listened at. A Unix socket is not tried, since the file would have to be made. */
async function isFree({ server: { host, port } }: Config, url: string): Promise<Finding> {
  if (host.startsWith('/')) return ok('port', `${url}: free, no gate runs there`);
  const { promise, resolve: done } = Promise.withResolvers<string | null>();
  const server = createServer().once('error', ({ code = 'unknown' }: NodeJS.ErrnoException) => done(code)).listen({ host, port }, () => done(null));
  const why = await promise;
  server.close();
  if (why === null) return ok('port', `${url}: free, no gate runs there`);
  const fix = why === 'EACCES' ? 'AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or a port above 1023' : why === 'EADDRINUSE' ? `find it by ss -ltnp 'sport = :${port}' and end it, or set server.port` : 'set server.host to an address of this machine';
  return fail('port', `${url} cannot be listened at (${why})`, fix);
}
