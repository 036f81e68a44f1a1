import { existsSync, mkdirSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Keeps compiled code from one start to the next, and for the workers of `server.workers`: a start takes half of its processor time
 * then. Where no directory can be written, or `NODE_COMPILE_CACHE` or `NODE_DISABLE_COMPILE_CACHE` say otherwise, nothing changes.
 *
 * SECURITY: in the user's own directory. Below the one for temporary files another user could have put code there before.
 */
export function keepCompiled(): void {
  try {
    const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
    const path = join(cache, 'express-heimdall');
    // One by one: where the home is missing it stays so, and Node would try for ever to make directories in /proc.
    for (const each of [cache, path]) if (!existsSync(each)) mkdirSync(each, { mode: 0o700 });
    const { directory } = enableCompileCache(path);
    // Worker threads read it from here.
    if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory;
  } catch {
    // An account without a home, or one that is read-only.
  }
}
