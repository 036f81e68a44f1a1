import type { RouteConfig, RouteHealthCheck } from '../../types/config.d.ts';
import type { CheckedRoute, Route } from '../../types/route.d.ts';
import { pathOf } from '../config/config.ts';
import type { Core } from '../request/request.ts';
import { Repeated, type OutboundProxy } from '../platform/platform.ts';
import { providerOf } from '../providers/providers.ts';
import { peerOf } from './peer.ts';
import { probed, type Probed } from './probe.ts';
import { poolOf, speaks, type Target } from './targets.ts';

/** The health checks of configured routes. */
export interface RouteHealth {
  /** Begins, once. */
  start(): void;
  /** Knows in all threads of the gate what one of them finds, from now on. */
  share(): void;
  /** Seconds until the next check of an unhealthy route; null for any other. */
  retryAfter(row: RouteConfig): number | null;
  /** Every checked route, for an operator. */
  shown(): readonly CheckedRoute[];
  /** Ends the checks; what they have found stays. */
  stop(): void;
  close(): Promise<void> | void;
}

/**
 * The health checks of configured routes: each probes, at its own interval, the targets that can answer its route. Starts
 * nothing by itself, and opens no connection where no route is checked.
 */
export function routeHealth(core: Core, rows: ReadonlyMap<Route, RouteConfig>, targets: readonly Target[], proxies: OutboundProxy | null = null): RouteHealth {
  const newapi = newapiOf(core, targets, proxies);
  const watched = new Map<RouteConfig, Checked>();
  // In a gate with several threads the main thread checks for all.
  const { crew } = core;
  for (const row of new Set(rows.values())) {
    const at = watched.size;
    if (row.healthCheck?.enabled) watched.set(row, new Checked(core, row, row.healthCheck, answering(row, rows, targets, newapi.place), (found) => crew?.publish('route', [at, found] satisfies CheckWord)));
  }
  const stop = (): void => {
    for (const each of watched.values()) each.stop();
  };
  return {
    start() {
      if (crew?.isWorker !== true) for (const each of watched.values()) each.start();
    },
    share: () => crew?.subscribe('route', {
      hear: (word) => {
        const [at, found] = word as CheckWord;
        [...watched.values()][at]?.hear(found);
      },
      known: () => [...watched.values()].map((each, at) => [at, each.found()] satisfies CheckWord),
    }),
    retryAfter: (row) => watched.get(row)?.retryAfter() ?? null,
    shown: () => [...watched.values()].map((each) => each.shown()),
    stop,
    close() {
      stop();
      return newapi.close();
    },
  };
}

/** The receivers of a row's requests: the targets that speak its call, or NewAPI. */
function answering(row: RouteConfig, rows: ReadonlyMap<Route, RouteConfig>, targets: readonly Target[], newapi: () => Probed): readonly (() => Probed)[] {
  const call = [...rows].find(([route, its]) => its === row && route.class === 'model')?.[0];
  return call === undefined ? [newapi] : targets.filter((target) => speaks(target, call)).map((target) => () => target);
}

/** NewAPI as it answers all routes but model routes; the target that is this NewAPI, where there is one. */
function newapiOf({ config }: Core, targets: readonly Target[], proxies: OutboundProxy | null): { place: () => Probed; close: () => Promise<void> | void } {
  const url = new URL(config.newapi.baseUrl);
  const { host, pathname } = url;
  const base = `${pathname.replace(/\/+$/, '')}/v1`;
  const target = targets.find((each) => each.provider.name === 'newapi' && each.host === host && each.base === base);
  let made: Probed | null = null;
  const make = (): Probed => ({ name: 'newapi', provider: providerOf('newapi'), credential: 'caller', pool: poolOf(peerOf(url, config.newapi, proxies), config.llm.timeouts.connect), base, host, key: null });
  return { place: () => target ?? (made ??= make()), close: () => made?.pool.destroy() };
}

/** What a check has found: failures in a row by name, and milliseconds until the next one. */
interface Found {
  readonly path: string;
  readonly misses: Readonly<Record<string, number>>;
  readonly next: number;
}

/** What the main thread tells of a checked route: its place among them. */
type CheckWord = readonly [at: number, found: Found];

interface Check {
  readonly name: string;
  readonly asks: RouteHealthCheck['checks'][string];
  /** Failures in a row. */
  misses: number;
}

/** One route under its checks. Only `http` closes it; a slow route still serves. */
class Checked {
  readonly #core: Core;
  readonly #config: RouteHealthCheck;
  readonly #path: string;
  readonly #places: readonly (() => Probed)[];
  readonly #checks: readonly Check[];
  #state: CheckedRoute['status'] = 'healthy';
  /** Time of the next check, monotonic milliseconds. */
  #next = 0;
  readonly #rounds: Repeated;
  #stopped = false;

  readonly #tell: (found: Found) => void;

  /** @param tell is told what each round has found. */
  constructor(core: Core, row: RouteConfig, config: RouteHealthCheck, places: readonly (() => Probed)[], tell: (found: Found) => void) {
    this.#core = core;
    this.#tell = tell;
    this.#config = config;
    this.#path = pathOf(row);
    this.#places = places;
    this.#rounds = new Repeated(core, 'route_health', config.interval, () => this.#round());
    const named = Object.entries(config.checks);
    this.#checks = (named.length === 0 ? [['api', 'http'] as const] : named).map(([name, asks]) => ({ name, asks, misses: 0 }));
  }

  start(): void {
    this.#rounds.startNow();
  }

  /** Seconds until the next check, or null while the route can be expected to answer. */
  retryAfter(): number | null {
    if (this.#state !== 'unhealthy') return null;
    return Math.max(1, Math.ceil((this.#next - this.#core.clock.monotonic()) / 1000));
  }

  shown(): CheckedRoute {
    return { path: this.#path, status: this.#state, checks: Object.fromEntries(this.#checks.map((check) => [check.name, !this.#failed(check)])) };
  }

  stop(): void {
    this.#stopped = true;
    this.#rounds.stop();
  }

  async #round(): Promise<void> {
    this.#next = this.#core.clock.monotonic() + this.#config.interval;
    const times = await Promise.all(this.#places.map((place) => this.#ask(place())));
    const took = Math.min(...times.filter((time) => !Number.isNaN(time)));
    const isUnknown = took === Number.POSITIVE_INFINITY && times.some(Number.isNaN);
    // The end cuts probes under way, which says nothing about the route.
    if (this.#stopped || this.#core.closed) return;
    for (const check of isUnknown ? [] : this.#checks) {
      const passed = took <= (check.asks === 'http' ? Number.MAX_VALUE : this.#config.latencyThreshold);
      check.misses = passed ? 0 : check.misses + 1;
    }
    this.#become();
    this.#next = this.#core.clock.monotonic() + this.#config.interval;
    this.#tell(this.found());
  }

  found(): Found {
    return { path: this.#path, misses: Object.fromEntries(this.#checks.map(({ name, misses }) => [name, misses])), next: this.#next - this.#core.clock.monotonic() };
  }

  /** Takes what another thread has found, if it is of the same route. */
  hear({ path, misses, next }: Found): void {
    if (path !== this.#path) return;
    for (const check of this.#checks) check.misses = misses[check.name] ?? 0;
    this.#next = this.#core.clock.monotonic() + next;
    this.#become();
  }

  /** @returns milliseconds until the answer, infinity without one, or NaN when this machine could not ask. */
  async #ask(place: Probed): Promise<number> {
    const since = performance.now();
    const status = await probed(this.#core, place, this.#config.timeout);
    if (status === 'unknown') return Number.NaN;
    return status !== null && status < 500 ? performance.now() - since : Number.POSITIVE_INFINITY;
  }

  #failed({ misses }: Check): boolean {
    return misses >= this.#config.threshold;
  }

  #become(): void {
    const failed = this.#checks.filter((check) => this.#failed(check));
    const state = failed.some(({ asks }) => asks === 'http') ? 'unhealthy' : failed.length > 0 ? 'degraded' : 'healthy';
    if (state === this.#state) return;
    this.#state = state;
    if (this.#core.crew?.isWorker !== true) this.#core.log[state === 'healthy' ? 'info' : 'warn']({ route: this.#path, failed: failed.map(({ name }) => name) }, `route.${state}`);
  }
}
