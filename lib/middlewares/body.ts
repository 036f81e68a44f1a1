import { Transform, type TransformCallback } from 'node:stream';
import { guarded, type Context, type Core, type Next } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { bodyTaken, ChunkBrake, CompactBody, freedByHand, handedOver, inCrumbs, RequestBody, type BodyReading, type BodySource, type MemberScan } from '../http/http.ts';
import type { Deps, Middleware } from './middleware.ts';

/** Reads the body of model routes, within limits. Bodies of other routes, and of unauthenticated callers, are not buffered. */
export const body: Middleware = {
  name: 'body',
  create: (core, deps) => ({
    handle: function bodyHandler(context, next) {
      const { route, req } = context;
      if (route.class === 'realtime') readQuery(context);
      else if (route.errors === 'gemini') context.model = modelInPath(context);
      const source: Source = { type: context.headers['content-type'] ?? '', encoding: context.headers['content-encoding'] ?? '', api: route.api, isForm: route.body === 'form' };
      if (route.class === 'task' && mustDecode(context)) return collect(context, source, core, deps, next);
      if (route.class !== 'model') return checkModel(context, deps, next);
      if (route.body === 'none') return next();
      const taken = bodyTaken(req, core.log);
      if (taken instanceof HeimdallError) return context.fail(taken);
      if (context.headers['content-type'] !== 'application/json') {
        const wrongType = checkType(context);
        if (wrongType && context.refuse('body', wrongType)) return;
      }
      if (taken !== null) return deps.bodies.take(context, taken.length) ? inspect(context, RequestBody.of(taken), source, deps, next) : undefined;
      collect(context, source, core, deps, next);
    },
    finish: { release: (context) => deps.bodies.give(context) },
  }),
};

/** A body of unknown length counts against the caller's share in steps of at least so many bytes. */
const countedAtOnce = 256;

type Source = Omit<BodySource, 'body' | 'scan'>;

/**
 * Collects a body that can be sent again to another target; a larger one goes on as a stream, to one target only. A long one goes on
 * while it arrives where no rule needs it: what is judged at its end is judged before its last bytes are sent.
 */
function collect(context: Context, source: Source, core: Core, deps: Deps, next: Next): void {
  const { req, headers } = context;
  const { bufferBodyBytes, maxBodyBytes } = core.config.server;
  const declared = Number(headers['content-length'] ?? 0);
  if (declared > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
  if (!deps.bodies.take(context, Math.min(declared, bufferBodyBytes))) return;
  if (headers.expect !== undefined) context.res.writeContinue();
  if (declared > bufferBodyBytes) return stream(context, null, maxBodyBytes, deps, next);
  const since = performance.now();
  const bytes = new RequestBody(declared);
  const isTask = context.route.class === 'task';
  const scan = isTask ? null : deps.inspector.scanOf(bytes, source);
  const brake = new ChunkBrake(req.socket);
  let hasGone = false;
  const waits = scan === null || declared <= handedOver || needsWhole(context, deps);
  let counted = declared;
  // Another listener of the host may keep the pieces, also one that leaves before the end.
  let isAlone = true;
  const onData = guarded(context, (chunk: Buffer): void => {
    isAlone &&= req.listenerCount('data') === 1 && req.listenerCount('readable') === 0;
    bytes.push(chunk);
    scan?.push(chunk);
    if (!brake.count(chunk.length)) {
      stop();
      return context.cutOff(inCrumbs());
    }
    if (hasGone) return bytes.isArriving ? takeMore(context, bytes) : stop();
    if (!waits && bytes.size < declared && hasModel(context, scan, deps) && deps.bodies.letsGoOn(context)) {
      hasGone = bytes.isArriving = true;
      context.bodyWait = performance.now() - since;
      takeMore(context, bytes);
      return next();
    }
    if (bytes.size - counted >= countedAtOnce && !count()) return stop();
    if (bytes.size <= bufferBodyBytes) return;
    stop();
    if (bytes.size > maxBodyBytes) return context.fail(tooLarge(maxBodyBytes));
    if (isTask) return context.fail(tooLarge(bufferBodyBytes, 'server.buffer_body_bytes'));
    stream(context, bytes.whole(), maxBodyBytes, deps, next);
  });
  const count = (): boolean => {
    const more = bytes.size - counted;
    counted = bytes.size;
    return deps.bodies.take(context, more);
  };
  const stop = (): void => void req.off('data', onData).off('end', onEnd).pause();
  const onEnd = guarded(context, (): void => {
    if (bytes.size > counted && !count()) return;
    if (!hasGone) context.bodyWait = performance.now() - since;
    bytes.isOwn = isAlone && bytes.size >= freedByHand;
    if (bytes.pieces.length > 1) bytes.settle();
    if (isTask) decodeTask(context, bytes, source, deps, next);
    else if (hasGone) endArrival(context, bytes, source, deps, scan);
    else inspect(context, bytes, source, deps, next, scan);
  });
  req.on('data', onData).on('end', onEnd);
}

/** More of a body has come whose request goes on while it arrives. */
function takeMore(context: Context, body: RequestBody): void {
  context.body = body;
  context.bytesIn = body.size;
  body.onMore?.();
}

/** Whether a rule needs a body before its request may go on: one that looks at the model or counts tokens, or a host that is asked. */
function needsWhole(context: Context, deps: Deps): boolean {
  return (context.key !== null && !allows(context, context.key, null, deps)) || deps.needsBody(context);
}

/** Takes the model as far as it has come. @returns whether it is known, or not needed to choose a target. */
function hasModel(context: Context, scan: MemberScan | null, deps: Deps): boolean {
  if (context.route.errors !== 'gemini') context.model = scan?.model ?? null;
  return context.model !== null || !deps.asksForModel();
}

/** What has gone upstream while it arrived is judged before its last bytes follow. */
function endArrival(context: Context, body: RequestBody, source: Source, deps: Deps, scan: MemberScan | null): void {
  deps.bodies.arrived(context);
  if (!body.isArriving) return;
  if (body.size !== body.total) return context.cutOff(new HeimdallError('malformed_request'));
  inspect(context, body, source, deps, () => body.arrived(), scan);
}

const tooLarge = (limit: number, key = 'server.max_body_bytes'): HeimdallError => new HeimdallError('body_too_large', { message: `body: expected at most ${limit} bytes (${key}).` });

function stream(context: Context, begun: Buffer | null, limit: number, deps: Deps, next: Next): void {
  let size = 0;
  const tap = deps.tap(context);
  const cap = new Transform({
    transform: guarded(context, (chunk: Buffer, _encoding: string, done: TransformCallback) => {
      size += chunk.length;
      context.bytesIn = size;
      tap?.body(chunk);
      if (size <= limit) return done(null, chunk);
      context.exchange?.abort();
      context.fail(tooLarge(limit));
      done();
    }),
  });
  if (begun !== null) cap.write(begun);
  context.bodyStream = cap;
  context.bodyAmbiguous = true;
  const body = new CompactBody(context.req, (error) => context.cutOff(error));
  body.on('error', () => undefined).pipe(cap);
  checkModel(context, deps, next);
}

const jsonType = /^(?:text\/json|application\/(?:[\w.-]+\+)?json)$/;
/** What NewAPI reads as JSON, and no receiver as anything else. */
const plainJsonType = /^application\/json(?:; ?charset=utf-?8)?$/i;

/**
 * The type counts as a receiver reads it, by its media type alone. SECURITY: a body that was judged as JSON is sent as JSON, since
 * NewAPI takes any type but one that begins with `application/json` for a body without a model.
 */
function checkType(context: Context): HeimdallError | null {
  const { headers, route } = context;
  const type = headers['content-type'] ?? '';
  const media = (type.split(';', 1)[0] as string).trim().toLowerCase();
  if (media === 'multipart/form-data' && route.body === 'form') return null;
  if (media === '' || jsonType.test(media)) {
    if (!type.startsWith('application/json') || !plainJsonType.test(type)) context.contentType = 'application/json';
    return null;
  }
  const shown = /^[a-z]+\/[a-z.+-]{1,24}$/.exec(media)?.[0] ?? 'something else';
  const expected = route.body === 'form' ? 'multipart/form-data or application/json' : 'application/json';
  return new HeimdallError('invalid_content_type', { message: `content-type: expected ${expected}, got ${shown}.` });
}

/** The body of a task has a coding that NewAPI does not read. One that is too large to be held goes on as it comes. */
function mustDecode({ headers, req, core: { config, log } }: Context): boolean {
  const coding = headers['content-encoding'];
  if (coding === undefined || newapiReads.has(coding) || coding.toLowerCase() === 'identity' || config.llm.decodeRequestBodies === 'off') return false;
  return Number(headers['content-length'] ?? 0) <= config.server.bufferBodyBytes && bodyTaken(req, log) === null;
}

/** Decodes the body of a task, which is not judged. */
function decodeTask(context: Context, body: RequestBody, source: Source, deps: Deps, next: Next): void {
  context.body = body;
  context.bytesIn = body.size;
  deps.inspector.inspect({ ...source, type: '', isForm: false, body, scan: null }, guarded(context, (reading: BodyReading) => {
    if (context.finished || context.res.headersSent) return;
    if (reading.problem?.code === 'body_too_large') return context.fail(reading.problem);
    if (keepDecoded(context, { ...reading, modelSpan: null }, deps)) checkModel(context, deps, next);
  }));
}

/** Finds the model and what else the gate needs of a body. */
function inspect(context: Context, body: RequestBody, source: Source, deps: Deps, next: Next, read: MemberScan | null = null): void {
  context.body = body;
  context.bytesIn = body.size;
  const { route } = context;
  let scan = read;
  if (scan === null && (scan = deps.inspector.scanOf(body, source)) !== null) for (const piece of body.pieces) scan.push(piece);
  body.scan = scan;
  deps.inspector.inspect({ ...source, body, scan }, guarded(context, (reading: BodyReading) => {
    if (context.finished || (context.res.headersSent && !body.isArriving)) return;
    const { problem } = reading;
    if (route.errors !== 'gemini') context.model = reading.model;
    if (!keepDecoded(context, reading, deps)) return;
    context.stream = route.errors === 'gemini' ? context.path.endsWith(':streamGenerateContent') : reading.stream;
    context.maxTokens = reading.maxTokens;
    context.bodyAmbiguous = reading.ambiguous;
    if (problem !== null && !body.isAwaited && refused(context, problem)) return;
    if (context.key === null) next();
    else checkModel(context, deps, next);
  }));
}

/** Values of `Content-Encoding` with which NewAPI reads a body. */
const newapiReads: ReadonlySet<string> = new Set(['gzip', 'br']);

/**
 * Keeps the decoded body, where a target may get it in place of the received one.
 * @returns false when the memory for it is refused, and the request with it.
 */
function keepDecoded(context: Context, { decoded, modelSpan }: BodyReading, deps: Deps): boolean {
  if (decoded === null) {
    context.modelSpan = modelSpan;
    return true;
  }
  // Offsets in the decoded body are of no use for the received one.
  if (context.core.config.llm.decodeRequestBodies === 'off') return true;
  if (!deps.bodies.take(context, decoded.length)) return false;
  context.modelSpan = modelSpan;
  context.decodedBody = decoded;
  context.sendsDecoded = !newapiReads.has(context.headers['content-encoding'] ?? '');
  return true;
}

/** With `mode: observe` the upstream judges the body; a body that would exhaust memory is refused all the same. */
function refused(context: Context, problem: HeimdallError): boolean {
  if (context.core.observe && problem.code !== 'body_too_large') return context.refuse('body', problem);
  context.cutOff(problem);
  return true;
}

/** The model of a realtime call stands in the query. NewAPI takes the first of several, other servers the last: they are one or unknown. */
function readQuery(context: Context): void {
  const [model = null, ...others] = new URLSearchParams(context.query).getAll('model');
  context.model = model;
  context.bodyAmbiguous = others.some((other) => other !== model);
}

/** The model of Gemini's routes stands in the path, where NewAPI finds it: behind `/models/`, up to a colon. */
const modelInPath = ({ path }: Context): string | null => /^\/v1(?:beta)?\/models\/([^:]+)/.exec(path)?.[1] ?? null;

/**
 * Holds a caller to its list of models on every route. An unknown model is in no list, and a body that readers may
 * understand differently is refused.
 */
function checkModel(context: Context, deps: Deps, next: Next): void {
  const { key, model } = context;
  if (key === null || allows(context, key, null, deps)) return next();
  const problem = context.bodyAmbiguous ? new HeimdallError('ambiguous_body') : allows(context, key, model, deps) ? null : new HeimdallError('model_not_allowed');
  if (problem === null || !context.refuse('auth', problem)) next();
}

function allows({ user }: Context, key: string, model: string | null, { keys }: Deps): boolean {
  if (user === null) return keys.allows(key, model);
  return user.models === null || (model !== null && user.models.has(model));
}
