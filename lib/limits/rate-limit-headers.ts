import type { Charge, Kind, Rule } from './charge.ts';

/** Quota units of draft-ietf-httpapi-ratelimit-headers-08 §3.1.2, and two of our own; the default is requests. */
const units: Readonly<Record<Kind, string>> = { requests: '', tokens: ';qu="tokens"', concurrency: ';qu="concurrent-requests"', budget: ';qu="micro-usd"' };

/** Seconds; for a month, the longest one. */
export const spans = { day: 86_400, month: 2_678_400 } as const;

const second = 1000;
const letterR = 0x72;
const letterX = 0x78;

/**
 * The fields that tell a client its limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-08), and
 * OpenAI's `x-ratelimit-*` for the tightest limit of requests and of tokens. `heimdall-error`: how much may be refused too early
 * with `rate_limit.redis_blocks`.
 */
export class RateLimitHeaders {
  /** The names of the rules as fields of the head write them. */
  readonly #names: readonly string[];
  /** Limits that the policy below describes: alone, an instance's share of a budget may change. */
  #limits: readonly number[] = [];
  #policy = '';

  constructor(rules: readonly Rule[]) {
    this.#names = rules.map(({ name }) => `"${name.slice(name.indexOf('.') + 1)}"`);
  }

  /**
   * Adds the fields to a flat head.
   * @param charges one for each rule, in their order.
   * @param taken whether the request was counted, so that its amounts are off what remains.
   */
  add(head: string[], charges: readonly Charge[], taken: boolean): void {
    let states = '';
    let requests: Charge | null = null;
    let tokens: Charge | null = null;
    let known = this.#limits.length > 0;
    for (let at = 0; at < charges.length; at++) {
      const charge = charges[at] as Charge;
      const { kind } = charge.counter.rule;
      if (shownLimit(charge) !== this.#limits[at]) known = false;
      if (isWithoutPrice(charge)) continue;
      const left = remaining(charge, taken);
      if (kind === 'requests') requests = requests === null || left < remaining(requests, taken) ? charge : requests;
      else if (kind === 'tokens') tokens = tokens === null || left < remaining(tokens, taken) ? charge : tokens;
      // Where it refuses, the time is that of `Retry-After` (§5).
      const time = charge.fits || !Number.isFinite(charge.wait) ? charge.reset : charge.wait;
      states += `${states === '' ? '' : ', '}${this.#names[at]};r=${written(kind, left)}${time > 0 ? `;t=${Math.ceil(time / second)}` : ''}`;
    }
    if (!known) this.#describe(charges);
    if (states !== '') head.push('RateLimit-Policy', this.#policy, 'RateLimit', states);
    if (requests !== null) head.push('x-ratelimit-limit-requests', `${requests.limit}`, 'x-ratelimit-remaining-requests', `${remaining(requests, taken)}`, 'x-ratelimit-reset-requests', goDuration(requests.reset));
    if (tokens !== null) head.push('x-ratelimit-limit-tokens', `${tokens.limit}`, 'x-ratelimit-remaining-tokens', `${remaining(tokens, taken)}`, 'x-ratelimit-reset-tokens', goDuration(tokens.reset));
  }

  #describe(charges: readonly Charge[]): void {
    this.#limits = charges.map(shownLimit);
    this.#policy = charges.flatMap((charge, at) => {
      const { counter: { rule }, limit } = charge;
      if (isWithoutPrice(charge)) return [];
      const error = rule.blocks === null ? '' : `;heimdall-error=${rule.blocks.error}`;
      const window = rule.period === null ? Math.ceil(rule.window / second) : spans[rule.period];
      return `${this.#names[at]};q=${written(rule.kind, limit)}${units[rule.kind]}${window === 0 ? '' : `;w=${window}`}${error}`;
    }).join(', ');
  }
}

/** A budget takes nothing of a request whose model has no price, so it does not limit it and is not told. */
const isWithoutPrice = ({ counter: { rule }, amount }: Charge): boolean => rule.kind === 'budget' && amount === 0;

const shownLimit = (charge: Charge): number => (isWithoutPrice(charge) ? -1 : charge.limit);

/** What is left of a limit; where the request was counted, without its own amount. */
export function remaining({ limit, used, amount }: Charge, taken: boolean): number {
  return Math.max(0, limit - used - (taken ? amount : 0));
}

/** A budget counts nano-dollars; an integer of a structured field has at most 15 digits. */
const written = (kind: Kind, amount: number): number => (kind === 'budget' ? Math.floor(amount / 1000) : amount);

/** As OpenAI writes it, by Go's `Duration.String`: `17ms`, `1.5s`, `6m0s`, `1h0m0s`. */
export function goDuration(ms: number): string {
  if (Math.ceil(ms) < second) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 10) / 100;
  if (seconds < 60) return `${seconds}s`;
  const whole = Math.ceil(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m${whole % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m${whole % 60}s`;
}

/** Fields of an upstream's own that ours replace. */
const replaced: ReadonlySet<string> = new Set([
  'ratelimit', 'ratelimit-policy', ...['requests', 'tokens'].flatMap((kind) => ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${kind}`)),
]);

/** Takes the upstream's own fields of the same names out of a flat head. */
export function withoutLimits(head: string[]): void {
  let kept = 0;
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    // By its first letter, before it is lower-cased: `R`ateLimit, `X-R`ateLimit.
    const first = name.charCodeAt((name.charCodeAt(0) | 0x20) === letterX ? 2 : 0) | 0x20;
    if (first === letterR && name.length >= 9 && replaced.has(name.toLowerCase())) continue;
    head[kept++] = name;
    head[kept++] = head[at + 1] as string;
  }
  head.length = kept;
}
