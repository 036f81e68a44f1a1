import { randomBytes } from 'node:crypto';
import { chmodSync, linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../../types/config.d.ts';
import type { Logger } from '../../types/logger.d.ts';
import { chownToDirectoryOwner, makeDirectory } from '../platform/platform.ts';

const fileName = 'heimdall.secret';

/** The file of a generated install secret: beside the journal. */
export const secretFileOf = (journal: string): string => join(dirname(journal), fileName);

/**
 * The install secret, the key of every stored hash: configured, or generated once beside the journal (`heimdall.secret`,
 * mode 0600). Without a journal it is kept in memory only; with a warning where the file cannot be written.
 */
export function installSecret(config: Config, log: Logger): string {
  if (config.secret !== null) return config.secret;
  if (!config.audit.enabled) return randomBytes(32).toString('hex');
  const path = secretFileOf(config.audit.path);
  try {
    return read(path, log) ?? create(path, log);
  } catch (error) {
    log.warn({ path, code: (error as NodeJS.ErrnoException).code, effect: 'token identities change at every start' }, 'secret.in_memory');
    return randomBytes(32).toString('hex');
  }
}

function read(path: string, log: Logger): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    if (text === '') return null;
    restrictMode(path, log);
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** With the secret, records can be matched to tokens. A copy or a backup may have widened the mode of its file. */
function restrictMode(path: string, log: Logger): void {
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) === 0) return;
  try {
    chmodSync(path, 0o600);
  } catch {
    log.warn({ path, mode: mode.toString(8), fix: `chmod 600 ${path}` }, 'secret.exposed');
  }
}

/** Two processes may start at once: the file appears complete or not at all, and the second process reads the secret of the first. */
function create(path: string, log: Logger): string {
  makeDirectory(dirname(path));
  const secret = randomBytes(32).toString('hex');
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(draft, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    chownToDirectoryOwner(draft);
    linkSync(draft, path);
    return secret;
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === 'EEXIST' ? read(path, log) : null;
    if (other !== null) return other;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
