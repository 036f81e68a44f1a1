import { request } from 'node:http';
import { MessageChannel } from 'node:worker_threads';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '../../types/logger.d.ts';
import { CompactBody } from '../http/http.ts';
import { remoteOf } from '../identity/identity.ts';
import { type Crew, type Link, type RelayedPeer, RelaySocket } from '../platform/platform.ts';
import { type Context, guarded } from './context.ts';
import { HeimdallError } from '../errors.ts';

/** Fields of one connection (RFC 9110 §7.6.1), which is not that to the main thread. */
const ofConnection: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'upgrade', 'expect']);

/**
 * Hands requests of a worker to the main thread, which has what is there once for all workers: the admin API with its logins, the
 * page of metrics, records that are handed in. It sees them as from their client, judges and records them.
 */
export function relayTo({ main }: Crew): (context: Context) => void {
  return (context) => {
    context.relayed = true;
    const { req, res, core } = context;
    const to = request({ createConnection: () => connected(main as Link, req.socket as TLSSocket, core.log), method: req.method, path: req.originalUrl ?? req.url, headers: [...withoutConnection(req.rawHeaders), 'Connection', 'close'] } as unknown as Parameters<typeof request>[0]);
    const lost = guarded(context, () => context.fail(new HeimdallError('internal_error', { status: 503 })));
    to.on('error', lost);
    to.on('response', guarded(context, (answer) => {
      context.status = answer.statusCode ?? 0;
      const head = withoutConnection(answer.rawHeaders);
      // SECURITY: what is left of a body would be read on to its end, however long it is.
      if (!req.complete) head.push('Connection', 'close');
      res.writeHead(context.status, answer.statusMessage, head);
      // The head of an event stream comes before its first event.
      res.flushHeaders();
      answer.on('error', () => res.destroy()).on('aborted', () => res.destroy());
      answer.pipe(res);
    }));
    context.exchange = { abort: () => void to.destroy(), look: () => undefined };
    if (req.headers.expect !== undefined) res.writeContinue();
    // Each chunk is a message to the other thread.
    const body = req.headers['transfer-encoding'] === undefined ? req : new CompactBody(req, (error) => context.cutOff(error));
    body.on('error', () => undefined).pipe(to);
  };
}

function connected(main: Link, socket: TLSSocket, log: Logger): RelaySocket {
  const { port1, port2 } = new MessageChannel();
  const peer: RelayedPeer = { remoteAddress: remoteOf(socket), encrypted: socket.encrypted === true };
  main.hand('relay', { port: port2, peer }, [port2]);
  return new RelaySocket(port1, peer, log);
}

/** A flat list of names and values without those of the connection. */
function withoutConnection(head: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < head.length; at += 2) if (!ofConnection.has((head[at] as string).toLowerCase())) kept.push(head[at] as string, head[at + 1] as string);
  return kept;
}
