import { maskCredentials } from './mask.ts';
import type { SecretScrubber } from './scrub.ts';

/** Controls, characters that change the direction of text (Unicode Standard Annex 9), and separators of lines. */
const unsafe = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text of one line that a terminal or a log viewer cannot take for a command: unsafe characters are written as `\u001b`. Also valid for JSON without line ends. */
export const printable = (text: string): string => text.replace(unsafe, escaped);

/** As {@link printable}, for text of several lines. */
export const printableLines = (text: string): string => text.replace(unsafe, (character, at: number) => (character === '\n' || character === '\t' || (character === '\r' && text[at + 1] === '\n') ? character : escaped(character)));

/** JSON on one line, of which no character is unsafe in a terminal or a log. */
export const printableJson = (value: unknown): string => printable(JSON.stringify(value));

/** Levels of nested fields that are cleaned; deeper ones are left out. */
const maxDepth = 8;

/** The fields of an event: every text is masked and printable. @param scrub masks configured secrets. */
export function cleanFields(fields: object, scrub: SecretScrubber): object {
  return cleaned(fields, scrub, 0) as object;
}

function cleaned(value: unknown, scrub: SecretScrubber, depth: number): unknown {
  if (typeof value === 'string') return printableLines(scrub(maskCredentials(value)));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (depth === maxDepth) return null;
  if (Array.isArray(value)) return value.map((one) => cleaned(one, scrub, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [printable(name), cleaned(one, scrub, depth + 1)]));
}
