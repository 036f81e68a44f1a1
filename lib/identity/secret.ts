import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';

/**
 * The install secret that keys every stored hash: configured, or generated once beside the journal
 * (`heimdall.secret`, mode 0600). Where nothing can be written it lives in memory and a warning says what that costs.
 */
export function installSecret(config: Config, log: Logger): string {
  if (config.secret !== null) return config.secret;
  const path = join(dirname(config.audit.path), 'heimdall.secret');
  try {
    return read(path) ?? create(path);
  } catch (error) {
    log.warn({ path, code: (error as NodeJS.ErrnoException).code, effect: 'token identities change at every start' }, 'secret.in_memory');
    return randomBytes(32).toString('hex');
  }
}

function read(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return text === '' ? null : text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Two processes may start at once: the one that loses the race reads the winner's. */
function create(path: string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const secret = randomBytes(32).toString('hex');
  try {
    writeFileSync(path, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return secret;
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === 'EEXIST' ? read(path) : null;
    if (other !== null) return other;
    throw error;
  }
}
