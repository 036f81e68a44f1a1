// The language of the page, and how it writes numbers, money and times.

import { signal } from '@preact/signals';
import type { Texts } from './languages/en.ts';

/** The languages of the page. */
export type Language = 'en' | 'zh-CN';

const languageKey = 'heimdall.language';
const zoneKey = 'heimdall.zone';

/** The chosen language, else the browser's. */
export const language = signal<Language>(chosenLanguage());
/** The chosen time zone; null for the browser's. */
export const zone = signal<string | null>(localStorage.getItem(zoneKey));
const texts = signal<Texts | null>(null);

function chosenLanguage(): Language {
  const kept = localStorage.getItem(languageKey);
  if (kept === 'en' || kept === 'zh-CN') return kept;
  const first = navigator.languages.find((each) => /^(?:en|zh)\b/i.test(each)) ?? 'en';
  return /^zh/i.test(first) ? 'zh-CN' : 'en';
}

/** Loads the texts of the language. */
export async function speak(name: Language = language.peek()): Promise<void> {
  texts.value = name === 'en' ? (await import('./languages/en.ts')).default : (await import('./languages/zh-cn.ts')).default;
  language.value = name;
  document.documentElement.lang = name;
}

/** Keeps a choice of the reader. */
export async function choose(name: Language): Promise<void> {
  localStorage.setItem(languageKey, name);
  await speak(name);
}

/** Keeps the time zone that the reader chose; an empty name for the browser's. */
export function chooseZone(name: string): void {
  if (name === '') localStorage.removeItem(zoneKey);
  else localStorage.setItem(zoneKey, name);
  zone.value = name === '' ? null : name;
}

/** The texts in the language. */
export const t = (): Texts => texts.value as Texts;

const made = new Map<string, unknown>();

/** A formatter, made once for its language and options. */
function formatter<F>(kind: string, make: () => F): F {
  const name = `${language.value} ${zone.value} ${kind}`;
  const known = made.get(name) ?? make();
  made.set(name, known);
  return known as F;
}

const numbers = (kind: string, options: Intl.NumberFormatOptions): Intl.NumberFormat => formatter(kind, () => new Intl.NumberFormat(language.value, options));
const dates = (kind: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat => formatter(kind, () => new Intl.DateTimeFormat(language.value, zone.value === null ? options : { ...options, timeZone: zone.value }));

/** What stands where nothing is known. */
export const none = '–';

/** A number as it is written in the language. */
export const count = (value: number | null | undefined): string => (value == null ? none : numbers('count', { maximumFractionDigits: 1 }).format(value));

/** Short from ten thousand on: 12.3K. */
export const short = (value: number | null | undefined): string => (value == null ? none : value < 10_000 ? count(value) : numbers('short', { notation: 'compact', maximumFractionDigits: 1 }).format(value));

/** Dollars, small ones with as many digits as they need. */
export function money(value: number | null | undefined): string {
  if (value == null) return none;
  const digits = value !== 0 && Math.abs(value) < 0.1 ? 5 : 2;
  return numbers(`money${digits}`, { style: 'currency', currency: 'USD', currencyDisplay: 'narrowSymbol', minimumFractionDigits: 2, maximumFractionDigits: digits }).format(value);
}

/** A part of a whole, or a change. */
export const share = (value: number | null | undefined): string => (value == null ? none : numbers(value < 0.1 ? 'small share' : 'share', { style: 'percent', maximumFractionDigits: value < 0.1 ? 1 : 0 }).format(value));

/** A time that something took. @param value milliseconds. */
export function took(value: number | null | undefined): string {
  if (value == null) return none;
  const [unit, size, digits] = value < 1000 ? ['millisecond', 1, value < 10 ? 2 : 0] as const : value < 120_000 ? ['second', 1000, 1] as const : value < 7_200_000 ? ['minute', 60_000, 0] as const : value < 172_800_000 ? ['hour', 3_600_000, 0] as const : ['day', 86_400_000, 0] as const;
  return numbers(`took ${unit}${digits}`, { style: 'unit', unit, unitDisplay: unit === 'second' ? 'narrow' : 'short', maximumFractionDigits: digits }).format(value / size);
}

/** An amount of bytes in the unit that suits it. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return none;
  const at = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  const unit = (['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const)[at] as string;
  return numbers(`bytes ${unit}`, { style: 'unit', unit, unitDisplay: at === 0 ? 'long' : 'short', maximumFractionDigits: 1 }).format(value / 1024 ** at);
}

/** Unix milliseconds of an ISO time or Unix seconds; null without. */
export const momentOf = (at: string | number | null | undefined): number | null => (at == null ? null : typeof at === 'number' ? at * 1000 : Date.parse(at));

/** A date and time, to the second. */
export const dateTime = (ms: number): string => dates('full', { dateStyle: 'medium', timeStyle: 'medium' }).format(ms);

/** A day. */
export const dayOf = (ms: number): string => dates('date', { month: 'short', day: 'numeric' }).format(ms);

/** The time of a moment near now, else its day too, and of another year that. */
export function clockTime(ms: number): string {
  const near = Math.abs(Date.now() - ms) < 43_200_000;
  if (near) return dates('clock', { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(ms);
  const day = { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false } as const;
  const isThisYear = new Date(ms).getFullYear() === new Date().getFullYear();
  return isThisYear ? dates('day', day).format(ms) : dates('day of a year', { ...day, year: 'numeric' }).format(ms);
}

/** How long ago, or how far ahead. */
export function ago(ms: number): string {
  const seconds = (ms - Date.now()) / 1000;
  const away = Math.abs(seconds);
  const [unit, size] = away < 90 ? ['second', 1] as const : away < 5400 ? ['minute', 60] as const : away < 129_600 ? ['hour', 3600] as const : ['day', 86_400] as const;
  return formatter('ago', () => new Intl.RelativeTimeFormat(language.value, { numeric: 'auto', style: 'short' })).format(Math.round(seconds / size), unit);
}

/** Characters that change the direction of text or cannot be seen, shown by their numbers: recorded text must not look like another one. */
export const plain = (text: string): string => text.replace(/(?![\t\n])[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) => `‹U+${(found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}›`);
