import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from './describe.ts';
import { guard } from './guard.ts';

/** Time limit of a command, milliseconds: a request waits for it. */
const commandTimeout = 500;
/** A connection that leaves a command unanswered for this long is given up for a new one, milliseconds. */
const silenceTimeout = 2500;
/** A timer that fires this late, milliseconds, shows that the process was busy; then the limit is extended. */
const busyAfter = 20;
const extension = 100;
const maxExtensions = 5;
/** Time limit of a connection, milliseconds. */
const connectTimeout = 2000;
const reconnectEvery = 250;
/** Shortest time between two connections that replace one which is open, milliseconds. */
const renewEvery = 1000;
/** An idle connection is pinged every second, and closed when no answer comes within this time, milliseconds. */
const pingEvery = 1000;
const idleTimeout = 3000;

/** Answers of a server that cannot write: a demoted or lonely replica, a server that starts, a cluster with a hole. Another may be in its place by now. */
const misplaced = /^(?:READONLY|MASTERDOWN|LOADING|CLUSTERDOWN|NOREPLICAS|UNBLOCKED)\b/;
/** An answer, as opposed to a connection that was lost. */
const isAnswer = /^[A-Z]{2,}\b/;
const tooLate = 'Redis did not answer in time';

/** The Redis that all instances share: one server, the master that a Sentinel names, or a cluster. Connects at its first command and reconnects by itself. */
export interface Redis {
  /** @throws when Redis does not answer in time. */
  send(...command: string[]): Promise<unknown>;
  /**
   * Runs a Lua script in one round trip.
   * @param keys all in one slot of a cluster, by a hash tag.
   * @param late called with an answer that came after the time limit.
   * @throws when Redis does not answer in time.
   */
  run(script: Script, keys: readonly string[], args: readonly string[], late?: (reply: unknown) => void): Promise<unknown>;
  close(): Promise<void>;
}

/** A Lua script and the digest under which Redis caches it. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

/** A script with its digest. */
export function scriptOf(source: string): Script {
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}

/** The Redis of `rate_limit.redis_url`; null where none is configured. */
export function redisOf({ rateLimit: { redisUrl, redisCaPath } }: Config, log: Logger): Redis | null {
  return redisUrl === null ? null : new Connection(placeOf(redisUrl), redisCaPath === null ? null : readFileSync(redisCaPath, 'utf8'), log);
}

interface Node {
  readonly host: string;
  readonly port: number;
}

/** What a URL names. */
interface Place {
  readonly kind: 'server' | 'cluster' | 'sentinel';
  readonly secure: boolean;
  readonly nodes: readonly Node[];
  readonly username?: string;
  readonly password?: string;
  /** Name of the master that the Sentinels watch. */
  readonly master: string;
  readonly database: number;
  readonly sentinelPassword?: string;
}

/**
 * Reads `redis://user:password@host:port/database`, `redis+cluster://host,host` and `redis+sentinel://host,host/master/database`,
 * each with `rediss` for TLS. The configuration has checked the form.
 */
export function placeOf(url: string): Place {
  const [, secure, kind = 'server', user, list = '', path = '', query = ''] = /^redis(s)?(?:\+(cluster|sentinel))?:\/\/(?:([^/?#]*)@)?([^/?#]*)\/?([^?#]*)(?:\?([^#]*))?/.exec(url) ?? [];
  const usual = kind === 'sentinel' ? 26_379 : 6379;
  const nodes = list.split(',').map((text): Node => {
    const { hostname, port } = new URL(`http://${text || 'localhost'}`);
    return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? (/:80$/.test(text) ? 80 : usual) : Number(port) };
  });
  const [username, ...rest] = (user ?? '').split(':').map(decodeURIComponent);
  const segments = path.split('/').map(decodeURIComponent);
  const sentinelPassword = new URLSearchParams(query).get('sentinel_password');
  return {
    kind: kind as Place['kind'], secure: secure !== undefined, nodes,
    ...(username ? { username } : {}),
    ...(rest.length > 0 ? { password: rest.join(':') } : {}),
    ...(sentinelPassword === null ? {} : { sentinelPassword }),
    master: (kind === 'sentinel' ? segments[0] : '') || 'mymaster',
    database: Number((kind === 'sentinel' ? segments[1] : segments[0]) || 0),
  };
}

type Late = ((reply: unknown) => void) | undefined;

/** Commands of one connection, or of the connections to all servers of a cluster. */
interface Link {
  /** @param key decides which server of a cluster is asked; null for any. */
  send(key: string | null, command: readonly string[]): Promise<unknown>;
  destroy(): void;
  /** Called when a command has been left unanswered for too long. */
  readonly silent: () => void;
}

class Connection implements Redis {
  readonly #log: Logger;
  readonly #ca: string | null;
  #place: Place;
  #link: Link | null = null;
  #opening: Promise<Link> | null = null;
  #renewedAt = -Infinity;
  #closed = false;
  #reported = false;

  constructor(place: Place, ca: string | null, log: Logger) {
    this.#log = log;
    this.#ca = ca;
    this.#place = place;
  }

  async send(...command: string[]): Promise<unknown> {
    return this.#ask(keyIn(command), command, undefined);
  }

  async run({ source, sha1 }: Script, keys: readonly string[], args: readonly string[], late?: (reply: unknown) => void): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    const key = keys[0] ?? null;
    try {
      return await this.#ask(key, ['EVALSHA', sha1, ...rest], late);
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error;
      return this.#ask(key, ['EVAL', source, ...rest], late);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#link?.destroy();
  }

  async #ask(key: string | null, command: readonly string[], late: Late): Promise<unknown> {
    if (this.#closed) throw new Error('The connection to Redis is closed');
    // The first connection also loads the package.
    const link = this.#link ?? (await withTimeout(this.#opened(), undefined, () => undefined, this.#renewedAt === -Infinity ? connectTimeout : commandTimeout));
    try {
      return await withTimeout(link.send(key, command), late, link.silent);
    } catch (error) {
      this.#judge(error instanceof Error ? error.message : String(error), link);
      throw error;
    }
  }

  /** A server may have changed its place while its connection stays: another one may answer at its name by now. */
  #judge(message: string, link: Link): void {
    if (misplaced.test(message)) this.#renew(link);
    else if (this.#place.kind === 'cluster' && !isAnswer.test(message) && message !== tooLate) this.#renew(link);
  }

  #renew(link: Link): void {
    const now = performance.now();
    if (this.#closed || link !== this.#link || now - this.#renewedAt < renewEvery) return;
    this.#renewedAt = now;
    this.#link = null;
    this.#opening = null;
    link.destroy();
    this.#opened().catch(() => undefined);
  }

  #opened(): Promise<Link> {
    if (this.#opening !== null) return this.#opening;
    const opening = this.#open();
    this.#opening = opening;
    opening.then((link) => {
      if (this.#closed || this.#opening !== opening) link.destroy();
      else this.#link = link;
    }, (error: unknown) => {
      this.#report(error);
      setTimeout(guard(this.#log, 'redis', () => {
        if (this.#opening === opening) this.#opening = null;
      }), reconnectEvery).unref();
    });
    return opening;
  }

  async #open(): Promise<Link> {
    const redis = await import('redis').catch((cause: unknown) => {
      throw new Error('rate_limit.redis_url: expected the package redis beside this one. Example: npm install redis', { cause });
    });
    switch (this.#place.kind) {
      case 'cluster':
        return this.#openCluster(redis);
      case 'sentinel':
        return this.#openServer(redis, await this.#master(redis));
      case 'server':
        return this.#openServer(redis, this.#place.nodes[0] as Node);
    }
  }

  /** Without an offline queue: while Redis is away, commands fail at once. The client's own time limit would create an AbortSignal for every command. */
  #optionsFor(node: Node | null) {
    const { username, password, secure } = this.#place;
    const tls = secure ? { tls: true as const, ...(this.#ca === null ? {} : { ca: this.#ca }) } : {};
    const socket = { ...(node ?? {}), ...tls, connectTimeout, reconnectStrategy: reconnectEvery, socketTimeout: idleTimeout };
    return {
      socket, disableOfflineQueue: true, pingInterval: pingEvery, commandOptions: { timeout: 0 },
      ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }),
    };
  }

  /** Resolves as soon as the first connection has succeeded or failed. */
  async #openServer({ createClient }: Package, node: Node): Promise<Link> {
    const client = createClient({ ...this.#optionsFor(node), database: this.#place.database });
    const link = this.#linkOf((_key, command) => client.sendCommand(command), () => client.destroy());
    client.on('ready', guard(this.#log, 'redis', () => this.#back()));
    client.on('error', guard(this.#log, 'redis', (error: unknown) => {
      this.#report(error);
      // The Sentinels may name another master by now.
      if (this.#place.kind === 'sentinel') this.#renew(link);
    }));
    const known = new Promise<void>((resolve) => {
      for (const event of ['ready', 'error', 'end']) client.once(event, () => resolve());
    });
    if (this.#closed) throw new Error('The connection to Redis is closed');
    client.connect().catch(() => undefined);
    await known;
    if (this.#place.kind === 'server' && client.isReady && (await isInCluster(client))) return this.#asCluster(link);
    return link;
  }

  /** A server of a cluster has keys of its own alone. */
  async #asCluster(link: Link): Promise<Link> {
    this.#place = { ...this.#place, kind: 'cluster' };
    link.destroy();
    this.#log.info({ effect: 'the servers of the cluster are asked by slot' }, 'redis.cluster');
    return this.#open();
  }

  async #openCluster({ createCluster }: Package): Promise<Link> {
    const rootNodes = this.#place.nodes.map((node) => this.#optionsFor(node));
    const cluster = createCluster({ rootNodes, defaults: this.#optionsFor(null), minimizeConnections: true });
    for (const event of ['error', 'node-error']) cluster.on(event, guard(this.#log, 'redis', (error: unknown) => this.#report(error)));
    await cluster.connect();
    this.#back();
    return this.#linkOf((key, command) => cluster.sendCommand(key ?? undefined, false, [...command]), () => cluster.destroy());
  }

  #linkOf(send: Link['send'], destroy: Link['destroy']): Link {
    const link: Link = {
      send, destroy,
      silent: guard(this.#log, 'redis', () => {
        this.#report(new Error(`Redis left a command unanswered for ${silenceTimeout} ms`));
        this.#renew(link);
      }),
    };
    return link;
  }

  /** The server that is the master now, by the first Sentinel that answers. */
  async #master({ createClient }: Package): Promise<Node> {
    const { nodes, master, secure, sentinelPassword } = this.#place;
    const { socket } = this.#optionsFor(null);
    for (const { host, port } of nodes) {
      const client = createClient({ socket: { ...socket, ...(secure ? { tls: true as const } : {}), host, port, connectTimeout: 1000, socketTimeout: 1000, reconnectStrategy: false }, ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }) });
      client.on('error', () => undefined);
      try {
        await client.connect();
        const found = (await client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master])) as readonly string[] | null;
        if (found !== null) return { host: found[0] as string, port: Number(found[1]) };
      } catch {
        // The next one is asked.
      } finally {
        if (client.isOpen) client.destroy();
      }
    }
    throw new Error(`No Sentinel of rate_limit.redis_url names a master ${JSON.stringify(master)}`);
  }

  #back(): void {
    if (this.#reported) this.#log.info({}, 'redis.back');
    this.#reported = false;
  }

  #report(error: unknown): void {
    if (!this.#reported && !this.#closed) this.#log.error({ error: describe(error) }, 'redis.lost');
    this.#reported = true;
  }
}

type Package = typeof import('redis');

/** Whether a server says of itself that it belongs to a cluster: the mode in the answer to HELLO, which every user may send. */
async function isInCluster(client: { sendCommand(command: readonly string[]): Promise<unknown> }): Promise<boolean> {
  const facts = await client.sendCommand(['HELLO']).catch(() => null);
  return /"mode"[:,]"cluster"/.test(JSON.stringify(facts instanceof Map ? [...facts].flat() : facts));
}

/** The first key of a command, by which a cluster routes it. */
function keyIn([name = '', first, count, key]: readonly string[]): string | null {
  if (name === 'EVAL' || name === 'EVALSHA') return count === '0' ? null : (key ?? null);
  return name === 'PING' || name === 'SCRIPT' || name === 'KEYS' ? null : (first ?? null);
}

/**
 * A process that was busy runs its timers before it reads an answer that has already arrived. So a timer that is late itself
 * extends the limit.
 * @param silent called when the answer is still not there after `silenceTimeout`.
 */
function withTimeout<T>(reply: Promise<T>, late: Late, silent: () => void, limit = commandTimeout): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false;
    let due = performance.now() + limit;
    let extensions = 0;
    const check = (): void => {
      const now = performance.now();
      if (now - due > busyAfter && extensions++ < maxExtensions) {
        due = now + extension;
        timer = setTimeout(check, extension);
        return;
      }
      over = true;
      timer = setTimeout(silent, silenceTimeout - limit).unref();
      reject(new Error(tooLate));
    };
    let timer = setTimeout(check, limit);
    reply.then(
      (value) => {
        clearTimeout(timer);
        if (over) late?.(value);
        else resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
