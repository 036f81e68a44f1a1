import type { ValueType } from './value-types.ts';

/**
 * A node in the tree of keys that are known but do not take effect yet: a type of value, `true` for a value of any form, `[…]` a
 * list of sections, an object a section. A section that the schema has too (`server`) gets these keys in addition.
 */
export type PlannedKey = true | ValueType<unknown> | readonly [PlannedKey] | PlannedSection;

/** A section of planned keys. */
export interface PlannedSection {
  readonly [key: string]: PlannedKey;
}

/** Whether a planned key is a value of one type. */
export const isPlannedValue = (planned: PlannedKey): planned is ValueType<unknown> => planned !== true && 'read' in planned && typeof planned['read'] === 'function';

/** Every planned key, in snake_case. Using one causes a warning; a value that it will not take is an error already. */
export const PLANNED_KEYS: PlannedSection = {};
