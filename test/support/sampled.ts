import { generator } from './random.ts';

/** Whether cross products run in full (`HEIMDALL_FIELD=all`) instead of as a sample. */
export const fieldInFull = process.env['HEIMDALL_FIELD'] === 'all';

/** Pairs of a row and a column: every row and every column at least once, by a fixed seed; the whole product where the field runs in full. */
export function sampled<Row, Column>(rows: readonly Row[], columns: readonly Column[], seed = 1): readonly (readonly [Row, Column])[] {
  if (fieldInFull) return rows.flatMap((row) => columns.map((column) => [row, column] as const));
  const random = generator(seed);
  const order = [...columns];
  for (let at = order.length - 1; at > 0; at--) {
    const other = random(at + 1);
    [order[at], order[other]] = [order[other] as Column, order[at] as Column];
  }
  return Array.from({ length: Math.max(rows.length, order.length) }, (_, at) => [rows[at % rows.length] as Row, order[at % order.length] as Column] as const);
}
