import type { MessagePort } from 'node:worker_threads';
import { openFile, openMemory, reasonOf, type Opened } from './database.ts';
import { type FromWorker, type ToWorker, wipe, type WorkerOptions } from '../record/record.ts';
import { Lines } from '../access-log/access-log.ts';
import { Writer } from './writer.ts';

type Tell = (message: FromWorker) => void;

/** Before a file that could not be opened is tried again, milliseconds; doubles up to the second. */
const firstTry = 100;
const longestTry = 10_000;

/**
 * Opens the journal and writes what comes; what cannot be written now is tried again until it can. A file that must not be
 * done without is tried again too, while records are refused and leave their access lines alone.
 */
export function startWriter(options: WorkerOptions, port: MessagePort, tell: Tell): void {
  const lines = new Lines(options.lines, options.queryAllow, tell);
  const on = (opened: Opened): Writer => new Writer(options, opened, lines, tell, () => port.close());
  let writer: Writer | null = null;
  let next: NodeJS.Timeout | null = null;
  let wait = firstTry;
  const open = (): void => {
    const found = onFile(options, on);
    if (typeof found !== 'string') writer = found;
    else if (!options.required) writer = on(openMemory(found));
    else {
      tell({ kind: 'failed', reason: found });
      next = setTimeout(open, wait);
      wait = Math.min(longestTry, wait * 2);
    }
  };
  open();
  port.on('message', (message: ToWorker) => {
    if (writer !== null) return writer.hear(message);
    const isLast = refuse(message, lines, tell);
    if (!isLast) return;
    if (next !== null) clearTimeout(next);
    port.close();
  });
}

/** @returns whether nothing will follow. */
function refuse(message: ToWorker, lines: Lines, tell: Tell): boolean {
  if (message.kind === 'piece') tell({ kind: 'taken', bytes: message.bytes.length });
  else if (message.kind === 'lines') lines.ofSpared(message.spared);
  else if (message.kind === 'batch') {
    lines.early(message);
    wipe(message);
    tell({ kind: 'refusing', seq: message.seq });
  } else {
    const isLast = message.name === 'close';
    tell(isLast ? { kind: 'answer', call: message.call, value: null } : { kind: 'refused', call: message.call, message: 'the journal has no file' });
    return isLast;
  }
  return false;
}

/** @returns why the file cannot be used, when it cannot. */
function onFile({ path, durable }: WorkerOptions, on: (opened: Opened) => Writer): Writer | string {
  let opened: Opened | null = null;
  try {
    opened = openFile(path, durable);
    return on(opened);
  } catch (error) {
    opened?.close();
    return reasonOf(error);
  }
}
