import { field, textField, type Json } from './json.ts';

/** How a text model is asked and answers. */
export type Shape = 'chat' | 'completions' | 'claude' | 'responses' | 'gemini';

/** What a request for text asks. */
export interface Ask {
  readonly shape: Shape;
  readonly model: string;
  /** The last thing the user said: the answer repeats it. */
  readonly text: string;
  readonly stream: boolean;
  /** The client asked for a usage chunk. */
  readonly usage: boolean;
  readonly promptTokens: number;
}

/** Who answers and when; part of every answer. */
export interface Mark {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly fingerprint?: string;
}

/** Reads a parsed body; Gemini has model and stream in its path, so they are given. */
export function readAsk(shape: Shape, body: Json | undefined, path?: { model: string; stream: boolean }): Ask {
  const parts = said(shape, body);
  return {
    shape,
    model: path?.model ?? textField(body, 'model') ?? '',
    text: parts.at(-1) ?? '',
    stream: path?.stream ?? field(body, 'stream') === true,
    usage: field(field(body, 'stream_options'), 'include_usage') === true,
    promptTokens: countTokens(parts.join('')),
  };
}

/** A deterministic stand-in for a tokenizer: four characters a token, at least one. */
export function countTokens(text: string): number {
  return Math.max(1, Math.ceil(text.length / 4));
}

/** Exactly `count` pieces (padded with dots when the text is shorter); by words when no count is given. */
export function split(text: string, count?: number): string[] {
  if (count === undefined) return text.match(/\S+\s*|\s+/g) ?? [''];
  const padded = text.padEnd(count, '.');
  const size = padded.length / count;
  return Array.from({ length: count }, (_, i) => padded.slice(Math.floor(i * size), Math.floor((i + 1) * size)));
}

/** What was said, in order, the user's last turn last. */
function said(shape: Shape, body: Json | undefined): string[] {
  switch (shape) {
    case 'completions':
      return [plain(field(body, 'prompt'))];
    case 'responses': {
      const input = field(body, 'input');
      return typeof input === 'string' ? [input] : turns(input);
    }
    case 'gemini':
      return turns(field(body, 'contents'));
    case 'chat':
    case 'claude':
      return turns(field(body, 'messages'));
  }
}

function turns(messages: Json | undefined): string[] {
  if (!Array.isArray(messages)) return [];
  const texts = messages.map((message) => plain(field(message, 'content') ?? field(message, 'parts')));
  const last = messages.findLastIndex((message) => (textField(message, 'role') ?? 'user') === 'user');
  const user = texts[last];
  return user === undefined ? texts : [...texts.filter((_, i) => i !== last), user];
}

function plain(content: Json | undefined): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part) => (typeof part === 'string' ? part : (textField(part, 'text') ?? ''))).join('');
}
