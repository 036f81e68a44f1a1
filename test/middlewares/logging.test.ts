import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, parse } from 'node:path';
import { describe, it } from 'node:test';
import { rawRequest, request, until } from '../support/client.ts';
import { journalOf } from '../support/journal.ts';
import { accessRecords } from '../support/records.ts';
import { bearer, behind, chat } from './behind.ts';

describe('logging', () => {
  it('writes one line for every request, however it ended', async (t) => {
    const records = accessRecords(t);
    const gate = await behind(t, { logging: records.logging }, (req, res) => {
      if (req.url === '/hang') return;
      if (req.url === '/cut') return void res.destroy();
      req.resume().on('end', () => res.end('{}'));
    });
    await gate.ask('/health');
    await gate.ask('/v1/chat/completions', { body: chat, headers: bearer });
    await gate.ask('/v1/chat/completions', { body: chat });
    await gate.ask('/cut');
    await rawRequest(gate.port, 'NONSENSE\r\n\r\n');
    const leaving = new AbortController();
    const asked = request(`${gate.url}/hang`, { signal: leaving.signal });
    await until(() => gate.seen.some(({ url }) => url === '/hang'));
    leaving.abort();
    await assert.rejects(asked);
    const lines = await records.atLeast(6);
    assert.deepEqual(lines.map(({ status, outcome }) => `${status} ${outcome}`), [
      '200 served', '200 served', '401 refused:missing_credential', '502 upstream_error', '400 refused:malformed_request', '499 aborted',
    ]);
    assert.equal(new Set(lines.map(({ id }) => id)).size, 6);
    await gate.gate.close({ timeout: 0 });
    assert.equal(records.all().length, 6);
  });

  it('has written every line when the gate is closed', async (t) => {
    const records = accessRecords(t);
    const { ask, gate } = await behind(t, { logging: records.logging });
    for (let n = 0; n < 5; n++) await ask('/health');
    await gate.close();
    assert.equal(records.all().length, 5);
  });

  it('rotates the file at its size and keeps as many as configured', async (t) => {
    const records = accessRecords(t);
    const { ask, gate } = await behind(t, { logging: { ...records.logging, maxSize: '1KB', maxFiles: 1 } });
    for (let n = 0; n < 6; n++) {
      await ask('/health');
      await journalOf(gate).flush();
      await until(() => records.all().length > 0);
    }
    await gate.close();
    const { dir, name, ext } = parse(records.logging.file);
    assert.deepEqual(readdirSync(dir).sort(), [`${name}.1${ext}`, `${name}${ext}`].sort());
    for (const each of readdirSync(dir)) assert.ok(statSync(join(dir, each)).size <= 1024, each);
  });

  it('writes nothing when it is left out', async (t) => {
    const records = accessRecords(t);
    const { ask, gate } = await behind(t, { logging: records.logging, middleware: ['rate_limit', 'auth'] });
    await ask('/health');
    await gate.close({ timeout: 0 });
    assert.equal(existsSync(records.logging.file), false);
  });
});
