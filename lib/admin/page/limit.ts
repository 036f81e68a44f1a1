import type { Limit } from './shapes.ts';
import { count, money, took } from './text.ts';

/** A limit with its window. */
export function limitText({ rule, limit, window }: Limit): string {
  const span = typeof window === 'number' ? took(window) : window;
  return `${/budget/.test(rule) ? money(limit) : count(limit)}${span ? ` / ${span}` : ''}`;
}
