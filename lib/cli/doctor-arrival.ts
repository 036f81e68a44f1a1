import { readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Config } from '../../types/config.d.ts';
import { AddressSet, doctorProof, secretFileOf } from '../identity/identity.ts';
import { codeOf, systemClock } from '../platform/platform.ts';
import { whyUnreadable, writeDuration } from '../values/values.ts';
import { fail, ok, warn, type Check, type Finding } from './doctor-check.ts';

/** Time between the two parts of the gate's answer below which they were held back together, milliseconds. The gate waits 600. */
const heldBack = 300;
const cloudflare = new AddressSet(['cloudflare']);

/** What the gate says of a request's arrival. */
interface Arrival {
  readonly ip: string;
  readonly peer: string;
  readonly port: number | null;
  readonly http: string;
  readonly trust_proxy: readonly string[];
  readonly client_ip_header: string | null;
  readonly named: string | null;
  readonly forwarded_for: string | null;
  readonly real_ip: string | null;
  readonly cloudflare: string | null;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** Time between its first and its last bytes, milliseconds. */
  readonly spread: number;
  readonly localPort: number | undefined;
  /** Why a client would refuse the certificate, or null. */
  readonly distrust: string | null;
}

/** How a request by the public URL arrives at the gate. */
export const arrivalCheck = (config: Config, url: URL): Check => ({ name: 'url', run: (signal) => arrival(config, url, signal) });

async function arrival(config: Config, url: URL, signal: AbortSignal): Promise<readonly Finding[]> {
  const { endpoints: { health } } = config;
  const secret = secretOf(config);
  const path = `${url.pathname.replace(/\/$/, '')}${health === false ? '' : `${health}/doctor`}` || '/';
  const proof = secret.value === null ? {} : { 'X-Heimdall-Doctor': doctorProof(secret.value, systemClock.now()) };
  let answer: Answer;
  try {
    answer = await answerOf(new URL(path, url), proof, signal);
  } catch (error) {
    return [fail('url', `${url.origin} cannot be reached (${codeOf(error)})`, 'see the DNS name, the firewall and the proxy in front')];
  }
  const facts = factsIn(answer.text);
  const found = facts === null ? untold(answer, url, health === false ? 'endpoints.health is false' : secret.why) : [reached(answer, url), addressOf(facts, answer), httpOf(facts), bufferingOf(answer)];
  return [...found, ...(answer.distrust === null ? [] : [warn('url certificate', `clients would refuse it (${answer.distrust})`, 'a certificate of a public authority, with its chain, for this name')]), limitOf(config, answer)];
}

/** The install secret, which is not made where it is missing. */
function secretOf({ secret, audit }: Config): { readonly value: string | null; readonly why: string } {
  if (secret !== null) return { value: secret, why: '' };
  if (!audit.enabled) return { value: null, why: 'without a journal the gate keeps its secret to itself; set HEIMDALL_SECRET for both' };
  const path = secretFileOf(audit.path);
  try {
    return { value: readFileSync(path, 'utf8').trim(), why: '' };
  } catch (error) {
    return { value: null, why: `${path} cannot be read (${whyUnreadable(error)}); run this as the user of the gate, where it runs` };
  }
}

/** SECURITY: the proof shows nothing and is good for minutes, so that a certificate which does not fit is told of instead of ending all. */
function answerOf(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { headers: { Accept: 'text/event-stream', 'Accept-Encoding': 'identity', ...headers }, agent: false, signal } as const;
    const asking = url.protocol === 'https:' ? secureRequest(url, { ...options, rejectUnauthorized: false }) : request(url, options);
    asking.once('error', reject).once('response', (answer) => {
      const { statusCode: status = 0, headers: answered } = answer;
      const socket = answer.socket as Socket & Partial<TLSSocket>;
      const { localPort } = socket;
      const distrust = url.protocol === 'https:' && socket.authorized === false ? String(socket.authorizationError ?? 'unknown') : null;
      let text = '';
      let first = 0;
      let last = 0;
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        last = performance.now();
        if (text === '') first = last;
        text += chunk;
        if (text.length > 65_536) answer.destroy(new Error('its answer is too long'));
      }).once('error', reject).once('end', () => resolve({ status, headers: answered, text, spread: last - first, localPort, distrust }));
    });
    asking.end();
  });
}

function factsIn(text: string): Arrival | null {
  try {
    const facts = JSON.parse(/^data: (\{.*\})$/m.exec(text)?.[1] ?? 'null') as Partial<Arrival> | null;
    return typeof facts?.ip === 'string' && typeof facts.peer === 'string' && Array.isArray(facts.trust_proxy) ? (facts as Arrival) : null;
  } catch {
    return null;
  }
}

const reached = ({ status }: Answer, { origin }: URL): Finding => ok('url', `${origin} reaches the gate (${status})`);

/** @param why why the gate was not asked in a way that it answers, or an empty text. */
function untold({ status }: Answer, { origin }: URL, why: string): readonly Finding[] {
  if (status === 502 || status === 503 || status === 504 || (status >= 520 && status < 530)) return [fail('url', `${origin} answers ${status}: no gate behind it answers`, 'start the gate, and see the address that the proxy passes requests to')];
  return [warn('url', `${origin} answers ${status}; which address the gate sees, buffering and HTTP/1.0 could not be told`, why || 'run this with the configuration and install secret of the gate behind this URL')];
}

/** The address that the gate sees, and why. */
function addressOf({ ip, peer, port, trust_proxy: trust, client_ip_header: header, named, forwarded_for: chain, real_ip: real, cloudflare: byCloudflare }: Arrival, { localPort }: Answer): Finding {
  const name = 'address';
  const seen = `the gate sees ${ip}`;
  const isTrusted = new AddressSet(trust).has(peer);
  const forwarded = [...(header === null || named === null ? [] : [`${header}: ${named}`]), ...(chain === null ? [] : [`X-Forwarded-For: ${chain}`]), ...(real === null ? [] : [`X-Real-IP: ${real}`]), ...(byCloudflare === null ? [] : [`CF-Connecting-IP: ${byCloudflare}`])];
  const wanted = cloudflare.has(peer) ? 'cloudflare' : peer;
  if (!isTrusted && forwarded.length > 0) {
    return warn(name, `${seen}, the peer itself: it is not in trust_proxy, so ${forwarded.join(', ')} is ignored and all callers behind it are one`, `trust_proxy: [${[...trust, wanted].join(', ')}]${wanted === 'cloudflare' ? ' and client_ip_header: cf-connecting-ip' : ''}`);
  }
  if (forwarded.length === 0 && port === localPort) return ok(name, `${seen}, your end of the connection: nothing is in front that ends it`);
  if (forwarded.length === 0) return warn(name, `${seen}, the peer itself: what is in front names no client, so all callers behind it are one`, 'nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; with PROXY protocol: server.proxy_protocol');
  if (cloudflare.has(ip)) return warn(name, `${seen}, an address of Cloudflare, whose callers are then one (${forwarded.join(', ')})`, `trust_proxy: [${[...trust, 'cloudflare'].join(', ')}] and client_ip_header: cf-connecting-ip`);
  const peerIs = `the peer ${peer} is in trust_proxy [${trust.join(', ')}]`;
  if (header !== null && named !== null) return ok(name, `${seen}: ${peerIs}, and client_ip_header ${header} says ${named}`);
  if (chain !== null) return ok(name, `${seen}: ${peerIs}, and X-Forwarded-For (${chain}) is read from the right up to the first that is not`);
  if (real !== null) return ok(name, `${seen}: ${peerIs}, and X-Real-IP says ${real}`);
  return warn(name, `${seen}: ${peerIs}, but only ${forwarded.join(', ')} names the client, which is not read`, 'client_ip_header: cf-connecting-ip');
}

const httpOf = ({ http }: Arrival): Finding =>
  http === '1.0'
    ? warn('http', 'requests arrive as HTTP/1.0: each takes a connection of its own, and no WebSocket passes', 'nginx: proxy_http_version 1.1; proxy_set_header Connection ""')
    : ok('http', `requests arrive as HTTP/${http}`);

const bufferingOf = ({ spread }: Answer): Finding =>
  spread < heldBack
    ? warn('buffering', 'answers are held back until they are complete: streams do not flow', 'nginx: proxy_buffering off, and no proxy_ignore_headers X-Accel-Buffering; others: no buffering or compression of text/event-stream')
    : ok('buffering', 'none: each part of a stream passes at once');

/** What is in front by its headers, and how long it waits for the next byte of an answer by default, milliseconds; null where nothing tells. */
const fronts: readonly (readonly [header: string, value: RegExp, name: string, waits: number, fix: string])[] = [
  ['cf-ray', /./, 'Cloudflare', 100_000, 'llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['x-amz-cf-id', /./, 'CloudFront', 30_000, 'a longer origin response timeout, llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['x-azure-ref', /./, 'Azure Front Door', 30_000, 'a longer origin response timeout, llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['x-served-by', /cache-/, 'Fastly', 15_000, 'longer first byte and between bytes timeouts, llm.stream_prelude_after: 10s and llm.keep_alive_comments: 10s'],
  ['x-vercel-id', /./, 'Vercel', 120_000, 'llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['via', /google/i, "Google's load balancer", 30_000, 'a longer backend service timeout, llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['server', /^cloudflare/i, 'Cloudflare', 100_000, 'llm.stream_prelude_after: 15s and llm.keep_alive_comments: 15s'],
  ['server', /nginx|openresty|tengine/i, 'nginx', 60_000, 'nginx: proxy_read_timeout 1h; proxy_send_timeout 1h'],
];

function limitOf({ llm: { timeouts, streamPreludeAfter, keepAliveComments } }: Config, { headers }: Answer): Finding {
  const name = 'time limits';
  const ours = Math.max(timeouts.firstByte, timeouts.idle);
  const front = fronts.find(([header, value]) => value.test(String(headers[header] ?? '')));
  const shown = ['server', 'via'].flatMap((header) => (headers[header] === undefined ? [] : [`${header}: ${String(headers[header]).slice(0, 100)}`])).join(', ');
  if (front === undefined) return ok(name, `no CDN shows itself in the headers${shown === '' ? '' : ` (${shown})`}; the gate waits ${writeDuration(ours)} for an upstream`);
  const [, , product, waits, fix] = front;
  const keptAlive = Math.max(streamPreludeAfter ?? Infinity, keepAliveComments ?? Infinity);
  const compared = `${product} in front gives up after ${waits / 1000} s without a byte unless told otherwise, the gate waits ${writeDuration(ours)}`;
  if (ours <= waits) return ok(name, compared);
  if (keptAlive < waits) return ok(name, `${compared}; streams are kept alive every ${writeDuration(keptAlive)}`);
  return warn(name, compared, fix);
}
