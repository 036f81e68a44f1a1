import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that a system picks for connections: none of another test takes one of them meanwhile. */
const [lowest, highest] = [20_000, 32_000];

/** The first of some ports in a row of 127.0.0.1 that are free, for a program that has to be told its port. */
export async function freePort(inARow = 1): Promise<number> {
  for (;;) {
    const first = lowest + Math.floor(Math.random() * (highest - lowest));
    let free = 0;
    while (free < inARow && (await isFree(first + free))) free++;
    if (free === inARow) return first;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  const isFree = await once(server, 'listening').then(() => true, () => false);
  if (isFree) await once(server.close(), 'close');
  return isFree;
}
