import type { Logger } from '../types/logger.d.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GateRequest } from './context.ts';
import { HeimdallError } from './errors.ts';

/**
 * For a host's body parser, which reads the body before the gate can: `express.json({ verify: keepRawBody })` keeps the
 * bytes, so that what goes upstream is what the client sent.
 */
export function keepRawBody(req: IncomingMessage, _res: ServerResponse, body: Buffer): void {
  (req as GateRequest).rawBody = body;
  unpacked(req as GateRequest);
}

/** Logs that have been told: each gate's own, once. */
const warned = new WeakSet<Logger>();

/**
 * The body, when a host application has read it before us.
 * @returns null when the stream is still ours to read; an error that says how to mend it when the bytes are lost.
 */
export function bodyTaken(req: GateRequest, log: Logger): Buffer | null | HeimdallError {
  if (Buffer.isBuffer(req.rawBody)) return req.rawBody;
  if (!req.readableDidRead && !req.readableEnded) return null;
  if (isEmpty(req)) return nothing;
  const { body } = req;
  if (body !== undefined) unpacked(req);
  if (Buffer.isBuffer(body)) return body;
  if (typeof body === 'string') return Buffer.from(body);
  if (body !== undefined && /json/i.test(req.headers['content-type'] ?? '')) return again(body, log);
  return new HeimdallError('body_already_read');
}

const nothing = Buffer.alloc(0);

const isEmpty = ({ headers }: GateRequest): boolean => (headers['content-length'] ?? '0') === '0' && headers['transfer-encoding'] === undefined;

function again(body: unknown, log: Logger): Buffer {
  if (!warned.has(log)) log.warn({ effect: 'bodies are serialised again and differ in white space and numbers', fix: 'mount heimdall() first, or express.json({ verify: keepRawBody })' }, 'host.body_parsed');
  warned.add(log);
  return Buffer.from(JSON.stringify(body));
}

/** A parser hands out what it has unpacked: the header would make the upstream unpack it again. */
function unpacked(req: GateRequest): void {
  if (req.headers['content-encoding'] === undefined) return;
  delete req.headers['content-encoding'];
  req.rawHeaders = req.rawHeaders.filter((_, at, all) => (all[at - (at % 2)] as string).toLowerCase() !== 'content-encoding');
}
