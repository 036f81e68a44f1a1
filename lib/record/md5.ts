import { hash } from 'node:crypto';
import { code } from './md5.wasm.ts';

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Reads so many blocks in each lane. */
  readonly run: (blocks: number) => void;
}

/** The part of the standard WebAssembly API (W3C) that is used here. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object; readonly Instance: new (module: object) => { readonly exports: unknown } };

const lanes = 4;
const block = 64;
/** Bytes of a message that a lane holds at a time, and where the windows of the lanes begin. */
const windowBytes = 32_768;
const windows = 4096;
/** Offsets of state and pointers in words, see md5.wat. */
const stateAt = 128;
const pointersAt = 192;
const first = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
/** Messages shorter than this cost less one by one, and so do fewer of them; of longer ones, the others would have to wait for the end. */
const shortest = 2048;
const fewest = 3;
const longest = 1_048_576;

interface Engine extends Exports {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly view: DataView;
}

/** Made with the first use; null where it cannot be: the processors of some virtual machines lack the instructions (SSE4.1). */
let engine: Engine | null | undefined;

function made(): Engine | null {
  try {
    const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(code, 'base64'))).exports as Exports;
    const words = new Uint32Array(memory.buffer);
    for (let at = 0; at < block; at++) words[at] = Math.floor(Math.abs(Math.sin(at + 1)) * 2 ** 32);
    return { memory, run, words, bytes: Buffer.from(memory.buffer), view: new DataView(memory.buffer) };
  } catch {
    return null;
  }
}

/** One lane's message: how much of it is in the window, in blocks that are not read yet, and before it. */
interface Lane {
  readonly at: number;
  index: number;
  message: Uint8Array;
  /** Bytes that were put into the window so far, of all with the padding. */
  placed: number;
  total: number;
  blocks: number;
}

/** Hex MD5 of each message. Four at a time take a little more time than one. */
export function md5Each(messages: readonly Uint8Array[]): string[] {
  const digests = messages.map(() => '');
  const apart: number[] = [];
  const together: number[] = [];
  for (const [at, { length }] of messages.entries()) (length < shortest || length > longest ? apart : together).push(at);
  if (together.length >= fewest && engine === undefined) engine = made();
  const by = together.length < fewest ? null : (engine ?? null);
  // The long ones first, so that the lanes end together.
  if (by === null) apart.push(...together);
  else hashTogether(by, messages, together.sort((a, b) => (messages[b] as Uint8Array).length - (messages[a] as Uint8Array).length), digests);
  for (const at of apart) digests[at] = hash('md5', messages[at] as Uint8Array);
  return digests;
}

function hashTogether(by: Engine, messages: readonly Uint8Array[], order: readonly number[], digests: string[]): void {
  let next = 0;
  const take = (at: number): Lane | null => {
    const index = order[next++];
    return index === undefined ? null : begun(by, at, index, messages[index] as Uint8Array);
  };
  let busy = Array.from({ length: lanes }, (_, at) => take(at)).filter((lane) => lane !== null);
  while (busy.length > 0) {
    let blocks = Infinity;
    for (const lane of busy) {
      if (lane.blocks === 0) refill(by, lane);
      blocks = Math.min(blocks, lane.blocks);
    }
    // What an idle lane reads does not matter, as long as it is there.
    for (let at = 0; at < lanes; at++) if (!busy.some((lane) => lane.at === at)) by.words[pointersAt + at] = windows;
    by.run(blocks);
    const still: Lane[] = [];
    for (const lane of busy) {
      lane.blocks -= blocks;
      if (lane.blocks > 0 || lane.placed < lane.total) still.push(lane);
      else {
        digests[lane.index] = digestOf(by, lane.at);
        const other = take(lane.at);
        if (other !== null) still.push(other);
      }
    }
    busy = still;
  }
  // SECURITY: bodies stay nowhere.
  by.bytes.fill(0, pointersAt * Uint32Array.BYTES_PER_ELEMENT, windows + lanes * windowBytes);
}

function begun({ words }: Engine, at: number, index: number, message: Uint8Array): Lane {
  for (const [nth, word] of first.entries()) words[stateAt + nth * lanes + at] = word;
  return { at, index, message, placed: 0, total: Math.ceil((message.length + 9) / block) * block, blocks: 0 };
}

/** Puts the next bytes into a lane's window. Behind the message stand a one bit, zeros, and its length in bits. */
function refill({ bytes, words, view }: Engine, lane: Lane): void {
  const { message, total, placed: from } = lane;
  const size = Math.min(windowBytes, total - from);
  const part = message.subarray(from, from + size);
  const start = windows + lane.at * windowBytes;
  // A plain copy, as `copyTo` of the segment, which loads what a processor without these instructions cannot.
  bytes.fill(part, start, start + part.length);
  bytes.fill(0, start + part.length, start + size);
  if (from <= message.length && message.length < from + size) bytes[start + message.length - from] = 0x80;
  if (from + size === total) view.setUint32(start + size - 8, message.length * 8, true);
  words[pointersAt + lane.at] = start;
  lane.placed += size;
  lane.blocks = size / block;
}

function digestOf({ words }: Engine, at: number): string {
  const digest = Buffer.allocUnsafe(first.length * Uint32Array.BYTES_PER_ELEMENT);
  for (let nth = 0; nth < first.length; nth++) digest.writeUInt32LE(words[stateAt + nth * lanes + at] as number, nth * Uint32Array.BYTES_PER_ELEMENT);
  return digest.toString('hex');
}
