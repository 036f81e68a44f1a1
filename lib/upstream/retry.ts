import type { RetryConfig } from '../../types/config.d.ts';
import { headerOf } from '../http/http.ts';

/** A target that names no time rests this long, milliseconds. */
export const defaultRest = 1000;
/** No upstream may freeze itself for longer, milliseconds. */
const longestRest = 60_000;
/** A request waits for a target that asked for at most this, milliseconds. */
export const longestWait = 5000;

/**
 * What an answer says about when to come back: `retry-after-ms`, or `Retry-After` in seconds or as a date
 * (RFC 9110 §10.2.3).
 * @returns milliseconds from now, at most a minute, or null without such a header or with one that cannot be read.
 */
export function retryAfter(head: readonly string[], now: number): number | null {
  const exact = headerOf(head, 'retry-after-ms');
  if (exact !== null && /^\d+(?:\.\d+)?$/.test(exact)) return bounded(Number(exact));
  const header = headerOf(head, 'retry-after');
  if (header === null) return null;
  if (/^\d+(?:\.\d+)?$/.test(header)) return bounded(Number(header) * 1000);
  // All three forms of a date hold a time of day; `Date.parse` would take a bare number for a year.
  const date = /\d\d:\d\d:\d\d/.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(date) ? null : bounded(date - now);
}

const bounded = (ms: number): number => Math.min(longestRest, Math.max(0, ms));

/**
 * How long to wait before a round: exponential, with full jitter, so that those who failed together do not come back
 * together.
 * @param round 1 for the first.
 */
export function backoff({ initialDelay, multiplier, maxDelay }: RetryConfig, round: number, random: () => number = Math.random): number {
  return random() * Math.min(maxDelay, initialDelay * multiplier ** (round - 1));
}

/** Requests that pay for one retry, and how many retries a gate may save up. */
const price = 5;
const most = 100;
const atFirst = 10;

/** Keeps retries to a fifth of the traffic (after Finagle's retry budget), so that an outage is not multiplied. */
export class RetryBudget {
  #balance = atFirst * price;

  /** Called for every request. */
  deposit(): void {
    this.#balance = Math.min(most * price, this.#balance + 1);
  }

  /** @returns whether one more retry may be made. */
  withdraw(): boolean {
    if (this.#balance < price) return false;
    this.#balance -= price;
    return true;
  }
}
