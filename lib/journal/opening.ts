import type { MessagePort } from 'node:worker_threads';
import { openFile, openMemory, openPatience, reasonOf, type Opened } from './database.ts';
import { type FromWorker, RecordBuilder, type ToWorker, type WorkerOptions } from '../record/record.ts';
import { AccessLineWriter } from '../access-log/access-log.ts';
import { signerOf } from './hash-chain.ts';
import { JournalInUse } from './presence.ts';
import { Writer, type WriterTools } from './writer.ts';

/** Delay before a file that could not be opened is tried again, milliseconds; it doubles up to the second value. */
const firstDelay = 100;
const maxDelay = 10_000;
/** The same for a file that another process has for itself. */
const maxDelayInUse = 1000;

/** Why the file could not be opened. */
interface Failure {
  readonly reason: string;
  /** Another process has it for itself, and will be gone some time. */
  readonly isPassing: boolean;
}

/**
 * Opens the journal and writes what arrives. While the file cannot be opened, records are kept in memory, within bounds, and the
 * file is tried again; when it opens, they are written to it. Where the journal is switched off, access lines are all it writes.
 */
export function startWriter(options: WorkerOptions, port: MessagePort, send: (message: FromWorker) => void): void {
  let isOver = false;
  let current = options;
  const tools: WriterTools = {
    signer: signerOf(options.secret), builder: new RecordBuilder(options), lines: new AccessLineWriter(options.lines, options, send), send,
    end: () => {
      isOver = true;
      port.close();
    },
  };
  if (options.path === null) {
    const nothing = inMemory(options, tools, { reason: 'the journal is switched off', isPassing: false });
    port.on('message', (message: ToWorker) => {
      if (message.kind === 'configure') return tools.lines.configure(message.settings.lines, message.settings.queryAllow);
      return nothing.onMessage(message);
    });
    port.once('close', () => void (isOver || nothing.onMessage(goodbye(options))));
    return;
  }
  const first = onFile(options, tools, openPatience);
  let writer = first instanceof Writer ? first : inMemory(options, tools, first);
  let next: NodeJS.Timeout | null = null;
  let delay = firstDelay;
  const merge = (patience: number): void => {
    const found = onFile(current, tools, patience);
    if (!(found instanceof Writer)) return wait(found);
    const memory = writer;
    writer = found;
    found.adopt(memory.handOver());
  };
  const wait = ({ isPassing }: Failure): void => {
    next = setTimeout(() => {
      next = null;
      merge(0);
    }, delay);
    delay = Math.min(isPassing ? maxDelayInUse : maxDelay, delay * 2);
  };
  if (!(first instanceof Writer)) wait(first);
  const take = (message: ToWorker): void => {
    if (message.kind === 'configure') {
      current = { ...current, ...message.settings };
      tools.builder.configure(current);
      tools.lines.configure(current.lines, current.queryAllow);
    }
    if (next !== null && message.kind === 'call' && message.name === 'close') {
      clearTimeout(next);
      merge(openPatience);
      if (next !== null) clearTimeout(next);
    }
    writer.onMessage(message);
  };
  port.on('message', take);
  // A thread of the gate has ended without a word.
  port.once('close', () => void (isOver || take(goodbye(options))));
}

/** What a gate says that closes; nothing hears the answer. */
const goodbye = ({ now }: WorkerOptions): ToWorker => ({ kind: 'call', call: 0, name: 'close', request: { now } });

function inMemory(options: WorkerOptions, tools: WriterTools, { reason, isPassing }: Failure): Writer {
  return new Writer(options, openMemory(reason, tools.signer, options.now), tools, isPassing);
}

/** @param patience milliseconds to wait for a process that has the file for itself. @returns the writer, or why the file cannot be used. */
function onFile(options: WorkerOptions, tools: WriterTools, patience: number): Writer | Failure {
  let opened: Opened | null = null;
  try {
    opened = openFile(options.path ?? '', options.durable, tools.signer, options.now, { session: options.session, patience });
    return new Writer(options, opened, tools);
  } catch (error) {
    opened?.close();
    return { reason: reasonOf(error), isPassing: error instanceof JournalInUse };
  }
}
