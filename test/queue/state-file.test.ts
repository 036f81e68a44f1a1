import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ConfigInput } from '../../lib/index.ts';
import { until } from '../support/client.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { temporary } from '../support/gate.ts';
import { desk, type Desk } from './fake.ts';

type QueueInput = NonNullable<ConfigInput['queue']>;

interface State {
  readonly closed: boolean;
  readonly concurrency: number;
  readonly configured: number;
  readonly service_time: number | null;
  readonly counters: Readonly<Record<string, number>>;
  readonly in_hand: readonly { readonly id: string; readonly time: number; readonly lane: string }[];
}

const read = (file: string): State => JSON.parse(readFileSync(file, 'utf8')) as State;
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

function open(t: TestContext, statePath: string, queue: QueueInput = {}, clock?: FakeClock): Desk {
  const at = desk({ statePath, ...queue }, clock ? { clock } : {});
  t.after(() => at.queue.close());
  at.queue.open();
  return at;
}

describe('what a queue keeps over a restart', () => {
  it('is its capacity, its counters and how long a slot is held', async (t) => {
    const file = join(temporary(t), 'deep', 'down', 'queue.json');
    const first = open(t, file, { concurrency: 3, initialSize: 0 });
    first.queue.resize(2);
    const asked = [1, 2, 3].map(() => first.arrive('a'));
    first.clock.tick(500);
    for (const each of asked) each.end();
    await first.queue.close();
    assert.deepEqual([mode(file), mode(join(file, '..'))], ['600', '700']);
    const second = open(t, file, { concurrency: 3, initialSize: 0 });
    assert.deepEqual([second.queue.view().concurrency, second.queue.view().serviceTime], [2, 500]);
    await second.queue.close();
    const { counters, closed } = read(file);
    assert.deepEqual([counters['admitted'], counters['full'], closed], [2, 1, true]);
  });

  it('lies in a directory as a file of ours', async (t) => {
    const directory = temporary(t);
    await open(t, directory).queue.close();
    await open(t, `${directory}/new/`).queue.close();
    assert.ok(existsSync(join(directory, 'queue.json')) && existsSync(join(directory, 'new', 'queue.json')));
    assert.deepEqual(readdirSync(directory).sort(), ['new', 'queue.json']);
  });

  it('gives way to a configuration that was edited since', async (t) => {
    const file = join(temporary(t), 'queue.json');
    const first = open(t, file, { concurrency: 10 });
    first.queue.resize(50);
    await first.queue.close();
    const edited = open(t, file, { concurrency: 20 });
    assert.equal(edited.queue.view().concurrency, 20);
    assert.equal(edited.log.named('queue.config_wins').length, 1);
    await edited.queue.close();
    assert.equal(open(t, file, { concurrency: 20 }).queue.view().concurrency, 20);
  });

  it('is nothing without a path', async () => {
    const at = desk();
    at.queue.open();
    at.arrive('a').end();
    await at.queue.close();
    assert.deepEqual([at.log.events, at.clock.pending, at.queue.interrupted()], [[], 0, []]);
  });

  it('is saved at every interval, and at the end even when nobody came', async (t) => {
    const file = join(temporary(t), 'queue.json');
    const at = open(t, file, { saveInterval: '30s' });
    await until(() => existsSync(file));
    const asked = at.arrive('token:0123456789abcdef');
    assert.deepEqual(read(file).in_hand, []);
    await until(() => at.clock.pending > 0);
    at.clock.tick(30_000);
    await until(() => read(file).in_hand.length === 1);
    assert.deepEqual(read(file).in_hand, [{ id: asked.id, time: asked.context.time, lane: 'token:0123456789abcdef' }]);
    asked.end();
    await until(() => at.clock.pending > 0);
    at.clock.tick(30_000);
    await until(() => read(file).in_hand.length === 0);
    await at.queue.close();
    assert.equal(at.clock.pending, 0);
    assert.deepEqual(readdirSync(join(file, '..')), ['queue.json']);
  });
});

describe('after a crash', () => {
  it('the next process knows which requests were in hand, waiting ones too', async (t) => {
    const file = join(temporary(t), 'queue.json');
    const at = open(t, file, { concurrency: 1 });
    const asked = [at.arrive('key:team'), at.arrive('key:team')];
    await at.queue.close();
    // As the file of a process that is gone.
    writeFileSync(file, JSON.stringify({ ...read(file), instance: 'another', closed: false, pid: 2 ** 22 + 1 }));
    const next = open(t, file, { concurrency: 1 });
    assert.deepEqual(next.queue.interrupted().map(({ id }) => id), asked.map(({ id }) => id));
    assert.equal(next.log.named('queue.interrupted')[0]?.['requests'], 2);
    await next.queue.close();
    assert.deepEqual(open(t, file, { concurrency: 1 }).queue.interrupted(), []);
  });
});

describe('a state file', () => {
  it('that is not there yet is no trouble', (t) => {
    const at = open(t, join(temporary(t), 'queue.json'), { concurrency: 7 });
    assert.equal(at.queue.view().concurrency, 7);
    assert.deepEqual(at.log.events.map(({ level, event }) => [level, event]), [['info', 'queue.state_absent']]);
  });

  it('that is broken gives way to the configuration, with a warning', async (t) => {
    const file = join(temporary(t), 'queue.json');
    await open(t, file).queue.close();
    const whole = readFileSync(file, 'utf8');
    const broken = ['', '{', 'null', '[]', '{"version":2}', whole.slice(0, -20), whole.replace('"concurrency":1000', '"concurrency":0'), whole.replace('"concurrency":1000', '"concurrency":1e999'), '\0'.repeat(100)];
    for (const text of broken) {
      writeFileSync(file, text);
      const at = open(t, file, { concurrency: 7 });
      assert.deepEqual([at.queue.view().concurrency, at.log.named('queue.state_unusable').length], [7, 1], text.slice(0, 30));
      await at.queue.close();
      assert.equal(read(file).concurrency, 7);
    }
  });

  it('that cannot be written is a warning, once', async (t) => {
    const directory = temporary(t);
    writeFileSync(join(directory, 'file'), '');
    const at = open(t, join(directory, 'file', 'queue.json'));
    for (let n = 0; n < 3; n++) at.queue.resize(n + 1);
    const asked = at.arrive('a');
    assert.equal(asked.state, 'running');
    await at.queue.close();
    assert.equal(at.log.named('queue.state_unwritable').length, 1);
  });

  it('is replaced as a whole, and by nobody but its owner while that one lives', async (t) => {
    const file = join(temporary(t), 'queue.json');
    const clock = fakeClock();
    const first = open(t, file, { concurrency: 5 }, clock);
    first.queue.resize(6);
    await until(() => existsSync(file) && read(file).concurrency === 6);
    const second = open(t, file, { concurrency: 5 }, clock);
    assert.equal(second.queue.view().concurrency, 6);
    second.queue.resize(9);
    await until(() => second.log.named('queue.state_shared').length === 1);
    assert.deepEqual(second.queue.interrupted(), []);
    assert.equal(read(file).concurrency, 6);
    await first.queue.close();
    second.queue.resize(8);
    await until(() => read(file).concurrency === 8);
    await second.queue.close();
    assert.equal(second.log.named('queue.state_shared').length, 1);
  });

  it('is whole at every moment while two write it', async (t) => {
    const file = join(temporary(t), 'queue.json');
    const pair = [open(t, file), open(t, file)];
    await until(() => existsSync(file));
    for (let round = 1; round <= 40; round++) {
      for (const at of pair) at.queue.resize(round);
      read(file);
      await new Promise((resolve) => setImmediate(resolve));
      read(file);
    }
  });

  it('that others could read before is ours alone afterwards', async (t) => {
    const directory = temporary(t);
    const file = join(directory, 'state');
    mkdirSync(join(directory, 'x'));
    writeFileSync(file, '{}');
    chmodSync(file, 0o644);
    await open(t, file).queue.close();
    assert.equal(mode(file), '600');
  });
});
