/** The middle of some numbers; NaN for none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share of the numbers lies, interpolated; NaN for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  return low === undefined || high === undefined ? Number.NaN : low + (high - low) * (at - Math.floor(at));
}

/** Median and extremes of the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly values: readonly number[];
}

/** Summarises the rounds of one contestant. */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), values };
}

/** `a / b`, or `a - b`, round by round, so that drift of the machine meets both sides. */
export function pairwise(a: readonly number[], b: readonly number[], combine: (a: number, b: number) => number): Spread {
  const length = Math.min(a.length, b.length);
  return spread(Array.from({ length }, (_, index) => combine(a[index] as number, b[index] as number)));
}

/** A number with as many digits as are worth reading. */
export function show(value: number | undefined, unit = ''): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${value.toFixed(digits)}${unit}`;
}

/** `median (min–max)`. */
export function showSpread(values: Spread | undefined): string {
  if (values === undefined || !Number.isFinite(values.median)) return '–';
  return `${show(values.median)} (${show(values.min)}–${show(values.max)})`;
}

/** A table in plain text: the first column left, the others right, never wider than its cells. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ');
  const [head = [], ...rest] = rows;
  return [line(head), widths.map((width) => '─'.repeat(width)).join('──'), ...rest.map(line)].join('\n');
}
