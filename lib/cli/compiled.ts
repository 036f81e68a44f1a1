import { existsSync, mkdirSync, statSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Keeps compiled code from one start to the next, and for the workers of `server.workers`: a start takes some 60 % of its
 * processor time then. Where no directory can be written, or `NODE_COMPILE_CACHE` or `NODE_DISABLE_COMPILE_CACHE` say otherwise, nothing changes.
 *
 * SECURITY: in a directory that belongs to the user, and to which no other one writes: what lies there is run. So with `sudo` and the
 * home of another user nothing is kept, and nothing is kept below the directory for temporary files.
 */
export function keepCompiled(): void {
  try {
    const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
    const path = join(cache, 'express-heimdall');
    // One by one: where the home is missing it stays so, and Node would try for ever to make directories in /proc.
    for (const each of [cache, path]) if (!existsSync(each)) mkdirSync(each, { mode: 0o700 });
    if (![cache, path].every(isOwn)) return;
    const { directory } = enableCompileCache(path);
    // Worker threads read it from here.
    if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory;
  } catch {
    // An account without a home, or one that is read-only.
  }
}

/** Whether the directory is of this user alone. */
function isOwn(path: string): boolean {
  const { uid, mode } = statSync(path);
  return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
}
