import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import type { ConfigInput } from '../../lib/index.ts';
import { authority, noOpenssl } from '../support/authority.ts';
import { until, type TestLike } from '../support/client.ts';
import { startGate, type RunningGate } from '../support/gate.ts';
import { freePort } from '../support/ports.ts';
import { withoutRedis } from '../support/redis.ts';
import { startUpstream } from '../support/upstream.ts';
import type { Finding } from './proof.ts';

const limit = 50;
/** What is promised of a Redis that is back, milliseconds; and the longest answer while it goes: its time limit, and what a busy process adds. */
const backWithin = 5000;
const patience = 2000;
/** Keys of one scene; each is used once, since its window outlasts the scene. */
const callers = 40;

const keyOf = (caller: number): string => `sk-${String(caller).padStart(48, 'a')}`;
const digestOf = (caller: number): string => createHash('sha256').update(keyOf(caller)).digest('hex');

/** A server of this proof. */
interface Server {
  readonly port: number;
  command(...words: readonly string[]): string;
  stop(): void;
  go(): void;
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** Runs what a scene registers for its end. */
class Scope implements TestLike {
  readonly #ends: (() => unknown)[] = [];

  after(end: () => unknown): void {
    this.#ends.push(end);
  }

  async end(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
  }
}

async function server(t: Scope, options: readonly string[] = [], more: { readonly port?: number; readonly config?: string } = {}): Promise<Server> {
  const dir = mkdtempSync(join(tmpdir(), 'heimdall-prove-redis-'));
  const port = more.port ?? (await freePort());
  const file = join(dir, 'redis.conf');
  writeFileSync(file, more.config ?? '');
  const begin = async (): Promise<ChildProcess> => {
    const child = spawn('redis-server', [file, '--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no', ...options], { stdio: 'ignore' });
    await until(() => answers(port), 'a Redis that listens');
    return child;
  };
  let child = await begin();
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  t.after(async () => {
    await kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    port, kill,
    command: (...words) => command(port, words),
    stop: () => void child.kill('SIGSTOP'),
    go: () => void child.kill('SIGCONT'),
    async restart() {
      child = await begin();
    },
  };
}

const command = (port: number, words: readonly string[]): string => spawnSync('redis-cli', ['-p', String(port), ...words], { encoding: 'utf8' }).stdout;

const answers = (port: number): Promise<boolean> => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true))).on('error', () => resolve(false));
});

/** Two gates that share a Redis. */
interface Pair {
  readonly gates: readonly RunningGate[];
  /** Sends twice the limit of new callers over both gates. @returns by how much the passed requests miss the limit, all callers together. */
  error(times?: number): Promise<number>;
  /** Asks until a condition holds. @returns the longest answer, milliseconds. */
  askUntil(holds: () => boolean): Promise<number>;
  downs(): number;
  ups(): number;
}

let nth = 0;

async function pair(t: Scope, redisUrl: string, over: ConfigInput['rateLimit'] = {}): Promise<Pair> {
  const upstream = await startUpstream(t, (_req, res) => void res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'));
  const keys = [
    ...Array.from({ length: callers }, (_, at) => ({ name: `caller-${at}`, sha256: digestOf(at), upstreamCredential: 'sk-anything' })),
    { name: 'at-liberty', sha256: digestOf(callers), upstreamCredential: 'sk-anything', requests: { limit: 1_000_000 } },
  ];
  const config: ConfigInput = { secret: 'an-install-secret-for-this-proof', newapi: { baseUrl: upstream.url }, auth: { mode: 'keys', keys }, rateLimit: { redisUrl, instances: 2, address: { limit: 0 }, key: { requests: { limit, window: '1h' }, tokens: { limit: 1e9 }, concurrency: 1000 }, ...over } };
  const gates = [await startGate(t, config), await startGate(t, config)];
  const pools = gates.map(({ url }) => new Pool(url, { connections: 20 }));
  t.after(() => Promise.all(pools.map((pool) => pool.destroy())));
  const ask = async (at: number, caller: number): Promise<boolean> => {
    const { statusCode, body } = await (pools[at % 2] as Pool).request({ method: 'POST', path: '/v1/chat/completions', headers: { authorization: `Bearer ${keyOf(caller)}`, 'content-type': 'application/json' }, body: '{"model":"m","messages":[]}' });
    await body.dump();
    return statusCode === 200;
  };
  const named = (event: string): number => gates.reduce((sum, { log }) => sum + log.named(event).length, 0);
  return {
    gates,
    async error(times = 1) {
      let wrong = 0;
      for (let each = 0; each < times; each++) {
        const caller = nth++ % callers;
        const passed = await Promise.all(Array.from({ length: 2 * limit }, (_, at) => ask(at, caller)));
        wrong += Math.abs(passed.filter(Boolean).length - limit);
      }
      return wrong;
    },
    async askUntil(holds) {
      let longest = 0;
      for (const end = performance.now() + 30_000; !holds() && performance.now() < end; ) {
        const began = performance.now();
        await Promise.all([ask(0, callers), ask(1, callers)]);
        longest = Math.max(longest, performance.now() - began);
        await pause(20);
      }
      return longest;
    },
    downs: () => named('limits.store_down'),
    ups: () => named('limits.store_up'),
  };
}

type Row = Finding['rows'][number];

/** Takes Redis away and gives it back. */
async function outage(what: string, both: Pair, away: () => unknown, back: () => unknown, hold = 1500): Promise<Row> {
  const before = await both.error();
  await away();
  const longest = await both.askUntil(() => both.downs() >= 2);
  const until = performance.now() + hold;
  const held = await both.askUntil(() => performance.now() >= until);
  const flaps = both.ups();
  await back();
  const began = performance.now();
  await both.askUntil(() => both.ups() >= 2);
  const ms = Math.round(performance.now() - began);
  const after = await both.error(4);
  const holds = before === 0 && after === 0 && flaps === 0 && both.ups() === both.downs() && ms <= backWithin && Math.max(longest, held) <= patience;
  return { what, 'error before': before, 'error after': after, 'slowest answer ms': Math.round(Math.max(longest, held)), 'back after ms': ms, flaps: flaps + both.ups() - 2, holds: holds ? 'yes' : 'NO' };
}

const plain = (what: string, away: (redis: Server) => unknown, back: (redis: Server) => unknown, hold?: number) => async (t: Scope): Promise<Row> => {
  const redis = await server(t);
  const both = await pair(t, `redis://127.0.0.1:${redis.port}`);
  return outage(what, both, () => away(redis), () => back(redis), hold);
};

async function demoted(t: Scope): Promise<Row> {
  const [first, second] = [await server(t), await server(t)];
  second.command('REPLICAOF', '127.0.0.1', String(first.port));
  await until(() => second.command('INFO', 'replication').includes('master_link_status:up'));
  const both = await pair(t, `redis://127.0.0.1:${first.port}`);
  const away = (): void => {
    second.command('REPLICAOF', 'NO', 'ONE');
    first.command('REPLICAOF', '127.0.0.1', String(second.port));
  };
  return outage('READONLY: the master becomes a replica', both, away, () => first.command('REPLICAOF', 'NO', 'ONE'));
}

async function orphaned(t: Scope): Promise<Row> {
  const [first, second] = [await server(t), await server(t, ['--replica-serve-stale-data', 'no'])];
  const both = await pair(t, `redis://127.0.0.1:${second.port}`);
  const away = async (): Promise<void> => {
    second.command('REPLICAOF', '127.0.0.1', String(first.port));
    await first.kill();
  };
  return outage('MASTERDOWN: a replica without its master', both, away, () => second.command('REPLICAOF', 'NO', 'ONE'));
}

async function sentinel(t: Scope): Promise<Row> {
  const [first, second] = [await server(t), await server(t)];
  second.command('REPLICAOF', '127.0.0.1', String(first.port));
  await until(() => second.command('INFO', 'replication').includes('master_link_status:up'));
  const watch = await server(t, ['--sentinel'], { config: `sentinel monitor orders 127.0.0.1 ${first.port} 1\nsentinel down-after-milliseconds orders 500\nsentinel failover-timeout orders 2000\n` });
  await until(() => watch.command('SENTINEL', 'REPLICAS', 'orders').includes(String(second.port)), 'a Sentinel that knows the replica');
  const both = await pair(t, `redis+sentinel://127.0.0.1:${watch.port}/orders`);
  return outage('Sentinel: the master dies, the replica takes over', both, () => first.kill(), () => until(() => second.command('ROLE').startsWith('master'), 'a new master'), 200);
}

async function cluster(t: Scope): Promise<Row[]> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const nodes: Server[] = [];
  for (const port of ports) nodes.push(await server(t, ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'], { port }));
  spawnSync('redis-cli', ['--cluster', 'create', ...nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes']);
  await until(() => nodes.every((node) => node.command('CLUSTER', 'INFO').includes('cluster_state:ok')), 'a cluster');
  const rows: Row[] = [];
  for (const url of [`redis://127.0.0.1:${ports[0]}`, `redis+cluster://127.0.0.1:${ports[1]},127.0.0.1:${ports[2]}`]) {
    const scope = new Scope();
    const both = await pair(scope, url);
    const error = await both.error(20);
    const sizes = nodes.map((node) => Number(node.command('DBSIZE')));
    for (const node of nodes) node.command('FLUSHALL');
    rows.push({ what: `cluster of three by ${url.split('://')[0]}://, ${sizes.join(' + ')} keys`, 'error before': error, holds: error === 0 && sizes.every((size) => size > 0) ? 'yes' : 'NO' });
    await scope.end();
  }
  const [node] = nodes as [Server];
  const both = await pair(t, `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join()}`);
  const ok = (): Promise<boolean> => until(() => nodes.every((each) => each.command('CLUSTER', 'INFO').includes('cluster_state:ok')), 'a whole cluster');
  rows.push(await outage('CLUSTERDOWN: one of three stands still', both, () => node.stop(), async () => {
    node.go();
    await ok();
  }, 3000));
  return rows;
}

async function secure(t: Scope): Promise<Row> {
  const ca = authority(t);
  const { certPath, keyPath } = ca.issue('DNS:localhost', 'IP:127.0.0.1');
  const port = await freePort();
  const redis = await server(t, ['--tls-port', String(port), '--tls-cert-file', certPath, '--tls-key-file', keyPath, '--tls-ca-cert-file', ca.caPath, '--tls-auth-clients', 'no']);
  const both = await pair(t, `rediss://localhost:${port}`, { redisCaPath: ca.caPath });
  return outage('TLS with authorities of its own, killed and started again', both, () => redis.kill(), () => redis.restart());
}

/** Redis as it is operated: each kind of outage is noticed, costs no request, and the limits are exact again within 5 s. */
export async function redis(): Promise<Finding> {
  const bar = `limits exact over two gates before and after, no answer later than ${patience} ms, back within ${backWithin} ms, up and down once each`;
  if (withoutRedis) return { rows: [{ what: withoutRedis }], bar, holds: false };
  const scenes: readonly ((t: Scope) => Promise<Row | Row[]>)[] = [
    plain('half open: the process stands still', (each) => each.stop(), (each) => each.go(), 6000),
    plain('killed and started again, empty', (each) => each.kill(), (each) => each.restart()),
    plain('OOM: no memory for a write', (each) => each.command('CONFIG', 'SET', 'maxmemory', '1'), (each) => each.command('CONFIG', 'SET', 'maxmemory', '0')),
    plain('NOPERM: the user loses a right', (each) => each.command('ACL', 'SETUSER', 'default', '-zadd'), (each) => each.command('ACL', 'SETUSER', 'default', '+zadd')),
    demoted, orphaned, sentinel, cluster, ...(noOpenssl ? [] : [secure]),
  ];
  const rows: Row[] = [];
  for (const scene of scenes) {
    const scope = new Scope();
    rows.push(...[await scene(scope)].flat());
    await scope.end();
  }
  return { rows, bar, holds: rows.every(({ holds }) => holds === 'yes') };
}
