import type { Logger } from '../../types/logger.d.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HeimdallError } from '../errors.ts';

/** A request whose body a host application may have parsed. */
export type ParsedRequest = IncomingMessage & { body?: unknown; rawBody?: unknown };

/**
 * For a host's body parser, which reads the body before the gate can: `express.json({ verify: keepRawBody })` keeps the
 * bytes, so that what goes upstream is what the client sent.
 */
export function keepRawBody(req: IncomingMessage, _res: ServerResponse, body: Buffer): void {
  (req as ParsedRequest).rawBody = body;
  unpacked(req as ParsedRequest);
}

/** Logs that have been told: each gate's own, once. */
const warned = new WeakSet<Logger>();

/**
 * The body, when a host application has read it before us.
 * @returns null when the stream is still ours to read; an error that says how to mend it when the bytes are lost.
 */
export function bodyTaken(req: ParsedRequest, log: Logger): Buffer | null | HeimdallError {
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

const isEmpty = ({ headers }: ParsedRequest): boolean => (headers['content-length'] ?? '0') === '0' && headers['transfer-encoding'] === undefined;

function again(body: unknown, log: Logger): Buffer {
  if (!warned.has(log)) log.warn({ effect: 'bodies are serialised again and differ in white space and numbers', fix: 'mount heimdall() first, or express.json({ verify: keepRawBody })' }, 'host.body_parsed');
  warned.add(log);
  return Buffer.from(JSON.stringify(body));
}

/** A parser hands out what it has unpacked: the header would make the upstream unpack it again. */
function unpacked(req: ParsedRequest): void {
  if (req.headers['content-encoding'] === undefined) return;
  delete req.headers['content-encoding'];
  req.rawHeaders = req.rawHeaders.filter((_, at, all) => (all[at - (at % 2)] as string).toLowerCase() !== 'content-encoding');
}

/**
 * The body of a request to one of the gate's own endpoints.
 * @param longest bytes.
 * @throws HeimdallError when it is longer or breaks off, or when the host application has read it.
 */
export async function readBody(req: ParsedRequest, res: ServerResponse, log: Logger, longest: number): Promise<Buffer> {
  const taken = bodyTaken(req, log);
  if (taken instanceof HeimdallError) throw taken;
  if (taken !== null) return within(taken, longest);
  if (Number(req.headers['content-length'] ?? 0) > longest) throw tooLarge(longest);
  if (req.headers.expect !== undefined) res.writeContinue();
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    // SECURITY: not to its end when it is too long; the answer closes the connection.
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > longest) throw tooLarge(longest);
    }
  } catch (error) {
    // What else ends a body is that its sender left.
    throw error instanceof HeimdallError ? error : new HeimdallError('malformed_request', { cause: error });
  }
  return Buffer.concat(chunks);
}

function within(bytes: Buffer, longest: number): Buffer {
  if (bytes.length > longest) throw tooLarge(longest);
  return bytes;
}

const tooLarge = (longest: number): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected at most ${longest} bytes.` });
