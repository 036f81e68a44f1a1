import type { Config } from '../../types/config.d.ts';
import type { Context } from '../request/request.ts';
import { leavesWith } from './credentials.ts';

/** What happens to a header on its way; anything unnamed passes. */
type Fate = 'keep' | 'drop' | 'credential' | 'message' | 'own';

/** RFC 9110 §7.6.1 and RFC 9113's upgrade leftovers. */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'upgrade', 'http2-settings'];

/** A client can write these; only ours may reach an upstream that believes them (gin trusts every forwarded header). */
const forwarded = [
  'forwarded', 'forwarded-for', 'x-forwarded', 'x-real-ip',
  'x-client-ip', 'client-ip', 'x-cluster-client-ip', 'x-originating-ip', 'x-original-forwarded-for', 'x-remote-ip', 'x-remote-addr',
  'x-true-client-ip', 'x-proxyuser-ip', 'proxy-client-ip', 'wl-proxy-client-ip', 'x-sucuri-clientip', 'incap-client-ip', 'ali-cdn-real-ip',
  'cdn-src-ip', 'do-connecting-ip', 'x-nf-client-connection-ip', 'x-vercel-forwarded-for', 'x-vercel-proxied-for',
  'cf-connecting-ip', 'cf-connecting-ipv6', 'cf-pseudo-ipv4', 'true-client-ip', 'fastly-client-ip', 'fly-client-ip',
  'x-appengine-remote-addr', 'x-appengine-user-ip', 'x-azure-clientip', 'x-azure-socketip', 'x-envoy-external-address',
  'x-original-url', 'x-rewrite-url', 'x-original-host', 'x-host', 'front-end-https', 'x-request-id',
];

/** All that NewAPI takes a token from; `Sec-WebSocket-Protocol` on any request, not only on an upgrade. */
const credentials = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'sec-websocket-protocol'];

/** The body is sent by its own length, whatever framing it came with. */
const message = ['content-length', 'transfer-encoding', 'expect'];

const requestFates = new Map<string, Fate>([
  ...hopByHop.map((name) => [name, 'drop'] as const),
  ...forwarded.map((name) => [name, 'drop'] as const),
  ...credentials.map((name) => [name, 'credential'] as const),
  ...message.map((name) => [name, 'message'] as const),
]);

/** All that a target with our own key learns of a caller. */
const ownAllowed = /^(?:accept|accept-encoding|content-type|content-encoding|user-agent|anthropic-version|anthropic-beta|openai-beta|idempotency-key|x-stainless-[a-z-]+)$/;

const responseFates = new Map<string, Fate>([
  ...hopByHop.map((name) => [name, 'drop'] as const),
  // `Expect` is for requests; in an answer it would have Node send the head before all of it is there.
  ['transfer-encoding', 'drop'], ['expect', 'drop'], ['x-request-id', 'drop'], ['x-response-time', 'drop'],
  // A provider's account, cookies and transport policy are its own, not those of the site the client called.
  ['set-cookie', 'own'], ['openai-organization', 'own'], ['openai-project', 'own'], ['anthropic-organization-id', 'own'],
  ['alt-svc', 'own'], ['strict-transport-security', 'own'], ['nel', 'own'], ['report-to', 'own'],
]);

/** Spellings already judged, so that a name is lower-cased once and not once a request. */
class Fates {
  readonly #known = new Map<string, Fate>();
  readonly #judge: (name: string) => Fate;

  constructor(judge: (name: string) => Fate) {
    this.#judge = judge;
  }

  of(name: string): Fate {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const fate = this.#judge(name.toLowerCase());
    if (this.#known.size < 2000) this.#known.set(name, fate);
    return fate;
  }
}

/** Names with `_` collide with `-` in CGI-like servers; `x-heimdall-*` and `x-forwarded-*` are ours to say. */
const reserved = (name: string): boolean => name.includes('_') || name.startsWith('x-heimdall-') || name.startsWith('x-forwarded-');

const callerFate = (name: string): Fate => (reserved(name) ? 'drop' : (requestFates.get(name) ?? 'keep'));
const callerFates = new WeakMap<Config, Fates>();

/** What a proxy says of the client to us is said to nobody else, whatever the configuration calls it. */
function callerFatesOf(config: Config): Fates {
  let fates = callerFates.get(config);
  if (fates === undefined) {
    const ours = [config.clientIpHeader, config.ja4Header];
    fates = new Fates((name) => (ours.includes(name) ? 'drop' : callerFate(name)));
    callerFates.set(config, fates);
  }
  return fates;
}

const ownFates = new Fates((name) => (ownAllowed.test(name) ? 'keep' : 'drop'));
const answerFates = new Fates((name) => (name.startsWith('x-heimdall-') ? 'drop' : (responseFates.get(name) ?? 'keep')));

/** By these the gate has judged the request: the upstream must see the same. */
const judgedBy: ReadonlySet<string> = new Set([...credentials, 'host', 'content-type', 'content-encoding']);

/** Headers that `Connection` names travel one hop only, but for those the gate has gone by. */
function named(connection: string | undefined): ReadonlySet<string> | null {
  if (connection === undefined || /^(?:keep-alive|close|upgrade)$/i.test(connection)) return null;
  const names = connection.toLowerCase().split(',').map((name) => name.trim());
  return new Set(names.filter((name) => !judgedBy.has(name)));
}

/** The headers for a target that is asked with the caller's own credential: flat, duplicates and case kept. */
export function callerHeaders(context: Context): string[] {
  const { rawHeaders, headers } = context.req;
  const oneHop = named(headers.connection);
  const leaves = leavesWith(context, 'newapi');
  const fates = callerFatesOf(context.core.config);
  const flat: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    const fate = fates.of(name);
    if (fate === 'drop' || fate === 'message' || (fate === 'credential' && leaves !== 'caller')) continue;
    if (oneHop?.has(name.toLowerCase())) continue;
    flat.push(name, rawHeaders[at + 1] as string);
  }
  if (leaves === 'granted') flat.push('Authorization', `Bearer ${context.upstreamCredential}`);
  flat.push('X-Forwarded-For', context.ip, 'X-Real-IP', context.ip, 'X-Forwarded-Proto', context.proto);
  flat.push('X-Forwarded-Host', context.host, 'X-Forwarded-Port', portOf(context), 'X-Request-Id', context.id);
  return flat;
}

function portOf({ host, proto }: Context): string {
  const colon = host.lastIndexOf(':');
  if (colon > host.lastIndexOf(']') && /^\d+$/.test(host.slice(colon + 1))) return host.slice(colon + 1);
  return proto === 'https' ? '443' : '80';
}

/**
 * The headers for a target that is asked with our own credential: an allow-list of the caller's, then ours.
 * @param host the target's own.
 */
export function ownHeaders(context: Context, host: string, credential: readonly string[]): string[] {
  const { rawHeaders } = context.req;
  const flat = ['Host', host, ...credential];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (ownFates.of(name) === 'keep') flat.push(name, rawHeaders[at + 1] as string);
  }
  return flat;
}

const queryCredential = /^(?:key|api[-_]?key|access_token|token)(?:=|$)/i;

/** The query as NewAPI gets it: untouched where it may read the caller's own credential there. */
export const queryFor = (context: Context): string => (leavesWith(context, 'newapi') === 'caller' ? context.query : anonymousQuery(context.query));

/** A query without the parameters that may carry a credential. */
export function anonymousQuery(query: string): string {
  if (query === '') return query;
  const kept = query.slice(1).split('&').filter((pair) => !queryCredential.test(decodeName(pair)));
  return kept.length === 0 ? '' : `?${kept.join('&')}`;
}

function decodeName(pair: string): string {
  try {
    return decodeURIComponent(pair);
  } catch {
    return pair;
  }
}

const socketCredential = /(^|,\s*)openai-insecure-api-key\.[^,]*/g;

/** The same headers as http-proxy-middleware wants them: by lower-case name, with the framing it passes on itself. */
export function proxyHeaders(context: Context, length: number | null): Record<string, string | string[]> {
  const { headers } = context.req;
  const bag: Record<string, string | string[]> = {};
  const flat = callerHeaders(context);
  for (let at = 0; at < flat.length; at += 2) add(bag, (flat[at] as string).toLowerCase(), flat[at + 1] as string);
  if (length !== null) bag['content-length'] = String(length);
  else if (headers['transfer-encoding'] !== undefined) bag['transfer-encoding'] = 'chunked';
  else if (headers['content-length'] !== undefined) bag['content-length'] = headers['content-length'];
  if (context.req.heimdallUpgrade) upgradeHeaders(context, bag);
  return bag;
}

function upgradeHeaders(context: Context, bag: Record<string, string | string[]>): void {
  bag.connection = 'Upgrade';
  bag.upgrade = 'websocket';
  const protocols = context.req.headers['sec-websocket-protocol'];
  const leaves = leavesWith(context, 'newapi');
  if (protocols === undefined || leaves === 'caller') return;
  const granted = (_: string, before: string): string => (leaves === 'granted' ? `${before}openai-insecure-api-key.${context.upstreamCredential}` : '');
  const left = protocols.replace(socketCredential, granted).replace(/^\s*,\s*/, '');
  if (left !== '') bag['sec-websocket-protocol'] = left;
}

function add(bag: Record<string, string | string[]>, name: string, value: string): void {
  const before = bag[name];
  if (before === undefined) bag[name] = value;
  else if (name !== 'host') bag[name] = Array.isArray(before) ? [...before, value] : [before, value];
}

/**
 * The upstream's head as ours: flat, in its order and case, several `Set-Cookie` kept.
 * @param raw the upstream's flat header list, as strings or bytes.
 * @param own the target was asked with our own credential.
 */
export function answerHead(raw: ArrayLike<string | Buffer>, own: boolean): string[] {
  const head: string[] = [];
  let oneHop: ReadonlySet<string> | null = null;
  for (let at = 0; at < raw.length; at += 2) {
    const name = text(raw[at] as string | Buffer);
    const fate = answerFates.of(name);
    if (fate === 'drop' || (fate === 'own' && own)) {
      if (name.length === 10 && name.toLowerCase() === 'connection') oneHop ??= named(text(raw[at + 1] as string | Buffer));
      continue;
    }
    head.push(name, text(raw[at + 1] as string | Buffer));
  }
  return oneHop === null ? head : without(head, oneHop);
}

/** Header bytes are latin1 on the wire and stay so. */
const text = (value: string | Buffer): string => (typeof value === 'string' ? value : value.toString('latin1'));

function without(head: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, head[at + 1] as string);
  }
  return kept;
}
