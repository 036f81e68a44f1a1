import { chownSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Gives a file that root has made to the owner of its directory: `sudo heimdall` must not make files that the gate, which
 * runs as somebody else, cannot read.
 */
export function adopt(path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  if (uid !== 0) chownSync(path, uid, gid);
}
