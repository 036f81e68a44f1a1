/** @returns the first value of a header in a flat name, value list, or null. */
export function headerOf(head: readonly string[], lower: string): string | null {
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return head[at + 1] as string;
  }
  return null;
}

/** The media type of a message in lower case, without parameters and white space; empty without one (RFC 9110 §8.3.1). */
export function mediaTypeOf(head: readonly string[]): string {
  const type = headerOf(head, 'content-type');
  if (type === null) return '';
  const end = type.indexOf(';');
  return (end === -1 ? type : type.slice(0, end)).trim().toLowerCase();
}

const none: readonly string[] = [];

/**
 * The content codings of a message in the order in which they were applied, in lower case; `identity` stands for none and is left
 * out (RFC 9110 §8.4.1). Several fields count as one list.
 * @param head a flat name, value list.
 */
export function codingsOf(head: readonly string[]): readonly string[] {
  let found = none;
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (name.length !== 16 || name.toLowerCase() !== 'content-encoding') continue;
    const named = (head[at + 1] as string).toLowerCase().split(',').map((coding) => coding.trim());
    found = [...found, ...named.filter((coding) => coding !== '' && coding !== 'identity')];
  }
  return found;
}

/** Removes every field of a name from a flat name, value list. */
export function withoutField(head: string[], lower: string): void {
  for (let at = head.length - 2; at >= 0; at -= 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) head.splice(at, 2);
  }
}
