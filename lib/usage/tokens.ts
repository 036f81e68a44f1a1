import { isAscii } from 'node:buffer';
import type { Usage } from '../../types/usage.d.ts';
import { endOfValue, skipSpace } from '../http/http.ts';

/** A `usage` object as an upstream wrote it. */
export type Report = Readonly<Record<string, unknown>>;

/**
 * What must close behind a report that counts, up to the end of its document. A `usage` elsewhere, in the schema of a tool for
 * example, lies deeper.
 */
const places = {
  /** `{usage}` */
  answer: ['}'],
  /** `{usage}`, `{response: {usage}}`, `{message: {usage}}`, Groq's `{x_groq: {usage}}`, Moonshot's `{choices: [{usage}]}`. */
  event: ['}', '}}', '}]}'],
};
const deepest = 3;

/** The search leaves out the quote and so runs along a rarer byte: a third of the time. */
const name = Buffer.from('usage');
/** Gemini calls it `usageMetadata`. */
const geminiRest = 'Metadata';
/** Most objects of that name that are looked at in one document. Each may cost a walk to the end. */
const mostTries = 16;

/** One ASCII byte counts a quarter of a token, any other byte a half: a Chinese character has three, or six in `\u` notation. */
const quarters = 4;
/** Bytes of a larger body that are looked at, in windows at even distances; a smaller body is counted whole. */
const countedBytes = 4096;
const windowBytes = 64;
/** Bytes of base64 that count one token: between a page of text (40) and a second of sound (6000). */
const mediaBytes = 256;

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const closeBracket = 0x5d;
const letterM = 0x4d;
const space = 0x20;

/** The usage of a complete JSON answer of any model route; null when the answer names none. Only the end of the answer is read. */
export function jsonUsage(body: Buffer): Usage | null {
  const report = lastReport(body, 'answer');
  return report === null ? null : usageOf(report);
}

/**
 * The last report of a JSON document that stands where a report of its kind belongs; null without one.
 * Only the end of the document is read, from the report on.
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
    if (to === -1 || !places[kind].includes(closers(document, to))) continue;
    try {
      return JSON.parse(document.toString('utf8', from, to)) as Report;
    } catch {
      return null;
    }
  }
  return null;
}

/** The offset, at or behind `at`, of the next `"usage"` or `"usageMetadata"` whose value is an object, or -1. Within a string the quotes are escaped. */
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
 * The offset of the object that is the value of the member `usage"` or `usageMetadata"` whose name begins at `at`; -1 when it is
 * another word, or within a string.
 */
function valueAt(bytes: Buffer, at: number): number {
  if (bytes[at - 1] !== quote || bytes[at - 2] === backslash) return -1;
  let next = at + name.length;
  if (bytes[next] === letterM && bytes.toString('latin1', next, next + geminiRest.length) === geminiRest) next += geminiRest.length;
  if (bytes[next] !== quote) return -1;
  next = skipSpace(bytes, next + 1);
  if (bytes[next] !== colon) return -1;
  next = skipSpace(bytes, next + 1);
  return bytes[next] === openBrace ? next : -1;
}

/** The brackets that close from `at` to the end and were opened before; empty when there are too many, or the document is broken. */
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

/** Two reports of one stream as one. A value of the later one counts unless it is empty: Claude sends the prompt first, the rest last. */
export function merge(earlier: Report | null, later: Report | null): Report {
  const all: Record<string, unknown> = { ...earlier };
  for (const key in later) if (later[key]) all[key] = later[key];
  return all;
}

/**
 * Reads a report of the chat, completions, embeddings, responses, messages or Gemini API, and of those like them. Claude counts
 * what its cache read and wrote apart from the input, the others count it within.
 * @returns null when no number is above zero, or one of them cannot be a number of tokens: such a report is not believed.
 */
export function usageOf(report: Report): Usage | null {
  for (let at = 0; at < charged.length; at++) {
    const value = report[charged[at] as string];
    if (value !== undefined && value !== null && !(typeof value === 'number' && value >= 0 && value <= mostTokens)) return null;
  }
  if (report['promptTokenCount'] !== undefined || report['totalTokenCount'] !== undefined) return geminiUsageOf(report);
  const cacheRead = count(report['cache_read_input_tokens']);
  let prompt = count(report['prompt_tokens']) || count(report['input_tokens']) + cacheRead + count(report['cache_creation_input_tokens']);
  let completion = count(report['completion_tokens']) || count(report['output_tokens']);
  const total = count(report['total_tokens']);
  // Rerankers name the total alone; Grok and Gemini leave thinking out of the completion, not out of the total.
  if (prompt === 0) prompt = Math.max(0, total - completion);
  else completion = Math.max(completion, total - prompt);
  if (prompt + completion === 0) return null;
  const cached = detail(report, 'prompt_tokens_details', 'input_tokens_details', 'cached_tokens') || count((report['input_token_details'] as Report | null | undefined)?.['cached_tokens']) || count(report['prompt_cache_hit_tokens']) || cacheRead;
  const reasoning = detail(report, 'completion_tokens_details', 'output_tokens_details', 'reasoning_tokens');
  const written = Math.min(count(report['cache_creation_input_tokens']), prompt - Math.min(cached, prompt));
  return { prompt, completion, cached: Math.min(cached, prompt), ...(written > 0 && { written }), reasoning: Math.min(reasoning, completion), estimated: false };
}

/** The members by which an answer is charged. */
const charged = [
  'prompt_tokens', 'completion_tokens', 'total_tokens', 'input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens',
  'promptTokenCount', 'candidatesTokenCount', 'thoughtsTokenCount', 'toolUsePromptTokenCount', 'totalTokenCount',
];

/** More tokens than any model reads or writes for one request. */
const mostTokens = 2 ** 25;

/** Gemini counts thinking apart from the completion, and what its tools were asked with apart from the prompt. */
function geminiUsageOf(report: Report): Usage | null {
  const reasoning = count(report['thoughtsTokenCount']);
  const prompt = count(report['promptTokenCount']) + count(report['toolUsePromptTokenCount']);
  const completion = count(report['candidatesTokenCount']) + reasoning;
  const total = Math.max(prompt + completion, count(report['totalTokenCount']));
  if (total === 0) return null;
  return { prompt, completion: Math.max(completion, total - prompt), cached: Math.min(prompt, count(report['cachedContentTokenCount'])), reasoning, estimated: false };
}

/** A number one level deeper, under the name of the chat API or that of the Responses API. */
function detail(report: Report, chat: string, responses: string, key: string): number {
  return count((report[chat] as Report | null | undefined)?.[key]) || count((report[responses] as Report | null | undefined)?.[key]);
}

/** A number of tokens as an upstream wrote it; 0 for anything that is no such number. */
function count(value: unknown): number {
  return typeof value === 'number' && value > 0 && value <= mostTokens ? Math.trunc(value) : 0;
}

/**
 * Estimates the tokens of a text, or of a JSON body with texts, from its bytes: four ASCII bytes make one, two of any other;
 * base64 counts next to nothing. Right within a factor of two for prose and code; a tokenizer would take milliseconds.
 */
export function estimateTokens(bytes: Buffer | readonly Buffer[]): number {
  const pieces = Buffer.isBuffer(bytes) ? [bytes] : bytes;
  let size = 0;
  for (const { length } of pieces) size += length;
  if (size <= countedBytes) {
    let weight = 0;
    // 0.04 instead of 0.4 microseconds for 600 bytes of English.
    for (const piece of pieces) weight += isAscii(piece) ? piece.length : weigh(piece, 0, piece.length);
    return Math.ceil(weight / quarters);
  }
  return Math.ceil((sampled(pieces, size) * size) / countedBytes);
}

/** Tokens of windows at even distances; a window does not reach into a second piece. */
function sampled(pieces: readonly Buffer[], size: number): number {
  const windows = countedBytes / windowBytes;
  const stride = size / windows;
  let tokens = 0;
  let nth = 0;
  let before = 0;
  for (const piece of pieces) {
    for (; nth < windows && (nth + 0.5) * stride < before + piece.length; nth++) {
      const middle = Math.trunc((nth + 0.5) * stride) - before;
      const from = Math.max(0, Math.min(middle - windowBytes / 2, piece.length - windowBytes));
      const to = Math.min(piece.length, from + windowBytes);
      tokens += tokensIn(piece, from, to);
    }
    before += piece.length;
  }
  return tokens;
}

/** Tokens of a window that is as long as all are. Base64 has neither white space nor quotes. */
function tokensIn(bytes: Buffer, from: number, to: number): number {
  let weight = to - from;
  let isMedia = true;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number;
    if (byte >= 0x80) weight++;
    if (byte <= space || byte === quote || byte === backslash || byte >= 0x80) isMedia = false;
  }
  return isMedia ? windowBytes / mediaBytes : (weight * windowBytes) / (to - from) / quarters;
}

/** Tokens of a weight in quarters of a token. */
export function tokensOf(weight: number): number {
  return Math.ceil(weight / quarters);
}

/** Bytes of a text that are read in a loop; of the rest Node's own search takes a tenth of the time. */
const shortText = 48;

/** Quarters of a token between two offsets. */
function weigh(bytes: Buffer, from: number, to: number): number {
  let weight = to - from;
  if (weight > shortText && isAscii(bytes.subarray(from, to))) return weight;
  for (let at = from; at < to; at++) if ((bytes[at] as number) >= 0x80) weight++;
  return weight;
}

/** The members of an event that hold the text of the model. */
const texts = new Set(['delta', 'content', 'reasoning_content', 'reasoning', 'refusal', 'arguments', 'text', 'thinking', 'partial_json']);
/** The Responses API repeats as a whole, in events without a delta, what it has sent in deltas. */
const delta = Buffer.from('"delta"');
/** Completions have no delta, Gemini has neither. */
const choices = Buffer.from('"choices"');
const candidates = Buffer.from('"candidates"');

/** Quarters of a token that the line of an event adds to the answer; 0 when it holds no text of the model. */
export function weighDelta(line: Buffer): number {
  let at = line.indexOf(delta);
  if (at === -1) at = line.indexOf(choices);
  if (at === -1) at = line.indexOf(candidates);
  if (at === -1) return 0;
  let weight = 0;
  let member = '';
  for (let open = at; open !== -1; open = line.indexOf(quote, at)) {
    const close = endOfString(line, open + 1);
    if (close === -1) return weight;
    at = close + 1;
    if (isName(line, at)) member = line.toString('latin1', open + 1, close);
    else if (texts.has(member)) weight += weigh(line, open + 1, close);
  }
  return weight;
}

function endOfString(line: Buffer, from: number): number {
  let at = from;
  for (const near = Math.min(line.length, from + shortText); at < near; at++) {
    const byte = line[at];
    if (byte === quote) return at;
    if (byte === backslash) at++;
  }
  while (at < line.length) {
    const found = line.indexOf(quote, at);
    if (found === -1) return -1;
    let slashes = 0;
    while (found - 1 - slashes >= at && line[found - 1 - slashes] === backslash) slashes++;
    if (slashes % 2 === 0) return found;
    at = found + 1;
  }
  return -1;
}

/** @param at behind a string. A string at the end of a cut line may be a name or a value and is taken for a name. */
function isName(line: Buffer, at: number): boolean {
  let next = at;
  while (line[next] === space) next++;
  return next >= line.length || line[next] === colon;
}
