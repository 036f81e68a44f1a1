import type { IncomingHttpHeaders } from 'node:http';
import type { TokenIdentity } from '../../types/context.d.ts';
import { hash } from 'node:crypto';

/** A credential as the caller sent it. Lives as long as the call that asked for it. */
export interface Credential {
  readonly value: string;
  /** Two carriers disagree where NewAPI's versions read different ones. */
  readonly ambiguous: boolean;
}

const socketMarker = 'openai-insecure-api-key.';

/**
 * The credential NewAPI would read, by its own carriers and precedence: each that is present on its path overrides the one
 * before.
 * @param path canonical path.
 * @param query with its `?`, or empty.
 */
export function credentialOf(headers: IncomingHttpHeaders, path: string, query: string): Credential | null {
  const protocols = headers['sec-websocket-protocol'];
  let value = (protocols === undefined ? null : fromSocket(protocols)) ?? bearer(headers.authorization);
  // NewAPI also takes a list without a key, and of several lines the first, which Node does not show.
  let ambiguous = protocols !== undefined;
  if (path.includes('/v1/messages')) value = bearer(first(headers['x-api-key'])) ?? value;
  if (path.startsWith('/v1/models')) {
    const carriers = onModels(headers, path, query, value);
    ambiguous ||= carriers.some((other) => other !== carriers[0]);
    value = carriers[0] ?? null;
  } else if (path.startsWith('/v1beta/models') || path.startsWith('/v1beta/openai/models')) value = google(headers, query) ?? value;
  if (value === null || value === 'midjourney-proxy') value = bearer(first(headers['mj-api-secret'])) ?? value;
  return value === null ? null : { value, ambiguous };
}

/** Everything in a request that may be a credential, whatever the path. */
export function carriersOf(headers: IncomingHttpHeaders, query: string): string[] {
  const named = [headers.authorization, headers['x-api-key'], headers['x-goog-api-key'], headers['mj-api-secret']].flatMap((header) => String(header ?? '').split(','));
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((item) => item.trim().replace(socketMarker, ''));
  return [...named.map(bearer), ...protocols, queryKey(query)].filter((value): value is string => value !== null && value !== '');
}

/** On the model list NewAPI's versions read different carriers. Several that disagree leave open whom a 200 vouches for. */
function onModels(headers: IncomingHttpHeaders, path: string, query: string, authorization: string | null): string[] {
  const others = [bearer(first(headers['x-api-key'])), bearer(first(headers['mj-api-secret']))];
  const named = google(headers, query);
  const ordered = path === '/v1/models' ? [authorization, ...others, named] : [named, authorization, ...others];
  return ordered.filter((value) => value !== null);
}

function bearer(header: string | null | undefined): string | null {
  if (header === undefined || header === null) return null;
  const value = (header.startsWith('Bearer ') || /^bearer(?: |$)/i.test(header) ? header.slice(7) : header).trim();
  return value === '' ? null : value;
}

/** Node joins repeated lines with a comma, Go reads the first: a second value must not make a new identity. */
function first(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  const value = String(header).split(',', 1)[0]?.trim();
  return value ? value : null;
}

const google = (headers: IncomingHttpHeaders, query: string): string | null => bearer(first(headers['x-goog-api-key'])) ?? bearer(queryKey(query));

/** As Go's `url.ParseQuery` reads it: the first of the name counts, pairs with a `;` or a broken escape do not. */
function queryKey(query: string): string | null {
  if (!query.includes('key') && !query.includes('%')) return null;
  for (const pair of query.slice(1).split('&')) {
    if (pair.includes(';')) continue;
    const end = pair.includes('=') ? pair.indexOf('=') : pair.length;
    try {
      if (decodeQuery(pair.slice(0, end)) === 'key') return decodeQuery(pair.slice(end + 1));
    } catch {
      continue;
    }
  }
  return null;
}

const decodeQuery = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));

function fromSocket(protocols: string): string | null {
  for (const item of protocols.split(',')) {
    const name = item.trim();
    if (name.startsWith(socketMarker)) return name.slice(socketMarker.length) || null;
  }
  return null;
}

const channelSuffix = /^[A-Za-z0-9]{48}-/;

/**
 * The part of a credential that names its owner: without `sk-`, and without NewAPI's `-<channel>` behind a key of its
 * 48-character form. Other keys (`sk-proj-…`, `sk-ant-…`) hold dashes of their own.
 */
export function bareToken(credential: string): string {
  // A JWT's parts may hold a dash anywhere: cut there, strangers would share an identity.
  if (credential.startsWith('eyJ') && credential.split('.', 4).length === 3) return credential;
  const bare = credential.startsWith('sk-') ? credential.slice(3) : credential;
  return channelSuffix.test(bare) ? bare.slice(0, 48) : bare;
}

/** SHA-256's block, RFC 2104 §2. */
const block = 64;
const digestSize = 32;

/** A shorter token shows nothing of itself in its mask. */
const shortest = 16;

/**
 * Makes identities of credentials under the install secret.
 * @param secret any length.
 * @param previous install secrets of before, under whose identities a token is still known.
 */
export function tokenIdentifier(secret: string, previous: readonly string[] = []): (credential: string) => TokenIdentity {
  const digest = keyedHash(secret);
  const before = previous.map(keyedHash);
  return (credential) => {
    const bare = bareToken(credential);
    const former = before.length === 0 ? noneBefore : before.map((hashed) => hashed(bare));
    return new Identity(digest(bare), bare.length < shortest ? '' : bare.slice(-4), former);
  };
}

const noneBefore: readonly string[] = [];

/**
 * The first 16 hex digits of HMAC-SHA256 (RFC 2104) as two one-shot hashes over scratch memory, 0.6 instead of 9.6
 * microseconds with `createHmac`, which is why nothing needs to remember raw keys. A key longer than a block is hashed first.
 */
export function keyedHash(secret: string): (text: string) => string {
  const raw = Buffer.from(secret);
  const key = raw.length > block ? hash('sha256', raw, 'buffer') : raw;
  let inner = Buffer.alloc(block + 512, 0x36);
  const outer = Buffer.alloc(block + digestSize, 0x5c);
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return (text) => {
    if (inner.length < block + text.length * 3) inner = Buffer.concat([inner, Buffer.alloc(text.length * 3)]);
    const length = inner.write(text, block);
    outer.write(hash('sha256', inner.subarray(0, block + length), 'binary'), block, 'latin1');
    inner.fill(0, block, block + length);
    return hash('sha256', outer).slice(0, 16);
  };
}

class Identity implements TokenIdentity {
  readonly id: string;
  readonly former: readonly string[];
  readonly #last: string;

  constructor(id: string, last: string, former: readonly string[]) {
    this.id = id;
    this.former = former;
    this.#last = last;
  }

  get mask(): string {
    return `sk-…${this.#last}`;
  }
}
