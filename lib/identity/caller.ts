import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { TokenIdentity } from '../../types/context.d.ts';
import { Memo, ownText, Variants } from '../platform/platform.ts';
import { readQuery } from './query.ts';

/** The places from which NewAPI reads a credential; `key` is the parameter of the query, the others are headers. */
export type Carrier = 'authorization' | 'x-api-key' | 'x-goog-api-key' | 'mj-api-secret' | 'sec-websocket-protocol' | 'key';

/** A credential as the caller sent it, with the carrier that counts. */
export interface Credential {
  readonly value: string;
  readonly carrier: Carrier;
}

/** Prefix of the WebSocket subprotocol that carries a key. */
export const keyProtocol = 'openai-insecure-api-key.';
/** Placeholder in `Authorization` that makes NewAPI read `mj-api-secret`. */
const placeholder = 'midjourney-proxy';

/**
 * The credential by which a request is judged, in NewAPI's order of precedence. All other carriers are removed before the
 * request is sent, so every version of NewAPI reads this one.
 * @param path canonical path.
 * @param query with its `?`, or empty.
 */
export function credentialOf(headers: IncomingHttpHeaders, path: string, query: string): Credential | null {
  const { authorization, 'sec-websocket-protocol': protocols } = headers;
  let value = authorization === undefined ? null : bearer(authorization);
  let carrier: Carrier = 'authorization';
  const inProtocols = protocols === undefined ? null : keyInProtocols(protocols);
  if (inProtocols !== null) [value, carrier] = [inProtocols, 'sec-websocket-protocol'];
  if (path.includes('/v1/messages') || path.includes('/v1/models')) {
    const key = bearer(first(headers['x-api-key']));
    if (key !== null) [value, carrier] = [key, 'x-api-key'];
  }
  if (path.startsWith('/v1beta/') || path.startsWith('/v1/models')) {
    const header = bearer(first(headers['x-goog-api-key']));
    const key = header ?? bearer(readQuery(query, 'key').value);
    if (key !== null) [value, carrier] = [key, header === null ? 'key' : 'x-goog-api-key'];
  }
  if (value === null || value === placeholder) {
    const secret = bearer(first(headers['mj-api-secret']));
    if (secret !== null) [value, carrier] = [secret, 'mj-api-secret'];
  }
  return value === null ? null : { value, carrier };
}

/** The value of a credential header without its scheme; null for an empty one. */
function bearer(header: string | null): string | null {
  if (header === null) return null;
  const value = (header.startsWith('Bearer ') || /^bearer(?: |$)/i.test(header) ? header.slice(7) : header).trim();
  return value === '' ? null : value;
}

/** Node joins repeated lines with a comma, Go reads the first: a second value must not make a new identity. */
function first(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  const value = String(header).split(',', 1)[0]?.trim();
  return value ? value : null;
}

const newApiKey = /^(?:sk-)?[A-Za-z0-9]{48}(?:-|$)/;

/** NewAPI reads `Sec-WebSocket-Protocol` on every request: the part with the prefix, and without such a part the whole header. */
function keyInProtocols(protocols: string): string | null {
  for (const item of protocols.split(',')) {
    const name = item.trim();
    if (name.startsWith(keyProtocol)) return name.slice(keyProtocol.length) || null;
  }
  return newApiKey.test(protocols) ? protocols : null;
}

const newApiKeyWithChannel = /^[A-Za-z0-9]{48}-/;

/**
 * The part of a credential that names its owner: without `sk-`, and without NewAPI's `-<channel>` behind a key of its
 * 48-character form. Other keys (`sk-proj-…`, `sk-ant-…`) contain dashes of their own.
 */
export function bareToken(credential: string): string {
  // SECURITY: a JWT may contain a dash anywhere. Cut there, tokens of different callers would share an identity.
  if (credential.startsWith('eyJ') && credential.split('.', 4).length === 3) return credential;
  const bare = credential.startsWith('sk-') ? credential.slice(3) : credential;
  return newApiKeyWithChannel.test(bare) ? bare.slice(0, 48) : bare;
}

/** Block size of SHA-256 in bytes, RFC 2104 §2. */
const block = 64;
const digestSize = 32;

/** The mask of a shorter token shows none of its characters. */
const minMaskedLength = 16;
const noIds: readonly string[] = [];

/**
 * Makes a function that turns a credential into an identity under the install secret.
 * @param secret of any length; a function is called with the first credential.
 * @param previous earlier install secrets, under whose identities a token is still known.
 */
export function tokenIdentifier(secret: string | (() => string), previous: readonly string[] = []): (credential: string) => TokenIdentity {
  let digest: ((text: string) => string) | null = null;
  const earlier = previous.map(keyedHash);
  return function identify(credential) {
    digest ??= keyedHash(typeof secret === 'string' ? secret : secret());
    const bare = bareToken(credential);
    const former = earlier.length === 0 ? noIds : earlier.map((hashed) => hashed(bare));
    return { id: digest(bare), mask: bare.length < minMaskedLength ? 'sk-…' : `sk-…${bare.slice(-4)}`, former };
  };
}

/**
 * Makes a function that returns the first 16 hex digits of HMAC-SHA256 (RFC 2104). It uses two one-shot hashes over reused
 * memory: 0.6 microseconds in place of 9.6 with `createHmac`, so no raw key has to be cached.
 * @param secret a key longer than a block is hashed first.
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

interface Device {
  readonly accept: string;
  readonly language: string;
  readonly encoding: string;
  readonly fingerprint: string;
  readonly size: number;
}

/** Longer sets of headers are hashed without being cached, characters. */
const maxCachedHeaders = 2048;
/** Devices by `User-Agent`: SDKs send few distinct sets of headers. */
const devices = new Variants<Device>(1_000_000, maxCachedHeaders, 8);

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`; a missing header counts as empty. */
export function deviceFingerprint(headers: IncomingHttpHeaders): string {
  const agent = headers['user-agent'] ?? '';
  const accept = headers.accept ?? '';
  const language = headers['accept-language'] ?? '';
  const encoding = headers['accept-encoding'] ?? '';
  for (const device of devices.get(agent)) if (device.accept === accept && device.language === language && device.encoding === encoding) return device.fingerprint;
  const text = `${agent}|${accept}|${language}|${encoding}`;
  const fingerprint = hash('sha256', text);
  if (text.length <= maxCachedHeaders) devices.add(agent, { accept: ownText(accept), language: ownText(language), encoding: ownText(String(encoding)), fingerprint, size: text.length + fingerprint.length });
  return fingerprint;
}

/** Longer values of `User-Agent` are not cached, and only their first part is read, characters. */
const maxAgent = 512;
/** Clients by `User-Agent`. */
const clients = new Memo<string | null>(500_000, maxAgent);

/**
 * Families by what their `User-Agent` contains, the most specific first: an application comes before the browser or SDK it
 * is built on. The first group is the major version; a family without a group has none.
 */
const families: readonly (readonly [family: string, agent: RegExp])[] = [
  ['claude-cli', /\bclaude-(?:cli|code)\/(\d+)/i],
  ['codex-cli', /\bcodex[_-](?:cli|exec|tui|vscode)\w*\/(\d+)/i],
  ['gemini-cli', /\bGeminiCLI(?:-[\w.-]+)?\/(?:v)?(\d+)/i],
  ['cherry-studio', /\bCherry ?Studio\/(\d+)/i],
  ['chatbox', /\bchatbox(?:app)?(?:\.app)?\/(\d+)/i],
  ['lobe-chat', /\blobe(?:hub|chat)[\w-]*\/(\d+)/i],
  ['nextchat', /\b(?:NextChat|ChatGPT-Next-Web)\/(\d+)/i],
  ['cursor', /\bCursor\/(\d+)/],
  ['roo-code', /\bRooCode\/(\d+)/i],
  ['cline', /\bCline\/(\d+)/i],
  ['opencode', /\bopencode\/(\d+)/i],
  ['zed', /\bZed\/(\d+)/],
  ['copilot', /\bGithub-?Copilot\w*\/(\d+)/i],
  ['litellm', /\blitellm\/(\d+)/i],
  ['ai-sdk', /^ai\/(\d+)|\bai-sdk\/[\w-]+\/(\d+)/],
  ['openai-python', /\b(?:Async)?OpenAI\/Python (\d+)/],
  ['openai-node', /\bOpenAI\/(?:JS|NodeJS?) (\d+)/],
  ['openai-go', /\bOpenAI\/Go (\d+)/],
  ['openai-java', /\bOpenAI(?:Client\w*)?\/Java (\d+)/],
  ['openai-ruby', /\b(?:Async)?OpenAI\/Ruby (\d+)/],
  ['openai-dotnet', /\bOpenAI\/(\d+)[\d.]* \(\.NET/],
  ['anthropic-python', /\b(?:Async)?Anthropic\w*\/Python (\d+)/],
  ['anthropic-node', /\bAnthropic\w*\/JS (\d+)/],
  ['anthropic-go', /\bAnthropic\/Go (\d+)/],
  ['anthropic-java', /\bAnthropic\w*\/Java (\d+)/],
  ['google-genai', /\bgoogle-genai-sdk\/(\d+)/],
  ['edge', /\bEdg(?:e|A|iOS)?\/(\d+)/],
  ['opera', /\bOPR\/(\d+)/],
  ['samsung-browser', /\bSamsungBrowser\/(\d+)/],
  ['electron', /\bElectron\/(\d+)/],
  ['firefox', /\b(?:Firefox|FxiOS)\/(\d+)/],
  ['chrome', /\b(?:HeadlessChrome|Chrome|CriOS)\/(\d+)/],
  ['safari', /\bVersion\/(\d+)[\d.]* (?:Mobile\/\w+ )?Safari\//],
  ['aiohttp', /\baiohttp\/(\d+)/],
  ['go-http', /^Go-http-client\/(\d+)/],
];

/** Any other client by its first product (RFC 9110 §10.1.5): `curl/8.5.0`, `python-httpx/0.27.0`, `node`. */
const product = /^([A-Za-z][\w.+-]{0,31})(?:\/v?(\d{1,4})[\w.+-]*)?(?:[ ;(]|$)/;

/**
 * Family and major version of the calling program as `User-Agent` states them: `openai-python/1`, `claude-cli/2`, `curl/8`,
 * `chrome/131`, or the family alone. Releases of one major version are the same client. Null when no program is named.
 */
export function clientOf(agent: string | undefined): string | null {
  if (agent === undefined || agent === '') return null;
  const found = clients.get(agent);
  if (found !== undefined) return found;
  const client = readClient(agent.slice(0, maxAgent));
  const own = client === null ? null : ownText(client);
  clients.set(agent, own);
  return own;
}

/** The family of a client. @param client a result of {@link clientOf}. */
export function familyOf(client: string): string {
  const slash = client.indexOf('/');
  return slash === -1 ? client : client.slice(0, slash);
}

function readClient(agent: string): string | null {
  for (const [family, pattern] of families) {
    const match = pattern.exec(agent);
    if (match !== null) return named(family, match[1] ?? match[2]);
  }
  const match = product.exec(agent);
  return match === null ? null : named((match[1] as string).toLowerCase(), match[2]);
}

const named = (family: string, major: string | undefined): string => (major === undefined ? family : `${family}/${Number(major.slice(0, 4))}`);
