import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { tmpdir } from 'node:os';
import pg from 'pg';
import { freePort } from './ports.ts';

const password = 'a-Passw0rd-of-Postgres';

/** A PostgreSQL of one's own. */
export interface TestPostgres {
  /** As its superuser, password included. */
  readonly url: string;
  /** The URL of another role, or of another database. */
  urlOf(role: string, password: string, database?: string): string;
  /** Runs SQL as the superuser, in the database `postgres` unless told otherwise. */
  query<Row extends object>(sql: string, values?: unknown[], database?: string): Promise<Row[]>;
  /** Ends it: connections are cut, what was committed is kept. */
  stop(): Promise<void>;
  /** Starts it again at the same port. */
  start(): Promise<void>;
  /** Stops its processes: connections stay, answers do not come. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

const programs = binaries();

/** Why tests that need PostgreSQL are skipped; false where it is there. Where CI says it must be there they fail instead. */
export const withoutPostgres: string | false = programs !== null || process.env['CI'] ? false : 'no PostgreSQL on this machine';

/** Debian keeps them out of the path. */
function binaries(): string | null {
  const places = [...globSync('/usr/lib/postgresql/*/bin').sort().reverse(), ...(process.env['PATH'] ?? '').split(delimiter)];
  return places.find((place) => existsSync(join(place, 'initdb')) && existsSync(join(place, 'postgres'))) ?? null;
}

/** PostgreSQL does not run as root. */
function owner(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/**
 * Starts a PostgreSQL on a free port of 127.0.0.1, in a directory that goes with it.
 * @param more further settings. @param kept a directory that stays, for the next start.
 */
export async function startPostgres(more: readonly string[] = [], kept: string | null = null): Promise<TestPostgres> {
  if (programs === null) throw new Error('PostgreSQL is needed for this test: apt-get install postgresql');
  const dir = kept ?? mkdtempSync(join(tmpdir(), 'heimdall-postgres-'));
  mkdirSync(dir, { recursive: true });
  const as = owner();
  const passwordFile = join(dir, 'password');
  writeFileSync(passwordFile, password);
  chmodSync(dir, 0o700);
  if (as !== null) for (const path of [dir, passwordFile]) chownSync(path, as.uid, as.gid);
  const data = join(dir, 'data');
  if (!existsSync(data)) execFileSync(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions'], { ...as, cwd: dir, stdio: 'pipe' });
  const port = await freePort();
  const run = (): Promise<ChildProcess> => started(join(programs as string, 'postgres'), ['-D', data, '-p', String(port), '-k', dir, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'max_connections=20', '-c', 'shared_buffers=16MB', ...more.flatMap((each) => ['-c', each])], as, dir);
  let child = await run();
  const urlOf = (role: string, secret: string, database = 'postgres'): string => `postgresql://${role}:${encodeURIComponent(secret)}@127.0.0.1:${port}/${database}`;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (isOver()) return;
    child.kill(signal);
    await once(child, 'exit');
  };
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  // Its children are leaders of groups of their own.
  const everyone = (signal: NodeJS.Signals): void => {
    if (isOver()) return;
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    for (const pid of [child.pid as number, ...children]) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        // A worker of the server may have ended meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  };
  return {
    url: urlOf('postgres', password),
    urlOf,
    query: (sql, values = [], database = 'postgres') => query(urlOf('postgres', password, database), sql, values),
    stop: () => end('SIGINT'),
    async start() {
      if (isOver()) child = await run();
    },
    freeze: () => everyone('SIGSTOP'),
    thaw: () => everyone('SIGCONT'),
    async close() {
      everyone('SIGCONT');
      await end('SIGQUIT');
      if (kept === null) rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function started(program: string, args: readonly string[], as: { uid: number; gid: number } | null, cwd: string): Promise<ChildProcess> {
  const child = spawn(program, args, { ...as, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr?.on('data', (text: Buffer) => void (said = (said + String(text)).slice(-10_000)));
  // A test that ends before its time must not leave it behind.
  const leave = (): boolean => child.kill('SIGKILL');
  process.once('exit', leave);
  child.once('exit', () => process.removeListener('exit', leave));
  while (!said.includes('ready to accept connections')) {
    await Promise.race([once(child.stderr as NodeJS.ReadableStream, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) throw new Error(`postgres did not start: ${said}`);
  }
  return child;
}

async function query<Row extends object>(url: string, sql: string, values: unknown[]): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(sql, values)).rows;
  } finally {
    await client.end();
  }
}
