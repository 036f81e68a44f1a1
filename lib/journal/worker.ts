import { parentPort, type MessagePort } from 'node:worker_threads';
import { openReader } from './database.ts';
import { startWriter } from './opening.ts';
import { readSums } from './sums.ts';
import { answerer } from './query.ts';
import type { Joining } from './thread.ts';
import type { FromWorker, ToWorker, WorkerOptions } from '../record/record.ts';

/** The journal's worker thread: a writer, or a reader beside it, for each gate that uses it. It ends with the last of them. */
const gates = parentPort as MessagePort;
/** Of the gates that use it, what tells a main thread that can only wait. */
const open = new Set<Int32Array>();

gates.on('message', ({ options, port }: Joining) => {
  open.add(options.ended);
  port.once('close', () => {
    tellEnd(options.ended);
    if (open.size === 0) gates.close();
  });
  const send = (message: FromWorker): void => port.postMessage(message);
  if (options.role === 'write') startWriter(options, port, send);
  else startReader(options, port, send);
});

process.once('exit', () => {
  for (const ended of open) tellEnd(ended);
});

function tellEnd(ended: Int32Array): void {
  open.delete(ended);
  Atomics.store(ended, 0, 1);
  Atomics.notify(ended, 0);
}

function startReader({ path: file }: WorkerOptions, port: MessagePort, send: (message: FromWorker) => void): void {
  const path = file ?? ':memory:';
  const db = openReader(path);
  readSums(db, path);
  const answers = answerer(() => db);
  let isOver = false;
  port.once('close', () => void (isOver || db.close()));
  port.on('message', (message: ToWorker) => {
    if (message.kind !== 'call') return;
    if (message.name !== 'close') return answers(message, send);
    isOver = true;
    db.close();
    send({ kind: 'result', call: message.call, value: null });
    port.close();
  });
}
