import { masked } from './mask.ts';
import { headerOf, type Headers } from './redact.ts';

/** Takes known secrets out of a text. */
export type Hide = (text: string) => string;

/** Headers that carry the caller's credential to NewAPI or to others. */
const carriers = ['authorization', 'x-api-key', 'x-goog-api-key', 'mj-api-secret', 'api-key', 'proxy-authorization'];
/** A shorter one would be found in innocent words. */
const shortest = 8;
const marker = 'openai-insecure-api-key.';

/**
 * Hides, beyond what has the form of a credential, the caller's own, wherever else in the request it stands, and those of
 * the configuration.
 * @param hidden the configuration's secrets.
 */
export function hider(hidden: readonly string[]): (headers: Headers, query: string) => Hide {
  const configured = hidden.length > mostPatterns ? byWords(new Set(hidden)) : byPattern(hidden);
  return (headers, query) => {
    const own = credentialsOf(headers, query);
    return (text) => {
      let out = configured(text);
      for (const credential of own) if (out.includes(credential)) out = out.replaceAll(credential, masked);
      return out;
    };
  };
}

/** More secrets than these are looked for as whole words only: each pattern would be tried at every letter. */
const mostPatterns = 64;

function byPattern(hidden: readonly string[]): Hide {
  if (hidden.length === 0) return (text) => text;
  const pattern = new RegExp([...hidden].sort((a, b) => b.length - a.length).map(literal).join('|'), 'g');
  return (text) => text.replace(pattern, masked);
}

const byWords = (hidden: ReadonlySet<string>): Hide => (text) => text.replace(/[\w\-./+=~]{8,}/g, (word) => (hidden.has(word) ? masked : word));

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

function credentialsOf(headers: Headers, query: string): string[] {
  const found: string[] = [];
  const add = (value: string | null | undefined): void => {
    const bare = value?.replace(/^(?:bearer|basic|token) +/i, '').replace(/^sk-/, '').trim();
    if (bare !== undefined && bare.length >= shortest) found.push(bare);
  };
  for (const name of carriers) add(headerOf(headers, name));
  for (const protocol of headerOf(headers, 'sec-websocket-protocol')?.split(',') ?? []) {
    const name = protocol.trim();
    if (name.startsWith(marker)) add(name.slice(marker.length));
  }
  if (query.includes('key') || query.includes('token')) {
    for (const [name, value] of new URLSearchParams(query)) if (/key|token|secret|auth/i.test(name)) add(value);
  }
  return found;
}
