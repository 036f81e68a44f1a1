import assert from 'node:assert/strict';
import { it } from 'node:test';
import { resolveConfig } from '../../lib/config/load.ts';
import type { Context } from '../../lib/request/context.ts';
import type { Core } from '../../lib/request/context.ts';
import { bearer, BearerGuard } from '../../lib/keys/bearer-guard.ts';
import { ownRoute } from '../../lib/request/own-route.ts';
import type { AddressLimitInput } from '../../types/config.d.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { recorder, type Recorder } from '../support/gate.ts';

const token = 'a-token-of-a-guard';

function guardOf(address: AddressLimitInput): { readonly log: Recorder; readonly clock: FakeClock; check(authorization: string | undefined, peer?: string, ip?: string): string | null } {
  const log = recorder();
  const clock = fakeClock();
  const guard = new BearerGuard({ config: resolveConfig({ rateLimit: { address } }), log, clock, guesses: new Map() } as unknown as Core, 'metrics', [token], 'guard.failed');
  return {
    log,
    clock,
    check(authorization, peer = '192.0.2.1', ip = peer) {
      const context = { id: 'r', ip, peer, route: ownRoute('/x'), req: { headers: { authorization } } } as unknown as Context;
      return guard.check(context)?.code ?? null;
    },
  };
}

const good = `Bearer ${token}`;

it('a guard opens to its token alone, however the scheme is written', () => {
  const { check, log } = guardOf({});
  for (const header of [good, `bearer ${token}`, `BEARER ${token}`]) assert.equal(check(header), null);
  for (const header of [undefined, '', token, `Bearer${token}`, `Bearer  ${token}`, `Bearer ${token} `, `Bearer ${token.toUpperCase()}`, `Token ${token}`]) assert.equal(check(header), 'unauthorized', header);
  assert.equal(log.named('guard.failed').length, 8);
  assert.deepEqual(log.named('guard.failed')[0], { requestId: 'r', ip: '192.0.2.1', path: '/x' });
});

it('a guard limits failures by the network of the peer, and lets in the right token all the same', () => {
  const { check, clock } = guardOf({ limit: 2, window: '60s' });
  for (const ip of ['2001:db8::1', '2001:db8:0:ff::2']) assert.equal(check('Bearer wrong', ip), 'unauthorized');
  assert.deepEqual([check('Bearer wrong', '2001:db8::3'), check(good, '2001:db8::4')], ['too_many_failures', null]);
  assert.equal(check('Bearer wrong', '2001:db8:0:100::1'), 'unauthorized');
  clock.tick(60_000);
  assert.equal(check('Bearer wrong', '2001:db8::3'), 'unauthorized');
});

it('a guard counts the peer, whatever client it names', () => {
  const { check } = guardOf({ limit: 2 });
  assert.deepEqual(Array.from({ length: 4 }, (_, nth) => check('Bearer wrong', '127.0.0.1', `192.0.2.${nth}`)), ['unauthorized', 'unauthorized', 'too_many_failures', 'too_many_failures']);
});

it('a guard forgets peers rather than filling memory', () => {
  const { check } = guardOf({ limit: 1 });
  for (let nth = 0; nth < 20_000; nth++) check('Bearer wrong', `10.${nth >> 16}.${(nth >> 8) & 255}.${nth & 255}`);
  assert.deepEqual([check('Bearer wrong', '10.0.0.0'), check('Bearer wrong', '10.0.78.31')], ['unauthorized', 'too_many_failures']);
});

it('a guard has a limit of its own where the address limit is off or counts everything', () => {
  for (const address of [{ limit: 0 }, { limit: 5000, count: 'all' }] as const) {
    const { check } = guardOf(address);
    for (let n = 0; n < 60; n++) assert.equal(check('Bearer wrong'), 'unauthorized');
    assert.equal(check('Bearer wrong'), 'too_many_failures');
  }
});

it('a bearer token is what stands behind the scheme', () => {
  assert.deepEqual([bearer('Bearer x y'), bearer('bearer x'), bearer('Bearer '), bearer('x'), bearer(undefined)], ['x y', 'x', null, null, null]);
});
