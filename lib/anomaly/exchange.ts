import { randomBytes } from 'node:crypto';
import type { Signal } from '../../types/detector.d.ts';
import { inBackground, type Redis, Repeated, scriptOf } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { isSignal } from './signals.ts';

/** How often the news of other instances is read, milliseconds. */
const readEvery = 300;
/** Messages kept in Redis: some minutes of the busiest gates. */
const mostMessages = 20_000;
const places = ['heimdall:{watch}:news', 'heimdall:{watch}:last'] as const;

/** ARGV: most messages, messages. @returns the number of the last. */
const push = scriptOf(`
local last = 0
for at = 2, #ARGV do
  last = redis.call('INCR', KEYS[2])
  redis.call('ZADD', KEYS[1], last, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', last - ARGV[1])
redis.call('PEXPIRE', KEYS[1], 600000)
return last`);

/** ARGV: the number of the last message that was read, or -1. @returns the number of the last one, then the messages behind it. */
const pull = scriptOf(`
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local from = tonumber(ARGV[1])
if from < 0 or from >= last then return {last} end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. from, last, 'LIMIT', 0, 1000)
if #found == 1000 then last = from + 1000 end
table.insert(found, 1, last)
return found`);

/** Carries what the watches of several instances tell each other through Redis: hashes and networks, nothing in clear. */
export class Exchange {
  readonly #core: Core;
  readonly #redis: Redis;
  readonly #hear: (signals: readonly Signal[]) => void;
  readonly #instance = randomBytes(6).toString('hex');
  readonly #readings: Repeated;
  #last = -1;
  #serial = 0;
  #lost = false;
  /** Messages that were none. */
  #refused = 0;

  /** @param hear gets the signals of other instances. */
  constructor(core: Core, redis: Redis, hear: (signals: readonly Signal[]) => void) {
    this.#core = core;
    this.#redis = redis;
    this.#hear = hear;
    this.#readings = new Repeated(core, 'watch', readEvery, () => this.#read());
  }

  /** Messages of other instances that were refused. */
  get refused(): number {
    return this.#refused;
  }

  start(): void {
    this.#readings.startNow();
  }

  stop(): void {
    this.#readings.stop();
  }

  /** Tells the other instances. */
  send(signals: readonly Signal[]): void {
    const messages = signals.map((signal) => JSON.stringify([this.#instance, ++this.#serial, signal]));
    inBackground(this.#core.log, 'watch', this.#redis.run(push, places, [String(mostMessages), ...messages]).then(() => this.#back(), (error: unknown) => this.#failed(error)));
  }

  async #read(): Promise<void> {
    try {
      const [last, ...messages] = (await this.#redis.run(pull, places, [String(this.#last)])) as [number, ...string[]];
      if (!Number.isSafeInteger(Number(last))) throw new Error('expected the number of the last message');
      // Redis has lost its data, or was restored.
      this.#last = Number(last);
      this.#back();
      const signals = messages.flatMap((text) => this.#signalIn(text));
      if (signals.length > 0) this.#hear(signals);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** SECURITY: other programs may write to the same Redis, and what is no signal would end the watch of every instance. */
  #signalIn(text: string): readonly Signal[] {
    const [instance, , signal] = messageIn(text);
    if (instance === this.#instance) return [];
    if (typeof instance === 'string' && isSignal(signal)) return [signal];
    if (this.#refused++ === 0) this.#core.log.warn({ effect: 'it is left out; further ones are only counted', fix: 'see what else writes to heimdall:{watch}:news' }, 'watch.refused');
    return [];
  }

  #failed(error: unknown): void {
    if (!this.#lost) this.#core.log.warn({ error: error instanceof Error ? error.message : String(error), effect: 'the watch of each instance sees its own part' }, 'watch.alone');
    this.#lost = true;
  }

  #back(): void {
    this.#lost = false;
  }
}

/** The members of a message; none for a text that is no message. */
function messageIn(text: unknown): readonly unknown[] {
  try {
    const message: unknown = JSON.parse(String(text));
    return Array.isArray(message) ? message : [];
  } catch {
    return [];
  }
}
