/** Formats a table. Each column is as wide as its widest cell; columns are separated by two spaces. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) => Math.max(...[title, ...rows.map((row) => row[at] ?? '')].map(widthOf)));
  const line = (cells: readonly string[]): string => cells.map((cell, at) => (at === cells.length - 1 ? cell : cell + ' '.repeat((widths[at] as number) - widthOf(cell)))).join('  ').trimEnd();
  return [head, ...rows].map((cells) => `${line(cells)}\n`).join('');
}

/** East Asian characters, which terminals show two columns wide (Unicode Standard Annex 11). */
const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/gu;

const widthOf = (cell: string): number => [...cell].length + (cell.match(wide)?.length ?? 0);

/** A time in UTC to the minute, or `none` for null. */
export const moment = (time: number | null, none: string): string => (time === null ? none : `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')}Z`);
