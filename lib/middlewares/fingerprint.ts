import type { IncomingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { Context, type Core, type GateRequest } from '../request/request.ts';
import { HeimdallError } from '../errors.ts';
import { AddressSet, clientAddress, type ClientAddress, UntrustedProxyDetector, credentialOf, deviceFingerprint, handshakeOf } from '../identity/identity.ts';
import type { Deps, Handler, Middleware } from './middleware.ts';

/** Gives a request its id, its caller and its route, before anyone may refuse it. */
export const fingerprint: Middleware = {
  name: 'fingerprint',
  create(core, deps) {
    const { trustProxy, clientIpHeader } = core.config;
    const trust = new AddressSet(trustProxy);
    const proxies = new UntrustedProxyDetector(core.log, trustProxy, clientIpHeader);
    const handle: Handler = function fingerprintHandler(req, res, next) {
      const context = new Context(core, req, res);
      req.heimdall = context;
      identifyPeer(context, core, trust, proxies);
      const problem = readTarget(context) ?? checkHost(req);
      context.route = deps.routeOf(req.method ?? 'GET', context.path);
      // What it stands for is what is judged: whose credential counts, and where it goes.
      context.path = context.route.upstream ?? context.path;
      // Left while a host's own middleware was busy: no event will tell.
      if (res.destroyed) return context.finish();
      if (problem) return context.fail(problem);
      if (core.closed) return context.fail(new HeimdallError('shutting_down'));
      identifyCaller(context, deps);
      next();
    };
    return { handle };
  },
};

function identifyPeer(context: Context, core: Core, trust: AddressSet, proxies: UntrustedProxyDetector): void {
  const { req } = context;
  const { headers, socket } = req;
  const address = clientAddress(socket.remoteAddress, headers, trust, core.config.clientIpHeader);
  context.ip = address.ip;
  context.peer = address.peer;
  context.forwardedFor = chain(headers, address.peer);
  context.collapsed = proxies.count(address.peer, address.trusted, headers, context.time);
  context.proto = (address.trusted ? scheme(headers) : null) ?? ((socket as TLSSocket).encrypted ? 'https' : 'http');
  context.host = (address.trusted ? firstOf(headers['x-forwarded-host']) : null) ?? headers.host ?? '';
  context.ja4 = ja4(context, address, core.config.ja4Header);
  if (address.trusted) context.country = country(headers['cf-ipcountry']);
  context.deviceSource = () => deviceFingerprint(headers);
}

/** As Cloudflare writes it; `XX` and `T1` are no countries. */
const country = (code: string | string[] | undefined): string | null => (typeof code === 'string' && /^[A-Z]{2}$/.test(code) && code !== 'XX' ? code : null);

/** Characters kept of a chain: its end, which trusted hops wrote. */
const longestChain = 4096;

function chain(headers: IncomingHttpHeaders, peer: string): string {
  const said = headers['x-forwarded-for'] ?? headers.forwarded;
  return said === undefined ? '' : `${String(said).slice(-longestChain)}, ${peer}`;
}

/** A proxy's own handshake says nothing of the client behind it; who is trusted may say it in a header. */
function ja4({ req }: Context, { ip, peer, trusted }: ClientAddress, header: string | null): string | null {
  const said = trusted && header !== null ? req.headers[header] : undefined;
  if (said !== undefined) return fingerprintForm.test(String(said)) ? String(said) : null;
  return (req.socket as TLSSocket).encrypted && ip === peer ? handshakeOf(req.socket) : null;
}

const fingerprintForm = /^[\w,-]{1,128}$/;

function scheme(headers: IncomingHttpHeaders): 'http' | 'https' | null {
  const proto = firstOf(headers['x-forwarded-proto']);
  return proto === 'http' || proto === 'https' ? proto : null;
}

function firstOf(header: string | string[] | undefined): string | null {
  return header === undefined ? null : (String(header).split(',', 1)[0]?.trim() || null);
}

function identifyCaller(context: Context, deps: Deps): void {
  if (!context.route.credential) return;
  const credential = credentialOf(context.req.headers, context.path, context.query);
  if (credential === null) return;
  context.token = deps.identify(credential.value);
  context.ambiguous = credential.ambiguous;
}

/**
 * Brings the target into one form, since the engines below disagree about the others: absolute-form loses its authority
 * (RFC 9112 §3.2.2), the rest is refused. The query is left alone.
 */
function readTarget(context: Context): HeimdallError | null {
  const { req } = context;
  let url = req.url ?? '/';
  let problem: HeimdallError | null = null;
  if (url[0] !== '/') {
    const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(url);
    if (!absolute) return new HeimdallError('invalid_target');
    if (absolute[1]?.toLowerCase() !== req.headers.host?.toLowerCase()) problem = new HeimdallError('invalid_host');
    url = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2] ?? ''}`;
    req.url = url;
  }
  const mark = url.indexOf('?');
  context.query = mark === -1 ? '' : url.slice(mark);
  const raw = mark === -1 ? url : url.slice(0, mark);
  const path = canonical(raw);
  // Even a path that cannot be read tells which dialect its sender speaks.
  context.path = path ?? raw;
  return problem ?? (path === null ? new HeimdallError('invalid_path') : null);
}

const unusual = /%|\/\/|\/\.|[^\x21-\x7e]/;
const control = /\p{Cc}/u;

/**
 * The path by which a request is judged: decoded once, as Go's router does, without empty and dot segments, so that no
 * spelling of a model route passes for something else. What is forwarded is the path as it came.
 */
function canonical(path: string): string | null {
  if (!unusual.test(path)) return path;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return null;
  }
  if (control.test(decoded)) return null;
  const segments: string[] = [];
  for (const segment of decoded.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}${decoded.endsWith('/') && segments.length > 0 ? '/' : ''}`;
}

/** Node takes the first of several Host headers, other servers the last. */
function checkHost(req: GateRequest): HeimdallError | null {
  const { rawHeaders } = req;
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  return hosts === 1 || (hosts === 0 && req.httpVersionMinor === 0) ? null : new HeimdallError('invalid_host');
}
