import { chownSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Changes the owner of a file that root has created to the owner of its directory. Without it, `sudo heimdall` would create
 * files that the gate, which runs as another user, cannot read.
 */
export function chownToDirectoryOwner(path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  if (uid !== 0) chownSync(path, uid, gid);
}
