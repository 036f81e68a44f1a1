import type { TokenIdentity } from '../../types/context.d.ts';
import { networkOf } from '../identity/identity.ts';

/** What decides in whose name a request is counted. */
export interface Caller {
  readonly key: string | null;
  readonly token: TokenIdentity | null;
  readonly verified: boolean;
  readonly ip: string;
}

/** `key:` and its name, `token:` and its identity, or `address:` and the address (IPv6: its /56) of who has proved nothing. */
export function laneOf({ key, token, verified, ip }: Caller): string {
  if (!verified) return `address:${networkOf(ip)}`;
  return key === null ? `token:${token?.id ?? ''}` : `key:${key}`;
}
