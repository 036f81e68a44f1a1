import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { NewKey } from '../../types/registry.d.ts';
import { closing, until } from '../support/client.ts';
import { fakeClock } from '../support/clock.ts';
import { temporary } from '../support/gate.ts';
import { startRedis, withoutRedis } from '../support/redis.ts';
import { hold, type Held } from './tools.ts';

const day = 86_400_000;
const ip = '203.0.113.9';
const configured = { name: 'of-config', sha256: 'a'.repeat(64) };

const found = ({ keys }: Held, key: string): string => {
  const entry = keys.find(key, ip);
  return typeof entry === 'string' ? entry : entry.name;
};

/** Lets a second pass for everybody, and waits until each has looked. */
async function aSecond(...held: readonly Held[]): Promise<void> {
  for (const { clock } of new Set(held)) clock.tick(1000);
  await until(() => held.every(({ clock }) => clock.pending === 1));
}

describe('a key of the registry', () => {
  it('is good at once, and its text is nowhere', async (t) => {
    const directory = temporary(t);
    const held = await hold(t, directory);
    const { key, view } = await held.registry.createKey({ name: 'team', models: ['gpt-4o'], upstreamCredential: 'sk-the-token-at-newapi' });
    assert.match(key, /^sk-[\w-]{43}$/);
    assert.equal(view.digest, createHash('sha256').update(key).digest('hex').slice(0, 12));
    assert.deepEqual([view.source, view.hasUpstreamCredential, view.created, view.expires], ['registry', true, held.clock.now(), null]);
    const grant = held.keys.find(key, ip);
    assert.ok(typeof grant === 'object');
    assert.deepEqual([grant.name, grant.upstreamCredential, grant.models, grant.requests], ['team', 'sk-the-token-at-newapi', ['gpt-4o'], null]);
    assert.deepEqual([held.keys.allows('team', 'gpt-4o'), held.keys.allows('team', 'o3'), held.keys.nameOf(key)], [true, false, 'team']);
    await held.registry.close();
    const bytes = readFileSync(join(directory, 'heimdall.state.db')).toString('latin1') + JSON.stringify(held.log.events) + JSON.stringify(view);
    for (const secret of [key, key.slice(3), 'the-token-at-newapi']) assert.ok(!bytes.includes(secret));
  });

  it('is refused when it is no sensible key, naming the field', async (t) => {
    const { registry } = await hold(t, undefined, { config: { auth: { mode: 'keys', keys: [configured] } } });
    await registry.createKey({ name: 'taken' });
    const wrong: [object, RegExp][] = [
      [{ name: 'taken' }, /^name: expected another name/],
      [{ name: 'of-config' }, /^name: expected another name/],
      [{ name: '' }, /^name: expected a name/],
      [{ name: 'a b' }, /^name: /],
      [{ name: '-x' }, /^name: /],
      [{ name: '203.0.113.7' }, /^name: .*no address/],
      [{ name: '0123456789abcdef' }, /^name: .*no token identity/],
      [{ name: 'a', expires: 1_700_000_000_000 }, /^expires: expected a moment to come, got 2023-11-14/],
      [{ name: 'a', models: 'gpt-4o' }, /^models: expected a list/],
      [{ name: 'a', models: [''] }, /^models\[0\]: /],
      [{ name: 'a', cidrs: ['10.0.0.0/8', 'here'] }, /^cidrs\[1\]: expected an IP address or CIDR, got "here"/],
      [{ name: 'a', requests: { limit: 0, window: 1000 } }, /^requests\.limit: expected a whole number of at least 1, got 0/],
      [{ name: 'a', tokens: { limit: 5, window: 10 } }, /^tokens\.window: /],
      [{ name: 'a', concurrency: 1.5 }, /^concurrency: /],
      [{ name: 'a', budget: { day: -1, month: null } }, /^budget\.day: /],
      [{ name: 'a', upstreamCredential: 'a secret token' }, /^upstream_credential: expected .* got a value of 14 characters/],
      [{ name: 'a', sha256: 'b'.repeat(64) }, /^sha256: expected one of name, expires/],
    ];
    for (const [key, message] of wrong) await assert.rejects(registry.createKey(key as NewKey), { code: 'invalid_value', message }, JSON.stringify(key));
    assert.equal(registry.keys().length, 2);
  });

  it('is rotated with an overlap, under one name', async (t) => {
    const held = await hold(t);
    const old = (await held.registry.createKey({ name: 'team', cidrs: ['203.0.113.0/24'] })).key;
    const { key, view } = await held.registry.rotateKey('team', day);
    assert.notEqual(key, old);
    assert.equal(view.previousUntil, held.clock.now() + day);
    assert.deepEqual([found(held, old), found(held, key), held.keys.find(old, '198.51.100.1'), held.keys.size], ['team', 'team', 'address', 2]);
    const next = (await held.registry.rotateKey('team', day)).key;
    assert.deepEqual([found(held, old), found(held, key), found(held, next)], ['unknown', 'team', 'team']);
    held.clock.tick(day - 1);
    assert.equal(found(held, key), 'team');
    held.clock.tick(1);
    assert.deepEqual([found(held, key), found(held, next)], ['expired', 'team']);
    assert.equal(held.registry.keys()[0]?.previousUntil, null);
    const last = (await held.registry.rotateKey('team', 0)).key;
    assert.deepEqual([found(held, next), found(held, last)], ['unknown', 'team']);
    for (const overlap of [-1, 0.5, Number.NaN]) await assert.rejects(held.registry.rotateKey('team', overlap), { code: 'invalid_value', message: /^overlap: / });
  });

  it('ends no later for being rotated', async (t) => {
    const held = await hold(t);
    const old = (await held.registry.createKey({ name: 'team', expires: held.clock.now() + 1000 })).key;
    const { key } = await held.registry.rotateKey('team', day);
    held.clock.tick(1000);
    assert.deepEqual([found(held, old), found(held, key)], ['expired', 'expired']);
  });

  it('is disabled, enabled, given another end and revoked', async (t) => {
    const held = await hold(t);
    const { key } = await held.registry.createKey({ name: 'team' });
    assert.equal((await held.registry.changeKey('team', { disabled: true })).disabled, true);
    assert.equal(found(held, key), 'disabled');
    const end = held.clock.now() + 5000;
    assert.deepEqual([(await held.registry.changeKey('team', { disabled: false, expires: end })).expires, found(held, key)], [end, 'team']);
    assert.equal((await held.registry.changeKey('team', { disabled: false })).expires, end);
    const bound = await held.registry.changeKey('team', { models: ['gpt-5'], requests: { limit: 3, window: 60_000 } });
    assert.deepEqual([bound.models, bound.requests, bound.expires, bound.tokens], [['gpt-5'], { limit: 3, window: 60_000 }, end, null]);
    await assert.rejects(held.registry.changeKey('team', { concurrency: 0 }), { code: 'invalid_value' });
    await assert.rejects(held.registry.changeKey('team', { expires: 1 }), { code: 'invalid_value' });
    await held.registry.removeKey('team');
    assert.equal(found(held, key), 'unknown');
    for (const gone of [held.registry.removeKey('team'), held.registry.changeKey('team', {}), held.registry.rotateKey('team', 0)]) await assert.rejects(gone, { code: 'not_found' });
    assert.deepEqual(held.log.events.map(({ event }) => event), ['key.created', 'key.disabled', 'key.enabled', 'key.expiry_changed', 'key.revoked']);
  });

  it('of the configuration is shown, and changed there alone', async (t) => {
    const { registry } = await hold(t, undefined, { config: { auth: { mode: 'keys', keys: [configured] } } });
    assert.deepEqual(registry.keys().map(({ name, source, digest, created }) => [name, source, digest, created]), [['of-config', 'config', 'a'.repeat(12), null]]);
    for (const change of [registry.removeKey('of-config'), registry.rotateKey('of-config', 0), registry.changeKey('of-config', { disabled: true })]) {
      await assert.rejects(change, { code: 'invalid_value', message: /changed in the configuration/ });
    }
  });

  it('gives way to one the configuration names the same', async (t) => {
    const directory = temporary(t);
    const first = await hold(t, directory);
    const { key } = await first.registry.createKey({ name: 'of-config' });
    const held = await hold(t, directory, { config: { auth: { mode: 'keys', keys: [configured] } } });
    assert.equal(found(held, key), 'unknown');
    assert.deepEqual(held.log.named('key.shadowed').map((fields) => fields['key']), ['of-config']);
  });

  it('keeps its upstream credential over a change of the install secret, and has none when the old one is lost', async (t) => {
    const directory = temporary(t);
    const before = await hold(t, directory, { secrets: ['old'] });
    const { key } = await before.registry.createKey({ name: 'team', upstreamCredential: 'sk-at-newapi' });
    const credential = ({ keys }: Held, of: string): unknown => (keys.find(of, ip) as { upstreamCredential: unknown }).upstreamCredential;
    const after = await hold(t, directory, { secrets: ['new', 'old'] });
    assert.equal(credential(after, key), 'sk-at-newapi');
    const lost = await hold(t, directory, { secrets: ['new'] });
    assert.deepEqual([credential(lost, key), lost.log.named('key.credential_unreadable').length], [null, 1]);
    const rotated = await after.registry.rotateKey('team', 0);
    await aSecond(lost);
    assert.equal(credential(lost, rotated.key), 'sk-at-newapi');
  });

  it('keeps its object while nothing of it changes, since limits remember by it', async (t) => {
    const held = await hold(t);
    const { key } = await held.registry.createKey({ name: 'team' });
    const grant = held.keys.find(key, ip);
    await held.registry.createKey({ name: 'another' });
    assert.equal(held.keys.find(key, ip), grant);
    await held.registry.changeKey('team', { expires: held.clock.now() + day });
    assert.notEqual(held.keys.find(key, ip), grant);
  });
});

describe('what one instance changes', () => {
  it('is in force on another within a second, with an event', async (t) => {
    const directory = temporary(t);
    const clock = fakeClock();
    const [here, there] = [await hold(t, directory, { clock }), await hold(t, directory, { clock: fakeClock() })];
    const { key } = await here.registry.createKey({ name: 'team' });
    await here.registry.ban({ value: '203.0.113.7', reason: 'scans' });
    assert.deepEqual([found(there, key), there.registry.bans().length], ['unknown', 0]);
    await aSecond(there);
    assert.deepEqual([found(there, key), there.registry.bans()[0]?.value], ['team', '203.0.113.7']);
    const { reason, value, kind } = there.log.named('ban.added')[0] as Record<string, unknown>;
    assert.deepEqual([kind, value, reason, there.log.named('key.created').length], ['address', '203.0.113.7', 'scans', 1]);
    await there.registry.unban('203.0.113.7');
    await there.registry.removeKey('team');
    await aSecond(here);
    assert.deepEqual([found(here, key), here.registry.bans()], ['unknown', []]);
    assert.deepEqual(here.log.events.map(({ event }) => event), ['key.created', 'ban.added', 'key.revoked', 'ban.removed']);
  });

  it('tells who watches, also when time alone ends something', async (t) => {
    const held = await hold(t);
    let told = 0;
    held.registry.watch(() => void told++);
    await held.registry.ban({ value: '203.0.113.7', expires: held.clock.now() + 1500 });
    await held.registry.createKey({ name: 'team', expires: held.clock.now() + 2500 });
    assert.equal(told, 2);
    await aSecond(held);
    assert.equal(told, 2);
    await aSecond(held);
    assert.deepEqual([told, held.registry.bans().length, held.log.named('ban.expired').length], [3, 0, 1]);
    await aSecond(held);
    assert.deepEqual([told, held.log.named('key.expired')], [4, [{ key: 'team' }]]);
    await aSecond(held);
    assert.equal(told, 4);
  });
});

describe('a ban of the registry', () => {
  it('is renewed, not doubled, and taken back by id or any spelling', async (t) => {
    const { registry, clock } = await hold(t);
    const { id } = await registry.ban({ value: '203.0.113.7', expires: clock.now() + day });
    assert.equal((await registry.ban({ value: '::ffff:203.0.113.7', reason: 'again' })).id, id);
    assert.deepEqual(registry.bans().map(({ reason, expires }) => [reason, expires]), [['again', null]]);
    assert.equal(await registry.unban('203.0.113.7/32'), 1);
    const next = await registry.ban({ value: '203.0.113.7' });
    assert.deepEqual([await registry.unban(next.id), await registry.unban(next.id), await registry.unban('nobody')], [1, 0, 0]);
  });

  it('that is over makes room', async (t) => {
    const { registry, clock } = await hold(t);
    await registry.ban({ value: '203.0.113.7', expires: clock.now() + 10 });
    clock.tick(10);
    assert.deepEqual([registry.bans(), await registry.unban('203.0.113.7')], [[], 0]);
    await registry.ban({ value: '203.0.113.8', expires: clock.now() + 10 });
    assert.deepEqual(registry.bans().map(({ value }) => value), ['203.0.113.8']);
  });
});

describe('a registry that cannot be read', () => {
  it('knows no keys at the start, says so once, and recovers by itself', async (t) => {
    const directory = temporary(t);
    const path = join(directory, 'heimdall.state.db');
    const other = await hold(t, directory);
    const { key } = await other.registry.createKey({ name: 'team' });
    await other.registry.close();
    const good = readFileSync(path);
    writeFileSync(path, 'no database');
    const held = await hold(t, directory, { config: { auth: { mode: 'keys', keys: [configured] } } });
    assert.deepEqual([found(held, key), held.registry.settled], ['unknown', true]);
    assert.match(String(held.registry.problem), /not a database/);
    await aSecond(held);
    assert.equal(held.log.named('registry.unreadable').length, 1);
    await assert.rejects(held.registry.createKey({ name: 'next' }), { code: 'registry_unavailable', status: 503 });
    rmSync(path);
    writeFileSync(path, good);
    await aSecond(held);
    assert.deepEqual([found(held, key), held.registry.problem, held.log.named('registry.back').length], ['team', null, 1]);
    assert.deepEqual(held.log.named('registry.loaded'), [{ keys: 1, bans: 0 }]);
  });

  it('keeps in force what it knows', async (t) => {
    const directory = temporary(t);
    const held = await hold(t, directory);
    const { key } = await held.registry.createKey({ name: 'team' });
    await held.registry.ban({ value: '203.0.113.7' });
    rmSync(directory, { recursive: true });
    await aSecond(held);
    assert.deepEqual([found(held, key), held.registry.bans().length, held.log.named('registry.unreadable').length], ['team', 1, 1]);
    mkdirSync(directory);
  });

  it('warns of missing keys once it knows that there are none', async (t) => {
    const config = { auth: { mode: 'keys' } } as const;
    const directory = temporary(t);
    const none = await hold(t, directory, { config });
    assert.equal(none.log.named('auth.no_keys').length, 1);
    await none.registry.createKey({ name: 'team' });
    assert.equal((await hold(t, directory, { config })).log.named('auth.no_keys').length, 0);
  });
});

describe('a registry in Redis', { skip: withoutRedis }, () => {
  const secret = 'a secret of sixteen characters';

  it('survives a Redis that dies and comes back empty', async (t) => {
    const redis = closing(t, await startRedis());
    const config = { secret, rateLimit: { redisUrl: redis.url } };
    const held = await hold(t, undefined, { config });
    const { key } = await held.registry.createKey({ name: 'team' });
    await held.registry.ban({ value: '203.0.113.7' });
    await redis.kill();
    await until(async () => {
      await aSecond(held);
      return held.registry.problem;
    });
    assert.deepEqual([found(held, key), held.registry.bans().length], ['team', 1]);
    await assert.rejects(held.registry.ban({ value: '203.0.113.8' }), { code: 'registry_unavailable' });
    await redis.restart();
    await until(async () => {
      await aSecond(held);
      return held.registry.problem === null;
    });
    const late = await hold(t, undefined, { config });
    assert.deepEqual([found(late, key), late.registry.bans().length], ['team', 1]);
  });

  it('is waited for a moment at the start, and no longer', async (t) => {
    const redis = closing(t, await startRedis());
    await redis.kill();
    const clock = fakeClock();
    const holding = hold(t, undefined, { config: { secret, rateLimit: { redisUrl: redis.url } }, clock });
    let held: Held | null = null;
    void holding.then((opened) => {
      held = opened;
    });
    await until(() => {
      if (clock.pending > 0) clock.tick(50);
      return held;
    });
    assert.equal((await holding).log.named('registry.unreadable').length, 1);
  });
});
