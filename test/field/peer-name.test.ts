import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createPlain, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createSecureContext, type TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import { stringify } from 'yaml';
import { ConfigError, type ConfigInput, type GateOptions } from '../../lib/index.ts';
import { OutboundProxy } from '../../lib/platform/platform.ts';
import { warningsOf } from '../../lib/config/load.ts';
import { load as loadYaml } from '../config/tools.ts';
import { authority, noOpenssl, type Authority, type Certificate } from '../support/authority.ts';
import { request, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { shared } from '../support/shared.ts';
import { nowhere } from '../support/upstream.ts';
import { dial } from '../support/websocket.ts';

/** What an upstream saw of a request. */
interface Seen {
  readonly name: string | false | null;
  readonly host: string | undefined;
  readonly url: string | undefined;
  readonly authorization: string | undefined;
  /** Whether the client showed a certificate of the authority. */
  readonly known: boolean;
}

interface SecureUpstream {
  readonly port: number;
  readonly seen: Seen[];
  /** TLS connections so far. */
  connections(): number;
}

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
const key = { Authorization: 'Bearer sk-of-the-caller' };

/** The engines by the request that goes through each; every one resolves to a status. */
const engines: Readonly<Record<string, (gate: RunningGate, host: string) => Promise<number>>> = {
  // First, since a target that has answered a request is not probed.
  probe: async ({ url }, Host) => (await request(`${url}/health/ready`, { headers: { Host } })).status,
  dispatch: async ({ url }, Host) => (await request(`${url}/v1/chat/completions`, { body: chat, headers: { ...key, Host, 'Content-Type': 'application/json' } })).status,
  passthrough: async ({ url }, Host) => (await request(`${url}/api/status`, { headers: { Host } })).status,
  websocket: ({ url }, Host) => opened(`${url}/v1/realtime?model=m`, { ...key, Host }),
};

async function opened(url: string, headers: Record<string, string>): Promise<number> {
  try {
    const { socket, closed } = await dial(url, { headers });
    socket.close();
    await closed;
    return 200;
  } catch (error) {
    return Number(/response: (\d+)/.exec(String(error))?.[1] ?? 0);
  }
}

function answer(seen: Seen[]): RequestListener {
  return (req, res) => {
    note(seen, req);
    res.setHeader('content-type', 'application/json').end('{"id":"1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}');
  };
}

function note(seen: Seen[], { socket, headers, url }: IncomingMessage): void {
  const { servername, authorized } = socket as TLSSocket & { servername?: string | false };
  seen.push({ name: servername ?? null, host: headers.host, url, authorization: headers.authorization, known: authorized });
}

async function listening(t: TestLike, server: Server, seen: Seen[]): Promise<number> {
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket, req) => {
    note(seen, req);
    socket.on('close', () => socket.terminate());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const client of sockets.clients) client.terminate();
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A TLS server with a virtual host for each name in `hosts`; the first answers where SNI names none. */
async function secureUpstream(t: TestLike, hosts: Readonly<Record<string, Certificate>>, options: ServerOptions = {}): Promise<SecureUpstream> {
  const seen: Seen[] = [];
  let connections = 0;
  const [first] = Object.values(hosts) as [Certificate];
  const server = createServer({
    cert: first.cert,
    key: first.key,
    SNICallback: (name, done) => {
      const { cert, key } = hosts[name] ?? first;
      done(null, createSecureContext({ cert, key, ca: options.ca }));
    },
    ...options,
  }, answer(seen));
  server.on('secureConnection', () => connections++);
  return { port: await listening(t, server, seen), seen, connections: () => connections };
}

const startFor = (t: TestLike, newapi: ConfigInput['newapi'], config: ConfigInput = {}, options: GateOptions = {}): Promise<RunningGate> =>
  startGate(t, { ...config, newapi: { timeout: '5s', ...newapi }, llm: { healthCheck: { enabled: true, interval: '1h' }, retry: { maxRetries: 0 }, timeouts: { firstByte: '5s' }, ...config.llm } }, options);

const hosts = ['attacker.example', 'attacker.example:443', 'ATTACKER.example', 'localhost', 'localhost.attacker.example', 'xn--gte-8na.example', '127.0.0.1', '[::1]:8443', '198.51.100.7:80', 'a', 'api.openai.com', `${'long'.repeat(15)}.example`];

describe('the name of a TLS upstream', { skip: noOpenssl }, () => {
  const made = shared(async (scope) => {
    const { caPath, issue } = authority(scope);
    const upstream = await secureUpstream(scope, { localhost: issue('DNS:localhost'), 'attacker.example': issue('DNS:attacker.example') });
    const newapi = { baseUrl: `https://localhost:${upstream.port}`, caPath };
    return { upstream, newapi, client: await startFor(scope, newapi), target: await startFor(scope, { ...newapi, host: 'target' }) };
  });

  for (const [engine, send] of Object.entries(engines)) {
    it(`is the configured one on ${engine}, whatever Host the client sends`, async () => {
      const { upstream, client } = await made();
      const [before, connected] = [upstream.seen.length, upstream.connections()];
      for (const host of hosts) assert.equal(await send(client, host), 200, host);
      const seen = upstream.seen.slice(before);
      assert.deepEqual([...new Set(seen.map(({ name }) => name))], ['localhost']);
      if (engine === 'probe') return assert.deepEqual([...new Set(seen.map(({ host }) => host))], [`localhost:${upstream.port}`]);
      assert.deepEqual(seen.map(({ host }) => host).filter((host) => host !== `localhost:${upstream.port}`), hosts);
      if (engine !== 'websocket') assert.ok(upstream.connections() - connected <= 3, 'another Host costs no connection');
    });

    it(`is sent as Host on ${engine} with host: target`, async () => {
      const { upstream, target } = await made();
      const before = upstream.seen.length;
      for (const host of hosts.slice(0, 3)) assert.equal(await send(target, host), 200, host);
      assert.deepEqual([...new Set(upstream.seen.slice(before).map(({ name, host }) => `${name} ${host}`))], [`localhost localhost:${upstream.port}`]);
    });
  }

  it('keeps an upstream_credential from the virtual host that a client names', async (t) => {
    const { upstream, newapi } = await made();
    const before = upstream.seen.length;
    const digest = createHash('sha256').update('sk-of-the-caller').digest('hex');
    const gate = await startFor(t, newapi, { auth: { mode: 'keys', keys: [{ name: 'a', sha256: digest, upstreamCredential: 'sk-granted' }] } });
    for (const [engine, send] of Object.entries(engines)) assert.equal(await send(gate, 'attacker.example'), 200, engine);
    assert.deepEqual([...new Set(upstream.seen.slice(before).map(({ name }) => name))], ['localhost']);
    assert.equal(upstream.seen.slice(before).filter(({ authorization }) => authorization === 'Bearer sk-granted').length, 2);
  });
});

/** Connection keys that must connect, and those that must not: no request may reach a server whose certificate does not fit. */
const connections: Readonly<Record<string, { readonly newapi: (made: Made) => ConfigInput['newapi']; readonly name?: string | false; readonly server?: (made: Made) => ServerOptions; readonly known?: boolean; readonly fails?: true }>> = {
  'without the CA': { newapi: ({ url }) => ({ baseUrl: url }), fails: true },
  'with the CA': { newapi: ({ url, ca }) => ({ baseUrl: url, caPath: ca.caPath }), name: 'localhost' },
  'with another CA': { newapi: ({ url, other }) => ({ baseUrl: url, caPath: other.caPath }), fails: true },
  'by address, which the certificate holds': { newapi: ({ port, ca }) => ({ baseUrl: `https://127.0.0.1:${port}`, caPath: ca.caPath }), name: false },
  'with server_name': { newapi: ({ port, ca }) => ({ baseUrl: `https://127.0.0.1:${port}`, caPath: ca.caPath, serverName: 'newapi.test' }), name: 'newapi.test' },
  'with a server_name in other letters': { newapi: ({ url, ca }) => ({ baseUrl: url, caPath: ca.caPath, serverName: 'NEWAPI.test' }), name: 'newapi.test' },
  'with a server_name that no certificate holds': { newapi: ({ url, ca }) => ({ baseUrl: url, caPath: ca.caPath, serverName: 'third.test' }), fails: true },
  'with the client certificate that is asked for': {
    newapi: ({ url, ca, client }) => ({ baseUrl: url, caPath: ca.caPath, certPath: client.certPath, keyPath: client.keyPath }),
    server: ({ ca }) => ({ requestCert: true, rejectUnauthorized: true, ca: ca.ca }), name: 'localhost', known: true,
  },
  'without the client certificate that is asked for': { newapi: ({ url, ca }) => ({ baseUrl: url, caPath: ca.caPath }), server: ({ ca }) => ({ requestCert: true, rejectUnauthorized: true, ca: ca.ca }), fails: true },
  'with a client certificate of another CA': {
    newapi: ({ url, ca, stranger }) => ({ baseUrl: url, caPath: ca.caPath, certPath: stranger.certPath, keyPath: stranger.keyPath }),
    server: ({ ca }) => ({ requestCert: true, rejectUnauthorized: true, ca: ca.ca }), fails: true,
  },
};

interface Made {
  readonly url: string;
  readonly port: number;
  readonly ca: Authority;
  readonly other: Authority;
  readonly client: Certificate;
  readonly stranger: Certificate;
}

describe('a TLS upstream', { skip: noOpenssl }, () => {
  const certificates = shared(async (scope) => {
    const [ca, other] = [authority(scope), authority(scope)];
    return { ca, other, hosts: { localhost: ca.issue('DNS:localhost', 'IP:127.0.0.1'), 'newapi.test': ca.issue('DNS:newapi.test') }, client: ca.issue('DNS:client'), stranger: other.issue('DNS:client') };
  });

  for (const [what, { newapi, name, server, known, fails }] of Object.entries(connections)) {
    it(`${fails ? 'is not reached' : 'is reached'} ${what}`, async (t) => {
      const { hosts, ...issued } = await certificates();
      const upstream = await secureUpstream(t, hosts, server?.({ ca: issued.ca } as Made) ?? {});
      const made: Made = { url: `https://localhost:${upstream.port}`, port: upstream.port, ...issued };
      const gate = await startFor(t, newapi(made));
      for (const [engine, send] of Object.entries(engines)) {
        const status = await send(gate, 'gate.example');
        if (fails) assert.ok(status >= 502 && status <= 504, `${engine}: ${status}`);
        else assert.equal(status, 200, engine);
      }
      if (fails) return assert.deepEqual(upstream.seen, []);
      assert.deepEqual([...new Set(upstream.seen.map((each) => each.name))], [name]);
      assert.deepEqual([...new Set(upstream.seen.map((each) => each.known))], [known ?? false]);
    });
  }

  it('of a target of its own has its own connection keys', async (t) => {
    const { ca, client, hosts } = await certificates();
    const upstream = await secureUpstream(t, hosts, { requestCert: true, rejectUnauthorized: true, ca: ca.ca });
    const sha256 = createHash('sha256').update('sk-of-the-caller').digest('hex');
    const keys = { caPath: ca.caPath, certPath: client.certPath, keyPath: client.keyPath };
    const endpoint = `https://localhost:${upstream.port}/v1`;
    for (const [host, expected] of [['target', `localhost:${upstream.port}`], ['client', 'gate.example'], [undefined, `localhost:${upstream.port}`]] as const) {
      const gate = await startFor(t, { baseUrl: await nowhere() }, { llm: { provider: 'mine', endpoint, apiKey: 'sk-ours', host, ...keys, healthCheck: { enabled: false } }, auth: { mode: 'keys', keys: [{ name: 'a', sha256 }] } });
      assert.equal(await engines['dispatch']?.(gate, 'gate.example'), 200);
      const { name, host: sent, authorization } = upstream.seen.at(-1) as Seen;
      assert.deepEqual([name, sent, authorization], ['localhost', expected, 'Bearer sk-ours']);
    }
  });
});

/** A proxy that tunnels and forwards. */
interface Proxy {
  readonly url: string;
  /** Targets of CONNECT, and URLs of forwarded requests, each with its `Proxy-Authorization`. */
  readonly tunnels: string[];
  readonly forwards: string[];
}

async function startProxy(t: TestLike, refusal: number | null = null): Promise<Proxy> {
  const tunnels: string[] = [];
  const forwards: string[] = [];
  const auth = (req: IncomingMessage): string => (req.headers['proxy-authorization'] === undefined ? '' : ` ${req.headers['proxy-authorization']}`);
  const server = createPlain((req: IncomingMessage, res: ServerResponse) => {
    forwards.push(`${req.url}${auth(req)}`);
    res.setHeader('content-type', 'application/json').end('{"id":"1","choices":[]}');
  });
  const sockets = new Set<Socket>();
  server.on('connect', (req: IncomingMessage, socket: Socket) => {
    tunnels.push(`${req.url}${auth(req)}`);
    if (refusal !== null) return void socket.end(`HTTP/1.1 ${refusal} No\r\ncontent-length: 0\r\n\r\n`);
    const [, port] = /:(\d+)$/.exec(req.url ?? '') ?? [];
    const other = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(other).pipe(socket);
    });
    for (const [one, two] of [[socket, other], [other, socket]] as const) {
      sockets.add(one);
      one.on('error', () => two.destroy()).on('close', () => two.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    server.closeAllConnections();
  });
  return { url: `127.0.0.1:${(server.address() as AddressInfo).port}`, tunnels, forwards };
}

const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];

/** Sets the proxy variables of this process until the test ends. */
function environment(t: TestLike, variables: Readonly<Record<string, string>>): void {
  const before = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) delete process.env[name];
  Object.assign(process.env, variables);
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

describe('an outbound proxy', { skip: noOpenssl }, () => {
  const secure = shared(async (scope) => {
    const ca = authority(scope);
    return { ca, client: ca.issue('DNS:client'), hosts: { localhost: ca.issue('DNS:localhost') } };
  });

  /** Sends a request through each engine of a gate, and hands on what came of it alone. */
  async function eachEngine(gate: RunningGate, host: string, seen: readonly Seen[], proxy: Proxy, check: (engine: string, status: number, seen: readonly Seen[], tunnels: readonly string[], forwards: readonly string[]) => void): Promise<void> {
    for (const [engine, send] of Object.entries(engines)) {
      const [seenBefore, tunnelled, forwarded] = [seen.length, proxy.tunnels.length, proxy.forwards.length];
      const status = await send(gate, host);
      check(engine, status, seen.slice(seenBefore), proxy.tunnels.slice(tunnelled), proxy.forwards.slice(forwarded));
    }
  }

  for (const [engine, send] of Object.entries(engines)) {
    it(`tunnels ${engine} to an https upstream, which keeps its name and certificate`, async (t) => {
      const { ca, client, hosts } = await secure();
      const upstream = await secureUpstream(t, hosts, { requestCert: true, rejectUnauthorized: true, ca: ca.ca });
      const proxy = await startProxy(t);
      environment(t, { HTTPS_PROXY: `http://us%40er:pass@${proxy.url}` });
      const gate = await startFor(t, { baseUrl: `https://localhost:${upstream.port}`, caPath: ca.caPath, certPath: client.certPath, keyPath: client.keyPath }, {}, { standalone: true });
      assert.equal(await send(gate, 'attacker.example'), 200);
      const tunnel = `localhost:${upstream.port} Basic ${Buffer.from('us@er:pass').toString('base64')}`;
      assert.deepEqual([...new Set(proxy.tunnels)], [tunnel]);
      assert.deepEqual([...new Set(upstream.seen.map(({ name, known }) => `${name} ${known}`))], ['localhost true']);
    });
  }

  it('is asked by each engine for an http upstream in absolute form, and for a tunnel where it is upgraded', async (t) => {
    const seen: Seen[] = [];
    const port = await listening(t, createPlain(answer(seen)), seen);
    const proxy = await startProxy(t);
    environment(t, { http_proxy: proxy.url });
    const gate = await startFor(t, { baseUrl: `http://newapi.test:${port}` }, { proxy: 'environment' });
    await eachEngine(gate, 'attacker.example', seen, proxy, (engine, status, reached, tunnels, forwards) => {
      assert.equal(status, 200, engine);
      if (engine === 'websocket') return assert.deepEqual([tunnels, reached.length], [[`newapi.test:${port}`], 1]);
      assert.ok(forwards.length > 0 && forwards.every((url) => url.startsWith(`http://newapi.test:${port}/`)), `${engine}: ${forwards.join()}`);
    });
  });

  for (const [engine, send] of Object.entries(engines)) {
    it(`that refuses is a failure of ${engine}, and no reason to connect directly`, async (t) => {
      const { ca, hosts } = await secure();
      const upstream = await secureUpstream(t, hosts);
      const proxy = await startProxy(t, 407);
      environment(t, { https_proxy: proxy.url });
      const gate = await startFor(t, { baseUrl: `https://localhost:${upstream.port}`, caPath: ca.caPath }, {}, { standalone: true });
      const status = await send(gate, 'gate.example');
      assert.ok(status === 502 || status === 503, String(status));
      assert.deepEqual([upstream.seen, proxy.tunnels.length > 0], [[], true]);
    });
  }

  for (const [why, variables, config, standalone] of [
    ['an embedding host', {}, {}, false],
    ['NO_PROXY', { NO_PROXY: 'other.test, localhost' }, {}, true],
    ['proxy: off', {}, { proxy: 'off' }, true],
  ] as const) {
    it(`is passed by with ${why} on each engine`, async (t) => {
      const { ca, hosts } = await secure();
      const upstream = await secureUpstream(t, hosts);
      const proxy = await startProxy(t);
      environment(t, { HTTPS_PROXY: `http://${proxy.url}`, ...variables });
      const gate = await startFor(t, { baseUrl: `https://localhost:${upstream.port}`, caPath: ca.caPath }, config, { standalone });
      await eachEngine(gate, 'gate.example', upstream.seen, proxy, (engine, status, reached, tunnels) => {
        assert.deepEqual([status, tunnels], [200, []], engine);
        assert.ok(reached.length > 0, engine);
      });
    });
  }
});

describe('NO_PROXY', () => {
  const cases: readonly (readonly [entry: string, url: string, direct: boolean])[] = [
    ['', 'https://a.test', false],
    ['*', 'https://a.test', true],
    ['*:8443', 'https://a.test:8443', true],
    ['*:8443', 'https://a.test', false],
    ['a.test', 'https://a.test', true],
    ['a.test', 'https://b.a.test', true],
    ['a.test', 'https://ba.test', false],
    ['.a.test', 'https://a.test', true],
    ['*.a.test', 'https://a.test', false],
    ['*.a.test', 'https://b.a.test', true],
    ['A.Test.', 'https://a.test', true],
    ['a.test:443', 'https://a.test', true],
    ['a.test:80', 'https://a.test', false],
    ['x, 10.0.0.0/8 y', 'http://10.1.2.3:3000', true],
    ['10.0.0.0/8', 'http://11.1.2.3', false],
    ['127.0.0.1', 'http://127.0.0.1:3000', true],
    ['::1', 'http://[::1]:3000', true],
    ['[::1]:3000', 'http://[::1]:3000', true],
    ['fd00::/8', 'https://[fd12::1]', true],
    ['localhost', 'http://127.0.0.1', false],
  ];
  for (const [noProxy, url, direct] of cases) {
    it(`${JSON.stringify(noProxy)} ${direct ? 'excepts' : 'does not except'} ${url}`, () => {
      const proxies = new OutboundProxy({ http: 'http://p:1', https: 'http://p:1', noProxy });
      assert.equal(proxies.hopTo(new URL(url)) === null, direct);
    });
  }
});

describe('the check of connection keys', { skip: noOpenssl }, () => {
  const load = (newapi: ConfigInput['newapi'], llm: ConfigInput['llm'] = {}): readonly string[] => {
    try {
      return warningsOf(loadYaml(stringify({ newapi, llm })));
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.message.split('\n');
    }
  };

  it('names what is wrong with each file', (t) => {
    const [ca, other] = [authority(t), authority(t)];
    const [one, two] = [ca.issue('DNS:a'), other.issue('DNS:b')];
    const base = { base_url: 'https://localhost:1', host: 'target' } as object;
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ ca_path: '/nowhere/ca.crt' }, /^newapi\.ca_path: expected a readable file, got "\/nowhere\/ca\.crt" \(no such file\)/],
      [{ ca_path: one.keyPath }, /^newapi\.ca_path: expected a PEM file of certificates, got .* which holds a private key\.$/],
      [{ cert_path: one.certPath }, /^newapi\.cert_path: expected key_path as well, got nothing/],
      [{ key_path: one.keyPath }, /^newapi\.key_path: expected cert_path as well, got nothing/],
      [{ cert_path: one.keyPath, key_path: one.keyPath }, /^newapi\.cert_path: expected a PEM file of certificates/],
      [{ cert_path: one.certPath, key_path: one.certPath }, /^newapi\.key_path: expected a PEM file of a private key without a passphrase/],
      [{ cert_path: one.certPath, key_path: two.keyPath }, /^newapi\.key_path: expected the private key of the certificate in cert_path, got .* belongs to another certificate/],
      [{ server_name: '192.0.2.1' }, /^newapi\.server_name: expected a host name/],
      [{ host: 'upstream' }, /^newapi\.host: expected client or target, got "upstream"/],
      [{ cert_path: one.certPath, key_path: '/nowhere/key' }, /^newapi\.key_path: expected a readable file/],
    ];
    for (const [keys, expected] of cases) {
      const [line = '', ...more] = load({ ...base, ...keys });
      assert.match(line, expected);
      assert.deepEqual(more, []);
    }
    const [line = ''] = load({ ...base }, { backup_providers: [{ provider: 'openai', api_key: '${A:-sk-1}', ca_path: '/nowhere' }] } as object);
    assert.match(line, /^llm\.backup_providers\[0\]\.ca_path: expected a readable file/);
  });

  it('warns where the Host and the name of the certificate can differ, and of keys without effect', (t) => {
    const ca = authority(t);
    assert.match(load({ base_url: 'https://newapi.test' } as object).join(), /^newapi\.host: the client's Host is sent to newapi\.test over TLS/);
    assert.deepEqual(load({ base_url: 'https://newapi.test', host: 'target' } as object), []);
    assert.match(load({ base_url: 'https://newapi.test', host: 'target', server_name: 'b.test' } as object).join(), /^newapi\.server_name: the Host header names newapi\.test and TLS names b\.test/);
    assert.match(load({ ca_path: ca.caPath } as object).join(), /^newapi\.ca_path: has no effect, because localhost:3000 is reached over http/);
    assert.deepEqual(load({}), []);
    assert.match(load({}, { provider: 'newapi', endpoint: 'https://b.test/v1' }).join(), /^llm\.host: the client's Host is sent to b\.test/);
  });
});
