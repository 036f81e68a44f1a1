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
}

let warned = false;

/**
 * The body, when a host application has read it before us.
 * @returns null when the stream is still ours to read; an error that says how to mend it when the bytes are lost.
 */
export function bodyTaken(req: GateRequest, log: Logger): Buffer | null | HeimdallError {
  if (Buffer.isBuffer(req.rawBody)) return req.rawBody;
  if (!req.readableDidRead && !req.readableEnded) return null;
  const { body } = req;
  if (Buffer.isBuffer(body)) return body;
  if (typeof body === 'string') return Buffer.from(body);
  if (body !== undefined && /json/i.test(req.headers['content-type'] ?? '')) return again(body, log);
  const empty = req.headers['content-length'] === '0' || (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined);
  return empty ? null : new HeimdallError('body_already_read');
}

function again(body: unknown, log: Logger): Buffer {
  if (!warned) log.warn({ effect: 'bodies are serialised again and differ in white space and numbers', fix: 'mount heimdall() first, or express.json({ verify: keepRawBody })' }, 'host.body_parsed');
  warned = true;
  return Buffer.from(JSON.stringify(body));
}
