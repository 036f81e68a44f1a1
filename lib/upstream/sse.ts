import { createParser, type EventSourceMessage } from 'eventsource-parser';

/** The beginning of a stream: no event yet, an event, or an error. */
export type Beginning =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'event' }
  | { readonly kind: 'error'; readonly error: unknown };

const nothing: Beginning = { kind: 'nothing' };
const event: Beginning = { kind: 'event' };

/**
 * Reads a stream until its first event, to tell an answer from an error inside a stream with status 200. It changes no byte.
 * Lines end with LF, CRLF or CR (WHATWG HTML §9.2.5).
 */
export class StreamPeek {
  #found: Beginning = nothing;
  #afterReturn = false;
  readonly #decoder = new TextDecoder();
  readonly #parser = createParser({
    onEvent: (message) => {
      if (this.#found === nothing) this.#found = judge(message);
    },
  });

  push(chunk: Buffer): Beginning {
    const decoded = this.#decoder.decode(chunk, { stream: true });
    if (decoded === '') return this.#found;
    const text = this.#afterReturn && decoded[0] === '\n' ? decoded.slice(1) : decoded;
    this.#afterReturn = decoded.endsWith('\r');
    // The parser waits for the letter behind a CR at the end of a chunk, but the line has ended whatever follows.
    this.#parser.feed(text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text);
    return this.#found;
  }
}

/** OpenAI sends `{"error": …}`, Anthropic `event: error`, the Responses API `error` and `response.failed`. */
function judge(message: EventSourceMessage): Beginning {
  if (message.event !== 'error' && !message.data.includes('"error"') && message.event !== 'response.failed') return event;
  const data = parse(message.data);
  if (message.event === 'error') return { kind: 'error', error: errorIn(data) ?? message.data };
  if (message.event === 'response.failed') return { kind: 'error', error: errorIn((data as { response?: unknown } | null)?.response) };
  const error = errorIn(data);
  return error === null ? event : { kind: 'error', error };
}

/**
 * The error that a document or an event reports: its `error`, or the whole of a document of type `error`. Null without one:
 * some upstreams send `"error": null`, `""`, `false` or an object without a value beside the content.
 */
export function errorIn(data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return null;
  const { error, type } = data as { error?: unknown; type?: unknown };
  if (!isEmpty(error)) return error;
  return type === 'error' ? data : null;
}

/** A value nested deeper than this counts as one. */
const deepest = 8;

/** No value at any depth: null, false, 0, white space, or a list or object of nothing else. */
function isEmpty(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.trim() === '';
  if (typeof value !== 'object' || value === null) return !value;
  return depth < deepest && Object.values(value).every((each) => isEmpty(each, depth + 1));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
