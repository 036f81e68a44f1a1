import type { ServerResponse } from 'node:http';
import corsMiddleware, { type CorsOptions } from 'cors';
import type { CorsConfig } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import type { Middleware } from './middleware.ts';

/** Answers preflights and adds CORS fields to answers. Without a `cors` section NewAPI's own CORS fields pass unchanged. */
export const cors: Middleware = {
  name: 'cors',
  create(core, { admin }) {
    const config = core.config.cors;
    if (config === null) return {};
    const apply = corsMiddleware(optionsOf(config));
    const origins = new Set(config.allowOrigins);
    return {
      handle: function corsHandler(context, next) {
        // Pages of other origins may not use the admin API.
        if (admin !== null && admin.owns(context)) return next();
        const recorder = new Recorder(context);
        const { origin, 'access-control-request-private-network': asksForPrivate } = context.headers;
        // A browser asks before a page of a public address calls one of a private network (wicg.github.io/private-network-access).
        if (asksForPrivate === 'true' && context.req.method === 'OPTIONS' && (origins.has('*') || origins.has(origin ?? ''))) recorder.setHeader('Access-Control-Allow-Private-Network', 'true');
        apply(context.req as Parameters<typeof apply>[0], recorder as unknown as Parameters<typeof apply>[1], next);
      },
      proxied: (context, head) => {
        removeTheirs(head);
        joinVary(context, head);
      },
    };
  },
};

function optionsOf(config: CorsConfig): CorsOptions {
  const any = config.allowOrigins.includes('*');
  return {
    origin: any ? '*' : [...config.allowOrigins],
    ...(config.allowMethods ? { methods: [...config.allowMethods] } : {}),
    ...(config.allowHeaders ? { allowedHeaders: [...config.allowHeaders] } : {}),
    exposedHeaders: [...config.exposeHeaders],
    credentials: config.credentials,
    ...(config.maxAge === null ? {} : { maxAge: config.maxAge }),
    optionsSuccessStatus: 204,
  };
}

/** The upstream's own CORS fields are replaced by those of the configuration. */
function removeTheirs(head: string[]): void {
  for (let at = head.length - 2; at >= 0; at -= 2) if (/^access-control-/i.test(head[at] as string)) head.splice(at, 2);
}

/** Joins `Vary` into the upstream's field, each name once: some caches read only one of two lines. */
function joinVary({ extraHead }: Context, head: string[]): void {
  const ours = extraHead === null ? -1 : fieldIn(extraHead, 'vary');
  const theirs = fieldIn(head, 'vary');
  if (ours === -1 || theirs === -1) return;
  const [, name = ''] = (extraHead as string[]).splice(ours, 2);
  const listed = (head[theirs + 1] as string).toLowerCase().split(',').map((entry) => entry.trim());
  if (!listed.includes('*') && !listed.includes(name.toLowerCase())) head[theirs + 1] += `, ${name}`;
}

/** @returns the index of a field in a flat head, or -1. */
const fieldIn = (head: readonly string[], lower: string): number => head.findIndex((field, index) => index % 2 === 0 && field.toLowerCase() === lower);

/** Takes the place of the response for the `cors` package, so that the head is still written once, as one flat list. */
class Recorder implements Pick<ServerResponse, 'statusCode'> {
  statusCode = 200;
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
    context.extraHead ??= [];
  }

  getHeader(name: string): string | undefined {
    const head = this.#context.extraHead as string[];
    const at = fieldIn(head, name.toLowerCase());
    return at === -1 ? undefined : head[at + 1];
  }

  setHeader(name: string, value: string): void {
    const head = this.#context.extraHead as string[];
    const at = fieldIn(head, name.toLowerCase());
    if (name.toLowerCase() === 'content-length') return;
    if (at === -1) head.push(name, String(value));
    else head[at + 1] = String(value);
  }

  end(): void {
    this.#context.answer(this.statusCode, [], '');
  }
}
