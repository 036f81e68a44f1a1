import type { IncomingHttpHeaders } from 'node:http';
import { hash } from 'node:crypto';

/** SDKs send few distinct header sets; should somebody send many, all are forgotten at once. */
const known = new Map<string, string>();
const remembered = 5000;

/** Longer header sets are hashed without being remembered. */
const longest = 2048;

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`, a missing header empty. */
export function deviceFingerprint(headers: IncomingHttpHeaders): string {
  const text = `${headers['user-agent'] ?? ''}|${headers.accept ?? ''}|${headers['accept-language'] ?? ''}|${headers['accept-encoding'] ?? ''}`;
  const found = known.get(text);
  if (found !== undefined) return found;
  const fingerprint = hash('sha256', text);
  if (known.size >= remembered) known.clear();
  if (text.length <= longest) known.set(text, fingerprint);
  return fingerprint;
}
