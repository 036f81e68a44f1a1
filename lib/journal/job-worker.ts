import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { openReader } from './database.ts';
import { exportRecords } from './export.ts';
import { verifierOf } from './hash-chain.ts';
import { headFileOf, readHead } from './head.ts';
import type { JobMessage, JobOptions } from './job.ts';
import { readSums } from './sums.ts';
import { verifyJournal } from './verify.ts';

/** Between two messages about the progress, milliseconds. */
const tellEvery = 250;

/** The thread of a job: it reads the journal beside the gate, and ends with its job. */
const options = workerData as JobOptions;
const port = parentPort as MessagePort;
const send = (message: JobMessage): void => port.postMessage(message);
let told = Number.NEGATIVE_INFINITY;
const tell = (done: number, total: number | null): void => {
  const now = performance.now();
  if (now - told < tellEvery && done !== total) return;
  told = now;
  send({ kind: 'progress', done, total });
};

const { path, work } = options;
// The head is read first, because the gate may sign while the journal is read.
const head = work.kind === 'verify' ? readHead(headFileOf(path)) : null;
const db = openReader(path);
try {
  if (work.kind === 'verify') {
    const { broken, uncertain, ...verdict } = verifyJournal(db, verifierOf(options.secrets), { head, checkpoints: [], told: tell });
    send({ kind: 'result', value: { whole: broken === null && uncertain === null, broken: broken?.what ?? null, uncertain, ...verdict, last: verdict.last === null ? null : new Date(verdict.last.time).toISOString() } });
  } else {
    readSums(db, path);
    const handle = openSync(work.file, 'r+');
    rmSync(work.file);
    try {
      const records = exportRecords(db, work, (text) => writeFileSync(handle, text), tell);
      send({ kind: 'result', value: { records } });
    } finally {
      closeSync(handle);
    }
  }
} finally {
  db.close();
}
