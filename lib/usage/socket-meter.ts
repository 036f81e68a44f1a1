import type { Usage } from '../../types/usage.d.ts';
import { ReportFinder } from './report-finder.ts';
import { Tail } from './tail.ts';
import { lastReport, nextReport, saysNumber, tokensOf, usageOf, weighDelta, type Report } from './tokens.ts';

/** Bytes kept of a message that arrives in pieces; in a longer one only the report is searched. */
const keptBytes = 65_536;
/** A report in an event lies in it or in its `response`. */
const deepestReport = 2;

/** A second of sound is some 64 KB in base64 and 20 tokens. */
const soundBytes = 3200;
/** Of what a client has sent, sound for the most part: bytes a token. */
const sentBytes = 256;
const quarters = 4;

const began = Buffer.from('"response.created"');
const ofResponse = Buffer.from('"response"');
const sound = Buffer.from('audio.delta"');

const continuation = 0;
const text = 1;
const firstControl = 8;
/** A head with the longest length and a mask. */
const longestHead = 14;

/**
 * Reads what the answers on a WebSocket used, from an upstream's messages as they pass (RFC 6455 §5). Each response of the realtime
 * API and of the Responses API ends with an event that reports it, and each transcript of what was said with one of its own. Keeps
 * a bounded part of one message and changes no byte. Compressed messages are not read.
 */
export class SocketMeter {
  readonly #hear: (usage: Usage) => void;
  readonly #head = Buffer.alloc(longestHead);
  #headBytes = 0;
  /** Bytes of the payload that are still to come; -1 between two frames. */
  #left = -1;
  #isLast = false;
  #isControl = false;
  /** More frames of the message follow. */
  #isWithin = false;
  /** The message is text that can be read. */
  #isRead = false;
  readonly #begun = new Tail(keptBytes);
  #begunBytes = 0;
  #finder: ReportFinder | null = null;
  /** A response has begun that is not reported yet. */
  #answers = false;
  /** Quarters of a token written since the last report. */
  #weight = 0;
  /** Of the last response: the next one reads at least as much. */
  #prompt = 0;

  /** @param hear gets the usage of each response. */
  constructor(hear: (usage: Usage) => void) {
    this.#hear = hear;
  }

  /** What has passed ends with the end of a message. */
  get isBetween(): boolean {
    return this.#left === -1 && this.#headBytes === 0 && !this.#isWithin;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === -1) {
        at = this.#open(chunk, at);
        continue;
      }
      const to = Math.min(chunk.length, at + this.#left);
      this.#left -= to - at;
      if (this.#isRead && !this.#isControl) this.#take(chunk, at, to);
      at = to;
      if (this.#left === 0) this.#close();
    }
  }

  /**
   * What was used since the last report, as far as it can be told: a response that is cut off reports nothing.
   * @param sent bytes that the client has sent.
   */
  rest(sent: number): Usage | null {
    if (!this.#answers && this.#weight === 0) return null;
    const prompt = this.#prompt === 0 ? Math.ceil(sent / sentBytes) : this.#prompt;
    const completion = tokensOf(this.#weight);
    this.#answers = false;
    this.#weight = 0;
    return { prompt, completion, cached: 0, reasoning: 0, estimated: true };
  }

  /** Reads on in the head of a frame. @returns the offset behind what was read. */
  #open(chunk: Buffer, from: number): number {
    const head = this.#head;
    let at = from;
    while (at < chunk.length) {
      head[this.#headBytes++] = chunk[at++] as number;
      if (this.#headBytes < sizeOf(head, this.#headBytes)) continue;
      this.#headBytes = 0;
      this.#begin();
      break;
    }
    return at;
  }

  #begin(): void {
    const head = this.#head;
    const [first, second] = [head[0] as number, head[1] as number];
    const opcode = first & 0x0f;
    const short = second & 0x7f;
    const isPlain = (first & 0x70) === 0 && (second & 0x80) === 0;
    this.#left = short === 126 ? head.readUInt16BE(2) : short === 127 ? Number(head.readBigUInt64BE(2)) : short;
    this.#isControl = opcode >= firstControl;
    this.#isLast = (first & 0x80) !== 0;
    if (!this.#isControl) {
      this.#isWithin = !this.#isLast;
      this.#isRead = isPlain && (opcode === text || (opcode === continuation && this.#isRead));
    }
    if (this.#left === 0) this.#close();
  }

  /** Takes a piece of a message. */
  #take(chunk: Buffer, from: number, to: number): void {
    if (this.#left === 0 && this.#isLast && this.#begunBytes === 0 && to - from <= keptBytes) return this.#read(chunk.subarray(from, to));
    this.#begunBytes += to - from;
    if (this.#finder === null && this.#begunBytes <= keptBytes) return this.#begun.append(chunk, from, to);
    if (this.#finder === null) {
      this.#finder = new ReportFinder();
      const begun = this.#begun.take();
      this.#answers ||= begun.includes(began);
      this.#finder.push(begun);
    }
    this.#finder.push(chunk.subarray(from, to));
  }

  #close(): void {
    this.#left = -1;
    if (this.#isControl || !this.#isLast || this.#begunBytes === 0) return;
    const bytes = this.#begunBytes;
    const finder = this.#finder;
    this.#begunBytes = 0;
    this.#finder = null;
    if (finder === null) return this.#read(this.#begun.take());
    const found = finder.end();
    const isReport = found !== null && found.level > 0 && found.level <= deepestReport;
    const usage = isReport ? usageIn(found.json) : null;
    if (usage !== null) this.#report(usage, found?.level === deepestReport);
    // So long a message without a report is sound.
    else this.#weight += (bytes / soundBytes) * quarters;
  }

  #read(message: Buffer): void {
    const at = nextReport(message, 0);
    if (at !== -1 && saysNumber(message, at, message.length)) {
      const report = lastReport(message, 'event');
      const usage = report === null ? null : usageOf(report);
      if (usage !== null) return this.#report(usage, message.includes(ofResponse));
    }
    if (message.includes(sound)) this.#weight += (message.length / soundBytes) * quarters;
    else this.#weight += weighDelta(message);
    this.#answers ||= message.includes(began);
  }

  /** @param isResponse the report is that of a response, not of a transcript. */
  #report(usage: Usage, isResponse: boolean): void {
    if (isResponse) {
      this.#answers = false;
      this.#prompt = usage.prompt;
    }
    if (!this.#answers) this.#weight = 0;
    this.#hear(usage);
  }
}

/** Bytes of a frame's head, as far as its first bytes tell. */
function sizeOf(head: Buffer, known: number): number {
  if (known < 2) return 2;
  const second = head[1] as number;
  const short = second & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (second & 0x80 ? 4 : 0);
}

function usageIn(json: Buffer): Usage | null {
  try {
    return usageOf(JSON.parse(json.toString()) as Report);
  } catch {
    return null;
  }
}

/** The usage of several answers together. */
export function sumOf(one: Usage | null, other: Usage): Usage {
  if (one === null) return other;
  const written = (one.written ?? 0) + (other.written ?? 0);
  return {
    prompt: one.prompt + other.prompt, completion: one.completion + other.completion, cached: one.cached + other.cached, ...(written > 0 && { written }),
    reasoning: one.reasoning + other.reasoning, estimated: one.estimated || other.estimated,
  };
}
