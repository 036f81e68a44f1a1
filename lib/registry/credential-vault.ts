import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const nonceLength = 12;
const tagLength = 16;

/**
 * Encrypts stored upstream credentials: AES-256-GCM (NIST SP 800-38D) under a key that HKDF (RFC 5869) derives from the
 * install secret, bound to the name of their key. Credentials encrypted under an earlier secret can still be decrypted.
 */
export class CredentialVault {
  readonly #secrets: () => readonly string[];
  #keys: readonly Buffer[] | null = null;

  /** @param secrets the install secret, then previous ones; called at the first use. */
  constructor(secrets: () => readonly string[]) {
    this.#secrets = secrets;
  }

  /** @param owner name of the gateway key that the credential belongs to. */
  seal(credential: string, owner: string): string {
    const [key] = this.#derived();
    const nonce = randomBytes(nonceLength);
    const cipher = createCipheriv('aes-256-gcm', key as Buffer, nonce).setAAD(Buffer.from(owner));
    const sealed = Buffer.concat([cipher.update(credential, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
  }

  /** @returns null when none of the secrets decrypts it. */
  open(sealed: string, owner: string): string | null {
    const bytes = Buffer.from(sealed, 'base64url');
    for (const key of this.#derived()) {
      const opened = tryOpen(bytes, key, owner);
      if (opened !== null) return opened;
    }
    return null;
  }

  #derived(): readonly Buffer[] {
    return (this.#keys ??= this.#secrets().map((secret) => Buffer.from(hkdfSync('sha256', secret, '', 'heimdall upstream_credential', 32))));
  }
}

function tryOpen(bytes: Buffer, key: Buffer, owner: string): string | null {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceLength), { authTagLength: tagLength });
    decipher.setAAD(Buffer.from(owner)).setAuthTag(bytes.subarray(nonceLength, nonceLength + tagLength));
    return decipher.update(bytes.subarray(nonceLength + tagLength), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return null;
  }
}
