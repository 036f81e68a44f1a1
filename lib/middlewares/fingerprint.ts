import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Context } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { AddressSet, clientAddress, credentialOf, handshakeOf, remoteOf, UntrustedProxyDetector } from '../identity/identity.ts';
import { headProblem, readPath, type RequestPath } from '../http/http.ts';
import { OwnCredentials } from '../keys/keys.ts';
import type { Deps, Middleware } from './middleware.ts';

/**
 * Connections that end with the answer to a request whose end a proxy in front may have read otherwise (RFC 9112 §6.1): the bytes
 * behind it are not served as a request.
 */
const ending = new WeakSet<Socket>();

/** Finds a request's client address, route and token, before any part may refuse it. */
export const fingerprint: Middleware = {
  name: 'fingerprint',
  create(core, deps) {
    const { trustProxy, clientIpHeader } = core.config;
    const trust = new AddressSet(trustProxy);
    const own = new OwnCredentials(core.config, deps.keys);
    const proxies = new UntrustedProxyDetector(core.log, trustProxy, clientIpHeader);
    return {
      ...(core.config.server.http3.enabled && { every: announceAlternative }),
      handle: function fingerprintHandler(context, next) {
        const { req } = context;
        const isTrusted = identifyPeer(context, trust, proxies);
        const malformed = headProblem(req, req.heimdallUpgrade !== undefined) ?? (ending.has(req.socket) ? new HeimdallError('malformed_request') : null);
        const problem = readTarget(context, deps) ?? malformed ?? (own.isInPath(context.wirePath) ? new HeimdallError('invalid_path') : null);
        // Behind an upgrade that is none, here behind another request, Node drops the rest of the packet: the client must not wait for it.
        const isCut = context.isPipelined && context.headers.upgrade !== undefined;
        if (malformed !== null || isCut || (req.httpVersionMinor === 0 && context.headers['transfer-encoding'] !== undefined)) {
          context.res.shouldKeepAlive = false;
          ending.add(req.socket);
        }
        // HTTP/1.0 knows no interim answers (RFC 9110 §10.1.1).
        if (req.httpVersionMinor === 0) delete context.headers.expect;
        // The route decides which credential is checked and where the request goes, so its own path is the one that is judged.
        if (context.route.upstream !== null) context.path = context.wirePath = context.route.upstream;
        // The client left while a middleware of the host was busy: no event will tell.
        if (context.res.destroyed) return context.finish();
        if (problem) return context.fail(problem);
        if (isTrusted && context.headers['early-data'] !== undefined && mayBeReplayed(context)) return context.fail(new HeimdallError('too_early'));
        if (core.closed) return context.fail(new HeimdallError('shutting_down'));
        if (context.route.credential) {
          context.credential = credentialOf(context.headers, context.path, context.query);
          if (context.credential !== null) context.token = deps.identify(context.credential.value);
        }
        withholdOwn(context, own);
        next();
      },
    };
  },
};

/** RFC 7838 §3: for the origin that the client speaks to by TLS with the gate itself. */
function announceAlternative({ core, req }: Context, head: string[]): void {
  if (core.alternative !== null && (req.socket as TLSSocket).encrypted) head.push('Alt-Svc', core.alternative);
}

/** Characters kept of a forwarded chain: its end, which trusted hops wrote. */
const longestChain = 4096;

/** @returns whether the peer is trusted. */
function identifyPeer(context: Context, trust: AddressSet, proxies: UntrustedProxyDetector): boolean {
  const { headers, core: { config }, req } = context;
  const socket = req.socket as TLSSocket;
  const { ip, peer, trusted } = clientAddress(remoteOf(socket), headers, trust, config.clientIpHeader);
  context.ip = ip;
  context.peer = peer;
  context.proto = socket.encrypted ? 'https' : 'http';
  context.host = headers.host ?? '';
  // A proxy's own handshake says nothing about the client behind it.
  if (socket.encrypted && ip === peer) context.ja4 = handshakeOf(socket);
  const hops = headers['x-forwarded-for'] ?? headers.forwarded;
  if (hops !== undefined) context.forwardedFor = `${String(hops).slice(-longestChain)}, ${peer}`;
  context.collapsed = proxies.count(peer, trusted, headers, context.at);
  if (trusted) believe(context, config.ja4Header);
  return trusted;
}

const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * Whether a request that a peer in front marks as early data must come again, since it may be a copy: it changes something, or opens
 * a WebSocket, or is larger than `server.http3.max_0rtt_size`. Any value of the mark counts as 1 (RFC 8470 §5.1).
 */
function mayBeReplayed({ req, headers, core: { config } }: Context): boolean {
  if (!safe.has(req.method ?? '') || req.heimdallUpgrade !== undefined) return true;
  let size = (req.url ?? '').length + Number(headers['content-length'] ?? 0);
  for (const text of req.rawHeaders) size += text.length;
  return headers['transfer-encoding'] !== undefined || size > config.server.http3.max0rttSize;
}

const ja4Form = /^[\w,-]{1,128}$/;
const countryForm = /^[A-Z]{2}$/;

/** Takes over what a trusted peer says of its client: scheme, host, country (Cloudflare: `XX` is an unknown one), JA4. */
function believe(context: Context, ja4Header: string | null): void {
  const { headers } = context;
  const proto = headers['x-forwarded-proto'] === undefined ? null : firstOf(headers['x-forwarded-proto']);
  if (proto === 'http' || proto === 'https') context.proto = proto;
  if (headers['x-forwarded-host'] !== undefined) context.host = firstOf(headers['x-forwarded-host']) || context.host;
  const country = headers['cf-ipcountry'];
  if (typeof country === 'string' && countryForm.test(country) && country !== 'XX') context.country = country;
  const ja4 = ja4Header === null ? undefined : headers[ja4Header];
  if (ja4 !== undefined) context.ja4 = ja4Form.test(String(ja4)) ? String(ja4) : null;
}

const firstOf = (header: string | string[]): string => (String(header).split(',', 1)[0] as string).trim();

/**
 * Brings the target into origin-form, since the engines below disagree about the other forms: absolute-form loses its authority
 * (RFC 9112 §3.2.2), other forms are refused. The query is left as it is.
 */
function readTarget(context: Context, deps: Deps): HeimdallError | null {
  const { req } = context;
  let url = req.url ?? '/';
  let problem: HeimdallError | null = null;
  if (url[0] !== '/') {
    const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(url);
    if (!absolute) problem = new HeimdallError('invalid_target');
    else if (absolute[1]?.toLowerCase() !== req.headers.host?.toLowerCase()) problem = new HeimdallError('invalid_host');
    const rest = absolute?.[2] ?? '';
    url = rest.startsWith('/') ? rest : `/${rest}`;
    if (absolute) req.url = url;
  }
  const mark = url.indexOf('?');
  context.query = mark === -1 ? '' : url.slice(mark);
  const raw = mark === -1 ? url : url.slice(0, mark);
  const path = context.query.includes('#') ? null : readPath(raw);
  // The path of a refused request still decides the shape of the error.
  context.path = path?.decoded ?? raw;
  context.wirePath = raw;
  context.route = deps.routeOf(req.method ?? 'GET', context.path);
  if (path === null) return problem ?? new HeimdallError('invalid_path');
  if (path.encoded !== raw || /[;?#]/.test(path.decoded)) problem ??= chooseSpelling(context, path, deps);
  return problem;
}

/**
 * SECURITY: a request that needs a credential is sent in the one spelling that all receivers read alike. Any other request is
 * sent as it came, unless a receiver could take its path for one that needs a credential, or for the log receiver of NewAPI.
 */
function chooseSpelling(context: Context, { decoded, encoded, otherwise }: RequestPath, { routeOf, ingestion }: Deps): HeimdallError | null {
  const { route, req } = context;
  const parts = /[;?#]/.test(decoded);
  if (route.credential) {
    context.wirePath = encoded;
    return parts ? new HeimdallError('invalid_path') : null;
  }
  const cut = decoded.replace(/[?#].*/s, '');
  const isProtected = [otherwise, cut].some((path) => routeOf(req.method ?? 'GET', path).credential || ingestion.receiver.test(path));
  return isProtected ? new HeimdallError('invalid_path') : null;
}

/**
 * SECURITY: marks every header, parameter and subprotocol that holds a credential of the gate's own, so that none of them is forwarded. The
 * credential by which a caller is judged is still read from its header.
 */
function withholdOwn(context: Context, own: OwnCredentials): void {
  const { req: { rawHeaders }, query } = context;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    const value = rawHeaders[at + 1] as string;
    if ((value.length >= own.minLength && own.isIn(value)) || (name.length >= own.minLength && own.isIn(name))) (context.withheldHeaders ??= new Set()).add(at);
  }
  if (query.length > own.minLength && own.isIn(query)) {
    const kept = query.slice(1).split('&').filter((pair) => !own.isIn(pair));
    context.withheldQuery = kept.length === 0 ? '' : `?${kept.join('&')}`;
  }
  const protocols = context.headers['sec-websocket-protocol'];
  if (protocols !== undefined && own.isIn(protocols)) context.withheldProtocols = protocols.split(',').filter((item) => !own.isIn(item)).join();
  if (context.withheldHeaders === null && context.withheldQuery === null) return;
  context.withheld = context.credential !== null && own.isIn(context.credential.value);
}
