import type { Core } from '../request/request.ts';
import { Bytes } from './bytes.ts';
import { Lanes } from './lanes.ts';
import { Queue } from './admission-queue.ts';
import type { Series } from './tally.ts';

/** What decides whether there is room for a request, all by the same lanes. */
export interface Admission {
  readonly queue: Queue;
  readonly bytes: Bytes;
  readonly series: readonly Series[];
}

/** @param verified the tokens that NewAPI has accepted, by their identities. */
export function admission(core: Core, verified: { has(token: string): boolean }): Admission {
  const lanes = new Lanes();
  const queue = new Queue(core, lanes, verified);
  const bytes = new Bytes(core, lanes, () => queue.hold);
  return { queue, bytes, series: [...queue.series(), bytes.series()] };
}
