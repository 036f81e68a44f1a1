import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/core.ts';
import { accessLog, type AccessLog } from '../../lib/record/access-log.ts';
import type { LoggingInput } from '../../types/config.d.ts';
import { until } from '../support/client.ts';
import { recorder, temporary, type Recorder } from '../support/gate.ts';

interface Opened {
  readonly log: Recorder;
  readonly lines: AccessLog;
  readonly console: PassThrough;
  /** What the console was given, so far. */
  said(): string;
}

function open(logging: LoggingInput = {}): Opened {
  const config = resolveConfig({ logging: { file: false, ...logging } }, {});
  const log = recorder();
  const core = { config, log } as unknown as Core;
  const console = new PassThrough();
  const chunks: Buffer[] = [];
  console.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { log, console, lines: accessLog(core, console), said: () => Buffer.concat(chunks).toString() };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** One line. */
const line = bytes(`${'a line '.repeat(60)}\n`);

/** The texts of a directory's files, one of which may be renamed just now. */
function contents(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => readFileSync(join(directory, name), 'utf8'));
  } catch {
    return [];
  }
}

describe('the file', () => {
  const at = (t: TestContext): string => join(temporary(t), 'logs', 'access.log');

  it('belongs to its owner alone, and is opened by the first line', async (t) => {
    const file = at(t);
    const { lines } = open({ file });
    assert.equal(existsSync(file), false);
    lines.write(line);
    await lines.close();
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(readFileSync(file, 'utf8'), String(Buffer.from(line)));
  });

  it('is whole when the gate closes, and takes nothing afterwards', async (t) => {
    const file = at(t);
    const { lines } = open({ file });
    for (let n = 0; n < 10; n++) lines.write(line);
    await lines.close();
    lines.write(line);
    await lines.close();
    assert.equal(readFileSync(file, 'utf8').split('\n').length, 11);
  });

  it('is added to by the next start', async (t) => {
    const file = at(t);
    for (let start = 0; start < 3; start++) {
      const { lines } = open({ file });
      lines.write(line);
      await lines.close();
    }
    assert.equal(readFileSync(file, 'utf8').split('\n').length, 4);
  });

  it('is rotated at its size, keeping as many as configured, all for their owner alone', async (t) => {
    const file = at(t);
    const { lines } = open({ file, maxSize: '2KB', maxFiles: 2 });
    const directory = join(file, '..');
    for (let round = 1; round <= 12; round++) {
      lines.write(bytes(`round ${round}, ${'x'.repeat(500)}\n`.repeat(4)));
      await until(() => contents(directory).some((text) => text.includes(`round ${round},`)), 4000);
    }
    await lines.close();
    const logs = readdirSync(directory).filter((name) => name.endsWith('.log'));
    assert.ok(logs.length >= 2 && logs.length <= 4, logs.join());
    for (const name of logs) assert.equal(statSync(join(directory, name)).mode & 0o077, 0, name);
    for (const name of logs) for (const each of readFileSync(join(directory, name), 'utf8').split('\n').slice(0, -1)) assert.match(each, /^round \d+, x{500}$/);
  });

  it('that cannot be written stops nothing, and is reported once', async (t) => {
    const directory = temporary(t);
    const inTheWay = join(temporary(t), 'file');
    writeFileSync(inTheWay, '');
    for (const file of [directory, join(inTheWay, 'access.log')]) {
      const { lines, log, said: seen } = open({ file });
      for (let n = 0; n < 5; n++) {
        lines.write(line);
        await until(() => seen().split('\n').length === n + 2);
      }
      await until(() => log.named('access_log.failed').length > 0);
      await lines.close();
      assert.equal(log.named('access_log.failed').length, 1, file);
      assert.equal(log.named('access_log.failed')[0]?.['sink'], file);
    }
  });

  it('may vanish under the gate', { skip: process.platform === 'win32' }, async (t) => {
    const directory = join(temporary(t), 'logs');
    mkdirSync(directory);
    chmodSync(directory, 0o700);
    const { lines, said: seen } = open({ file: join(directory, 'a.log') });
    lines.write(line);
    await until(() => existsSync(join(directory, 'a.log')));
    lines.write(line);
    await until(() => seen().split('\n').length === 3);
    await lines.close();
    assert.equal(readFileSync(join(directory, 'a.log'), 'utf8').split('\n').length, 3);
  });
});

describe('the console', () => {
  it('that breaks is reported once and stops nothing', async () => {
    const { console, lines, log } = open();
    console.on('error', () => undefined);
    console.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await until(() => log.named('access_log.failed').length === 1);
    for (let n = 0; n < 3; n++) lines.write(line);
    await lines.close();
    assert.equal(log.named('access_log.failed').length, 1);
  });

  it('that cannot keep up loses lines instead of memory', async () => {
    const log = recorder();
    const core = { config: resolveConfig({ logging: { file: false } }, {}), log } as unknown as Core;
    const stuck = new PassThrough();
    const lines = accessLog(core, stuck);
    const many = bytes(`${'x'.repeat(2000)}\n`.repeat(100));
    for (let n = 0; n < 200; n++) lines.write(many);
    assert.ok(stuck.writableLength < 10_000_000, `${stuck.writableLength}`);
    assert.deepEqual(log.named('access_log.failed').map(({ error }) => error), ['cannot keep up']);
    await lines.close();
  });

  it('is given back as it was', async () => {
    const { console, lines } = open();
    lines.write(line);
    await lines.close();
    await until(() => console.listenerCount('error') === 0);
    assert.equal(console.destroyed, false);
  });
});
