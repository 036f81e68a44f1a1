import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { until } from '../support/client.ts';
import { startStandalone, type Standalone } from '../support/standalone.ts';

const startAt = (home: (dir: string) => string): Promise<Standalone> => startStandalone('http://127.0.0.1:1', 'llm: { price_source: none }\n', { env: (dir) => ({ HOME: home(dir), NODE_COMPILE_CACHE: undefined }) });

describe('compiled code', () => {
  it('is kept in the directory of the user for the next start', async (t) => {
    const gate = await startAt((dir) => dir);
    t.after(() => gate.stop());
    const kept = (): string[] => readdirSync(join(gate.path, '../.cache/express-heimdall'), { recursive: true, encoding: 'utf8' });
    await until(() => kept().length > 100, 'the modules');
  });

  it('is neither read nor kept where others may write', async () => {
    const at = (dir: string): string => join(dir, '.cache/express-heimdall');
    const gate = await startAt((dir) => {
      mkdirSync(at(dir), { recursive: true });
      chmodSync(at(dir), 0o777);
      return dir;
    });
    assert.match(gate.output(), /listens on/);
    const kept = readdirSync(at(join(gate.path, '..')));
    await gate.stop();
    assert.deepEqual(kept, []);
  });

  it('is not kept where the directory cannot be written', async () => {
    const gate = await startAt(() => '/proc');
    assert.match(gate.output(), /listens on/);
    await gate.stop();
  });
});
