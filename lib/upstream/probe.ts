import { inBackground, type Link, Repeated } from '../platform/platform.ts';
import type { Core } from '../request/request.ts';
import { isOwnFault } from './failure.ts';
import type { Target } from './targets.ts';

/** `/health/ready` probes targets that are down again after this time, milliseconds: NewAPI allows an address 180 calls in 180 s. */
const fresh = 5000;

/** Active health: asks each target at an interval for an answer that costs nothing. */
export interface Prober {
  /** Begins, once: without a request the gate probes no target. */
  start(): void;
  /** After the first round: whether a target can be expected to answer. */
  ready(): Promise<boolean>;
  close(): void;
}

/** A probe, as the main thread of a gate with several workers tells it to them. */
interface ProbeNews {
  readonly target: string;
  readonly probe: NonNullable<Target['lastProbe']>;
  readonly threshold: number;
}

/**
 * In a gate with several threads the main thread probes for all: it begins when a worker has a request, answers whether there
 * is a target, and tells of each probe.
 * @param isFirst whether it is the first configuration; with a later one probes go on.
 */
export function shareProbes({ crew, config }: Core, targets: readonly Target[], health: Prober, isFirst: boolean): void {
  if (crew === null) return;
  const { failureThreshold } = config.llm.healthCheck;
  crew.subscribe('probe', {
    hear: (news) => {
      const { target: name, probe, threshold } = news as ProbeNews;
      const target = targets.find((each) => each.name === name);
      if (target === undefined) return;
      target.lastProbe = probe;
      target.state.base.probe(probe.alive, threshold);
    },
    known: () => targets.flatMap(({ name, lastProbe: probe, state: { base, isDown } }): ProbeNews[] => {
      if (probe === null) return [];
      if (probe.alive || isDown) return [{ target: name, probe, threshold: 1 }];
      return Array.from({ length: base.missedProbes }, () => ({ target: name, probe, threshold: failureThreshold }));
    }),
  });
  if (crew.isWorker) return;
  crew.answer('probes.start', () => health.start());
  crew.answer('probes.ready', () => health.ready());
  if (!isFirst) health.start();
}

/** The probes of a worker: the main thread has them. */
function probesOf(main: Link): Prober {
  let isStarted = false;
  return {
    start() {
      if (!isStarted) main.tell('probes.start', null);
      isStarted = true;
    },
    ready: async () => (await main.ask('probes.ready', null)) === true,
    close: () => undefined,
  };
}

/** The probes of a gate. Any answer below 500, a 401 or 429 too, is a sign of life. */
export function prober(core: Core, targets: readonly Target[]): Prober {
  const main = core.crew?.main ?? null;
  if (main !== null) return probesOf(main);
  const { enabled, interval, timeout, failureThreshold } = core.config.llm.healthCheck;
  let first: Promise<void> | null = null;
  let asked = 0;
  let closed = false;
  const rounds = new Repeated(core, 'health_check', interval, () => round(() => failureThreshold));

  async function round(thresholdOf: (target: Target) => number): Promise<void> {
    asked = core.clock.monotonic();
    await Promise.all(targets.map(async (target) => {
      const before = core.clock.monotonic();
      const time = core.clock.now();
      const status = await probed(core, target, timeout);
      // Closing cuts probes under way, which says nothing about a target.
      if (closed || status === 'unknown') return;
      const alive = status !== null && status < 500;
      const threshold = thresholdOf(target);
      target.lastProbe = { time, alive, status, duration: core.clock.monotonic() - before };
      target.state.base.probe(alive, threshold);
      core.crew?.publish('probe', { target: target.name, probe: target.lastProbe, threshold } satisfies ProbeNews);
    }));
  }

  // Before its first probe nothing is known of a target, so one miss decides; a later miss may be chance.
  const begin = (): Promise<void> => (first ??= round(({ lastProbe }) => (lastProbe === null ? 1 : failureThreshold)).finally(() => rounds.start()));

  return {
    start() {
      if (first === null && enabled) inBackground(core.log, 'health_check', begin());
    },
    async ready() {
      if (enabled) await begin();
      const usable = (): boolean => targets.some(({ state }) => state.base.closedUntil(core.clock.monotonic()) === 0);
      if (enabled && !usable() && core.clock.monotonic() - asked >= fresh) await round(() => 1);
      return usable();
    },
    close() {
      closed = true;
      rounds.stop();
    },
  };
}

/** The part of a target that a probe needs. */
export type Probed = Pick<Target, 'name' | 'provider' | 'credential' | 'pool' | 'base' | 'host' | 'key'>;

/**
 * Sends one probe.
 * @param timeout milliseconds.
 * @returns the answer's status, null without one, or `unknown` when this machine could not ask.
 */
export async function probed(core: Core, target: Probed, timeout: number): Promise<number | null | 'unknown'> {
  const signal = AbortSignal.timeout(timeout);
  try {
    const headers = target.key === null ? [] : target.provider.credential(target.key, '/v1/models');
    const { statusCode, body } = await target.pool.request({ path: target.provider.probe(target.base), method: 'GET', headers: ['host', target.host, ...headers], signal });
    await body.dump();
    if (statusCode === 401 && target.credential === 'own') core.log.error({ target: target.name }, 'upstream.credential_refused');
    return statusCode;
  } catch (error) {
    return isOwnFault(error) ? 'unknown' : null;
  }
}
