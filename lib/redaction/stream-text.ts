/** The members of an event that hold text of the answer, in the formats of chat, completions, messages and responses. */
interface Event {
  readonly type?: unknown;
  readonly delta?: unknown;
  readonly error?: unknown;
  readonly choices?: readonly { readonly text?: unknown; readonly delta?: unknown }[];
}

/**
 * The text of an SSE answer, joined from its deltas. A credential in the answer is spread over several deltas, none of which a
 * pattern would find. A truncated event is left out.
 */
export function textOfStream(stream: string): string {
  const said: string[] = [];
  for (const line of stream.split(/\r?\n/)) {
    if (!line.startsWith('data:')) continue;
    try {
      said.push(textOfEvent(JSON.parse(line.slice(5)) as Event | null));
    } catch {
      // `[DONE]`, or a truncated event.
    }
  }
  return said.join('');
}

function textOfEvent(event: Event | null): string {
  if (event === null || typeof event !== 'object') return '';
  if (event.error !== undefined && event.error !== null) return JSON.stringify(event.error);
  const own = textOfDelta(event.delta);
  if (!Array.isArray(event.choices)) return own;
  return own + event.choices.map((choice) => (typeof choice?.text === 'string' ? choice.text : textOfDelta(choice?.delta))).join('');
}

/** Members that hold text, arguments of tools included. */
const names = ['reasoning_content', 'thinking', 'content', 'text', 'partial_json', 'refusal', 'arguments'] as const;

function textOfDelta(delta: unknown): string {
  if (typeof delta === 'string') return delta;
  if (Array.isArray(delta)) return delta.map(textOfDelta).join('');
  if (delta === null || typeof delta !== 'object') return '';
  const { tool_calls: tools, function: called, ...rest } = delta as Record<string, unknown>;
  const own = names.map((name) => (typeof rest[name] === 'string' ? rest[name] : '')).join('');
  return own + textOfDelta(tools) + textOfDelta(called);
}
