import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Config } from '../../types/config.d.ts';
import type { Forgetting } from '../../types/journal.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import { show, whyUnreadable } from '../config/config.ts';
import { expectation } from '../errors.ts';
import { parseAddress, secretFileOf } from '../identity/identity.ts';
import { forget as erase, headFileOf, readHead, schemaVersion, signerOf, verifierOf, type Verdict, verifyJournal } from '../journal/journal.ts';
import { statePath } from '../registry/registry.ts';
import { textOf, UsageError, type Given } from './command.ts';

/** How long the gate may hold the journal's write lock, milliseconds. */
const busy = 10_000;

/** Tells whether a journal is what was written. @returns the exit code. */
export async function verify(given: Given): Promise<number> {
  const { file, secrets } = await journalOf(given);
  // The head first: a gate that runs may sign while we read.
  const head = readHead(headFileOf(file));
  const anchors = [...(head === null ? [] : [head]), ...checkpointsOf(given)];
  const db = open(file, true);
  try {
    const verdict = verifyJournal(db, verifierOf(secrets.map((secret) => signerOf(secret).key)), anchors);
    given.say.out(told(file, verdict, anchors.length));
    return verdict.broken === null ? 0 : 1;
  } finally {
    db.close();
  }
}

function told(file: string, { records, batches, checkpoints, erased, last, broken }: Verdict, anchors: number): string {
  const until = last === null ? '' : ` until ${new Date(last.time).toISOString()}`;
  const read = `${file}: ${records} records in ${batches} batches${until}, ${erased} of them erased on demand, ${checkpoints} checkpoints.\n`;
  if (broken !== null) return `${read}BROKEN: ${broken.what}.\n`;
  return `${read}${anchors === 0 ? 'No checkpoint is kept elsewhere: whether its end was cut cannot be told. Give --events FILE.\n' : ''}Whole.\n`;
}

/** Erases somebody from a journal. @returns the exit code. */
export async function forget(given: Given): Promise<number> {
  const what = whatOf(given);
  const { file, secrets } = await journalOf(given);
  const db = open(file, false);
  try {
    db.exec('PRAGMA secure_delete = ON');
    const erased = erase(db, signerOf(secrets[0] as string), secrets, what, Date.now());
    given.say.out(`${erased} record${erased === 1 ? '' : 's'} erased.\n`);
    given.say.err('Access logs, backups and what sinks have been sent are not reached from here.\n');
    return 0;
  } finally {
    db.close();
  }
}

function whatOf(given: Given): Forgetting {
  const kinds = (['key', 'address', 'device'] as const).filter((kind) => textOf(given, kind) !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) throw new UsageError(`heimdall forget: ${expectation('one of --key, --address and --device', kinds.length === 0 ? 'none' : 'several', 'heimdall forget --address 192.0.2.7')}`);
  const value = textOf(given, kind) as string;
  if (kind === 'address') {
    const address = parseAddress(value);
    if (address === null) throw new UsageError(`--address: ${expectation('an IP address', show(value), '192.0.2.7')}`);
    return { kind, value: address };
  }
  if (kind === 'device' && !/^[0-9a-f]{64}$/i.test(value)) throw new UsageError(`--device: ${expectation('64 hex digits', show(value))}`);
  return { kind, value };
}

/** Copies a journal, and the keys and bans that rest beside it. @returns the exit code. */
export async function backup(given: Given): Promise<number> {
  const { file } = await journalOf(given, false);
  const state = statePath(file);
  const to = given.names[0] as string;
  const copies = [[file, to], ...(existsSync(state) ? [[state, `${to.replace(/\.db$/, '')}.state.db`]] : [])] as [from: string, to: string][];
  for (const [, copy] of copies) if (existsSync(copy)) throw new Error(`FILE: ${expectation('the name of a file that does not exist yet', show(copy), 'heimdall-2026-01-31.db')}`);
  open(file, true).close();
  for (const [from, copy] of copies) {
    copyDatabase(from, copy);
    given.say.out(`${copy} is a copy of ${from}.\n`);
  }
  given.say.err('The install secret is not part of it: the journal is verified with it, and upstream credentials of keys are read with it.\n');
  return 0;
}

/** Copies what is committed, while others write. */
function copyDatabase(from: string, to: string): void {
  const before = process.umask(0o077);
  const db = new DatabaseSync(from, { readOnly: true, timeout: busy });
  try {
    db.prepare('VACUUM INTO ?').run(to);
    chmodSync(to, 0o600);
  } finally {
    db.close();
    process.umask(before);
  }
}

/** @throws Error when there is no journal, or no secret where one is needed. */
async function journalOf(given: Given, needsSecret = true): Promise<{ file: string; secrets: readonly string[] }> {
  const { loadConfig } = await import('../config/config.ts');
  const config = loadConfig(textOf(given, 'config'));
  const file = textOf(given, 'path') ?? config.audit.path;
  if (!existsSync(file)) throw new Error(`audit.path: ${expectation('a journal', `${show(file)}, where there is none`, `heimdall ${needsSecret ? 'verify' : 'backup'} --path data/heimdall.db`)}`);
  const secrets = secretsOf(config, file);
  if (needsSecret && secrets.length === 0) throw new Error(`secret: ${expectation('the install secret the journal was signed with', 'none', 'HEIMDALL_SECRET, or heimdall.secret beside the journal')}`);
  return { file, secrets };
}

/** The configured secret, or the generated one beside the journal or beside that of the configuration. */
function secretsOf({ secret, previousSecrets, audit }: Config, file: string): readonly string[] {
  const generated = [file, audit.path].map(secretFileOf).find(existsSync);
  const own = secret ?? (generated === undefined ? null : readFileSync(generated, 'utf8').trim());
  return own === null || own === '' ? [] : [own, ...previousSecrets];
}

function open(file: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly, timeout: busy });
  try {
    const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
    if (version === schemaVersion) return db;
    throw new Error(`a journal of schema ${schemaVersion}, got one of schema ${version}`);
  } catch (error) {
    db.close();
    throw new Error(`audit.path: expected ${error instanceof Error ? error.message : 'a journal'}`, { cause: error });
  }
}

/** Every checkpoint an event log holds. */
function checkpointsOf(given: Given): Checkpoint[] {
  const file = textOf(given, 'events');
  if (file === undefined) return [];
  try {
    return readFileSync(file, 'utf8').split('\n').filter((line) => line.includes('journal.checkpoint')).map((line) => (JSON.parse(line.slice(line.indexOf('{'))) as { heimdall: Checkpoint }).heimdall);
  } catch (error) {
    throw new UsageError(`--events: ${expectation('an event log in JSON lines', `${show(file)} (${error instanceof SyntaxError ? 'it is none' : whyUnreadable(error)})`)}`);
  }
}
