import { Transform } from 'node:stream';
import type { Context, Core } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { bodyTaken } from '../http/http.ts';
import { contextOf, type Deps, type Middleware, type Next } from './middleware.ts';

/** Reads the body of model routes, within limits: nothing is buffered for strangers or for routes that only stream. */
export const body: Middleware = {
  name: 'body',
  create: (core, deps) => ({
    handle: function bodyHandler(req, _res, next) {
      const context = contextOf(req);
      const { route } = context;
      if (route.class === 'realtime') context.model = new URLSearchParams(context.query).get('model');
      else if (route.errors === 'gemini') context.model = modelInPath(context);
      if (route.class !== 'model') return allowed(context, deps, next);
      if (route.body === 'none') return next();
      const taken = bodyTaken(req, core.log);
      if (taken instanceof HeimdallError) return context.fail(taken);
      if (taken !== null) return deps.bytes.take(context, taken.length) ? read(context, taken, deps, next) : undefined;
      const wrongType = checkType(context);
      if (wrongType && context.refuse('body', wrongType)) return;
      collect(context, core, deps, next);
    },
    finish: { release: (context) => deps.bytes.give(context) },
  }),
};

/** A larger body is handed to the record as it comes: at the end some milliseconds would go into one copy. */
const tapped = 65_536;

/** Collects what can be replayed; a larger body goes on as a stream, to one target only. */
function collect(context: Context, core: Core, deps: Deps, next: Next): void {
  const { req } = context;
  const { bufferBodyBytes, maxBodyBytes } = core.config.server;
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
  if (!deps.bytes.take(context, Math.min(declared, bufferBodyBytes))) return;
  if (req.headers.expect !== undefined) context.res.writeContinue();
  if (declared > bufferBodyBytes) return stream(context, [], maxBodyBytes, deps, next);
  const tap = declared > tapped ? deps.tap(context) : null;
  const since = context.elapsed();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer): void => {
    if (declared === 0 && !deps.bytes.take(context, chunk.length)) return stop();
    chunks.push(chunk);
    tap?.body(chunk);
    size += chunk.length;
    if (size <= bufferBodyBytes) return;
    stop();
    if (size > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
    stream(context, chunks, maxBodyBytes, deps, next);
  };
  const stop = (): void => void req.off('data', onData).off('end', onEnd).pause();
  const onEnd = (): void => {
    context.bodyWait = context.elapsed() - since;
    read(context, chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), deps, next);
  };
  req.on('data', onData).on('end', onEnd);
}

const tooLarge = (limit: number): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes (server.max_body_bytes).` });

function stream(context: Context, begun: readonly Buffer[], limit: number, deps: Deps, next: Next): void {
  let size = 0;
  const tap = deps.tap(context);
  const cap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      context.bytesIn = size;
      tap?.body(chunk);
      if (size <= limit) return done(null, chunk);
      context.exchange?.abort();
      context.fail(tooLarge(limit));
      done();
    },
  });
  for (const chunk of begun) cap.write(chunk);
  context.bodyStream = cap;
  context.bodyAmbiguous = true;
  context.req.pipe(cap);
  allowed(context, deps, next);
}

function checkType({ req, route }: Context): HeimdallError | null {
  const type = req.headers['content-type'];
  if (type === undefined || route.body !== 'json' || /[/+]json\b/i.test(type)) return null;
  const shown = /^[a-z]+\/[a-z.+-]{1,24}(?=\s*(?:;|$))/i.exec(type)?.[0] ?? 'something else';
  return new HeimdallError('invalid_content_type', { message: `content-type: expected application/json, got ${shown}.` });
}

function read(context: Context, bytes: Buffer, deps: Deps, next: Next): void {
  context.body = bytes;
  context.bytesIn = bytes.length;
  const { req: { headers }, route } = context;
  deps.inspector.inspect({ bytes, type: headers['content-type'] ?? '', encoding: headers['content-encoding'] ?? '', api: route.api, isForm: route.body === 'form' }, (reading) => {
    if (context.finished || context.res.headersSent) return;
    const { problem } = reading;
    context.model = reading.model;
    context.modelSpan = reading.modelSpan;
    context.stream = reading.stream;
    context.maxTokens = reading.maxTokens;
    context.bodyAmbiguous = reading.ambiguous;
    if (problem !== null && refused(context, problem)) return;
    allowed(context, deps, next);
  });
}

/** A gate that observes lets the upstream judge; only what would exhaust memory is refused all the same. */
function refused(context: Context, problem: HeimdallError): boolean {
  if (problem.code !== 'body_too_large') return context.refuse('body', problem);
  context.fail(problem);
  return true;
}

/** The model of Gemini's routes stands in the path, as NewAPI finds it: behind `/models/`, up to a colon. */
const modelInPath = ({ path }: Context): string | null => /\/models\/([^:]+)/.exec(path)?.[1] ?? null;

/**
 * A gateway key with a list of models is held to it wherever it is used; a model nobody can tell is none of them, and one
 * that readers may take for another is not looked up.
 */
function allowed(context: Context, deps: Deps, next: Next): void {
  const { key, model } = context;
  if (key === null || deps.keys.allows(key, null)) return next();
  const problem = context.bodyAmbiguous ? new HeimdallError('ambiguous_body') : deps.keys.allows(key, model) ? null : new HeimdallError('model_not_allowed');
  if (problem === null || !context.refuse('auth', problem)) next();
}
