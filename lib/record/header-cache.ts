import { clientOf } from '../identity/identity.ts';
import { InternedTexts, Variants } from '../platform/platform.ts';
import { credentialsOf, headerOf, type Headers, type Hide, isSafe, keptHeaders, keptText, longest, masked, pathOf, withoutCredentials } from '../redaction/redaction.ts';

/** What the headers of a request say of it, as far as it may be remembered. */
export interface Head {
  readonly agent: string | null;
  /** What may be kept of the agent. */
  readonly shownAgent: string | null;
  readonly client: string | null;
  /** Of the body. */
  readonly type: string | null;
  readonly encoding: string | null;
  /** The headers that may be kept, where they are safe ones alone. */
  readonly safe: string | null;
  /** Where the values of headers stand that may carry a credential, the most telling first. */
  readonly carriers: readonly number[];
}

/** Headers that carry the caller's credential to NewAPI or to others. */
const carriers = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'api-key', 'proxy-authorization'];

const none: readonly never[] = [];

interface Known {
  /** Names and values in turn; null for a value that is not remembered. */
  readonly sent: readonly (string | null)[];
  /** Where the value of a `Referer` stands, and its path. */
  readonly referers: readonly (readonly [at: number, path: string])[];
  readonly head: Head;
  /** Characters of it. */
  readonly size: number;
}

/** Characters of remembered headers, twice. */
const room = 8_000_000;
/** Sets of headers of an agent: an SDK sends one, and another with every retry. */
const variants = 8;
/** Longer sets are read anew each time. */
const longestSent = 2048;

/**
 * Reads headers, and remembers what it read: clients always send the same, and to read them anew costs ten microseconds.
 * SECURITY: of values only those of safe headers are remembered, and of a `Referer` the path.
 */
export class Heads {
  readonly #hide: Hide;
  readonly #keepsSafe: boolean;
  readonly #known = new Variants<Known>(room, longest.agent, variants);
  readonly #texts = new InternedTexts(500_000, longest.value);

  /** @param hide takes out the configuration's secrets. @param keepsSafe whether safe headers are kept. */
  constructor(hide: Hide, keepsSafe: boolean) {
    this.#hide = hide;
    this.#keepsSafe = keepsSafe;
  }

  /** @param query may hold a credential too. */
  of(headers: Headers, query: string): Head {
    const agent = headerOf(headers, 'user-agent') ?? '';
    for (const known of this.#known.get(agent)) if (isSame(known, headers)) return known.head;
    const head = this.#read(headers);
    return mayRemember(headers, head, query) ? this.#remember(agent, headers, head) : head;
  }

  #read(headers: Headers): Head {
    const agent = headerOf(headers, 'user-agent');
    return {
      agent,
      shownAgent: agent === null ? null : this.#hide(keptText(agent, longest.agent)),
      client: clientOf(agent ?? undefined),
      type: headerOf(headers, 'content-type'),
      encoding: headerOf(headers, 'content-encoding'),
      safe: this.#keepsSafe && headers.length > 0 ? this.#hide(keptHeaders(headers, 'safe')) : null,
      carriers: carriers.map((name) => placeOf(headers, name)).filter((at) => at !== -1),
    };
  }

  #remember(agent: string, headers: Headers, head: Head): Head {
    const own = (text: string | null): string | null => (text === null ? null : this.#texts.own(text));
    const sent = headers.map((text, at) => (isShown(headers, at) ? own(text) : null));
    const referers = headers.flatMap((name, at) => (at % 2 === 0 && isReferer(name) ? [[at + 1, this.#texts.own(pathOf(headers[at + 1] as string))] as const] : []));
    const { shownAgent, type, encoding } = head;
    const known: Known = { sent, referers: referers.length === 0 ? none : referers, head: { ...head, agent: own(head.agent), shownAgent: own(shownAgent), type: own(type), encoding: own(encoding) }, size: sizeOf(headers) + (head.safe?.length ?? 0) };
    this.#known.add(agent, known);
    return known.head;
  }
}

/** SECURITY: not where anything was hidden, or has to be. */
function mayRemember(headers: Headers, { agent, shownAgent, safe, carriers: at }: Head, query: string): boolean {
  if (sizeOf(headers) > longestSent) return false;
  const kept = `${safe ?? ''}${shownAgent ?? ''}`;
  return shownAgent === agent && !kept.includes(masked) && withoutCredentials(kept, credentialsOf(headers, at, query)) === kept;
}

const isReferer = (name: string): boolean => name.length === 7 && name.toLowerCase() === 'referer';

/** Names, and values of safe headers that are kept as they are. */
const isShown = (headers: Headers, at: number): boolean => at % 2 === 0 || (isSafe(headers[at - 1] as string) && !isReferer(headers[at - 1] as string));

const sizeOf = (headers: Headers): number => headers.reduce((sum, text, at) => sum + (isShown(headers, at) ? text.length : 0), 0);

function isSame({ sent, referers }: Known, headers: Headers): boolean {
  if (sent.length !== headers.length) return false;
  for (let at = 0; at < sent.length; at++) {
    const text = sent[at];
    if (text !== null && text !== headers[at]) return false;
  }
  for (const [at, path] of referers) if (pathOf(headers[at] as string) !== path) return false;
  return true;
}

/** Where the value of a header stands; -1 without it. */
function placeOf(headers: Headers, lower: string): number {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return at + 1;
  }
  return -1;
}
