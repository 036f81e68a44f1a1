import { endOfValue, skipSpace } from '../http/http.ts';

/**
 * A part of a JSON body, from one byte to another. `text` is kept as it is, `newest` belongs to the newest turn, `id` is the value
 * of a member that identifies a device, a person or a session. A `list` of elements, with what stands between them, and a `single`
 * text are kept by reference.
 */
export type Part = { readonly kind: 'text' | 'newest' | 'id'; readonly start: number; readonly end: number } | LongPart;

/** A part that is kept by reference. */
export type LongPart = { readonly kind: 'single' | 'list'; readonly of: Long; readonly start: number; readonly end: number };

/** What a long text is: `part` is one of the newest turn's, `member` any other member of the body with its name. */
export type Long = 'system' | 'tools' | 'turns' | 'part' | 'member';

/** The parts of a body in their order; together they are all of its bytes. */
export interface Layout {
  readonly parts: readonly Part[];
  /** The newest turn: the last element of the conversation, or a prompt. Null where there is none. */
  readonly newest: { readonly start: number; readonly end: number } | null;
}

const turns: ReadonlySet<string> = new Set(['messages', 'input', 'contents', 'prompt']);
const systems: ReadonlySet<string> = new Set(['system', 'instructions', 'system_instruction', 'systemInstruction']);
const tools: ReadonlySet<string> = new Set(['tools', 'functions']);
/** Members whose value identifies a device, a person or a session. */
const ids: ReadonlySet<string> = new Set(['user', 'safety_identifier', 'prompt_cache_key']);
/** Members all of whose values, or the named ones, do so. */
const idsWithin: Readonly<Record<string, string | null>> = { metadata: 'user_id', client_metadata: null };
const declarations: ReadonlySet<string> = new Set(['functionDeclarations', 'function_declarations']);
/** Members of a turn that list its parts. */
const contents: ReadonlySet<string> = new Set(['content', 'parts']);

/** Bytes from which a text counts as long. */
const long = 1024;
/** Long texts of one body that are kept by reference, besides the lists. */
const maxSingles = 24;

const quote = 0x22;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;

/** @returns the parts of a body that is one JSON object, or null for any other. */
export function layoutOf(body: Buffer): Layout | null {
  const at = skipSpace(body, 0);
  if (body[at] !== openBrace) return null;
  const layout = new Parts(body);
  const end = eachMember(body, at, (name, nameStart, start, to, elements) => layout.member(name, nameStart, start, to, elements), isList);
  if (end === -1 || skipSpace(body, end) < body.length) return null;
  return layout.end();
}

const isList = (name: string): boolean => turns.has(name) || tools.has(name) || systems.has(name);

class Parts {
  readonly #body: Buffer;
  readonly #parts: Part[] = [];
  #done = 0;
  #singles = 0;
  #newest: Layout['newest'] = null;

  constructor(body: Buffer) {
    this.#body = body;
  }

  member(name: string, nameStart: number, start: number, end: number, elements: Elements | null): void {
    if (turns.has(name)) return elements === null ? this.#newestTurn(start, end) : this.#turns(elements);
    if (ids.has(name)) return this.#add({ kind: 'id', start, end });
    if (Object.hasOwn(idsWithin, name)) this.#idsWithin(idsWithin[name] as string | null, start, end);
    else if (end - start < long) return;
    else if (tools.has(name)) this.#list('tools', start, end, elements);
    else if (systems.has(name)) this.#list('system', start, end, elements);
    // SECURITY: with its name, since a secret is also known by the name that stands before it.
    else this.#single('member', nameStart, end);
  }

  end(): Layout {
    this.#until(this.#body.length);
    return { parts: this.#parts, newest: this.#newest };
  }

  #until(start: number): void {
    if (start > this.#done) this.#parts.push({ kind: 'text', start: this.#done, end: start });
  }

  #add(part: Part): void {
    if (part.start === part.end) return;
    this.#until(part.start);
    this.#parts.push(part);
    this.#done = part.end;
  }

  #single(of: Long, start: number, end: number): void {
    if (this.#singles++ < maxSingles) this.#add({ kind: 'single', of, start, end });
  }

  /** The elements of an array, or one text. A short element at the beginning of the system texts may differ each time: it stays outside. */
  #list(of: 'system' | 'tools', start: number, end: number, elements: Elements | null): void {
    if (elements === null || elements.starts.length === 0) return this.#single(of, start, end);
    const { starts, end: to } = (elements.starts.length === 1 ? declarationsIn(this.#body, elements.starts[0] as number) : null) ?? elements;
    let first = 0;
    if (of === 'system') while (first < starts.length - 1 && (starts[first + 1] as number) - (starts[first] as number) < long) first++;
    this.#add({ kind: 'list', of, start: starts[first] as number, end: to });
  }

  #turns({ starts, end }: Elements): void {
    const newest = starts.at(-1);
    if (newest === undefined) return;
    const first = starts[0] as number;
    if (newest - first >= long) this.#add({ kind: 'list', of: 'turns', start: first, end: newest });
    this.#newestTurn(newest, end);
  }

  /** Of the newest turn, long texts before its last one are attachments, which often come again. */
  #newestTurn(start: number, end: number): void {
    this.#newest = { start, end };
    const body = this.#body;
    if (end - start >= 2 * long && body[start] === openBrace) {
      eachMember(body, start, (name, _nameStart, from) => {
        if (!contents.has(name) || body[from] !== openBracket) return;
        const { starts } = elementsIn(body, from + 1);
        for (const [at, each] of starts.slice(0, -1).entries()) {
          if ((starts[at + 1] as number) - each < long || this.#singles >= maxSingles) continue;
          const to = endOfValue(body, each);
          this.#newestUntil(start, each);
          this.#single('part', each, to);
        }
      });
    }
    this.#newestUntil(start, end);
  }

  #newestUntil(start: number, end: number): void {
    this.#add({ kind: 'newest', start: Math.max(start, this.#done), end });
  }

  /** @param only the member that counts; null: all of them. */
  #idsWithin(only: string | null, start: number, end: number): void {
    if (this.#body[start] !== openBrace) return this.#add({ kind: 'id', start, end });
    eachMember(this.#body, start, (name, _nameStart, from, to) => {
      if (only === null || name === only) this.#add({ kind: 'id', start: from, end: to });
    });
  }
}

/** The functions that Gemini's one tool declares. */
function declarationsIn(body: Buffer, start: number): Elements | null {
  let found: Elements | null = null;
  if (body[start] === openBrace) {
    eachMember(body, start, (name, _nameStart, from) => {
      if (declarations.has(name) && body[from] === openBracket) found = elementsIn(body, from + 1);
    });
  }
  return found;
}

type OnMember = (name: string, nameStart: number, start: number, end: number, elements: Elements | null) => void;

/**
 * Calls for each member of an object.
 * @param isWalked whether the elements of a member's array are wanted. @returns the offset behind the object, or -1 where it is no JSON.
 */
function eachMember(body: Buffer, open: number, call: OnMember, isWalked: (name: string) => boolean = () => false): number {
  let at = skipSpace(body, open + 1);
  if (body[at] === closeBrace) return at + 1;
  for (;;) {
    if (body[at] !== quote) return -1;
    const nameEnd = endOfValue(body, at);
    const separator = skipSpace(body, nameEnd);
    if (nameEnd === -1 || body[separator] !== colon) return -1;
    const start = skipSpace(body, separator + 1);
    const name = nameEnd - at > 64 ? '' : body.toString('latin1', at + 1, nameEnd - 1);
    const elements = body[start] === openBracket && isWalked(name) ? elementsIn(body, start + 1) : null;
    const end = elements === null ? endOfValue(body, start) : elements.close;
    if (end === -1) return -1;
    call(name, at, start, end, elements);
    at = skipSpace(body, end);
    if (body[at] === closeBrace) return at + 1;
    if (body[at] !== comma) return -1;
    at = skipSpace(body, at + 1);
  }
}

/** Elements of an array. */
export interface Elements {
  readonly starts: readonly number[];
  /** The offset behind the last one. */
  readonly end: number;
  /** The offset behind the array, or -1 where it does not end. */
  readonly close: number;
}

/** The elements of an array that begin at an offset or behind it. */
export function elementsIn(bytes: Buffer, from: number): Elements {
  const starts: number[] = [];
  let end = from;
  let at = skipSpace(bytes, from);
  while (at < bytes.length && bytes[at] !== closeBracket) {
    const to = endOfValue(bytes, at);
    if (to === -1) return { starts, end, close: -1 };
    starts.push(at);
    end = to;
    at = skipSpace(bytes, to);
    if (bytes[at] === comma) at = skipSpace(bytes, at + 1);
    else if (bytes[at] !== closeBracket) return { starts, end, close: -1 };
  }
  return { starts, end, close: at < bytes.length ? at + 1 : -1 };
}
