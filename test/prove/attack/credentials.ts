import { setTimeout as pause } from 'node:timers/promises';
import { startIssuer } from '../../support/issuer.ts';
import type { Ledger } from './ledger.ts';
import { ADMIN_TOKEN, ATTACKER, INGEST_TOKEN, METRICS_TOKEN, head, keysYaml, openScene, tokenOf, VICTIM, type Scene } from './scene.ts';
import { first, newapiKey, tell, type Arrival, type React } from './stand-in.ts';
import { exchange } from './wire.ts';

/** Requests at a time. */
const atOnce = 12;

interface Carried {
  readonly lines: readonly string[];
  /** Goes behind the path. */
  readonly query?: string;
}

type Carrier = (secret: string) => Carried;

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const escaped = (text: string): string => [...text].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('');
const line = (name: string, value: (secret: string) => string = (secret) => secret): Carrier => (secret) => ({ lines: [`${name}: ${value(secret)}`] });
const query = (pair: (secret: string) => string): Carrier => (secret) => ({ lines: [], query: pair(secret) });

/** Every place in which some client, proxy or server has put a credential. */
const carriers: Readonly<Record<string, Carrier>> = {
  bearer: line('Authorization', (secret) => `Bearer ${secret}`),
  'bearer in small letters': line('authorization', (secret) => `bearer ${secret}`),
  'bearer in capitals': line('AUTHORIZATION', (secret) => `BEARER ${secret}`),
  'bearer, two spaces': line('Authorization', (secret) => `Bearer  ${secret}`),
  'authorization alone': line('Authorization'),
  'basic, as password': line('Authorization', (secret) => `Basic ${base64(`user:${secret}`)}`),
  'basic, as user': line('Authorization', (secret) => `Basic ${base64(`${secret}:`)}`),
  'scheme Token': line('Authorization', (secret) => `Token ${secret}`),
  'second authorization': (secret) => ({ lines: ['Authorization: Bearer sk-dummy', `Authorization: Bearer ${secret}`] }),
  'x-api-key': line('x-api-key'),
  'x-api-key with Bearer': line('X-Api-Key', (secret) => `Bearer ${secret}`),
  'second x-api-key': (secret) => ({ lines: ['x-api-key: sk-dummy', `x-api-key: ${secret}`] }),
  'api-key': line('api-key'),
  'x-goog-api-key': line('x-goog-api-key'),
  'mj-api-secret': line('mj-api-secret'),
  'x-auth-token': line('X-Auth-Token'),
  'proxy-authorization': line('Proxy-Authorization', (secret) => `Bearer ${secret}`),
  'query key': query((secret) => `key=${secret}`),
  'query key, escaped': query((secret) => `%6bey=${escaped(secret)}`),
  'second query key': query((secret) => `key=dummy&key=${secret}`),
  'query token': query((secret) => `token=${secret}`),
  'query access_token': query((secret) => `access_token=${secret}`),
  'query api_key': query((secret) => `a=b&api_key=${secret}`),
  'query api-key in capitals': query((secret) => `API-KEY=${secret}`),
  cookie: line('Cookie', (secret) => `session=${secret}`),
  'cookie among others': line('Cookie', (secret) => `a=b; token=${secret}; c=d`),
  subprotocol: line('Sec-WebSocket-Protocol', (secret) => `realtime, openai-insecure-api-key.${secret}, openai-beta.realtime-v1`),
  'subprotocol alone': line('Sec-WebSocket-Protocol'),
  'second subprotocol': (secret) => ({ lines: ['Sec-WebSocket-Protocol: realtime', `Sec-WebSocket-Protocol: openai-insecure-api-key.${secret}`] }),
};

const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyAuLg=='];
const form = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n';

interface Call {
  readonly method: string;
  readonly path: string;
  readonly lines?: readonly string[];
  readonly body?: string;
}

const post = (path: string, body = '{"model":"m","messages":[]}', type = 'application/json'): Call => ({ method: 'POST', path, lines: [`Content-Type: ${type}`], body });
const get = (path: string): Call => ({ method: 'GET', path });

/** One of every class of route, and the gate's own paths as others would spell them. */
const calls: readonly Call[] = [
  post('/v1/chat/completions'), post('/v1/messages', '{"model":"m","max_tokens":1,"messages":[]}'), post('/v1/embeddings'), post('/v1/images/edits', form, 'multipart/form-data; boundary=b'),
  get('/v1/models'), get('/v1/models/m'), post('/v1beta/models/m:generateContent', '{}'), get('/v1beta/openai/models'), post('/v1/models/m:generateContent', '{}'),
  { ...get('/v1/realtime?model=m'), lines: upgrade }, { ...get('/ws'), lines: upgrade },
  post('/mj/submit/imagine', '{}'), post('/suno/submit/music', '{}'), get('/mj/image/1'), get('/v1/videos/1/content'), get('/v1/dashboard/billing/usage'),
  get('/api/user/self'), get('/api/status'), post('/api/user/login', '{}'), post('/api/stripe/webhook', '{}'), post('/api/user/epay/notify', '{}'), get('/'), get('/assets/index.js'),
  get('/metrics'), get('/metrics/'), get('//metrics'), get('/METRICS'), get('/%6detrics'), get('/metrics/x'), get('/./metrics'), get('/metrics;x'),
  get('/heimdall/api/keys'), get('/HEIMDALL/api/keys'), get('/heimdall/'), get('/heimdall'), get('/heimdall%2fapi/keys'), get('/x/../heimdall/api/keys'), get('/heimdallx/api'),
  post('/api/log', '{}'), post('/api/log/', '{}'), post('/API/LOG', '{}'), post('/api/log/x', '{}'), get('/api/log/?p=1'), post('/api/heimdall/log', '{}'), post('/Api/Heimdall/Log', '{}'),
  get('/health'), get('/HEALTH'), get('/health/x'),
];

/** @param id names the request in what reaches the upstream. */
function bytesOf({ method, path, lines = [], body }: Call, carried: readonly Carried[], id: string): string {
  const pairs = carried.flatMap(({ query: pair }) => (pair === undefined ? [] : [pair]));
  const target = pairs.length === 0 ? path : `${path}${path.includes('?') ? '&' : '?'}${pairs.join('&')}`;
  const own = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  return head(method, target, [`X-Vector: ${id}`, ...lines, ...carried.flatMap(({ lines: more }) => more), ...own]) + (body ?? '');
}

const answering: React = (arrival, at) => {
  if (arrival.headers.has('upgrade')) return at === 'head' ? { bytes: 'HTTP/1.1 400 No\r\nX-Oneapi-Request-Id: r\r\nContent-Length: 0\r\n\r\n' } : null;
  return at === 'end' ? tell(arrival) : null;
};

/** Runs this for each of a list, some at a time. */
async function each<T>(list: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let at = next++; at < list.length; at = next++) await work(list[at] as T);
  }));
}

const tokens = `
metrics: { token: ${METRICS_TOKEN} }
admin: { token: ${ADMIN_TOKEN}, listen: false }
rate_limit: { address: { limit: 0 } }
`;
const ingest = `, ingest: { tokens: [${INGEST_TOKEN}] }`;

/** Our credentials by every carrier on every path, and callers by two carriers at a time. */
export async function credentials(ledger: Ledger): Promise<void> {
  await leaks(ledger, 'keys', `${keysYaml()}${tokens}`);
  await leaks(ledger, 'observe', `mode: observe\n${keysYaml()}${tokens}`);
  await leaks(ledger, 'passthrough', `${keysYaml().replace('mode: keys', 'mode: passthrough')}${tokens}`);
  await leaks(ledger, 'paths renamed', `${keysYaml()}${tokens.replace('listen: false', 'listen: false, path: /own/desk')}endpoints: { metrics: /own/metrics, log: /own/log, health: false }\n`);
  await leaks(ledger, 'paths off', `${keysYaml()}${tokens}endpoints: { metrics: false, log: false, health: false }\n`);
  await jwts(ledger);
  await pairs(ledger);
  await guesses(ledger);
}

async function jwts(ledger: Ledger): Promise<void> {
  if (ledger.late) return;
  const ends: (() => unknown)[] = [];
  const issuer = await startIssuer({ after: (fn) => void ends.push(fn) });
  const { issuer: name, audience, jwksUri } = issuer.jwt;
  const yaml = `auth: { mode: jwt, jwt: { issuer: "${name}", audience: ${audience}, jwks_uri: "${jwksUri}", upstream_credential: ${ATTACKER.credential} } }\n${tokens}`;
  const expired = await issuer.sign({ exp: 1_000_000_000 });
  await leaks(ledger, 'jwt', yaml, { jwt: await issuer.sign({ sub: 'someone' }), 'expired jwt': expired });
  for (const end of ends) await end();
}

interface Leak {
  readonly name: string;
  readonly bytes: string;
  readonly secret: string;
  readonly id: string;
}

/** Each secret by each carrier on each path; of the less precious ones every third. */
async function leaks(ledger: Ledger, mode: string, yaml: string, more: Readonly<Record<string, string>> = { 'gateway key': VICTIM.key }): Promise<void> {
  const secrets = { ...more, 'admin token': ADMIN_TOKEN, 'metrics token': METRICS_TOKEN, 'ingest token': INGEST_TOKEN };
  const all: Leak[] = [];
  for (const [nth, [what, secret]] of Object.entries(secrets).entries()) {
    for (const [at, [by, carrier]] of Object.entries(carriers).entries()) {
      for (const [on, call] of calls.entries()) {
        const sparse = nth === 0 && mode === 'keys' ? 1 : 9;
        const name = `${what}, ${by}, ${call.method} ${call.path}`;
        if ((nth + at + on) % sparse === 0 && !ledger.skips('secrets', mode, name)) all.push({ name, bytes: bytesOf(call, [carrier(secret)], `l${all.length}z`), secret, id: `l${all.length}z` });
      }
    }
  }
  if (all.length === 0 || ledger.late) return;
  const scene = await openScene(yaml, { react: answering, audit: ingest });
  try {
    await each(all, async ({ name, bytes, secret, id }) => {
      if (ledger.late) return;
      await exchange(scene.port, [bytes], { expected: 1, patience: 2000 });
      const arrived = scene.upstream.arrivals.filter((arrival) => first(arrival, 'x-vector') === id);
      const shows = arrived.find((arrival) => holds(arrival, secret));
      ledger.note({ group: 'secrets', via: mode, vector: name, expected: 'not at the upstream', got: shows === undefined ? (scene.alive() ? null : 'the process ended') : `${shows.method} ${shows.target.split('?', 1)[0]} went with it` });
    });
    const spilled = Object.entries(secrets).filter(([, secret]) => scene.log().includes(secret) || scene.gate.output().includes(secret)).map(([what]) => what);
    ledger.note({ group: 'secrets', via: mode, vector: 'logs', expected: 'no secret in them', got: spilled.length === 0 ? null : spilled.join(', ') });
  } finally {
    await scene.close();
  }
}

function holds({ head: text, body }: Arrival, secret: string): boolean {
  const all = text + body.toString('latin1');
  const plain = all.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const packed = [...all.matchAll(/basic ([\w+/=]+)/gi)].map(([, text64 = '']) => Buffer.from(text64, 'base64').toString('latin1'));
  return [all, plain, ...packed].some((each) => each.includes(secret));
}

const DECOY = tokenOf('Dcoy');
const REAL = tokenOf('Real');

/** Ways in which NewAPI, or somebody before it, reads a caller's token. */
const identities: Readonly<Record<string, Carrier>> = {
  bearer: carriers['bearer'] as Carrier,
  'bearer in small letters': line('Authorization', (secret) => `bearer ${secret}`),
  'bearer in capitals': line('Authorization', (secret) => `BEARER ${secret}`),
  'bearer, a channel behind': line('Authorization', (secret) => `Bearer ${secret}-7`),
  'bearer, a tab': line('Authorization', (secret) => `Bearer\t${secret}`),
  'bearer, no sk-': line('Authorization', (secret) => `Bearer ${secret.slice(3)}`),
  'bearer twice': line('Authorization', (secret) => `Bearer Bearer ${secret}`),
  'authorization alone': line('Authorization'),
  'midjourney-proxy': () => ({ lines: ['Authorization: Bearer midjourney-proxy'] }),
  'empty bearer': () => ({ lines: ['Authorization: Bearer '] }),
  'x-api-key': line('x-api-key'),
  'x-api-key with Bearer': line('x-api-key', (secret) => `Bearer ${secret}`),
  'x-goog-api-key': line('x-goog-api-key'),
  'mj-api-secret': line('mj-api-secret'),
  'mj-api-secret with Bearer': line('mj-api-secret', (secret) => `Bearer ${secret}`),
  'query key': carriers['query key'] as Carrier,
  'query key, escaped': carriers['query key, escaped'] as Carrier,
  subprotocol: carriers['subprotocol'] as Carrier,
  'subprotocol alone': line('Sec-WebSocket-Protocol'),
  'subprotocol, no dot': line('Sec-WebSocket-Protocol', (secret) => `openai-insecure-api-key${secret}`),
  'subprotocol, of two lines': (secret) => ({ lines: ['Sec-WebSocket-Protocol: realtime', `Sec-WebSocket-Protocol: openai-insecure-api-key.${secret}`] }),
};

/** One of each family of routes that NewAPI reads differently. */
const families: readonly Call[] = [
  post('/v1/chat/completions'), post('/v1/messages', '{"model":"m","max_tokens":1,"messages":[]}'), post('/v1/messages/count_tokens', '{"model":"m"}'), post('/v1/images/edits', form, 'multipart/form-data; boundary=b'),
  get('/v1/models'), get('/v1/models/m'), post('/v1/models/m:generateContent', '{}'), post('/v1beta/models/m:generateContent', '{}'), get('/v1beta/openai/models'), post('/mj/submit/imagine', '{}'), post('/suno/submit/music', '{}'),
  { ...get('/v1/realtime?model=m'), lines: upgrade },
];

interface Callers {
  readonly via: string;
  readonly yaml: string;
  readonly decoy: string;
  readonly real: string;
  /** Who it is, by the key that NewAPI would take it for. */
  readonly known: ReadonlyMap<string, string>;
  /** Of the record, what ends with it. */
  readonly column: 'token_key' | 'key_id';
  /** Every so many combinations are tried. */
  readonly sparse: number;
}

const unlimited = 'rate_limit: { address: { limit: 0 } }\n';
const bare = (token: string): string => token.slice(3);
const callers: readonly Callers[] = [
  { via: 'passthrough', yaml: unlimited, decoy: DECOY, real: REAL, known: new Map([DECOY, REAL].map((token) => [bare(token), token.slice(-4)])), column: 'token_key', sparse: 3 },
  { via: 'keys', yaml: unlimited + keysYaml(), decoy: ATTACKER.key, real: VICTIM.key, known: new Map([[bare(ATTACKER.credential), 'attacker'], [bare(VICTIM.credential), 'victim'], [bare(ATTACKER.key), 'nobody may be'], [bare(VICTIM.key), 'nobody may be']]), column: 'key_id', sparse: 6 },
];

/** A decoy by one carrier and a real token by another: who is counted is who NewAPI would take it for. */
async function pairs(ledger: Ledger): Promise<void> {
  for (const who of callers) await paired(who, ledger);
}

async function paired(who: Callers, ledger: Ledger): Promise<void> {
  const all: { readonly name: string; readonly bytes: string }[] = [];
  const names = Object.keys(identities);
  for (const [on, call] of families.entries()) {
    for (const [at, decoy] of names.entries()) {
      for (const [nth, real] of names.entries()) {
        const name = `decoy by ${decoy}, real by ${real}, ${call.method} ${call.path}`;
        const carried = [(identities[decoy] as Carrier)(who.decoy), (identities[real] as Carrier)(who.real)];
        if ((on + at + nth) % who.sparse === 0 && !ledger.skips('identity', who.via, name)) all.push({ name, bytes: bytesOf(call, at % 2 === 0 ? carried : carried.toReversed(), name) });
      }
    }
  }
  if (all.length === 0 || ledger.late) return;
  const scene = await openScene(who.yaml, { react: answering });
  try {
    await each(all, async ({ bytes }) => {
      if (!ledger.late) await exchange(scene.port, [bytes], { expected: 1, patience: 2000 });
    });
    await compare(scene, who, all.map(({ name }) => name), ledger);
  } finally {
    await scene.close();
  }
}

async function compare(scene: Scene, { via, known, column }: Callers, names: readonly string[], ledger: Ledger): Promise<void> {
  const rows = new Map((await scene.rows()).map((row) => [row['request_id'], row]));
  const arrived = new Map(scene.upstream.arrivals.map((arrival) => [first(arrival, 'x-vector'), arrival]));
  for (const name of names) {
    const arrival = arrived.get(name);
    const taken = arrival === undefined ? undefined : known.get(newapiKey(arrival));
    const counted = String(rows.get(arrival === undefined ? '' : first(arrival, 'x-request-id'))?.[column] ?? 'nobody');
    ledger.note({ group: 'identity', via, vector: name, expected: 'who is counted is who is forwarded', got: taken === undefined || counted.endsWith(taken) ? null : `forwarded as ${taken}, counted as ${counted}` });
  }
}

/** Wrong guesses close nothing to those that know, and cannot be spread over addresses that a header names. */
async function guesses(ledger: Ledger): Promise<void> {
  const probes: Readonly<Record<string, Call & { readonly right: string; readonly status: number }>> = {
    metrics: { ...get('/metrics'), right: METRICS_TOKEN, status: 200 },
    admin: { ...get('/heimdall/api/keys'), right: ADMIN_TOKEN, status: 200 },
    log: { ...post('/api/log', '{"request_path":"/v1/chat/completions"}'), right: INGEST_TOKEN, status: 0 },
    chat: { ...post('/v1/chat/completions'), right: VICTIM.key, status: 200 },
  };
  const ask = async (scene: Scene, call: Call, token: string, forwarded?: string): Promise<number> => {
    const lines = [...(call.lines ?? []), ...(forwarded === undefined ? [] : [`X-Forwarded-For: ${forwarded}`])];
    return (await exchange(scene.port, [bytesOf({ ...call, lines }, [{ lines: [`Authorization: Bearer ${token}`] }], 'guess')], { expected: 1, patience: 3000 })).answers[0]?.status ?? 0;
  };
  const right = (status: number, got: number): boolean => (status === 0 ? got !== 401 && got !== 429 && got !== 0 : got === status);
  for (const guessed of Object.keys(probes)) {
    if (ledger.skips('guesses', 'direct', `${guessed} guessed, then chat with the right token`)) continue;
    const scene = await openScene(`${keysYaml()}${tokens.replace('rate_limit: { address: { limit: 0 } }', '')}`, { react: answering, audit: ingest });
    try {
      const call = probes[guessed] as Call;
      for (let nth = 0; nth < 150; nth++) await ask(scene, call, `${tokenOf('Gues')}${nth}`);
      await pause(50);
      for (const [name, probe] of Object.entries(probes)) {
        const got = await ask(scene, probe, probe.right);
        ledger.note({ group: 'guesses', via: 'direct', vector: `${guessed} guessed, then ${name} with the right token`, expected: 'let in', got: right(probe.status, got) ? null : String(got) });
      }
      // A model route counts by the client's address, which a proxy on this machine may name.
      if (guessed === 'chat') continue;
      const spread: number[] = [];
      for (let nth = 0; nth < 400; nth++) spread.push(await ask(scene, call, `${tokenOf('Gues')}x${nth}`, `192.0.2.${nth % 250}`));
      ledger.note({ group: 'guesses', via: 'direct', vector: `${guessed} guessed under a new X-Forwarded-For each time`, expected: '429 after a while', got: spread.includes(429) ? null : `${spread.length} × ${[...new Set(spread)].join(', ')}` });
    } finally {
      await scene.close();
    }
  }
}

