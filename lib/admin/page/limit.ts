import type { Limit } from './shapes.ts';
import { count, money, took } from './text.ts';

/** A limit with its window, seconds or text. */
export function limitText({ rule, limit, window }: Limit): string {
  const span = typeof window === 'number' ? took(window * 1000) : window;
  return `${/budget/.test(rule) ? money(limit) : count(limit)}${span ? ` / ${span}` : ''}`;
}
