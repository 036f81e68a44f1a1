import { Transform } from 'node:stream';
import type { Context, Core } from '../context.ts';
import { HeimdallError } from '../errors.ts';
import { bodyTaken } from '../host-body.ts';
import { contextOf, type Deps, type Middleware, type Next } from '../part.ts';
import { formModel, scanMembers } from '../scan.ts';

/** Reads the body of model routes, within limits: nothing is buffered for strangers or for routes that only stream. */
export const body: Middleware = {
  name: 'body',
  create: (core, deps) => ({
    handle: function bodyHandler(req, _res, next) {
      const context = contextOf(req);
      const { route } = context;
      if (route.class === 'realtime') context.model = new URLSearchParams(context.query).get('model');
      if (route.class !== 'model') return allowed(context, deps, next);
      if (route.body === 'none') return next();
      const taken = bodyTaken(req, core.log);
      if (taken instanceof HeimdallError) return context.fail(taken);
      if (taken !== null) return read(context, taken, deps, next);
      const wrongType = checkType(context);
      if (wrongType) return context.fail(wrongType);
      collect(context, core, deps, next);
    },
  }),
};

/** Collects what can be replayed; a larger body goes on as a stream, to one target only. */
function collect(context: Context, core: Core, deps: Deps, next: Next): void {
  const { req } = context;
  const { bufferBodyBytes, maxBodyBytes } = core.config.server;
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
  if (req.headers.expect !== undefined) context.res.writeContinue();
  if (declared > bufferBodyBytes) return stream(context, [], maxBodyBytes, deps, next);
  const since = context.elapsed();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    size += chunk.length;
    if (size <= bufferBodyBytes) return;
    req.off('data', onData).off('end', onEnd).pause();
    if (size > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
    stream(context, chunks, maxBodyBytes, deps, next);
  };
  const onEnd = (): void => {
    context.bodyWait = context.elapsed() - since;
    read(context, chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), deps, next);
  };
  req.on('data', onData).on('end', onEnd);
}

const tooLarge = (limit: number): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes (server.max_body_bytes).` });

function stream(context: Context, begun: readonly Buffer[], limit: number, deps: Deps, next: Next): void {
  let size = 0;
  const cap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size <= limit) return done(null, chunk);
      context.exchange?.abort();
      context.fail(tooLarge(limit));
      done();
    },
  });
  for (const chunk of begun) cap.write(chunk);
  context.bodyStream = cap;
  context.req.pipe(cap);
  allowed(context, deps, next);
}

function checkType({ req, route }: Context): HeimdallError | null {
  const type = req.headers['content-type'];
  if (type === undefined || route.body !== 'json' || /[/+]json\b/i.test(type)) return null;
  const shown = type.slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
  return new HeimdallError('invalid_content_type', { message: `content-type: expected application/json, got ${JSON.stringify(shown)}.` });
}

/** Compressed bodies are forwarded as they are and not looked into. */
function read(context: Context, bytes: Buffer, deps: Deps, next: Next): void {
  context.body = bytes;
  context.bytesIn = bytes.length;
  const { req, route } = context;
  if (req.headers['content-encoding'] === undefined) {
    const multipart = route.body === 'form' && /^multipart\/form-data/i.test(req.headers['content-type'] ?? '');
    if (multipart) context.model = formModel(bytes, req.headers['content-type'] ?? '');
    else if (!readJson(context, bytes)) return context.fail(notJson(bytes));
  }
  allowed(context, deps, next);
}

function readJson(context: Context, bytes: Buffer): boolean {
  const members = scanMembers(bytes);
  if (members === null) return false;
  context.model = members.model;
  context.modelSpan = members.modelSpan;
  context.stream = members.stream;
  return true;
}

function notJson(bytes: Buffer): HeimdallError {
  const got = bytes.length === 0 ? 'an empty body' : `${bytes.length} bytes that are none`;
  return new HeimdallError('invalid_json', { message: `body: expected a JSON object, got ${got}. Example: {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}` });
}

/** A gateway key with a list of models is held to it wherever it is used; a model nobody can tell is none of them. */
function allowed(context: Context, deps: Deps, next: Next): void {
  if (context.key === null || deps.keys.allows(context.key, context.model)) return next();
  if (!context.refuse('auth', new HeimdallError('model_not_allowed'))) next();
}
