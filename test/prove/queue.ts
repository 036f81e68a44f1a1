import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { callerNamed, mean, obey, oneAtATime, percentile, type Caller, type Fared } from '../support/crowd.ts';
import { runGate } from './gate.ts';
import type { Finding } from './proof.ts';

/** What one request costs the upstream, milliseconds. */
type Service = () => number;

interface Upstream {
  readonly server: Server;
  readonly url: string;
  readonly held: number[];
  service: Service;
}

interface Row {
  readonly what: string;
  readonly bar: string;
  readonly found: string;
  readonly holds: string;
}

const row = (what: string, bar: string, found: string, holds: boolean): Row => ({ what, bar, found, holds: holds ? 'yes' : 'NO' });

const steady = (ms: number): Service => () => ms;
/** As answers of models are: many short, some long. */
const uneven = (ms: number): Service => () => -Math.log(1 - Math.random()) * ms;

/** Takes its time for everything and accepts every token but those of strangers, as NewAPI would. */
async function startUpstream(): Promise<Upstream> {
  const upstream = { held: [] as number[], service: steady(50) } as { -readonly [K in keyof Upstream]: Upstream[K] };
  upstream.server = createServer((req, res) => {
    const began = performance.now();
    const status = req.headers.authorization?.includes('stranger') ? 403 : 200;
    req.resume().on('end', () => {
      setTimeout(() => {
        upstream.held.push(performance.now() - began);
        res.writeHead(status, { 'Content-Type': 'application/json', 'X-Oneapi-Request-Id': 'r' }).end('{"choices":[]}');
      }, upstream.service());
    });
  });
  upstream.server.listen(0, '127.0.0.1');
  await once(upstream.server, 'listening');
  upstream.url = `http://127.0.0.1:${(upstream.server.address() as AddressInfo).port}`;
  return upstream;
}

const quiet = 'secret: an-install-secret-for-this-proof\nlogging: { level: error, file: false }\n';
const callers = ['flood', 'ann', 'bob', 'cleo'].map((name) => callerNamed(name, 'sk-at-newapi'));
const keys = `auth: { mode: keys, keys: ${JSON.stringify(callers.map(({ key: { upstreamCredential, ...key } }) => ({ ...key, upstream_credential: upstreamCredential })))} }\n`;
const asTokens: readonly Caller[] = callers.map((caller) => ({ ...caller, headers: { Authorization: `Bearer sk-${caller.name}` } }));

/** One floods with 500 requests, three send one after another: how long those wait. */
async function flooded(upstream: Upstream, concurrency: number, [what, service]: readonly [string, Service], mode: 'keys' | 'passthrough'): Promise<Row> {
  const [flood, ...others] = (mode === 'keys' ? callers : asTokens) as readonly [Caller, ...Caller[]];
  const gate = await runGate(upstream.url, `${quiet}${mode === 'keys' ? keys : ''}queue: { concurrency: ${concurrency} }\n`);
  upstream.service = service;
  upstream.held.length = 0;
  if (mode === 'passthrough') for (const { headers } of [flood, ...others]) await obey(gate.url, headers, 1);
  let over = false;
  const flooding = Promise.all(Array.from({ length: 500 }, () => obey(gate.url, flood.headers, 1))).finally(() => {
    over = true;
  });
  const fared = (await Promise.all(others.map(({ headers }) => oneAtATime(gate.url, headers, () => !over)))).flat();
  const all = [...fared, ...(await flooding)];
  await gate.stop();
  const bar = (2 * mean(upstream.held)) / (concurrency / callers.length);
  const p95 = percentile(fared.map(({ wait }) => wait), 0.95);
  return row(`flood of 500, ${concurrency} slots, ${what}, ${mode}`, `p95 wait ≤ ${bar.toFixed(0)} ms`, `${p95.toFixed(0)} ms of ${fared.length} requests, mean ${mean(fared.map(({ wait }) => wait)).toFixed(1)}`, p95 <= bar && all.every(({ status }) => status === 200));
}

/** How many of the strangers' requests are served while a known caller's are. */
async function strangers(upstream: Upstream, addresses: number): Promise<Row> {
  const gate = await runGate(upstream.url, `${quiet}queue: { concurrency: 4 }\nrate_limit: { address: { limit: 0 } }\n`);
  upstream.service = steady(20);
  const known = { Authorization: 'Bearer sk-known' };
  await obey(gate.url, known, 1);
  let served = 0;
  const crowd = Array.from({ length: 400 }, (_, n) => obey(gate.url, { Authorization: `Bearer sk-stranger-${n}`, 'X-Forwarded-For': `192.0.2.${n % addresses}` }, 1).then(() => served++));
  while (served < 20) await new Promise((resolve) => setTimeout(resolve, 5));
  const before = served;
  await Promise.all(Array.from({ length: 40 }, () => obey(gate.url, known, 1)));
  const during = served - before;
  await Promise.all(crowd);
  await gate.stop();
  const bar = 40 * addresses + 12;
  return row(`400 random tokens of ${addresses} address${addresses === 1 ? '' : 'es'} against 40 requests of a known caller`, `at most ${bar} served meanwhile`, `${during}`, during <= bar);
}

/** A crowd that is more than the gate takes in and does as told. */
async function obeying(upstream: Upstream, what: string, yaml: string, service: Service, asking: (nth: number) => Readonly<Record<string, string>>, warm: boolean): Promise<Row> {
  const gate = await runGate(upstream.url, `${quiet}queue: ${yaml}\nrate_limit: { address: { limit: 0 } }\n`);
  upstream.service = service;
  if (warm) for (let n = 0; n < 5; n++) await obey(gate.url, { Authorization: 'Bearer sk-known' }, 1);
  const fared: Fared[] = await Promise.all(Array.from({ length: 300 }, (_, n) => obey(gate.url, asking(n), 4)));
  await gate.stop();
  const away = fared.filter(({ sentAway }) => sentAway > 0);
  const next = away.filter(({ status, sentAway }) => status === 200 && sentAway === 1).length;
  const found = `${away.length} sent away, ${next} admitted when they came back, ${fared.filter(({ status }) => status === 200).length} of 300 in the end`;
  return row(`obeying Retry-After: ${what}`, '≥ 90 % admitted when they come back', found, away.length > 50 && next >= away.length * 0.9);
}

/** The queue under load from other processes: who floods, who forges, who obeys. */
export async function queue(): Promise<Finding> {
  const upstream = await startUpstream();
  const rows: Row[] = [];
  const even = ['100 ms each', steady(100)] as const;
  for (const concurrency of [4, 8, 16]) rows.push(await flooded(upstream, concurrency, even, 'keys'));
  rows.push(await flooded(upstream, 10, ['100 ms on average', uneven(100)], 'keys'));
  rows.push(await flooded(upstream, 10, even, 'passthrough'));
  for (const addresses of [1, 3]) rows.push(await strangers(upstream, addresses));
  const one = (): Readonly<Record<string, string>> => ({ Authorization: 'Bearer sk-known' });
  const each = (nth: number): Readonly<Record<string, string>> => ({ Authorization: `Bearer sk-${nth}`, 'X-Forwarded-For': `198.51.100.${nth % 250}` });
  rows.push(await obeying(upstream, 'one key, 10 slots, 50 places', '{ concurrency: 10, initial_size: 50 }', uneven(100), one, true));
  rows.push(await obeying(upstream, '300 callers, 10 slots, 50 places', '{ concurrency: 10, initial_size: 50 }', uneven(100), each, true));
  rows.push(await obeying(upstream, '300 callers, 20 slots, max_wait 1s', '{ concurrency: 20, max_wait: 1s }', steady(200), each, true));
  rows.push(await obeying(upstream, '300 callers, nothing measured yet', '{ concurrency: 20, initial_size: 50 }', steady(200), each, false));
  upstream.server.close();
  upstream.server.closeAllConnections();
  return { rows: rows.map((found) => ({ ...found })), bar: 'every line holds', holds: rows.every(({ holds }) => holds === 'yes') };
}
