import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { AccessLineWriter } from '../../lib/access-log/lines.ts';
import { LogFile } from '../../lib/access-log/log-file.ts';
import { Segment } from '../../lib/record/segment.ts';
import type { FromWorker } from '../../lib/record/messages.ts';
import { temporary } from '../support/gate.ts';
import { put } from '../support/segments.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const at = (t: TestContext): string => join(temporary(t), 'logs', 'access.log');
const large = { maxSize: 1_000_000, maxFiles: 3 };

describe('the file of the access log', () => {
  it('belongs to its owner alone, and is added to', (t) => {
    const path = at(t);
    assert.equal(existsSync(path), false);
    for (const text of ['one\n', 'two\n']) new LogFile(path, large).write(bytes(text));
    assert.deepEqual([statSync(path).mode & 0o777, statSync(join(path, '..')).mode & 0o777, readFileSync(path, 'utf8')], [0o600, 0o700, 'one\ntwo\n']);
  });

  it('is rotated at its size, keeping as many as configured, all for their owner alone', (t) => {
    const path = at(t);
    const file = new LogFile(path, { maxSize: 2000, maxFiles: 2 });
    for (let round = 1; round <= 12; round++) file.write(bytes(`round ${round}, ${'x'.repeat(500)}\n`.repeat(2)));
    const directory = join(path, '..');
    assert.deepEqual(readdirSync(directory).sort(), ['access.1.log', 'access.2.log', 'access.log']);
    for (const name of readdirSync(directory)) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    const rounds = (name: string): string[] => [...readFileSync(join(directory, name), 'utf8').matchAll(/^round (\d+), x{500}\n/gm)].map(([, round]) => String(round));
    assert.deepEqual(['access.2.log', 'access.1.log', 'access.log'].map(rounds), [['10', '10'], ['11', '11'], ['12', '12']]);
  });

  it('takes what is larger than it may be in one piece, and the rest elsewhere', (t) => {
    const path = at(t);
    const file = new LogFile(path, { maxSize: 1024, maxFiles: 1 });
    for (const letter of ['a', 'b']) file.write(bytes(letter.repeat(5000)));
    assert.deepEqual([readFileSync(path, 'utf8'), readFileSync(path.replace('.log', '.1.log'), 'utf8')], ['b'.repeat(5000), 'a'.repeat(5000)]);
  });

  it('loses nothing when several gates share it', (t) => {
    const path = at(t);
    const gates = [1, 2, 3].map(() => new LogFile(path, { maxSize: 1000, maxFiles: 100 }));
    for (let n = 0; n < 300; n++) gates[n % 3]?.write(bytes(`line ${n}\n`));
    const directory = join(path, '..');
    const lines = readdirSync(directory).flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n').slice(0, -1));
    assert.deepEqual([lines.length, new Set(lines).size], [300, 300]);
    assert.ok(readdirSync(directory).length > 2);
  });

  it('is written on, and says why, when it cannot be rotated', (t) => {
    const path = at(t);
    mkdirSync(path.replace('.log', '.1.log'), { recursive: true });
    const file = new LogFile(path, { maxSize: 1000, maxFiles: 1 });
    assert.equal(file.write(bytes(`${'a'.repeat(995)}\n`)), null);
    for (const text of ['one more\n', 'another\n']) assert.match(String(file.write(bytes(text))), /EISDIR|ENOTEMPTY|EEXIST/);
    assert.equal(readFileSync(path, 'utf8'), `${'a'.repeat(995)}\none more\nanother\n`);
    assert.deepEqual(readdirSync(join(path, '..')).sort(), ['access.1.log', 'access.log']);
  });

  it('is not rotated where it is a link', (t) => {
    const path = at(t);
    const real = join(temporary(t), 'real.log');
    mkdirSync(join(path, '..'));
    symlinkSync(real, path);
    const file = new LogFile(path, { maxSize: 1000, maxFiles: 3 });
    for (let n = 0; n < 3; n++) file.write(bytes('x'.repeat(900)));
    assert.deepEqual([readFileSync(real, 'utf8').length, readdirSync(join(path, '..'))], [2700, ['access.log']]);
  });

  it('may be moved or removed, with its directory, by somebody else', (t) => {
    const path = at(t);
    const file = new LogFile(path, large);
    file.write(bytes('one\n'));
    renameSync(path, `${path}.moved`);
    file.write(bytes('two\n'));
    assert.equal(readFileSync(path, 'utf8'), 'two\n');
    rmSync(join(path, '..'), { recursive: true });
    file.write(bytes('three\n'));
    assert.equal(readFileSync(path, 'utf8'), 'three\n');
  });

  it('says why it cannot be written', (t) => {
    const inTheWay = join(temporary(t), 'file');
    writeFileSync(inTheWay, '');
    assert.throws(() => new LogFile(join(inTheWay, 'access.log'), large).write(bytes('a\n')), /ENOTDIR/);
    assert.throws(() => new LogFile(temporary(t), large).write(bytes('a\n')), /EISDIR/);
  });

  it('waits for nobody where it is no file', { skip: process.platform === 'win32' ? 'needs mkfifo' : false }, (t) => {
    const path = join(temporary(t), 'fifo');
    execFileSync('mkfifo', [path]);
    const fifo = new LogFile(path, large);
    assert.throws(() => fifo.write(bytes('nobody reads\n')), /ENXIO/);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    t.after(() => closeSync(reader));
    fifo.write(bytes('somebody may\n'));
    assert.throws(() => fifo.write(bytes('x'.repeat(1_000_000))), /EAGAIN/);
    const read = Buffer.alloc(100);
    assert.equal(read.toString('utf8', 0, readSync(reader, read, 0, 13, null)), 'somebody may\n');
  });

  it('holds no part of what a full disk did not take whole', { skip: existsSync('/dev/full') ? false : 'needs /dev/full' }, () => {
    assert.throws(() => new LogFile('/dev/full', large).write(bytes('a\n')), /ENOSPC/);
  });
});

it('a file that cannot be written is told of once, holds nothing back, and takes the lines again once it can', (t) => {
  const path = at(t);
  mkdirSync(path, { recursive: true });
  const told: FromWorker[] = [];
  const lines = new AccessLineWriter({ format: 'json', file: path, isShown: true, ...large }, { queryAllow: [], hidden: [] }, (message) => told.push(message));
  const segment = new Segment();
  put(segment, { kind: 'line', id: '01890a5d-ac96-774b-bcce-000000000001', url: '/x' });
  const line = (seq: number): void => void lines.writeEarly(segment.message(seq, 0, []));
  for (const seq of [1, 2]) line(seq);
  rmSync(path, { recursive: true });
  line(3);
  assert.deepEqual(told.map(({ kind }) => kind), ['lineFailure', 'lines', 'lines', 'lines']);
  const [unlined, ...made] = told;
  assert.deepEqual(unlined, { kind: 'lineFailure', sink: path, effect: 'access lines are lost', error: { ...(unlined as { error: object }).error, code: 'EISDIR' } });
  for (const message of made) assert.equal(Buffer.from((message as { bytes: Uint8Array }).bytes).toString(), readFileSync(path, 'utf8'));
});
