import type { Ask, Kind, Rule } from './rule.ts';

/** Quota units of draft-ietf-httpapi-ratelimit-headers-08 §3.1.2, and two of our own; the default is requests. */
const units: Readonly<Record<Kind, string>> = { requests: '', tokens: ';qu="tokens"', concurrency: ';qu="concurrent-requests"', budget: ';qu="micro-usd"' };

/** Seconds; a month is the longest there is. */
const spans = { day: 86_400, month: 2_678_400 } as const;

const second = 1000;

/**
 * What a client may know of its limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-08), and
 * OpenAI's `x-ratelimit-*` of the tightest limit of requests and of tokens. Flat names and values.
 * @param taken whether the request was counted, so that what it took is off what remains.
 */
export function limitHead(asks: readonly Ask[], taken: boolean): string[] {
  let policies = '';
  let states = '';
  for (const ask of asks) {
    const parted = policies === '' ? '' : ', ';
    policies += `${parted}${policyOf(ask)}`;
    states += `${parted}${stateOf(ask, taken)}`;
  }
  const head = ['RateLimit-Policy', policies, 'RateLimit', states];
  for (const kind of ['requests', 'tokens'] as const) add(head, kind, tightest(asks, kind, taken), taken);
  return head;
}

/** A budget counts nano-dollars; an integer of a structured field has 15 digits. */
const shown = ({ kind }: Rule, amount: number): number => (kind === 'budget' ? Math.floor(amount / 1000) : amount);

function policyOf({ rule, limit }: Ask): string {
  const window = rule.period === null ? Math.ceil(rule.window / second) : spans[rule.period];
  return `"${nameOf(rule)}";q=${shown(rule, limit)}${units[rule.kind]}${window === 0 ? '' : `;w=${window}`}`;
}

/** Where it refuses, the time is that of `Retry-After` (§5). */
function stateOf(ask: Ask, taken: boolean): string {
  const time = ask.fits || !Number.isFinite(ask.wait) ? ask.reset : ask.wait;
  return `"${nameOf(ask.rule)}";r=${shown(ask.rule, ask.remaining(taken))}${time > 0 ? `;t=${Math.ceil(time / second)}` : ''}`;
}

/** The part's own name says nothing to a client. */
const nameOf = ({ name }: Rule): string => name.slice(name.indexOf('.') + 1);

function tightest(asks: readonly Ask[], kind: Kind, taken: boolean): Ask | null {
  let found: Ask | null = null;
  for (const ask of asks) if (ask.rule.kind === kind && (found === null || ask.remaining(taken) < found.remaining(taken))) found = ask;
  return found;
}

function add(head: string[], kind: string, ask: Ask | null, taken: boolean): void {
  if (ask === null) return;
  head.push(`x-ratelimit-limit-${kind}`, String(ask.limit), `x-ratelimit-remaining-${kind}`, String(ask.remaining(taken)), `x-ratelimit-reset-${kind}`, goDuration(ask.reset));
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

/** Before a name is lower-cased: `R`ateLimit, `X`-RateLimit. */
function isLimit(name: string): boolean {
  const first = name.charCodeAt(0) | 0x20;
  return (first === 0x72 || first === 0x78) && name.length >= 9;
}

/** Names this gate says itself. */
export const limitNames: ReadonlySet<string> = new Set([
  'ratelimit', 'ratelimit-policy', ...['requests', 'tokens'].flatMap((kind) => ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${kind}`)),
]);
