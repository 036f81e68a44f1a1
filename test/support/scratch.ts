import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];

/** A new directory that goes with this process, and whatever was written there meanwhile. */
export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'heimdall-test-'));
  // Before the listener that ends the process at once.
  if (made.push(path) === 1) process.prependOnceListener('exit', removeAll);
  return path;
}

function removeAll(): void {
  for (const path of made) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // A program of the test may write there yet.
    }
  }
}
