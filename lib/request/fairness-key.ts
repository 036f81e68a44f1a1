import type { TokenIdentity } from '../../types/context.d.ts';
import { networkOf } from '../identity/identity.ts';

/** The fields of a request that decide for which caller it is counted. */
export interface Caller {
  readonly key: string | null;
  readonly token: TokenIdentity | null;
  readonly verified: boolean;
  readonly ip: string;
}

/** @returns `key:` and its name, `token:` and its identity, or, for an unverified caller, `address:` and the address (IPv6: its /56). */
export function fairnessKeyOf({ key, token, verified, ip }: Caller): string {
  if (!verified) return `address:${networkOf(ip)}`;
  return key === null ? `token:${token?.id ?? ''}` : `key:${key}`;
}
