import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

/** An address that never answers a connection attempt. */
export interface FullBacklog {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

// Node accepts by itself whatever arrives; a thread that listens and then sleeps does not.
const LISTENER = `
const { parentPort } = require('node:worker_threads');
const server = require('node:net').createServer();
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort.postMessage(server.address().port);
  setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
});`;

/** A loopback port whose listen backlog is full: `connect()` neither succeeds nor fails, as to a host that is gone. */
export async function fullBacklog(): Promise<FullBacklog> {
  const worker = new Worker(LISTENER, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  const fillers: Socket[] = [];
  const close = async (): Promise<void> => {
    for (const filler of fillers) filler.destroy();
    await worker.terminate();
  };
  // Linux queues one connection more than it was asked to; a few spare rounds cost nothing.
  for (let round = 0; round < 16; round++) {
    const filler = connect(port, '127.0.0.1');
    fillers.push(filler);
    if (!(await connects(filler, 60))) return { url: `http://127.0.0.1:${port}`, port, close };
  }
  await close();
  throw new Error('Expected the backlog to fill within 16 connections');
}

function connects(socket: Socket, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    socket.on('error', () => {});
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
