import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import type { Config } from '../../types/config.d.ts';
import type { Forgetting } from '../../types/journal.d.ts';
import type { Checkpoint } from '../../types/sink.d.ts';
import { forgetFindings } from '../anomaly/anomaly.ts';
import { forgetSpending } from '../limits/limits.ts';
import { show, whyUnreadable } from '../values/values.ts';
import { expectation } from '../errors.ts';
import { parseAddress, secretFileOf } from '../identity/identity.ts';
import { erasedAmong, forget as erase, forgetSums, headFileOf, migrate, namesOf, readHead, restoreJournal, schemaVersion, signerOf, verifierOf, type Verdict, verifyJournal, versionOf } from '../journal/journal.ts';
import { statePath } from '../registry/registry.ts';
import { openRegistry } from './registry.ts';
import { journalPath, printJson, textOf, UsageError, type Invocation, type Output } from './command.ts';
import { systemClock } from '../platform/platform.ts';

/** How long a command waits for the journal's write lock, in milliseconds. */
const lockTimeout = 10_000;
/** How often the size of a copy is looked at, in milliseconds. */
const drawEvery = 200;

/** Checks the integrity of a journal. @returns the exit code: 0 whole, 1 broken, 3 when it cannot be told. */
export async function verify(invocation: Invocation): Promise<number> {
  const { file, secrets } = await journalOf(invocation);
  // The head is read first, because a running gate may sign while the journal is read.
  const head = readHead(headFileOf(file));
  const checkpoints = checkpointsOf(invocation);
  const db = open(file, true);
  try {
    const verdict = verifyJournal(db, verifierOf(secrets), { head, checkpoints, told: (done, total) => invocation.output.progress(done, total) });
    const code = verdict.broken !== null ? 1 : verdict.uncertain !== null ? 3 : 0;
    if (invocation.values['json']) printJson(invocation, { file, whole: code === 0, ...verdict });
    else invocation.output.out(reportOf(file, verdict), code === 0 ? 'green' : 'red');
    return code;
  } finally {
    db.close();
  }
}

function reportOf(file: string, { records, batches, checkpoints, erased, last, restored, broken, uncertain }: Verdict): string {
  const until = last === null ? '' : ` until ${new Date(last.time).toISOString()}`;
  const read = `${file}: ${records} records in ${batches} batches${until}, ${erased} of them erased on demand, ${checkpoints} checkpoints.\n`;
  if (broken !== null) return `${read}BROKEN: ${broken.what}.\n`;
  if (uncertain !== null) return `${read}CANNOT BE TOLD: what is there is whole, but ${uncertain}. Compare it with the checkpoints of an event log (--events FILE), or accept it (heimdall backup FILE, then heimdall restore FILE).\n`;
  return `${read}Whole${restored === null ? '' : ` since ${new Date(restored).toISOString()}, when a backup was restored`}.\n`;
}

/** Erases personal data from a journal. @returns the exit code. */
export async function forget(invocation: Invocation): Promise<number> {
  const what = requestOf(invocation);
  const { config, file, secrets } = await journalOf(invocation);
  const db = open(file, false);
  try {
    const signer = signerOf(secrets[0] as string);
    const now = systemClock.now();
    db.exec('PRAGMA secure_delete = ON');
    migrate(db, signer, now);
    const erased = erase(db, what, { signer, secrets, now });
    const ids = namesOf(what, secrets);
    forgetSums(file, ids);
    forgetSpending(dirname(file), ids);
    const findings = await forgetState(config, file, { ...what, ids, erasedAmong: (requestIds) => erasedAmong(db, requestIds) }, invocation);
    if (invocation.values['json']) printJson(invocation, { file, erased, findings });
    else invocation.output.out(`${erased} record${erased === 1 ? '' : 's'} erased.\n${findings === 0 ? '' : `${findings} finding${findings === 1 ? '' : 's'} erased, with what they did.\n`}`);
    invocation.output.err('Access logs, backups, bans, keys and data at sinks are not changed.\n');
    return 0;
  } finally {
    db.close();
  }
}

/** Erases findings and noted tokens, in the store of the gates that write this journal. */
async function forgetState(config: Config, file: string, what: Parameters<typeof forgetFindings>[1], { output }: Invocation): Promise<number> {
  const { registry, close } = await openRegistry({ ...config, audit: { ...config.audit, path: file } }, output);
  try {
    if (registry.problem !== null) throw new Error(`The records are erased. Findings cannot be read: ${registry.problem}`);
    return await forgetFindings(registry, what);
  } finally {
    await close();
  }
}

function requestOf(invocation: Invocation): Forgetting {
  const kinds = (['key', 'address', 'device'] as const).filter((kind) => textOf(invocation, kind) !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) throw new UsageError(`heimdall forget: ${expectation('one of --key, --address and --device', kinds.length === 0 ? 'none' : 'several', 'heimdall forget --address 192.0.2.7')}`);
  const value = textOf(invocation, kind) as string;
  if (kind === 'address') {
    const address = parseAddress(value);
    if (address === null) throw new UsageError(`--address: ${expectation('an IP address', show(value), '192.0.2.7')}`);
    return { kind, value: address };
  }
  if (kind === 'device' && !/^[0-9a-f]{64}$/i.test(value)) throw new UsageError(`--device: ${expectation('64 hex digits', show(value))}`);
  return { kind, value };
}

/** Copies a journal, and the keys and bans in the same directory. @returns the exit code. */
export async function backup(invocation: Invocation): Promise<number> {
  const { file } = await journalOf(invocation, false);
  const state = statePath(file);
  const to = invocation.names[0] as string;
  const copies = [[file, to], ...(existsSync(state) ? [[state, `${to.replace(/\.db$/, '')}.state.db`]] : [])] as [from: string, to: string][];
  for (const [, copy] of copies) if (existsSync(copy)) throw new Error(`FILE: ${expectation('the name of a file that does not exist yet', show(copy), 'heimdall-2026-01-31.db')}`);
  open(file, true).close();
  // The head file is copied first: the copy of the journal contains at least the state it describes.
  if (existsSync(headFileOf(file))) copyFileSync(headFileOf(file), headFileOf(to));
  for (const [from, copy] of copies) {
    await copyDatabase(from, copy, invocation.output);
    if (!invocation.values['json']) invocation.output.out(`${copy} is a copy of ${from}.\n`);
  }
  if (invocation.values['json']) printJson(invocation, { copies: copies.map(([original, copy]) => ({ of: original, file: copy })) });
  invocation.output.err('The install secret is not copied. It is required to verify the journal and to decrypt upstream credentials of keys.\n');
  return 0;
}

/** Makes a backup the journal. @returns the exit code. */
export async function restore(invocation: Invocation): Promise<number> {
  const { file, secrets } = await journalOf(invocation, true, false);
  const backupFile = invocation.names[0] as string;
  if (!existsSync(backupFile)) throw new Error(`FILE: ${expectation('a backup', `${show(backupFile)} (no such file)`, 'heimdall restore heimdall-2026-01-31.db')}`);
  open(backupFile, true, 'FILE').close();
  const { lastId, replaced } = restoreJournal(backupFile, file, secrets, systemClock.now(), (done, total) => invocation.output.progress(done, total));
  if (invocation.values['json']) printJson(invocation, { file, backup: backupFile, last_id: lastId, replaced });
  else invocation.output.out(`${file} is a copy of ${backupFile}, up to record ${lastId}.\n${replaced === null ? '' : `The journal before it is ${replaced}.\n`}`);
  invocation.output.err(`Keys and bans are not changed. To restore them too, copy ${backupFile.replace(/\.db$/, '')}.state.db to ${statePath(file)} while the gate is stopped.\n`);
  return 0;
}

/** Copies the committed state of a database that other processes may write to. */
async function copyDatabase(from: string, to: string, { progress }: Output): Promise<void> {
  const before = process.umask(0o077);
  const total = statSync(from).size;
  const watch = setInterval(() => progress(Math.min(total - 1, statSync(to, { throwIfNoEntry: false })?.size ?? 0), total), drawEvery);
  try {
    const worker = new Worker(new URL(`./copy-worker${extname(import.meta.url)}`, import.meta.url), { workerData: { from, to, timeout: lockTimeout } });
    await once(worker, 'exit');
    chmodSync(to, 0o600);
  } finally {
    clearInterval(watch);
    progress(total, total);
    process.umask(before);
  }
}

/** The journal and its secrets. @throws Error when there is no journal, or no secret, where they are required. */
async function journalOf(invocation: Invocation, needsSecret = true, needsFile = true): Promise<{ config: Config; file: string; secrets: readonly string[] }> {
  const { loadConfig } = await import('../config/config.ts');
  const config = loadConfig(textOf(invocation, 'config'));
  const file = textOf(invocation, 'path') ?? journalPath(config);
  if (needsFile && !existsSync(file)) throw new Error(`audit.path: ${expectation('a journal', `${show(file)} (no such file)`, `heimdall ${needsSecret ? 'verify' : 'backup'} --path data/heimdall.db`)}`);
  const secrets = secretsOf(config, file);
  if (needsSecret && secrets.length === 0) throw new Error(`secret: ${expectation('the install secret the journal was signed with', 'none', 'HEIMDALL_SECRET, or heimdall.secret beside the journal')}`);
  return { config, file, secrets };
}

/** The configured secret, else the generated one in the directory of the journal or of `audit.path`. */
function secretsOf({ secret, previousSecrets, audit }: Config, file: string): readonly string[] {
  const generated = [file, audit.path].map(secretFileOf).find(existsSync);
  const own = secret ?? (generated === undefined ? null : readFileSync(generated, 'utf8').trim());
  return own === null || own === '' ? [] : [own, ...previousSecrets];
}

/** @param name of the option or argument that says which file, for errors. */
function open(file: string, readOnly: boolean, name = 'audit.path'): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(file, { readOnly, timeout: lockTimeout });
    const version = versionOf(db);
    if (version > 0 && version <= schemaVersion) return db;
    throw new Error(`schema ${version}`);
  } catch (error) {
    db?.close();
    throw new Error(`${name}: ${expectation(`a journal of schema 1 to ${schemaVersion}`, `${show(file)} (${error instanceof Error ? error.message : 'unreadable'})`)}`, { cause: error });
  }
}

/** Every checkpoint in an event log. @throws UsageError when there is none: nothing would be compared. */
function checkpointsOf(invocation: Invocation): Checkpoint[] {
  const file = textOf(invocation, 'events');
  if (file === undefined) return [];
  const wrong = (what: string, why: string): UsageError => new UsageError(`--events: ${expectation(what, `${show(file)} (${why})`)}`);
  let found: Checkpoint[] = [];
  try {
    found = readFileSync(file, 'utf8').split('\n').filter((line) => line.includes('journal.checkpoint')).map((line) => (JSON.parse(line.slice(line.indexOf('{'))) as { heimdall: Checkpoint }).heimdall);
  } catch (error) {
    throw wrong('an event log in JSON lines', error instanceof SyntaxError ? 'invalid JSON' : whyUnreadable(error));
  }
  if (found.length === 0 || !found.every((each) => typeof each?.hash === 'string')) throw wrong('an event log with the checkpoints of a journal', found.length === 0 ? 'none in it' : 'something else by their name');
  return found;
}
