import { basename, dirname } from 'node:path';
import type { Writable } from 'node:stream';
import morgan from 'morgan';
import { createStream, type RotatingFileStream } from 'rotating-file-stream';
import type { Timer } from '../../types/clock.d.ts';
import type { LoggingConfig } from '../../types/config.d.ts';
import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../context.ts';
import type { Core } from '../core.ts';
import { describe } from '../describe.ts';

/** How long a line waits to be written with others, milliseconds. */
const batchEvery = 50;
/** Room for the lines that wait; the longest possible line is a small part of it. */
const batchBytes = 262_144;
/** Bytes that may wait for a slow disk or terminal before lines are dropped. */
const maxWaiting = 8_388_608;
const maxPath = 2048;
/** A name, of a model or of a program, that a caller or an upstream wrote. */
const maxName = 512;

type Token = (context: Context, _res: unknown, argument?: string) => string;

/** Text that is its own JSON, as nearly all is. */
const plainJson = /^[ !#-[\]-~]*$/;

function quoted(text: string | null): string {
  if (text === null) return 'null';
  const bounded = text.length > maxPath ? text.slice(0, maxPath) : text;
  return plainJson.test(bounded) ? `"${bounded}"` : JSON.stringify(bounded);
}

const named = (text: string | undefined | null): string => quoted(text?.slice(0, maxName) ?? null);

/** The JSON line. One template: a token for each field costs a request two microseconds more. */
function jsonLine(context: Context): string {
  const { req, usage, headAt, token, rules } = context;
  const outcome = context.outcome === 'refused' ? `refused:${context.errorCode ?? 'unknown'}` : context.outcome;
  return (
    `{"time":"${iso(context.time)}","id":"${context.id}","ip":"${context.ip}","method":${named(req.method)},"path":${quoted(shownPath(context))}` +
    `,"status":${context.status},"duration":${context.duration.toFixed(1)},"first_byte":${headAt === null ? 'null' : headAt.toFixed(1)}` +
    `,"bytes_in":${context.bytesIn},"bytes_out":${context.bytesOut},"outcome":"${outcome}","would_refuse":${rules === null ? '[]' : JSON.stringify(rules)}` +
    `,"route":"${context.route.template}","model":${named(context.model)},"stream":${context.stream},"target":${quoted(context.target)},"attempts":${context.attempts}` +
    `,"usage":${usage === null ? 'null' : usageJson(usage)},"cost":${context.cost},"token":${token === null ? 'null' : `"${token.id}"`},"key":${quoted(context.key)}` +
    `,"device":"${context.device}","user_agent":${named(req.headers['user-agent'])},"upstream_request_id":${named(context.upstreamRequestId)}}`
  );
}

const usageJson = ({ prompt, completion, cached, reasoning, estimated }: Usage): string =>
  `{"prompt":${prompt},"completion":${completion},"cached":${cached},"reasoning":${reasoning},"estimated":${estimated}}`;

/** morgan's own token names, read from the context instead of the response, and made harmless for a terminal. */
const combined: Record<string, Token> = {
  'remote-addr': (context) => context.ip,
  'remote-user': (context) => plain(context.key ?? context.token?.id ?? '-').replaceAll(' ', '\\x20'),
  date: (context) => clf(new Date(context.time)),
  method: (context) => plain((context.req.method ?? '').slice(0, maxName)),
  url: (context) => plain(shownPath(context)),
  'http-version': (context) => context.req.httpVersion,
  status: (context) => String(context.status),
  res: (context) => String(context.bytesOut),
  referrer: (context) => plain((context.req.headers.referer ?? '-').slice(0, maxPath).split(/[?#]/, 1)[0] ?? '-'),
  'user-agent': (context) => plain(context.req.headers['user-agent']?.slice(0, maxName) ?? '-'),
};

let second = 0;
let secondText = '';

/** ISO 8601; all but the milliseconds is made once a second. */
function iso(time: number): string {
  const ms = time % 1000;
  if (time - ms !== second) {
    second = time - ms;
    secondText = new Date(second).toISOString().slice(0, 20);
  }
  return `${secondText}${String(ms).padStart(3, '0')}Z`;
}

const plain = (text: string): string => text.replace(/[^\x20-\x7e]|["\\]/g, (found) => `\\x${(found.codePointAt(0) as number).toString(16).padStart(2, '0')}`);

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The Common Log Format's date. */
function clf(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(date.getUTCDate())}/${months[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} +0000`;
}

/** What stands before the path in absolute-form may hold user and password. */
const withoutAuthority = (url: string): string => (url[0] === '/' ? url : url.replace(/^(?:[a-z][a-z\d+.-]*:\/\/)?[^/?#]*/i, ''));

/** The path with the names of its query's parameters; values only where `logging.query_allow` lists the name. */
function shownPath(context: Context): string {
  const url = withoutAuthority(context.req.originalUrl ?? context.req.url ?? '');
  const mark = url.indexOf('?');
  if (mark === -1) return url.slice(0, maxPath);
  const allowed = context.core.config.logging.queryAllow;
  const pairs = url.slice(mark + 1).split('&').map((pair) => {
    const name = pair.split('=', 1)[0] ?? '';
    return allowed.includes(name) ? pair : name;
  });
  return `${url.slice(0, mark)}?${pairs.join('&')}`.slice(0, maxPath);
}

type Format = (tokens: Readonly<Record<string, Token>>, context: Context, res: null) => string | undefined;

function formatOf(config: LoggingConfig): { format: Format; tokens: Readonly<Record<string, Token>> } {
  const { compile, combined: line } = morgan as unknown as { compile(format: string): Format; combined: string };
  if (config.format === 'combined') return { format: compile(line), tokens: combined };
  return { format: compile(':line'), tokens: { line: jsonLine } };
}

/** Where finished requests leave their lines. */
export interface AccessLog {
  write(context: Context): void;
  close(): Promise<void>;
}

/**
 * morgan's format to the console and to a rotating file (mode 0600). Lines are made at once, into bytes, and written some
 * fifty milliseconds' worth at a time: keeping requests until then cost 13 microseconds each in garbage collection.
 * A sink that fails or falls behind loses lines, is reported once, and stops nothing.
 */
export function accessLog(core: Core, console: Writable | null): AccessLog {
  const config = core.config.logging;
  const { format, tokens } = formatOf(config);
  const sinks: Sink[] = console === null ? [] : [new Sink(core, 'console', console)];
  const batch = Buffer.allocUnsafe(batchBytes);
  let file: RotatingFileStream | null = null;
  let opened = false;
  let used = 0;
  let scheduled: Timer | null = null;
  let closed = false;

  function flush(): void {
    if (scheduled !== null) core.clock.clearTimeout(scheduled);
    scheduled = null;
    if (used === 0) return;
    if (!opened && config.file !== false) sinks.push(new Sink(core, config.file, (file = open(config, config.file))));
    opened = true;
    const lines = Buffer.from(batch.subarray(0, used));
    used = 0;
    for (const sink of sinks) sink.write(lines);
  }

  return {
    write(context) {
      if (closed) return;
      const line = `${format(tokens, context, null) ?? ''}\n`;
      if (used + line.length * 3 > batchBytes) flush();
      used += batch.write(line, used);
      if (scheduled !== null) return;
      scheduled = core.clock.setTimeout(flush, batchEvery);
      scheduled.unref();
    },
    close() {
      flush();
      closed = true;
      for (const sink of sinks) sink.close();
      return new Promise((resolve) => (file === null || file.destroyed ? resolve() : file.end(() => resolve())));
    },
  };
}

/** Apart from its directory the name is what a rotated file's name is made of. */
function open(config: LoggingConfig, path: string): RotatingFileStream {
  return createStream(basename(path), { path: dirname(path), size: `${Math.max(1, Math.ceil(config.maxSize / 1024))}K`, maxFiles: config.maxFiles, mode: 0o600 });
}

class Sink {
  readonly #core: Core;
  readonly #name: string;
  readonly #stream: Writable;
  readonly #failed = (error: Error): void => this.#report(error);
  #reported = false;

  constructor(core: Core, name: string, stream: Writable) {
    this.#core = core;
    this.#name = name;
    this.#stream = stream;
    stream.on('error', this.#failed);
  }

  write(lines: Buffer): void {
    if (this.#stream.destroyed || this.#stream.writableLength > maxWaiting) return this.#report(null);
    this.#stream.write(lines);
  }

  /** Lets go of the stream, which may be the process's own, once it has taken what it was given. */
  close(): void {
    this.#stream.write('', () => this.#stream.off('error', this.#failed));
  }

  #report(error: Error | null): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#core.log.error({ sink: this.#name, error: error === null ? 'cannot keep up' : describe(error), effect: 'access lines are lost' }, 'access_log.failed');
  }
}
