import { printable, printableJson } from '../redaction/redaction.ts';

/** The value of a cell. */
export type Cell = string | number | boolean | null | readonly string[] | undefined;

/** The text of a cell. An unknown value gives an empty text. */
export function textOfCell(cell: Cell): string {
  if (cell === null || cell === undefined) return '';
  return printable(Array.isArray(cell) ? cell.join(' ') : String(cell));
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
  return `${printableJson(row)}\n`;
}
