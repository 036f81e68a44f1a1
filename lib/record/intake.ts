import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { NewRecord } from '../../types/record.d.ts';
import type { Route } from '../../types/route.d.ts';
import { type Context, type Core, ownRoute, underway } from '../request/request.ts';
import { BearerGuard, bearer } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { readBody } from '../http/http.ts';
import { entryOf, type Issue } from './entry.ts';

/** Bytes of a handed-in record at most: several times a record with 10 000 characters of a body and its headers. */
const maxBody = 262_144;
/** `Retry-After` in seconds when a record could not be taken. */
const retryAfter = 5;

/** The form of the answers: that of the original gateway, or that of its receiver in NewAPI. */
interface Dialect {
  readonly route: Route;
  readonly taken: object;
  readonly refused: (issues: readonly Issue[]) => { readonly status: number; readonly body: object };
}

const asGateway = (path: string): Dialect => ({
  route: ownRoute(path),
  taken: { status: 'success', message: 'Log entry received' },
  refused: (detail) => ({ status: 422, body: { detail } }),
});

const asReceiver = (path: string): Dialect => ({
  route: { ...ownRoute(path), errors: 'newapi' },
  taken: { success: true, message: 'Log received successfully' },
  refused: () => ({ status: 400, body: { success: false, message: 'Invalid log data' } }),
});

/** How full the bucket of a source is, and when that was so: monotonic milliseconds. */
export interface Filling {
  readonly left: number;
  readonly at: number;
}

/** Takes records that are handed in: checks the token, its rate and the entry, and appends the record to the journal. */
export class Intake {
  readonly #journal: Journal;
  readonly #identify: (credential: string) => TokenIdentity;
  readonly #gateway: Dialect | null;
  readonly #receiver: Dialect;
  readonly #guard: BearerGuard;
  readonly #rate: number;
  /** By source: one for each valid token. */
  readonly #rates: Map<string, Filling>;

  constructor(core: Core, journal: Journal, identify: (credential: string) => TokenIdentity, receiver: string, rates: Map<string, Filling>) {
    const { audit: { ingest: { tokens, maxRate } }, endpoints: { log: path } } = core.config;
    this.#journal = journal;
    this.#identify = identify;
    this.#receiver = asReceiver(receiver);
    this.#gateway = path === false ? null : asGateway(path);
    this.#guard = new BearerGuard(core, 'ingest', tokens, 'auth.failed');
    this.#rate = maxRate;
    this.#rates = rates;
  }

  answer(context: Context): void {
    const dialect = this.#gateway !== null && context.path === this.#gateway.route.template ? this.#gateway : this.#receiver;
    context.route = dialect.route;
    underway(context, this.#take(context, dialect).catch((error: unknown) => {
      if (!(error instanceof HeimdallError)) throw error;
      context.fail(error);
    }));
  }

  async #take(context: Context, dialect: Dialect): Promise<void> {
    const refusal = this.#guard.check(context);
    if (refusal !== null) throw refusal;
    if (context.req.method !== 'POST') {
      (context.extraHead ??= []).push('Allow', 'POST');
      throw new HeimdallError('method_not_allowed');
    }
    const source = `ingest:${this.#identify(bearer(context.req.headers.authorization) ?? '').id.slice(0, 8)}`;
    const wait = this.#wait(source, context.at);
    if (wait > 0) throw new HeimdallError('too_many_records', { retryAfter: Math.ceil(wait / 1000) });
    const bytes = await readBody(context.req, context.res, context.core.log, maxBody);
    context.bytesIn = bytes.length;
    const read = entryOf(bytes, context.time, source);
    if (read.kind === 'record') {
      await this.#keep(read.record);
      return context.answer(200, ['Content-Type', 'application/json'], JSON.stringify(dialect.taken));
    }
    const { status, body } = dialect.refused(read.issues);
    context.errorCode = 'invalid_value';
    context.outcome = 'refused';
    context.answer(status, ['Content-Type', 'application/json'], JSON.stringify(body));
  }

  /** Refuses the record at once when the journal cannot be written, so that the sender may keep it. */
  async #keep(record: NewRecord): Promise<void> {
    const { kind } = this.#journal.stats().state;
    if (kind === 'full' || kind === 'failed') throw new HeimdallError('journal_unavailable', { retryAfter });
    await this.#journal.append([record]).catch((cause: unknown) => {
      throw new HeimdallError('journal_unavailable', { retryAfter, cause });
    });
  }

  /** Takes a record out of the bucket of its source, which holds those of two seconds. @returns 0, or the milliseconds until there is room again. */
  #wait(source: string, now: number): number {
    const most = Math.max(1, this.#rate * 2);
    const known = this.#rates.get(source) ?? { left: most, at: now };
    const left = Math.min(most, known.left + (Math.max(0, now - known.at) / 1000) * this.#rate);
    this.#rates.set(source, { left: left < 1 ? left : left - 1, at: now });
    return left < 1 ? ((1 - left) / this.#rate) * 1000 : 0;
  }
}
