/** A UUIDv7 of a time, Unix milliseconds. */
export function uuidOf(time: number, nth: number): string {
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${nth.toString(16).padStart(12, '0')}`;
}
