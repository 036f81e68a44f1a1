import { isAscii } from 'node:buffer';

/** A byte of ASCII is a quarter of a token, any other a half: three make a Chinese character, or six in `\u` notation. */
const quarters = 4;

/** A body is counted whole up to this size, beyond by as many bytes, taken evenly. */
const countedBytes = 4096;
const windowBytes = 64;
/** Images and files within a body: bytes of base64 a token, between a page of text (40) and a second of sound (6 000). */
const mediaBytes = 256;

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const space = 0x20;

/**
 * Guesses the tokens of a text, or of a JSON body with texts, by its bytes: four of ASCII make one, two of any other;
 * base64 within counts next to nothing. Right within a factor of two for prose and code; a tokenizer would cost milliseconds.
 */
export function estimateTokens(bytes: Buffer): number {
  // 0.04 instead of 0.4 microseconds for 600 bytes of English.
  if (bytes.length <= countedBytes) return tokensOf(isAscii(bytes) ? bytes.length : weigh(bytes, 0, bytes.length));
  const windows = countedBytes / windowBytes;
  const stride = bytes.length / windows;
  let tokens = 0;
  for (let nth = 0; nth < windows; nth++) {
    const from = Math.trunc((nth + 0.5) * stride) - windowBytes / 2;
    const to = from + windowBytes;
    tokens += isMedia(bytes, from, to) ? windowBytes / mediaBytes : weigh(bytes, from, to) / quarters;
  }
  return Math.ceil((tokens * bytes.length) / countedBytes);
}

/** Tokens of so many quarters. */
export function tokensOf(weight: number): number {
  return Math.ceil(weight / quarters);
}

/** Quarters of a token between two offsets. */
function weigh(bytes: Buffer, from: number, to: number): number {
  let weight = to - from;
  for (let at = from; at < to; at++) if ((bytes[at] as number) >= 0x80) weight++;
  return weight;
}

function isMedia(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number;
    if (byte <= space || byte === quote || byte === backslash || byte >= 0x80) return false;
  }
  return true;
}

/** The members of an event that hold what the model wrote. */
const texts = new Set(['delta', 'content', 'reasoning_content', 'reasoning', 'refusal', 'arguments', 'text', 'thinking', 'partial_json']);
/** What the Responses API has said by deltas it says again, whole, in events without one. */
const delta = Buffer.from('"delta"');
/** Completions have no delta. */
const choices = Buffer.from('"choices"');

/** Quarters of a token that an event's line adds to the answer; 0 when it carries no piece of it. */
export function weighDelta(line: Buffer): number {
  let at = line.indexOf(delta);
  if (at === -1) at = line.indexOf(choices);
  if (at === -1) return 0;
  let weight = 0;
  let name = '';
  for (let open = at; open !== -1; open = line.indexOf(quote, at)) {
    const close = endOfString(line, open + 1);
    if (close === -1) return weight;
    at = close + 1;
    if (isName(line, at)) name = line.toString('latin1', open + 1, close);
    else if (texts.has(name)) weight += weigh(line, open + 1, close);
  }
  return weight;
}

function endOfString(line: Buffer, from: number): number {
  for (let at = from; at < line.length; at++) {
    const byte = line[at];
    if (byte === quote) return at;
    if (byte === backslash) at++;
  }
  return -1;
}

/** @param at behind a string. Where the line was cut there, nobody can tell; so it counts for nothing. */
function isName(line: Buffer, at: number): boolean {
  let next = at;
  while (line[next] === space) next++;
  return next >= line.length || line[next] === colon;
}
