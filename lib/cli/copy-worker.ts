// Copies the committed state of a database that other processes may write to, in a thread of its own, so that the command can
// show how far it is.

import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

const { from, to, timeout } = workerData as { readonly from: string; readonly to: string; readonly timeout: number };
const db = new DatabaseSync(from, { readOnly: true, timeout });
try {
  db.prepare('VACUUM INTO ?').run(to);
} finally {
  db.close();
}
