import type { IncomingHttpHeaders } from 'node:http';
import { hash } from 'node:crypto';
import { ownText, Variants } from '../platform/platform.ts';

interface Device {
  readonly accept: string;
  readonly language: string;
  readonly encoding: string;
  readonly fingerprint: string;
  readonly size: number;
}

/** Longer sets of headers are hashed without being remembered, characters. */
const longest = 2048;
/** By agent: SDKs send few distinct header sets. */
const known = new Variants<Device>(1_000_000, longest, 8);

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`, a missing header empty. */
export function deviceFingerprint(headers: IncomingHttpHeaders): string {
  const agent = headers['user-agent'] ?? '';
  const accept = headers.accept ?? '';
  const language = headers['accept-language'] ?? '';
  const encoding = headers['accept-encoding'] ?? '';
  for (const device of known.of(agent)) if (device.accept === accept && device.language === language && device.encoding === encoding) return device.fingerprint;
  const text = `${agent}|${accept}|${language}|${encoding}`;
  const fingerprint = hash('sha256', text);
  if (text.length <= longest) known.add(agent, { accept: ownText(accept), language: ownText(language), encoding: ownText(String(encoding)), fingerprint, size: text.length + fingerprint.length });
  return fingerprint;
}
