import { createPrivateKey, createPublicKey, hash, hkdfSync, randomFillSync, sign, verify, type KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../types/sink.d.ts';
import { parts, type ColumnName, type Draft } from './table.ts';

/** DER of an Ed25519 key without its 32 bytes (RFC 8410 §7, §4). */
const privateDer = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicDer = Buffer.from('302a300506032b6570032100', 'hex');

/** The hash before the first batch. */
export const origin = '0'.repeat(64);

/** Signs the journal's state: an Ed25519 key that HKDF (RFC 5869) derives from the install secret. */
export interface Signer {
  /** Base64 of the public key, 32 bytes. */
  readonly key: string;
  /** @returns base64. */
  sign(text: string): string;
}

/** @param secret the install secret. */
export function signerOf(secret: string): Signer {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', 'heimdall journal', 32));
  const own = createPrivateKey({ key: Buffer.concat([privateDer, seed]), format: 'der', type: 'pkcs8' });
  const key = createPublicKey(own).export({ format: 'der', type: 'spki' }).subarray(publicDer.length).toString('base64');
  return { key, sign: (text) => sign(null, Buffer.from(text), own).toString('base64') };
}

/** Whether a text carries the signature of one of some keys. */
export type Trust = (text: string, signature: string, key?: string) => boolean;

/** @param keys base64 of the public keys that are ours. */
export function trusting(keys: readonly string[]): Trust {
  const known = new Map<string, KeyObject>(keys.map((key) => [key, createPublicKey({ key: Buffer.concat([publicDer, Buffer.from(key, 'base64')]), format: 'der', type: 'spki' })]));
  return (text, signature, key) => {
    const bytes = Buffer.from(signature, 'base64');
    const signed = (by: KeyObject | undefined): boolean => by !== undefined && verify(null, Buffer.from(text), by, bytes);
    return key === undefined ? [...known.values()].some(signed) : signed(known.get(key));
  };
}

/** What each kind of signature is over. */
export const signedText = {
  batch: (batch: number, hashed: string): string => `heimdall batch ${batch} ${hashed}`,
  checkpoint: ({ batch, record, time, hash: hashed }: Omit<Checkpoint, 'key' | 'signature'>): string => `heimdall checkpoint ${batch} ${record} ${time} ${hashed}`,
  mark: (name: string, batch: number, record: number, hashed: string): string => `heimdall mark ${name} ${batch} ${record} ${hashed}`,
  erasure: (erasure: number, time: number, kind: string, subject: string, records: number, ids: string): string => `heimdall erasure ${erasure} ${time} ${kind} ${subject} ${records} ${ids}`,
};

/** A record as the chain sees it: values by column. */
export type Values = Readonly<Record<ColumnName, unknown>>;

/** Values as one text, of which no other values make the same: texts with their length, numbers with an end. */
function listed(values: Values, names: readonly ColumnName[]): string {
  let text = '';
  for (const name of names) {
    const value = values[name];
    // SQLite makes NULL of a number that is none.
    text += value === null || Number.isNaN(value) ? '-' : typeof value === 'string' ? `${value.length}:${value}` : `#${String(value)};`;
  }
  return text;
}

/** Digest of what tells who it was. Salted, so that once record and salt are erased nothing can be tried out on it. */
export const privateDigest = (values: Values, salt: string): string => hash('sha256', salt + listed(values, parts.private), 'base64url');

/** Digest of what was said; null when nothing was kept of it. */
export function bodyDigest(values: Values, salt: string): string | null {
  return parts.body.every((name) => values[name] === null) ? null : hash('sha256', salt + listed(values, parts.body), 'base64url');
}

/** One record's share of its batch's hash. */
export const leaf = (values: Values, digest: string, ofBody: string | null): string => `${listed(values, parts.plain)}\n${digest}\n${ofBody ?? ''}`;

/** The facts of a batch. */
export interface BatchFacts {
  readonly batch: number;
  readonly first: number;
  readonly last: number;
  /** Unix milliseconds. */
  readonly time: number;
}

/** Hex SHA-256 over the batch before, the facts and all leaves: whatever is changed, cut or put in between shows from here on. */
export function batchHash(before: string, { batch, first, last, time }: BatchFacts, leaves: readonly string[]): string {
  return hash('sha256', `heimdall 1\n${before}\n${batch} ${first} ${last} ${time}\n${leaves.join('\n')}`);
}

/** A draft with what the chain needs of it. */
export interface Sealed {
  readonly draft: Draft;
  readonly salt: string;
  readonly digest: string;
  readonly bodyDigest: string | null;
}

const saltBytes = 16;

/** Fresh salts, each 32 hex digits. */
export function salts(count: number): string[] {
  const hex = randomFillSync(Buffer.allocUnsafe(count * saltBytes)).toString('hex');
  return Array.from({ length: count }, (_, at) => hex.slice(at * 2 * saltBytes, (at + 1) * 2 * saltBytes));
}
