import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it, type TestContext } from 'node:test';
import { emptyContents, type Change, type Contents, type Store } from '../../lib/registry/contents.ts';
import { FileStore } from '../../lib/registry/file-store.ts';
import { RedisStore } from '../../lib/registry/redis-store.ts';
import type { Ban } from '../../types/registry.d.ts';
import { closing } from '../support/client.ts';
import { recorder, temporary } from '../support/gate.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { connection, stored } from './tools.ts';

const ban: Ban = { id: 'b1', kind: 'address', value: '203.0.113.7', reason: 'tests', created: 1, expires: null };

const shown = (contents: Contents | null): unknown => contents && [[...contents.keys.keys()], [...contents.bans.keys()], contents.damaged];

/** What holds of every store; `open` gives another instance that shares the same place. */
function contract(start: (t: TestContext) => Promise<() => Store>): void {
  it('is empty at first, and says a thing once', async (t) => {
    const open = await start(t);
    const store = closing(t, open());
    const before = await store.read();
    assert.equal(await store.read(), before);
    const after = await store.change((contents) => {
      assert.deepEqual(contents, emptyContents);
      return { keys: [['a', stored('a')]], bans: [['b1', ban]] };
    });
    assert.deepEqual(shown(after), [['a'], ['b1'], 0]);
    assert.deepEqual(after.keys.get('a'), stored('a'));
    assert.deepEqual(after.bans.get('b1'), ban);
    assert.equal(await store.read(), after);
  });

  it('shows one instance what another one changed', async (t) => {
    const open = await start(t);
    const [here, there] = [closing(t, open()), closing(t, open())];
    await here.change(() => ({ keys: [['a', stored('a')], ['b', stored('b')]] }));
    const seen = await there.read();
    assert.deepEqual(shown(seen), [['a', 'b'], [], 0]);
    assert.equal(await there.read(), seen);
    await there.change(() => ({ keys: [['a', null], ['b', stored('b', { disabled: true })]] }));
    const changed = await here.read();
    assert.deepEqual(changed?.keys, new Map([['b', stored('b', { disabled: true })]]));
    assert.equal(await here.read(), changed);
  });

  it('changes everything or nothing', async (t) => {
    const store = closing(t, (await start(t))());
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    await assert.rejects(store.change(() => {
      throw new Error('changed my mind');
    }), /changed my mind/);
    assert.deepEqual(shown(await store.change(() => ({}))), [['a'], [], 0]);
  });

  it('loses no change of many at the same moment', async (t) => {
    const open = await start(t);
    const stores = Array.from({ length: 4 }, () => closing(t, open()));
    await Promise.all(stores.flatMap((store, at) => [0, 1, 2].map((n) => store.change(({ keys }) => {
      const sum = Number(keys.get('sum')?.created ?? 0);
      return { keys: [['sum', stored('sum', { created: sum + 1 })], [`${at}${n}`, stored(`${at}${n}`)]] };
    }))));
    const after = await (stores[0] as Store).change(() => ({}));
    assert.equal(after.keys.size, 13);
    assert.equal(after.keys.get('sum')?.created, 12);
  });
}

/** What a store knows of its contents without a reading. */
function memory(start: (t: TestContext) => Promise<() => Store>): void {
  it('takes no error from what another one has changed since, and shows that to the next reading', async (t) => {
    const open = await start(t);
    const [here, there] = [closing(t, open()), closing(t, open())];
    const named = (name: string) => ({ keys }: Contents): Change => {
      if (!keys.has(name)) throw new Error(`no ${name}`);
      return { keys: [[name, null]] };
    };
    await here.change(() => ({ keys: [['a', stored('a')]] }));
    await there.change(() => ({ keys: [['b', stored('b')]] }));
    assert.deepEqual(shown(await here.change(named('b'))), [['a'], [], 0]);
    await there.change(named('a'));
    await assert.rejects(here.change(named('a')), /no a/);
    assert.deepEqual(shown(await here.read()), [[], [], 0]);
  });

  it('knows after any change what a reading finds, in the same order', async (t) => {
    const open = await start(t);
    const [here, there] = [closing(t, open()), closing(t, open())];
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (let step = 0; step < 40; step++) {
      const store = step % 7 === 0 ? there : here;
      const name = names[(step * 3) % 5] as string;
      const key = step % 4 === 3 ? null : stored(name, { created: (step * 11) % 17, expires: undefined as unknown as null });
      const after = await store.change(() => ({ keys: [[name, stored(name)], [name, key]], ...(step % 3 === 0 ? { bans: [[name, step % 2 === 0 ? { ...ban, id: name, created: (step * 5) % 13 } : null]] } : {}) }));
      const reader = open();
      const read = (await reader.read()) as Contents;
      await reader.close();
      assert.deepEqual([[...after.keys], [...after.bans]], [[...read.keys], [...read.bans]], `step ${step}`);
    }
  });

  it('keeps what a change leaves alone, so that its readers see at once what is the same', async (t) => {
    const store = closing(t, (await start(t))());
    const before = await store.change(() => ({ keys: [['a', stored('a')], ['b', stored('b')]] }));
    const after = await store.change(() => ({ bans: [['b1', ban]], keys: [['b', stored('b', { disabled: true })]] }));
    assert.equal(after.keys.get('a'), before.keys.get('a'));
    assert.equal(after.findings, before.findings);
    assert.equal((await store.change(() => ({ bans: [['b1', null]] }))).keys, after.keys);
  });
}

describe('a file of keys and bans', () => {
  const file = (t: TestContext) => join(temporary(t), 'state', 'heimdall.state.db');
  for (const holds of [contract, memory]) {
    holds(async (t) => {
      const path = file(t);
      return () => new FileStore(path, 1000);
    });
  }

  it('is made when something is written, for its owner alone', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 100));
    assert.equal(await store.read(), null);
    assert.ok(!existsSync(path));
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
    for (const side of ['-wal', '-shm']) if (existsSync(path + side)) assert.equal(statSync(path + side).mode & 0o777, 0o600);
  });

  it('that is gone, or is none, is no empty one', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 100));
    await store.change(() => ({ bans: [['b1', ban]] }));
    for (const side of ['', '-wal', '-shm']) rmSync(path + side, { force: true });
    await assert.rejects(store.read(), /is gone/);
    await assert.rejects(store.change(() => ({ bans: [['b2', { ...ban, id: 'b2' }]] })), /is gone/);
    assert.ok(!existsSync(path));
    writeFileSync(path, 'this is no database, but long enough to be looked at as one: '.repeat(40));
    await assert.rejects(store.read(), /not a database/);
    rmSync(path);
    mkdirSync(path);
    await assert.rejects(store.read());
  });

  it('is opened anew when another one lies in its place', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 100));
    await store.change(() => ({ keys: [['old', stored('old')]] }));
    const other = new FileStore(`${path}.new`, 100);
    await other.change(() => ({ keys: [['new', stored('new')]] }));
    other.close();
    for (const side of ['-wal', '-shm']) rmSync(path + side, { force: true });
    renameSync(`${path}.new`, path);
    assert.deepEqual(shown(await store.read()), [['new'], [], 0]);
    assert.deepEqual(shown(await store.change(() => ({ bans: [['b1', ban]] }))), [['new'], ['b1'], 0]);
  });

  it('leaves out what makes no sense, and counts it', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 100));
    await store.change(() => ({ keys: [['good', stored('good')]], bans: [['b1', ban]] }));
    const db = new DatabaseSync(path);
    const { models: _, ...unbounded } = stored('unbounded');
    for (const value of ['{', 'null', '[]', JSON.stringify(unbounded), JSON.stringify(stored('short', { digest: 'abc' }))]) db.prepare('INSERT INTO keys VALUES (?, ?)').run(value, value);
    for (const value of ['{}', JSON.stringify({ ...ban, value: 'nowhere' })]) db.prepare('INSERT INTO bans VALUES (?, ?)').run(value, value);
    db.close();
    assert.deepEqual(shown(await store.read()), [['good'], ['b1'], 7]);
  });

  it('of a later release is left alone', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 100));
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    const db = new DatabaseSync(path);
    db.exec('PRAGMA user_version = 99');
    db.close();
    await assert.rejects(store.read(), /later release/);
    await assert.rejects(store.change(() => ({})), /later release/);
  });

  it('waits for another process only so long', async (t) => {
    const path = file(t);
    const store = closing(t, new FileStore(path, 20));
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    const db = new DatabaseSync(path);
    db.exec('BEGIN IMMEDIATE');
    await assert.rejects(store.change(() => ({ bans: [['b1', ban]] })), /locked/);
    db.exec('ROLLBACK');
    db.close();
    assert.deepEqual(shown(await store.change(() => ({ bans: [['b1', ban]] }))), [['a'], ['b1'], 0]);
  });

  it('that may not be read says so', { skip: process.getuid?.() === 0 && 'root may read everything' }, async (t) => {
    const path = file(t);
    const store = new FileStore(path, 20);
    await store.change(() => ({}));
    store.close();
    chmodSync(path, 0);
    await assert.rejects(store.read());
  });

  it('holds no key', async (t) => {
    const path = file(t);
    const store = new FileStore(path, 20);
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    store.close();
    assert.ok(readFileSync(path).includes('0'.repeat(64)));
    assert.ok(!readFileSync(path).includes('sk-'));
  });
});

describe('a Redis of keys and bans', { skip: withoutRedis }, () => {
  for (const holds of [contract, memory]) {
    holds(async (t) => {
      const { url } = closing(t, await startRedis());
      return () => new RedisStore(connection(t, url), recorder());
    });
  }

  it('that lost its memory gets it back, once', async (t) => {
    const redis = closing(t, await startRedis());
    const log = recorder();
    const [here, there] = [new RedisStore(connection(t, redis.url), log), new RedisStore(connection(t, redis.url), log)];
    await here.change(() => ({ keys: [['a', stored('a')]], bans: [['b1', ban]] }));
    await there.read();
    await redis.command('FLUSHALL');
    const [mine, other] = await Promise.all([here.read(), there.read()]);
    for (const contents of [mine, other]) assert.deepEqual(shown(contents), [['a'], ['b1'], 0]);
    assert.deepEqual(log.named('registry.restored'), [{ keys: 1, bans: 1 }]);
    assert.deepEqual(shown(await new RedisStore(connection(t, redis.url), log).read()), [['a'], ['b1'], 0]);
  });

  it('that lost its memory learns from who knows the latest, not from who comes first', async (t) => {
    const redis = closing(t, await startRedis());
    const open = (): RedisStore => new RedisStore(connection(t, redis.url), recorder());
    const [stale, fresh] = [open(), open()];
    await fresh.change(() => ({ keys: [['revoked', stored('revoked')], ['kept', stored('kept')]] }));
    await stale.read();
    await fresh.change(() => ({ keys: [['revoked', null], ['late', stored('late')]], bans: [['b1', ban]] }));
    await redis.command('FLUSHALL');
    assert.deepEqual(shown(await stale.read()), [['kept', 'revoked'], [], 0]);
    assert.deepEqual(shown(await fresh.read()), [['kept', 'late'], ['b1'], 0]);
    assert.deepEqual(shown(await stale.read()), [['kept', 'late'], ['b1'], 0]);
    assert.deepEqual(shown(await fresh.read()), [['kept', 'late'], ['b1'], 0]);
  });

  it('that lost its memory loses nothing to a change that comes first', async (t) => {
    const redis = closing(t, await startRedis());
    const store = new RedisStore(connection(t, redis.url), recorder());
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    await redis.command('FLUSHALL');
    assert.deepEqual(shown(await store.change(() => ({ bans: [['b1', ban]] }))), [['a'], ['b1'], 0]);
  });

  it('that was emptied on purpose, entry by entry, stays empty', async (t) => {
    const { url } = closing(t, await startRedis());
    const store = new RedisStore(connection(t, url), recorder());
    await store.change(() => ({ keys: [['a', stored('a')]] }));
    const emptied = await store.change(() => ({ keys: [['a', null]] }));
    assert.deepEqual(shown(emptied), [[], [], 0]);
    assert.equal(await store.read(), emptied);
  });
});
