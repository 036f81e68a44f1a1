/** The readings of a path. */
export interface RequestPath {
  /** Decoded once, as Go's router does, then without empty and dot segments: a request is judged by this form. */
  readonly decoded: string;
  /** The same path percent-encoded: the one spelling that every receiver reads alike. */
  readonly encoded: string;
  /** The reading of a receiver that removes dot segments before it decodes, and parameters of segments behind a semicolon. */
  readonly otherwise: string;
}

/** Characters for which a path has more than one spelling, or which receivers read in more than one way. */
const special = /[%\\;#]|\/\/|\/\.|[^\x21-\x7e]/;
/** What receivers read in different ways behind an escape: control characters, a backslash, an escape of its own (`%252e`). */
const ambiguous = /[\p{Cc}\\]|%[0-9a-f]{2}/iu;

/**
 * Reads the path of a request target. All its spellings (`%2e%2e`, `//`, `/./`, `%2F`, an encoded colon) have one `decoded` and
 * one `encoded` form.
 * @param raw the target without its query, bytes as latin1.
 * @returns null for a path with a fragment, a backslash, a control character, an escape within an escape, or bytes that are not
 *   UTF-8 (overlong forms included).
 */
export function readPath(raw: string): RequestPath | null {
  if (!special.test(raw)) return { decoded: raw, encoded: raw, otherwise: raw };
  if (raw.includes('#')) return null;
  try {
    const decoded = decodeURIComponent(raw.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`));
    if (ambiguous.test(decoded)) return null;
    const path = withoutDots(decoded);
    const segments = raw.replace(/(?:;|%3b)[^/]*/gi, '').replace(/%2e/gi, '.');
    return { decoded: path, encoded: encodePath(path), otherwise: withoutDots(decodeURIComponent(withoutDots(segments))) };
  } catch {
    return null;
  }
}

function withoutDots(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}${path.endsWith('/') && segments.length > 0 ? '/' : ''}`;
}

/** Percent-encodes a decoded path; characters that a path may contain as they are stay, the colon of Gemini's routes too. */
export const encodePath = (path: string): string => encodeURI(path).replace(/[?#]/g, encodeURIComponent);
