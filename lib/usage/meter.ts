import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';
import { headerOf } from '../http/http.ts';
import { Tail } from './tail.ts';
import { estimateTokens, jsonUsage, lastReport, merge, nextReport, saysNumber, tokensOf, usageOf, weighDelta, type Report } from './tokens.ts';

/** Looks at an answer's bytes as they pass; keeps a bounded few and changes none. */
export interface UsageTap {
  push(chunk: Buffer): void;
  /** The event that ends a stream has passed: whatever breaks off now, nothing is missing. */
  readonly over: boolean;
  /**
   * What the answer used.
   * @param complete false when it was cut or aborted: then what was seen plus an estimate of the rest.
   * @returns null when a complete answer says nothing and holds no text to judge by.
   */
  end(complete: boolean): Usage | null;
}

/** Bytes kept of a line that does not end, or of a document: what stands behind a report is far shorter. */
const keptBytes = 65_536;

/**
 * A tap for an SSE answer of the chat, completions, responses or messages API.
 * @param request the request's body, or its size in bytes: the prompt is estimated by it when the answer does not tell.
 */
export function streamTap(request: Buffer | number): UsageTap {
  return new StreamTap(request);
}

/** A tap for a JSON answer that is passed on before it is complete, as embeddings are. */
export function documentTap(request: Buffer | number): UsageTap {
  return new DocumentTap(request);
}

/** The tap for an answer that is passed on as it comes; null for one that holds no tokens or cannot be read. */
export function meterFor(context: Context, head: readonly string[]): UsageTap | null {
  const { route, body, eventStream } = context;
  if (route.free || route.media || headerOf(head, 'content-encoding') !== null) return null;
  if (eventStream) return streamTap(body ?? 0);
  return headerOf(head, 'content-type')?.includes('json') ? documentTap(body ?? 0) : null;
}

/** An answer that does not tell: the prompt by the request's bytes, the completion by the text seen. */
function estimate(request: Buffer | number, completion: number): Usage {
  return { prompt: promptOf(request), completion, cached: 0, reasoning: 0, estimated: true };
}

const promptOf = (request: Buffer | number): number => (typeof request === 'number' ? tokensOf(request) : estimateTokens(request));

class DocumentTap implements UsageTap {
  readonly over = false;
  readonly #request: Buffer | number;
  readonly #tail = new Tail(keptBytes);

  constructor(request: Buffer | number) {
    this.#request = request;
  }

  push(chunk: Buffer): void {
    this.#tail.append(chunk);
  }

  end(complete: boolean): Usage | null {
    const usage = jsonUsage(this.#tail.take());
    if (usage !== null || complete) return usage;
    return estimate(this.#request, 0);
  }
}

const newline = 0x0a;
const carriageReturn = 0x0d;
/** First byte of a `data` line. */
const d = 0x64;
/** First byte of an `event` line. */
const e = 0x65;

const done = /^data: ?\[DONE\]/;
/** `data: [DONE]` and a carriage return. */
const longestDone = 13;
/** What Anthropic's streams and those of the Responses API end with. */
const lastEvents: ReadonlySet<string> = new Set(['message_stop', 'response.completed', 'response.incomplete', 'response.failed']);
/** The longest of them and a carriage return. */
const longestName = 20;
/** What they begin with. */
const [m, r] = [0x6d, 0x72];
const space = 0x20;

/** So many events at the beginning are weighed each; later every seventh, for seven. A prime: events may come in a rhythm. */
const weighedEvents = 8;
const stride = 7;

class StreamTap implements UsageTap {
  over = false;
  readonly #request: Buffer | number;
  /** A line that has not ended. */
  readonly #line = new Tail(keptBytes);
  #lineIsData = false;
  /** A line of the last event has passed. */
  #isLast = false;
  #events = 0;
  /** Quarters of a token seen as text. */
  #weight = 0;
  #first: Report | null = null;
  #weightAtFirst = 0;
  /** From the latest report to its line's end. Some upstreams report with every event: only the last is worth parsing. */
  #latest: Buffer | null = null;
  #weightAtLatest = 0;

  constructor(request: Buffer | number) {
    this.#request = request;
  }

  push(chunk: Buffer): void {
    let at = this.#line.empty ? 0 : this.#continueLine(chunk);
    let report = nextReport(chunk, at);
    while (at < chunk.length) {
      if (chunk[at] === newline) {
        this.over = this.#isLast;
        at++;
        continue;
      }
      const end = chunk.indexOf(newline, at);
      if (end === -1) return this.#beginLine(chunk, at);
      if (chunk[at] === d) this.#event(chunk, at, end);
      else if (chunk[at] === e) this.#name(chunk, at, end);
      else if (chunk[at] === carriageReturn) this.over = this.#isLast;
      if (report !== -1 && report < end) {
        if (chunk[at] === d && saysNumber(chunk, report, end)) this.#report(chunk.subarray(report, end));
        report = nextReport(chunk, end);
      }
      at = end + 1;
    }
  }

  end(complete: boolean): Usage | null {
    if (!this.#line.empty) this.#endLine();
    if (complete) this.over = this.#isLast;
    const latest = this.#latest === null ? null : spoken(this.#latest);
    const usage = usageOf(merge(this.#first, latest));
    const written = tokensOf(this.#weight - (latest === null ? this.#weightAtFirst : this.#weightAtLatest));
    if (usage === null) return complete && written === 0 ? null : estimate(this.#request, written);
    const prompt = usage.prompt === 0 ? promptOf(this.#request) : usage.prompt;
    const estimated = !complete || written > 0 || usage.prompt === 0;
    return { ...usage, prompt, completion: usage.completion + written, estimated };
  }

  #beginLine(chunk: Buffer, from: number): void {
    this.#lineIsData = chunk[from] === d;
    this.#line.append(chunk, from);
  }

  /** @returns the offset behind its end, or the chunk's. */
  #continueLine(chunk: Buffer): number {
    const end = chunk.indexOf(newline);
    this.#line.append(chunk, 0, end === -1 ? chunk.length : end);
    if (end === -1) return chunk.length;
    this.#endLine();
    return end + 1;
  }

  #endLine(): void {
    const line = this.#line.take();
    if (!this.#lineIsData) return this.#name(line, 0, line.length);
    this.#event(line, 0, line.length);
    const report = nextReport(line, 0);
    if (report !== -1 && saysNumber(line, report, line.length)) this.#report(Buffer.from(line.subarray(report)));
  }

  #name(bytes: Buffer, from: number, to: number): void {
    const at = bytes[from + 6] === space ? from + 7 : from + 6;
    if ((bytes[at] !== m && bytes[at] !== r) || to - at > longestName) return;
    if (lastEvents.has(bytes.toString('latin1', at, bytes[to - 1] === carriageReturn ? to - 1 : to))) this.#isLast = true;
  }

  #event(bytes: Buffer, from: number, to: number): void {
    if (to - from <= longestDone && done.test(bytes.toString('latin1', from, to))) this.#isLast = true;
    const nth = this.#events++;
    if (nth < weighedEvents) this.#weight += weighDelta(bytes.subarray(from, to));
    else if (nth % stride === 0) this.#weight += stride * weighDelta(bytes.subarray(from, to));
  }

  #report(rest: Buffer): void {
    if (this.#first !== null) {
      this.#latest = rest;
      this.#weightAtLatest = this.#weight;
      return;
    }
    this.#first = spoken(rest);
    if (this.#first !== null) this.#weightAtFirst = this.#weight;
  }
}

function spoken(rest: Buffer): Report | null {
  const report = lastReport(rest, 'event');
  return report === null || usageOf(report) === null ? null : report;
}
