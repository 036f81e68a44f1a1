import type { RetryConfig } from '../../types/config.d.ts';
import { headerOf } from '../http/http.ts';

/** How long a target rests when it names no time, milliseconds. */
export const defaultRest = 1000;
/** The longest rest that an upstream can ask for, milliseconds. */
const longestRest = 60_000;
/** The longest rest of a target that a request waits for, milliseconds. */
export const longestWait = 5000;

/**
 * When an answer asks the gate to come back: `retry-after-ms`, or `Retry-After` in seconds or as a date
 * (RFC 9110 §10.2.3).
 * @returns milliseconds from now, at most a minute, or null without such a header or with an unreadable one.
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
 * How long to wait before a round: exponential, with full jitter, so that requests that failed together do not return
 * together.
 * @param round 1 for the first.
 */
export function backoff({ initialDelay, multiplier, maxDelay }: RetryConfig, round: number, random: () => number = Math.random): number {
  return random() * Math.min(maxDelay, initialDelay * multiplier ** (round - 1));
}

/** Requests that pay for one retry. */
const price = 5;
/** Retries that a gate may save up, and those that it begins with. */
const most = 100;
const atFirst = 10;

/** Keeps retries to a fifth of the traffic (after Finagle's retry budget), so that an outage is not multiplied. */
export class RetryBudget {
  /** Requests that have not been paid in yet. */
  requests = 0;
  #balance = atFirst * price;

  /** @returns whether one more retry may be made. */
  withdraw(): boolean {
    this.#balance = Math.min(most * price, this.#balance + this.requests);
    this.requests = 0;
    if (this.#balance < price) return false;
    this.#balance -= price;
    return true;
  }
}
