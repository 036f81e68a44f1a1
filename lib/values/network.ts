import { isIP } from 'node:net';

/** Whether text is an IP address or a CIDR whose prefix fits its family. */
export function isNetwork(value: string): boolean {
  const [address = '', prefix, more] = value.split('/');
  const family = isIP(address);
  if (family === 0 || address.includes('%') || more !== undefined) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
