import type { ServerResponse } from 'node:http';
import type { Config } from '../../types/config.d.ts';
import type { RouteClass } from '../../types/route.d.ts';
import { isConversation, type Context } from '../request/request.ts';
import { traceOf, traceparentOf, type Trace } from '../values/values.ts';
import { keyProtocol, readQuery, withParameter, type Credential } from '../identity/identity.ts';

/**
 * The credential a request leaves with. `caller`: the one carrier by which the caller was judged, or every carrier as it came on
 * a route that asks for no credential, since the receiver issued the credential.
 * `granted`: the `upstream_credential` of the caller's key replaces every carrier. `ours`: the target's own key, or none where
 * the target has none. `none`: as it came, without the carriers. `never`: the request is not sent there.
 */
export type OutgoingCredential = 'caller' | 'granted' | 'ours' | 'none' | 'never';

/** The receiver: NewAPI with a credential that it issued, or a target with a key of ours. */
export type Receiver = 'newapi' | 'own';

type CredentialRow = Readonly<Record<Receiver, OutgoingCredential>>;

const byCaller: CredentialRow = { newapi: 'caller', own: 'never' };
const byGrant: CredentialRow = { newapi: 'granted', own: 'never' };

/** The outgoing credential by class of the route, mode of `auth` and receiver. No other place decides it. */
export const outgoingCredentials: Readonly<Record<RouteClass, Readonly<Record<Config['auth']['mode'], CredentialRow>>>> = {
  model: { passthrough: { newapi: 'caller', own: 'ours' }, keys: { newapi: 'granted', own: 'ours' }, jwt: { newapi: 'granted', own: 'ours' } },
  realtime: { passthrough: byCaller, keys: byGrant, jwt: byGrant },
  task: { passthrough: byCaller, keys: byGrant, jwt: byGrant },
  webhook: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
  api: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
  ui: { passthrough: byCaller, keys: byCaller, jwt: byCaller },
};

/**
 * The credential that this request leaves with.
 * SECURITY: a credential of the gate's own is sent to no receiver in any mode; an `own` target spends our money, so only a
 * verified caller reaches it.
 */
export function outgoingCredential(context: Context, receiver: Receiver): OutgoingCredential {
  // A caller without a key is here because the route asks for none or because the gate only observes: NewAPI decides.
  // A user of the host has no credential of its own in any mode.
  const mode = context.key === null ? 'passthrough' : context.user === null ? context.core.config.auth.mode : 'keys';
  const credential = outgoingCredentials[context.route.class][mode][receiver];
  switch (credential) {
    case 'granted':
      return context.upstreamCredential === null ? 'never' : credential;
    case 'ours':
      return context.verified ? credential : 'never';
    case 'caller':
      return context.withheld ? 'none' : credential;
    default:
      return credential;
  }
}

/** What happens to a header on its way; a header without a rule passes. */
type HeaderRule = 'keep' | 'first' | 'drop' | 'credential' | 'message' | 'coding' | 'own' | 'host' | 'trace';

/** RFC 9110 §7.6.1 and RFC 9113's upgrade leftovers. */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'upgrade', 'http2-settings'];

/** Any client can write these. An upstream that trusts them (gin trusts every forwarded header) gets the gate's own values alone. */
const forwarded = [
  'forwarded', 'forwarded-for', 'x-forwarded', 'x-real-ip',
  'x-client-ip', 'client-ip', 'x-cluster-client-ip', 'x-originating-ip', 'x-original-forwarded-for', 'x-remote-ip', 'x-remote-addr',
  'x-true-client-ip', 'x-proxyuser-ip', 'proxy-client-ip', 'wl-proxy-client-ip', 'x-sucuri-clientip', 'incap-client-ip', 'ali-cdn-real-ip',
  'cdn-src-ip', 'do-connecting-ip', 'x-nf-client-connection-ip', 'x-vercel-forwarded-for', 'x-vercel-proxied-for',
  'cf-connecting-ip', 'cf-connecting-ipv6', 'cf-pseudo-ipv4', 'true-client-ip', 'fastly-client-ip', 'fly-client-ip',
  'x-appengine-remote-addr', 'x-appengine-user-ip', 'x-azure-clientip', 'x-azure-socketip', 'x-envoy-external-address',
  'x-original-url', 'x-rewrite-url', 'x-original-host', 'x-host', 'front-end-https', 'x-request-id',
  'x-http-method-override', 'x-http-method', 'x-method-override', 'x-original-method',
  'remote-user', 'x-remote-user', 'x-remote-group', 'x-remote-groups', 'x-authenticated-user', 'x-auth-request-user', 'x-auth-request-email', 'x-webauth-user', 'x-user', 'x-auth-user', 'x-auth-email', 'x-goog-authenticated-user-email', 'x-goog-authenticated-user-id', 'x-ms-client-principal', 'x-ms-client-principal-id', 'x-ms-client-principal-name',
  'cf-access-authenticated-user-email', 'x-authentik-username', 'x-authentik-email', 'x-authentik-groups', 'tailscale-user-login', 'x-amzn-oidc-identity',
  'client-cert', 'client-cert-chain', 'ssl-client-cert', 'ssl-client-verify', 'ssl-client-subject-dn', 'x-ssl-client-cert', 'x-ssl-client-verify', 'x-ssl-client-s-dn', 'x-ssl-client-dn', 'x-client-cert', 'x-client-dn', 'x-client-verify', 'x-arr-clientcert',
  'x-amzn-mtls-clientcert', 'x-amzn-mtls-clientcert-subject', 'x-amzn-mtls-clientcert-leaf',
];

/** Every header from which NewAPI reads a token; it reads `Sec-WebSocket-Protocol` on any request, not only on an upgrade. */
const credentials = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'sec-websocket-protocol'];

/** Further headers that may hold a credential; a request that shows one of the gate's own is sent without them. */
const otherCarriers: ReadonlySet<string> = new Set(['api-key', 'x-auth-token', 'referer']);

/** Headers by which a host application may have recognised its user. SECURITY: its sessions are no business of an upstream. */
const hostsOwn: ReadonlySet<string> = new Set(['cookie', ...otherCarriers]);

/** The gate frames the body itself, whatever framing it came with. */
const message = ['content-length', 'transfer-encoding', 'expect'];

const requestRules = new Map<string, HeaderRule>([
  ...hopByHop.map((name) => [name, 'drop'] as const),
  ...forwarded.map((name) => [name, 'drop'] as const),
  ...credentials.map((name) => [name, 'credential'] as const),
  ...message.map((name) => [name, 'message'] as const),
  ['accept-encoding', 'coding'], ['host', 'host'],
]);

/** The only request headers that a target with our own key is sent. */
const ownAllowed = /^(?:accept|content-type|content-encoding|user-agent|anthropic-version|anthropic-beta|openai-beta|idempotency-key|x-stainless-[a-z-]+)$/;

const answerRules = new Map<string, HeaderRule>([
  ...hopByHop.map((name) => [name, 'drop'] as const),
  // `Expect` belongs to requests; in an answer it makes Node send the head before the head is complete.
  ['transfer-encoding', 'drop'], ['expect', 'drop'], ['x-request-id', 'drop'], ['x-response-time', 'drop'],
  // Node re-encodes this one behind a `Content-Length`, and throws when its bytes are UTF-8.
  ['content-disposition', 'first'],
  // A provider's account, cookies and transport policy belong to the provider, not to the site that the client called.
  ['set-cookie', 'own'], ['openai-organization', 'own'], ['openai-project', 'own'], ['anthropic-organization-id', 'own'],
  ['alt-svc', 'own'], ['strict-transport-security', 'own'], ['nel', 'own'], ['report-to', 'own'],
]);

/** A header's name as it was spelt and in lower case, and its rule. */
interface KnownHeader {
  readonly name: string;
  readonly lower: string;
  readonly rule: HeaderRule;
}

/**
 * Remembers each spelling of a name, so that it is lower-cased once and not once a request. The remembered name is a property's key:
 * undici looks every name up in an object, and V8 first looks for a text that is none among all keys.
 */
class HeaderRules {
  readonly #known = new Map<string, KnownHeader>();
  readonly #ruleFor: (name: string) => HeaderRule;
  /** Spans are exported, so upstreams are told the trace. */
  readonly traced: boolean;

  /** @param ruleFor the rule of a name in lower case. */
  constructor(ruleFor: (name: string) => HeaderRule, traced = false) {
    this.#ruleFor = ruleFor;
    this.traced = traced;
  }

  of(spelt: string): KnownHeader {
    const known = this.#known.get(spelt);
    if (known !== undefined) return known;
    const [name = spelt] = Object.keys({ [spelt]: null });
    const lower = name.toLowerCase();
    const header = { name, lower, rule: this.#ruleFor(lower) };
    if (this.#known.size < 2000) this.#known.set(name, header);
    return header;
  }
}

/** Names with `_` collide with `-` in CGI-like servers; only the gate writes `x-heimdall-*` and `x-forwarded-*`. */
const reserved = (name: string): boolean => (name.includes('_') && name !== 'session_id' && name !== 'conversation_id') || name.startsWith('x-heimdall-') || name.startsWith('x-forwarded-');

const callerRule = (name: string): HeaderRule => (reserved(name) ? 'drop' : (requestRules.get(name) ?? 'keep'));
const callerRules = new WeakMap<Config, HeaderRules>();

/** The headers in which a proxy names the client's address and JA4 fingerprint are never forwarded, whatever their configured name. */
function callerRulesOf(config: Config): HeaderRules {
  let rules = callerRules.get(config);
  if (rules === undefined) {
    const ours = [config.clientIpHeader, config.ja4Header];
    const traced = isTraced(config);
    rules = new HeaderRules((name) => (ours.includes(name) ? 'drop' : traced && (name === 'traceparent' || name === 'tracestate') ? 'trace' : callerRule(name)), traced);
    callerRules.set(config, rules);
  }
  return rules;
}

const ownRules = new HeaderRules((name) => (name === 'accept-encoding' ? 'coding' : ownAllowed.test(name) ? 'keep' : 'drop'));
const knownAnswerRules = new HeaderRules((name) => (name.startsWith('x-heimdall-') ? 'drop' : (answerRules.get(name) ?? 'keep')));

/** The gate has judged the request by these: the upstream must see the same. */
const judgedBy: ReadonlySet<string> = new Set([...credentials, 'host', 'content-type', 'content-encoding']);

/** The headers that `Connection` names travel one hop only, except those by which the gate has judged the request. */
function connectionOptions(connection: string | undefined): ReadonlySet<string> | null {
  if (connection === undefined || /^(?:keep-alive|close|upgrade)$/i.test(connection)) return null;
  const names = connection.toLowerCase().split(',').map((name) => name.trim());
  return new Set(names.filter((name) => !judgedBy.has(name)));
}

/**
 * The headers for a target that is asked with the caller's own credential: flat, duplicates and case kept. Where limits count the
 * usage of the answer, the answer is asked for without a coding, so that its usage can be read and, where the gate has asked for
 * it, left out; where it may quote a credential of ours, so that this can be masked.
 * @param sentHost value of `Host`; null for the client's.
 */
export function callerHeaders(context: Context, sentHost: string | null = null): string[] {
  const { rawHeaders, headers } = context.req;
  const oneHop = connectionOptions(headers.connection);
  const credential = outgoingCredential(context, 'newapi');
  const rules = callerRulesOf(context.core.config);
  const { route } = context;
  const trace = rules.traced ? exportedTrace(context) : null;
  const plain = context.measured || credential === 'granted';
  const sent = credential === 'caller' && route.credential ? context.credential : null;
  let typed = false;
  let isAuthorized = false;
  let carrier: string | undefined = sent !== null && !moves(context, sent) ? sent.carrier : undefined;
  const flat: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const { name, lower, rule } = rules.of(rawHeaders[at] as string);
    if ((context.withheld && otherCarriers.has(lower)) || (context.user !== null && hostsOwn.has(lower))) continue;
    if (rule === 'drop' || rule === 'message' || (rule === 'credential' && credential !== 'caller') || (rule === 'coding' && plain)) continue;
    if (rule === 'trace' && trace !== null && isReplaced(name, trace)) continue;
    if (oneHop?.has(lower)) continue;
    // SECURITY: of several lines only the first is sent, by which the body was read.
    if ((lower === 'content-type' && typed) || context.withheldHeaders?.has(at)) continue;
    let value = rule === 'host' && sentHost !== null ? sentHost : (rawHeaders[at + 1] as string);
    if (lower === 'content-type' && route.credential) {
      value = context.contentType ?? value;
      typed = true;
    }
    if (rule === 'credential') {
      // Node reads the first line alone, so the others have not been judged.
      if (lower === 'authorization' && isAuthorized) continue;
      isAuthorized ||= lower === 'authorization';
      if (route.credential && (lower === 'sec-websocket-protocol' || lower !== carrier)) continue;
      if (sent !== null) value = carriedValue(sent, value);
      // One line of one carrier: the one by which the caller was judged.
      carrier = undefined;
    }
    flat.push(name, value);
  }
  if (!typed && context.contentType !== null) flat.push('Content-Type', context.contentType);
  if (sent !== null && (moves(context, sent) || isListKey(context, sent))) flat.push('Authorization', `Bearer ${sent.value}`);
  if (credential === 'granted') flat.push('Authorization', `Bearer ${context.upstreamCredential}`);
  const { ip, host, proto, id } = context;
  if (trace !== null) flat.push('traceparent', traceparentOf(trace));
  if (plain) flat.push('Accept-Encoding', 'identity');
  const port = /:(\d+)$/.exec(host)?.[1] ?? (proto === 'https' ? '443' : '80');
  flat.push('X-Forwarded-For', ip, 'X-Real-IP', ip, 'X-Forwarded-Proto', proto, 'X-Forwarded-Host', host, 'X-Forwarded-Port', port, 'X-Request-Id', id);
  return flat;
}

const isTraced = ({ audit: { otlp } }: Config): boolean => otlp.endpoint !== null && otlp.traces;

/** The trace that the upstream is told; null where the caller's, which it does not sample, passes unchanged. */
function exportedTrace({ id, headers, core }: Context): Trace | null {
  const trace = traceOf(id, headers['traceparent'], core.config.audit.otlp.sample);
  return trace.parent === null || trace.sampled ? trace : null;
}

/** `traceparent` is ours; `tracestate` stays with the trace that it came with (W3C Trace Context §3.3). */
const isReplaced = (name: string, { parent }: Trace): boolean => name.length === 11 || parent === null;

/** A credential in the scheme that NewAPI reads: `Bearer` or `bearer` and one space, or no scheme. */
function carriedValue({ value, carrier }: Credential, line: string): string {
  if (carrier !== 'authorization') return value;
  return line === value || line === `Bearer ${value}` || line === `bearer ${value}` ? line : `Bearer ${value}`;
}

/** Whether a credential moves to `Authorization`: NewAPI does not read its carrier on this path, or the carrier is not sent. */
function moves({ path, req }: Context, { carrier, value }: Credential): boolean {
  if (carrier === 'sec-websocket-protocol') return req.heimdallUpgrade === undefined || !subprotocol.test(value);
  if (carrier !== 'x-goog-api-key' && carrier !== 'key') return false;
  return !path.startsWith('/v1beta/models') && !path.startsWith('/v1beta/openai/models') && !path.startsWith('/v1/models');
}

/** Recent versions of NewAPI alone read these carriers on the list of models, so `Authorization` carries the same credential. */
const isListKey = ({ path }: Context, { carrier }: Credential): boolean => path === '/v1/models' && (carrier === 'key' || carrier === 'x-goog-api-key');

/**
 * The headers for a target that is asked with our own credential: the target's, then those of the caller's that the list allows.
 * @param host value of `Host`.
 */
export function ownHeaders(context: Context, host: string, credential: readonly string[]): string[] {
  const { rawHeaders } = context.req;
  const flat = ['Host', host, ...credential];
  const plain = context.measured || credential.length > 0;
  let typed = false;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (context.withheldHeaders?.has(at)) continue;
    const { name, lower, rule } = ownRules.of(rawHeaders[at] as string);
    if (lower === 'content-type') {
      if (!typed) flat.push(name, context.contentType ?? (rawHeaders[at + 1] as string));
      typed = true;
    } else if (rule === 'keep' || (rule === 'coding' && !plain)) flat.push(name, rawHeaders[at + 1] as string);
  }
  if (!typed && context.contentType !== null) flat.push('Content-Type', context.contentType);
  const trace = isTraced(context.core.config) ? exportedTrace(context) : null;
  if (trace !== null) flat.push('traceparent', traceparentOf(trace));
  if (plain) flat.push('Accept-Encoding', 'identity');
  return flat;
}

const queryCredential = /^(?:key|api[-_]?key|access_token|token)(?:=|$)/i;

/** The query as NewAPI gets it: unchanged where NewAPI may read the caller's own credential in it. */
export function queryFor(context: Context): string {
  const { credential, path, route } = context;
  const query = context.withheldQuery ?? context.query;
  if (query === '') return query;
  if (outgoingCredential(context, 'newapi') !== 'caller') return anonymousQuery(query);
  if (!route.credential || (route.class !== 'model' && !path.startsWith('/v1beta') && !path.startsWith('/v1/models'))) return query;
  const isCarried = credential?.carrier === 'key' && !moves(context, credential);
  return isCarried && !readQuery(query, 'key').ambiguous ? query : withParameter(query, 'key', isCarried ? credential.value : null);
}

/** The parameters that a target with a key of ours is sent: versions of APIs and pages of lists. */
const ownParameter = /^(?:beta|api-version|alt|limit|order|after|before|after_id|before_id)(?:=|$)/;

/** The query for a target that is asked with our own credential. */
export function ownQuery(query: string): string {
  if (query === '') return query;
  const kept = query.slice(1).split('&').filter((pair) => ownParameter.test(pair));
  return kept.length === 0 ? '' : `?${kept.join('&')}`;
}

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

/** The same headers as http-proxy-middleware wants them: by lower-case name, with the framing, which the proxy itself passes on. */
export function proxyHeaders(context: Context, length: number | null, sentHost: string | null = null): Record<string, string | string[]> {
  const { headers } = context.req;
  const bag: Record<string, string | string[]> = {};
  const flat = callerHeaders(context, sentHost);
  for (let at = 0; at < flat.length; at += 2) add(bag, (flat[at] as string).toLowerCase(), flat[at + 1] as string);
  if (context.req.heimdallUpgrade) upgradeHeaders(context, bag);
  else if (length !== null) bag['content-length'] = String(length);
  else if (headers['transfer-encoding'] !== undefined) bag['transfer-encoding'] = 'chunked';
  else if (headers['content-length'] !== undefined) bag['content-length'] = headers['content-length'];
  return bag;
}

function upgradeHeaders(context: Context, bag: Record<string, string | string[]>): void {
  bag.connection = 'Upgrade';
  bag.upgrade = 'websocket';
  // In compressed messages neither a credential of ours nor the usage of an answer could be found.
  if (isConversation(context) || outgoingCredential(context, 'newapi') === 'granted') delete bag['sec-websocket-extensions'];
  const protocols = context.withheldProtocols ?? context.req.headers['sec-websocket-protocol'];
  if (protocols === undefined) return;
  const outgoing = outgoingCredential(context, 'newapi');
  const { credential, route } = context;
  if (outgoing === 'caller' && !route.credential) {
    if (protocols !== '') bag['sec-websocket-protocol'] = protocols;
    return;
  }
  const carried = outgoing === 'caller' && credential?.carrier === 'sec-websocket-protocol' && subprotocol.test(credential.value) ? credential.value : null;
  let key = outgoing === 'granted' ? context.upstreamCredential : carried;
  const kept: string[] = [];
  for (const item of protocols.split(',').map((each) => each.trim())) {
    const isKey = item.startsWith(keyProtocol.slice(0, -1)) || item === credential?.value;
    if (item !== '' && !isKey) kept.push(item);
    if (isKey && key !== null) kept.push(keyProtocol + key);
    if (isKey) key = null;
  }
  if (key !== null) kept.push(keyProtocol + key);
  if (kept.length > 0) bag['sec-websocket-protocol'] = kept.join(', ');
}

/** The characters of a subprotocol's name (RFC 6455 §4.1, RFC 9110 §5.6.2). */
const subprotocol = /^[\w.!#$%&'*+^`|~-]+$/;

function add(bag: Record<string, string | string[]>, name: string, value: string): void {
  const before = bag[name];
  if (before === undefined) bag[name] = value;
  else if (name !== 'host') bag[name] = Array.isArray(before) ? [...before, value] : [before, value];
}

/** A string or a Buffer: header bytes are latin1 on the wire and stay so. */
interface HeaderText {
  toString(encoding: 'latin1'): string;
}

/**
 * The upstream's head as ours: flat, in its order and case, several `Set-Cookie` kept.
 * @param raw the upstream's flat header list, as strings or bytes.
 * @param own the target was asked with our own credential.
 */
export function answerHead(raw: ArrayLike<HeaderText>, own: boolean): string[] {
  const head: string[] = [];
  let oneHop: ReadonlySet<string> | null = null;
  let firsts = 0;
  for (let at = 0; at < raw.length; at += 2) {
    const { name, lower, rule } = knownAnswerRules.of((raw[at] as HeaderText).toString('latin1'));
    if (rule === 'drop' || (rule === 'own' && own)) {
      if (lower === 'connection') oneHop ??= connectionOptions((raw[at + 1] as HeaderText).toString('latin1'));
      continue;
    }
    const value = (raw[at + 1] as HeaderText).toString('latin1');
    if (rule === 'first') {
      head.splice(firsts, 0, name, value);
      firsts += 2;
    } else head.push(name, value);
  }
  return oneHop === null ? head : without(head, oneHop);
}

function without(head: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, head[at + 1] as string);
  }
  return kept;
}

/**
 * Asks a proxy to pass an event stream on as it comes and, where middleware of a host stands in front (`compression()` has replaced
 * the response's `write`), that middleware not to collect it (RFC 9111 §5.2.2.6). Without one the caching rules stay the upstream's.
 */
export function asLive(head: string[], res: ServerResponse): void {
  let buffering = -1;
  let caching = -1;
  for (let at = 0; at < head.length; at += 2) {
    const name = (head[at] as string).toLowerCase();
    if (name === 'x-accel-buffering') buffering = at;
    else if (name === 'cache-control') caching = at;
  }
  if (buffering === -1) head.push('X-Accel-Buffering', 'no');
  if (!Object.hasOwn(res, 'write')) return;
  if (caching === -1) head.push('Cache-Control', 'no-transform');
  else if (!/(?:^|[\s,])no-transform(?:[\s,]|$)/i.test(head[caching + 1] as string)) head[caching + 1] += ', no-transform';
}
