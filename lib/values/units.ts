const DURATIONS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZES = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 } as const;
const RATES = { s: 1, m: 60, h: 3_600 } as const;

/** Plain decimal digits: no sign, exponent, hex, separators or spaces. */
const DECIMAL = String.raw`\d+(?:\.\d+)?`;
const DURATION = new RegExp(`^(${DECIMAL})(ms|s|m|h|d)?$`);
const SIZE = new RegExp(`^(${DECIMAL})(B|KB|MB|GB)?$`);
const RATE = new RegExp(`^(${DECIMAL})(?:/(s|m|h))?$`);
const SHARE = new RegExp(`^(${DECIMAL})(%)?$`);

/** Milliseconds of `"30s"`, `"100ms"`, `"5m"`, `"1h"`, `"7d"` or a number of milliseconds; undefined when it is neither. */
export function readDuration(value: unknown): number | undefined {
  return whole(scaled(value, DURATION, DURATIONS));
}

/** Bytes of `"6MB"`, `"64KB"`, `"1GB"`, `"512B"` (powers of 1024) or a number of bytes; undefined when it is neither. */
export function readSize(value: unknown): number | undefined {
  return whole(scaled(value, SIZE, SIZES));
}

/** Events per second of `"0.8/s"`, `"30/m"`, `"100/h"` or a number per second; undefined when it is neither. */
export function readRate(value: unknown): number | undefined {
  const parts = split(value, RATE);
  return parts && parts.amount / RATES[(parts.unit ?? 's') as keyof typeof RATES];
}

/** A share from 0 to 1 of `"90%"` or `0.9`; undefined when it is neither or above 100 %. */
export function readShare(value: unknown): number | undefined {
  const parts = split(value, SHARE);
  const share = parts && (parts.unit === '%' ? parts.amount / 100 : parts.amount);
  return share !== undefined && share <= 1 ? share : undefined;
}

/** The shortest exact text of a duration in milliseconds: 90000 is `"90s"`. */
export function writeDuration(milliseconds: number): string {
  return written(milliseconds, DURATIONS, 's');
}

/** The shortest exact text of a size in bytes: 1048576 is `"1MB"`. */
export function writeSize(bytes: number): string {
  return written(bytes, SIZES, 'B');
}

/** A share as percent: 0.9 is `"90%"`. */
export function writeShare(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}

function scaled(value: unknown, form: RegExp, units: Readonly<Record<string, number>>): number | undefined {
  const parts = split(value, form);
  return parts && parts.amount * (units[parts.unit ?? ''] ?? 1);
}

function split(value: unknown, form: RegExp): { amount: number; unit: string | undefined } | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? { amount: value, unit: undefined } : undefined;
  const match = typeof value === 'string' ? form.exec(value) : null;
  return match ? { amount: Number(match[1]), unit: match[2] } : undefined;
}

/** Rounds, because `1.1s` is 1100.0000000000002 in floating point. */
function whole(amount: number | undefined): number | undefined {
  const rounded = Math.round(amount ?? NaN);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

function written(amount: number, units: Readonly<Record<string, number>>, zero: string): string {
  if (amount === 0) return `0${zero}`;
  const [unit, factor] = Object.entries(units).findLast(([, each]) => amount % each === 0) ?? [zero, 1];
  return `${amount / factor}${unit}`;
}
