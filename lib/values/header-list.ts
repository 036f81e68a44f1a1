const nameForm = /^[\w!#$&'*.^`|~+-]{1,128}$/;
/** SECURITY: framing, and where a message goes, are not a header's of the user's to say. */
const reserved = /^(?:host|content-.*|transfer-encoding|connection|upgrade|expect|keep-alive|te|trailer|proxy-.*)$/;

/**
 * Headers of one text, as OpenTelemetry's variables have them: `name=value` with commas between, values percent-encoded where needed.
 * @returns null for another text, and for a header that is not free to be set.
 */
export function readHeaderList(text: string): Readonly<Record<string, string>> | null {
  const found: Record<string, string> = {};
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, equals)).trim().toLowerCase();
    const value = decoded(pair.slice(equals + 1).trim());
    if (!nameForm.test(name) || reserved.test(name) || value === null || !/^[\x20-\x7e]+$/.test(value)) return null;
    found[name] = value;
  }
  return found;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
