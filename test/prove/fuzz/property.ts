import fc from 'fast-check';

/** What a parser must hold to, on inputs drawn by fast-check. */
export interface Property {
  readonly parser: string;
  /** By what it is judged. */
  readonly reference: string;
  /** Of a thousand inputs so many are for it: each costs another time. */
  readonly share: number;
  readonly property: fc.IRawProperty<unknown[]>;
}

export const given = <T extends [unknown, ...unknown[]]>(parser: string, reference: string, share: number, property: fc.IProperty<T> | fc.IAsyncProperty<T>): Property => ({ parser, reference, share, property: property as unknown as fc.IRawProperty<unknown[]> });

/** Cuts bytes at these places, each a share of a thousand. */
export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => Math.floor((place * bytes.length) / 1000)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, nth) => bytes.subarray(at[nth], end));
}

export const places = fc.array(fc.nat(1000), { maxLength: 6 });
export const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
