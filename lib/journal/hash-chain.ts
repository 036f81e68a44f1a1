import { createPrivateKey, createPublicKey, hash, hkdfSync, randomFillSync, sign, verify, type KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../types/sink.d.ts';
import { parts, type Values } from '../record/record.ts';

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
export type Verifier = (text: string, signature: string, key?: string) => boolean;

/** @param keys base64 of the public keys that are ours. */
export function verifierOf(keys: readonly string[]): Verifier {
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

/** Where the parts of a record's values begin; they stand one behind the other. */
const ofPrivate = parts.plain.length;
const ofBodies = ofPrivate + parts.private.length;

/** Before the end of a token in its mask, `sk-…abcd`: the one character that would make a whole text twice as wide. */
const ellipsis = 0x2026;

/** Values as one text, of which no other values make the same: texts with their length, numbers with an end. */
function listed(values: Values, from: number, to: number): string {
  let text = '';
  for (let at = from; at < to; at++) {
    const value = values[at];
    if (typeof value !== 'string') text += isNone(value) ? '-' : `#${String(value)};`;
    else if (value.charCodeAt(3) === ellipsis && value.startsWith('sk-')) text += `*${value.length - 4}:${value.slice(4)}`;
    else text += listedText(value);
  }
  return text;
}

const listedText = (text: string): string => `${text.length}:${text}`;

/** SQLite makes NULL of a number that is none. */
const isNone = (value: unknown): boolean => value === null || Number.isNaN(value);

/** Digest of what tells who it was. Salted, so that once record and salt are erased nothing can be tried out on it. */
export const privateDigest = (values: Values, salt: string): string => hash('sha256', salt + listed(values, ofPrivate, ofBodies), 'base64url');

/** Digest of what was said; null when nothing was kept of it. */
export function bodyDigest(values: Values, salt: string): string | null {
  for (let at = ofBodies; at < values.length; at++) if (values[at] !== null) return hash('sha256', salt + listed(values, ofBodies, values.length), 'base64url');
  return null;
}

/** The facts of a batch. */
export interface BatchFacts {
  readonly batch: number;
  readonly first: number;
  readonly last: number;
  /** Unix milliseconds. */
  readonly time: number;
}

/** Numbers of a record in {@link BatchDigest}: which of its values are none and which are texts, then the others. */
const numbersEach = 2 + ofPrivate;
const bytesEach = 8;

/** What the records of a batch add to its hash: plain values and digests. Numbers as text would cost each a microsecond. */
export class BatchDigest {
  #text = '';
  #numbers = new DataView(new ArrayBuffer(numbersEach * bytesEach * 16));
  #size = 0;
  count = 0;

  /** Different values never add the same: what is a text and what is none is told by two numbers, one bit for each column. */
  add(values: Values, digest: string, ofBody: string | null): void {
    this.#makeRoom();
    let nones = 0;
    let texts = 0;
    let end = this.#size + 2 * bytesEach;
    for (let at = 0; at < ofPrivate; at++) {
      const value = values[at];
      if (typeof value === 'number' && !Number.isNaN(value)) {
        // There is no -0 in a database.
        this.#numbers.setFloat64(end, value + 0, true);
        end += bytesEach;
      } else if (isNone(value)) nones |= 1 << at;
      else {
        const text = String(value);
        texts |= 1 << at;
        if (typeof value !== 'string') nones |= 1 << at;
        this.#text += listedText(text);
      }
    }
    this.#numbers.setFloat64(this.#size, nones, true);
    this.#numbers.setFloat64(this.#size + bytesEach, texts, true);
    this.#size = end;
    this.#text += listedText(digest) + (ofBody === null ? '-' : listedText(ofBody));
    this.count++;
  }

  #makeRoom(): void {
    const { buffer, byteLength } = this.#numbers;
    if (this.#size + numbersEach * bytesEach <= byteLength) return;
    const larger = new Uint8Array(byteLength * 2);
    larger.set(new Uint8Array(buffer));
    this.#numbers = new DataView(larger.buffer);
  }

  /** Hex SHA-256 over the batch before, the facts and all records: whatever is changed, cut or put in between shows from here on. */
  hash(before: string, { batch, first, last, time }: BatchFacts): string {
    const numbers = hash('sha256', new Uint8Array(this.#numbers.buffer, 0, this.#size));
    return hash('sha256', `heimdall 1\n${before}\n${batch} ${first} ${last} ${time}\n${numbers}\n${this.#text}`);
  }
}

const saltBytes = 16;

/** Fresh salts, each 32 hex digits. */
export function salts(count: number): string[] {
  const hex = randomFillSync(Buffer.allocUnsafe(count * saltBytes)).toString('hex');
  return Array.from({ length: count }, (_, at) => hex.slice(at * 2 * saltBytes, (at + 1) * 2 * saltBytes));
}
