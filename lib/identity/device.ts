import type { IncomingHttpHeaders } from 'node:http';
import { hash } from 'node:crypto';
import { Memo } from '../memo.ts';

/** SDKs send few distinct header sets. Longer ones are hashed without being remembered. */
const known = new Memo<string>(1_000_000, 2048);

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`, a missing header empty. */
export function deviceFingerprint(headers: IncomingHttpHeaders): string {
  const text = `${headers['user-agent'] ?? ''}|${headers.accept ?? ''}|${headers['accept-language'] ?? ''}|${headers['accept-encoding'] ?? ''}`;
  const found = known.get(text);
  if (found !== undefined) return found;
  const fingerprint = hash('sha256', text);
  known.set(text, fingerprint);
  return fingerprint;
}
