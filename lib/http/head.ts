/** @returns the first value of a header in a flat name, value list, or null. */
export function headerOf(head: readonly string[], lower: string): string | null {
  for (let at = 0; at < head.length; at += 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) return head[at + 1] as string;
  }
  return null;
}

/** Removes every field of a name from a flat name, value list. */
export function withoutField(head: string[], lower: string): void {
  for (let at = head.length - 2; at >= 0; at -= 2) {
    const name = head[at] as string;
    if (name.length === lower.length && name.toLowerCase() === lower) head.splice(at, 2);
  }
}
