import { masked } from './mask.ts';
import { headerOf, type Headers } from './redact.ts';

/** Masks known secrets in a text. */
export type SecretScrubber = (text: string) => string;

/** Characters of a credential at least. A shorter one would be found in ordinary words. */
const minLength = 8;
/** OpenAI's subprotocol that carries a credential. */
const marker = 'openai-insecure-api-key.';

/** More secrets than this are found as whole words only: a pattern of all would be tried at every character. */
const maxPatterns = 64;

/** Masks the secrets of the configuration and of keys. @param hidden may grow while it is used. */
export function secretScrubber(hidden: readonly string[]): SecretScrubber {
  let known = 0;
  let least = Number.POSITIVE_INFINITY;
  let scrub: SecretScrubber = (text) => text;
  return (text) => {
    if (hidden.length !== known) {
      known = hidden.length;
      least = Math.min(...hidden.map(({ length }) => length));
      scrub = known > maxPatterns ? byWords(new Set(hidden)) : byPattern(hidden);
    }
    return text.length < least ? text : scrub(text);
  };
}

function byPattern(hidden: readonly string[]): SecretScrubber {
  const pattern = new RegExp(hidden.flatMap(spellings).sort((a, b) => b.length - a.length).map(literal).join('|'), 'g');
  return (text) => text.replace(pattern, masked);
}

const byWords = (hidden: ReadonlySet<string>): SecretScrubber => (text) => text.replace(/[\w\-./+=~]{8,}/g, (word) => (hidden.has(word) ? masked : word));

/** Characters of which at least one is written otherwise in JSON or in a URL. */
const special = /[^\w\-.~!*'()]/;

/** A secret as it is, as JSON text, also within a JSON string and with slashes escaped, and percent-encoded, where these differ. */
function spellings(secret: string): string[] {
  if (!special.test(secret)) return [secret];
  const json = jsonOf(secret);
  const slashed = json.replaceAll('/', '\\/');
  return [...new Set([secret, json, jsonOf(json), slashed, jsonOf(slashed), encodeURIComponent(secret.toWellFormed())])];
}

const jsonOf = (text: string): string => JSON.stringify(text).slice(1, -1);

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** Masks the caller's own credentials wherever they appear in a text. */
export function withoutCredentials(text: string, credentials: readonly string[]): string {
  let out = text;
  for (const credential of credentials) if (out.length >= credential.length && out.includes(credential)) out = out.replaceAll(credential, masked);
  return out;
}

/** Headers that carry a caller's credential to NewAPI or to other upstreams. */
export const credentialHeaders: readonly string[] = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'api-key', 'proxy-authorization'];

/** Positions of the header values that may hold a credential. */
export const carriersOf = (headers: Headers): readonly number[] => credentialHeaders.map((name) => positionOf(headers, name)).filter((at) => at !== -1);

/** Position of a header's value; -1 when the header is missing. */
function positionOf(headers: Headers, lower: string): number {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return at + 1;
  }
  return -1;
}

/**
 * The caller's credentials in headers, subprotocols and query.
 * @param carriers positions of header values that may hold one.
 */
export function credentialsOf(headers: Headers, carriers: readonly number[], query: string): string[] {
  const found: string[] = [];
  const add = (value: string): void => {
    const bare = bareOf(value);
    if (bare.length >= minLength) found.push(...spellings(bare));
  };
  for (const at of carriers) add(headers[at] as string);
  for (const protocol of headerOf(headers, 'sec-websocket-protocol')?.split(',') ?? []) {
    const name = protocol.trim();
    if (name.startsWith(marker)) add(name.slice(marker.length));
  }
  if (query.includes('key') || query.includes('token')) {
    for (const [name, value] of new URLSearchParams(query)) if (/key|token|secret|auth/i.test(name)) add(value);
  }
  return found;
}

const usual = 'Bearer sk-';

function bareOf(value: string): string {
  if (value.startsWith(usual)) return value.slice(usual.length).trim();
  return value.replace(/^(?:bearer|basic|token) +/i, '').replace(/^sk-/, '').trim();
}
