import { workerData } from 'node:worker_threads';
import { floods, openRaw } from '../support/http2-frames.ts';

/** What the thread is given: the port, and the name of the flood. */
const { port, name } = workerData as { readonly port: number; readonly name: string };
const of = floods[name] as (nth: number) => Buffer;
const attackers = 4;

async function attack(): Promise<void> {
  for (;;) {
    try {
      const session = await openRaw({ after: () => undefined }, port);
      for (let nth = 0, goesOn = true; goesOn;) goesOn = await session.send(Buffer.concat(Array.from({ length: 200 }, () => of(nth++))));
      session.socket.destroy();
    } catch {
      // Sent away in the handshake: again.
    }
  }
}

for (let nth = 0; nth < attackers; nth++) void attack();
