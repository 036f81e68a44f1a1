import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Ban, NewBan } from '../../types/registry.d.ts';
import { show } from '../values/values.ts';
import { AddressSet, networkText, prefixOf } from '../identity/identity.ts';
import { invalid } from './invalid.ts';

/** Shortest accepted prefixes: a shorter one bans a large part of the internet and is usually a typing error. */
const shortestPrefix = { 4: 8, 6: 16 } as const;
const longestReason = 500;
const tokenIdentity = /^[0-9a-f]{16}$/;
const anything = 'an address, a CIDR, the name of a key or of a user (user:ID), or the 16 hex digits of a token identity';
const known = `${anything} (a name that is not among the keys needs the kind "key")`;

/**
 * Reads and checks a new ban.
 * @param knows whether a key of that name exists; an unknown name needs `kind: 'key'`.
 * @param now Unix milliseconds.
 * @throws HeimdallError `invalid_value` naming the field.
 */
export function readBan(input: NewBan, knows: (name: string) => boolean, now: number): Ban {
  const { value, reason = '', expires = null, force = false } = input;
  if (typeof value !== 'string' || value.trim() === '') throw invalid('value', anything, show(value), '203.0.113.7');
  if (typeof reason !== 'string' || reason.length > longestReason || /\p{Cc}/u.test(reason)) throw invalid('reason', `one line of at most ${longestReason} characters`, `${String(reason).length} characters`);
  if (expires !== null && !(Number.isSafeInteger(expires) && expires > now)) throw invalid('expires', 'a moment to come, in Unix milliseconds', show(expires));
  const named = value.trim();
  const kind = input.kind ?? kindOf(named);
  // Only the host application knows its users.
  if (kind === 'key' && input.kind === undefined && !named.startsWith('user:') && !knows(named)) throw invalid('value', known, show(named), '203.0.113.7');
  return { id: randomBytes(4).toString('hex'), kind, value: normal(named, kind, force), reason, created: now, expires };
}

/** The canonical spelling of a banned value; the value itself where it is not an address. */
export function spelling(value: string): string {
  return networkText(value) ?? value;
}

function kindOf(value: string): Ban['kind'] {
  if (networkText(value) !== null) return 'address';
  return tokenIdentity.test(value) ? 'token' : 'key';
}

function normal(value: string, kind: Ban['kind'], force: boolean): string {
  switch (kind) {
    case 'address':
      return network(value, force);
    case 'token':
      if (!tokenIdentity.test(value)) throw invalid('value', 'the 16 hex digits of a token identity, as records show it', show(value), '9f86d081884c7d65');
      return value;
    case 'key':
      return value;
    default:
      throw invalid('kind', 'address, key or token', show(kind));
  }
}

function network(value: string, force: boolean): string {
  const found = networkText(value);
  if (found === null) throw invalid('value', 'an IP address or a CIDR', show(value), '203.0.113.0/24');
  const family = isIP(found.split('/', 1)[0] as string) === 4 ? 4 : 6;
  const shortest = shortestPrefix[family];
  if (!force && prefixOf(found) < shortest) throw invalid('value', `a prefix of /${shortest} or longer, unless forced, since a shorter one bans a large part of the internet`, show(found), family === 4 ? '203.0.113.0/24' : '2001:db8::/48');
  if (!force && isLoopback(found)) throw invalid('value', 'an address of another machine, unless forced, since proxies and health checks of this one call from there', show(found), '203.0.113.7');
  return found;
}

const loopback = new AddressSet(['loopback']);

const isLoopback = (found: string): boolean => {
  const covered = new AddressSet([found]);
  return loopback.has(found.split('/', 1)[0] as string) || covered.has('127.0.0.1') || covered.has('::1');
};
