import type { MessagePort } from 'node:worker_threads';
import { openFile, openMemory, reasonOf, type Opened } from './database.ts';
import { type FromWorker, type ToWorker, wipe, type WorkerOptions } from '../record/record.ts';
import { AccessLineWriter } from '../access-log/access-log.ts';
import { signerOf, type Signer } from './hash-chain.ts';
import { Writer } from './writer.ts';

type Send = (message: FromWorker) => void;

/** Delay before a file that could not be opened is tried again, milliseconds; it doubles up to the second value. */
const firstDelay = 100;
const maxDelay = 10_000;

/**
 * Opens the journal and writes what arrives. When the file cannot be opened, the journal is kept in memory. When the file is
 * required, it is tried again, and records are refused meanwhile; their access lines are still written.
 */
export function startWriter(options: WorkerOptions, port: MessagePort, send: Send): void {
  const lines = new AccessLineWriter(options.lines, options, send);
  const signer = signerOf(options.secret);
  const on = (opened: Opened): Writer => new Writer(options, opened, signer, lines, send, () => port.close());
  let writer: Writer | null = null;
  let next: NodeJS.Timeout | null = null;
  let delay = firstDelay;
  const open = (): void => {
    const found = onFile(options, signer, on);
    if (typeof found !== 'string') writer = found;
    else if (!options.required) writer = on(openMemory(found, signer, options.now));
    else {
      send({ kind: 'failed', reason: found });
      next = setTimeout(open, delay);
      delay = Math.min(maxDelay, delay * 2);
    }
  };
  open();
  port.on('message', (message: ToWorker) => {
    if (writer !== null) return writer.onMessage(message);
    const isLast = refuse(message, lines, send);
    if (!isLast) return;
    if (next !== null) clearTimeout(next);
    port.close();
  });
}

/** @returns whether the journal is being closed. */
function refuse(message: ToWorker, lines: AccessLineWriter, send: Send): boolean {
  if (message.kind === 'bodyChunk') send({ kind: 'bodyChunkRead', bytes: message.bytes.length });
  else if (message.kind === 'lines') lines.writeUnplaced(message.unplaced);
  else if (message.kind === 'batch') {
    lines.writeEarly(message);
    wipe(message);
    send({ kind: 'refusing', seq: message.seq });
  } else {
    const isLast = message.name === 'close';
    send(isLast ? { kind: 'result', call: message.call, value: null } : { kind: 'error', call: message.call, message: 'the journal has no file' });
    return isLast;
  }
  return false;
}

/** @returns the writer, or the reason why the file cannot be used. */
function onFile({ path, durable, now }: WorkerOptions, signer: Signer, on: (opened: Opened) => Writer): Writer | string {
  let opened: Opened | null = null;
  try {
    opened = openFile(path, durable, signer, now);
    return on(opened);
  } catch (error) {
    opened?.close();
    return reasonOf(error);
  }
}
