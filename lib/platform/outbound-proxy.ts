import { request, type IncomingMessage } from 'node:http';
import { request as secureRequest } from 'node:https';
import { BlockList, isIP, type Socket } from 'node:net';

/** A proxy on the way to an upstream. */
export interface ProxyHop {
  /** `http:` or `https:`. */
  readonly url: URL;
  /** Value of `Proxy-Authorization` (RFC 7617), or null. SECURITY: a secret. */
  readonly authorization: string | null;
}

/** Values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. The URLs are valid and have the scheme http or https. */
export interface ProxyVariables {
  readonly http: string | null;
  readonly https: string | null;
  readonly noProxy: string;
}

interface Exception {
  /** Lower case, without a leading `*.` or `.`; empty for every host. */
  readonly name: string;
  /** Null for every port. */
  readonly port: number | null;
  /** `*.name` excludes the name itself. */
  readonly subdomainsOnly: boolean;
}

/** Chooses the proxy of a connection, as curl and Node do: by the scheme of the target, unless `NO_PROXY` lists its host. */
export class OutboundProxy {
  readonly #http: ProxyHop | null;
  readonly #https: ProxyHop | null;
  readonly #exceptions: readonly Exception[];
  readonly #networks = new BlockList();

  constructor({ http, https, noProxy }: ProxyVariables) {
    this.#http = http === null ? null : hop(http);
    this.#https = https === null ? null : hop(https);
    this.#exceptions = noProxy.split(/[,\s]+/).filter((entry) => entry !== '' && !this.#addNetwork(entry)).map(exceptionOf);
  }

  /** The proxy for connections to an http or https URL, or null for a direct connection. */
  hopTo({ protocol, hostname, port }: URL): ProxyHop | null {
    const secure = protocol === 'https:';
    const proxy = secure ? this.#https : this.#http;
    if (proxy === null) return null;
    const name = unbracketed(hostname.toLowerCase()).replace(/(?<=.)\.$/, '');
    const number = port === '' ? (secure ? 443 : 80) : Number(port);
    const family = isIP(name);
    if (family !== 0 && this.#networks.check(name, family === 6 ? 'ipv6' : 'ipv4')) return null;
    return this.#exceptions.some((exception) => covers(exception, name, number)) ? null : proxy;
  }

  /** @returns whether the entry is an address or a CIDR. */
  #addNetwork(entry: string): boolean {
    const [address = '', prefix] = unbracketed(entry).split('/');
    const family = isIP(address);
    if (family === 0) return false;
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : Number(prefix);
    if (!Number.isInteger(length) || length < 0 || length > bits) return false;
    this.#networks.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
    return true;
  }
}

function hop(text: string): ProxyHop {
  const url = new URL(text);
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { url, authorization: user === ':' ? null : `Basic ${Buffer.from(user).toString('base64')}` };
}

const unbracketed = (name: string): string => name.replace(/^\[(.+)\]$/, '$1');

function exceptionOf(entry: string): Exception {
  const [, name = entry, port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
  const plain = unbracketed(name.toLowerCase()).replace(/^\*?\./, '').replace(/(?<=.)\.$/, '');
  return { name: plain === '*' ? '' : plain, port: port === undefined ? null : Number(port), subdomainsOnly: name.startsWith('*.') };
}

function covers({ name, port, subdomainsOnly }: Exception, host: string, number: number): boolean {
  if (port !== null && port !== number) return false;
  return name === '' || (host === name && !subdomainsOnly) || host.endsWith(`.${name}`);
}

/**
 * Opens a tunnel through a proxy (CONNECT, RFC 9110 §9.3.6).
 * @param authority host and port of the other end.
 * @param timeout milliseconds for the whole handshake with the proxy.
 * @param done called once.
 */
export function openTunnel({ url, authorization }: ProxyHop, authority: string, timeout: number, done: (error: Error | null, socket: Socket | null) => void): void {
  const connect = (url.protocol === 'https:' ? secureRequest : request)({
    method: 'CONNECT',
    host: unbracketed(url.hostname),
    port: url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port),
    path: authority,
    headers: { host: authority, ...(authorization === null ? {} : { 'proxy-authorization': authorization }) },
    agent: false,
  });
  const timer = setTimeout(() => connect.destroy(new Error('the proxy did not answer in time')), timeout);
  let over = false;
  const end = (error: Error | null, socket: Socket | null): void => {
    clearTimeout(timer);
    if (over) return;
    over = true;
    done(error, socket);
  };
  connect.on('error', (error) => end(error, null));
  connect.once('connect', (answer: IncomingMessage, socket: Socket, head: Buffer) => {
    const { statusCode = 0 } = answer;
    if (statusCode >= 200 && statusCode < 300 && !over) {
      if (head.length > 0) socket.unshift(head);
      return end(null, socket);
    }
    socket.on('error', () => undefined).destroy();
    end(new Error(`the proxy refused the tunnel with ${statusCode}`), null);
  });
  connect.end();
}
