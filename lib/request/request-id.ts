import { randomUUID } from 'node:crypto';

let stamp = 0;
let stampText = '';
let tail = '';
let count = 0;

/**
 * UUIDv7 (RFC 9562 §5.7) with a counter in `rand_a` (§6.2, method 1), so that ids sort as they were given and a fresh
 * random tail is needed once a millisecond. Node's own came with 24.16; we run from 24.9.
 */
export function requestId(time: number): string {
  if (time !== stamp || count === 0xfff) {
    stamp = time;
    count = 0;
    const hex = time.toString(16).padStart(12, '0');
    stampText = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
    tail = randomUUID().slice(18);
  }
  return stampText + (count++).toString(16).padStart(3, '0') + tail;
}
