import { masked } from './mask.ts';
import { headerOf, type Headers } from './redact.ts';

/** Takes known secrets out of a text. */
export type Hide = (text: string) => string;

/** A shorter one would be found in innocent words. */
const shortest = 8;
const marker = 'openai-insecure-api-key.';

/** More secrets than these are looked for as whole words only: each pattern would be tried at every letter. */
const mostPatterns = 64;

/** Hides the configuration's secrets. */
export function hider(hidden: readonly string[]): Hide {
  if (hidden.length === 0) return (text) => text;
  const least = Math.min(...hidden.map(({ length }) => length));
  const hide = hidden.length > mostPatterns ? byWords(new Set(hidden)) : byPattern(hidden);
  return (text) => (text.length < least ? text : hide(text));
}

function byPattern(hidden: readonly string[]): Hide {
  const pattern = new RegExp([...hidden].sort((a, b) => b.length - a.length).map(literal).join('|'), 'g');
  return (text) => text.replace(pattern, masked);
}

const byWords = (hidden: ReadonlySet<string>): Hide => (text) => text.replace(/[\w\-./+=~]{8,}/g, (word) => (hidden.has(word) ? masked : word));

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** Hides the caller's own credentials, wherever else in the request they stand. */
export function withoutCredentials(text: string, credentials: readonly string[]): string {
  let out = text;
  for (const credential of credentials) if (out.length >= credential.length && out.includes(credential)) out = out.replaceAll(credential, masked);
  return out;
}

/**
 * The caller's credentials.
 * @param carriers where the values of headers stand that carry one.
 */
export function credentialsOf(headers: Headers, carriers: readonly number[], query: string): string[] {
  const found: string[] = [];
  const add = (value: string): void => {
    const bare = bareOf(value);
    if (bare.length >= shortest) found.push(bare);
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
