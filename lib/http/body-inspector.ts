import type { Context } from '../request/context.ts';
import type { Core } from '../request/core.ts';
import { HeimdallError } from '../errors.ts';
import { formModel } from './multipart.ts';
import { Inflater, isPacked, type Inflated } from './decompress.ts';
import { scanMembers, type WrongMember } from './json-scan.ts';

/** What bounds a completion's tokens, by route; on other routes a member of that name is nobody's. */
const bounds: Readonly<Record<string, readonly string[]>> = {
  '/v1/chat/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/completions': ['max_tokens', 'max_completion_tokens'],
  '/v1/messages': ['max_tokens'],
  '/v1/responses': ['max_output_tokens'],
};
const none: readonly string[] = [];

/** What is wrong with a body, or null. */
export type Inspected = (problem: HeimdallError | null) => void;

/**
 * Reads what the gate must know of a model route's body, and finds what no upstream takes. What is sent on is the body as it
 * came, packed or not.
 */
export class Inspector {
  readonly #inflater = new Inflater();
  readonly #limit: number;

  constructor({ config }: Core) {
    this.#limit = config.server.bufferBodyBytes;
  }

  /** Calls `done` at once, or, for a body that has to be unpacked, later. */
  inspect(context: Context, bytes: Buffer, done: Inspected): void {
    const name = context.req.headers['content-encoding']?.trim().toLowerCase() ?? '';
    if (name === '' || name === 'identity') return done(read(context, bytes));
    if (!isPacked(name)) return done(unknown(context, bytes));
    this.#inflater.inflate(bytes, name, this.#limit, (result) => done(this.#unpacked(context, bytes, result)));
  }

  #unpacked(context: Context, bytes: Buffer, result: Inflated): HeimdallError | null {
    switch (result.kind) {
      case 'too_large':
        return new HeimdallError('body_too_large', { message: `body: expected at most ${this.#limit} bytes when unpacked (server.buffer_body_bytes), and a compressed size that has a use.` });
      case 'broken':
        // NewAPI does not know every coding and takes what stands there.
        return read(context, bytes);
      case 'bytes': {
        const problem = read(context, result.bytes);
        // Offsets count in the bytes that are sent.
        context.modelSpan = null;
        if (looksPlain(bytes)) context.bodyAmbiguous = true;
        return problem;
      }
    }
  }
}

/** Only what is text under another name can be read; else nobody here can tell what it asks for. */
function unknown(context: Context, bytes: Buffer): HeimdallError | null {
  if (looksPlain(bytes)) return read(context, bytes);
  context.bodyAmbiguous = true;
  return null;
}

/** Some upstreams ignore a coding they do not know. */
const looksPlain = (bytes: Buffer): boolean => scanMembers(bytes, none) !== null;

function read(context: Context, bytes: Buffer): HeimdallError | null {
  const { req, route } = context;
  const type = req.headers['content-type'] ?? '';
  if (route.body === 'form' && /^multipart\/form-data/i.test(type)) {
    context.model = formModel(bytes, type);
    return null;
  }
  const members = scanMembers(bytes, bounds[route.api] ?? none);
  if (members === null) return notJson(bytes);
  context.model = members.model;
  context.modelSpan = members.modelSpan;
  context.stream = members.stream;
  context.maxTokens = members.maxTokens === null ? null : members.maxTokens * members.choices;
  context.bodyAmbiguous = members.ambiguous;
  return members.wrong === null ? null : wrongMember(members.wrong);
}

const wrongMember = ({ field, expected, got }: WrongMember): HeimdallError => new HeimdallError('invalid_value', { field, message: `${field}: expected ${expected}, got ${got}.` });

function notJson(bytes: Buffer): HeimdallError {
  const got = bytes.length === 0 ? 'an empty body' : `${bytes.length} bytes that are none`;
  return new HeimdallError('invalid_json', { message: `body: expected a JSON object, got ${got}. Example: {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}` });
}
