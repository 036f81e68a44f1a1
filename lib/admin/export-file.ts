import { closeSync, openSync, read as readFd, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const chunk = 65_536;
const readAt = promisify(readFd);

/**
 * The file of an export. Its name goes as soon as the thread that writes it has opened it, so that a process that is killed leaves
 * nothing behind.
 */
export class ExportFile {
  readonly path: string;
  readonly ending: string;
  readonly #handle: number;
  #readers = 0;
  #isOpen = true;
  #isGone = false;

  /** @throws where no file can be made. */
  constructor(id: string, ending: string) {
    this.path = join(tmpdir(), `heimdall-export-${id}.${ending}`);
    this.ending = ending;
    this.#handle = openSync(this.path, 'wx+', 0o600);
  }

  /** What it holds, in chunks. */
  async *read(): AsyncGenerator<Buffer> {
    this.#readers++;
    try {
      for (let at = 0; this.#isOpen; ) {
        const { bytesRead, buffer } = await readAt(this.#handle, Buffer.allocUnsafe(chunk), 0, chunk, at);
        if (bytesRead === 0) return;
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      this.#readers--;
      this.#close();
    }
  }

  /** Removes it, once those that read it are done. */
  remove(): void {
    this.#isGone = true;
    rmSync(this.path, { force: true });
    this.#close();
  }

  /** SECURITY: its number may soon be that of another file, which no reader must see. */
  #close(): void {
    if (!this.#isGone || !this.#isOpen || this.#readers > 0) return;
    this.#isOpen = false;
    closeSync(this.#handle);
  }
}
