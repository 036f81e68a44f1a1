import { chatBody, type Pace } from './wire.ts';

/** Kinds of request bodies: 600 bytes, an agent's first request (66 KB), a long session (1 MB), a picture (8 MB). */
export const BODIES = ['small', 'agent', 'conversation', 'picture'] as const;
/** One of them. */
export type BodyKind = (typeof BODIES)[number];

/** Narrows text to a kind of body. */
export function isBodyKind(text: string): text is BodyKind {
  return (BODIES as readonly string[]).includes(text);
}

const KB = 1024;
/** Bytes of each kind; `small` has its own generator. */
const SIZES = { agent: 66 * KB, conversation: 1024 * KB, picture: 8192 * KB } as const;
/** Different turns of one caller, sent in turn. */
const TURNS = { small: 1, agent: 8, conversation: 2, picture: 1 } as const;
const TOOLS = 24;
const WORDS = 'file path line change function test module value error return the of to and in with read write call when each before after must only project directory command output result user request agent tool patch search list'.split(' ');

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Prose with line ends, quotes and paths, as prompts have them. */
function prose(next: () => number, length: number): string {
  const parts: string[] = [];
  for (let size = 0; size < length; ) {
    const word = WORDS[Math.floor(next() * WORDS.length)] as string;
    const roll = next();
    const part = roll < 0.02 ? `\n\n# ${word}\n` : roll < 0.06 ? `"${word}" ` : roll < 0.1 ? `src/${word}.ts ` : roll < 0.16 ? `${word}.\n` : `${word} `;
    parts.push(part);
    size += part.length;
  }
  return parts.join('').slice(0, length);
}

interface Message {
  readonly role: string;
  readonly content: unknown;
}

function toolsOf(next: () => number): object[] {
  return Array.from({ length: TOOLS }, (_, at) => {
    const properties = Object.fromEntries(Array.from({ length: 4 }, (_, n) => [`${WORDS[(at + n) % WORDS.length]}_${n}`, { type: 'string', description: prose(next, 160) }]));
    return { type: 'function', function: { name: `tool_${at}`, description: prose(next, 900), parameters: { type: 'object', properties, required: Object.keys(properties).slice(0, 2), additionalProperties: false } } };
  });
}

/** Turns of a session: questions, answers that call a tool, and what the tool found. */
function turnsOf(next: () => number, length: number): Message[] {
  const turns: Message[] = [];
  for (let size = 0, at = 0; size < length; at++) {
    const found: Message[] = [
      { role: 'user', content: prose(next, 200) },
      { role: 'assistant', content: prose(next, 800) },
      { role: 'user', content: [{ type: 'text', text: `result ${at}` }, { type: 'text', text: prose(next, 4000) }] },
    ];
    turns.push(...found);
    size += JSON.stringify(found).length;
  }
  return turns;
}

/** Base64 of a picture, its bytes repeated from a block of 64 KB: only its length and alphabet count. */
function picture(next: () => number, length: number): string {
  const block = Buffer.from(Uint8Array.from({ length: 48 * KB }, () => Math.floor(next() * 256))).toString('base64');
  return block.repeat(Math.ceil(length / block.length)).slice(0, length & ~3);
}

/** Fills a body with old turns, or with a picture, up to its size. */
function messagesOf(kind: Exclude<BodyKind, 'small'>, next: () => number, used: number, question: string): Message[] {
  const room = SIZES[kind] - used;
  if (kind === 'picture') return [{ role: 'user', content: [{ type: 'text', text: question }, { type: 'image_url', image_url: { url: `data:image/png;base64,${picture(next, room - 200)}` } }] }];
  const old = kind === 'conversation' ? turnsOf(next, room - 20 * KB) : [];
  return [...old, { role: 'user', content: `${question}\n` }];
}

function bodyOf(kind: Exclude<BodyKind, 'small'>, caller: number, turn: number, pace: Pace | undefined): Buffer {
  const own = random(1000 + caller);
  const next = random(1_000_000 + caller * 1000 + turn);
  const system = { role: 'system', content: `${prose(own, 16 * KB)}\nWorking directory: /home/caller${caller}/project\n` };
  const tools = toolsOf(own);
  // The pace stands at the beginning, where the stand-in API looks for it.
  const head = { model: 'gpt-4o-mini', ...(pace === undefined ? {} : { stream: true, user: `pace:${pace.chunks}:${pace.every}` }), temperature: 0.2, max_tokens: 4096 };
  const room = SIZES.agent - JSON.stringify({ ...head, messages: [system], tools }).length;
  const question = prose(next, kind === 'agent' ? Math.max(200, Math.floor(room * 0.94)) : 600);
  const used = JSON.stringify({ ...head, messages: [system], tools }).length;
  return Buffer.from(JSON.stringify({ ...head, messages: [system, ...messagesOf(kind, next, used, question)], tools }));
}

/** The bodies of the callers, each with its own turns: the first of every caller, then the second of every caller. */
export function bodiesOf(kind: BodyKind, callers: number, pace?: Pace): Buffer[] {
  return Array.from({ length: callers * TURNS[kind] }, (_, at) => (kind === 'small' ? chatBody(pace) : bodyOf(kind, at % callers, Math.floor(at / callers), pace)));
}
