import type { Usage } from '../../types/usage.d.ts';
import type { Context } from '../request/request.ts';
import { BodyDecoder, bodyKind, codingsOf, contentStart, endOfValue } from '../http/http.ts';
import { ReportFinder } from './report-finder.ts';
import { Tail } from './tail.ts';
import { estimateTokens, lastReport, merge, nextReport, saysNumber, tokensOf, usageOf, weighDelta, type Report } from './tokens.ts';

/** Reads what an answer used while its bytes pass. */
interface Reader {
  push(chunk: Buffer): void;
  /** The event that ends a stream has passed: nothing is missing, whatever breaks off now. */
  readonly over: boolean;
  /**
   * What the answer used.
   * @param complete false when it was cut or aborted: then what was seen plus an estimate of the rest.
   * @returns null when a complete answer says nothing and holds no text to judge by.
   */
  end(complete: boolean): Usage | null;
}

/** What is known of a request when its answer has to be estimated. */
export interface Asked {
  /** The request's body, or its size in bytes: the prompt is estimated by it when the answer does not tell. Null where bytes tell nothing. */
  readonly body: Buffer | readonly Buffer[] | number | null;
  /** The answer is text of a model, so that its bytes tell how much was written. */
  readonly writes: boolean;
}

/** Bytes kept of a line that does not end, or of a beginning that may be a line. */
const keptBytes = 65_536;

/** Routes whose answer is written token by token. */
const writing: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages']);

/** Whether the answer of a request is text of a model. Gemini's own API writes, too: `:generateContent` and `:streamGenerateContent`. */
export const writesText = ({ route, path }: Context): boolean => writing.has(route.api) || (route.errors === 'gemini' && path.endsWith('enerateContent'));

/**
 * The meter of an answer, whatever its head says its body is; null for one that costs no tokens. Answers that are carried, not
 * judged, are metered on Gemini's own API and on what else NewAPI relays below `/v1`.
 */
export function meterFor(context: Context, status: number, head: readonly string[]): UsageMeter | null {
  const { req } = context;
  if (status >= 300 || status === 204 || req.method !== 'POST' || !isMetered(context)) return null;
  return new UsageMeter(askedOf(context), codingsOf(head));
}

/** Whether the answer of a request costs tokens that its own words or its bytes tell. */
export const isMetered = ({ route }: Context): boolean => (route.class === 'model' ? !route.free : route.class === 'task' && (route.errors === 'gemini' || route.errors === 'openai'));

function askedOf(context: Context): Asked {
  const { route, body, req } = context;
  return { body: route.media ? null : (body?.pieces ?? Number(req.headers['content-length'] ?? 0)), writes: writesText(context) };
}

/**
 * Looks at the bytes of one answer as they pass; keeps a bounded few and changes none. A compressed answer is decompressed
 * beside the stream, in the thread pool.
 */
export class UsageMeter {
  readonly #asked: Asked;
  readonly #decoder: BodyDecoder | null;
  #reader: Reader | null = null;
  /** The beginning, until it tells what the answer is. */
  readonly #start = new Tail(keptBytes);
  #startBytes = 0;
  #ended = false;
  #stopped = false;

  /** @param codings content codings of the answer, in the order in which they were applied. */
  constructor(asked: Asked, codings: readonly string[]) {
    this.#asked = asked;
    this.#decoder = codings.length === 0 ? null : new BodyDecoder(codings, (bytes) => this.#read(bytes));
  }

  /** The event that ends a stream has passed: nothing is missing, whatever breaks off now. */
  get over(): boolean {
    return this.#reader?.over ?? false;
  }

  get isCompressed(): boolean {
    return this.#decoder !== null;
  }

  /** The decompressor has so much to do that the answer should pause until {@link whenCaughtUp}. */
  get behind(): boolean {
    return this.#decoder?.behind ?? false;
  }

  push(chunk: Buffer): void {
    if (this.#decoder !== null) this.#decoder.push(chunk);
    else if (this.#reader !== null) this.#reader.push(chunk);
    else this.#read(chunk);
  }

  whenCaughtUp(then: () => void): void {
    this.#decoder?.whenCaughtUp(then);
  }

  /**
   * The answer is over.
   * @param complete false when it was cut or aborted.
   * @param known gets what it used: at once, or when the rest is decompressed, unless {@link stop} is called before.
   */
  end(complete: boolean, known: (usage: Usage | null) => void): void {
    if (this.#decoder === null) return known(this.#result(complete));
    this.#decoder.end(() => {
      if (!this.#stopped) known(this.#result(complete));
    });
  }

  /** What the answer used as far as it was read. */
  stop(): Usage | null {
    this.#stopped = true;
    this.#decoder?.stop();
    return this.#result(false);
  }

  #result(complete: boolean): Usage | null {
    this.#ended = true;
    if (this.#reader === null) this.#begin(this.#start.take(), true);
    const lost = this.#decoder?.lost ?? 0;
    const usage = (this.#reader as Reader).end(complete && lost === 0);
    // Compressed text is about a quarter of itself, and a token about four bytes.
    return usage === null || lost === 0 || !this.#asked.writes ? usage : { ...usage, completion: usage.completion + lost, estimated: true };
  }

  #read(bytes: Buffer): void {
    if (this.#ended) return;
    if (this.#reader !== null) return this.#reader.push(bytes);
    const isLong = this.#startBytes + bytes.length > keptBytes;
    if (this.#startBytes > 0 && !isLong && !endsLine(bytes)) return this.#keep(bytes);
    const start = this.#startBytes === 0 ? bytes : Buffer.concat([this.#start.take(), bytes]);
    if (!this.#begin(start, isLong) && contentStart(start) < start.length) this.#keep(start);
  }

  #keep(bytes: Buffer): void {
    this.#start.append(bytes);
    this.#startBytes += bytes.length;
  }

  /** @param forced no more is waited for. @returns whether the beginning tells what the answer is. */
  #begin(start: Buffer, forced: boolean): boolean {
    const from = contentStart(start);
    if (from === start.length && !forced) return false;
    const kind = from === start.length ? 'events' : bodyKind(start[from]);
    if (kind === 'bytes') this.#reader = new BytesReader(this.#asked);
    else if (kind === 'events') this.#reader = new StreamReader(this.#asked);
    else if (kind === 'list') this.#reader = new DocumentReader(this.#asked);
    else {
      let end = start.indexOf(newline, from);
      if (end === -1) end = start.indexOf(carriageReturn, from);
      if (end === -1 && !forced) return false;
      // JSON line by line has a whole value in its first one.
      const isLines = end !== -1 && endOfValue(start.subarray(from, end), 0) >= end - from - 1;
      this.#reader = isLines ? new StreamReader(this.#asked) : new DocumentReader(this.#asked);
    }
    if (from < start.length) this.#reader.push(start.subarray(from));
    return true;
  }
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const openBrace = 0x7b;
const openBracket = 0x5b;

const endsLine = (bytes: Buffer): boolean => bytes.includes(newline) || bytes.includes(carriageReturn);

/** An answer that does not tell: the prompt by the request's bytes, the completion by the text seen. */
const estimate = ({ body }: Asked, completion: number): Usage | null => (body === null ? null : { prompt: promptOf(body), completion, cached: 0, reasoning: 0, estimated: true });

/** A body of unknown text that is larger holds pictures or sound, bytes; these take about as many bytes a token. */
const mostText = 262_144;
const mediaBytes = 256;

function promptOf(body: Buffer | readonly Buffer[] | number): number {
  if (typeof body !== 'number') return estimateTokens(body);
  return body > mostText ? Math.ceil(body / mediaBytes) : tokensOf(body);
}

/** An upstream that reports a completion and no prompt has still read one. */
const withPrompt = ({ body }: Asked, usage: Usage): Usage => (body === null || usage.prompt > 0 ? usage : { ...usage, prompt: promptOf(body), estimated: true });

/** A document without a report that can be believed. @param bytes of it. */
function untold(asked: Asked, bytes: number, complete: boolean): Usage | null {
  if (asked.writes) return estimate(asked, tokensOf(bytes));
  return complete ? null : estimate(asked, 0);
}

/** Sound, pictures, pages and whatever else holds no report. */
class BytesReader implements Reader {
  readonly over = false;
  readonly #asked: Asked;
  #bytes = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
  }

  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
  }

  end(complete: boolean): Usage | null {
    return untold(this.#asked, this.#bytes, complete);
  }
}

/** A report in a line lies in the event, in its `response` or `message`, or in one of its `choices`. */
const deepestReport = 3;
const nothing = Buffer.alloc(0);
/** No string holds a line end, so these stand between two documents only. */
const betweenLines = ['}\n{', '}\r\n{', '}\r{'].map((text) => Buffer.from(text));

/** A JSON document, in which the report may stand anywhere. */
export class DocumentReader implements Reader {
  readonly #asked: Asked;
  readonly #finder = new ReportFinder();
  #bytes = 0;
  /** Where the report lies: Gemini's may be in the last element of an array. */
  #level = 0;
  /** It is JSON line by line, whose first line is long. */
  #isLines = false;
  #last: Buffer = nothing;

  constructor(asked: Asked) {
    this.#asked = asked;
  }

  /** A list, as Gemini streams, has closed. */
  get over(): boolean {
    return this.#level === 2 && this.#finder.end()?.level === 2;
  }

  push(chunk: Buffer): void {
    if (this.#level === 0) this.#level = chunk[chunk.findIndex((byte) => byte === openBrace || byte === openBracket)] === openBracket ? 2 : 1;
    this.#bytes += chunk.length;
    this.#finder.push(chunk);
    if (this.#isLines) return;
    this.#isLines = betweenLines.some((between) => chunk.includes(between) || Buffer.concat([this.#last, chunk.subarray(0, 3)]).includes(between));
    this.#last = Buffer.from(chunk.subarray(-3));
  }

  end(complete: boolean): Usage | null {
    const found = this.#finder.end();
    const usage = found === null ? null : usageOfText(found.json);
    const estimated = untold(this.#asked, this.#bytes, complete);
    if (usage === null) return estimated;
    if (complete && (found?.level === this.#level || (this.#isLines && (found?.level as number) <= deepestReport))) return withPrompt(this.#asked, usage);
    // How deep it lay is unknown, so it may be another's: it counts where it is more.
    if (complete || estimated === null) return estimated;
    return { ...usage, prompt: Math.max(usage.prompt, estimated.prompt), completion: Math.max(usage.completion, estimated.completion), estimated: true };
  }
}

function usageOfText(json: Buffer): Usage | null {
  try {
    return usageOf(JSON.parse(json.toString()) as Report);
  } catch {
    return null;
  }
}

/** First byte of a `data` line. */
const d = 0x64;
/** First byte of an `event` line. */
const e = 0x65;

const done = /^data: ?\[DONE\]/;
/** `data: [DONE]` and a carriage return. */
const longestDone = 13;
/** The names of the events that end streams of Anthropic, of the Responses API, and of images, speech and transcripts. */
const lastEvents: ReadonlySet<string> = new Set([
  'message_stop', 'response.completed', 'response.incomplete', 'response.failed', 'response.cancelled',
  'image_generation.completed', 'image_edit.completed', 'speech.audio.done', 'transcript.text.done',
]);
/** The longest of them. */
const longestName = 26;
/** Their first bytes. */
const firstBytes: ReadonlySet<number> = new Set([0x6d, 0x72, 0x69, 0x73, 0x74]);
/** An event that names its type first, without a line that names the event. */
const typed = /^\{"type": ?"([\w.]+)"/;
/** Bytes of it up to the end of the name. */
const longestTyped = 40;
/** The second letter of `{"type"`, and the first two of `{"candidates"`, with which Gemini's events begin. */
const [t, c, a] = [0x74, 0x63, 0x61];

/** So many events at the beginning are weighed each; later every seventh, for seven. A prime: events may come in a rhythm. */
const weighedEvents = 8;
const stride = 7;

/** An event stream, or JSON line by line. Lines end with LF, CR LF or CR. */
export class StreamReader implements Reader {
  over = false;
  readonly #asked: Asked;
  /** A line that has not ended, up to {@link keptBytes}. */
  readonly #line = new Tail(keptBytes);
  #lineBytes = 0;
  #lineIsData = false;
  /** Reads on in a line that is longer; its text is weighed by its beginning. */
  #finder: ReportFinder | null = null;
  #weightPerByte = 0;
  /** The last piece ended with CR: a LF at the beginning of the next one belongs to it. */
  #afterReturn = false;
  /** A line of the last event has passed. */
  #isLast = false;
  #events = 0;
  /** Quarters of a token seen as text. */
  #weight = 0;
  #first: Report | null = null;
  #weightAtFirst = 0;
  /** From the latest report to the end of its line. Some upstreams report with every event: only the last is worth parsing. */
  #latest: Buffer | null = null;
  #weightAtLatest = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
  }

  push(chunk: Buffer): void {
    let at = 0;
    if (this.#afterReturn) {
      this.#afterReturn = false;
      if (chunk[0] === newline) at = 1;
    }
    let feed = chunk.indexOf(newline, at);
    let back = chunk.indexOf(carriageReturn, at);
    let report = nextReport(chunk, at);
    while (at < chunk.length) {
      const end = back !== -1 && (feed === -1 || back < feed) ? back : feed;
      if (end === -1) return this.#continue(chunk, at, chunk.length);
      if (this.#lineBytes > 0) {
        this.#continue(chunk, at, end);
        this.#endLine();
      } else if (end === at) this.over = this.#isLast;
      else this.#whole(chunk, at, end, report);
      at = end + 1;
      if (end === back) {
        if (chunk[at] === newline) at++;
        else if (at === chunk.length) this.#afterReturn = true;
        back = chunk.indexOf(carriageReturn, at);
      }
      if (feed !== -1 && feed < at) feed = chunk.indexOf(newline, at);
      if (report !== -1 && report < at) report = nextReport(chunk, at);
    }
  }

  end(complete: boolean): Usage | null {
    if (this.#lineBytes > 0) this.#endLine();
    if (complete) this.over = this.#isLast;
    const latest = this.#latest === null ? null : spoken(this.#latest);
    const usage = usageOf(merge(this.#first, latest));
    // A report of nothing written beside text is one that came before it.
    const reported = usage === null || usage.completion === 0 ? 0 : latest === null ? this.#weightAtFirst : this.#weightAtLatest;
    const written = tokensOf(this.#weight - reported);
    if (usage === null) return complete && written === 0 ? null : estimate(this.#asked, written);
    const whole = withPrompt(this.#asked, usage);
    return { ...whole, completion: usage.completion + written, estimated: whole.estimated || !complete || written > 0 };
  }

  /** A line that stands as a whole in one piece. @param report the next one in the piece, or -1. */
  #whole(chunk: Buffer, from: number, end: number, report: number): void {
    const first = chunk[from] as number;
    if (isData(first)) {
      this.#event(chunk, from, end);
      if (report !== -1 && report < end && saysNumber(chunk, report, end)) this.#report(chunk.subarray(report, end));
    } else if (first === e) this.#name(chunk, from, end);
  }

  /** A part of a line that began or goes on in another piece. */
  #continue(chunk: Buffer, from: number, to: number): void {
    if (from === to) return;
    if (this.#lineBytes === 0) this.#lineIsData = isData(chunk[from] as number);
    this.#lineBytes += to - from;
    if (this.#finder === null && this.#lineBytes <= keptBytes) return this.#line.append(chunk, from, to);
    if (this.#finder === null) {
      const begun = this.#line.take();
      this.#finder = new ReportFinder();
      this.#finder.push(begun);
      this.#weightPerByte = begun.length === 0 ? 0 : weighDelta(begun) / begun.length;
    }
    this.#finder.push(chunk.subarray(from, to));
  }

  #endLine(): void {
    const bytes = this.#lineBytes;
    this.#lineBytes = 0;
    if (this.#finder !== null) return this.#endLongLine(this.#finder, bytes);
    const line = this.#line.take();
    if (!this.#lineIsData) return this.#name(line, 0, line.length);
    this.#event(line, 0, line.length);
    const report = nextReport(line, 0);
    if (report !== -1 && saysNumber(line, report, line.length)) this.#report(Buffer.from(line.subarray(report)));
  }

  #endLongLine(finder: ReportFinder, bytes: number): void {
    this.#finder = null;
    if (!this.#lineIsData) return;
    this.#events++;
    this.#weight += Math.trunc(this.#weightPerByte * bytes);
    const found = finder.end();
    if (found !== null && found.level > 0 && found.level <= deepestReport) this.#report(Buffer.concat([Buffer.from('"usage":'), found.json, Buffer.from('}')]));
  }

  #name(bytes: Buffer, from: number, to: number): void {
    const at = bytes[from + 6] === space ? from + 7 : from + 6;
    if (!firstBytes.has(bytes[at] as number) || to - at > longestName) return;
    if (lastEvents.has(bytes.toString('latin1', at, to))) this.#isLast = true;
  }

  #event(bytes: Buffer, from: number, to: number): void {
    if (to - from <= longestDone && done.test(bytes.toString('latin1', from, to))) this.#isLast = true;
    else if (bytes[from] === d) this.#type(bytes, from + (bytes[from + 5] === space ? 6 : 5), to);
    const nth = this.#events++;
    if (nth < weighedEvents) this.#weight += weighDelta(bytes.subarray(from, to));
    else if (nth % stride === 0) this.#weight += stride * weighDelta(bytes.subarray(from, to));
  }

  /** @param from offset of the data. */
  #type(bytes: Buffer, from: number, to: number): void {
    const first = bytes[from + 2];
    if (first === t) {
      const name = typed.exec(bytes.toString('latin1', from, Math.min(to, from + longestTyped)))?.[1];
      if (name !== undefined && lastEvents.has(name)) this.#isLast = true;
    } else if (first === c && bytes[from + 3] === a) {
      const event = bytes.subarray(from, to);
      this.#isLast = event.includes('"finishReason"') && event.includes('"usageMetadata"');
    }
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

const isData = (byte: number): boolean => byte === d || byte === openBrace;

function spoken(rest: Buffer): Report | null {
  const report = lastReport(rest, 'event');
  return report === null || usageOf(report) === null ? null : report;
}
