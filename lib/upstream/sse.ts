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
 */
export class StreamPeek {
  #found: Beginning = nothing;
  readonly #decoder = new TextDecoder();
  readonly #parser = createParser({
    onEvent: (message) => {
      if (this.#found === nothing) this.#found = judge(message);
    },
  });

  push(chunk: Buffer): Beginning {
    this.#parser.feed(this.#decoder.decode(chunk, { stream: true }));
    return this.#found;
  }
}

/** OpenAI sends `{"error": …}`, Anthropic `event: error`, the Responses API `error` and `response.failed`. */
function judge(message: EventSourceMessage): Beginning {
  if (message.event !== 'error' && !message.data.includes('"error"') && message.event !== 'response.failed') return event;
  const data = parse(message.data);
  if (message.event === 'error') return { kind: 'error', error: inner(data) ?? message.data };
  if (message.event === 'response.failed') return { kind: 'error', error: inner((data as { response?: unknown } | null)?.response) };
  const error = inner(data);
  return error === null || error === undefined ? event : { kind: 'error', error };
}

function inner(data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return null;
  const { error, type } = data as { error?: unknown; type?: unknown };
  return error ?? (type === 'error' ? data : null);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
