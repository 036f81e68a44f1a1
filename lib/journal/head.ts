import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Checkpoint } from '../../types/sink.d.ts';

/** The file beside a journal that holds the last checkpoint, so that a journal that was cut or replaced is detected. */
export const headFileOf = (path: string): string => `${path}.head`;

/** The head file of a journal, as it was read. */
export type HeadFile = { readonly kind: 'missing' } | { readonly kind: 'damaged' } | { readonly kind: 'read'; readonly checkpoint: Checkpoint };

const numbers = ['batch', 'record', 'time'];
const texts = ['hash', 'key', 'signature'];

/** Reads a head file. Its signature is not checked here. */
export function readHead(file: string): HeadFile {
  if (!existsSync(file)) return { kind: 'missing' };
  try {
    const head = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const isWhole = Object.keys(head).length === numbers.length + texts.length && numbers.every((name) => Number.isSafeInteger(head[name])) && texts.every((name) => typeof head[name] === 'string');
    return isWhole ? { kind: 'read', checkpoint: head as unknown as Checkpoint } : { kind: 'damaged' };
  } catch {
    return { kind: 'damaged' };
  }
}

/** Replaces a head file. */
export function writeHead(file: string, checkpoint: Checkpoint): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(checkpoint)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
