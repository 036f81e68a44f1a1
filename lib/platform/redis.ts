import { createHash } from 'node:crypto';
import type { RedisClientType } from 'redis';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { describe } from './describe.ts';
import { guard } from './guard.ts';

/** Time limit of a command, milliseconds: a request waits for it. */
const commandTimeout = 500;
/** A timer that fires this late, milliseconds, shows that the process was busy; then the limit is extended. */
const busyAfter = 20;
const extension = 100;
const maxExtensions = 5;
/** Time limit of a connection, milliseconds. */
const connectTimeout = 2000;
const reconnectEvery = 250;
/** Redis is pinged every second; a connection without any answer for this long is closed, milliseconds. */
const pingEvery = 1000;
const silenceTimeout = 3000;

/** The Redis that all instances share. Connects at its first command and reconnects by itself. */
export interface Redis {
  /** @throws when Redis does not answer in time. */
  send(...command: string[]): Promise<unknown>;
  /**
   * Runs a Lua script in one round trip.
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
    return withTimeout(client.sendCommand(command), late);
  }

  /**
   * Without an offline queue: while Redis is away, commands fail at once. Resolves as soon as the first connection has
   * succeeded or failed.
   */
  async #open(): Promise<RedisClientType> {
    const { createClient } = await import('redis').catch((cause: unknown) => {
      const error = new Error('rate_limit.redis_url: expected the package redis beside this one. Example: npm install redis', { cause });
      this.#report(error);
      throw error;
    });
    const socket = { connectTimeout, reconnectStrategy: reconnectEvery, socketTimeout: silenceTimeout };
    // The client's own time limit would create an AbortSignal for every command.
    const client = createClient({ url: this.#url, disableOfflineQueue: true, pingInterval: pingEvery, commandOptions: { timeout: 0 }, socket }) as unknown as RedisClientType;
    this.#client = client;
    client.on('ready', guard(this.#log, 'redis', () => {
      if (this.#reported) this.#log.info({}, 'redis.back');
      this.#reported = false;
    }));
    client.on('error', guard(this.#log, 'redis', (error: unknown) => this.#report(error)));
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
 * A process that was busy runs its timers before it reads an answer that has already arrived. So a timer that is late itself
 * extends the limit.
 */
function withTimeout(reply: Promise<unknown>, late: Late): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let over = false;
    let due = performance.now() + commandTimeout;
    let extensions = 0;
    const check = (): void => {
      const now = performance.now();
      if (now - due > busyAfter && extensions++ < maxExtensions) {
        due = now + extension;
        timer = setTimeout(check, extension);
        return;
      }
      over = true;
      reject(new Error('Redis did not answer in time'));
    };
    let timer = setTimeout(check, commandTimeout);
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
