import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Core } from '../../lib/request/context.ts';
import { accessLog, type AccessLog } from '../../lib/access-log/access-log.ts';
import { until } from '../support/client.ts';
import { recorder, type Recorder } from '../support/gate.ts';

interface Opened {
  readonly log: Recorder;
  readonly lines: AccessLog;
  readonly console: PassThrough;
}

function open(): Opened {
  const log = recorder();
  const core = { config: resolveConfig({ logging: { file: false } }), log } as unknown as Core;
  const console = new PassThrough();
  return { log, console, lines: accessLog(core, console, true) };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('the console', () => {
  it('that breaks is reported once and stops nothing', async () => {
    const { console, lines, log } = open();
    console.on('error', () => undefined);
    console.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await until(() => log.named('access_log.failed').length === 1);
    for (let n = 0; n < 3; n++) lines.show(bytes('a line\n'));
    lines.close();
    assert.equal(log.named('access_log.failed').length, 1);
  });

  it('that cannot keep up loses lines instead of memory', () => {
    const { console: stuck, lines, log } = open();
    const many = bytes(`${'x'.repeat(2000)}\n`.repeat(100));
    for (let n = 0; n < 200; n++) lines.show(many);
    assert.ok(stuck.writableLength < 10_000_000, `${stuck.writableLength}`);
    assert.deepEqual(log.named('access_log.failed').map(({ error }) => error), ['cannot keep up']);
    lines.close();
  });

  it('is given back as it was', async () => {
    const { console, lines } = open();
    lines.show(bytes('a line\n'));
    lines.close();
    lines.show(bytes('too late\n'));
    const said: Buffer[] = [];
    console.on('data', (chunk: Buffer) => said.push(chunk));
    await until(() => console.listenerCount('error') === 0);
    assert.deepEqual([console.destroyed, Buffer.concat(said).toString()], [false, 'a line\n']);
  });
});
