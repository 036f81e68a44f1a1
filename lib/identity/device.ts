import type { IncomingHttpHeaders } from 'node:http';
import { hash } from 'node:crypto';
import { Memo, ownText } from '../memo.ts';

interface Device {
  readonly accept: string;
  readonly language: string;
  readonly encoding: string;
  readonly fingerprint: string;
}

/** Longer sets of headers are hashed without being remembered, characters. */
const longest = 2048;
/** By agent: SDKs send few distinct header sets. */
const known = new Memo<readonly Device[]>(1_000_000, longest);
/** Devices remembered of an agent. */
const variants = 8;
const none: readonly Device[] = [];

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`, a missing header empty. */
export function deviceFingerprint(headers: IncomingHttpHeaders): string {
  const agent = headers['user-agent'] ?? '';
  const accept = headers.accept ?? '';
  const language = headers['accept-language'] ?? '';
  const encoding = headers['accept-encoding'] ?? '';
  const list = known.get(agent) ?? none;
  for (const device of list) if (device.accept === accept && device.language === language && device.encoding === encoding) return device.fingerprint;
  const text = `${agent}|${accept}|${language}|${encoding}`;
  const fingerprint = hash('sha256', text);
  if (text.length <= longest) remember(agent, list, { accept: ownText(accept), language: ownText(language), encoding: ownText(String(encoding)), fingerprint });
  return fingerprint;
}

function remember(agent: string, list: readonly Device[], device: Device): void {
  const devices = [device, ...list.slice(0, variants - 1)];
  known.set(agent, devices, devices.reduce((sum, { accept, language, encoding, fingerprint }) => sum + accept.length + language.length + encoding.length + fingerprint.length, 0));
}
