import { createHash } from 'node:crypto';
import type { RedisClientType } from 'redis';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from './describe.ts';

/** A command that takes longer counts as failed, milliseconds: a request waits for it. */
const patience = 500;
/** A timer as late as this says that the process was busy; then an answer may take so much longer, milliseconds. */
const busy = 20;
const grace = 100;
const mostGraces = 5;
/** The first connection may take this long: whether Redis is there is not known before. */
const connectPatience = 2000;
const reconnectEvery = 250;
/** Who says nothing for this long although asked every second is gone, even if nobody closed the connection. */
const pingEvery = 1000;
const silence = 3000;

/** The Redis all instances share. Connects with its first command and again by itself. */
export interface Redis {
  /** @throws when Redis did not answer in time. */
  send(...command: string[]): Promise<unknown>;
  /**
   * Runs a Lua script in one round trip.
   * @param late is told of an answer that came after all.
   * @throws when Redis did not answer in time.
   */
  run(script: Script, keys: readonly string[], args: readonly string[], late?: (reply: unknown) => void): Promise<unknown>;
  close(): Promise<void>;
}

/** A Lua script and the digest by which Redis knows it. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

/** A script under its digest. */
export function scriptOf(source: string): Script {
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}

/** @returns null where none is configured. */
export function redisOf(config: Config, log: Logger): Redis | null {
  const url = config.rateLimit.redisUrl;
  return url === null ? null : new Connection(url, log);
}

type Late = ((reply: unknown) => void) | undefined;

class Connection implements Redis {
  readonly #log: Logger;
  readonly #url: string;
  #client: RedisClientType | null = null;
  #opened: Promise<RedisClientType> | null = null;
  #closed = false;
  #reported = false;

  constructor(url: string, log: Logger) {
    this.#log = log;
    this.#url = url;
  }

  async send(...command: string[]): Promise<unknown> {
    return this.#ask(command, undefined);
  }

  async run({ source, sha1 }: Script, keys: readonly string[], args: readonly string[], late?: (reply: unknown) => void): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.#ask(['EVALSHA', sha1, ...rest], late);
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error;
      return this.#ask(['EVAL', source, ...rest], late);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#client?.destroy();
  }

  async #ask(command: readonly string[], late: Late): Promise<unknown> {
    if (this.#closed) throw new Error('The connection to Redis is closed');
    const client = await (this.#opened ??= this.#open());
    return inTime(client.sendCommand(command), late);
  }

  /** Without an offline queue: while Redis is away commands fail at once instead of piling up. Resolves as soon as it is known to be there or not. */
  async #open(): Promise<RedisClientType> {
    const { createClient } = await import('redis').catch((cause: unknown) => {
      const error = new Error('rate_limit.redis_url: expected the package redis beside this one. Example: npm install redis', { cause });
      this.#report(error);
      throw error;
    });
    const socket = { connectTimeout: connectPatience, reconnectStrategy: reconnectEvery, socketTimeout: silence };
    // The client's own limit would cost every command an AbortSignal.
    const client = createClient({ url: this.#url, disableOfflineQueue: true, pingInterval: pingEvery, commandOptions: { timeout: 0 }, socket }) as unknown as RedisClientType;
    this.#client = client;
    client.on('ready', () => {
      if (this.#reported) this.#log.info({}, 'redis.back');
      this.#reported = false;
    });
    client.on('error', (error: unknown) => this.#report(error));
    const known = new Promise<void>((resolve) => {
      for (const event of ['ready', 'error', 'end']) client.once(event, () => resolve());
    });
    if (this.#closed) throw new Error('The connection to Redis is closed');
    client.connect().catch(() => undefined);
    await known;
    return client;
  }

  #report(error: unknown): void {
    if (!this.#reported && !this.#closed) this.#log.error({ error: describe(error) }, 'redis.lost');
    this.#reported = true;
  }
}

/**
 * A process that was busy runs its timers before it sends what waits and reads what has long arrived: where the timer itself
 * is late, Redis gets a little more time.
 */
function inTime(reply: Promise<unknown>, late: Late): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let over = false;
    let due = performance.now() + patience;
    let graces = 0;
    const look = (): void => {
      const now = performance.now();
      if (now - due > busy && graces++ < mostGraces) {
        due = now + grace;
        timer = setTimeout(look, grace);
        return;
      }
      over = true;
      reject(new Error('Redis did not answer in time'));
    };
    let timer = setTimeout(look, patience);
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
