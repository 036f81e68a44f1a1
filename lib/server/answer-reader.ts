import type { OutgoingHttpHeaders } from 'node:http';

/** What an answer of HTTP/1.1 becomes. */
export interface AnswerSink {
  /** An interim answer, 1xx. */
  interim(status: number, fields: OutgoingHttpHeaders): void;
  /** @param isWhole nothing follows. */
  head(status: number, fields: OutgoingHttpHeaders, isWhole: boolean): void;
}

/** Fields that belong to a connection of HTTP/1.1 (RFC 9113 §8.2.2). */
const ofConnections: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);
const [cr, lf] = [0x0d, 0x0a];
const nothing = Buffer.alloc(0);

/** Where it stands in an answer. `size`: in the line before a chunk; `gap`: in the line end behind one. */
type Place = 'head' | 'counted' | 'size' | 'chunk' | 'gap' | 'trailers' | 'open' | 'end';

/**
 * Reads the answers that Node's own HTTP server writes, one after the other, from pieces that may end anywhere. It trusts their
 * form: they are not a stranger's.
 */
export class AnswerReader {
  readonly #sink: AnswerSink;
  #place: Place = 'head';
  #rest: Buffer = nothing;
  /** Bytes that are left of the body or the chunk. */
  #left = 0;
  #isHead = false;
  /** The server closes the connection behind this answer. */
  closes = false;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Nothing of the answer is missing. */
  get isWhole(): boolean {
    return this.#place === 'end';
  }

  /** The connection is at its end: so is a body that has no other. */
  close(): void {
    if (this.#place === 'open') this.#place = 'end';
  }

  /** Expects the next answer. @param method of its request. */
  begin(method: string): void {
    this.#place = 'head';
    this.#rest = nothing;
    this.#isHead = method === 'HEAD';
    this.closes = false;
  }

  /** Reads bytes. @returns those of the body among them. */
  read(bytes: Buffer): Buffer[] {
    const body: Buffer[] = [];
    let at = 0;
    while (at < bytes.length && this.#place !== 'end') {
      switch (this.#place) {
        case 'open':
          body.push(bytes.subarray(at));
          return body;
        case 'counted':
        case 'chunk': {
          const part = bytes.subarray(at, at + this.#left);
          body.push(part);
          at += part.length;
          this.#left -= part.length;
          if (this.#left === 0) this.#place = this.#place === 'chunk' ? 'gap' : 'end';
          break;
        }
        case 'head':
          at = this.#readHead(bytes, at);
          break;
        default:
          at = this.#readLine(bytes, at);
      }
    }
    return body;
  }

  /** @returns where the rest begins; the end of the bytes while the head is not complete. */
  #readHead(bytes: Buffer, at: number): number {
    const from = this.#rest.length;
    const all = from === 0 && at === 0 ? bytes : Buffer.concat([this.#rest, bytes.subarray(at)]);
    const end = all.indexOf('\r\n\r\n');
    this.#rest = end === -1 ? all : nothing;
    if (end === -1) return bytes.length;
    this.#takeHead(all.toString('latin1', 0, end).split('\r\n'));
    return at + end + 4 - from;
  }

  #takeHead([line = '', ...lines]: string[]): void {
    const status = Number(line.slice(9, 12));
    const fields: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders;
    let framing: Place = 'open';
    for (const text of lines) {
      const colon = text.indexOf(':');
      const name = text.slice(0, colon).toLowerCase();
      const value = text.slice(colon + 1).trim();
      if (name === 'connection') this.closes = value.toLowerCase() === 'close';
      else if (name === 'transfer-encoding') framing = 'size';
      if (ofConnections.has(name)) continue;
      if (name === 'content-length') {
        this.#left = Number(value);
        framing = 'counted';
      }
      add(fields, name, value);
    }
    if (status < 200) return this.#sink.interim(status, fields);
    // Node's HTTP/2 sends no body with these three.
    if (status === 205) delete fields['content-length'];
    const isBare = this.#isHead || status === 204 || status === 205 || status === 304 || (framing === 'counted' && this.#left === 0);
    this.#place = isBare ? 'end' : framing;
    // A status of no class, which it does not send at all, means a fault of the server (RFC 9110 §15).
    this.#sink.head(status > 599 ? 502 : status, fields, isBare);
  }

  /** Reads one byte of a line that frames a chunk. @returns the place behind it. */
  #readLine(bytes: Buffer, at: number): number {
    const byte = bytes[at] as number;
    if (byte !== lf) {
      if (byte !== cr) this.#rest = Buffer.concat([this.#rest, bytes.subarray(at, at + 1)]);
      return at + 1;
    }
    const line = this.#rest.toString('latin1');
    this.#rest = nothing;
    if (this.#place === 'gap') this.#place = 'size';
    else if (this.#place === 'trailers') {
      if (line === '') this.#place = 'end';
    } else {
      this.#left = Number.parseInt(line, 16);
      this.#place = this.#left === 0 ? 'trailers' : 'chunk';
    }
    return at + 1;
  }
}

/** Fields of one name are joined, since HTTP/2 takes some only once; `Set-Cookie` cannot be (RFC 9110 §5.3). */
function add(fields: OutgoingHttpHeaders, name: string, value: string): void {
  const before = fields[name];
  if (before === undefined) fields[name] = value;
  else if (name === 'set-cookie') fields[name] = [...(Array.isArray(before) ? before : [String(before)]), value];
  else fields[name] = `${String(before)}, ${value}`;
}
