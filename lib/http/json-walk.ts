import { code } from './json-walk.wasm.ts';

/** Why a walk has stopped, see json-walk.wat. */
export const stops = { atEnd: 0, behindElement: 1, behindValue: 2, broken: 3 } as const;

/** Bytes that can be walked at a time. */
export const walkedBytes = 65_536;

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Begins behind the first byte of a value: a bracket, or the quote of a string. */
  readonly begin: (first: number) => void;
  /** Walks {@link bytes} from one offset to another at most. @returns the offset at which it stopped. */
  readonly walk: (at: number, end: number, stopsBehindElements: 0 | 1) => number;
}

/** The part of the standard WebAssembly API (W3C) that is used here. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object; readonly Instance: new (module: object) => { readonly exports: unknown } };

const { memory, begin, walk } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(code, 'base64'))).exports as Exports;
export { begin, walk };

/** The bytes that are walked are put here. */
export const bytes = new Uint8Array(memory.buffer, 2048);
const brackets = new Uint8Array(memory.buffer, 64, 1984);

/** The state of the walk, by {@link at}. */
export const state = new Int32Array(memory.buffer, 0, 4);
/** Places in the state: open brackets; 1 within a string and 2 before an escaped byte; where the latest element of the outermost list begins, or -1; why the walk has stopped. */
export const at = { depth: 0, string: 1, element: 2, why: 3 } as const;

/** A walk that has not reached the end of its value. */
export interface Walk {
  readonly depth: number;
  readonly string: number;
  readonly brackets: Uint8Array;
}

/** Whether it is within a string. */
export const isInString = ({ string }: Walk): boolean => (string & 1) !== 0;
/** Whether the next byte is escaped. */
export const isEscaped = ({ string }: Walk): boolean => string > 1;
/** The same walk, further on in its string. @param escaped whether the next byte is. */
export const inString = (earlier: Walk, escaped: boolean): Walk => ({ ...earlier, string: escaped ? 3 : 1 });

/** Goes on with an earlier walk. */
export function resume(earlier: Walk): void {
  state[at.depth] = earlier.depth;
  state[at.string] = earlier.string;
  brackets.set(earlier.brackets);
}

/** The walk that has reached the end of its bytes. */
export function suspended(): Walk {
  const depth = state[at.depth] as number;
  return { depth, string: state[at.string] as number, brackets: brackets.slice(0, 1 + (depth >> 3)) };
}
