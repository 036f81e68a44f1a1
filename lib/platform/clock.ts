import type { Clock } from '../../types/clock.d.ts';

/** The time of the machine. */
export const systemClock: Clock = { now: Date.now, setTimeout, clearTimeout: clearTimeout as Clock['clearTimeout'] };
