const nothing = Buffer.alloc(0);
const star = 0x2a;
const percent = 0x25;
const backslash = 0x5c;
const letterU = 0x75;
/** Fewer characters of a credential are found in ordinary words: such as `ollama` stand where a server asks for no key. */
const minLength = 8;
/** Backslashes before one character: text that was escaped three times. */
const mostEscapes = 7;

const mismatch = -1;
const unfinished = -2;

/** Chunks of fewer bytes are looked through as fast byte by byte. */
const shortChunk = 1024;

/**
 * Replaces one credential in bytes that pass in chunks by a mask of the same length, so that their framing stays right. It is
 * found as it is and escaped, in whole or in part, as JSON or percent-encoding does. Of the end of a chunk those bytes are held
 * back that may begin it, and no others.
 */
export class SecretFilter {
  readonly #secret: Buffer;
  #held: Buffer = nothing;

  /** @param credential visible ASCII, as it is sent; it is found without `Bearer ` and `sk-`, too, and not at all below 8 characters. */
  constructor(credential: string) {
    this.#secret = Buffer.from(bareOf(credential));
  }

  /** @returns the bytes that can go on, those held before included. The chunk is not changed. */
  push(chunk: Buffer): Buffer {
    if (this.#secret.length === 0) return chunk;
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = nothing;
    const first = this.#secret[0];
    let clean = bytes;
    // A long chunk without escapes holds it as it is, or begins it at its end: the search is four times faster than the loop.
    const isClean = bytes.length > shortChunk && !bytes.includes(backslash) && !bytes.includes(percent) && !bytes.includes(this.#secret);
    for (let at = isClean ? Math.max(0, bytes.length - this.#secret.length) : 0; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte !== first && byte !== backslash && byte !== percent) continue;
      const end = endOfSecret(bytes, at, this.#secret);
      if (end === mismatch) continue;
      if (end === unfinished) {
        this.#held = Buffer.from(bytes.subarray(at));
        return clean.subarray(0, at);
      }
      if (clean === bytes) clean = Buffer.from(bytes);
      clean.fill(star, at, end);
      at = end - 1;
    }
    return clean;
  }

  /** Bytes are held back. */
  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** @returns the rest: what was held back. Much of the credential is masked, although its end is missing. */
  end(): Buffer {
    const rest = this.#held;
    this.#held = nothing;
    return rest.length < minLength ? rest : rest.fill(star);
  }

  /** Masks the credential in a whole text. */
  whole(bytes: Buffer): Buffer {
    const clean = this.push(bytes);
    return this.#held.length === 0 ? clean : Buffer.concat([clean, this.end()]);
  }
}

/** NewAPI quotes a token of its own without `sk-` and without the channel that may follow its 48 characters. */
function bareOf(credential: string): string {
  const bare = credential.replace(/^Bearer +/i, '').replace(/^sk-/, '').replace(/^([A-Za-z0-9]{48})-.*$/, '$1');
  if (bare.length >= minLength) return bare;
  return credential.length < minLength ? '' : credential;
}

/** @returns the offset behind the secret that begins at `at`, {@link mismatch}, or {@link unfinished} when the bytes end within it. */
function endOfSecret(bytes: Buffer, at: number, secret: Buffer): number {
  let from = at;
  for (const wanted of secret) {
    from = endOfCharacter(bytes, from, wanted);
    if (from < 0) return from;
  }
  return from;
}

/** The same for one character: as it is, `%2F`, `\/` or `\u002f`. */
function endOfCharacter(bytes: Buffer, at: number, wanted: number): number {
  if (at >= bytes.length) return unfinished;
  const byte = bytes[at];
  if (byte === percent) {
    const end = endOfHex(bytes, at + 1, 2, wanted);
    return end === mismatch && wanted === percent ? at + 1 : end;
  }
  if (byte !== backslash) return byte === wanted ? at + 1 : mismatch;
  let next = at;
  while (bytes[next] === backslash && next - at < mostEscapes) next++;
  if (wanted === backslash && next < bytes.length && bytes[next] !== letterU) return next;
  if (next >= bytes.length) return unfinished;
  if (bytes[next] !== letterU) return bytes[next] === wanted ? next + 1 : mismatch;
  const end = endOfHex(bytes, next + 1, 4, wanted);
  return end === mismatch && wanted === backslash ? next : end;
}

/** The offset behind a number in hexadecimal digits, if it is the wanted one. */
function endOfHex(bytes: Buffer, at: number, digits: number, wanted: number): number {
  for (let n = 0; n < digits; n++) {
    const byte = bytes[at + n];
    if (byte === undefined) return unfinished;
    if (hexValue(byte) !== ((wanted >> (4 * (digits - 1 - n))) & 15)) return mismatch;
  }
  return at + digits;
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : mismatch;
}
