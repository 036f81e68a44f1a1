import { elementsIn, endOfValue, outlineKinds, skipSpace } from '../http/http.ts';

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
/** Members of a turn that list its parts. */
const contents: ReadonlySet<string> = new Set(['content', 'parts']);

/** Bytes from which a text counts as long. */
const long = 1024;
/** Long texts of one body that are kept by reference, besides the lists. */
const maxSingles = 24;
/** Parts of one body; what would be more stays text. */
const maxParts = 256;

const quote = 0x22;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;

/** What a scan has found in a body, so that it need not be walked again: the ends of values by their beginnings, and the newest turn. */
interface Found {
  readonly ends: ReadonlyMap<number, number>;
  readonly newest: { readonly start: number; readonly end: number } | null;
}

const nothing: Found = { ends: new Map(), newest: null };

function foundIn(outline: Int32Array | null): Found {
  if (outline === null) return nothing;
  const ends = new Map<number, number>();
  let newest: Found['newest'] = null;
  for (let at = 0; at + 2 < outline.length; at += 3) {
    const [kind, start, end] = outline.subarray(at, at + 3) as unknown as [number, number, number];
    if (kind === outlineKinds.newest) newest = { start, end };
    else if (kind !== outlineKinds.turn) ends.set(start, end);
  }
  return { ends, newest };
}

/**
 * @param outline what a scan of the same bytes has found; null to walk all of them.
 * @returns the parts of a body that is one JSON object, or null for any other.
 */
export function layoutOf(body: Buffer, outline: Int32Array | null = null): Layout | null {
  const at = skipSpace(body, 0);
  if (body[at] !== openBrace) return null;
  const found = foundIn(outline);
  const layout = new Parts(body, found);
  const end = eachMember(body, at, (name, nameStart, start, to) => layout.member(name, nameStart, start, to), found.ends);
  if (end === -1 || skipSpace(body, end) < body.length) return null;
  return layout.end();
}

/**
 * @param outline what a scan of the same bytes has found; null to walk all of them.
 * @returns the texts of members of a body that is one JSON object; null for one that is not there or no text.
 */
export function textsOf(body: Buffer, names: readonly string[], outline: Int32Array | null = null): readonly (string | null)[] {
  const texts: (string | null)[] = names.map(() => null);
  const open = skipSpace(body, 0);
  if (body[open] !== openBrace) return texts;
  eachMember(body, open, (name, _nameStart, start, end) => {
    const at = names.indexOf(name);
    if (at !== -1 && body[start] === quote) texts[at] = stringIn(body.toString('utf8', start, end));
  }, foundIn(outline).ends);
  return texts;
}

/** Null for text that is no JSON. */
function stringIn(text: string): string | null {
  try {
    return String(JSON.parse(text));
  } catch {
    return null;
  }
}

class Parts {
  readonly #body: Buffer;
  readonly #parts: Part[] = [];
  #done = 0;
  #singles = 0;
  readonly #found: Found;
  #newest: Layout['newest'] = null;

  constructor(body: Buffer, found: Found) {
    this.#body = body;
    this.#found = found;
  }

  member(name: string, nameStart: number, start: number, end: number): void {
    if (turns.has(name)) return this.#turns(start, end);
    if (ids.has(name)) return this.#add({ kind: 'id', start, end });
    if (Object.hasOwn(idsWithin, name)) this.#idsWithin(idsWithin[name] as string | null, start, end);
    else if (end - start < long) return;
    else if (tools.has(name)) this.#list('tools', start, end);
    else if (systems.has(name)) this.#list('system', start, end);
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
    if (part.start === part.end || this.#parts.length >= maxParts) return;
    this.#until(part.start);
    this.#parts.push(part);
    this.#done = part.end;
  }

  #single(of: Long, start: number, end: number): void {
    if (this.#singles++ < maxSingles) this.#add({ kind: 'single', of, start, end });
  }

  /** The elements of an array, or one text. A short element at the beginning of the system texts may differ each time: it stays outside. */
  #list(of: 'system' | 'tools', start: number, end: number): void {
    const body = this.#body;
    if (body[start] !== openBracket) return this.#single(of, start, end);
    let { first, to } = of === 'tools' ? declarationsIn(body, start, end) : insideOf(body, start, end);
    for (let next = first; of === 'system'; first = next) {
      next = skipSpace(body, endOfValue(body, first));
      if (next - first >= long || body[next] !== comma) break;
      next = skipSpace(body, next + 1);
    }
    if (first < to) this.#add({ kind: 'list', of, start: first, end: to });
  }

  #turns(start: number, end: number): void {
    if (this.#body[start] !== openBracket) return this.#newestTurn(start, end);
    const { first, to } = insideOf(this.#body, start, end);
    if (first >= to) return;
    const { newest } = this.#found;
    const last = newest !== null && newest.start >= first && newest.end <= to ? skipSpace(this.#body, newest.start) : (elementsIn(this.#body, first).at(-1) ?? first);
    if (last - first >= long) this.#add({ kind: 'list', of: 'turns', start: first, end: last });
    this.#newestTurn(last, to);
  }

  /** Of the newest turn, long texts before its last one are attachments, which often come again. */
  #newestTurn(start: number, end: number): void {
    this.#newest = { start, end };
    const body = this.#body;
    if (end - start >= 2 * long && body[start] === openBrace) {
      eachMember(body, start, (name, _nameStart, from) => {
        if (!contents.has(name) || body[from] !== openBracket) return;
        const starts = elementsIn(body, from + 1);
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

/** Where the elements of an array begin, and the offset behind the last one. */
function insideOf(body: Buffer, start: number, end: number): { first: number; to: number } {
  return { first: skipSpace(body, start + 1), to: spaceBefore(body, end - 1) };
}

/** The same for the functions that Gemini's one tool declares. */
function declarationsIn(body: Buffer, start: number, end: number): { first: number; to: number } {
  const inside = insideOf(body, start, end);
  const match = declaring.exec(body.toString('latin1', inside.first, inside.first + 48));
  if (match === null) return inside;
  const close = spaceBefore(body, inside.to - 1);
  const isOne = body[inside.to - 1] === closeBrace && body[close - 1] === closeBracket;
  return isOne ? insideOf(body, inside.first + match[0].length - 1, close) : inside;
}

const declaring = /^\{\s{0,8}"function(?:Declarations|_declarations)"\s{0,8}:\s{0,8}\[/;

/** The offset of the white space that ends at an offset. */
function spaceBefore(body: Buffer, end: number): number {
  let at = end;
  while (at > 0 && isSpace(body[at - 1])) at--;
  return at;
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

type OnMember = (name: string, nameStart: number, start: number, end: number) => void;

/**
 * Calls for each member of an object.
 * @param ends ends of values that are known, by their beginnings. @returns the offset behind the object, or -1 where it is no JSON.
 */
function eachMember(body: Buffer, open: number, call: OnMember, ends: ReadonlyMap<number, number> = nothing.ends): number {
  let at = skipSpace(body, open + 1);
  if (body[at] === closeBrace) return at + 1;
  for (;;) {
    if (body[at] !== quote) return -1;
    const nameEnd = endOfValue(body, at);
    const separator = skipSpace(body, nameEnd);
    if (nameEnd === -1 || body[separator] !== colon) return -1;
    const start = skipSpace(body, separator + 1);
    const end = ends.get(start) ?? endOfValue(body, start);
    if (end === -1) return -1;
    call(nameEnd - at > 64 ? '' : body.toString('latin1', at + 1, nameEnd - 1), at, start, end);
    at = skipSpace(body, end);
    if (body[at] === closeBrace) return at + 1;
    if (body[at] !== comma) return -1;
    at = skipSpace(body, at + 1);
  }
}
