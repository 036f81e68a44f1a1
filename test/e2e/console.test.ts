import '../support/node.ts';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { request } from '../support/client.ts';
import { temporary } from '../support/gate.ts';
import { startStandalone } from '../support/standalone.ts';

test('access lines go to the console and the file; a quieter gate keeps them out of the console alone', async (t) => {
  for (const [level, isShown] of [['info', true], ['warn', false]] as const) {
    const file = join(temporary(t), 'access.log');
    const gate = await startStandalone('http://127.0.0.1:9', `logging: { level: ${level}, file: '${file}' }\n`);
    t.after(() => gate.kill());
    for (let n = 0; n < 3; n++) await request(`${gate.url}/health`);
    await gate.stop();
    const lines = readFileSync(file, 'utf8');
    assert.deepEqual([lines.split('\n').length, gate.output().includes(lines)], [4, isShown], level);
  }
});
