import { createHmac, createPrivateKey, createPublicKey, hash, hkdfSync, randomFillSync, sign, timingSafeEqual, verify, type KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../types/sink.d.ts';
import { addedColumns, parts, textDigester, type Covered, type Values } from '../record/record.ts';

/** DER of an Ed25519 key without its 32 bytes (RFC 8410 §7, §4). */
const privateDer = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicDer = Buffer.from('302a300506032b6570032100', 'hex');
/** Bytes of an Ed25519 signature. */
const signatureBytes = 64;

/** The hash before the first batch, and before the first entry of the history. */
export const origin = '0'.repeat(64);
/** Takes the place of the signature of a checkpoint where a batch has none. */
export const noCheckpoint = '-';

/** Signs the state of the journal by keys that HKDF (RFC 5869) derives from the install secret. */
export interface Signer {
  /** Base64 of the Ed25519 public key, 32 bytes. */
  readonly key: string;
  /** @returns base64 of an Ed25519 signature. */
  sign(text: string): string;
  /** Authenticates a row that changes often. @returns base64url of an HMAC-SHA256. */
  mac(text: string): string;
}

/** @param secret the install secret. */
export function signerOf(secret: string): Signer {
  const { own, key } = signingKey(secret);
  const macKey = macKeyOf(secret);
  return { key: base64Of(key), sign: (text) => sign(null, Buffer.from(text), own).toString('base64'), mac: (text) => macOf(macKey, text) };
}

function signingKey(secret: string): { own: KeyObject; key: KeyObject } {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', 'heimdall journal', 32));
  const own = createPrivateKey({ key: Buffer.concat([privateDer, seed]), format: 'der', type: 'pkcs8' });
  return { own, key: createPublicKey(own) };
}

const base64Of = (key: KeyObject): string => key.export({ format: 'der', type: 'spki' }).subarray(publicDer.length).toString('base64');
const macKeyOf = (secret: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', 'heimdall journal rows', 32));
const macOf = (key: Buffer, text: string): string => createHmac('sha256', key).update(text).digest('base64url');

/** Checks signatures and MACs by the install secret and the secrets before it. */
export interface Verifier {
  /** @param key base64 of the public key that must have signed; without it, any of the known keys. */
  isSigned(text: string, signature: string, key?: string): boolean;
  isAuthentic(text: string, mac: string): boolean;
  /** Whether a digest is that of a long text. */
  isDigest(digest: string, covered: Covered): boolean;
}

/** @param secrets the install secret and `previous_secrets`. */
export function verifierOf(secrets: readonly string[]): Verifier {
  const keys = new Map(secrets.map((secret) => signingKey(secret).key).map((key) => [base64Of(key), key]));
  const macKeys = secrets.map(macKeyOf);
  const digesters = secrets.map(textDigester);
  return {
    isSigned(text, signature, key) {
      const bytes = Buffer.from(signature, 'base64');
      // Of the spellings that decode to the same bytes only ours is accepted.
      if (bytes.length !== signatureBytes || bytes.toString('base64') !== signature) return false;
      const signed = (by: KeyObject | undefined): boolean => by !== undefined && verify(null, Buffer.from(text), by, bytes);
      return key === undefined ? [...keys.values()].some(signed) : signed(keys.get(key));
    },
    isDigest: (digest, covered) => digesters.some((digestOf) => digestOf(covered) === digest),
    isAuthentic(text, mac) {
      const given = Buffer.from(mac);
      return macKeys.some((key) => {
        const own = Buffer.from(macOf(key, text));
        return own.length === given.length && timingSafeEqual(own, given);
      });
    },
  };
}

/** The text of each kind of signature and MAC. */
export const signedText = {
  batch: (batch: number, hashed: string): string => `heimdall batch ${batch} ${hashed}`,
  checkpoint: ({ batch, record, time, hash: hashed }: Omit<Checkpoint, 'key' | 'signature'>): string => `heimdall checkpoint ${batch} ${record} ${time} ${hashed}`,
  mark: (name: string, batch: number, record: number, hashed: string): string => `heimdall mark ${name} ${batch} ${record} ${hashed}`,
  erasure: (erasure: number, time: number, kind: string, subject: string, records: number, ids: string): string => `heimdall erasure ${erasure} ${time} ${kind} ${subject} ${records} ${ids}`,
  history: (entry: number, hashed: string): string => `heimdall history ${entry} ${hashed}`,
  cursor: (sink: string, record: number): string => `heimdall cursor ${sink} ${record}`,
  session: (session: string, seq: number): string => `heimdall session ${session} ${seq}`,
  intent: (id: string, session: string, draft: string): string => `heimdall intent ${listedText(id)}${listedText(session)}${draft}`,
};

/** Positions in a record's values at which its private columns and its bodies begin. */
const ofPrivate = parts.plain.length;
const ofBodies = ofPrivate + parts.private.length;

/** The `…` in the mask of a token, `sk-…abcd`: one character beyond Latin-1 would make the whole text twice as wide. */
const ellipsis = 0x2026;

/** Values as one text. Different values never give the same text: texts are preceded by their length, numbers end with a semicolon. */
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

const addedPrivate = parts.private.filter((name) => addedColumns.has(name)).length;
const addedBody = parts.body.filter((name) => addedColumns.has(name)).length;

/** The end of a part. Records of schema 1 were digested without the columns that were added: at its end they are left out where there is nothing in them. */
function endOf(values: Values, to: number, added: number): number {
  let end = to;
  while (end > to - added && isNone(values[end - 1])) end--;
  return end;
}

/** SQLite stores NaN as NULL. */
const isNone = (value: unknown): boolean => value === null || Number.isNaN(value);

/** Digest of the columns that identify the caller. Salted, so that nothing can be guessed from it once record and salt are erased. */
export const privateDigest = (values: Values, salt: string): string => hash('sha256', salt + listed(values, ofPrivate, endOf(values, ofBodies, addedPrivate)), 'base64url');

/** Digest of the bodies; null when none was kept. */
export function bodyDigest(values: Values, salt: string): string | null {
  for (let at = ofBodies; at < values.length; at++) if (values[at] !== null) return hash('sha256', salt + listed(values, ofBodies, endOf(values, values.length, addedBody)), 'base64url');
  return null;
}

/** Digest of a fact that was learnt after its record was written. */
export const factDigest = (name: string, value: string, salt: string): string => hash('sha256', salt + listedText(name) + listedText(value), 'base64url');

/** The facts of a batch. A batch without records has a `first` that follows its `last`. */
export interface BatchFacts {
  readonly batch: number;
  readonly first: number;
  readonly last: number;
  /** Unix milliseconds. */
  readonly time: number;
}

/** The state a batch continues: later changes to any of it change the batch's hash. */
export interface BatchLinks {
  /** Hash of the batch before. */
  readonly before: string;
  /** Hash of the history's last entry. */
  readonly history: string;
  /** Signature of the checkpoint of the batch before, or {@link noCheckpoint}. */
  readonly checkpoint: string;
}

/** Numbers of a record in a {@link BatchDigest}: which values are none, which are texts, then the other values. */
const numbersEach = 2 + ofPrivate;
const bytesEach = 8;

/** Collects what the hash of a batch covers of its records and facts. Numbers stay binary: as text they would cost 1 µs a record. */
export class BatchDigest {
  #text = '';
  #facts = '';
  #numbers = new DataView(new ArrayBuffer(numbersEach * bytesEach * 16));
  #size = 0;
  /** Records added. */
  count = 0;

  /** Adds a record. Different values never add the same: two numbers tell, by one bit for each column, which are texts and which none. */
  add(values: Values, digest: string, ofBody: string | null): void {
    this.#makeRoom();
    let nones = 0;
    let texts = 0;
    let end = this.#size + 2 * bytesEach;
    for (let at = 0; at < ofPrivate; at++) {
      const value = values[at];
      if (typeof value === 'number' && !Number.isNaN(value)) {
        // SQLite does not store -0.
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

  /** Adds a fact that was learnt about an earlier record. */
  addFact(fact: number, record: number, digest: string): void {
    this.#facts += `${fact} ${record} ${digest}\n`;
  }

  #makeRoom(): void {
    const { buffer, byteLength } = this.#numbers;
    if (this.#size + numbersEach * bytesEach <= byteLength) return;
    const larger = new Uint8Array(byteLength * 2);
    larger.set(new Uint8Array(buffer));
    this.#numbers = new DataView(larger.buffer);
  }

  /** Hex SHA-256 over the links, the facts of the batch, and all its records. Any change, cut or insertion changes every later hash. */
  hash({ before, history, checkpoint }: BatchLinks, { batch, first, last, time }: BatchFacts): string {
    return hash('sha256', `heimdall 2\n${before}\n${batch} ${first} ${last} ${time}\n${history}\n${checkpoint}\n${this.#numbersHash()}\n${this.#facts}\n${this.#text}`);
  }

  /** The hash of a batch that was written under schema 1. */
  hashOfSchema1(before: string, { batch, first, last, time }: BatchFacts): string {
    return hash('sha256', `heimdall 1\n${before}\n${batch} ${first} ${last} ${time}\n${this.#numbersHash()}\n${this.#text}`);
  }

  #numbersHash(): string {
    return hash('sha256', new Uint8Array(this.#numbers.buffer, 0, this.#size));
  }
}

/** An entry of the journal's history. */
export interface HistoryFacts {
  readonly entry: number;
  /** Unix milliseconds. */
  readonly time: number;
  /**
   * `migrated`: the schema was migrated. `restored`: a backup became the journal. `erased`: personal data was erased.
   * `unattested`: the head file was missing when the gate started. `tampered`: the journal differed from what was signed.
   */
  readonly kind: HistoryKind;
  /** The batch that closes the entry. */
  readonly batch: number;
  readonly detail: string;
}

export type HistoryKind = 'migrated' | 'restored' | 'erased' | 'unattested' | 'tampered';

/** Hex SHA-256 over an entry of the history and all before it. */
export const historyHash = (before: string, { entry, time, kind, batch, detail }: HistoryFacts): string =>
  hash('sha256', `heimdall history 1\n${before}\n${entry} ${time} ${kind} ${batch}\n${detail}`);

/** Whole characters of base64 each: 120 bits. */
const saltBytes = 15;
const saltLength = 20;

/** Fresh salts. */
export function salts(count: number): string[] {
  const all = randomFillSync(Buffer.allocUnsafe(count * saltBytes)).toString('base64url');
  return Array.from({ length: count }, (_, at) => all.slice(at * saltLength, (at + 1) * saltLength));
}
