import { availableParallelism, cpus } from 'node:os';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Config, ServerHealthConfig } from '../../types/config.d.ts';
import type { Core } from '../request/request.ts';
import { Repeated } from '../platform/platform.ts';
import { memoryInUse } from './memory.ts';

/** A monitored resource. Memory, CPU and disk are measured as shares, latency in milliseconds. */
export type Resource = 'memory' | 'cpu' | 'disk' | 'latency';

/** The use of each resource; null when it could not be measured in time. */
export type Measurement = Readonly<Record<Resource, number | null>>;

/** Measures resources; tests pass their own. */
export interface Gauge {
  measure(): Promise<Measurement>;
  close(): void;
}

/** A resource recovers below this part of its threshold, so that the state does not flap at the threshold. */
const recovery = 0.95;

interface State {
  readonly resource: Resource;
  readonly threshold: number;
  bad: number;
  value: number | null;
}

/** Monitors the machine by `server.health_check` and tells when new work should be shed. */
export class Resources {
  /** The resources that are exhausted at present. */
  short: readonly Resource[] = [];
  readonly #core: Core;
  readonly #config: ServerHealthConfig | null;
  readonly #open: () => Gauge;
  readonly #states: readonly State[];
  #gauge: Gauge | null = null;
  #rounds: Repeated | null = null;
  #closed = false;

  constructor(core: Core, open: () => Gauge = () => new Machine(core.config)) {
    const { healthCheck } = core.config.server;
    this.#core = core;
    this.#config = healthCheck?.enabled ? healthCheck : null;
    this.#states = this.#config === null ? [] : statesOf(this.#config);
    this.#open = open;
    // Latency is that of each thread. The rest is of the machine: one that begins need not find out anew.
    core.crew?.subscribe('resources', {
      hear: (short) => {
        this.short = this.#states.map(({ resource }) => resource).filter((resource) => (short as Resource[]).includes(resource));
        if (this.short.length > 0) this.start();
      },
      known: () => [this.short.filter((resource) => resource !== 'latency')],
    });
  }

  /** Value of `Retry-After`, seconds: two intervals, at most a minute. */
  get retryAfter(): number {
    return Math.min(60, Math.max(1, Math.ceil(((this.#config?.interval ?? 0) * 2) / 1000)));
  }

  /** The last measurement, for metrics and the admin API. */
  usage(): readonly { readonly resource: Resource; readonly value: number | null; readonly threshold: number; readonly short: boolean }[] {
    return this.#states.map(({ resource, value, threshold }) => ({ resource, value, threshold, short: this.short.includes(resource) }));
  }

  /** Starts the monitoring; later calls do nothing. */
  start(): void {
    if (this.#config === null || this.#gauge !== null || this.#closed) return;
    const gauge = (this.#gauge = this.#open());
    this.#rounds = new Repeated(this.#core, 'resources', this.#config.interval, () => this.#measure(gauge));
    this.#rounds.start();
  }

  close(): void {
    this.#closed = true;
    this.#rounds?.stop();
    this.#gauge?.close();
  }

  async #measure(gauge: Gauge): Promise<void> {
    const measured = await gauge.measure().catch(() => null);
    const before = this.short;
    this.short = this.#states.filter((state) => this.#judge(state, measured?.[state.resource] ?? null)).map(({ resource }) => resource);
    this.#report(before);
  }

  #judge(state: State, value: number | null): boolean {
    state.value = value;
    const wasShort = this.short.includes(state.resource);
    const limit = wasShort ? state.threshold * recovery : state.threshold;
    state.bad = value === null || value >= limit ? state.bad + 1 : 0;
    return wasShort ? state.bad > 0 : state.bad >= (this.#config?.threshold ?? 1);
  }

  #report(before: readonly Resource[]): void {
    for (const { resource, value, threshold, short } of this.usage()) {
      if (short === before.includes(resource)) continue;
      if (short) this.#core.log.error({ resource, value, threshold, effect: this.#core.observe ? 'new work would be refused' : 'new work is refused with 503' }, 'resources.short');
      else this.#core.log.info({ resource, value, threshold }, 'resources.recovered');
    }
  }
}

function statesOf(config: ServerHealthConfig): State[] {
  const thresholds = { memory: config.memoryThreshold, cpu: config.cpuThreshold, disk: config.diskThreshold, latency: config.latencyThreshold };
  const named = Object.keys(config.checks);
  return (Object.keys(thresholds) as Resource[])
    .filter((resource) => named.length === 0 || named.includes(resource))
    .map((resource) => ({ resource, threshold: thresholds[resource], bad: 0, value: null }));
}

/** Resolution of the event loop delay, milliseconds; an idle loop shows this delay. */
const resolution = 10;

class Machine implements Gauge {
  /** Null where nothing is written. */
  readonly #directory: string | null;
  readonly #timeout: number;
  readonly #delay = monitorEventLoopDelay({ resolution });
  #cpu = busy();
  #own = process.cpuUsage();
  #at = performance.now();

  constructor({ audit, server }: Config) {
    this.#directory = audit.enabled ? dirname(audit.path) : null;
    this.#timeout = server.healthCheck?.timeout ?? 0;
    this.#delay.enable();
  }

  async measure(): Promise<Measurement> {
    return { memory: memoryInUse(), cpu: this.#processors(), disk: await this.#disk(), latency: this.#latency() };
  }

  close(): void {
    this.#delay.disable();
  }

  /** The CPU share of the machine, or that of the process where a container has fewer CPUs than `os` reports. */
  #processors(): number {
    const [then, ownThen, atThen] = [this.#cpu, this.#own, this.#at];
    this.#cpu = busy();
    this.#own = process.cpuUsage();
    this.#at = performance.now();
    const own = (this.#own.user + this.#own.system - ownThen.user - ownThen.system) / 1000 / availableParallelism();
    const total = this.#cpu.total - then.total;
    return Math.max(total === 0 ? 0 : (this.#cpu.busy - then.busy) / total, Math.min(1, own / Math.max(1, this.#at - atThen)));
  }

  #latency(): number {
    const p99 = this.#delay.percentile(99) / 1e6;
    this.#delay.reset();
    return Math.max(0, p99 - resolution);
  }

  async #disk(): Promise<number | null> {
    if (this.#directory === null) return null;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), this.#timeout).unref();
    });
    const used = statfs(this.#directory).then(({ blocks, bfree, bavail }) => (blocks - bfree) / Math.max(1, blocks - bfree + bavail), missing);
    return Promise.race([used, late]).finally(() => clearTimeout(timer));
  }
}

/** A directory that does not exist yet is not full. */
function missing(error: NodeJS.ErrnoException): number | null {
  return error.code === 'ENOENT' ? 0 : null;
}

function busy(): { busy: number; total: number } {
  let total = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    total += times.user + times.nice + times.sys + times.idle + times.irq;
    idle += times.idle;
  }
  return { busy: total - idle, total };
}
