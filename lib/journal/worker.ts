import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { openReader } from './database.ts';
import { startWriter } from './opening.ts';
import { readSums } from './sums.ts';
import { answerer } from './query.ts';
import type { FromWorker, ToWorker, WorkerOptions } from '../record/record.ts';

/** The journal's worker thread: the writer, or the reader beside it. */
const options = workerData as WorkerOptions;
const port = parentPort as MessagePort;
process.once('exit', () => {
  Atomics.store(options.ended, 0, 1);
  Atomics.notify(options.ended, 0);
});
const send = (message: FromWorker): void => port.postMessage(message);

if (options.role === 'write') startWriter(options, port, send);
else {
  const path = options.path ?? ':memory:';
  const db = openReader(path);
  readSums(db, path);
  const answers = answerer(() => db);
  port.on('message', (message: ToWorker) => {
    if (message.kind !== 'call') return;
    if (message.name !== 'close') return answers(message, send);
    db.close();
    send({ kind: 'result', call: message.call, value: null });
    port.close();
  });
}
