import { isIP } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';
import { isNetwork } from '../values/values.ts';
import { parseAddress } from './address.ts';

/**
 * The canonical spelling of an address or a network: bits behind the prefix cleared, a network of one address as that address,
 * IPv4 never as IPv6; null for any other text.
 */
export function networkText(value: string): string | null {
  const [text = '', bits, more] = value.split('/');
  const address = parseAddress(text);
  if (address === null || more !== undefined || (bits !== undefined && !isNetwork(value))) return null;
  const size = isIP(address) === 4 ? 32 : 128;
  // An IPv4-mapped IPv6 address has a prefix of 96 bits.
  const prefix = bits === undefined ? size : Number(bits) - (size === 32 && text.includes(':') ? 96 : 0);
  if (prefix < 0) return null;
  return prefix === size ? address : `${first(address, prefix)}/${prefix}`;
}

/** The prefix length of a network; of an address its full length. */
export function prefixOf(network: string): number {
  const [address = '', bits] = network.split('/');
  return bits === undefined ? (isIP(address) === 4 ? 32 : 128) : Number(bits);
}

/** `::1.2.3.4` in hexadecimal; it is an ordinary IPv6 address (RFC 4291 §2.5.5.1 is deprecated). */
function inHex(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a: string, b: string, c: string, d: string) => `${hex(a, b)}:${hex(c, d)}`);
}

const hex = (high: string, low: string): string => (Number(high) * 256 + Number(low)).toString(16);

/** The first address of a network. */
function first(address: string, prefix: number): string {
  if (isIP(address) === 6) return prefix === 0 ? '::' : (ipKeyGenerator(inHex(address), prefix).split('/', 1)[0] as string);
  const block = 2 ** (32 - prefix);
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const start = Math.floor(number / block) * block;
  return [24, 16, 8, 0].map((shift) => Math.floor(start / 2 ** shift) % 256).join('.');
}
