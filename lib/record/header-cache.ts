import { clientOf } from '../identity/identity.ts';
import { InternedTexts, Variants } from '../platform/platform.ts';
import { carriersOf, credentialsOf, headerOf, type Headers, type SecretScrubber, isSafe, keptHeaders, keptText, maxLength, masked, pathOf, withoutCredentials } from '../redaction/redaction.ts';

/** Facts read from the headers of a request that may be cached. */
export interface HeaderFacts {
  readonly agent: string | null;
  /** The agent, masked and bounded. */
  readonly shownAgent: string | null;
  readonly client: string | null;
  /** Media type of the body. */
  readonly type: string | null;
  readonly encoding: string | null;
  /** The safe headers as JSON; null when other headers are kept, or none. */
  readonly safe: string | null;
  /** Positions of header values that may hold a credential, in the order of `carriersOf`. */
  readonly carriers: readonly number[];
}

const none: readonly never[] = [];

interface CachedHeaders {
  /** Names and values in turn; null for a value that is not cached. */
  readonly sent: readonly (string | null)[];
  /** Position of each `Referer`'s value, and its path. */
  readonly referers: readonly (readonly [at: number, path: string])[];
  readonly facts: HeaderFacts;
  /** Characters. */
  readonly size: number;
}

/** Characters of cached headers in each of the two generations of the cache. */
const room = 8_000_000;
/** Cached sets of headers for one agent: an SDK sends one set, and another with every retry. */
const variants = 8;
/** Sets of more characters are not cached. */
const maxSent = 2048;

/**
 * Reads headers and caches the facts: a client sends the same headers every time, and reading them costs 10 µs.
 * SECURITY: only values of safe headers are cached, and the path of a `Referer`.
 */
export class HeaderCache {
  readonly #scrub: SecretScrubber;
  readonly #keepsSafe: boolean;
  readonly #cached = new Variants<CachedHeaders>(room, maxLength.agent, variants);
  readonly #texts = new InternedTexts(500_000, maxLength.value);

  /** @param scrub masks configured secrets. @param keepsSafe whether records keep safe headers. */
  constructor(scrub: SecretScrubber, keepsSafe: boolean) {
    this.#scrub = scrub;
    this.#keepsSafe = keepsSafe;
  }

  /** @param query the request's; it may hold a credential too. */
  of(headers: Headers, query: string): HeaderFacts {
    const agent = headerOf(headers, 'user-agent') ?? '';
    for (const cached of this.#cached.get(agent)) if (isSame(cached, headers)) return cached.facts;
    const facts = this.#read(headers);
    return mayCache(headers, facts, query) ? this.#add(agent, headers, facts) : facts;
  }

  #read(headers: Headers): HeaderFacts {
    const agent = headerOf(headers, 'user-agent');
    return {
      agent,
      shownAgent: agent === null ? null : this.#scrub(keptText(agent, maxLength.agent)),
      client: clientOf(agent ?? undefined),
      type: headerOf(headers, 'content-type'),
      encoding: headerOf(headers, 'content-encoding'),
      safe: this.#keepsSafe && headers.length > 0 ? this.#scrub(keptHeaders(headers, 'safe')) : null,
      carriers: carriersOf(headers),
    };
  }

  #add(agent: string, headers: Headers, facts: HeaderFacts): HeaderFacts {
    const own = (text: string | null): string | null => (text === null ? null : this.#texts.own(text));
    const sent = headers.map((text, at) => (isShown(headers, at) ? own(text) : null));
    const referers = headers.flatMap((name, at) => (at % 2 === 0 && isReferer(name) ? [[at + 1, this.#texts.own(pathOf(headers[at + 1] as string))] as const] : []));
    const { shownAgent, type, encoding } = facts;
    const cached: CachedHeaders = { sent, referers: referers.length === 0 ? none : referers, facts: { ...facts, agent: own(facts.agent), shownAgent: own(shownAgent), type: own(type), encoding: own(encoding) }, size: sizeOf(headers) + (facts.safe?.length ?? 0) };
    this.#cached.add(agent, cached);
    return cached.facts;
  }
}

/** SECURITY: headers in which something was masked, or has to be, are not cached. */
function mayCache(headers: Headers, { agent, shownAgent, safe, carriers: at }: HeaderFacts, query: string): boolean {
  if (sizeOf(headers) > maxSent) return false;
  const kept = `${safe ?? ''}${shownAgent ?? ''}`;
  return shownAgent === agent && !kept.includes(masked) && withoutCredentials(kept, credentialsOf(headers, at, query)) === kept;
}

const isReferer = (name: string): boolean => name.length === 7 && name.toLowerCase() === 'referer';

/** True for names, and for values of safe headers that are kept unchanged. */
const isShown = (headers: Headers, at: number): boolean => at % 2 === 0 || (isSafe(headers[at - 1] as string) && !isReferer(headers[at - 1] as string));

const sizeOf = (headers: Headers): number => headers.reduce((sum, text, at) => sum + (isShown(headers, at) ? text.length : 0), 0);

function isSame({ sent, referers }: CachedHeaders, headers: Headers): boolean {
  if (sent.length !== headers.length) return false;
  for (let at = 0; at < sent.length; at++) {
    const text = sent[at];
    if (text !== null && text !== headers[at]) return false;
  }
  for (const [at, path] of referers) if (pathOf(headers[at] as string) !== path) return false;
  return true;
}
