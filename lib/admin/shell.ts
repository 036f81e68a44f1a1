import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { languageOf } from '../http/http.ts';
import { HeimdallError } from '../errors.ts';
import type { Context } from '../request/request.ts';

/** Where the build puts the page, seen from `lib/admin/` and from `dist/admin/` alike. */
const built = new URL('../../dist/admin/page/', import.meta.url);
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'";
const pageHead = ['Content-Security-Policy', policy, 'X-Content-Type-Options', 'nosniff', 'Referrer-Policy', 'no-referrer', 'X-Frame-Options', 'DENY'] as const;

/** The pages that the gate serves. */
export type PageName = 'index' | 'me';

interface Manifest {
  /** Files of the pages. */
  readonly pages: Readonly<Record<PageName, string>>;
  /** Media types of the files that pages load; the names hold a digest of their content. */
  readonly assets: Readonly<Record<string, string>>;
}

interface Stored {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
  packed: Buffer | null;
}

/** The pages and what they load. They hold no data and need no login. */
export class Shell {
  readonly #auth: string;
  readonly #files: URL;
  readonly #stored = new Map<string, Stored>();
  #manifest: Manifest | null = null;

  /** @param auth how the page logs in. @param files the directory of the build. */
  constructor(auth: string, files: URL = built) {
    this.#auth = auth;
    this.#files = files;
  }

  /** Answers with a page. */
  page(context: Context, name: PageName): void {
    const manifest = this.#read(context);
    if (manifest === null) return;
    const language = languageOf(context.headers['accept-language']);
    const stored = this.#kept(`${name} ${language}`, 'text/html; charset=utf-8', () => {
      const text = readFileSync(new URL(manifest.pages[name], this.#files), 'utf8');
      return Buffer.from(text.replaceAll('{{lang}}', language).replaceAll('{{auth}}', this.#auth));
    });
    // A host's report of what its own policy would refuse says nothing of this page.
    context.res.removeHeader('Content-Security-Policy-Report-Only');
    send(context, stored, [...pageHead, 'Cache-Control', 'no-cache', 'Vary', 'Accept-Language, Accept-Encoding']);
  }

  /** Answers with a file that a page loads. A name stands for one content, so it is kept for good. */
  asset(context: Context, name: string): void {
    const manifest = this.#read(context);
    if (manifest === null) return;
    const type = Object.hasOwn(manifest.assets, name) ? manifest.assets[name] : undefined;
    if (type === undefined) return context.fail(new HeimdallError('not_found'));
    const stored = this.#kept(`assets/${name}`, type, () => readFileSync(new URL(name, this.#files)));
    send(context, stored, ['X-Content-Type-Options', 'nosniff', 'Cache-Control', 'public, max-age=31536000, immutable', 'Vary', 'Accept-Encoding']);
  }

  /** The manifest, or null when the request was answered. */
  #read(context: Context): Manifest | null {
    if (context.req.method !== 'GET' && context.req.method !== 'HEAD') {
      (context.extraHead ??= []).push('Allow', 'GET, HEAD');
      context.fail(new HeimdallError('method_not_allowed'));
      return null;
    }
    try {
      return (this.#manifest ??= JSON.parse(readFileSync(new URL('manifest.json', this.#files), 'utf8')) as Manifest);
    } catch (cause) {
      context.fail(new HeimdallError('page_not_built', { cause }));
      return null;
    }
  }

  #kept(key: string, type: string, read: () => Buffer): Stored {
    let stored = this.#stored.get(key);
    if (stored === undefined) {
      const body = read();
      stored = { type, body, etag: `"${hash('sha256', body, 'base64url').slice(0, 22)}"`, packed: null };
      this.#stored.set(key, stored);
    }
    return stored;
  }
}

function send(context: Context, stored: Stored, head: string[]): void {
  const { headers } = context;
  head.push('ETag', stored.etag);
  // Weak comparison (RFC 9110 §13.1.2): a proxy that compresses makes a tag weak.
  if ((headers['if-none-match'] ?? '').split(',').some((tag) => tag.trim().replace(/^W\//, '') === stored.etag)) return context.answer(304, head, '');
  if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(String(headers['accept-encoding'] ?? ''))) return context.answer(200, ['Content-Type', stored.type, ...head], stored.body);
  stored.packed ??= gzipSync(stored.body, { level: 9 });
  context.answer(200, ['Content-Type', stored.type, 'Content-Encoding', 'gzip', ...head], stored.packed);
}
