import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import { type Context, type Core, underway } from '../request/request.ts';
import type { Filling } from './intake.ts';

/** Path at which the original gateway handed records to NewAPI without a credential. It is never forwarded. */
export const receiver = '/api/heimdall/log';

/** Takes records that other gateways hand in. */
export interface Ingestion {
  /** `POST` to this path hands in a record; false when the endpoint is off. */
  readonly path: string | false;
  /** Every request to these paths is answered here, in every mode. */
  readonly receiver: RegExp;
  answer(context: Context): void;
}

/**
 * `POST` to `endpoints.log`, and everything at the original gateway's receiver. The code that answers is loaded with the first
 * request: the journal's thread imports this room and does not need it.
 * @param rates the rate of each source, which goes on over reloads.
 */
export function ingestion(core: Core, journal: Journal, identify: (credential: string) => TokenIdentity, rates: Map<string, Filling>): Ingestion {
  const load = async () => new (await import('./intake.ts')).Intake(core, journal, identify, receiver, rates);
  let intake: ReturnType<typeof load> | null = null;
  return {
    path: core.config.endpoints.log,
    receiver: new RegExp(`^${receiver}(?:/|$)`),
    answer(context) {
      underway(context, (intake ??= load()).then((loaded) => loaded.answer(context)));
    },
  };
}
