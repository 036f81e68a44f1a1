import './support/node.ts';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chain } from '../lib/chain.ts';
import { errors } from '../lib/errors.ts';
import { functionsOf, readSource, type Source } from './support/source.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (pattern: string): Source[] => globSync(pattern, { cwd: root }).sort().map(readSource);
const lib = read('lib/**/*.ts');
const types = read('types/**/*.ts');
const tests = read('test/**/*.ts');
const sources = [...lib, ...types, ...tests, ...read('examples/**/*.ts')];

it('runs on Node 24.9 or later', () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  assert.ok(major > 24 || (major === 24 && minor >= 9), process.version);
});

/** Everything imports downwards; groups of one line do not know each other. A new file at the top of lib takes its place here. */
const layers = [
  ['cli'],
  ['index'],
  ['server'],
  ['gateway'],
  ['wiring'],
  ['chain', 'attach', 'drain'],
  ['middlewares', 'on-routes', 'upstream', 'record', 'admin'],
  ['part'],
  ['connections', 'cut', 'door', 'host-body', 'inspect', 'keys', 'leaves', 'limits', 'live', 'metrics', 'providers', 'queue', 'registry', 'resources', 'watch'],
  ['context', 'redis'],
  ['core', 'lane'],
  ['alerts', 'logs'],
  ['clock', 'config', 'describe', 'errors', 'events', 'form', 'head', 'identity', 'inflate', 'own-route', 'poster', 'request-id', 'scan'],
  ['adopt', 'directory', 'memo', 'poster', 'series'],
  ['types'],
];
/** The core names in its types what is made of it, and calls nothing of it by import. */
const upwards = new Set(['lib/request/core.ts → lib/request/context.ts', 'lib/request/core.ts → lib/request/deadlines.ts', 'lib/request/core.ts → lib/request/in-flight.ts', 'lib/request/core.ts → lib/request/connections.ts']);

const groupOf = (path: string): string => (path.startsWith('types/') ? 'types' : (path.split('/')[1] ?? '').replace(/\.ts$/, ''));
const heightOf = (path: string): number => layers.findIndex((groups) => groups.includes(groupOf(path)));

describe('imports', () => {
  it('find a place for every file', () => {
    assert.deepEqual(lib.map(({ path }) => path).filter((path) => heightOf(path) === -1), []);
  });

  it('run one way', () => {
    const wrong = lib.flatMap(({ path, imports, values }) =>
      imports
        .filter((target) => groupOf(target) !== groupOf(path) && heightOf(target) <= heightOf(path))
        .map((target) => `${path} → ${target}`)
        .filter((line) => !upwards.has(line) || values.includes(line.split(' → ')[1] as string)),
    );
    assert.deepEqual(wrong, []);
  });

  it('of the types know the types alone', () => {
    assert.deepEqual(types.flatMap(({ path, imports }) => imports.filter((target) => !target.startsWith('types/')).map((target) => `${path} → ${target}`)), []);
  });

  it('make no circle', () => {
    const values = new Map(sources.map(({ path, values: targets }) => [path, targets]));
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) return void circles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
      if (done.has(path)) return;
      for (const target of values.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    };
    for (const path of values.keys()) visit(path, []);
    assert.deepEqual(circles, []);
  });

  it('lead to files that exist, by their own names', () => {
    assert.deepEqual(sources.flatMap(({ path, imports }) => imports.filter((target) => !existsSync(join(root, target))).map((target) => `${path} → ${target}`)), []);
  });
});

describe('sizes', () => {
  // What is generated is as long as its schema.
  const written = sources.filter(({ path }) => path !== 'types/config.d.ts');

  it('keep a file within 300 lines', () => {
    assert.deepEqual(written.filter(({ text }) => text.split('\n').length > 301).map(({ path, text }) => `${path}: ${text.split('\n').length - 1}`), []);
  });

  it('keep a function within 60 lines', () => {
    const long = written.flatMap((source) => functionsOf(source).filter(({ lines, head }) => lines > 60 && !/^describe\(/.test(head)).map(({ line, lines }) => `${source.path}:${line}: ${lines}`));
    assert.deepEqual(long, []);
  });

  it('are measured at all', () => {
    const forward = readSource('lib/upstream/forward.ts');
    const found = functionsOf(forward).map(({ head }) => head);
    for (const head of ['begin(): void {', '#patience(now: number): number | null {', 'return (context) => {']) assert.ok(found.includes(head), `${head} in ${found.join('\n')}`);
    assert.deepEqual(found.filter((head) => /^(?:while|for|switch|class|if|try)\b/.test(head)), []);
  });
});

describe('the code', () => {
  const lines = (test: RegExp, of: (source: Source) => string): string[] =>
    sources.flatMap((source) => of(source).split('\n').flatMap((line, at) => (test.test(line) ? [`${source.path}:${at + 1}: ${line.trim()}`] : [])));

  it('knows every type', () => {
    assert.deepEqual(lines(/(?:[:<|&]|\bas\b|=>|\bextends\b|\bsatisfies\b)\s*any\b(?!\s*\?)|\bany\s*\[\]|,\s*any\s*>/, ({ code }) => code), []);
  });

  it('silences no checker and leaves nothing for later', () => {
    assert.deepEqual(lines(/@ts-(?:ignore|nocheck|expect-error)\b|\b(?:es|ox)lint-disable\b/, ({ text }) => text), []);
    assert.deepEqual(lines(/\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b/, ({ text }) => text), []);
  });

  it('explains every function, class and interface it exports', () => {
    const silent = [...lib, ...types].flatMap(({ path, text }) =>
      [...text.matchAll(/^([^\n]*)\n(export (?:declare )?(?:abstract )?(?:async )?(?:function|class|interface) \w+)/gm)].filter(([, before = '']) => !before.trimEnd().endsWith('*/')).map(([, , found]) => `${path}: ${found}`),
    );
    assert.deepEqual(silent, []);
  });

  it('explains everything the package exports', () => {
    const silent: string[] = [];
    for (const { name, path } of exportsOf('lib/index.ts')) {
      const { text } = readSource(path);
      const at = new RegExp(`(?:^|\\n)([^\\n]*)\\nexport (?:declare )?(?:async )?(?:function|class|interface|type|const) ${name}\\b`).exec(text);
      if (!at?.[1]?.trimEnd().endsWith('*/')) silent.push(`${path}: ${name}`);
    }
    assert.deepEqual(silent, []);
  });

  it('uses every error of its table', () => {
    const used = lib.filter(({ path }) => path !== 'lib/errors.ts').map(({ text }) => text).join('\n');
    assert.deepEqual(Object.keys(errors).filter((code) => !used.includes(`'${code}'`)), []);
  });
});

/** Every name a module exports, with the file that declares it. */
function exportsOf(path: string): { name: string; path: string }[] {
  const { text } = readSource(path);
  const own = [...text.matchAll(/^export (?:declare )?(?:async )?(?:function|class|interface|type|const) (\w+)/gm)].map(([, name = '']) => ({ name, path }));
  const all = [...text.matchAll(/^export type \* from '([^']+)'/gm)].flatMap(([, from = '']) => exportsOf(normalize(join(dirname(path), from))));
  const passed = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)'/gm)].flatMap(([, names = '', from = '']) => {
    const there = exportsOf(normalize(join(dirname(path), from)));
    return names.split(',').map((name) => name.trim().replace(/^type /, '')).filter(Boolean).map((name) => there.find((each) => each.name === name) ?? { name, path });
  });
  return [...own, ...all, ...passed];
}

describe('the tests', () => {
  it('mirror the parts of the chain, one name each', () => {
    for (const { name } of chain) {
      const file = name.replaceAll('_', '-');
      assert.ok(existsSync(join(root, `lib/middlewares/${file}.ts`)) && existsSync(join(root, `test/middlewares/${file}.test.ts`)), name);
      assert.match(readFileSync(join(root, `lib/middlewares/${file}.ts`), 'utf8'), new RegExp(`export const ${file.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())}: Middleware`), name);
    }
  });

  it('leave none out and single none out', () => {
    const marks = tests.filter(({ path }) => path.endsWith('.test.ts')).flatMap(({ path, code }) => (/\b(?:it|test|describe)\.(?:only|todo)\b|\b(?:only|todo): true/.test(code) ? [path] : []));
    assert.deepEqual(marks, []);
  });
});

describe('what is published', () => {
  const tracked = (): string[] => execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root, encoding: 'utf8' }).split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
  const skip = { skip: !existsSync(join(root, '.git')) && 'not a checkout' };

  it('names no machine, no home and no registry', skip, () => {
    const places = [root.replace(/\/$/, ''), homedir()].filter((path) => path.split('/').length > 2);
    const found = tracked().flatMap((path) =>
      readFileSync(join(root, path), 'utf8').split('\n').flatMap((line, at) => {
        const named = places.some((place) => line.includes(place)) || /(?:^|[\s"'`(=:])\/(?:home|Users|root)\/[\w.-]+\//.test(line);
        const hosted = /https?:\/\/[^\s"'/]*(?:registry|artifactory|nexus|verdaccio|mirror)[^\s"'/]*\//i.test(line);
        return named || hosted ? [`${path}:${at + 1}`] : [];
      }),
    );
    assert.deepEqual(found, []);
  });

  it('locks packages by what they hold, not by where they lay', () => {
    const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
    assert.ok(!lock.includes('"resolved": "http') && lock.includes('"integrity"'));
  });
});
