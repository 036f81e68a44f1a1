import type { SeriesName } from '../config/config.ts';

/** Why a request got no slot. `draining`: the gate shuts down; `websockets`: too many are open. */
export const reasons = ['full', 'displaced', 'timeout', 'deadline', 'draining', 'websockets'] as const;
export type Reason = (typeof reasons)[number];

/** Upper bounds of the histogram of waits, seconds. */
const bounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** One metric for a scrape, its names without the metrics' prefix. */
export interface Series {
  readonly name: SeriesName;
  values(): { readonly metricName?: string; readonly labels: Readonly<Record<string, string | number>>; readonly value: number }[];
}

/** @param value read at a scrape. */
export const gauge = (name: SeriesName, value: () => number): Series => ({ name, values: () => [{ labels: {}, value: value() }] });

/** The counters in the state file. */
export type Counters = Readonly<Record<'admitted' | 'waited' | 'left' | Reason, number>>;

/** Counters of a queue. */
export class QueueStats {
  admitted = 0;
  /** Admitted after a wait. */
  waited = 0;
  /** Requests whose client left while they waited. */
  left = 0;
  readonly rejected = Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<Reason, number>;
  readonly #waits = new Float64Array(bounds.length);
  #waitSum = 0;
  /** Admitted by earlier processes. */
  #before = { admitted: 0, waited: 0 };

  /** A request has got its slot after a wait. @param wait milliseconds. */
  admit(wait: number): void {
    this.admitted++;
    this.waited++;
    this.#waitSum += wait / 1000;
    for (let at = bounds.length - 1; at >= 0 && wait <= (bounds[at] as number) * 1000; at--) this.#waits[at] = (this.#waits[at] as number) + 1;
  }

  /** Takes over the counters of an earlier process; its waiting times are not saved. */
  restore(counters: Partial<Counters>): void {
    this.#before = { admitted: counters.admitted ?? 0, waited: counters.waited ?? 0 };
    this.left = counters.left ?? 0;
    for (const reason of reasons) this.rejected[reason] = counters[reason] ?? 0;
  }

  save(): Counters {
    const { admitted, waited } = this.#before;
    return { admitted: admitted + this.admitted, waited: waited + this.waited, left: this.left, ...this.rejected };
  }

  rejectedSeries(): Series {
    return {
      name: 'queue_rejected_total',
      values: () => reasons.map((reason) => ({ labels: { reason }, value: this.rejected[reason] })),
    };
  }

  waitSeries(): Series {
    const name = 'queue_wait_seconds';
    return {
      name,
      values: () => {
        const atOnce = this.admitted - this.waited;
        const below = bounds.map((le, at) => ({ metricName: `${name}_bucket`, labels: { le }, value: atOnce + (this.#waits[at] as number) }));
        return [
          ...below,
          { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: this.admitted },
          { metricName: `${name}_sum`, labels: {}, value: this.#waitSum },
          { metricName: `${name}_count`, labels: {}, value: this.admitted },
        ];
      },
    };
  }
}
