import '../support/node.ts';
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { ConfigInput } from '../../lib/index.ts';
import { signedText, signerOf, verifierOf } from '../../lib/journal/hash-chain.ts';
import { openFile } from '../../lib/journal/database.ts';
import { Presence, tryLock } from '../../lib/journal/presence.ts';
import { restoreJournal } from '../../lib/journal/restore.ts';
import { Store } from '../../lib/journal/store.ts';
import { request, until, type TestLike } from '../support/client.ts';
import { startGate, temporary, type RunningGate } from '../support/gate.ts';
import { journalOf, recorded, sql, verified } from '../support/journal.ts';
import { bare } from '../support/programs.ts';

const secret = 'an install secret that all gates of these tests have';

interface Ended {
  readonly said: readonly Readonly<Record<string, unknown>>[];
}

/** A process that records beside the gates of the test. */
function journalProcess(t: TestLike, path: string, name: string, count: number, ways: readonly string[] = [], as: { uid?: number; gid?: number } = {}): { child: ChildProcess; lines: () => Record<string, unknown>[]; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/journal-process.ts'), path, name, String(count), ...ways], { env: { ...bare, HEIMDALL_SECRET: secret }, stdio: ['ignore', 'pipe', 'inherit'], ...as });
  let text = '';
  child.stdout?.on('data', (more) => void (text += String(more)));
  t.after(() => child.kill('SIGKILL'));
  const lines = (): Record<string, unknown>[] => text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  return { child, lines, ended: once(child, 'close').then(() => ({ said: lines() })) };
}

const gateAt = (t: TestLike, path: string, audit: ConfigInput['audit'] = {}): Promise<RunningGate> => startGate(t, { secret, audit: { path, ...audit } });
const ask = async (gate: RunningGate, path: string): Promise<void> => void (await request(gate.url + path));
const pathsIn = (path: string): unknown[] => sql(path, 'SELECT request_path FROM heimdall_logs ORDER BY id').map((row) => row['request_path']);
const whole = (path: string): void => {
  const opened = openFile(path, false, signerOf(secret), Date.now());
  opened.close();
  writeFileSync(join(path, '../heimdall.secret'), secret, { mode: 0o600 });
  assert.deepEqual([verified(path).broken, verified(path).uncertain], [null, null]);
};

describe('gates that share a journal', () => {
  it('in one application record every request once, both of them readable by either', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const [first, second] = [await gateAt(t, path), await gateAt(t, path)];
    await Promise.all(Array.from({ length: 20 }, (_, at) => ask(at % 2 === 0 ? first : second, `/${at}`)));
    await journalOf(first.gate).flush();
    assert.equal((await recorded(second.gate)).length, 20);
    assert.deepEqual([first, second].map(({ gate }) => journalOf(gate).stats().state.kind), ['open', 'open']);
    assert.equal(journalOf(first.gate).stats().written + journalOf(second.gate).stats().written, 20);
    await first.gate.close();
    await second.gate.close();
    assert.deepEqual(new Set(pathsIn(path)), new Set(Array.from({ length: 20 }, (_, at) => `/${at}`)));
    assert.deepEqual(readdirSync(join(path, '..')).filter((name) => /\.(?:live|new)-/.test(name)), []);
    whole(path);
  });

  it('in one application have one thread, which may fail: each record is there once all the same', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const workers: Worker[] = [];
    const note = (worker: Worker): void => void workers.push(worker);
    process.on('worker', note);
    t.after(() => void process.off('worker', note));
    const [first, second] = [await gateAt(t, path), await gateAt(t, path)];
    const elsewhere = await gateAt(t, join(temporary(t), 'other.db'));
    await Promise.all([ask(first, '/1'), ask(second, '/2'), ask(elsewhere, '/elsewhere')]);
    for (const { gate } of [first, second, elsewhere]) await journalOf(gate).flush();
    assert.equal(workers.length, 2, 'one for each file');
    await Promise.all([ask(first, '/3'), ask(second, '/4')]);
    await workers[0]?.terminate();
    await Promise.all([ask(first, '/5'), ask(second, '/6')]);
    await until(() => [first, second].every(({ gate }) => journalOf(gate).stats().state.kind === 'open' && journalOf(gate).stats().waiting === 0), 'another thread');
    assert.equal(workers.length, 3, 'and one again for both');
    await first.gate.close();
    await ask(second, '/7');
    assert.equal((await recorded(second.gate)).length, 7);
    await second.gate.close();
    assert.deepEqual(pathsIn(path).toSorted(), ['/1', '/2', '/3', '/4', '/5', '/6', '/7']);
    whole(path);
  });

  for (const order of ['the older', 'the newer'] as const) {
    it(`go on when ${order} ends, and the last one signs`, async (t) => {
      const path = join(temporary(t), 'heimdall.db');
      const gates = [await gateAt(t, path), await gateAt(t, path)] as const;
      for (const gate of gates) await gate.gate.ready;
      const [ending, staying] = order === 'the older' ? gates : gates.toReversed() as unknown as typeof gates;
      await ask(staying, '/one');
      await ask(ending, '/two');
      await ending.gate.close();
      await ask(staying, '/three');
      await staying.gate.close();
      assert.deepEqual(pathsIn(path).toSorted(), ['/one', '/three', '/two']);
      assert.equal(sql(path, 'SELECT max(batch) AS batch FROM heimdall_checkpoints')[0]?.['batch'], sql(path, 'SELECT max(batch) AS batch FROM heimdall_batches')[0]?.['batch']);
      whole(path);
    });
  }

  it('of five generations, each begun before the last one ends, miss nothing', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    let before: RunningGate | null = null;
    for (let nth = 0; nth < 5; nth++) {
      const next = await gateAt(t, path, nth % 2 === 0 ? {} : { durability: 'strict' });
      await next.gate.ready;
      await Promise.all([ask(next, `/${nth}/new`), before === null ? undefined : ask(before, `/${nth}/old`)]);
      await before?.gate.close();
      before = next;
    }
    await before?.gate.close();
    assert.equal(new Set(pathsIn(path)).size, 9);
    whole(path);
  });

  it('in processes of their own, workers of a cluster among them, leave each record once, though the one that keeps order crashes', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const keeper = journalProcess(t, path, 'keeper', 20, ['stay', 'strict']);
    await until(() => keeper.lines().length > 0, 'it has recorded');
    const workers = journalProcess(t, path, 'worker', 20, ['workers']);
    const gate = await gateAt(t, path);
    await ask(gate, '/beside');
    keeper.child.kill('SIGKILL');
    await keeper.ended;
    await ask(gate, '/after');
    const { said } = await workers.ended;
    assert.deepEqual([...keeper.lines(), ...said].filter((line) => (line as { event?: string }).event !== 'config.warning'), Array.from({ length: 3 }, () => ({ state: 'open', written: 20 })));
    await gate.gate.close();
    assert.deepEqual([pathsIn(path).length, sql(path, 'SELECT count(DISTINCT request_id) AS ids FROM heimdall_logs')[0]?.['ids']], [62, 62]);
    assert.deepEqual(readdirSync(join(path, '..')).filter((name) => /\.(?:live|new)-/.test(name)), []);
    whole(path);
  });

  it('deliver each record to a sink once, and another one goes on when the one that delivers ends', async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const seen: string[] = [];
    const sinks = (by: string) => [{ name: 'archive', batch: 10, deliver: async (records: readonly { request_path: string }[]) => {
      seen.push(...records.map(({ request_path: of }) => `${by} ${of}`));
      return { kind: 'delivered' } as const;
    } }];
    const [first, second] = [await startGate(t, { secret, audit: { path } }, { sinks: sinks('first') }), await startGate(t, { secret, audit: { path } }, { sinks: sinks('second') })];
    for (const { gate } of [first, second]) await gate.ready;
    await ask(first, '/one');
    await ask(second, '/two');
    await until(() => seen.length === 2, 'both are delivered');
    await first.gate.close();
    await ask(second, '/three');
    await until(() => seen.length === 3, 'the third is delivered');
    assert.deepEqual(new Set(seen), new Set(['first /one', 'first /two', 'second /three']));
  });
});

/** Who has a journal for itself: a gate of another machine, a gate of a release that did not share, and a restore. */
const owners: Readonly<Record<string, (path: string) => { close(): void }>> = {
  'a gate of another machine': (path) => new Presence(path, 'elsewhere', 'm2'),
  'a gate of a release that did not share': (path) => tryLock(`${path}.lock`, 0o600) as NonNullable<ReturnType<typeof tryLock>>,
  'a restore': (path) => new Presence(path, 'restore', 'alone'),
};

for (const [at, [name, owns]] of Object.entries(owners).entries()) {
  const ending = at % 2 === 0 ? 'ends first' : 'ends last';
  it(`records are kept while ${name} has the journal, and written when it ${ending}`, async (t) => {
    const path = join(temporary(t), 'heimdall.db');
    const owner = owns(path);
    const gate = await gateAt(t, path);
    await gate.gate.ready;
    for (let nth = 0; nth < 3; nth++) await ask(gate, `/${nth}`);
    await journalOf(gate.gate).flush();
    const { state, written, waiting } = journalOf(gate.gate).stats();
    assert.deepEqual([state.kind, written, waiting], ['memory', 0, 3]);
    assert.equal(gate.log.named('journal.waiting').length, 1);
    assert.equal((await recorded(gate.gate)).length, 3, 'they can be read meanwhile');
    if (ending === 'ends last') {
      const closing = gate.gate.close();
      owner.close();
      await closing;
    } else {
      owner.close();
      await until(() => journalOf(gate.gate).stats().state.kind === 'open', 'the file is open');
      await ask(gate, '/3');
      await gate.gate.close();
    }
    const count = ending === 'ends last' ? 3 : 4;
    const after = journalOf(gate.gate).stats();
    assert.deepEqual([after.written, after.waiting, Object.values(after.dropped).every((lost) => lost === 0)], [count, 0, true]);
    assert.deepEqual(pathsIn(path), Array.from({ length: count }, (_, nth) => `/${nth}`));
    whole(path);
  });
}

it('records that nobody ever lets into the file are lost, and counted as that', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const owner = new Presence(path, 'elsewhere', 'm2');
  const gate = await gateAt(t, path);
  await gate.gate.ready;
  await ask(gate, '/lost');
  await gate.gate.close();
  const { written, dropped } = journalOf(gate.gate).stats();
  assert.deepEqual([written, dropped.memory], [0, 1]);
  owner.close();
});

it('a gate with `strict` waits for the journal, serves nothing meanwhile, and then records all', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const owner = new Presence(path, 'elsewhere', 'm2');
  const gate = await gateAt(t, path, { durability: 'strict' });
  let isReady = false;
  void gate.gate.ready.then(() => (isReady = true));
  await until(() => journalOf(gate.gate).stats().state.kind === 'failed', 'it waits');
  const refused = await request(`${gate.url}/v1/chat/completions`, { method: 'POST', headers: { Authorization: 'Bearer sk-0123456789012345678901234567890123' }, body: { model: 'm', messages: [] } });
  assert.deepEqual([refused.status, isReady], [503, false]);
  owner.close();
  await gate.gate.ready;
  await ask(gate, '/x');
  assert.deepEqual((await recorded(gate.gate)).map((row) => row['response_status']), [503, 502]);
});

it('requests in hand of a session that ended are recorded, not those of one that lives', (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const signer = signerOf(secret);
  const opened = openFile(path, true, signer, 1);
  const store = new Store(opened.db, 'own', signer);
  for (const session of ['gone', 'living']) {
    const [id, draft] = [`request of ${session}`, JSON.stringify({ request_id: `request of ${session}`, timestamp: 1, outcome: 'interrupted' })];
    sql(path, 'INSERT INTO heimdall_intents (request_id, session, draft, mac) VALUES (?, ?, ?, ?)', id, session, draft, signer.mac(signedText.intent(id, session, draft)));
  }
  const living = new Presence(path, 'living', 'm1');
  assert.deepEqual([store.recover(2, verifierOf([secret]), () => new Set(opened.others())), sql(path, 'SELECT session FROM heimdall_intents').map((row) => row['session'])], [1, ['living']]);
  living.close();
  assert.equal(store.recover(3, verifierOf([secret]), () => new Set(opened.others())), 1);
  opened.close();
});

it('a restore is refused while a gate has the journal open', async (t) => {
  const path = join(temporary(t), 'heimdall.db');
  const gate = await gateAt(t, path);
  await gate.gate.ready;
  assert.throws(() => restoreJournal(path, path, [secret], 1), /another process has it open/);
});

it('a file that others own is used, with a warning, and keeps its permissions', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const directory = join(temporary(t), 'shared');
  const path = join(directory, 'heimdall.db');
  mkdirSync(directory);
  chmodSync(join(directory, '..'), 0o755);
  chmodSync(directory, 0o777);
  writeFileSync(path, '');
  chmodSync(path, 0o666);
  const other = journalProcess(t, path, 'guest', 2, [], { uid: 65_534, gid: 65_534 });
  const { said } = await other.ended;
  assert.deepEqual(said, [{ event: 'journal.exposed', path, reason: 'EPERM', effect: 'the file keeps its permissions' }, { state: 'open', written: 2 }]);
  assert.equal(statSync(path).mode & 0o777, 0o666);
  chownSync(path, 0, 0);
  rmSync(directory, { recursive: true });
});
