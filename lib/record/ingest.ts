import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import { HeimdallError } from '../errors.ts';
import type { Context, Core } from '../request/request.ts';

/** Where the original's gateway handed its records to NewAPI, without any credential. Never reached from outside. */
export const receiver = '/api/heimdall/log';

/** Takes records that others hand in. */
export interface Ingestion {
  /** Whether a request is for it; then it is answered here, in every mode and whoever sent it. */
  owns(context: Context): boolean;
  answer(context: Context): void;
  close(): void;
}

/**
 * `POST` to `endpoints.log` and everything at the original's receiver. What answers is loaded with the first request: the
 * journal's thread imports this room and needs none of it.
 */
export function ingestion(core: Core, journal: Journal, identify: (credential: string) => TokenIdentity): Ingestion {
  const { log: path } = core.config.endpoints;
  const load = async () => new (await import('./intake.ts')).Intake(core, journal, identify, receiver);
  let intake: ReturnType<typeof load> | null = null;
  return {
    owns({ path: asked, req }) {
      if (asked === path) return req.method === 'POST';
      return asked.startsWith(receiver) && (asked.length === receiver.length || asked[receiver.length] === '/');
    },
    answer(context) {
      (intake ??= load()).then((loaded) => loaded.answer(context)).catch((cause: unknown) => context.fail(new HeimdallError('internal_error', { cause })));
    },
    close() {
      void intake?.then((loaded) => loaded.close());
    },
  };
}
