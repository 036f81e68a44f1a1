import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { answer } from './ipc.ts';
import { CHAT_ANSWER, DONE, EVENT, paceOf, type Pace } from './wire.ts';

/**
 * The API behind every contestant: reads the body, answers precomputed bytes with NewAPI's headers, or streams.
 * With `stamp` as first argument a plain answer tells when its request arrived, for the failover suite.
 */
const stamp = process.argv[2] === 'stamp';
const FRAME = Buffer.concat([Buffer.from(`${EVENT.length.toString(16)}\r\n`), EVENT, Buffer.from('\r\n')]);
const LAST_FRAME = Buffer.concat([Buffer.from(`${DONE.length.toString(16)}\r\n`), DONE, Buffer.from('\r\n')]);

const server = http.createServer({ keepAlive: true, noDelay: true }, (req, res) => {
  const arrived = stamp ? process.hrtime.bigint() : 0n;
  let first: Buffer | undefined;
  req.on('data', (part: Buffer) => (first ??= part));
  req.on('end', () => {
    // It stands at the beginning: nothing is joined.
    const pace = first === undefined ? undefined : paceOf(first);
    if (pace === undefined) plain(res, arrived);
    else stream(res, pace);
  });
});
// Longer than any run: a pooled connection that ends in mid-round would be an error of the bench, not of the gate.
server.keepAliveTimeout = 600_000;
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', 4096, () => answer((server.address() as AddressInfo).port, {}));

function plain(res: http.ServerResponse, arrived: bigint): void {
  const body = stamp ? Buffer.from(JSON.stringify({ arrived: String(arrived), choices: [] })) : CHAT_ANSWER;
  res.writeHead(200, [
    'Content-Type', 'application/json; charset=utf-8',
    'X-Oneapi-Request-Id', '2026112100000000000000bench000001',
    'Content-Length', String(body.length),
  ]);
  res.end(body);
}

function stream(res: http.ServerResponse, { chunks, every }: Pace): void {
  res.writeHead(200, [
    'Content-Type', 'text/event-stream',
    'Cache-Control', 'no-cache',
    'X-Oneapi-Request-Id', '2026112100000000000000bench000002',
    'Transfer-Encoding', 'chunked',
  ]);
  res.flushHeaders();
  let left = chunks;
  const step = (): void => {
    const { socket } = res;
    if (socket === null || socket.destroyed) return;
    if (left-- <= 0) {
      socket.write(LAST_FRAME);
      res.end();
      return;
    }
    // A ready-made frame on the socket: res.write would make the upstream, not the gate, the slowest part.
    if (!socket.write(FRAME)) socket.once('drain', step);
    else if (every > 0) setTimeout(step, every);
    else setImmediate(step);
  };
  step();
}
