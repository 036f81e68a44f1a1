import type { TokenIdentity } from '../../types/context.d.ts';
import type { Journal } from '../../types/journal.d.ts';
import type { NewRecord } from '../../types/record.d.ts';
import type { Route } from '../../types/route.d.ts';
import { type Context, type Core, ownRoute } from '../request/request.ts';
import { BearerGuard, bearer } from '../keys/keys.ts';
import { HeimdallError } from '../errors.ts';
import { readBody } from '../http/http.ts';
import { entryOf, type Issue } from './entry.ts';

/** A record with 10 000 characters of a body and its headers fits several times. */
const longestBody = 262_144;
/** Seconds after which who could not hand in a record may try again. */
const retryAfter = 5;

/** How it is spoken to: as the original's gateway was, or as its receiver in NewAPI. */
interface Voice {
  readonly route: Route;
  readonly taken: object;
  readonly refused: (issues: readonly Issue[]) => { readonly status: number; readonly body: object };
}

const asGateway = (path: string): Voice => ({
  route: ownRoute(path),
  taken: { status: 'success', message: 'Log entry received' },
  refused: (detail) => ({ status: 422, body: { detail } }),
});

const asReceiver = (path: string): Voice => ({
  route: { ...ownRoute(path), errors: 'newapi' },
  taken: { success: true, message: 'Log received successfully' },
  refused: () => ({ status: 400, body: { success: false, message: 'Invalid log data' } }),
});

/** Takes records that others hand in: checks the token, the share and the entry, and appends it to the journal. */
export class Intake {
  readonly #journal: Journal;
  readonly #identify: (credential: string) => TokenIdentity;
  readonly #gateway: Voice | null;
  readonly #receiver: Voice;
  readonly #guard: BearerGuard;
  readonly #rate: number;
  /** By source; nobody without a token comes so far. */
  readonly #shares = new Map<string, Share>();

  constructor(core: Core, journal: Journal, identify: (credential: string) => TokenIdentity, receiver: string) {
    const { audit: { ingest: { tokens, maxRate } }, endpoints: { log: path } } = core.config;
    this.#journal = journal;
    this.#identify = identify;
    this.#receiver = asReceiver(receiver);
    this.#gateway = path === false ? null : asGateway(path);
    this.#guard = new BearerGuard(core, tokens, 'auth.failed');
    this.#rate = maxRate;
  }

  answer(context: Context): void {
    const voice = this.#gateway !== null && context.path === this.#gateway.route.template ? this.#gateway : this.#receiver;
    context.route = voice.route;
    this.#take(context, voice).catch((error: unknown) => context.fail(error instanceof HeimdallError ? error : new HeimdallError('internal_error', { cause: error })));
  }

  close(): void {
    this.#guard.close();
  }

  async #take(context: Context, voice: Voice): Promise<void> {
    const refusal = await this.#guard.check(context);
    if (refusal !== null) throw refusal;
    if (context.req.method !== 'POST') {
      (context.extraHead ??= []).push('Allow', 'POST');
      throw new HeimdallError('method_not_allowed');
    }
    const source = `ingest:${this.#identify(bearer(context.req.headers.authorization) ?? '').id.slice(0, 8)}`;
    const wait = this.#shareOf(source).take(context.time);
    if (wait > 0) throw new HeimdallError('too_many_records', { retryAfter: Math.ceil(wait / 1000) });
    const bytes = await readBody(context.req, context.res, context.core.log, longestBody);
    context.bytesIn = bytes.length;
    const read = entryOf(bytes, context.time, source);
    if (read.kind === 'record') {
      await this.#keep(read.record);
      return context.answer(200, ['Content-Type', 'application/json'], JSON.stringify(voice.taken));
    }
    const { status, body } = voice.refused(read.issues);
    context.errorCode = 'invalid_value';
    context.outcome = 'refused';
    context.answer(status, ['Content-Type', 'application/json'], JSON.stringify(body));
  }

  /** Nobody waits for a disk that is full: who hands in a record is told, and may keep it. */
  async #keep(record: NewRecord): Promise<void> {
    const { kind } = this.#journal.stats().state;
    if (kind === 'full' || kind === 'failed') throw new HeimdallError('journal_unavailable', { retryAfter });
    await this.#journal.append([record]).catch((cause: unknown) => {
      throw new HeimdallError('journal_unavailable', { retryAfter, cause });
    });
  }

  #shareOf(source: string): Share {
    const known = this.#shares.get(source);
    if (known !== undefined) return known;
    const share = new Share(this.#rate);
    this.#shares.set(source, share);
    return share;
  }
}

/** What one token may hand in: a bucket that holds two seconds' worth. */
class Share {
  readonly #rate: number;
  readonly #most: number;
  #left: number;
  #at = 0;

  constructor(rate: number) {
    this.#rate = rate;
    this.#most = Math.max(1, rate * 2);
    this.#left = this.#most;
  }

  /** @returns 0, or the milliseconds until there is room again. */
  take(now: number): number {
    this.#left = Math.min(this.#most, this.#left + (Math.max(0, now - this.#at) / 1000) * this.#rate);
    this.#at = now;
    if (this.#left < 1) return ((1 - this.#left) / this.#rate) * 1000;
    this.#left--;
    return 0;
  }
}
