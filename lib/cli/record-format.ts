/** The value of a cell. */
export type Cell = string | number | boolean | null | readonly string[] | undefined;

/** C0 and C1 controls, DEL, and characters that change the direction of text (Unicode Standard Annex 9). */
const unsafe = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Text without terminal commands: control characters are written as `\u001b`. */
export function harmless(text: string): string {
  return text.replace(unsafe, escaped);
}

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** The text of a cell. An unknown value gives an empty text. */
export function textOfCell(cell: Cell): string {
  if (cell === null || cell === undefined) return '';
  return harmless(Array.isArray(cell) ? cell.join(' ') : String(cell));
}

/**
 * A line of CSV (RFC 4180). A cell that a spreadsheet would evaluate as a formula gets an apostrophe as prefix (OWASP, "CSV
 * injection").
 */
export function csvLine(cells: readonly Cell[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(cell: Cell): string {
  if (typeof cell === 'number') return String(cell);
  const text = textOfCell(cell);
  const plain = /^[=+\-@\t\r|%]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) || plain !== plain.trim() ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** A line of JSON Lines. Control characters are escaped in JSON, so that a terminal does not execute them. */
export function jsonLine(row: object): string {
  return `${JSON.stringify(row).replace(unsafe, escaped)}\n`;
}
