import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Timer } from '../../types/clock.d.ts';
import { BodyDecoder, codingsOf, withoutField } from '../http/http.ts';
import { guarded, type Context } from '../request/request.ts';
import { SecretFilter } from '../redaction/redaction.ts';
import type { Connection, ConnectionAware } from './targets.ts';

const unreadable = new Error('unreadable content coding');

/**
 * The body of an answer to a request with a credential of ours, without the credential. SECURITY: a compressed body is decoded,
 * and one that cannot be decoded goes no further.
 */
export class MaskedBody {
  readonly #filter: SecretFilter;
  readonly #decoder: BodyDecoder | null;
  readonly #hear: (bytes: Buffer) => void;

  /**
   * @param codings as `codingsOf` has them.
   * @param hear gets the bytes that can go on.
   */
  constructor(credential: string, codings: readonly string[], hear: (bytes: Buffer) => void) {
    this.#filter = new SecretFilter(credential);
    this.#hear = hear;
    this.#decoder = codings.length === 0 ? null : new BodyDecoder(codings, (bytes) => this.#pass(this.#filter.push(bytes)));
  }

  /** The rest of the body is lost. */
  get failed(): boolean {
    return this.#decoder?.failed ?? false;
  }

  /** The decoder has so much to do that the answer should pause until {@link whenCaughtUp}. */
  get behind(): boolean {
    return this.#decoder?.behind ?? false;
  }

  push(chunk: Buffer): void {
    if (this.#decoder === null) this.#pass(this.#filter.push(chunk));
    else this.#decoder.push(chunk);
  }

  whenCaughtUp(then: () => void): void {
    this.#decoder?.whenCaughtUp(then);
  }

  /** No more comes. Tells, when everything has been heard, whether nothing was lost. */
  end(then: (isWhole: boolean) => void): void {
    const flush = (): void => {
      this.#pass(this.#filter.end());
      then(!this.failed);
    };
    if (this.#decoder === null) flush();
    else this.#decoder.end(flush);
  }

  stop(): void {
    this.#decoder?.stop();
  }

  #pass(bytes: Buffer): void {
    if (bytes.length > 0) this.#hear(bytes);
  }
}

/** The head of such an answer without the credential: flat, names and values. */
export function maskedHead(raw: readonly (string | Buffer)[], credential: string): string[] {
  const filter = new SecretFilter(credential);
  return raw.map((text) => filter.whole(typeof text === 'string' ? Buffer.from(text, 'latin1') : text).toString('latin1'));
}

/** Takes the codings out of the head of a body that {@link MaskedBody} decodes. */
export function asDecoded(head: string[]): void {
  if (codingsOf(head).length === 0) return;
  withoutField(head, 'content-encoding');
  withoutField(head, 'content-length');
}

/** Bytes at the end of a chunk that may begin the credential wait so long for the rest, milliseconds. */
const mostHeldBack = 50;

/**
 * Masks the credential in what an upstream sends on a WebSocket. A server's frames are sent as they are (RFC 6455 §5.1) and the
 * mask is as long as the credential, so that they stay valid.
 */
export function maskMessages(context: Context, upstream: Socket, credential: string): void {
  const { clock } = context.core;
  const filter = new SecretFilter(credential);
  upstream.pipe = ((to: Socket) => {
    let waits: Timer | null = null;
    const pass = (bytes: Buffer): void => {
      if (bytes.length === 0 || to.destroyed || to.write(bytes)) return;
      upstream.pause();
      to.once('drain', () => upstream.resume());
    };
    const flush = guarded(context, () => {
      waits = null;
      pass(filter.end());
    });
    upstream.on('data', guarded(context, (chunk: Buffer) => {
      if (waits !== null) clock.clearTimeout(waits);
      waits = null;
      pass(filter.push(chunk));
      if (filter.holds) (waits = clock.setTimeout(flush, mostHeldBack)).unref();
    }));
    upstream.once('end', guarded(context, () => {
      flush();
      to.end();
    }));
    return to;
  }) as Socket['pipe'];
}

type Attempted = Required<Pick<Dispatcher.DispatchHandler, 'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'>> & ConnectionAware;

/** Stands between undici and an attempt that sends a credential of ours, and masks it in the answer. */
export class MaskedAnswer implements Dispatcher.DispatchHandler, ConnectionAware {
  readonly #credential: string;
  readonly #attempt: Attempted;
  #body: MaskedBody | null = null;

  constructor(credential: string, attempt: Attempted) {
    this.#credential = credential;
    this.#attempt = attempt;
  }

  get connection(): Connection | null {
    return this.#attempt.connection;
  }

  set connection(connection: Connection | null) {
    this.#attempt.connection = connection;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#attempt.onRequestStart(controller, null);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    const head = maskedHead((controller.rawHeaders ?? []) as Buffer[], this.#credential);
    this.#body = new MaskedBody(this.#credential, codingsOf(head), (bytes) => this.#attempt.onResponseData(controller, bytes));
    asDecoded(head);
    controller.rawHeaders = head;
    this.#attempt.onResponseStart(controller, status, {});
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const body = this.#body as MaskedBody;
    body.push(chunk);
    if (body.failed) return controller.abort(unreadable);
    if (!body.behind) return;
    controller.pause();
    body.whenCaughtUp(() => controller.resume());
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    (this.#body as MaskedBody).end((isWhole) => {
      if (isWhole) this.#attempt.onResponseEnd(controller, {});
      else this.#attempt.onResponseError(controller, unreadable);
    });
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#body === null) this.#attempt.onResponseError(controller, error);
    else this.#body.end(() => this.#attempt.onResponseError(controller, error));
  }
}
