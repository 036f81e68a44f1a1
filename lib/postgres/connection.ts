import { codeOf } from '../platform/platform.ts';

/** The operator has to do something. The message holds nothing from outside. */
export class Missing extends Error {}

/** Loads the package, which the operator installs. */
export async function loadPg(): Promise<(typeof import('pg'))['default']> {
  const { default: pg } = await import('pg').catch(() => {
    throw new Missing('the package pg is needed beside this one: npm install pg');
  });
  return pg;
}

/** Classes of errors (PostgreSQL, Appendix A) whose messages name parts of the database and never values. */
const safeMessages = /^(?:08|25|28|3D|3F|42|53|57)/;

/** What an error may say outside. SECURITY: neither a value nor the URL. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const { message } = error as Error;
  if (error instanceof Missing) return message;
  // The system's codes, as EPIPE, are letters alone.
  if (!/^(?=.*\d)[0-9A-Z]{5}$/.test(code)) return `PostgreSQL cannot be reached (${code})`;
  return safeMessages.test(code) ? `PostgreSQL: ${message} (${code})` : `PostgreSQL refused it (${code})`;
}

/** A text as PostgreSQL can hold it: with neither NUL nor lone surrogates. */
export const textFor = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '\u2400') : text).toWellFormed();

/** JSON whose texts and names PostgreSQL can hold: as {@link textFor}. */
export const jsonFor = (value: unknown): string => JSON.stringify(value).replace(/\\(?:\\|u0000|ud[89a-f][\da-f]{2})/g, (found) => (found === '\\u0000' ? '\u2400' : found[1] === 'u' ? '\ufffd' : found));
