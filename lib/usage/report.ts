import type { Usage } from '../../types/usage.d.ts';
import { endOfValue, skipSpace } from '../http/http.ts';

/** A `usage` object as an upstream wrote it. */
export type Report = Readonly<Record<string, unknown>>;

/** Where in a document a report counts, told by what closes behind it. A tool's schema may hold a `usage`, too: deeper. */
const places = {
  /** `{usage}` */
  answer: ['}'],
  /** `{usage}`, `{response: {usage}}`, `{message: {usage}}`, Groq's `{x_groq: {usage}}`, Moonshot's `{choices: [{usage}]}`. */
  event: ['}', '}}', '}]}'],
};
const deepest = 3;

/** Without its first quote, so that the search runs along a rarer byte: a third of the time. */
const name = Buffer.from('usage"');
/** A document with more objects of that name is not looked through: each may cost a walk to the end. */
const mostTries = 16;

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const closeBracket = 0x5d;

/** The offset, at or behind `at`, of the next `"usage"` whose value is an object, or -1. In a text the quotes are escaped. */
export function nextReport(bytes: Buffer, at: number): number {
  let found = bytes.indexOf(name, at);
  while (found !== -1 && valueAt(bytes, found) === -1) found = bytes.indexOf(name, found + name.length);
  return found === -1 ? -1 : found - 1;
}

/**
 * Whether a report has a number above zero: some relays send one of zeros with every event.
 * @param at what `nextReport` found.
 * @param end of its line.
 */
export function saysNumber(bytes: Buffer, at: number, end: number): boolean {
  for (let next = valueAt(bytes, at + 1); next < end; next++) {
    const byte = bytes[next] as number;
    if (byte >= 0x31 && byte <= 0x39) return true;
  }
  return false;
}

/**
 * The last report of a JSON document that stands where a report of its kind belongs; null without one.
 * Only the document's end is read, from the report on.
 * @param document its bytes, of which the first may be missing.
 */
export function lastReport(document: Buffer, kind: keyof typeof places): Report | null {
  let tries = 0;
  let at = document.length;
  while (at > 0 && tries < mostTries) {
    at = document.lastIndexOf(name, at - 1);
    if (at === -1) return null;
    const from = valueAt(document, at);
    if (from === -1) continue;
    tries++;
    const to = endOfValue(document, from);
    if (to !== -1 && places[kind].includes(closers(document, to))) return parse(document.toString('utf8', from, to));
  }
  return null;
}

/** Where the object begins of which `usage"` at `at` is the name; -1 when it is none. */
function valueAt(bytes: Buffer, at: number): number {
  if (bytes[at - 1] !== quote || bytes[at - 2] === backslash) return -1;
  let next = skipSpace(bytes, at + name.length);
  if (bytes[next] !== colon) return -1;
  next = skipSpace(bytes, next + 1);
  return bytes[next] === openBrace ? next : -1;
}

/** What closes from `at` to the end and was opened before; empty when that is too much, or broken. */
function closers(document: Buffer, at: number): string {
  let found = '';
  let next = skipSpace(document, at);
  while (next < document.length) {
    const byte = document[next] as number;
    if (byte === closeBrace || byte === closeBracket) {
      if (found.length === deepest) return '';
      found += String.fromCharCode(byte);
      next++;
    } else if (byte === comma || byte === colon) next++;
    else {
      next = endOfValue(document, next);
      if (next === -1) return '';
    }
    next = skipSpace(document, next);
  }
  return found;
}

function parse(text: string): Report | null {
  try {
    return JSON.parse(text) as Report;
  } catch {
    return null;
  }
}

/** Two reports of one stream as one: the later has its way where it says something. Claude sends the prompt first, the rest last. */
export function merge(earlier: Report | null, later: Report | null): Report {
  const all: Record<string, unknown> = { ...earlier };
  for (const key in later) if (later[key]) all[key] = later[key];
  return all;
}

/**
 * Reads a report of the chat, completions, embeddings, responses or messages API, and their kin; null when it has no number
 * above zero. Claude counts what its cache read and wrote apart from the input, the others within.
 */
export function usageOf(report: Report): Usage | null {
  const cacheRead = count(report['cache_read_input_tokens']);
  let prompt = count(report['prompt_tokens']) || count(report['input_tokens']) + cacheRead + count(report['cache_creation_input_tokens']);
  let completion = count(report['completion_tokens']) || count(report['output_tokens']);
  const total = count(report['total_tokens']);
  // Rerankers name the total alone; Grok and Gemini leave thinking out of the completion, not out of the total.
  if (prompt === 0) prompt = Math.max(0, total - completion);
  else completion = Math.max(completion, total - prompt);
  if (prompt + completion === 0) return null;
  const cached = detail(report, 'prompt_tokens_details', 'input_tokens_details', 'cached_tokens') || count(report['prompt_cache_hit_tokens']) || cacheRead;
  const reasoning = detail(report, 'completion_tokens_details', 'output_tokens_details', 'reasoning_tokens');
  return { prompt, completion, cached: Math.min(cached, prompt), reasoning: Math.min(reasoning, completion), estimated: false };
}

function detail(report: Report, chat: string, responses: string, key: string): number {
  return inside(report[chat], key) || inside(report[responses], key);
}

const inside = (value: unknown, key: string): number => (typeof value === 'object' && value !== null ? count((value as Report)[key]) : 0);
const count = (value: unknown): number => (typeof value === 'number' && value > 0 && value <= Number.MAX_SAFE_INTEGER ? Math.trunc(value) : 0);
