import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/request/context.ts';
import type { Core, Exchange } from '../../lib/request/context.ts';
import type { HeimdallError } from '../../lib/errors.ts';
import { admission, type Admission } from '../../lib/queue/queue.ts';
import type { ConfigInput } from '../../types/config.d.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, type Recorder } from '../support/gate.ts';

/** A request as far as admission knows it. */
export interface Asked {
  readonly id: string;
  readonly fairnessKey: string;
  /** `running` from the moment it is let in. */
  state: 'waiting' | 'running' | 'refused' | 'over';
  error: HeimdallError | null;
  readonly position: number | null;
  readonly wait: number;
  readonly rules: readonly string[];
  readonly context: Context;
  /** Its end, whatever it was. */
  end(): void;
}

/** Admission without a gate around it. */
export interface Desk extends Admission {
  readonly clock: FakeClock;
  readonly log: Recorder;
  readonly core: Core;
  /** In the order in which they were let in. */
  readonly started: readonly Asked[];
  /** Tokens NewAPI has accepted. */
  readonly accepted: Set<string>;
  /** @param token of a caller who has proved nothing yet. */
  arrive(fairnessKey: string, token?: string): Asked;
  look(): void;
}

interface Loose {
  slot: object | null;
  exchange: Exchange | null;
  queuePosition: number | null;
  queueWait: number;
}

export function desk(config: ConfigInput['queue'] = {}, { clock = fakeClock(), ...core }: Partial<Core> & { clock?: FakeClock } = {}, rest: ConfigInput = {}): Desk {
  const log = recorder();
  const live = new Set<Context>();
  const whole = { config: resolveConfig({ ...rest, queue: config }), log, clock, observe: false, draining: false, inFlight: live, ...core } as unknown as Core;
  const accepted = new Set<string>();
  const admitted = admission(whole, accepted);
  const started: Asked[] = [];
  let ids = 0;
  const arrive = (fairnessKey: string, token?: string): Asked => {
    const loose: Loose = { slot: null, exchange: null, queuePosition: null, queueWait: 0 };
    const rules: string[] = [];
    const fail = (error: HeimdallError): void => {
      asked.error = error;
      asked.state = 'refused';
    };
    const refuse = (rule: string, error: HeimdallError): boolean => {
      if (whole.observe) rules.push(rule);
      else fail(error);
      return !whole.observe;
    };
    const context = Object.assign(loose, {
      id: `request-${++ids}`, time: clock.now(), fairnessKey, ip: '192.0.2.1', key: null, token: token === undefined ? null : { id: token, mask: '' }, route: { credential: true }, heldBytes: 0, wouldRefuse: rules, finished: false, fail, refuse,
    }) as unknown as Context;
    const asked: Asked = {
      id: context.id, fairnessKey, state: 'waiting', error: null, context, rules,
      get position() {
        return loose.queuePosition;
      },
      get wait() {
        return loose.queueWait;
      },
      end() {
        live.delete(context);
        if (asked.state !== 'refused') asked.state = 'over';
        loose.exchange?.abort();
        admitted.queue.release(context);
      },
    };
    live.add(context);
    admitted.queue.enter(context, () => {
      asked.state = 'running';
      started.push(asked);
    });
    return asked;
  };
  return { ...admitted, clock, log, core: whole, started, accepted, arrive, look: () => [...live].forEach((context) => context.exchange?.look(clock.now())) };
}
