// One of the threads that serve, where `server.workers` asks for several.

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { parentPort, type MessagePort } from 'node:worker_threads';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { adopt } from '../config/config.ts';
import { gateOf, internalsOf } from '../gateway.ts';
import { codeOf, Crew, guard, Link, own, shared } from '../platform/platform.ts';
import { createServer } from './create.ts';
import { listening } from './listening.ts';
import type { WorkerStart } from './workers.ts';

/** How often a worker gives a sign of life, milliseconds. */
const beatEvery = 250;

const main = parentPort as MessagePort;
// A spare one has loaded everything here and waits for a place.
const [{ config: copy, place, workers, counts, peers, port, certificates: inUse, ticketSecret }] = (await once(main, 'message')) as [WorkerStart];
const crew = new Crew(workers, counts, peers);
crew.ticketSecret = ticketSecret;
for (const [path, pair] of inUse) crew.certificates.set(path, pair);
const said = (level: keyof Logger) => (fields: object, event: string): void => crew.main?.tell('log', [level, fields, event]);
const log: Logger = { debug: said('debug'), info: said('info'), warn: said('warn'), error: said('error') };
const link = new Link(place, main, (topic, value) => crew.hear(topic, value, null), log);
crew.main = link;
main.on('message', guard(log, 'thread', link.take));

const gate = gateOf(adopt(copy), { standalone: true, log }, crew);
const { core, end, reload, certificates } = internalsOf(gate);

/** The main thread decides whether a configuration that is ready everywhere comes into force. */
let decision: PromiseWithResolvers<boolean> | null = null;

crew.answer('reload', (next) => {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { promise: decided } = (decision = Promise.withResolvers<boolean>());
  const decide = (): Promise<boolean> => {
    resolve();
    return decided;
  };
  reload('main', adopt(next as Config), decide).catch(reject);
  return promise;
});
crew.answer('reload.decided', (isTaken) => {
  decision?.resolve(isTaken === true);
  decision = null;
});
crew.answer('renew', () => {
  for (const { all } of certificates) for (const certificate of all) certificate.renew();
});
crew.answer('drain', (quiet) => end(quiet as number));

const server = createServer(gate);
try {
  await listening(server, core, { port, host: gate.config.server.host, reusePort: true });
  link.tell('listening', { port: (server.address() as AddressInfo).port });
  const mine = shared.perWorker + place * own.size;
  setInterval(guard(log, 'worker', () => {
    Atomics.add(counts, mine + own.beats, 1);
    Atomics.store(counts, mine + own.inHand, [...core.inFlight].filter(({ relayed }) => !relayed).length);
  }), beatEvery);
} catch (error) {
  link.tell('listening', { problem: codeOf(error) });
}
