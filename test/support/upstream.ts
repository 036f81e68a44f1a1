import { once } from 'node:events';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestLike } from './client.ts';
import { freePort } from './ports.ts';

/** An upstream that does just what one test needs, where the stand-ins are too well behaved. */
export interface Upstream {
  readonly url: string;
  readonly port: number;
  readonly server: Server;
}

/** Starts it on a free port of 127.0.0.1; ends with the test, connections included. */
export async function startUpstream(t: TestLike, listener?: RequestListener): Promise<Upstream> {
  const server = createServer({ requestTimeout: 0 }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, server };
}

/** Resolves once a number has stopped moving: what had room in the buffers on the way has gone through. */
export async function settled(read: () => number): Promise<number> {
  let last = read();
  for (let quiet = 0; quiet < 25; quiet++) {
    await new Promise((resolve) => setTimeout(resolve, 4));
    if (read() !== last) quiet = 0;
    last = read();
  }
  return last;
}

/** Answers with `size` bytes, or without end; says how many it got rid of. */
export function pour(res: ServerResponse, size: number = Number.POSITIVE_INFINITY): () => number {
  const piece = Buffer.alloc(1 << 18, 1);
  let given = 0;
  const more = (): void => {
    while (given < size && !res.destroyed) {
      given += piece.length;
      if (!res.write(piece)) return;
    }
    if (!res.writableEnded) res.end();
  };
  res.on('drain', more);
  more();
  return () => given;
}

/** A URL on which nothing listens, nor is going to. */
export const nowhere = async (): Promise<string> => `http://127.0.0.1:${await freePort()}`;
