import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** So many characters of a credential in a row are a find: a mask's last four are not. */
const part = 8;
/** As hex they are twice as many. Eight hex digits are in one of ten journals by chance, which are full of digests. */
const hexPart = 2 * part;

/** Where something was found, and which credential it is by its name. */
export interface Find {
  readonly place: string;
  readonly credential: string;
  /** What was found, with some of what stands around it. */
  readonly excerpt: string;
}

/**
 * Looks for credentials wherever they must not be: whole, in parts of 8 characters and more, and as hex, Base64 or percent
 * encoding would write them.
 */
export class Hunt {
  readonly #names = new Map<string, string>();

  /**
   * Looks for this one from now on.
   * @param known beginning of it that says nothing, as `sk-`.
   * @returns the credential.
   */
  add(name: string, credential: string, known = ''): string {
    const telling = credential.startsWith(known) ? credential.slice(known.length) : credential;
    for (const form of spellings(telling)) this.#learn(name, form, part);
    const hex = Buffer.from(telling).toString('hex');
    for (const form of [hex, hex.toUpperCase()]) this.#learn(name, form, hexPart);
    return credential;
  }

  #learn(name: string, form: string, length: number): void {
    for (let at = 0; at + length <= form.length; at++) this.#names.set(form.slice(at, at + length), name);
  }

  /** Makes a credential nobody else has, as long as NewAPI's, and looks for it. */
  make(name: string, prefix = 'sk-', length = 48): string {
    let text = '';
    while (text.length < length) text += randomBytes(64).toString('base64').replace(/[^A-Za-z0-9]/g, '');
    return this.add(name, prefix + text.slice(0, length), prefix);
  }

  /** @param places what they are called, and what they hold. */
  search(places: Iterable<readonly [place: string, content: string | Buffer]>): Find[] {
    const finds: Find[] = [];
    for (const [place, content] of places) {
      const text = typeof content === 'string' ? content : content.toString('latin1');
      const found = new Set<string>();
      for (let at = 0; at + part <= text.length; at++) {
        const credential = this.#names.get(text.slice(at, at + part)) ?? this.#names.get(text.slice(at, at + hexPart));
        if (credential === undefined || found.has(credential)) continue;
        found.add(credential);
        finds.push({ place, credential, excerpt: text.slice(Math.max(0, at - 80), at + 40).replace(/[^\x20-\x7e]/g, '.') });
      }
    }
    return finds;
  }
}

function spellings(text: string): string[] {
  const forms = [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1)];
  // Base64 depends on where in three bytes the text begins; its ends on what stands around.
  for (const before of ['', 'x', 'xx']) for (const encoding of ['base64', 'base64url'] as const) forms.push(Buffer.from(before + text).toString(encoding).slice(4, -4));
  return forms;
}

/**
 * Every file below a directory and what it holds.
 * @param leaves out what it says true of, by the path below the directory.
 */
export function filesBelow(directory: string, leaves: (path: string) => boolean = () => false): [place: string, content: Buffer][] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((path) => join(directory, path))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true && !leaves(relative(directory, path)))
    .flatMap((path): [string, Buffer][] => {
      try {
        return [[path, readFileSync(path)]];
      } catch (error) {
        // It was written under another name until now.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
}
