import type { Ask, Kind, Rule } from './rule.ts';

/** Quota units of draft-ietf-httpapi-ratelimit-headers-08 §3.1.2, and two of our own; the default is requests. */
const units: Readonly<Record<Kind, string>> = { requests: '', tokens: ';qu="tokens"', concurrency: ';qu="concurrent-requests"', budget: ';qu="micro-usd"' };

/** Seconds; a month is the longest there is. */
const spans = { day: 86_400, month: 2_678_400 } as const;

const second = 1000;
const letterR = 0x72;
const letterX = 0x78;

/** Lines of a head, with gaps for what changes from request to request. */
export interface Form {
  /** One more than there are gaps. */
  readonly words: readonly string[];
  /** Of which ask: what remains; or, where it is negative, `~` of which ask: seconds until then. */
  readonly gaps: readonly number[];
  /** Where the tightest of a kind stand, as {@link told} has them. */
  readonly tightest: readonly number[];
}

/** The kinds that `x-ratelimit-*` speaks of. */
export const told = ['requests', 'tokens'] as const;

/**
 * What a client may know of its limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-08), and
 * OpenAI's `x-ratelimit-*` of the tightest limit of requests and of tokens. Lines as they go over the wire.
 * @param taken whether the request was counted, so that what it took is off what remains.
 */
export function limitLines(asks: readonly Ask[], taken: boolean): string {
  const { words, gaps } = formOf(asks, taken);
  return words.reduce((text, word, at) => `${text}${valueIn(gaps[at - 1] as number, asks, taken)}${word}`);
}

/** Writes all but what changes. */
export function formOf(asks: readonly Ask[], taken: boolean): Form {
  const words: string[] = [];
  const gaps: number[] = [];
  const tightest = told.map((kind) => tightestOf(asks, kind, taken));
  let text = `RateLimit-Policy: ${asks.map(policyOf).join(', ')}\r\nRateLimit: `;
  const leave = (gap: number): void => {
    words.push(text);
    gaps.push(gap);
    text = '';
  };
  for (const [at, ask] of asks.entries()) {
    text += `${at === 0 ? '' : ', '}"${nameOf(ask.rule)}";r=`;
    leave(at);
    const time = timeOf(ask);
    if (time > 0) text += ';t=';
    if (time > 0 && ask.rule.period !== null) leave(~at);
    else if (time > 0) text += Math.ceil(time / second);
  }
  for (const [at, kind] of told.entries()) {
    const ask = asks[tightest[at] as number];
    if (ask === undefined) continue;
    text += `\r\nx-ratelimit-limit-${kind}: ${ask.limit}\r\nx-ratelimit-remaining-${kind}: `;
    leave(tightest[at] as number);
    text += `\r\nx-ratelimit-reset-${kind}: ${goDuration(ask.reset)}`;
  }
  return { words: [...words, `${text}\r\n`], gaps, tightest };
}

/** What belongs into a gap. */
export function valueIn(gap: number, asks: readonly Ask[], taken: boolean): number {
  const ask = asks[gap < 0 ? ~gap : gap] as Ask;
  return gap < 0 ? Math.ceil(timeOf(ask) / second) : shown(ask.rule, ask.remaining(taken));
}

/** A budget counts nano-dollars; an integer of a structured field has 15 digits. */
const shown = ({ kind }: Rule, amount: number): number => (kind === 'budget' ? Math.floor(amount / 1000) : amount);

function policyOf({ rule, limit }: Ask): string {
  const window = rule.period === null ? Math.ceil(rule.window / second) : spans[rule.period];
  return `"${nameOf(rule)}";q=${shown(rule, limit)}${units[rule.kind]}${window === 0 ? '' : `;w=${window}`}`;
}

/** Milliseconds. Where it refuses, the time is that of `Retry-After` (§5). */
const timeOf = ({ fits, wait, reset }: Ask): number => (fits || !Number.isFinite(wait) ? reset : wait);

/** The part's own name says nothing to a client. */
const nameOf = ({ name }: Rule): string => name.slice(name.indexOf('.') + 1);

/** @returns where it stands; -1 for none. */
export function tightestOf(asks: readonly Ask[], kind: Kind, taken: boolean): number {
  let found = -1;
  for (let at = 0; at < asks.length; at++) {
    const ask = asks[at] as Ask;
    if (ask.rule.kind === kind && (found === -1 || ask.remaining(taken) < (asks[found] as Ask).remaining(taken))) found = at;
  }
  return found;
}

/** As OpenAI writes it, by Go's `Duration.String`: `17ms`, `1.5s`, `6m0s`, `1h0m0s`. */
export function goDuration(ms: number): string {
  if (Math.ceil(ms) < second) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 10) / 100;
  if (seconds < 60) return `${seconds}s`;
  const whole = Math.ceil(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m${whole % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m${whole % 60}s`;
}

/** Takes the upstream's own fields of the same names out of a head. */
export function withoutLimits(head: string[], names: ReadonlySet<string>): void {
  let kept = 0;
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (isLimit(name) && names.has(name.toLowerCase())) continue;
    head[kept++] = name;
    head[kept++] = head[at + 1] as string;
  }
  head.length = kept;
}

/** Before a name is lower-cased: `R`ateLimit, `X-R`ateLimit. */
function isLimit(name: string): boolean {
  const at = (name.charCodeAt(0) | 0x20) === letterX ? 2 : 0;
  return (name.charCodeAt(at) | 0x20) === letterR && name.length >= 9;
}

/** Names this gate says itself. */
export const limitNames: ReadonlySet<string> = new Set([
  'ratelimit', 'ratelimit-policy', ...['requests', 'tokens'].flatMap((kind) => ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${kind}`)),
]);
