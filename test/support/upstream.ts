import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestLike } from './client.ts';

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

/** A URL on which nothing listens. */
export async function nowhere(t: TestLike): Promise<string> {
  const { url, server } = await startUpstream(t);
  server.close();
  await once(server, 'close');
  return url;
}
