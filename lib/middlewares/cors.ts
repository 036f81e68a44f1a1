import type { ServerResponse } from 'node:http';
import corsMiddleware, { type CorsOptions } from 'cors';
import type { CorsConfig } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import type { Middleware } from './middleware.ts';

/** Answers preflights and marks answers for browsers. Without a `cors` section NewAPI's own CORS passes untouched. */
export const cors: Middleware = {
  name: 'cors',
  create(core, { admin }) {
    const config = core.config.cors;
    if (config === null) return {};
    const apply = corsMiddleware(optionsOf(config));
    return {
      handle: function corsHandler(context, next) {
        // No other origin's page may use the admin API.
        if (admin !== null && admin.owns(context)) return next();
        const recorder = new Recorder(context);
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

/** The upstream's own CORS ends where ours begins. */
function removeTheirs(head: string[]): void {
  for (let at = head.length - 2; at >= 0; at -= 2) if (/^access-control-/i.test(head[at] as string)) head.splice(at, 2);
}

/** The upstream's `Vary` takes ours in, each name once: of two lines some caches read one. */
function joinVary({ extraHead }: Context, head: string[]): void {
  const ours = extraHead === null ? -1 : fieldIn(extraHead, 'vary');
  const theirs = fieldIn(head, 'vary');
  if (ours === -1 || theirs === -1) return;
  const [, name = ''] = (extraHead as string[]).splice(ours, 2);
  const listed = (head[theirs + 1] as string).toLowerCase().split(',').map((entry) => entry.trim());
  if (!listed.includes('*') && !listed.includes(name.toLowerCase())) head[theirs + 1] += `, ${name}`;
}

/** Where a field of that name stands in a flat head, or -1. */
const fieldIn = (head: readonly string[], lower: string): number => head.findIndex((field, index) => index % 2 === 0 && field.toLowerCase() === lower);

/** Stands in for the response, so that the answer's head can still be written once and flat. */
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
