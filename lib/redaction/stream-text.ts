/** The parts of an event that hold a piece of the answer, in the dialects of chat, completions, messages and responses. */
interface Event {
  readonly type?: unknown;
  readonly delta?: unknown;
  readonly error?: unknown;
  readonly choices?: readonly { readonly text?: unknown; readonly delta?: unknown }[];
}

/**
 * What an SSE answer says, its pieces put together: a credential that a model says comes in several, which no pattern would
 * know. An event that is cut off is left out.
 */
export function textOfStream(stream: string): string {
  const said: string[] = [];
  for (const line of stream.split(/\r?\n/)) {
    if (!line.startsWith('data:')) continue;
    try {
      said.push(textOfEvent(JSON.parse(line.slice(5)) as Event | null));
    } catch {
      // `[DONE]`, or cut off.
    }
  }
  return said.join('');
}

function textOfEvent(event: Event | null): string {
  if (event === null || typeof event !== 'object') return '';
  if (event.error !== undefined && event.error !== null) return JSON.stringify(event.error);
  const own = pieceOf(event.delta);
  if (!Array.isArray(event.choices)) return own;
  return own + event.choices.map((choice) => (typeof choice?.text === 'string' ? choice.text : pieceOf(choice?.delta))).join('');
}

/** Names under which dialects put a piece of text; tools' arguments among it. */
const names = ['reasoning_content', 'thinking', 'content', 'text', 'partial_json', 'refusal', 'arguments'] as const;

function pieceOf(delta: unknown): string {
  if (typeof delta === 'string') return delta;
  if (Array.isArray(delta)) return delta.map(pieceOf).join('');
  if (delta === null || typeof delta !== 'object') return '';
  const { tool_calls: tools, function: called, ...rest } = delta as Record<string, unknown>;
  const own = names.map((name) => (typeof rest[name] === 'string' ? rest[name] : '')).join('');
  return own + pieceOf(tools) + pieceOf(called);
}
