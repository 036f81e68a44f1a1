import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as ask, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { IssuerKeys } from '../../lib/keys/jwks.ts';
import { OutboundProxy, systemClock } from '../../lib/platform/platform.ts';
import { newapiSink } from '../../lib/sinks/newapi.ts';
import { WebhookClient } from '../../lib/telemetry/telemetry.ts';
import type { TestLike } from '../support/client.ts';
import { recorder } from '../support/gate.ts';
import { shared } from '../support/shared.ts';

/** A server that answers all, and a proxy that leads everything to it, whatever name it is asked for. */
const scene = shared(async (scope) => {
  const reached: string[] = [];
  const port = await listening(scope, createServer((req, res) => {
    reached.push(`${req.method} ${req.url}`);
    req.resume().on('end', () => res.setHeader('content-type', 'application/json').end('{"keys":[]}'));
  }));
  const proxied: string[] = [];
  const proxy = createServer((req, res) => {
    const url = new URL(req.url ?? '');
    proxied.push(`${url.host}${auth(req)}`);
    req.pipe(ask({ port, host: '127.0.0.1', method: req.method, path: url.pathname }, (answer) => answer.pipe(res.writeHead(answer.statusCode ?? 0, answer.headers))));
  }).on('connect', (req: IncomingMessage, socket: Socket) => {
    proxied.push(`${req.url}${auth(req)}`);
    const to = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      to.pipe(socket).pipe(to);
    });
    for (const each of [socket, to]) each.on('error', () => to.destroy());
  });
  return { reached, proxied, port, proxyPort: await listening(scope, proxy) };
});

const auth = (req: IncomingMessage): string => (req.headers['proxy-authorization'] === undefined ? '' : ` ${req.headers['proxy-authorization']}`);

async function listening(scope: TestLike, server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

const record = { source: 'gate', request_id: '01a22ace-b517-7000-bf9c-c4a327478a39', would_refuse: [], outcome: 'served', timestamp: 0, response_time: 0 } as never;

/** Connections beside those to targets, each to a URL. */
const sides: Readonly<Record<string, (url: string, proxies: OutboundProxy) => Promise<unknown>>> = {
  'an alert': async (url, proxies) => {
    const client = new WebhookClient(`${url}/hook`, 5000, proxies);
    await client.post('{}', {}, new AbortController().signal);
    await client.close();
  },
  'the NewAPI sink': async (url, proxies) => {
    const sink = newapiSink({ url, select: 'all', rawToken: null, maxRate: 10, clock: systemClock, proxies });
    await sink.deliver([record], new AbortController().signal);
    await sink.close?.();
  },
  'the issuer\'s keys': async (url, proxies) => {
    const keys = new IssuerKeys({ clock: systemClock, log: recorder(), proxies }, `${url}/jwks`, () => undefined);
    const find = async (): Promise<never> => {
      throw new Error('no such key');
    };
    await keys.find(() => Object.assign(find, { jwks: () => ({ keys: [] }) }) as never, { alg: 'RS256' }, { payload: '', signature: '' }).catch(() => undefined);
  },
};

describe('a connection beside those to targets', () => {
  for (const [name, go] of Object.entries(sides)) {
    for (const [how, user, noProxy, isProxied] of [['through the proxy', '', '', true], ['with the proxy\'s password', 'us%40er:pass@', '', true], ['not for another name', '', 'other.test,x.test', true], ['directly where NO_PROXY lists it', '', '127.0.0.1', false]] as const) {
      it(`goes ${how}: ${name}`, async () => {
        const { reached, proxied, port, proxyPort } = await scene();
        const before = [reached.length, proxied.length] as const;
        const host = isProxied ? 'outside.test' : '127.0.0.1';
        await go(`http://${host}:${port}`, new OutboundProxy({ http: `http://${user}127.0.0.1:${proxyPort}`, https: null, noProxy }));
        assert.equal(reached.length, before[0] + 1);
        assert.deepEqual(proxied.slice(before[1]), isProxied ? [`outside.test:${port}${user === '' ? '' : ` Basic ${Buffer.from('us@er:pass').toString('base64')}`}`] : []);
      });
    }
  }
});
