import { HeimdallError } from '../errors.ts';
import { Inflater, isPacked, type Inflated } from './decompress.ts';
import { scanMembers, type WrongMember } from './json-scan.ts';
import { formModel } from './multipart.ts';

/** Members that bound a completion's tokens, by route. On other routes such a member has no meaning. */
const bounds: Readonly<Record<string, readonly string[]>> = {
  '/v1/chat/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/messages': ['max_tokens'],
  '/v1/responses': ['max_output_tokens'],
};
const none: readonly string[] = [];

/** A body and what its request says of it. */
export interface BodySource {
  readonly bytes: Buffer;
  /** `Content-Type`, or empty. */
  readonly type: string;
  /** `Content-Encoding`, or empty. */
  readonly encoding: string;
  /** Template of the route that takes it. */
  readonly api: string;
  /** The route takes forms. */
  readonly isForm: boolean;
}

/** What a body asks for. */
export interface BodyReading {
  readonly model: string | null;
  /** Byte offsets of the model's JSON string in the bytes that are sent, quotes included. */
  readonly modelSpan: readonly [number, number] | null;
  readonly stream: boolean;
  /** Most completion tokens of all choices together; null when the body names no bound. */
  readonly maxTokens: number | null;
  /** Readers may differ in what the body asks for. */
  readonly ambiguous: boolean;
  /** What no upstream takes, or null. */
  readonly problem: HeimdallError | null;
}

const unread: BodyReading = { model: null, modelSpan: null, stream: false, maxTokens: null, ambiguous: false, problem: null };

/**
 * Reads what the gate must know of a model route's body, and finds what no upstream takes. The body itself is sent as it
 * came, compressed or not.
 */
export class BodyInspector {
  readonly #inflater = new Inflater();
  readonly #limit: number;

  /** @param limit most bytes of a decompressed body (`server.buffer_body_bytes`). */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Calls `done` at once, or later for a body that has to be decompressed. */
  inspect(source: BodySource, done: (reading: BodyReading) => void): void {
    const name = source.encoding.trim().toLowerCase();
    if (name === '' || name === 'identity') return done(read(source, source.bytes));
    if (!isPacked(name)) return done(unknownCoding(source));
    this.#inflater.inflate(source.bytes, name, this.#limit, (result) => done(this.#decompressed(source, result)));
  }

  #decompressed(source: BodySource, result: Inflated): BodyReading {
    switch (result.kind) {
      case 'too_large':
        return { ...unread, problem: new HeimdallError('body_too_large', { message: `body: expected at most ${this.#limit} bytes when unpacked (server.buffer_body_bytes), and a compressed size that has a use.` }) };
      case 'broken':
        // NewAPI does not know every coding and takes the bytes as they are.
        return read(source, source.bytes);
      case 'bytes': {
        const reading = read(source, result.bytes);
        // Offsets count in the bytes that are sent.
        return { ...reading, modelSpan: null, ambiguous: reading.ambiguous || looksPlain(source.bytes) };
      }
    }
  }
}

/** Only plain text under another name can be read; otherwise the gate cannot tell what the body asks for. */
function unknownCoding(source: BodySource): BodyReading {
  return looksPlain(source.bytes) ? read(source, source.bytes) : { ...unread, ambiguous: true };
}

/** Some upstreams ignore a coding they do not know. */
const looksPlain = (bytes: Buffer): boolean => scanMembers(bytes, none) !== null;

function read({ type, api, isForm }: BodySource, bytes: Buffer): BodyReading {
  if (isForm && /^multipart\/form-data/i.test(type)) return { ...unread, model: formModel(bytes, type) };
  const members = scanMembers(bytes, bounds[api] ?? none);
  if (members === null) return { ...unread, problem: notJson(bytes) };
  const { model, modelSpan, stream, maxTokens, choices, ambiguous, wrong } = members;
  return { model, modelSpan, stream, maxTokens: maxTokens === null ? null : maxTokens * choices, ambiguous, problem: wrong === null ? null : wrongMember(wrong) };
}

const wrongMember = ({ field, expected, got }: WrongMember): HeimdallError => new HeimdallError('invalid_value', { field, message: `${field}: expected ${expected}, got ${got}.` });

function notJson(bytes: Buffer): HeimdallError {
  const got = bytes.length === 0 ? 'an empty body' : `${bytes.length} bytes that are none`;
  return new HeimdallError('invalid_json', { message: `body: expected a JSON object, got ${got}. Example: {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}` });
}
