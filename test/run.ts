import './support/node.ts';
import './support/programs.ts';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { scratch } from './support/scratch.ts';

/** Processes at a time. */
const concurrency = 2;
/** A test that takes longer hangs, milliseconds: more than `until` waits. */
const timeout = 300_000;
/** Most files of one process: to load the gate costs as much as the tests of a small file. */
const atOnce = 12;
/** Folders whose files run alone: those tests are long, and start programs and many gates. */
const alone = ['test', 'test/cli', 'test/e2e', 'test/examples', 'test/field', 'test/server'];
/** What belongs to the whole process, as hooks outside a suite do, keeps its file from sharing one. */
const wholeProcess = /^(?:before|after|beforeEach|afterEach)\(|\bprocess\.(?:chdir|umask|on|once)\(|\bprocess\.env\[?[.'\w]*\]? = /m;

const root = fileURLToPath(new URL('..', import.meta.url));

/** Test files by the process that runs them: those of one folder together, but for those that start programs, or gates upon gates. */
export function processesOf(files: readonly string[]): string[][] {
  const groups: string[][] = [];
  const open = new Map<string, string[]>();
  for (const file of files) {
    const folder = dirname(file);
    const isAlone = alone.includes(folder) || wholeProcess.test(readFileSync(join(root, file), 'utf8'));
    const group = isAlone ? undefined : open.get(folder);
    if (group !== undefined && group.length < atOnce) {
      group.push(file);
      continue;
    }
    const begun = [file];
    groups.push(begun);
    if (!isAlone) open.set(folder, begun);
  }
  return groups;
}

/** What takes longest comes first, so that no process works alone at the end. */
const place = (file: string): number => ['test', 'test/e2e', 'test/field'].indexOf(dirname(file)) + 1 || Number.POSITIVE_INFINITY;

/** Every test file whose path has one of these texts in it, of all where there are none. */
export function testFiles(wanted: readonly string[] = []): string[] {
  return globSync('test/**/*.test.ts', { cwd: root })
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .toSorted((a, b) => (place(a) === place(b) ? a.localeCompare(b) : place(a) - place(b)));
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
  const directory = scratch();
  const end = new URL('support/end.ts', import.meta.url).href;
  run({ files: processesOf(files).map((group, at) => entryOf(group, at, directory)), concurrency, execArgv: ['--import', end, `--test-timeout=${timeout}`] })
    .on('test:fail', () => {
      process.exitCode = 1;
    })
    .compose(new spec())
    .pipe(process.stdout);
}
