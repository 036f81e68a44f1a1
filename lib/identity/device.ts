import type { IncomingHttpHeaders } from 'node:http';
import { hash } from 'node:crypto';
import { Memo, ownText } from '../memo.ts';

interface Device {
  readonly accept: string;
  readonly language: string;
  readonly encoding: string;
  readonly fingerprint: string;
}

/** By agent: SDKs send few distinct header sets. Longer ones are hashed without being remembered. */
const known = new Memo<readonly Device[]>(1_000_000, 2048);
const longest = 2048;
/** Devices remembered of an agent. */
const variants = 8;
const none: readonly Device[] = [];

/** Hex SHA-256 of `User-Agent|Accept|Accept-Language|Accept-Encoding`, a missing header empty. */
export function deviceFingerprint({ 'user-agent': agent = '', accept = '', 'accept-language': language = '', 'accept-encoding': encoding = '' }: IncomingHttpHeaders): string {
  const list = known.get(agent) ?? none;
  for (const device of list) if (device.accept === accept && device.language === language && device.encoding === encoding) return device.fingerprint;
  const text = `${agent}|${accept}|${language}|${encoding}`;
  const fingerprint = hash('sha256', text);
  if (text.length <= longest) known.set(agent, [{ accept: ownText(accept), language: ownText(language), encoding: ownText(String(encoding)), fingerprint }, ...list.slice(0, variants - 1)], text.length);
  return fingerprint;
}
