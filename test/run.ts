import './support/node.ts';
import './support/programs.ts';
import { globSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { scratch } from './support/scratch.ts';

/** Processes at a time: one more than processors, since a test also waits, for the disk, for programs it started and for time. */
const concurrency = Math.min(availableParallelism() + 1, 8);
/** A test that takes longer hangs, milliseconds: more than `until` waits. */
const timeout = 300_000;
/** Most files of one process: to load the gate costs as much as the tests of a small file, and many would leave one processor idle at the end. */
const atOnce = 8;
/** What belongs to the whole process, as hooks outside a suite do, keeps its file from sharing one. */
const wholeProcess = /^(?:before|after|beforeEach|afterEach)\(|\bprocess\.(?:chdir|umask|on|once)\(|\bprocess\.env\[?[.'\w]*\]? = /m;

/** Files in memory, where the machine has such a place: journals and databases wait for no disk. */
const memory = '/dev/shm';
/** What the tests write at a time at most, in bytes. */
const written = 2e9;

const root = fileURLToPath(new URL('..', import.meta.url));

/** Test files by the process that runs them, in their order: neighbours together, but for the longest and those that change what belongs to the process. */
export function processesOf(files: readonly string[]): string[][] {
  const isAlone = (file: string): boolean => dirname(file) === 'test' || wholeProcess.test(readFileSync(join(root, file), 'utf8'));
  const together = files.filter((file) => !isAlone(file));
  const groups = Array.from({ length: Math.ceil(together.length / atOnce) }, (_, at) => together.slice(at * atOnce, (at + 1) * atOnce));
  return [...files.filter(isAlone).map((file) => [file]), ...groups];
}

/** What takes longest comes first, so that no process works alone at the end. */
const long = ['test', 'test/e2e', 'test/field', 'test/examples', 'test/server', 'test/cli'];
const place = (file: string): number => long.indexOf(dirname(file)) + 1 || Number.POSITIVE_INFINITY;

/** Every test file whose path has one of these texts in it, of all where there are none. */
export function testFiles(wanted: readonly string[] = []): string[] {
  return globSync('test/**/*.test.ts', { cwd: root })
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .toSorted((a, b) => (place(a) === place(b) ? a.localeCompare(b) : place(a) - place(b)));
}

/** Whether there is room for what tests write. */
function hasRoom(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize > written;
  } catch {
    return false;
  }
}

/** A file that imports those of a process, one after the other. */
function entryOf(group: readonly string[], at: number, directory: string): string {
  const [only] = group;
  if (group.length === 1 && only !== undefined) return join(root, only);
  const path = join(directory, `${at}.mjs`);
  writeFileSync(path, group.map((file) => `await import(${JSON.stringify(pathToFileURL(join(root, file)).href)});\n`).join(''));
  return path;
}

if (import.meta.main) {
  const files = testFiles(process.argv.slice(2));
  if (files.length === 0) throw new Error(`Expected parts of paths of test files, got ${process.argv.slice(2).join(' ')}`);
  if (process.env['TMPDIR'] === undefined && hasRoom(memory)) process.env['TMPDIR'] = memory;
  const directory = scratch();
  const end = new URL('support/end.ts', import.meta.url).href;
  run({ files: processesOf(files).map((group, at) => entryOf(group, at, directory)), concurrency, execArgv: ['--import', end, `--test-timeout=${timeout}`] })
    .on('test:fail', () => {
      process.exitCode = 1;
    })
    .compose(new spec())
    .pipe(process.stdout);
}
