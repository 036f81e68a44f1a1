/** What a form asks for; null where Go's `mime/multipart` and other parsers may read the form in different ways. */
export type FormReading = { readonly model: string | null } | null;

/** Longest head of a part, and longest name of a model, bytes. */
const maxHead = 4096;
const maxModel = 1024;
/** Go reads no more parts. */
const maxParts = 1000;

/*
 * SECURITY: callers write what these read, at any length: no two neighbouring parts of a pattern can match the same text in more than
 * one way, or a mismatch would take time that grows with the square of the length.
 */

/** The type in lower case, as NewAPI compares it; one boundary, and at most a charset beside it. */
const formType = /^multipart\/form-data((?:[ \t]*;[ \t]*[a-z]+=(?:"[^"\\]*"|[\w.!#$%&'*+^`|~-]+))+)[ \t]*(?:;[ \t]*)?$/i;
/** RFC 2046 §5.1.1. */
const boundaryForm = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;
const fieldLine = /^([\w!#$%&'*+^`|~.-]+):([\t\x20-\x7e\x80-\uffff]*)$/;
const disposition = /^form-data((?:[ \t]*;[ \t]*[\w*-]+=(?:"(?:[^"\\]|\\.)*"|[\w!#$%&'*+^`|~.-]+))*)[ \t]*(?:;[ \t]*)?$/i;
const parameter = /;[ \t]*([\w*-]+)=("(?:[^"\\]|\\.)*"|[^\s;"]+)/g;
/** A value in one of these codings is the bytes themselves. */
const plainEncoding = /^(?:7bit|8bit|binary)$/i;
const plainType = /^text\/plain(?:[ \t]*;[ \t]*charset="?(?:utf-8|us-ascii)"?)?$/i;

/**
 * Reads the `model` field of a multipart form (RFC 7578). SECURITY: only the form is read on which all parsers agree: one
 * boundary, CRLF line ends, no preamble, no folded lines, no parameter twice, no encoded names, the control field once and in
 * lower case, and the closing boundary at the end. Any other form is refused, since NewAPI could read another model. Libraries that
 * read forms accept most of what is refused here.
 * @param type the `Content-Type`, which names the boundary.
 */
export function readForm(body: Buffer, type: string): FormReading {
  const boundary = boundaryOf(type);
  if (boundary === null) return null;
  const delimiter = Buffer.from(`--${boundary}`, 'latin1');
  let model: string | null = null;
  let at = delimiter.length;
  if (!body.subarray(0, at).equals(delimiter)) return null;
  for (let parts = 0; parts <= maxParts; parts++) {
    const mark = body.toString('latin1', at, at + 2);
    if (mark === '--') return /^(?:\r\n)?$/.test(body.toString('latin1', at + 2, at + 6)) ? { model } : null;
    if (mark !== '\r\n') return null;
    const start = at + 2;
    const next = body.indexOf(delimiter, start);
    // A delimiter begins a line; anywhere else lax parsers take it for one.
    if (next < start + 2 || body[next - 2] !== 0x0d || body[next - 1] !== 0x0a) return null;
    const part = partOf(body.subarray(start, next - 2));
    if (part === null || (part.model !== null && model !== null)) return null;
    model ??= part.model;
    at = next + delimiter.length;
  }
  return null;
}

/** The model of a form, or null. */
export const formModel = (body: Buffer, type: string): string | null => readForm(body, type)?.model ?? null;

function boundaryOf(type: string): string | null {
  const parameters = type.startsWith('multipart/form-data') ? formType.exec(type)?.[1] : undefined;
  if (parameters === undefined) return null;
  const found = named(parameters);
  const boundary = found?.get('boundary');
  if (found === null || boundary === undefined || [...found.keys()].some((name) => name !== 'boundary' && name !== 'charset')) return null;
  return boundaryForm.test(boundary) ? boundary : null;
}

/**
 * The parameters of a header by name in lower case, quotes removed; null when one occurs twice. A value in single quotes has none to
 * Go, and is quoted to PHP.
 */
function named(text: string): ReadonlyMap<string, string> | null {
  const found = new Map<string, string>();
  for (const [, name = '', value = ''] of text.matchAll(parameter)) {
    const lower = name.toLowerCase();
    if (found.has(lower) || /^"?'|'"?$/.test(lower.startsWith('filename') ? '' : value)) return null;
    found.set(lower, value.startsWith('"') ? value.slice(1, -1) : value);
  }
  return found;
}

/** @returns the model where the part is that field; null for a part that parsers read in different ways. */
function partOf(part: Buffer): { readonly model: string | null } | null {
  const end = part.indexOf('\r\n\r\n');
  if (end === -1 || end > maxHead) return null;
  const fields = new Map<string, string>();
  for (const line of part.toString('utf8', 0, end).split('\r\n')) {
    const [, name, value = ''] = fieldLine.exec(line) ?? [];
    if (name === undefined || fields.has(name.toLowerCase())) return null;
    fields.set(name.toLowerCase(), value.trim());
  }
  const parameters = disposition.exec(fields.get('content-disposition') ?? '')?.[1];
  const found = parameters === undefined ? null : named(parameters);
  const name = found?.get('name');
  if (found === null || name === undefined || [...found.keys()].some((each) => each !== 'name' && each !== 'filename' && each !== 'filename*')) return null;
  // Some parsers take single quotes for quotes.
  if (/^'|'$|\\/.test(name)) return null;
  // `Model` is `model` to NewAPI's Go.
  if (name.trim().toLowerCase().toUpperCase() !== 'MODEL') return { model: null };
  const encoding = fields.get('content-transfer-encoding') ?? 'binary';
  const isPlain = name === 'model' && found.size === 1 && plainEncoding.test(encoding) && plainType.test(fields.get('content-type') ?? 'text/plain');
  const value = part.toString('utf8', end + 4);
  return isPlain && value.length <= maxModel && !/\p{Cc}/u.test(value) ? { model: value } : null;
}
