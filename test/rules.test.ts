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
import { processesOf, testFiles } from './run.ts';
import { bareCallbacks } from './support/callbacks.ts';
import { functionsOf, readSource, type Source } from './support/source.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (pattern: string): Source[] => globSync(pattern, { cwd: root }).sort().map(readSource);
const lib = read('lib/**/*.{ts,tsx}');
const types = read('types/**/*.ts');
const tests = read('test/**/*.ts');
const sources = [...lib, ...types, ...tests, ...read('examples/**/*.ts')];

it('runs on Node 24.9 or later', () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  assert.ok(major > 24 || (major === 24 && minor >= 9), process.version);
});

/**
 * The plan of the house, top to bottom: each room, or file at the root of lib, with what it may import. What stands on the right
 * stands further down on the left, so there is no upward import and no circle. `types/` is open to all.
 */
const plan: Readonly<Record<string, readonly string[]>> = {
  'cli.ts': ['cli', 'start'],
  start: ['index.ts'],
  cli: ['server', 'admin', 'anomaly', 'upstream', 'usage', 'postgres', 'journal', 'record', 'redaction', 'limits', 'registry', 'telemetry', 'config', 'request', 'identity', 'values', 'platform', 'errors.ts'],
  'index.ts': ['server', 'gateway.ts', 'config', 'http', 'errors.ts'],
  server: ['gateway.ts', 'config', 'request', 'identity', 'platform', 'errors.ts'],
  'gateway.ts': ['chain.ts', 'wiring.ts', 'middlewares', 'admin', 'telemetry', 'config', 'request', 'platform', 'redaction', 'errors.ts'],
  'chain.ts': ['middlewares'],
  'wiring.ts': ['middlewares', 'admin', 'sinks', 'anomaly', 'postgres', 'journal', 'access-log', 'record', 'upstream', 'usage', 'limits', 'queue', 'registry', 'keys', 'telemetry', 'config', 'request', 'http', 'identity', 'platform', 'errors.ts'],
  middlewares: ['admin', 'record', 'upstream', 'limits', 'queue', 'registry', 'keys', 'telemetry', 'config', 'request', 'http', 'identity', 'values', 'platform', 'errors.ts'],
  admin: ['anomaly', 'journal', 'redaction', 'registry', 'keys', 'telemetry', 'config', 'request', 'http', 'identity', 'values', 'platform', 'errors.ts'],
  sinks: ['postgres', 'redaction', 'telemetry', 'request', 'identity', 'values', 'platform', 'errors.ts'],
  anomaly: ['registry', 'config', 'request', 'identity', 'platform', 'errors.ts'],
  postgres: ['journal', 'record', 'platform', 'errors.ts'],
  journal: ['access-log', 'record', 'telemetry', 'request', 'identity', 'values', 'platform', 'errors.ts'],
  'access-log': ['record', 'redaction', 'request', 'platform'],
  record: ['redaction', 'keys', 'request', 'http', 'identity', 'values', 'platform', 'errors.ts'],
  upstream: ['providers', 'usage', 'telemetry', 'config', 'request', 'http', 'identity', 'values', 'platform', 'redaction', 'errors.ts'],
  providers: [],
  usage: ['request', 'http'],
  limits: ['config', 'request', 'identity', 'values', 'platform', 'errors.ts'],
  queue: ['config', 'request', 'platform', 'errors.ts'],
  registry: ['config', 'request', 'identity', 'values', 'platform', 'errors.ts'],
  keys: ['config', 'request', 'identity', 'platform', 'errors.ts'],
  telemetry: ['config', 'request', 'platform', 'errors.ts'],
  config: ['values', 'platform', 'errors.ts'],
  request: ['http', 'identity', 'platform', 'errors.ts'],
  http: ['platform', 'errors.ts'],
  identity: ['values', 'platform'],
  values: [],
  platform: [],
  'errors.ts': ['redaction'],
  redaction: [],
};

/** A room's one file that others import. */
const doorOf = (room: string): string => `lib/${room}/${room}.ts`;
const roomOf = (path: string): string => path.split('/')[1] ?? '';
/** Imports that leave a room or a file at the root, with where they lead. */
const crossing = lib.flatMap(({ path, imports }) => imports.filter((target) => target.startsWith('lib/') && roomOf(target) !== roomOf(path)).map((target) => ({ path, from: roomOf(path), to: roomOf(target), target })));

describe('imports', () => {
  it('find every room and file at the root in the plan', () => {
    assert.deepEqual([...new Set(lib.map(({ path }) => roomOf(path)))].sort(), Object.keys(plan).sort());
  });

  it('are those of the plan, all of them', () => {
    const found = Object.fromEntries(Object.keys(plan).map((from) => [from, [...new Set(crossing.filter((each) => each.from === from).map(({ to }) => to))].sort()]));
    assert.deepEqual(found, Object.fromEntries(Object.entries(plan).map(([from, to]) => [from, [...to].sort()])));
  });

  it('run downwards', () => {
    const order = Object.keys(plan);
    assert.deepEqual(Object.entries(plan).flatMap(([from, to]) => to.filter((each) => order.indexOf(each) <= order.indexOf(from)).map((each) => `${from} → ${each}`)), []);
  });

  it('enter a room by its door', () => {
    assert.deepEqual(crossing.filter(({ to, target }) => !to.endsWith('.ts') && target !== doorOf(to)).map(({ path, target }) => `${path} → ${target}`), []);
  });

  it('find at each door what its room is for', () => {
    const rooms = Object.keys(plan).filter((name) => !name.endsWith('.ts'));
    assert.deepEqual(rooms.filter((room) => !/^(?:\/\/ |\/\*\*? ?)\S/.test(readSource(doorOf(room)).text)), []);
  });

  it('of the types know the types alone', () => {
    assert.deepEqual(types.flatMap(({ path, imports }) => imports.filter((target) => !target.startsWith('types/')).map((target) => `${path} → ${target}`)), []);
  });

  it('make no circle', () => {
    const all = new Map(sources.map(({ path, imports }) => [path, imports]));
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) return void circles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
      if (done.has(path)) return;
      for (const target of all.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    };
    for (const path of all.keys()) visit(path, []);
    assert.deepEqual(circles, []);
  });

  it("give the thread of the journal no more than it needs, for every gate starts one", () => {
    const loaded = new Set<string>();
    const load = (path: string): void => {
      // Imported with the first request that hands in a record.
      if (loaded.has(path) || path === 'lib/record/intake.ts') return;
      loaded.add(path);
      for (const target of readSource(path).values) load(target);
    };
    for (const path of ['lib/journal/worker.ts', 'lib/anomaly/observer.ts']) load(path);
    assert.deepEqual([...new Set([...loaded].map(roomOf))].sort(), ['access-log', 'anomaly', 'errors.ts', 'http', 'identity', 'journal', 'platform', 'record', 'redaction', 'request', 'values']);
    const packages = [...loaded].flatMap((path) => [...readSource(path).text.matchAll(/^import (?!type\b)[^;]*?from '([^.'][^']*)'/gm)].map(([, name = '']) => name));
    assert.deepEqual([...new Set(packages)].filter((name) => !name.startsWith('node:')), ['express-rate-limit']);
  });

  it('lead to files that exist, by their own names', () => {
    assert.deepEqual(sources.flatMap(({ path, imports }) => imports.filter((target) => !existsSync(join(root, target))).map((target) => `${path} → ${target}`)), []);
  });
});

describe('sizes', () => {
  it('keep a function within 60 lines', () => {
    const long = sources.flatMap((source) => functionsOf(source).filter(({ lines, head }) => lines > 60 && !/^describe\(/.test(head)).map(({ line, lines }) => `${source.path}:${line}: ${lines}`));
    assert.deepEqual(long, []);
  });

  it('are measured at all', () => {
    const forward = readSource('lib/upstream/forward.ts');
    const found = functionsOf(forward).map(({ head }) => head);
    for (const head of ['begin(): void {', '#waitForNextRound(now: number): number | null {', 'return (context) => {']) assert.ok(found.includes(head), `${head} in ${found.join('\n')}`);
    assert.deepEqual(found.filter((head) => /^(?:while|for|switch|class|if|try)\b/.test(head)), []);
  });
});

/** Files whose callbacks may throw, or cannot. */
const unguarded: Readonly<Record<string, RegExp>> = {
  'a command ends with its error': /^lib\/(?:cli\/|server\/serve\.ts)/,
  'the journal\'s thread ends with its error, and the gate starts another': /^lib\/journal\/(?:opening|worker|writer)\.ts/,
  'the observer catches what it throws': /^lib\/anomaly\/observer\.ts/,
  'what the page throws ends in the browser': /^lib\/admin\/page\//,
  'the journal hands its thread guarded callbacks': /^lib\/journal\/thread\.ts/,
  'bytes are copied from one stream into another': /^lib\/(?:http\/request-body|upstream\/body-replay)\.ts/,
};

/** Callbacks that cannot throw, or whose call is guarded. */
const harmless = [
  'access-log.ts: .on(broke', 'attach.ts: .prependListener(note', 'attach.ts: .on(this.#read', 'attach.ts: .once(this.#end', 'attach.ts: .on((req: GateRequest, socket: Duplex, head: Buffer) => onUpgrad',
  'connections.ts: .once(() => this.#closed(ends, peer, place)', 'in-flight.ts: process.nextTick(this.#pause', 'rounds.ts: setImmediate(this.#round', 'gateway.ts: .once(() => turns.add(() => later(req, res, done))', 'admin.ts: .on(handle', 'create.ts: .once(() => void openConfigured(gate).catch((error: Error) => serv',
  'exit.ts: .on(endAll', 'drain.ts: .on(this.#add', 'handshake.ts: setTimeout(leave', 'handshake.ts: .on(leave', 'handshake.ts: .on(stop', 'redis.ts: setTimeout(check', 'redis.ts: setTimeout(silent',
  'proxy-protocol.ts: setTimeout(leave', 'proxy-protocol.ts: .on(leave', 'proxy-protocol.ts: .on(stop', 'outbound-proxy.ts: .once((answer: IncomingMessage, socket: Socket, head: Buffer) => {',
  'passthrough.ts: .once(leave', 'passthrough.ts: .once(close', 'passthrough.ts: .on((chunk: Buffer) => { if (!context.res.destroyed) context.byt', 'passthrough.ts: .on(((req: GateRequest) => queueMicrotask(guarded(req.heimdall a', 'targets.ts: .on(() => { this.#served = 0; }',
  'follower.ts: .addEventListener(() => reject(controller.signal.reason as Error)', 'postgres.ts: .addEventListener(cut',
];

describe('callbacks', () => {
  it('for Node, a library or a timer are guarded, so that what they throw ends no process', () => {
    const bare = lib.flatMap((source) => bareCallbacks(source)).filter((found) => !Object.values(unguarded).some((path) => path.test(found)) && !harmless.some((known) => found.endsWith(known)));
    assert.deepEqual(bare, []);
  });

  it('are found where they are not', () => {
    const source = (code: string): Source => ({ path: 'x.ts', text: code, code, imports: [], values: [] });
    const bare = ['socket.on(0, () => this.go());', 'setTimeout(() => { go(); }, 5);', 'setImmediate(go);', 'async function go() {}\nvoid go();', 'socket.once(0, (error) => log.warn(error));'];
    for (const code of bare) assert.equal(bareCallbacks(source(code)).length, 1, code);
    for (const code of ['socket.on(0, guard(log, 0, () => go()));', 'clock.setTimeout(() => go(), 5);', 'const go = guarded(context, () => 1);\nsetImmediate(go);', 'socket.once(0, () => socket.destroy());']) assert.deepEqual(bareCallbacks(source(code)), [], code);
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

  it('asks one place for the time, which knows what may jump', () => {
    const found = lib.flatMap(({ path, code }) => (path !== 'lib/platform/clock.ts' && !path.startsWith('lib/admin/page/') && /\bDate\.now\b|\bnew Date\(\)|\bDate\(\)/.test(code) ? [path] : []));
    assert.deepEqual(found, []);
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

  it('run each in one process, alone where they change what a process has once', () => {
    const files = tests.map(({ path }) => path).filter((path) => path.endsWith('.test.ts'));
    const processes = processesOf(testFiles());
    assert.deepEqual(processes.flat().toSorted(), files.toSorted());
    for (const path of ['test/config/load.test.ts', 'test/sinks/postgres.test.ts', 'test/cli.test.ts']) assert.deepEqual(processes.find((group) => group.includes(path)), [path]);
    assert.ok(processes.some((group) => group.length > 5));
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
