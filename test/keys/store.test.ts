import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import { GatewayKeys } from '../../lib/keys/store.ts';
import type { GatewayKeyInput } from '../../types/config.d.ts';
import { fakeClock } from '../support/clock.ts';

const secret = `sk-${'k'.repeat(48)}`;
const digest = (key: string): string => createHash('sha256').update(key).digest('hex');

function storeOf(...keys: (Omit<GatewayKeyInput, 'sha256' | 'name'> & { readonly key?: string; readonly name?: string })[]) {
  const clock = fakeClock();
  const listed = keys.map(({ key = secret, name = 'team', ...rest }) => ({ name, sha256: digest(key), ...rest }));
  return { clock, store: new GatewayKeys(clock, resolveConfig({ auth: { keys: listed } }).auth.keys) };
}

const found = (store: GatewayKeys, key: string, ip = '203.0.113.9'): string => {
  const entry = store.find(key, ip);
  return typeof entry === 'string' ? entry : `key ${entry.name}`;
};

describe('the gateway keys', () => {
  it('are found by exactly what was sent', () => {
    const { store } = storeOf({});
    assert.equal(found(store, secret), 'key team');
    for (const other of [secret.slice(3), `${secret} `, secret.toUpperCase(), `Bearer ${secret}`, `${secret}-1`, digest(secret), '']) {
      assert.equal(found(store, other), 'unknown', other);
    }
  });

  it('end at the moment given, and not before', () => {
    const { store, clock } = storeOf({ expires: '2026-01-06' });
    assert.equal(found(store, secret), 'key team');
    clock.tick(86_400_000 - 1);
    assert.equal(found(store, secret), 'key team');
    clock.tick(1);
    assert.equal(found(store, secret), 'expired');
  });

  it('can be disabled, which counts before everything else', () => {
    assert.equal(found(storeOf({ disabled: true, expires: '2001-01-01', cidrs: ['10.0.0.0/8'] }).store, secret), 'disabled');
  });

  it('are held to their addresses', () => {
    const { store } = storeOf({ cidrs: ['203.0.113.0/24', '2001:db8::/32'] });
    assert.equal(found(store, secret, '203.0.113.200'), 'key team');
    assert.equal(found(store, secret, '2001:db8::1'), 'key team');
    assert.equal(found(store, secret, '198.51.100.1'), 'address');
    assert.equal(found(store, secret, '0.0.0.0'), 'address');
    assert.equal(found(store, secret, ''), 'address');
  });

  it('are held to their models, exactly spelled', () => {
    const { store } = storeOf({ models: ['gpt-4o', 'o3'] }, { key: 'another key of at least thirty-two characters', name: 'free' });
    assert.equal(store.allows('team', 'gpt-4o'), true);
    for (const model of ['gpt-4', 'GPT-4o', 'gpt-4o ', '', null]) assert.equal(store.allows('team', model), false, String(model));
    assert.equal(store.allows('free', null), true);
    assert.equal(store.allows('free', 'anything'), true);
  });

  it('are told apart, and counted', () => {
    const { store } = storeOf({}, { key: 'another key of at least thirty-two characters', name: 'second' });
    assert.equal(store.size, 2);
    assert.equal(found(store, 'another key of at least thirty-two characters'), 'key second');
    assert.equal(new GatewayKeys(fakeClock(), []).size, 0);
    assert.equal(found(new GatewayKeys(fakeClock(), []), secret), 'unknown');
  });

  it('are joined by registered ones, which can change and do not stand in for them', () => {
    const { store } = storeOf({ models: ['gpt-4o'] });
    const [configured] = [store.find(secret, '203.0.113.9')];
    assert.ok(typeof configured === 'object');
    const other = 'another key of at least thirty-two characters';
    const registered = { ...configured, name: 'registered', sha256: digest(other), models: [] };
    store.register([registered, { ...configured, name: 'impostor' }]);
    assert.deepEqual([found(store, secret), found(store, other), store.size], ['key team', 'key registered', 3]);
    assert.deepEqual([store.allows('registered', 'o3'), store.allows('team', 'o3'), store.nameOf(other)], [true, false, 'registered']);
    assert.equal(store.problemOf(registered), null);
    store.register([{ ...registered, disabled: true }]);
    assert.deepEqual([found(store, other), store.problemOf(registered), store.problemOf(configured)], ['disabled', 'disabled', null]);
    store.register([]);
    assert.deepEqual([found(store, other), store.problemOf(registered), found(store, secret)], ['unknown', 'unknown', 'key team']);
  });

  it('that let somebody in may end since', () => {
    const { store, clock } = storeOf({ expires: '2026-01-06' });
    const key = store.find(secret, '203.0.113.9');
    assert.ok(typeof key === 'object');
    assert.equal(store.problemOf(key), null);
    clock.tick(86_400_000);
    assert.equal(store.problemOf(key), 'expired');
  });
});
