import { randomInt } from 'node:crypto';
import { guarded, type Context, type Core } from '../request/request.ts';
import { headerOf } from '../http/http.ts';

/** Longer bodies are not remembered, bytes. */
export const longestRefusal = 16_384;
/** Ids from which the form of NewAPI's request ids is learnt. */
const mostIds = 8;
/** Milliseconds that an answer waits at most, as the real one did. */
const longestWait = 1000;
/** Fields that Node writes, or that belong to one answer. */
const own = new Set(['date', 'content-length', 'connection', 'transfer-encoding', 'keep-alive', 'set-cookie']);

interface Refusal {
  readonly status: number;
  readonly head: readonly string[];
  readonly body: string;
  readonly id: string;
  /** Milliseconds from its id's time to its arrival, by the clocks of both. */
  readonly behind: number;
  /** Milliseconds in which NewAPI answered. */
  readonly took: number;
}

/** What NewAPI answers with, until a real refusal was seen. */
const usualId = '202605290000001234567898268d9d6Ab3dEf7h';
const usual: Refusal = {
  status: 401, id: usualId, behind: 0, took: 2, head: ['Content-Type', 'application/json; charset=utf-8', 'X-Oneapi-Request-Id', usualId],
  body: `{"error":{"code":"","message":"Invalid token (request id: ${usualId})","type":"new_api_error"}}`,
};

/**
 * NewAPI's last refusal of a token: what the user of a honey key gets in passthrough. SECURITY: the gate's own answer would tell it
 * from other invalid keys; so the answer has status, headers, body, form of id and delay of a real one.
 */
export class Refusals {
  readonly #core: Core;
  readonly #ids: string[] = [];
  #last: Refusal = usual;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Remembers a refusal of NewAPI. @param body without a content coding. */
  note({ answeredAt, sentAt, verified }: Context, status: number, head: readonly string[], body: Buffer): void {
    const id = headerOf(head, 'x-oneapi-request-id');
    if (id === null || id === '' || body.length > longestRefusal || headerOf(head, 'content-encoding') !== null) return;
    // SECURITY: the refusal of a token that NewAPI knows, exhausted or expired, quotes a part of it.
    if (verified || body.includes('sk-') || body.includes('***')) return;
    const now = this.#core.clock.now();
    const kept: string[] = [];
    for (let at = 0; at < head.length; at += 2) if (!own.has((head[at] as string).toLowerCase())) kept.push(head[at] as string, head[at + 1] as string);
    this.#ids.push(id);
    if (this.#ids.length > mostIds) this.#ids.shift();
    this.#last = { status, head: kept, body: body.toString(), id, behind: now - (timeIn(id) ?? now), took: answeredAt === null || sentAt === null ? 2 : answeredAt - sentAt };
  }

  /** Answers a request as NewAPI answers an unknown token, when its body has arrived. */
  answer(context: Context): void {
    const { req } = context;
    if (context.body !== null || req.complete || !req.readable) return this.#later(context);
    req.once('end', guarded(context, () => this.#later(context))).resume();
  }

  #later(context: Context): void {
    this.#core.clock.setTimeout(guarded(context, () => this.#send(context)), Math.min(longestWait, this.#last.took));
  }

  #send(context: Context): void {
    if (context.finished || context.res.headersSent || context.res.destroyed) return;
    const { status, head, body, id } = this.#last;
    const fresh = this.#freshId();
    const bytes = Buffer.from(body.replaceAll(id, fresh));
    const written = head.map((text) => text.replaceAll(id, fresh));
    written.push('Content-Length', String(bytes.length));
    context.newapiVerdict = 'refused';
    context.outcome = 'refused';
    context.errorCode = 'invalid_credential';
    context.writeProxied(status, written);
    context.bytesOut += bytes.length;
    context.res.end(bytes);
  }

  /** An id of the form of those seen: the time now, and other characters where they differ. */
  #freshId(): string {
    const { id, behind } = this.#last;
    const time = timeIn(id) === null ? '' : digitsOf(this.#core.clock.now() - behind);
    const others = this.#ids.filter((each) => each !== id);
    const varying = id.slice(time.length).replace(/./g, (letter, at: number) => {
      const fromEnd = id.length - time.length - at;
      const there = others.map((each) => each.at(-fromEnd) ?? letter);
      const varies = others.length === 0 ? fromEnd <= 8 || fromEnd > 16 : there.some((each) => each !== letter);
      return varies ? likeOne(`${there.join('')}${letter}`, letter, fromEnd <= 8 ? id.slice(-8) : '') : letter;
    });
    return time + varying;
  }
}

const classes = ['0123456789', 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'] as const;

/** A random character of the classes of those seen at its place, and of those around it. */
function likeOne(seen: string, letter: string, around: string): string {
  const letters = classes.filter((each) => [...seen, ...around].some((one) => each.includes(one))).join('');
  return letters === '' ? letter : (letters[randomInt(letters.length)] as string);
}

/** The time at the beginning of an id of NewAPI, as if it were in UTC: `20260529123456…`. */
function timeIn(id: string): number | null {
  const [, year, month, date, hours, minutes, seconds] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\d/.exec(id) ?? [];
  const time = Date.parse(`${year}-${month}-${date}T${hours}:${minutes}:${seconds}Z`);
  return Number.isNaN(time) ? null : time;
}

const digitsOf = (time: number): string => new Date(time).toISOString().slice(0, 19).replace(/[-:T]/g, '');

const byCore = new WeakMap<Core, Refusals>();

/** The refusals that a gate has seen. */
export function refusalsOf(core: Core): Refusals {
  let refusals = byCore.get(core);
  if (refusals === undefined) byCore.set(core, (refusals = new Refusals(core)));
  return refusals;
}
