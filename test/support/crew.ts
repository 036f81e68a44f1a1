import './node.ts';
import './programs.ts';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TransferListItem } from 'node:worker_threads';
import { createServer, type ConfigInput, type Gate } from '../../lib/index.ts';
import type { Config } from '../../types/config.d.ts';
import { adopt } from '../../lib/config/config.ts';
import { gateOf } from '../../lib/gateway.ts';
import { Crew, Link, own, shared, sharedCountsMemory } from '../../lib/platform/platform.ts';
import type { TestLike } from './client.ts';
import { fakeClock, type FakeClock } from './clock.ts';
import { recorder, type Recorder } from './gate.ts';

const mostWorkers = 4;

/** A thread of a gate with several, listening on a port of its own. */
export interface Thread {
  readonly url: string;
  readonly gate: Gate;
  readonly crew: Crew;
}

/** A gate of several threads, all of them in this one: what they tell each other is copied as between threads. */
export interface Threads {
  readonly main: Thread;
  readonly clock: FakeClock;
  readonly log: Recorder;
  /** Topics that threads hear of each other. */
  readonly topics: ReadonlySet<string>;
  /** Starts a worker. */
  join(): Promise<Thread>;
  /** What the last one was told when it began. */
  readonly told: readonly (readonly [topic: string, value: unknown])[];
}

class Overheard extends Crew {
  readonly topics = new Set<string>();

  override subscribe(...[topic, news]: Parameters<Crew['subscribe']>): void {
    this.topics.add(topic);
    super.subscribe(topic, news);
  }
}

/** Starts the main thread of a gate, with a clock of its own; ends with the test. Silent, without a journal unless one is configured. */
export async function startThreads(t: TestLike, config: ConfigInput): Promise<Threads> {
  const counts = new Int32Array(shared.perWorker + mostWorkers * own.size);
  const peers = sharedCountsMemory(mostWorkers);
  const clock = fakeClock();
  const log = recorder();
  const crew = new Overheard(mostWorkers, counts, peers);
  const input: ConfigInput = { secret: 'x'.repeat(32), audit: false, ...config, llm: { priceSource: 'none', ...config.llm, healthCheck: { enabled: false, ...config.llm?.healthCheck } }, server: { host: '127.0.0.1', port: 0, ...config.server }, logging: { file: false, level: 'silent' } };
  const start = async (its: Crew, from: ConfigInput | Config): Promise<Thread> => {
    const gate = gateOf(from, { log, clock }, its);
    const server = createServer(gate).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => gate.close({ timeout: 0 }));
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, gate, crew: its };
  };
  let workers = 0;
  const told: [string, unknown][] = [];
  const join = (): Promise<Thread> => {
    const its = new Crew(mostWorkers, counts, peers);
    const copied = (to: () => Link | null) => ({ postMessage: (said: never, moved: readonly TransferListItem[] = []) => to()?.take(structuredClone(said, { transfer: moved as never })) });
    const place = workers++;
    for (const [path, pair] of crew.certificates) its.certificates.set(path, pair);
    const here: Link = new Link(place, copied(() => its.main), (topic, value) => crew.hear(topic, value, here), log);
    its.main = new Link(place, copied(() => here), (topic, value) => its.hear(topic, value, null), log);
    told.length = 0;
    const { tell } = here;
    here.tell = (topic, value) => {
      if (topic === 'news') told.push(value as [string, unknown]);
      tell.call(here, topic, value);
    };
    crew.join(here);
    here.tell = tell;
    return start(its, adopt(structuredClone(main.gate.config)));
  };
  const main = await start(crew, input);
  return { main, clock, log, topics: crew.topics, join, told };
}
